//! What the service's manager is told (`sd_notify(3)`): ready, reloading, stopping, and a line for `systemctl status`.
//!
//! One datagram each, to the socket that `NOTIFY_SOCKET` names; where nothing is set there, nobody is told. The text is
//! lines `NAME=value`.

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// Longest wait for a manager that does not read.
const PATIENCE: Duration = Duration::from_secs(1);
/// What a stop takes beside the drain: aborted requests, and the last lines of the log.
const FAREWELL: Duration = Duration::from_secs(5);

/// Requests are served from now on, or again after `reloading`.
pub fn ready(status: &str) {
    tell(&format!("READY=1\nSTATUS={status}"));
}

/// The configuration is read again; `ready` follows, whatever comes of it.
pub fn reloading() {
    // The time tells the manager which of its own requests this belongs to.
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).map(Duration::from);
    let micros = now.unwrap_or_default().as_micros();
    tell(&format!("RELOADING=1\nMONOTONIC_USEC={micros}"));
}

/// Running requests have `drain` to finish: so long the manager must not kill us, whatever its own limit is.
pub fn stopping(drain: Duration) {
    let micros = drain.saturating_add(FAREWELL).as_micros();
    tell(&format!(
        "STOPPING=1\nSTATUS=waiting for running requests\nEXTEND_TIMEOUT_USEC={micros}"
    ));
}

/// Something else than before is to be seen in `systemctl status`.
pub fn status(status: &str) {
    tell(&format!("STATUS={status}"));
}

fn tell(text: &str) {
    let Some(socket) = env::var_os("NOTIFY_SOCKET").filter(|name| !name.is_empty()) else {
        return;
    };
    if let Err(err) = send(&socket, text) {
        log::warn!("NOTIFY_SOCKET: {}: {err}", socket.to_string_lossy());
    }
}

fn send(socket: &OsStr, text: &str) -> io::Result<()> {
    let address = match socket.as_bytes() {
        // An abstract name begins with a null byte, for which `@` stands.
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    let ours = UnixDatagram::unbound()?;
    ours.set_write_timeout(Some(PATIENCE))?;
    ours.send_to_addr(text.as_bytes(), &address)?;
    Ok(())
}

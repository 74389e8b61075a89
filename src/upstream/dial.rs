//! A TCP connection to the first of a name's addresses that answers.
//!
//! RFC 8305: the addresses are tried 250 ms apart, or at once where the one before has failed, and the first connection that stands is
//! used. One thread does it: the sockets do not block, and poll says which of them has come to an end.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{
    AddressFamily, SockFlag, SockType, SockaddrStorage, connect, getsockopt, setsockopt, socket,
    sockopt,
};

use super::error::{Error, is_exhaustion, no_time};

/// RFC 8305 §5: "Connection Attempt Delay".
const APART: Duration = Duration::from_millis(250);
/// Keep-alive probes on a connection that is silent, so that one that is dead is found out: the first one after a minute, then every ten
/// seconds. The API's edge and NATs forget connections after some minutes.
const PROBE_AFTER: u32 = 60;
const PROBES_APART: u32 = 10;
const PROBES: u32 = 3;

/// One address that is being tried.
struct Attempt {
    socket: OwnedFd,
    address: SocketAddr,
}

/// `is_over` is asked now and then: nobody waits for the connection any more.
pub fn dial(
    addresses: &[SocketAddr],
    deadline: Instant,
    is_over: impl Fn() -> bool,
) -> Result<TcpStream, Error> {
    let mut untried = in_turns(addresses).into_iter();
    let mut running: Vec<Attempt> = Vec::new();
    let mut next = Instant::now();
    let mut failure = None;
    loop {
        let now = Instant::now();
        if is_over() {
            return Err(Error::Aborted);
        }
        if now >= deadline {
            return Err(failure.unwrap_or_else(no_time));
        }
        if now >= next
            && let Some(address) = untried.next()
        {
            match begin(address) {
                Ok(attempt) => {
                    running.push(attempt);
                    next = now + APART;
                }
                Err(err) => failure = Some(refused(address, err)?),
            }
            continue;
        }
        if running.is_empty() {
            return Err(failure.unwrap_or_else(no_time));
        }
        // The client, too, is looked after once in this time.
        wait(&running, APART.min(deadline - now))?;
        let mut at = 0;
        while at < running.len() {
            match outcome(&running[at]) {
                Ok(false) => at += 1,
                Ok(true) => return Ok(TcpStream::from(running.swap_remove(at).socket)),
                Err(err) => {
                    let lost = running.swap_remove(at);
                    failure = Some(refused(lost.address, err)?);
                    // Nobody waits for one that has failed.
                    next = now;
                }
            }
        }
    }
}

/// One family after the other, beginning with the first one's (RFC 8305 §4): a network without IPv6 costs one attempt and not many.
fn in_turns(addresses: &[SocketAddr]) -> Vec<SocketAddr> {
    let is_first = |address: &SocketAddr| address.is_ipv6() == addresses[0].is_ipv6();
    let (one, two): (Vec<_>, Vec<_>) = addresses.iter().partition(|address| is_first(address));
    let most = one.len().max(two.len());
    (0..most)
        .flat_map(|n| [one.get(n), two.get(n)])
        .flatten()
        .copied()
        .collect()
}

fn begin(address: SocketAddr) -> io::Result<Attempt> {
    let family = match address {
        SocketAddr::V4(_) => AddressFamily::Inet,
        SocketAddr::V6(_) => AddressFamily::Inet6,
    };
    let flags = SockFlag::SOCK_NONBLOCK | SockFlag::SOCK_CLOEXEC;
    let socket = socket(family, SockType::Stream, flags, None)?;
    match connect(socket.as_raw_fd(), &SockaddrStorage::from(address)) {
        Ok(()) | Err(Errno::EINPROGRESS | Errno::EINTR) => Ok(Attempt { socket, address }),
        Err(err) => Err(err.into()),
    }
}

/// The endpoint's fault, in words; an error where this machine is at its limits.
fn refused(address: SocketAddr, err: io::Error) -> Result<Error, Error> {
    match is_exhaustion(&err) {
        true => Err(Error::Exhausted(err)),
        false => Ok(Error::Unreachable(format!("{address}: {err}"))),
    }
}

fn wait(running: &[Attempt], limit: Duration) -> Result<(), Error> {
    let mut fds: Vec<_> = running
        .iter()
        .map(|attempt| PollFd::new(attempt.socket.as_fd(), PollFlags::POLLOUT))
        .collect();
    // Rounded up: a wait of less than a millisecond would be none.
    let limit = limit.max(Duration::from_millis(1));
    match poll(
        &mut fds,
        PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX),
    ) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(err) => Err(Error::Exhausted(err.into())),
    }
}

/// Whether it stands; false: not yet.
fn outcome(attempt: &Attempt) -> io::Result<bool> {
    let mut fds = [PollFd::new(attempt.socket.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut fds, PollTimeout::ZERO)? == 0 {
        return Ok(false);
    }
    match getsockopt(&attempt.socket, sockopt::SocketError)? {
        0 => Ok(true),
        code => Err(io::Error::from_raw_os_error(code)),
    }
}

/// How a new connection behaves. `dead_after`: what is sent and not acknowledged for so long says that the other side, or the way to it,
/// is gone.
pub fn tune(stream: &TcpStream, dead_after: Duration) -> io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_nodelay(true)?;
    let millis = u32::try_from(dead_after.as_millis()).unwrap_or(u32::MAX);
    setsockopt(stream, sockopt::TcpUserTimeout, &millis)?;
    setsockopt(stream, sockopt::KeepAlive, &true)?;
    setsockopt(stream, sockopt::TcpKeepIdle, &PROBE_AFTER)?;
    setsockopt(stream, sockopt::TcpKeepInterval, &PROBES_APART)?;
    setsockopt(stream, sockopt::TcpKeepCount, &PROBES)?;
    Ok(())
}

#[cfg(test)]
mod tests;

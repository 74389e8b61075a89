//! A client's socket: bytes in, bytes out, and its end. TLS towards clients would go here.
//!
//! The socket does not block. What it does not take or have at once is the caller's to wait for: the listener's thread by epoll, a
//! worker by [`wait_for_room`].

use std::io::{self, IoSlice, IoSliceMut, Read};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{Backlog, MsgFlags, listen, recv, sendmsg, setsockopt, sockopt};

/// Connections that the kernel holds for us until we take them (it caps this at `net.core.somaxconn`, usually 4096).
const BACKLOG: i32 = 4096;
/// A client that has said nothing for so long, in seconds, is asked by the kernel whether it is still there; one that has gone without
/// a word (a laptop that sleeps, a NAT that forgot) is found out after `PROBES` questions, `PROBE_INTERVAL` seconds apart.
const KEEP_ALIVE: u32 = 60;
const PROBE_INTERVAL: u32 = 10;
const PROBES: u32 = 3;
/// How often, within the time that a client may be silent, a write is tried again.
const LOOKS: u32 = 16;

/// Prepares the public listener. What is set here holds for each connection that it takes: on Linux they inherit it.
///
/// # Errors
/// The system refuses an option.
pub fn prepare(listener: &TcpListener) -> io::Result<()> {
    // std listens with a backlog of 128; a second call raises it.
    listen(listener, Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN))?;
    listener.set_nonblocking(true)?;
    setsockopt(listener, sockopt::TcpNoDelay, &true)?;
    setsockopt(listener, sockopt::KeepAlive, &true)?;
    setsockopt(listener, sockopt::TcpKeepIdle, &KEEP_ALIVE)?;
    setsockopt(listener, sockopt::TcpKeepInterval, &PROBE_INTERVAL)?;
    setsockopt(listener, sockopt::TcpKeepCount, &PROBES)?;
    Ok(())
}

/// Reads what is there: into `first` as far as it fits, and what is behind that into `second`. 0: the client sends no more.
///
/// # Errors
/// `WouldBlock`: nothing is there. Anything else: the connection is dead.
pub fn receive(mut stream: &TcpStream, first: &mut [u8], second: &mut [u8]) -> io::Result<usize> {
    loop {
        let read = if first.is_empty() {
            stream.read(second)
        } else {
            stream.read_vectored(&mut [IoSliceMut::new(first), IoSliceMut::new(second)])
        };
        match read {
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// Whether there is something to read: bytes, an end, or an error.
pub fn has_something(stream: &TcpStream) -> bool {
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
    recv(stream.as_raw_fd(), &mut [0], flags) != Err(Errno::EAGAIN)
}

/// Writes what goes at once. Answers how much that was.
///
/// # Errors
/// `WouldBlock`: nothing goes. Anything else: the connection is dead.
pub fn send(stream: &TcpStream, slices: &[IoSlice]) -> io::Result<usize> {
    loop {
        match sendmsg::<()>(
            stream.as_raw_fd(),
            slices,
            &[],
            MsgFlags::MSG_NOSIGNAL,
            None,
        ) {
            Err(Errno::EINTR) => {}
            done => return Ok(done?),
        }
    }
}

/// Writes all of it, and waits where the client takes its time.
///
/// A blocking write would hide the silence: its clock starts anew with each piece that the kernel's buffer still takes. So each write
/// takes what goes at once, and silence is the time since the last byte went.
///
/// `wait` is called where it has to, with the bytes that went since it was last called; it waits for room as [`wait_for_room`] does.
///
/// # Errors
/// `wait`'s. Anything else: the connection is dead.
pub fn send_all(
    stream: &TcpStream,
    mut slices: &mut [IoSlice],
    mut wait: impl FnMut(u64, Instant) -> io::Result<()>,
) -> io::Result<u64> {
    IoSlice::advance_slices(&mut slices, 0);
    let mut silent_since = None;
    let mut moved = 0;
    while !slices.is_empty() {
        match send(stream, slices) {
            Ok(written) => {
                IoSlice::advance_slices(&mut slices, written);
                silent_since = None;
                moved += written as u64;
            }
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                let since = *silent_since.get_or_insert_with(Instant::now);
                wait(std::mem::take(&mut moved), since)?;
            }
            Err(err) => return Err(err),
        }
    }
    Ok(moved)
}

/// Waits until another write is worth a try.
///
/// # Errors
/// `TimedOut`: the client has taken nothing for `patience`, since `silent_since`.
pub fn wait_for_room(
    stream: &TcpStream,
    silent_since: Instant,
    patience: Duration,
) -> io::Result<()> {
    let left = patience.saturating_sub(silent_since.elapsed());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    // `poll` reports room only when there is much of it. A slow client's little shows when a write is tried.
    let step = left.min(patience / LOOKS).max(Duration::from_millis(1));
    let timeout = PollTimeout::try_from(step).unwrap_or(PollTimeout::MAX);
    match poll(
        &mut [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)],
        timeout,
    ) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

/// The client is told that no more comes. An error means that it is closed already.
pub fn say_goodbye(stream: &TcpStream) {
    let _ = stream.shutdown(Shutdown::Write);
}

/// When the socket is closed, its connection ends with a reset instead of an end: the client can tell that the answer is not whole.
pub fn reset_on_close(stream: &TcpStream) {
    let linger = nix::libc::linger {
        l_onoff: 1,
        l_linger: 0,
    };
    let _ = setsockopt(stream, sockopt::Linger, &linger);
}

#[cfg(test)]
mod tests {
    use nix::sys::socket::getsockopt;

    use super::*;

    #[test]
    fn a_connection_inherits_the_listeners_options() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        prepare(&listener).expect("options that Linux knows");
        let _client =
            TcpStream::connect(listener.local_addr().expect("an address")).expect("a connection");
        let taken = loop {
            match listener.accept() {
                Ok((taken, _)) => break taken,
                Err(err) => assert_eq!(err.kind(), io::ErrorKind::WouldBlock),
            }
        };
        assert!(taken.nodelay().expect("an option"));
        assert!(getsockopt(&taken, sockopt::KeepAlive).expect("an option"));
        assert_eq!(
            getsockopt(&taken, sockopt::TcpKeepIdle).expect("an option"),
            KEEP_ALIVE
        );
    }
}

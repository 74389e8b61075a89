//! A TCP connection, with TLS over it or without: bytes out and in.
//!
//! Reads wait, for a time; writes never do, so that whoever sends can look for an answer meanwhile.

use std::io::{self, IoSlice, Read, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv, sendmsg};
use rustls::ClientConnection;
use rustls::pki_types::ServerName;

#[derive(Debug)]
pub struct Wire {
    stream: Arc<TcpStream>,
    tls: Option<Box<ClientConnection>>,
    read_timeout: Option<Duration>,
}

/// What a connection that takes no more bytes is ready for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready {
    /// Bytes, or the connection's end.
    pub input: bool,
    pub output: bool,
}

impl Wire {
    pub fn plain(stream: TcpStream) -> Wire {
        Wire {
            stream: Arc::new(stream),
            tls: None,
            read_timeout: None,
        }
    }

    pub fn tcp(&self) -> &Arc<TcpStream> {
        &self.stream
    }

    pub fn is_tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Shakes hands.
    ///
    /// # Errors
    /// `WouldBlock` when that has not come to its end by `deadline`; else what was wrong, in words.
    pub fn secure(
        &mut self,
        config: &Arc<rustls::ClientConfig>,
        name: ServerName<'static>,
        deadline: Instant,
    ) -> io::Result<()> {
        let mut tls = ClientConnection::new(config.clone(), name).map_err(io::Error::other)?;
        loop {
            while tls.wants_write() {
                tls.write_tls(&mut &*self.stream)?;
            }
            if !tls.is_handshaking() {
                break;
            }
            self.set_read_timeout(deadline.saturating_duration_since(Instant::now()))?;
            match tls.read_tls(&mut &*self.stream) {
                Ok(0) => return Err(ended("closed in the TLS handshake")),
                Ok(_) => {}
                Err(err) if err.kind() == io::ErrorKind::Interrupted => continue,
                Err(err) => return Err(err),
            }
            if let Err(err) = tls.process_new_packets() {
                // The other side gets the alert that says why.
                let _ = tls.write_tls(&mut &*self.stream);
                return Err(io::Error::other(match err {
                    rustls::Error::InvalidMessage(_) => {
                        format!("what answers there does not speak TLS ({err})")
                    }
                    err => format!("TLS: {err}"),
                }));
            }
        }
        self.tls = Some(Box::new(tls));
        Ok(())
    }

    /// Reads what comes, and waits for it. 0: the other side has ended. What is there when the time is over counts: the process may have
    /// stood still meanwhile.
    ///
    /// # Errors
    /// `WouldBlock`: nothing came for so long.
    pub fn read(&mut self, buf: &mut [u8], limit: Duration) -> io::Result<usize> {
        let deadline = Instant::now() + limit.min(LONGEST);
        loop {
            if let Some(tls) = &mut self.tls {
                match decrypted(tls, buf) {
                    Ok(None) => {}
                    Ok(Some(amount)) => return Ok(amount),
                    Err(err) => return Err(err),
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let there = self.read_now(buf)?;
                return there.ok_or_else(|| io::ErrorKind::WouldBlock.into());
            }
            self.set_read_timeout(left)?;
            let read = match &mut self.tls {
                None => (&*self.stream).read(buf),
                Some(tls) => tls.read_tls(&mut &*self.stream),
            };
            match (read, &mut self.tls) {
                (Err(err), _) if err.kind() == io::ErrorKind::Interrupted => {}
                (Err(err), _) => return Err(err),
                (Ok(amount), None) => return Ok(amount),
                (Ok(_), Some(tls)) => process(tls, &self.stream)?,
            }
        }
    }

    /// Reads what is there. `None`: nothing, though under TLS something of its own may have been.
    pub fn read_now(&mut self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        let read = match &mut self.tls {
            None => AtOnce(&self.stream).read(buf),
            Some(tls) => match tls.read_tls(&mut AtOnce(&self.stream)) {
                Ok(_) => process(tls, &self.stream).and_then(|()| {
                    decrypted(tls, buf)?.ok_or_else(|| io::ErrorKind::WouldBlock.into())
                }),
                Err(err) => Err(err),
            },
        };
        match read {
            Ok(amount) => Ok(Some(amount)),
            Err(err) if is_not_now(&err) => Ok(None),
            Err(err) => Err(err),
        }
    }

    /// Takes as many bytes as it can at once.
    ///
    /// # Errors
    /// `WouldBlock`: none.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return AtOnce(&self.stream).write(bytes);
        };
        let taken = tls.writer().write(bytes)?;
        while tls.wants_write() {
            match tls.write_tls(&mut AtOnce(&self.stream)) {
                Ok(_) => {}
                Err(err) if is_not_now(&err) && taken > 0 => break,
                Err(err) => return Err(err),
            }
        }
        Ok(taken)
    }

    /// Whether bytes that were taken have not gone out yet.
    pub fn holds_output(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// Waits until bytes can go out, or have come in where `input` is wanted. `None`: neither, for so long.
    pub fn wait(&self, input: bool, limit: Duration) -> io::Result<Option<Ready>> {
        let mut wanted = PollFlags::POLLOUT;
        wanted.set(PollFlags::POLLIN, input);
        let mut fds = [PollFd::new(self.stream.as_fd(), wanted)];
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        match poll(&mut fds, limit) {
            Ok(0) => return Ok(None),
            Ok(_) | Err(Errno::EINTR) => {}
            Err(err) => return Err(err.into()),
        }
        let got = fds[0].revents().unwrap_or(PollFlags::empty());
        Ok(Some(Ready {
            input: got.intersects(!PollFlags::POLLOUT),
            output: got.contains(PollFlags::POLLOUT),
        }))
    }

    /// Whether an idle connection can be used again: there is nothing to read, neither an end nor bytes that nobody asked for.
    pub fn is_quiet(&mut self) -> bool {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        match recv(self.stream.as_raw_fd(), &mut [0], flags) {
            Err(Errno::EAGAIN) => true,
            // A session ticket that came late is no answer.
            Ok(1..) if self.tls.is_some() => matches!(self.read_now(&mut [0]), Ok(None)),
            _ => false,
        }
    }

    /// The kernel is told only when the time changes by more than a fiftieth: a deadline that comes nearer by
    /// microseconds costs no system call.
    fn set_read_timeout(&mut self, wanted: Duration) -> io::Result<()> {
        let wanted = wanted.clamp(Duration::from_millis(1), LONGEST);
        let near_enough = |set: Duration| wanted.abs_diff(set) <= wanted / 50;
        if !self.read_timeout.is_some_and(near_enough) {
            self.stream.set_read_timeout(Some(wanted))?;
            self.read_timeout = Some(wanted);
        }
        Ok(())
    }
}

/// Longer than anybody waits, and short enough for any clock.
const LONGEST: Duration = Duration::from_secs(1 << 30);

/// What TLS has ready; `None` where it needs more. 0: the other side has ended.
fn decrypted(tls: &mut ClientConnection, buf: &mut [u8]) -> io::Result<Option<usize>> {
    match tls.reader().read(buf) {
        Ok(amount) => Ok(Some(amount)),
        Err(err) if err.kind() == io::ErrorKind::WouldBlock => Ok(None),
        // An end without TLS's own goodbye: as many a server does it. The answer's framing tells whether it was whole.
        Err(err) if err.kind() == io::ErrorKind::UnexpectedEof => Ok(Some(0)),
        Err(err) => Err(err),
    }
}

/// Works through the records that have come, and answers those that want an answer.
fn process(tls: &mut ClientConnection, stream: &TcpStream) -> io::Result<()> {
    let processed = tls.process_new_packets();
    if tls.wants_write() {
        // A few bytes; where they do not fit now, they go out with the next request.
        let _ = tls.write_tls(&mut AtOnce(stream));
    }
    processed.map_err(|err| io::Error::new(io::ErrorKind::InvalidData, format!("TLS: {err}")))?;
    Ok(())
}

pub fn ended(words: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, words)
}

pub fn is_not_now(err: &io::Error) -> bool {
    matches!(
        err.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted
    )
}

/// Reads and writes what can be read and written at once.
struct AtOnce<'a>(&'a TcpStream);

impl Read for AtOnce<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Ok(recv(self.0.as_raw_fd(), buf, MsgFlags::MSG_DONTWAIT)?)
    }
}

impl Write for AtOnce<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_vectored(&[IoSlice::new(bytes)])
    }

    fn write_vectored(&mut self, pieces: &[IoSlice<'_>]) -> io::Result<usize> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        Ok(sendmsg::<()>(self.0.as_raw_fd(), pieces, &[], flags, None)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

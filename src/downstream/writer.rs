//! An answer, out to the client: whole or piece by piece, with its framing.
//!
//! Head and first piece go out in one write. Nothing is held back: a piece is on its way when `piece` returns. A write
//! that the client does not take for `clientSeconds` fails (the socket's write timeout, which the front sets).

use std::io::{self, IoSlice, Write};
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::time::{Duration, Instant, SystemTime};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, sendmsg};

use http::header::{self, HeaderMap};
use http::{Response, StatusCode};

/// How often, within the time that a client may be silent, a write is tried again.
const LOOKS: u32 = 16;

/// Tells a client that expects it that its body is wanted.
pub fn interim(stream: &TcpStream) -> io::Result<()> {
    write_all(
        stream,
        &mut [IoSlice::new(b"HTTP/1.1 100 Continue\r\n\r\n")],
    )
}

/// Writes an answer of our own. `head_only`: the request was a `HEAD`.
pub fn whole(
    stream: &TcpStream,
    answer: &Response<Vec<u8>>,
    head_only: bool,
    keep: bool,
) -> io::Result<()> {
    let length = answer.body().len() as u64;
    let framing = match answer.status() {
        StatusCode::NO_CONTENT => Framing::None { announce: None },
        _ if head_only => Framing::None {
            announce: Some(length),
        },
        _ => Framing::Length(length),
    };
    let mut headers = answer.headers().clone();
    headers.remove(header::CONNECTION);
    let date = httpdate::fmt_http_date(SystemTime::now());
    headers.insert(header::DATE, date.try_into().expect("a date fits a header"));
    Downstream::new(stream, answer.status(), &headers, framing, keep).last(answer.body())
}

/// How the client tells where the answer's body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// There is none (`HEAD`, 204, 304), though a length may be told.
    None {
        announce: Option<u64>,
    },
    Length(u64),
    Chunked,
    /// HTTP/1.0: where the connection ends.
    UntilClose,
}

/// An answer under way.
pub struct Downstream<'a> {
    stream: &'a TcpStream,
    /// Goes out with the first piece.
    head: Vec<u8>,
    framing: Framing,
    bytes: u64,
    ended: bool,
}

impl<'a> Downstream<'a> {
    /// `headers` go out as they are. `keep`: the connection serves another request after this answer.
    pub fn new(
        stream: &'a TcpStream,
        status: StatusCode,
        headers: &HeaderMap,
        framing: Framing,
        keep: bool,
    ) -> Downstream<'a> {
        let mut head = Vec::with_capacity(1024);
        let reason = status.canonical_reason().unwrap_or("");
        let _ = write!(head, "HTTP/1.1 {} {reason}\r\n", status.as_u16());
        for (name, value) in headers {
            head.extend_from_slice(name.as_str().as_bytes());
            head.extend_from_slice(b": ");
            head.extend_from_slice(value.as_bytes());
            head.extend_from_slice(b"\r\n");
        }
        match framing {
            Framing::Length(length)
            | Framing::None {
                announce: Some(length),
            } => {
                let _ = write!(head, "content-length: {length}\r\n");
            }
            Framing::Chunked => head.extend_from_slice(b"transfer-encoding: chunked\r\n"),
            Framing::None { announce: None } | Framing::UntilClose => {}
        }
        head.extend_from_slice(if keep {
            b"\r\n"
        } else {
            b"connection: close\r\n\r\n"
        });
        Downstream {
            stream,
            head,
            framing,
            bytes: 0,
            ended: false,
        }
    }

    /// The body went out to an end that the client can tell.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// Bytes written so far, head and framing included.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Sends a piece of the body.
    ///
    /// # Errors
    /// The client has gone, or takes nothing for `clientSeconds`.
    pub fn piece(&mut self, piece: &[u8]) -> io::Result<()> {
        self.send(piece, b"")
    }

    /// The body is complete.
    pub fn end(&mut self) -> io::Result<()> {
        self.last(b"")
    }

    /// Sends the last piece of the body, and its end.
    pub fn last(&mut self, piece: &[u8]) -> io::Result<()> {
        let end: &[u8] = if self.framing == Framing::Chunked {
            b"0\r\n\r\n"
        } else {
            b""
        };
        self.send(piece, end)?;
        self.ended = true;
        Ok(())
    }

    /// The body will not be complete, and the client must be able to tell: where its framing cannot say so, the
    /// connection is reset. The caller closes it. The head goes out even where no byte of the body has come: a close without
    /// one looks like a kept connection that has ended, and many a client sends its request again then.
    pub fn cut(&mut self) {
        // One that takes nothing has gone.
        let _ = self.send(b"", b"");
        if self.framing == Framing::UntilClose {
            // With unsent data discarded the kernel ends the connection with RST instead of FIN.
            let linger = nix::libc::linger {
                l_onoff: 1,
                l_linger: 0,
            };
            let _ = nix::sys::socket::setsockopt(
                self.stream,
                nix::sys::socket::sockopt::Linger,
                &linger,
            );
        }
    }

    fn send(&mut self, piece: &[u8], end: &[u8]) -> io::Result<()> {
        let piece = if matches!(self.framing, Framing::None { .. }) {
            b""
        } else {
            piece
        };
        let mut size = [0; 18];
        let (size, line_end): (&[u8], &[u8]) = match self.framing {
            Framing::Chunked if !piece.is_empty() => (chunk_head(piece.len(), &mut size), b"\r\n"),
            _ => (b"", b""),
        };
        let head = std::mem::take(&mut self.head);
        let parts = [&head, size, piece, line_end, end];
        write_all(self.stream, &mut parts.map(IoSlice::new))?;
        self.bytes += parts.iter().map(|part| part.len() as u64).sum::<u64>();
        Ok(())
    }
}

/// A chunk's size in hexadecimal and CR LF.
fn chunk_head(size: usize, buf: &mut [u8; 18]) -> &[u8] {
    let mut rest = &mut buf[..];
    let room = rest.len();
    let _ = write!(rest, "{size:x}\r\n");
    let used = room - rest.len();
    &buf[..used]
}

/// A blocking write would hide the silence: its clock starts anew with each piece that the kernel's buffer still takes.
/// So each write takes what goes at once, and silence is the time since the last byte went.
fn write_all(stream: &TcpStream, mut slices: &mut [IoSlice]) -> io::Result<()> {
    IoSlice::advance_slices(&mut slices, 0);
    let mut silent_since = None;
    while !slices.is_empty() {
        match sendmsg::<()>(
            stream.as_raw_fd(),
            slices,
            &[],
            MsgFlags::MSG_DONTWAIT,
            None,
        ) {
            Ok(written) => {
                IoSlice::advance_slices(&mut slices, written);
                silent_since = None;
            }
            Err(Errno::EINTR) => {}
            Err(Errno::EAGAIN) => {
                let since = *silent_since.get_or_insert_with(Instant::now);
                wait_for_room(stream, since)?;
            }
            Err(err) => return Err(err.into()),
        }
    }
    Ok(())
}

/// Waits until another write is worth a try.
///
/// # Errors
/// `TimedOut` when the client has been silent for the socket's write timeout.
fn wait_for_room(stream: &TcpStream, silent_since: Instant) -> io::Result<()> {
    let limit = stream.write_timeout()?.unwrap_or(Duration::MAX);
    let left = limit.saturating_sub(silent_since.elapsed());
    if left.is_zero() {
        return Err(io::ErrorKind::TimedOut.into());
    }
    // `poll` reports room only when there is much of it. A slow client's little shows when a write is tried.
    let step = left.min(limit / LOOKS).max(Duration::from_millis(1));
    let timeout = PollTimeout::try_from(step).unwrap_or(PollTimeout::MAX);
    match poll(
        &mut [PollFd::new(stream.as_fd(), PollFlags::POLLOUT)],
        timeout,
    ) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(err) => Err(err.into()),
    }
}

//! An answer, out to the client: whole or piece by piece, with its framing.
//!
//! Head and first piece go out in one write. Nothing is held back: a piece is on its way when `piece` returns. A write that the client
//! does not take for `clientSeconds` fails.

use std::io::{self, IoSlice, Write};
use std::time::SystemTime;

use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::connection::Connection;
use super::socket;

/// The bytes of an answer of our own. `head_only`: the request was a `HEAD`.
pub fn whole(answer: &Response<Vec<u8>>, head_only: bool, keep: bool) -> Vec<u8> {
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
    let mut bytes = head(answer.status(), &headers, framing, keep);
    if matches!(framing, Framing::Length(_)) {
        bytes.extend_from_slice(answer.body());
    }
    bytes
}

/// An answer's head. `headers` go out as they are. `keep`: the connection serves another request after this answer.
fn head<'h>(
    status: StatusCode,
    headers: impl IntoIterator<Item = (&'h HeaderName, &'h HeaderValue)>,
    framing: Framing,
    keep: bool,
) -> Vec<u8> {
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
    head
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
    connection: &'a Connection,
    /// Goes out with the first piece.
    head: Vec<u8>,
    framing: Framing,
    bytes: u64,
    /// Of those, how many the listener's thread has not been told of: it is told where we have to wait.
    untold: u64,
    ended: bool,
}

impl<'a> Downstream<'a> {
    /// `headers` go out as they are. `keep`: the connection serves another request after this answer.
    pub fn new<'h>(
        connection: &'a Connection,
        status: StatusCode,
        headers: impl IntoIterator<Item = (&'h HeaderName, &'h HeaderValue)>,
        framing: Framing,
        keep: bool,
    ) -> Downstream<'a> {
        Downstream {
            connection,
            head: head(status, headers, framing, keep),
            framing,
            bytes: 0,
            untold: 0,
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

    /// The body will not be complete, and the client must be able to tell: true where its framing cannot say so, so that the connection
    /// has to be reset. The caller closes it in any case. The head goes out even where no byte of the body has come: a close without
    /// one looks like a kept connection that has ended, and many a client sends its request again then.
    pub fn cut(&mut self) -> bool {
        // One that takes nothing has gone.
        let _ = self.send(b"", b"");
        self.ends_with_the_connection()
    }

    /// Nothing but the connection's end tells the client that it has all: one that has not must see a reset.
    pub fn ends_with_the_connection(&self) -> bool {
        self.framing == Framing::UntilClose
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
        let mut slices = parts.map(IoSlice::new);
        let (stream, patience) = (self.connection.stream(), self.connection.patience());
        let untold = &mut self.untold;
        let moved = socket::send_all(stream, &mut slices, |moved, silent_since| {
            self.connection
                .wait_for_room(std::mem::take(untold) + moved);
            let waited = socket::wait_for_room(stream, silent_since, patience);
            self.connection.has_waited();
            waited
        })?;
        self.untold += moved;
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

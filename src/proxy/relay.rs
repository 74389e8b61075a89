//! An answer's body, from the endpoint to the client.
//!
//! Event streams pass event by event, so that one that breaks anywhere still ends well-formed; everything else passes
//! as it comes. Nothing is decompressed or changed.

use std::io;
use std::time::Instant;

use http::header::{self, HeaderMap};

use crate::api::events::{HOLD_LIMIT, Kind, Scanner, error_event};
use crate::api::usage::{BodyUsage, StreamUsage, Usage};
use crate::downstream::writer::Downstream;
use crate::upstream::Body;

/// A piece starts at this size and doubles while the endpoint fills it: an event takes little, a large answer few
/// system calls.
const MIN_PIECE: usize = 4 << 10;
const MAX_PIECE: usize = 64 << 10;

/// How an answer is about to end.
#[derive(Clone, Copy, Debug)]
pub enum How<'a> {
    Whole,
    /// For this reason.
    Broken(&'a str),
    ClientGone,
}

/// How the passing of a body ended.
#[derive(Debug)]
pub enum Passed {
    /// Whole.
    Whole,
    /// The endpoint broke it off, or fell silent. The client can tell.
    Broken,
    /// The client went, or did not take it in time. No endpoint's fault.
    ClientGone,
}

pub fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map(|value| value.as_bytes())
        .unwrap_or_default();
    kind.split(|&b| b == b';')
        .next()
        .is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
}

/// Whether the body is something else than what its content type says, until somebody decompresses it.
pub fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

/// Passes on a body that is no event stream. `length` is what the endpoint announced. `settle` is called
/// once, before the client can know that it has all: who has all of an answer must find us done with it.
pub fn pass(
    body: &mut Body,
    length: Option<u64>,
    downstream: &mut Downstream,
    mut usage: Option<&mut BodyUsage>,
    settle: impl FnOnce(How, Option<Usage>),
) -> Passed {
    let mut left = length;
    let short = length
        .and_then(|length| usize::try_from(length).ok())
        .unwrap_or(MIN_PIECE);
    let mut piece = vec![0; short.clamp(1, MIN_PIECE)];
    loop {
        let filled = match body.read(&mut piece) {
            Ok(filled) => filled,
            Err(err) => {
                settle(How::Broken(&why(&err)), None);
                downstream.cut();
                return Passed::Broken;
            }
        };
        left = left.map(|left| left.saturating_sub(filled as u64));
        if filled > 0 && left == Some(0) {
            // One more look ends the attempt before the client can know that it has all: the endpoint's connection
            // is free when the client's next request comes.
            let _ = body.read(&mut [0]);
        }
        if let Some(usage) = usage.as_mut() {
            usage.piece(&piece[..filled]);
        }
        let is_last = filled == 0 || left == Some(0);
        if is_last {
            settle(How::Whole, usage.and_then(|usage| usage.usage()));
            return match downstream.last(&piece[..filled]) {
                Ok(()) => Passed::Whole,
                Err(_) => Passed::ClientGone,
            };
        }
        if downstream.piece(&piece[..filled]).is_err() {
            settle(How::ClientGone, None);
            return Passed::ClientGone;
        }
        if filled == piece.len() && piece.len() < MAX_PIECE {
            piece.resize(piece.len() * 2, 0);
        }
    }
}

fn why(err: &io::Error) -> String {
    match err.kind() {
        io::ErrorKind::TimedOut => "the endpoint fell silent (idleSeconds)".into(),
        _ => format!("the endpoint broke the answer off: {err}"),
    }
}

/// An event stream of which nothing has gone to the client yet.
pub struct EventStream {
    body: Body,
    scanner: Scanner,
    /// Compressed: its events cannot be seen.
    opaque: bool,
    bytes: Vec<u8>,
    /// Bytes of `bytes` that have come, and how many of them may go out.
    filled: usize,
    ready: usize,
    usage: StreamUsage,
}

/// What an event stream begins with.
#[derive(Debug, PartialEq, Eq)]
pub enum Beginning {
    /// An event as it should be; of a compressed stream, a byte.
    Event,
    /// The event `error`, whose data is this.
    Error(String),
    /// It ended or broke off before its first event.
    Broken(String),
    /// None came within `responseSeconds`.
    TimedOut,
}

impl EventStream {
    /// `opaque`: see [`is_encoded`].
    pub fn new(body: Body, opaque: bool) -> EventStream {
        EventStream {
            body,
            scanner: Scanner::new(),
            opaque,
            bytes: vec![0; MIN_PIECE],
            filled: 0,
            ready: 0,
            usage: StreamUsage::default(),
        }
    }

    /// Reads as far as the first event, until `deadline` at most.
    pub fn begin(&mut self, deadline: Instant) -> Beginning {
        loop {
            let mut error = None;
            match self.read(Some(deadline), &mut error) {
                Ok(0) => {
                    return Beginning::Broken("the stream ended before its first event".into());
                }
                Ok(_) => {}
                Err(err) if err.kind() == io::ErrorKind::TimedOut => return Beginning::TimedOut,
                Err(err) => {
                    return Beginning::Broken(format!(
                        "the stream broke before its first event: {err}"
                    ));
                }
            }
            if let (Some(Kind::Error), Some(data)) = (self.scanner.first(), error) {
                return Beginning::Error(data);
            }
            // An event longer than what is held back counts as one when it is let go.
            if self.scanner.first().is_some() || self.opaque || self.ready >= HOLD_LIMIT {
                return Beginning::Event;
            }
        }
    }

    /// Passes the stream on to its end. `request_id` names the request in the error that ends a broken one. `settle` as
    /// for [`pass`].
    pub fn pass(
        &mut self,
        downstream: &mut Downstream,
        request_id: &str,
        settle: impl FnOnce(How, Option<Usage>),
    ) -> Passed {
        loop {
            if self.ready > 0 {
                if downstream.piece(&self.bytes[..self.ready]).is_err() {
                    settle(How::ClientGone, self.usage.usage());
                    return Passed::ClientGone;
                }
                self.bytes.copy_within(self.ready..self.filled, 0);
                self.filled -= self.ready;
                self.ready = 0;
            }
            let why = match self.read(None, &mut None) {
                Ok(1..) => continue,
                Ok(0) if self.is_complete() => {
                    settle(How::Whole, self.usage.usage());
                    // What is held is an event of which the last blank line is missing.
                    return match downstream.last(&self.bytes[..self.filled]) {
                        Ok(()) => Passed::Whole,
                        Err(_) => Passed::ClientGone,
                    };
                }
                Ok(_) => "the endpoint ended the stream too early".into(),
                Err(err) => why(&err),
            };
            settle(How::Broken(&why), self.usage.usage());
            return match self.end_broken(&why, downstream, request_id) {
                Ok(()) => Passed::Broken,
                Err(_) => Passed::ClientGone,
            };
        }
    }

    /// One read. `error` takes the data of an `error` event.
    fn read(&mut self, deadline: Option<Instant>, error: &mut Option<String>) -> io::Result<usize> {
        if self.filled == self.bytes.len() {
            self.bytes.resize(self.bytes.len() * 2, 0);
        }
        let room = &mut self.bytes[self.filled..];
        let more = match deadline {
            Some(deadline) => self.body.read_by(deadline, room)?,
            None => self.body.read(room)?,
        };
        self.filled += more;
        let usage = &mut self.usage;
        self.ready = if self.opaque {
            self.filled
        } else {
            self.ready
                + self
                    .scanner
                    .push(&self.bytes[self.ready..self.filled], |event| {
                        usage.event(event.kind, event.data);
                        if event.kind == Kind::Error {
                            error.get_or_insert_with(|| {
                                String::from_utf8_lossy(event.data).into_owned()
                            });
                        }
                    })
        };
        Ok(more)
    }

    /// Whether the stream may end here: a message stream at `message_stop` only, any other one where it is framed to.
    fn is_complete(&self) -> bool {
        !self.scanner.is_message_stream() || (self.scanner.is_stopped() && self.scanner.is_whole())
    }

    /// Ends a broken stream with one `error` event. One that has told of an error itself gets no second one, and into
    /// one that is compressed nothing can be written: it is cut.
    fn end_broken(
        &self,
        why: &str,
        downstream: &mut Downstream,
        request_id: &str,
    ) -> io::Result<()> {
        if self.opaque {
            downstream.cut();
            return Ok(());
        }
        if self.scanner.has_failed() {
            return downstream.end();
        }
        let event = error_event("api_error", why, request_id);
        downstream.last(&[self.scanner.closing(), &event].concat())
    }
}

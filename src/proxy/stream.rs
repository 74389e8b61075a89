//! An endpoint's event stream, as it comes: how much of it may go to the client, and how it begins.

use std::io;
use std::time::{Duration, Instant};

use super::relay::MIN_PIECE;
use crate::api::events::{HOLD_LIMIT, Kind, Scanner};
use crate::api::usage::{StreamUsage, Usage};
use crate::upstream::Body;

/// A stream that has sent nothing but comments for so long is begun for the client: somebody on the way may be waiting for a byte.
const COMMENTS_ONLY: Duration = Duration::from_secs(10);
/// An endpoint's end of a stream comes with `message_stop` or right behind it. It is waited for so long before the client gets the last
/// event, and so long after that: then the endpoint's connection can be used again.
const END_BEFORE: Duration = Duration::from_millis(1);
const END_AFTER: Duration = Duration::from_millis(50);

/// An event stream on its way.
pub struct EventStream {
    body: Body,
    scanner: Scanner,
    /// Compressed: its events cannot be seen.
    is_encoded: bool,
    bytes: Vec<u8>,
    /// Bytes of `bytes` that have come, and how many of them may go out.
    filled: usize,
    ready: usize,
    usage: StreamUsage,
    /// The endpoint has ended it, or broken it off.
    has_ended: bool,
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
    /// `is_encoded`: see [`super::relay::is_encoded`].
    pub fn new(body: Body, is_encoded: bool) -> EventStream {
        EventStream {
            body,
            scanner: Scanner::new(),
            is_encoded,
            bytes: vec![0; MIN_PIECE],
            filled: 0,
            ready: 0,
            usage: StreamUsage::default(),
            has_ended: false,
        }
    }

    /// Reads as far as the first event, until `deadline` at most.
    pub fn begin(&mut self, deadline: Instant) -> Beginning {
        let comments_until = Instant::now() + COMMENTS_ONLY;
        loop {
            let has_comments = self.ready > 0;
            if has_comments && Instant::now() >= comments_until {
                return Beginning::Event;
            }
            let until = if has_comments {
                deadline.min(comments_until)
            } else {
                deadline
            };
            let mut error = None;
            match self.read_by(Some(until), &mut error) {
                Ok(0) => {
                    return Beginning::Broken("the stream ended before its first event".into());
                }
                Ok(_) => {}
                Err(err) if err.kind() == io::ErrorKind::TimedOut && until < deadline => continue,
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
            if self.scanner.first().is_some() || self.is_encoded || self.ready >= HOLD_LIMIT {
                return Beginning::Event;
            }
        }
    }

    /// Waits for more. 0: it has ended as its framing says.
    ///
    /// # Errors
    /// `TimedOut` after `idleSeconds` of silence; anything else when the endpoint broke it off.
    pub fn read(&mut self) -> io::Result<usize> {
        self.read_by(None, &mut None)
    }

    /// What may go to the client.
    pub fn ready(&self) -> &[u8] {
        &self.bytes[..self.ready]
    }

    /// It has gone.
    pub fn passed(&mut self) {
        self.bytes.copy_within(self.ready..self.filled, 0);
        self.filled -= self.ready;
        self.ready = 0;
    }

    /// What has come and is held back: the beginning of an event.
    pub fn held(&self) -> &[u8] {
        &self.bytes[self.ready..self.filled]
    }

    /// Whether the stream may end here: a message stream at `message_stop` only, any other one where it is framed to.
    pub fn is_complete(&self) -> bool {
        !self.scanner.is_message_stream() || (self.scanner.is_stopped() && self.scanner.is_whole())
    }

    /// It is a message, and has told all of it: whatever the endpoint does now, it is whole.
    pub fn has_stopped(&self) -> bool {
        self.scanner.is_message_stream() && self.scanner.is_stopped()
    }

    /// Looks for the endpoint's own end of a stream that has stopped, before the client can know that it has all: the endpoint's
    /// connection is free when the client's next request comes.
    pub fn look_for_end(&mut self) {
        self.reach_end(END_BEFORE);
    }

    /// Looks for it once more, when the client has its answer.
    pub fn finish(mut self) {
        if self.has_stopped() {
            self.reach_end(END_AFTER);
        }
    }

    fn reach_end(&mut self, within: Duration) {
        let deadline = Instant::now() + within;
        let mut rest = [0; 512];
        while !self.has_ended {
            match self.body.read_by(deadline, &mut rest) {
                Ok(1..) => {}
                Err(err) if err.kind() == io::ErrorKind::TimedOut => return,
                Ok(_) | Err(_) => self.has_ended = true,
            }
        }
    }

    pub fn is_encoded(&self) -> bool {
        self.is_encoded
    }

    /// It has told of an error itself.
    pub fn has_failed(&self) -> bool {
        self.scanner.has_failed()
    }

    /// See [`Scanner::closing`].
    pub fn closing(&self) -> &'static [u8] {
        self.scanner.closing()
    }

    /// The tokens that it has told of so far.
    pub fn usage(&self) -> Option<Usage> {
        self.usage.usage()
    }

    /// One read. `error` takes the data of an `error` event.
    fn read_by(
        &mut self,
        deadline: Option<Instant>,
        error: &mut Option<String>,
    ) -> io::Result<usize> {
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
        self.ready = if self.is_encoded {
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
}

//! An answer's body whose beginning can be looked at before anybody has decided what becomes of it.

use std::io;
use std::mem;
use std::time::{Duration, Instant};

use crate::upstream::Body;

/// Bytes of the largest piece.
const PIECE: usize = 8 << 10;
/// How long all looks at an error may take together, from its head on: an error's body comes with it.
const PATIENCE: Duration = Duration::from_secs(2);

/// A body, and what was read of it ahead of its reader.
pub struct Looked {
    body: Body,
    /// Bytes that are made room for at a time.
    piece: usize,
    ahead: Vec<u8>,
    /// How the body went on behind `ahead`, where that is known: its end, or why it broke.
    ending: Option<io::Result<()>>,
    look_until: Instant,
}

impl Looked {
    /// `length`: what the endpoint announced.
    pub fn new(body: Body, length: Option<u64>) -> Looked {
        let length = length.and_then(|length| usize::try_from(length).ok());
        Looked {
            body,
            // One more than that, so that the end is seen with the last byte.
            piece: length.map_or(PIECE, |length| PIECE.min(length + 1)),
            ahead: Vec::new(),
            ending: None,
            look_until: Instant::now() + PATIENCE,
        }
    }

    /// What comes first, waited for as its reader would: one piece, or nothing where the body ends or breaks.
    pub fn first(&mut self, most: usize) -> &[u8] {
        self.ahead(most, None);
        &self.ahead
    }

    /// The beginning: `most` bytes, or all that come before the body ends, breaks, or the time for looking is up.
    pub fn beginning(&mut self, most: usize) -> &[u8] {
        while self.ahead(most, Some(self.look_until)) {}
        &self.ahead
    }

    /// The body is empty, and has ended as announced.
    pub fn is_empty(&self) -> bool {
        self.ahead.is_empty() && matches!(self.ending, Some(Ok(())))
    }

    /// What was read ahead, before any other byte: it has not to be copied for its reader.
    pub fn take_ahead(&mut self) -> Vec<u8> {
        mem::take(&mut self.ahead)
    }

    /// What follows it. See [`Body::read`].
    pub fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        debug_assert!(self.ahead.is_empty(), "that comes first");
        match self.ending.take() {
            None => self.body.read(buf),
            Some(Ok(())) => {
                self.ending = Some(Ok(()));
                Ok(0)
            }
            Some(Err(err)) => Err(err),
        }
    }

    /// The body, for a reader that nobody has looked ahead of.
    pub fn into_body(self) -> Body {
        debug_assert!(self.ahead.is_empty() && self.ending.is_none());
        self.body
    }

    /// Reads one piece ahead. False where there is no more to look at.
    fn ahead(&mut self, most: usize, deadline: Option<Instant>) -> bool {
        let filled = self.ahead.len();
        if filled >= most || self.ending.is_some() {
            return false;
        }
        self.ahead.resize(most.min(filled + self.piece), 0);
        let room = &mut self.ahead[filled..];
        let more = match deadline {
            Some(deadline) => self.body.read_by(deadline, room),
            None => self.body.read(room),
        };
        self.ahead
            .truncate(filled + more.as_ref().map_or(0, |more| *more));
        match more {
            Ok(1..) => true,
            Ok(_) => {
                self.ending = Some(Ok(()));
                false
            }
            // Who reads on waits for it: the time was up for looking only.
            Err(err) if deadline.is_some() && err.kind() == io::ErrorKind::TimedOut => false,
            Err(err) => {
                self.ending = Some(Err(err));
                false
            }
        }
    }
}

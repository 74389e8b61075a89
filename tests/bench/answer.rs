//! Reads one HTTP answer as its bytes come, and what the fake upstream wrote into its events.

use memchr::{memchr, memmem};

use crate::samples::Samples;

/// Bytes of a body's end that are kept, to see whether a stream ended as it should.
const TAIL: usize = 64;

pub struct Answer {
    pub status: u16,
    /// Those with a time in them, so far.
    pub events: u32,
    /// A stream of which something has come behind the head.
    pub begun: bool,
    streamed: bool,
    head: Vec<u8>,
    state: State,
    /// The time that is being read, digit by digit: a piece may end in its middle.
    stamp: Option<u64>,
    tail: Vec<u8>,
}

enum State {
    Head,
    Length(usize),
    ChunkSize(usize),
    Chunk(usize),
    /// The line end after a chunk.
    ChunkEnd,
    /// The lines after the last chunk; how long the current one is.
    Trailer(usize),
    Done,
}

impl Answer {
    pub fn new() -> Answer {
        let (status, head, tail) = (0, Vec::new(), Vec::new());
        Answer {
            status,
            events: 0,
            begun: false,
            streamed: false,
            head,
            state: State::Head,
            stamp: None,
            tail,
        }
    }

    /// Ready for the next one.
    pub fn reset(&mut self) {
        self.head.clear();
        self.tail.clear();
        (self.status, self.events) = (0, 0);
        (self.streamed, self.begun) = (false, false);
        (self.state, self.stamp) = (State::Head, None);
    }

    /// A stream that has its last event, or any other answer that came whole.
    pub fn is_whole(&self) -> bool {
        matches!(self.state, State::Done)
            && (!self.streamed || memmem::find(&self.tail, b"message_stop").is_some())
    }

    /// True when the answer is complete. The delays of events since they were sent go to `delays`.
    pub fn take(
        &mut self,
        mut bytes: &[u8],
        now: u64,
        delays: &mut Samples,
    ) -> Result<bool, &'static str> {
        while !bytes.is_empty() {
            match self.state {
                State::Head => bytes = self.take_head(bytes)?,
                State::Length(left) => {
                    let piece = &bytes[..left.min(bytes.len())];
                    self.state = if piece.len() == left {
                        State::Done
                    } else {
                        State::Length(left - piece.len())
                    };
                    bytes = &bytes[piece.len()..];
                }
                State::Chunk(left) => {
                    let piece = &bytes[..left.min(bytes.len())];
                    self.take_piece(piece, now, delays);
                    self.state = if piece.len() == left {
                        State::ChunkEnd
                    } else {
                        State::Chunk(left - piece.len())
                    };
                    bytes = &bytes[piece.len()..];
                }
                State::ChunkSize(size) => {
                    self.state = match bytes[0] {
                        b'\n' if size == 0 => State::Trailer(0),
                        b'\n' => State::Chunk(size),
                        b'\r' => State::ChunkSize(size),
                        digit => {
                            let digit = (digit as char)
                                .to_digit(16)
                                .ok_or("a chunk size that is none")?;
                            State::ChunkSize(size * 16 + digit as usize)
                        }
                    };
                    bytes = &bytes[1..];
                }
                State::ChunkEnd => {
                    if bytes[0] == b'\n' {
                        self.state = State::ChunkSize(0);
                    }
                    bytes = &bytes[1..];
                }
                State::Trailer(length) => {
                    self.state = match bytes[0] {
                        b'\n' if length == 0 => State::Done,
                        b'\n' => State::Trailer(0),
                        b'\r' => State::Trailer(length),
                        _ => State::Trailer(length + 1),
                    };
                    bytes = &bytes[1..];
                }
                State::Done => return Err("bytes behind the answer's end"),
            }
        }
        Ok(matches!(self.state, State::Done))
    }

    /// What follows the head.
    fn take_head<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], &'static str> {
        // Almost always the head comes at once: then nothing is copied.
        if self.head.is_empty()
            && let Some(end) = memmem::find(bytes, b"\r\n\r\n")
        {
            self.judge(&bytes[..end + 2])?;
            return Ok(&bytes[end + 4..]);
        }
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let Some(end) = memmem::find(&self.head, b"\r\n\r\n") else {
            return Ok(&[]);
        };
        let head = std::mem::take(&mut self.head);
        self.judge(&head[..end + 2])?;
        Ok(&bytes[end + 4 - before..])
    }

    fn judge(&mut self, head: &[u8]) -> Result<(), &'static str> {
        let status = head
            .get(9..12)
            .and_then(|digits| std::str::from_utf8(digits).ok());
        self.status = status
            .and_then(|digits| digits.parse().ok())
            .ok_or("no status line")?;
        self.state = State::Trailer(0);
        let mut framed = false;
        let mut rest = head;
        while let Some(end) = memchr(b'\n', rest) {
            let line = &rest[..end];
            rest = &rest[end + 1..];
            let Some(colon) = memchr(b':', line) else {
                continue;
            };
            let value = line[colon + 1..].trim_ascii();
            match colon {
                14 if line[..14].eq_ignore_ascii_case(b"content-length") => {
                    let digits = std::str::from_utf8(value).map_err(|_| "a length that is none")?;
                    let length = digits.parse().map_err(|_| "a length that is none")?;
                    self.state = if length == 0 {
                        State::Done
                    } else {
                        State::Length(length)
                    };
                    framed = true;
                }
                17 if line[..17].eq_ignore_ascii_case(b"transfer-encoding") => {
                    self.state = State::ChunkSize(0);
                    framed = true;
                }
                12 if line[..12].eq_ignore_ascii_case(b"content-type") => {
                    self.streamed = value.starts_with(b"text/event-stream");
                }
                _ => {}
            }
        }
        if framed {
            Ok(())
        } else {
            Err("an answer without framing")
        }
    }

    fn take_piece(&mut self, piece: &[u8], now: u64, delays: &mut Samples) {
        if !self.streamed {
            return;
        }
        self.begun = true;
        self.tail
            .extend_from_slice(&piece[piece.len().saturating_sub(TAIL)..]);
        self.tail.drain(..self.tail.len().saturating_sub(TAIL));
        let mut rest = piece;
        while !rest.is_empty() {
            let Some(sent) = self.stamp else {
                let Some(at) = memchr(b'@', rest) else { return };
                self.stamp = Some(0);
                rest = &rest[at + 1..];
                continue;
            };
            self.stamp = match rest[0] {
                digit @ b'0'..=b'9' => Some(sent * 10 + u64::from(digit - b'0')),
                _ => {
                    delays.push(now.saturating_sub(sent));
                    self.events += 1;
                    None
                }
            };
            rest = &rest[1..];
        }
    }
}

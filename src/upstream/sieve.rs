//! What ureq gets to see of an answer's bytes.
//!
//! ureq fails on some answers that are well-formed: interim ones (1xx) that have header fields, and chunk-size lines over 20 bytes. It
//! waits for ever on trailers that do not end. So the sieve drops interim answers, chunk extensions and trailers, all of them bounded,
//! and passes everything else as it is. No I/O in here; bytes are dropped where they lie.

use memchr::memchr;

/// Bytes of an answer's head that we take; the Claude API's are about 2 KiB.
pub const MAX_HEAD: usize = 64 << 10;
/// Interim answers before the real one. A server that says "still there" (102) every ten seconds for `responseSeconds` stays below.
const MAX_INTERIM: usize = 100;
/// Bytes of a chunk-size line's extensions, and of all trailers; nobody is known to send more than some hundred.
const MAX_DROPPED: usize = 16 << 10;

const ENDLESS_HEAD: Malformed = Malformed("a head that does not end within 64 KiB");

/// Why bytes are no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed(pub &'static str);

/// Of the bytes that were looked at, `taken` need no second look, and the first `kept` of them are for ureq.
#[derive(Debug, PartialEq, Eq)]
pub struct Sifted {
    pub kept: usize,
    pub taken: usize,
}

/// Follows one connection's answers, one call after the other.
#[derive(Debug, Default)]
pub struct Sieve {
    state: State,
    /// Of the head that is being read. `None` before its first line is whole.
    status: Option<u16>,
    chunked: bool,
    interim: usize,
    /// Bytes that were dropped, or passed as lines of a head, since the last thing that is bounded by itself.
    counted: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Head,
    /// Everything else passes as it is.
    Open,
    /// A chunk's size: its digits so far, and where in the line we are.
    Size(u64, Line),
    Data(u64),
    /// The line end behind a chunk.
    DataEnd,
    Trailer,
    Ended,
    Lost(Malformed),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Digits(u8),
    Extension,
    End,
}

impl Sieve {
    /// The status of the answer that is being read; `None` while only interim ones have come.
    pub fn status(&self) -> Option<u16> {
        self.status.filter(|status| !(100..200).contains(status))
    }

    /// Whether another answer may follow on the same connection, as far as the framing tells.
    pub fn is_at_rest(&self) -> bool {
        // An answer to HEAD may say that it is chunked, and have no chunk.
        matches!(
            self.state,
            State::Open | State::Ended | State::Size(_, Line::Digits(0))
        )
    }

    /// Why nothing more is let through, where that is so.
    pub fn lost(&self) -> Option<Malformed> {
        match self.state {
            State::Lost(why) => Some(why),
            _ => None,
        }
    }

    /// Works through the next bytes. Where they are malformed, what stands before that is kept all the same, and
    /// [`Sieve::lost`] tells.
    pub fn sift(&mut self, bytes: &mut [u8]) -> Sifted {
        let mut at = Sifted { kept: 0, taken: 0 };
        while at.taken < bytes.len() {
            let before = (at.taken, self.state);
            if let Err(why) = self.step(bytes, &mut at) {
                self.state = State::Lost(why);
            }
            if (at.taken, self.state) == before {
                break;
            }
        }
        at
    }

    fn step(&mut self, bytes: &mut [u8], at: &mut Sifted) -> Result<(), Malformed> {
        match self.state {
            State::Head => self.head(bytes, at)?,
            State::Open | State::Ended => pass(bytes, at, u64::MAX),
            State::Data(left) => {
                let passed = left.min((bytes.len() - at.taken) as u64);
                pass(bytes, at, passed);
                self.state = match left - passed {
                    0 => State::DataEnd,
                    left => State::Data(left),
                };
            }
            State::Size(size, line) => self.size(size, line, bytes, at)?,
            State::DataEnd => self.data_end(bytes, at)?,
            State::Trailer => self.trailer(bytes, at)?,
            State::Lost(_) => {}
        }
        Ok(())
    }

    /// Takes whole lines of a head. Those of the final one are shown as they come: ureq judges them.
    fn head(&mut self, bytes: &mut [u8], at: &mut Sifted) -> Result<(), Malformed> {
        let rest = &bytes[at.taken..];
        if self.status.is_none() && !may_be_http(rest) {
            self.state = State::Open;
            return Ok(());
        }
        let Some(end) = memchr(b'\n', rest) else {
            return match self.counted + rest.len() > MAX_HEAD {
                true => Err(ENDLESS_HEAD),
                false => Ok(()),
            };
        };
        let (line, length) = (&rest[..end], end + 1);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        self.count(length, MAX_HEAD, ENDLESS_HEAD)?;
        if self.status.is_none() && !line.is_empty() {
            self.status = Some(status(line).unwrap_or_default());
        }
        self.chunked |= is_chunked(line);
        let is_last = line.is_empty();
        match self.status {
            // Some old servers send an empty line before it.
            None => at.taken += length,
            Some(101) => {
                return Err(Malformed("another protocol (101), which nobody asked for"));
            }
            Some(100..200) => {
                at.taken += length;
                if is_last {
                    self.interim_ended()?;
                }
            }
            Some(_) => {
                pass(bytes, at, length as u64);
                if is_last {
                    self.counted = 0;
                    self.state = match self.chunked {
                        true => State::Size(0, Line::Digits(0)),
                        false => State::Open,
                    };
                }
            }
        }
        Ok(())
    }

    fn interim_ended(&mut self) -> Result<(), Malformed> {
        self.interim += 1;
        (self.status, self.chunked) = (None, false);
        match self.interim > MAX_INTERIM {
            true => Err(Malformed("interim answers (1xx) without an end")),
            false => Ok(()),
        }
    }

    /// One byte of a chunk-size line.
    fn size(
        &mut self,
        size: u64,
        line: Line,
        bytes: &mut [u8],
        at: &mut Sifted,
    ) -> Result<(), Malformed> {
        let byte = bytes[at.taken];
        let state = match (line, byte) {
            (Line::Digits(digits @ 0..16), _) if byte.is_ascii_hexdigit() => {
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                pass(bytes, at, 1);
                self.state = State::Size(size << 4 | u64::from(digit), Line::Digits(digits + 1));
                return Ok(());
            }
            (Line::Digits(1..) | Line::Extension, b'\r') => State::Size(size, Line::End),
            (Line::Digits(1..), b';' | b' ' | b'\t') => State::Size(size, Line::Extension),
            (Line::Extension, 0x20.. | b'\t') => {
                self.count(
                    1,
                    MAX_DROPPED,
                    Malformed("a chunk's line that does not end"),
                )?;
                State::Size(size, line)
            }
            (Line::End, b'\n') => {
                // Both bytes of the line's end were taken, and there is room for them.
                bytes[at.kept..at.kept + 2].copy_from_slice(b"\r\n");
                at.kept += 2;
                self.counted = 0;
                match size {
                    0 => State::Trailer,
                    _ => State::Data(size),
                }
            }
            _ => return Err(Malformed("a chunk's size that is none")),
        };
        if state == State::Size(size, Line::End) && at.taken + 1 == bytes.len() {
            // Its line feed has not come: both are looked at together.
            return Ok(());
        }
        at.taken += 1;
        self.state = state;
        Ok(())
    }

    /// One line of a trailer. Nobody in here knows trailers: they are dropped, but for the empty line that ends the body.
    fn trailer(&mut self, bytes: &mut [u8], at: &mut Sifted) -> Result<(), Malformed> {
        let rest = &bytes[at.taken..];
        let end = memchr(b'\n', rest);
        let length = end.map_or(rest.len(), |end| end + 1);
        let endless = Malformed("trailers that do not end");
        self.count(length, MAX_DROPPED, endless)?;
        match end {
            // It is not taken yet, and counted again when more of it is here.
            None => self.counted -= length,
            Some(1) if rest[0] == b'\r' => {
                pass(bytes, at, 2);
                self.state = State::Ended;
            }
            Some(end) if end > 1 && rest[end - 1] == b'\r' => at.taken += length,
            Some(_) => return Err(Malformed("a trailer's line without its end")),
        }
        Ok(())
    }

    /// The two bytes behind a chunk.
    fn data_end(&mut self, bytes: &mut [u8], at: &mut Sifted) -> Result<(), Malformed> {
        let rest = &bytes[at.taken..];
        if !b"\r\n".starts_with(&rest[..rest.len().min(2)]) {
            return Err(Malformed("a chunk that is longer than its size"));
        }
        if rest.len() >= 2 {
            pass(bytes, at, 2);
            self.state = State::Size(0, Line::Digits(0));
        }
        Ok(())
    }

    fn count(&mut self, bytes: usize, most: usize, otherwise: Malformed) -> Result<(), Malformed> {
        self.counted += bytes;
        match self.counted > most {
            true => Err(otherwise),
            false => Ok(()),
        }
    }
}

/// Keeps the next bytes, `most` of them at most.
fn pass(bytes: &mut [u8], at: &mut Sifted, most: u64) {
    let left = bytes.len() - at.taken;
    let amount = usize::try_from(most).map_or(left, |most| most.min(left));
    if at.kept != at.taken {
        bytes.copy_within(at.taken..at.taken + amount, at.kept);
    }
    at.kept += amount;
    at.taken += amount;
}

/// Whether bytes can be the start of a head. What cannot is ureq's to refuse, at once and not when its line ends.
fn may_be_http(bytes: &[u8]) -> bool {
    let blank = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n'));
    let start = &bytes[blank.count()..];
    let wanted = b"HTTP/1.";
    wanted.starts_with(&start[..start.len().min(wanted.len())])
}

/// Of `HTTP/1.1 200 OK` (RFC 9112 §4).
fn status(line: &[u8]) -> Option<u16> {
    let digits = line.get(8..12)?.strip_prefix(b" ")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// Whether a header line makes an answer a chunked one, as ureq reads it.
fn is_chunked(line: &[u8]) -> bool {
    const NAME: &[u8] = b"transfer-encoding:";
    let Some((name, value)) = line.split_at_checked(NAME.len()) else {
        return false;
    };
    let names_chunks = |item: &[u8]| item.trim_ascii().eq_ignore_ascii_case(b"chunked");
    name.eq_ignore_ascii_case(NAME) && value.split(|&b| b == b',').any(names_chunks)
}

#[cfg(test)]
mod tests;

//! A request's body, put together from the client's bytes as they come: whole, bounded, without its framing. No I/O.

use memchr::memchr;

use super::body_budget::Charge;
use super::head::Framing;
use super::refusal::{BODIES_FULL, BODY_TOO_LARGE, Refusal, malformed};

/// A body grows in steps of this at least, so that memory follows what has come and not what was announced.
const STEP: usize = 64 << 10;
/// Up to this size a body gets its room at once: that costs addresses, and memory only where bytes come.
const ROOM: usize = 2 << 20;
/// Bytes of a chunk's size line.
const MAX_CHUNK_LINE: usize = 4 << 10;
/// Bytes of all trailer lines.
const MAX_TRAILERS: usize = 16 << 10;

pub const TOO_SHORT: Refusal = malformed("the body is shorter than announced");

/// A request's body, which takes its share of the memory for bodies as long as it is held.
#[derive(Default)]
pub struct Body {
    pub bytes: Vec<u8>,
    _charge: Option<Charge>,
}

/// A body that is being read.
pub struct BodyReader {
    bytes: Vec<u8>,
    /// Bytes at the end of `bytes` that have room and have not come.
    missing: usize,
    /// Bytes that belong to the part that is being read, and have no room yet.
    left: usize,
    /// What comes next where `missing` and `left` are used up.
    next: Next,
    /// Bytes of trailers that may still come.
    trailers_left: usize,
    limit: usize,
    charge: Charge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Next {
    ChunkSize,
    ChunkEnd,
    Trailer,
    Nothing,
}

impl BodyReader {
    /// `limit`: the longest that is taken, in bytes.
    ///
    /// # Errors
    /// It is announced as longer, or there is no memory for it.
    pub fn new(framing: Framing, limit: usize, charge: Charge) -> Result<BodyReader, Refusal> {
        let mut body = BodyReader {
            bytes: Vec::new(),
            missing: 0,
            left: 0,
            next: Next::ChunkSize,
            trailers_left: MAX_TRAILERS,
            limit,
            charge,
        };
        if let Framing::Length(length) = framing {
            body.next = Next::Nothing;
            body.expect(length)?;
        }
        Ok(body)
    }

    /// Takes from `input` what belongs to the body. Answers whether it is whole now; where it is not, all of the input was used but
    /// for the beginning of a line.
    ///
    /// # Errors
    /// The framing is malformed, the body over its limit, or there is no memory for it.
    pub fn take(&mut self, input: &mut &[u8]) -> Result<bool, Refusal> {
        loop {
            self.fill(input)?;
            if self.missing > 0 {
                return Ok(false);
            }
            if self.next == Next::Nothing {
                return Ok(true);
            }
            let limit = match self.next {
                Next::ChunkSize => MAX_CHUNK_LINE,
                Next::ChunkEnd => 2,
                _ => self.trailers_left,
            };
            let Some(line) = line(input, limit)? else {
                return Ok(false);
            };
            self.read_line(line)?;
        }
    }

    /// Where bytes of the body that are still in the socket may be read to straight. Empty where a line comes next.
    pub fn spare(&mut self) -> &mut [u8] {
        let start = self.bytes.len() - self.missing;
        &mut self.bytes[start..]
    }

    /// So many were read there.
    pub fn filled(&mut self, amount: usize) {
        self.missing -= amount;
    }

    /// The body, once it is whole.
    pub fn finish(self) -> Body {
        Body {
            bytes: self.bytes,
            _charge: Some(self.charge),
        }
    }

    fn read_line(&mut self, line: &[u8]) -> Result<(), Refusal> {
        self.next = match self.next {
            Next::ChunkSize => match chunk_size(line)? {
                0 => Next::Trailer,
                size => {
                    self.expect(size)?;
                    Next::ChunkEnd
                }
            },
            Next::ChunkEnd if line.is_empty() => Next::ChunkSize,
            Next::ChunkEnd => return Err(malformed("a chunk does not end where its size says")),
            // Trailers belong to this connection: read, bounded, dropped.
            _ if line.is_empty() => Next::Nothing,
            next => {
                self.trailers_left = self.trailers_left.saturating_sub(line.len() + 2);
                next
            }
        };
        Ok(())
    }

    /// So many bytes of the body follow.
    fn expect(&mut self, size: u64) -> Result<(), Refusal> {
        self.left = usize::try_from(size)
            .ok()
            .filter(|&size| size <= self.limit - self.bytes.len())
            .ok_or(BODY_TOO_LARGE)?;
        self.bytes.reserve(self.left.min(ROOM));
        Ok(())
    }

    /// Fills the room that there is, and makes more as long as there are bytes for it, or some are to come.
    fn fill(&mut self, input: &mut &[u8]) -> Result<(), Refusal> {
        loop {
            let here = self.missing.min(input.len());
            let (now, later) = input.split_at(here);
            self.spare()[..here].copy_from_slice(now);
            self.missing -= here;
            *input = later;
            if self.missing > 0 || self.left == 0 {
                return Ok(());
            }
            // Where all is here already, it needs no more room than that.
            let step = self.left.min(self.bytes.len().max(STEP));
            self.grow(step)?;
        }
    }

    fn grow(&mut self, step: usize) -> Result<(), Refusal> {
        let end = self.bytes.len() + step;
        if !self.charge.grow_to(end) {
            return Err(BODIES_FULL);
        }
        self.bytes.resize(end, 0);
        self.missing = step;
        self.left -= step;
        Ok(())
    }
}

/// The next line without its CR LF, if it is there whole.
fn line<'a>(input: &mut &'a [u8], limit: usize) -> Result<Option<&'a [u8]>, Refusal> {
    const MALFORMED: Refusal = malformed("malformed chunk");
    let Some(at) = memchr(b'\n', input) else {
        return if input.len() > limit + 1 {
            Err(MALFORMED)
        } else {
            Ok(None)
        };
    };
    if at == 0 || input[at - 1] != b'\r' || at - 1 > limit {
        return Err(MALFORMED);
    }
    let line = &input[..at - 1];
    *input = &input[at + 1..];
    Ok(Some(line))
}

/// Chunk extensions are allowed and mean nothing to us (RFC 9112 §7.1.1).
fn chunk_size(line: &[u8]) -> Result<u64, Refusal> {
    const MALFORMED: Refusal = malformed("malformed chunk size");
    if line.iter().any(|&b| b.is_ascii_control() && b != b'\t') {
        return Err(MALFORMED);
    }
    let digits = line
        .split(|&b| b == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii_end();
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(MALFORMED);
    }
    let digits = std::str::from_utf8(digits).map_err(|_| MALFORMED)?;
    u64::from_str_radix(digits, 16).map_err(|_| MALFORMED)
}

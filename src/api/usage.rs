//! How many tokens an answer cost, read as it passes.
//!
//! `StreamUsage` takes the events of a message stream, `BodyUsage` the pieces of a JSON message. Both only look: no byte
//! is held back, delayed or changed. What they cannot read (a compressed answer, another shape, an answer that was cut)
//! counts as nothing; it is never an error. No I/O and no clock in here.

use memchr::memchr;
use serde::Deserialize;

use crate::api::events::Kind;

/// Tokens of one answer, by kind. What the answer does not name is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_write: u64,
}

/// More tokens of one kind in one answer are nonsense: the largest context of a model holds some millions.
const MOST_TOKENS: u64 = 100_000_000;

impl Usage {
    /// False where the endpoint talks nonsense, which would make all sums nonsense, too.
    pub fn is_believable(&self) -> bool {
        let counts = [self.input, self.output, self.cache_read, self.cache_write];
        counts.iter().all(|count| *count <= MOST_TOKENS)
    }

    fn take(&mut self, counts: &Counts) {
        let fields = [
            (&mut self.input, counts.input_tokens),
            (&mut self.output, counts.output_tokens),
            (&mut self.cache_read, counts.cache_read_input_tokens),
            (&mut self.cache_write, counts.cache_creation_input_tokens),
        ];
        for (field, count) in fields {
            *field = count.unwrap_or(*field);
        }
    }
}

/// A `usage` object as the API writes it; everything else in it is of no interest here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Counts {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
}

/// Reads the usage out of a message stream's events.
#[derive(Debug, Default)]
pub struct StreamUsage {
    usage: Option<Usage>,
}

impl StreamUsage {
    /// Looks at one whole event. All but two kinds cost a comparison.
    pub fn event(&mut self, kind: Kind, data: &[u8]) {
        let counts = match kind {
            Kind::MessageStart => serde_json::from_slice::<Start>(data)
                .ok()
                .and_then(|start| start.message.usage),
            // Its counts are cumulative: a later one replaces an earlier one, where it is there.
            Kind::MessageDelta => serde_json::from_slice::<Message>(data)
                .ok()
                .and_then(|delta| delta.usage),
            _ => return,
        };
        if let Some(counts) = counts {
            self.usage.get_or_insert_default().take(&counts);
        }
    }

    /// What was seen so far. A stream that breaks has cost what it said until then.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }
}

#[derive(Deserialize)]
struct Start {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    usage: Option<Counts>,
}

/// Longest `usage` object that is read, in bytes. The API's own are under 500; a longer one counts as none.
const MAX_OBJECT: usize = 4 << 10;

const KEY: &[u8] = b"usage";

/// Finds the `usage` object at the top level of a JSON object that comes in pieces of any size.
///
/// It follows strings and brackets and nothing else, so it takes what is not JSON without complaint. A key that is
/// written with escapes (`"us\u0061ge"`) is not recognised: nobody writes one.
#[derive(Debug, Default)]
pub struct BodyUsage {
    place: Place,
    /// Open brackets, of both kinds.
    depth: u32,
    in_string: bool,
    /// The piece before ended in a string, on a backslash that escapes the next byte.
    escaped: bool,
    /// The beginning of a `usage` object that is spread over several pieces.
    held: Vec<u8>,
    usage: Option<Usage>,
}

/// Where in the top-level object the scanner is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Place {
    /// Before its opening brace.
    #[default]
    Before,
    /// At a place where a key comes next.
    BeforeKey,
    /// In a key whose first bytes are that many of `KEY`; `None`: it is another one.
    Key(Option<usize>),
    /// After the key `usage`.
    BeforeUsage,
    /// In the `usage` object.
    Usage,
    /// In or after any other value.
    Value,
    /// After its closing brace, or in something that is not an object.
    Over,
}

impl BodyUsage {
    /// Looks at the next piece of the body.
    pub fn piece(&mut self, piece: &[u8]) {
        let mut at = 0;
        // Where the part of the `usage` object that lies in this piece begins.
        let mut from = 0;
        while at < piece.len() && self.place != Place::Over {
            if self.in_string {
                at = self.pass_string(piece, at);
                continue;
            }
            let byte = piece[at];
            at += 1;
            match byte {
                b'"' => {
                    self.in_string = true;
                    match self.place {
                        Place::BeforeKey => self.place = Place::Key(Some(0)),
                        Place::BeforeUsage => self.place = Place::Value,
                        Place::Before => self.place = Place::Over,
                        _ => {}
                    }
                }
                b'{' | b'[' => {
                    self.depth = self.depth.saturating_add(1);
                    match (self.place, byte) {
                        (Place::Before, b'{') => self.place = Place::BeforeKey,
                        (Place::Before, _) => self.place = Place::Over,
                        (Place::BeforeUsage, b'{') => {
                            self.place = Place::Usage;
                            self.held.clear();
                            from = at - 1;
                        }
                        (Place::Usage, _) => {}
                        _ => self.place = Place::Value,
                    }
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        self.place = Place::Over;
                    } else if self.depth == 1 && self.place == Place::Usage {
                        self.hold(&piece[from..at]);
                        self.read_held();
                        self.place = Place::Value;
                    }
                }
                b',' if self.depth == 1 => self.place = Place::BeforeKey,
                _ => {}
            }
        }
        if self.place == Place::Usage {
            self.hold(&piece[from..]);
        }
    }

    /// The usage, once the body has come whole; a body that was cut has none.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
            .filter(|_| self.place == Place::Over && self.depth == 0)
    }

    /// From `start` in a string to behind its end, or to the end of the piece.
    ///
    /// Only quotes are looked for, since texts are full of other escapes: a quote belongs to the text when an odd number
    /// of backslashes stands before it.
    fn pass_string(&mut self, piece: &[u8], start: usize) -> usize {
        let mut at = start;
        loop {
            let stop = memchr(b'"', &piece[at..]).map_or(piece.len(), |found| at + found);
            if let Place::Key(Some(matched)) = self.place {
                let same = KEY[matched..].starts_with(&piece[at..stop]);
                self.place = Place::Key(same.then_some(matched + stop - at));
            }
            let before = &piece[start..stop];
            let backslashes = before
                .iter()
                .rev()
                .take_while(|byte| **byte == b'\\')
                .count();
            let carried = self.escaped && backslashes == before.len();
            let escaped = (backslashes % 2 == 1) != carried;
            if stop == piece.len() {
                self.escaped = escaped;
                return stop;
            }
            at = stop + 1;
            if !escaped {
                self.escaped = false;
                self.in_string = false;
                if let Place::Key(matched) = self.place {
                    let found = matched == Some(KEY.len());
                    self.place = if found {
                        Place::BeforeUsage
                    } else {
                        Place::Value
                    };
                }
                return at;
            }
        }
    }

    /// Keeps a part of the `usage` object, or gives the object up when it is too long.
    fn hold(&mut self, part: &[u8]) {
        if self.held.len() + part.len() > MAX_OBJECT {
            self.held = Vec::new();
            self.place = Place::Value;
            return;
        }
        self.held.extend_from_slice(part);
    }

    fn read_held(&mut self) {
        if let Ok(counts) = serde_json::from_slice::<Counts>(&self.held) {
            self.usage.get_or_insert_default().take(&counts);
        }
    }
}

#[cfg(test)]
mod tests;

//! Walks through JSON without building anything: just as far as somebody wants to know, and at the speed of a search for quotes.
//!
//! It takes what is JSON, and some of what is not: whoever serves the request judges its grammar. Nothing here recurses.

use std::ops::Range;

use memchr::{memchr, memchr2};

/// Where we are in some bytes. Every method answers `None` where they are no JSON, or end too early.
pub struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    pub fn new(bytes: &'a [u8]) -> Scan<'a> {
        Scan { bytes, at: 0 }
    }

    /// Where the next value begins.
    pub fn at(&self) -> usize {
        self.at
    }

    /// The next byte that is no white space; it is not passed.
    pub fn peek(&mut self) -> Option<u8> {
        let rest = &self.bytes[self.at..];
        let blanks = rest.iter().take_while(|b| b.is_ascii_whitespace()).count();
        self.at += blanks;
        self.bytes.get(self.at).copied()
    }

    /// Goes through the members of the object that comes: `member` is called with each key, and must pass the value. Where it answers
    /// false nothing more is read.
    pub fn object(
        &mut self,
        mut member: impl FnMut(Raw<'a>, &mut Scan<'a>) -> Option<bool>,
    ) -> Option<()> {
        self.take(b'{')?;
        if self.peek()? == b'}' {
            self.at += 1;
            return Some(());
        }
        loop {
            let key = self.string()?;
            self.take(b':')?;
            if !member(key, self)? {
                return Some(());
            }
            match self.peek()? {
                b',' => self.at += 1,
                b'}' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
            self.peek()?;
        }
    }

    /// The same for the items of an array.
    pub fn array(&mut self, mut item: impl FnMut(&mut Scan<'a>) -> Option<bool>) -> Option<()> {
        self.take(b'[')?;
        if self.peek()? == b']' {
            self.at += 1;
            return Some(());
        }
        loop {
            if !item(self)? {
                return Some(());
            }
            match self.peek()? {
                b',' => self.at += 1,
                b']' => {
                    self.at += 1;
                    return Some(());
                }
                _ => return None,
            }
        }
    }

    /// A string, as it is written.
    pub fn string(&mut self) -> Option<Raw<'a>> {
        self.take(b'"')?;
        let start = self.at;
        loop {
            let rest = &self.bytes[self.at..];
            let found = memchr2(b'"', b'\\', rest)?;
            self.at += found + 1;
            if rest[found] == b'"' {
                return Some(Raw(&self.bytes[start..self.at - 1]));
            }
            // Whatever is escaped ends nothing.
            self.at += 1;
            if self.at > self.bytes.len() {
                return None;
            }
        }
    }

    /// Passes any value.
    pub fn skip(&mut self) -> Option<Range<usize>> {
        self.peek()?;
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match self.peek()? {
                b'"' => {
                    self.string()?;
                }
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                    continue;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                b',' | b':' if depth > 0 => {
                    self.at += 1;
                    continue;
                }
                _ => self.word()?,
            }
            if depth == 0 {
                return Some(start..self.at);
            }
        }
    }

    /// A number, `true`, `false` or `null`.
    fn word(&mut self) -> Option<()> {
        let is_part = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        let length = self.bytes[self.at..].iter().take_while(is_part).count();
        self.at += length;
        (length > 0).then_some(())
    }

    fn take(&mut self, byte: u8) -> Option<()> {
        (self.peek()? == byte).then(|| self.at += 1)
    }
}

/// A string between its quotes, escapes and all.
#[derive(Clone, Copy, Debug)]
pub struct Raw<'a>(&'a [u8]);

impl<'a> Raw<'a> {
    /// Whether it says this; `name` has nothing that must be escaped.
    pub fn is(self, name: &str) -> bool {
        self.0 == name.as_bytes()
            || (memchr(b'\\', self.0).is_some() && self.text() == name.as_bytes())
    }

    /// What it says.
    pub fn text(self) -> Vec<u8> {
        let mut text = Vec::with_capacity(self.0.len());
        self.pieces(|piece| text.extend_from_slice(piece));
        text
    }

    /// What it says, piece by piece. An escape that is none stays as it is written.
    pub fn pieces(self, mut piece: impl FnMut(&[u8])) {
        let mut rest = self.0;
        while let Some(at) = memchr(b'\\', rest) {
            piece(&rest[..at]);
            rest = &rest[at..];
            let (text, length) = unescape(rest);
            match text {
                Some(c) => piece(c.encode_utf8(&mut [0; 4]).as_bytes()),
                None => piece(&rest[..length]),
            }
            rest = &rest[length..];
        }
        piece(rest);
    }
}

/// What the escape at the beginning says, and how long it is.
fn unescape(bytes: &[u8]) -> (Option<char>, usize) {
    let simple = |c| (Some(c), 2);
    match bytes.get(1) {
        Some(b'n') => simple('\n'),
        Some(b't') => simple('\t'),
        Some(b'r') => simple('\r'),
        Some(b'b') => simple('\u{8}'),
        Some(b'f') => simple('\u{c}'),
        Some(&c @ (b'"' | b'\\' | b'/')) => simple(char::from(c)),
        Some(b'u') => match (unit(bytes), bytes.get(6..).and_then(unit)) {
            (Some(high @ 0xd800..0xdc00), Some(low @ 0xdc00..0xe000)) => {
                let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                (char::from_u32(code), 12)
            }
            (Some(code), _) => (char::from_u32(code), 6),
            (None, _) => (None, 2),
        },
        Some(_) => (None, 2),
        None => (None, 1),
    }
}

/// The number of `\u1234`.
fn unit(bytes: &[u8]) -> Option<u32> {
    let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
    let digits = str::from_utf8(digits).ok()?;
    let is_hex = digits.bytes().all(|b| b.is_ascii_hexdigit());
    is_hex.then(|| u32::from_str_radix(digits, 16).ok())?
}

//! HTTP's framing once more, the slow way: over bytes that are all there.

use std::ops::Range;

/// A head, taken apart at its line ends.
pub struct Head<'a> {
    /// Bytes of it, with empty lines before and the one behind.
    pub length: usize,
    /// The request line or the status line.
    pub first: &'a [u8],
    /// Names in lower case, values without the blanks around them.
    pub fields: Vec<(String, &'a [u8])>,
    /// Nothing about its fields is unusual, so that nobody may refuse them.
    pub plain: bool,
}

impl<'a> Head<'a> {
    /// `None` where its end has not come.
    pub fn read(bytes: &'a [u8]) -> Option<Head<'a>> {
        let mut start = 0;
        while bytes[start..].starts_with(b"\r\n") {
            start += 2;
        }
        let end = start + find(&bytes[start..], b"\r\n\r\n")?;
        let mut lines = split(&bytes[start..end]).into_iter();
        let first = lines.next()?;
        let mut head = Head {
            length: end + 4,
            first,
            fields: Vec::new(),
            plain: start == 0,
        };
        for line in lines {
            let colon = line.iter().position(|&b| b == b':').unwrap_or(line.len());
            let name = &line[..colon];
            let value = line[colon..].get(1..).unwrap_or_default();
            let value = trim(value);
            head.plain &= colon < line.len()
                && !name.is_empty()
                && name.iter().all(|&b| b.is_ascii_alphanumeric() || b == b'-')
                && value.iter().all(|&b| b == b' ' || b.is_ascii_graphic());
            head.fields
                .push((String::from_utf8_lossy(name).to_lowercase(), value));
        }
        Some(head)
    }

    pub fn values(&self, name: &str) -> Vec<&'a [u8]> {
        let named = self.fields.iter().filter(|(other, _)| other == name);
        named.map(|(_, value)| *value).collect()
    }
}

/// A body in chunks.
#[derive(Debug)]
pub enum Chunks {
    Whole {
        body: Vec<u8>,
        /// Bytes of it as it came.
        used: usize,
        /// Nothing about it is unusual, so that nobody may refuse it.
        plain: bool,
    },
    /// The bytes ended before it did.
    Short {
        body: Vec<u8>,
    },
    /// They ended behind its last chunk: nothing of the body is missing (RFC 9112 §8).
    Unclosed,
    Malformed,
}

impl Chunks {
    pub fn read(bytes: &[u8]) -> Chunks {
        let (mut body, mut at, mut plain) = (Vec::new(), 0, true);
        loop {
            let Some(line) = line(bytes, at) else {
                // What follows may be no number at all, but nobody can know before the line has ended.
                return Chunks::Short { body };
            };
            let text = &bytes[line.clone()];
            let digits = text.split(|&b| b == b';').next().unwrap_or_default();
            plain &= digits.len() <= 8 && text.len() <= 4096 && is_printable(text);
            plain &= digits.iter().all(u8::is_ascii_hexdigit);
            let Some(size) = number(trim(digits)) else {
                return Chunks::Malformed;
            };
            at = line.end + 2;
            if size == 0 {
                break;
            }
            let left = bytes.len() - at;
            body.extend_from_slice(&bytes[at..at + size.min(left)]);
            if size >= left {
                return Chunks::Short { body };
            }
            at += size;
            match &bytes[at..] {
                [b'\r', b'\n', ..] => at += 2,
                [] | [b'\r'] => return Chunks::Short { body },
                _ => return Chunks::Malformed,
            }
        }
        let trailers = at;
        loop {
            let Some(line) = line(bytes, at) else {
                return Chunks::Unclosed;
            };
            at = line.end + 2;
            if line.is_empty() {
                return Chunks::Whole {
                    body,
                    used: at,
                    plain,
                };
            }
            let text = &bytes[line];
            plain &= at - trailers < 2000 && is_printable(text) && text.contains(&b':');
            plain &= text[0].is_ascii_alphanumeric();
        }
    }
}

/// The line that begins at `at`, without its CR LF.
fn line(bytes: &[u8], at: usize) -> Option<Range<usize>> {
    find(&bytes[at..], b"\r\n").map(|length| at..at + length)
}

pub fn is_printable(text: &[u8]) -> bool {
    text.iter().all(|&b| b == b' ' || b.is_ascii_graphic())
}

/// A chunk's size, as far as it can matter here.
fn number(digits: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(digits).ok()?;
    let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_hexdigit());
    is_number.then(|| usize::from_str_radix(text, 16).unwrap_or(usize::MAX))
}

pub fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    memchr::memmem::find(bytes, what)
}

fn split(text: &[u8]) -> Vec<&[u8]> {
    let (mut lines, mut rest) = (Vec::new(), text);
    while let Some(length) = find(rest, b"\r\n") {
        lines.push(&rest[..length]);
        rest = &rest[length + 2..];
    }
    lines.push(rest);
    lines
}

fn trim(mut text: &[u8]) -> &[u8] {
    while let [b' ' | b'\t', rest @ ..] = text {
        text = rest;
    }
    while let [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

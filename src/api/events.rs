//! Server-sent events, recognised as their bytes pass.
//!
//! The relay passes on whole events only and holds an unfinished one back, so that a stream that
//! breaks anywhere can still be ended with one well-formed `event: error`. This file says how far
//! the whole events reach and what they are. The buffer is the relay's: a [`Scanner`] remembers
//! where it stood, looks at no byte twice, copies nothing and allocates nothing. No I/O.
//!
//! The grammar is WHATWG's (HTML, 9.2.6): lines end in LF, CR LF or CR, a blank line ends an event.

use std::mem;
use std::ops::Range;

use memchr::memchr2;
use serde_json::json;

/// Bytes of an unfinished event that are held back. More than the longest event that is usual (a
/// search result of some 100 KB), and little enough for every stream to do it at once.
pub const HOLD_LIMIT: usize = 256 << 10;

/// A finished event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    pub kind: Kind,
    /// The value of its first `data:` line: for an API event the whole JSON object. Empty where
    /// there is none, and where it was longer than `HOLD_LIMIT`.
    pub data: &'a [u8],
}

/// What an event is to us: what its `event:` line says, or, as some gateways leave that line out,
/// the `"type"` that its data begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    MessageStart,
    MessageDelta,
    MessageStop,
    Error,
    Other,
}

impl Kind {
    fn named(name: &[u8]) -> Kind {
        match name {
            b"message_start" => Kind::MessageStart,
            b"message_delta" => Kind::MessageDelta,
            b"message_stop" => Kind::MessageStop,
            b"error" => Kind::Error,
            _ => Kind::Other,
        }
    }

    /// Only `{"type":"…"` at the very beginning counts: the API writes it there, and a search
    /// through every event's data would cost more than the rest of the scan.
    fn of_data(data: &[u8]) -> Kind {
        let quoted = |text: &[u8]| {
            let text = text.trim_ascii_start().strip_prefix(b"\"type\"")?;
            let text = text.trim_ascii_start().strip_prefix(b":")?;
            let text = text.trim_ascii_start().strip_prefix(b"\"")?;
            text.split(|&byte| byte == b'"').next().map(Kind::named)
        };
        let object = data.trim_ascii_start().strip_prefix(b"{");
        object.and_then(quoted).unwrap_or(Kind::Other)
    }
}

/// Follows one stream from its first byte.
#[derive(Debug, Default)]
pub struct Scanner {
    limit: usize,
    /// Bytes held back and looked at already; the offsets below count from the first of them.
    seen: usize,
    /// Where the line begins that is being read.
    line: usize,
    /// The first `data:` value of the event that is being read.
    data: Option<Range<usize>>,
    /// Its kind, once it has an `event:` line that says something.
    named: Option<Kind>,
    /// A line that is no comment was read since the last event.
    inside: bool,
    /// It has an `event:` or a `data:` line; with `id:` or `retry:` alone it is no event.
    counts: bool,
    /// The last byte was a CR: an LF right after it belongs to the same line end.
    after_cr: bool,
    /// The first line, which may begin with a byte order mark, was read.
    begun: bool,
    /// The line that is being read was judged when its beginning was let go over the limit.
    judged: bool,
    /// Bytes of something unfinished were let go over the limit.
    spilled: bool,
    first: Option<Kind>,
    started: bool,
    stopped: bool,
    failed: bool,
}

impl Scanner {
    pub fn new() -> Scanner {
        Scanner::with_limit(HOLD_LIMIT)
    }

    /// Holds back at most `limit` bytes instead of [`HOLD_LIMIT`].
    pub fn with_limit(limit: usize) -> Scanner {
        Scanner {
            limit,
            ..Scanner::default()
        }
    }

    /// Takes the bytes that are still held, with a new piece of the stream behind them; answers how
    /// many of them, from the first on, may go to the client now. The others are held: the next
    /// call wants them again, in front of its piece. `on_event` sees each event that is finished.
    ///
    /// Comments and blank lines between events go at once (they keep connections alive). More than
    /// `HOLD_LIMIT` held bytes go as they are, and again each time that many have gathered.
    pub fn push(&mut self, bytes: &[u8], mut on_event: impl FnMut(Event<'_>)) -> usize {
        debug_assert!(bytes.len() >= self.seen, "the held bytes come again");
        let mut out = 0;
        while let Some(&next) = bytes.get(self.seen) {
            if mem::take(&mut self.after_cr) && next == b'\n' {
                self.seen += 1;
            } else if let Some(length) = memchr2(b'\n', b'\r', &bytes[self.seen..]) {
                let end = self.seen + length;
                self.seen = end + 1;
                self.after_cr = bytes[end] == b'\r';
                if !mem::take(&mut self.judged) && self.judge(bytes, end) {
                    self.finish(bytes, &mut on_event);
                }
            } else {
                self.seen = bytes.len();
                break;
            }
            self.line = self.seen;
            if !self.inside {
                out = self.seen;
                self.spilled = false;
            }
        }
        if bytes.len() - out > self.limit {
            self.spill(bytes);
            out = bytes.len();
        }
        self.seen -= out;
        self.line -= out;
        if let Some(data) = &mut self.data {
            *data = data.start - out..data.end - out;
        }
        out
    }

    /// The kind of the first finished event.
    pub fn first(&self) -> Option<Kind> {
        self.first
    }

    /// A `message_start` was seen: only a `message_stop` ends such a stream well.
    pub fn is_message_stream(&self) -> bool {
        self.started
    }

    /// A `message_stop` was seen.
    pub fn is_stopped(&self) -> bool {
        self.stopped
    }

    /// An `error` event was seen.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    /// Nothing is unfinished: no byte is held, and none of something unfinished was let go.
    pub fn is_whole(&self) -> bool {
        self.seen == 0 && !self.spilled
    }

    /// What must go out before an event of our own, with the held bytes dropped: nothing, unless a
    /// part of an event over `HOLD_LIMIT` went out already.
    pub fn closing(&self) -> &'static [u8] {
        if self.spilled { b"\n\n" } else { b"" }
    }

    /// Reads the line that reaches to `end`, without its line end; true if it ends an event.
    fn judge(&mut self, bytes: &[u8], end: usize) -> bool {
        let mut line = &bytes[self.line..end];
        if !mem::replace(&mut self.begun, true) {
            line = line.strip_prefix("\u{feff}".as_bytes()).unwrap_or(line);
        }
        match line.first() {
            None => return mem::take(&mut self.inside),
            Some(b':') => return false,
            Some(_) => self.inside = true,
        }
        if let Some(value) = value(line, b"data") {
            self.counts = true;
            self.data.get_or_insert(end - value.len()..end);
        } else if let Some(name) = value(line, b"event") {
            self.counts = true;
            // An absent name means `message` to a browser, so that one says nothing either.
            let says = !name.is_empty() && name != b"message";
            self.named = says.then(|| Kind::named(name));
        }
        false
    }

    fn finish(&mut self, bytes: &[u8], on_event: &mut impl FnMut(Event<'_>)) {
        let data = self.data.take().map_or(&[][..], |data| &bytes[data]);
        let kind = self.named.take().unwrap_or_else(|| Kind::of_data(data));
        if !mem::take(&mut self.counts) {
            return;
        }
        self.first.get_or_insert(kind);
        match kind {
            Kind::MessageStart => self.started = true,
            Kind::MessageStop => self.stopped = true,
            Kind::Error => self.failed = true,
            Kind::MessageDelta | Kind::Other => {}
        }
        on_event(Event { kind, data });
    }

    /// Lets an unfinished event go. Of its last line only what is there is judged: a name or a type
    /// lies at the front, and the rest is passed over to the line's end.
    fn spill(&mut self, bytes: &[u8]) {
        let end = bytes.len();
        if self.line < end && !self.judged {
            self.judge(bytes, end);
            self.judged = true;
        }
        if let Some(data) = self.data.take()
            && self.named.is_none()
        {
            self.named = Some(Kind::of_data(&bytes[data]));
        }
        self.line = end;
        self.spilled = true;
    }
}

/// The value of a line `field: value`; the space is optional, and so is all after the field.
fn value<'a>(line: &'a [u8], field: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(field)? {
        [b':', b' ', value @ ..] | [b':', value @ ..] | value @ [] => Some(value),
        _ => None,
    }
}

/// A whole `error` event in the API's shape.
pub fn error_event(kind: &str, message: &str, request_id: &str) -> Vec<u8> {
    // By hand, as the API has `type` first and some clients look no further.
    let (kind, message, request_id) = (json!(kind), json!(message), json!(request_id));
    let error = format!(r#"{{"type":{kind},"message":{message}}}"#);
    let data = format!(r#"{{"type":"error","error":{error},"request_id":{request_id}}}"#);
    format!("event: error\ndata: {data}\n\n").into_bytes()
}

#[cfg(test)]
mod tests;

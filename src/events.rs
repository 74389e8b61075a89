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
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Seen = Vec<(Kind, Vec<u8>)>;

    /// Relays a stream that comes in `pieces` as the relay does it: what is held stays in front.
    /// Answers the events and, after each piece, how many bytes are out.
    fn relay(scanner: &mut Scanner, pieces: &[&[u8]]) -> (Seen, Vec<usize>) {
        let (mut held, mut out) = (Vec::new(), Vec::new());
        let (mut events, mut marks) = (Seen::new(), Vec::new());
        for piece in pieces {
            held.extend_from_slice(piece);
            let go = scanner.push(&held, |event| {
                events.push((event.kind, event.data.to_vec()))
            });
            out.extend(held.drain(..go));
            marks.push(out.len());
        }
        assert_eq!(
            [out, held].concat(),
            pieces.concat(),
            "every byte once, in order"
        );
        (events, marks)
    }

    fn scan(stream: &str) -> (Scanner, Seen, usize) {
        let mut scanner = Scanner::new();
        let (events, marks) = relay(&mut scanner, &[stream.as_bytes()]);
        (scanner, events, marks[0])
    }

    #[test]
    fn one_event() {
        let check = |stream: &str, kind: Kind, data: &str| {
            let (scanner, events, out) = scan(stream);
            assert_eq!(events, [(kind, data.as_bytes().to_vec())], "{stream:?}");
            assert_eq!(out, stream.len(), "{stream:?}");
            assert!(scanner.is_whole(), "{stream:?}");
            assert_eq!(scanner.first(), Some(kind));
        };
        check(
            "event: message_start\ndata: {}\n\n",
            Kind::MessageStart,
            "{}",
        );
        check(
            "event: message_delta\r\ndata: {}\r\n\r\n",
            Kind::MessageDelta,
            "{}",
        );
        check("event: message_stop\rdata: {}\r\r", Kind::MessageStop, "{}");
        check(
            "event: message_stop\r\ndata: {}\n\r",
            Kind::MessageStop,
            "{}",
        );
        check("\u{feff}event: error\ndata: {}\n\n", Kind::Error, "{}");
        check("event:error\ndata:{}\n\n", Kind::Error, "{}");
        check("event:  error\ndata:  x\n\n", Kind::Other, " x"); // One space goes, not two.
        check("data: x\nevent: error\n\n", Kind::Error, "x");
        check("event: ping\nevent: error\ndata: x\n\n", Kind::Error, "x"); // The last one counts.
        check("event: error\n\n", Kind::Error, ""); // The SDKs take it without data too.
        check(
            "id: 7\nretry: 5\nfoo\nevent: error\n: no\ndata: x\n\n",
            Kind::Error,
            "x",
        );
        check("\n\r\n: ping\n\ndata: x\n\n: ping\n", Kind::Other, "x");
        check("data: 1\ndata: 2\n\n", Kind::Other, "1");
        check("data\n\n", Kind::Other, "");
        check("dataset: 1\ndata: 2\nevents: error\n\n", Kind::Other, "2");
        check("event: errors\ndata: x\n\n", Kind::Other, "x");
        check("data: [DONE]\n\n", Kind::Other, "[DONE]");
    }

    #[test]
    fn an_event_without_a_name_is_what_its_data_begins_with() {
        let check = |data: &str, kind: Kind| {
            for name in ["", "event:\n", "event: message\n"] {
                let (_, events, _) = scan(&format!("{name}data: {data}\n\n"));
                assert_eq!(
                    events,
                    [(kind, data.as_bytes().to_vec())],
                    "{name:?} {data}"
                );
            }
            let (_, events, _) = scan(&format!("event: x\ndata: {data}\n\n"));
            assert_eq!(events[0].0, Kind::Other, "a name beats the data: {data}");
        };
        check(r#"{"type":"message_stop"}"#, Kind::MessageStop);
        check(
            r#"{ "type" : "message_start", "message": {} }"#,
            Kind::MessageStart,
        );
        check(r#"{"type":"error","error":{}}"#, Kind::Error);
        check(r#"{"type":"ping"}"#, Kind::Other);
        check(r#"{"index":0,"type":"error"}"#, Kind::Other);
        check(r#"{"type":"#, Kind::Other);
        check(r#"{"type":"message_stop"#, Kind::MessageStop);
        check(r#"["type":"error"]"#, Kind::Other);
        check("", Kind::Other);
    }

    #[test]
    fn what_is_no_event() {
        let check = |stream: &str, out: usize, whole: bool| {
            let (scanner, events, gone) = scan(stream);
            assert_eq!(events, [], "{stream:?}");
            assert_eq!((gone, scanner.is_whole()), (out, whole), "{stream:?}");
            assert_eq!(
                (scanner.first(), scanner.closing()),
                (None, &b""[..]),
                "{stream:?}"
            );
        };
        check("", 0, true);
        check(": ping\n", 7, true);
        check(": ping\r", 7, true);
        check(": pi", 0, false);
        check("\n\r\n\r", 4, true);
        check("id: 7\nretry: 10\n\n", 17, true);
        check("\u{feff}", 0, false);
        check("\u{feff}\n", 4, true);
        check("event: error\ndata: x\n", 0, false); // The blank line is missing.
        check(": ping\nevent: error\n: ping\n", 7, false); // Inside an event a comment waits.
    }

    #[test]
    fn what_a_stream_was() {
        let check = |stream: &str, first: Kind, started: bool, stopped: bool, failed: bool| {
            let (scanner, ..) = scan(stream);
            assert_eq!(scanner.first(), Some(first), "{stream}");
            assert_eq!(scanner.is_message_stream(), started, "{stream}");
            assert_eq!(scanner.is_stopped(), stopped, "{stream}");
            assert_eq!(scanner.has_failed(), failed, "{stream}");
        };
        let start = "event: message_start\ndata: {}\n\n";
        let ping = "event: ping\ndata: {}\n\n";
        let stop = "event: message_stop\ndata: {}\n\n";
        let error = "event: error\ndata: {}\n\n";
        check(start, Kind::MessageStart, true, false, false);
        check(
            &[start, ping, stop].concat(),
            Kind::MessageStart,
            true,
            true,
            false,
        );
        check(
            &[ping, start, error].concat(),
            Kind::Other,
            true,
            false,
            true,
        );
        check(error, Kind::Error, false, false, true);
        check(
            &[start, &stop[..stop.len() - 1]].concat(),
            Kind::MessageStart,
            true,
            false,
            false,
        );
    }

    #[test]
    fn the_two_halves_of_a_line_end_may_come_apart() {
        let mut scanner = Scanner::new();
        let pieces: [&[u8]; 5] = [
            b"data: x\r",
            b"\n\r",
            b"\n",
            b"data: y\r\n\r",
            b"\rdata: z\r\r",
        ];
        let (events, marks) = relay(&mut scanner, &pieces);
        assert_eq!(marks, [0, 10, 11, 21, 31]);
        let data: Vec<_> = events.iter().map(|(_, data)| data.as_slice()).collect();
        assert_eq!(data, [b"x", b"y", b"z"]);
    }

    #[test]
    fn what_is_too_long_to_hold_goes_as_it_is() {
        let mut scanner = Scanner::with_limit(40);
        let mut events = Vec::new();
        let mut push = |bytes: &[u8]| {
            let out = scanner.push(bytes, |event| events.push((event.kind, event.data.len())));
            (out, scanner.is_whole(), scanner.closing())
        };
        // Up to the limit it is held; then it goes, and what comes next is gathered anew.
        assert_eq!(
            push(br#"data: {"type":"message_stop","#),
            (0, false, &b""[..])
        );
        assert_eq!(push(br#"data: {"type":"message_stop","x":"0123456""#).0, 42);
        assert_eq!(push(b"event: error"), (0, false, &b"\n\n"[..])); // Still the same line.
        assert_eq!(push(b"event: error\n"), (0, false, &b"\n\n"[..]));
        assert_eq!(push(b"event: error\n\n"), (14, true, &b""[..]));
        // The same with a name, and then with a comment, which is no event.
        assert_eq!(
            push(b"event: error\r\ndata: 0123456789012345678901234567"),
            (47 + 1, false, &b"\n\n"[..])
        );
        assert_eq!(push(b"8\r\n\r\n: ping\n"), (12, true, &b""[..]));
        assert_eq!(
            push(b": 012345678901234567890123456789012345678"),
            (41, false, &b"\n\n"[..])
        );
        assert_eq!(push(b"data: x\ndata: y\n\n"), (17, true, &b""[..]));
        assert_eq!(
            events,
            [(Kind::MessageStop, 0), (Kind::Error, 0), (Kind::Other, 1)]
        );
    }

    #[test]
    fn an_error_event_is_well_formed_whatever_it_says() {
        let event = error_event("api_error", "a \"b\"\r\n\nc", "req_1");
        let mut scanner = Scanner::new();
        let (events, marks) = relay(&mut scanner, &[&event]);
        assert_eq!(
            (events.len(), events[0].0, marks[0]),
            (1, Kind::Error, event.len())
        );
        let data = r#"{"type":"error","error":{"type":"api_error","message":"a \"b\"\r\n\nc"},"request_id":"req_1"}"#;
        assert_eq!(String::from_utf8_lossy(&events[0].1), data);
    }

    /// The grammar once more, the slow way: the events, and every place between two of them.
    fn reference(stream: &[u8]) -> (Seen, Vec<usize>) {
        let (mut events, mut ends) = (Seen::new(), vec![0]);
        let (mut name, mut data, mut inside) = (None, None, false);
        let (mut at, mut first) = (0, true);
        while let Some(length) = stream[at..].iter().position(|byte| b"\r\n".contains(byte)) {
            let mut line = String::from_utf8_lossy(&stream[at..at + length]).into_owned();
            if mem::take(&mut first) && line.starts_with('\u{feff}') {
                line.remove(0);
            }
            at += length + 1;
            let (field, value) = line.split_once(':').unwrap_or((&line, ""));
            let value = value.strip_prefix(' ').unwrap_or(value).as_bytes().to_vec();
            if line.is_empty() {
                if name.is_some() || data.is_some() {
                    let data: Vec<u8> = data.take().unwrap_or_default();
                    let name: Vec<u8> = name.take().unwrap_or_default();
                    let plain = name.is_empty() || name == b"message";
                    let kind = if plain {
                        Kind::of_data(&data)
                    } else {
                        Kind::named(&name)
                    };
                    events.push((kind, data));
                }
                inside = false;
            } else if !line.starts_with(':') {
                inside = true;
                match field {
                    "event" => name = Some(value),
                    "data" => data = data.or(Some(value)),
                    _ => {}
                }
            }
            if !inside {
                ends.push(at);
            }
            if stream[at - 1] == b'\r' && stream.get(at) == Some(&b'\n') {
                at += 1;
                if !inside {
                    ends.push(at);
                }
            }
        }
        (events, ends)
    }

    /// What streams are made of, the pieces told apart by `|`.
    const PARTS: &str = "\n|\n|\n|\n\n|\r\n|\r\n\r\n|\r|\r\r|\u{feff}|:|: ping|event|event: error|\
        event:message_stop|event: message_start|event: message|data: {\"type\":\"message_delta\"}|\
        data: {\"type\":\"error\"|data|data:|data: ü€😀|id: 7|retry: 9| |x";

    fn streams() -> impl Strategy<Value = String> {
        let parts: Vec<_> = PARTS.split('|').collect();
        prop::collection::vec(prop::sample::select(parts), 0..40).prop_map(|parts| parts.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// After each piece exactly the whole events are out: nothing late, nothing unfinished.
        #[test]
        fn cuts_make_no_difference(stream in streams(), cuts in prop::collection::vec(0..200_usize, 0..12)) {
            let stream = stream.as_bytes();
            let mut cuts: Vec<_> = cuts.iter().map(|cut| cut * stream.len() / 199).collect();
            cuts.extend([0, stream.len()]);
            cuts.sort_unstable();
            let pieces: Vec<_> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();

            let mut scanner = Scanner::new();
            let (events, marks) = relay(&mut scanner, &pieces);
            let (expected, ends) = reference(stream);
            prop_assert_eq!(events, expected);
            for (cut, mark) in cuts[1..].iter().zip(marks) {
                prop_assert_eq!(Some(mark), ends.iter().copied().rfind(|end| end <= cut));
            }
            prop_assert_eq!(scanner.is_whole(), ends.last() == Some(&stream.len()));
        }

        /// With a limit as small as can be: still no byte is lost, and never more than it is held.
        #[test]
        fn little_is_held(stream in streams(), limit in 0..30_usize, size in 1..20_usize) {
            let pieces: Vec<_> = stream.as_bytes().chunks(size).collect();
            let (_, marks) = relay(&mut Scanner::with_limit(limit), &pieces);
            for (index, mark) in marks.iter().enumerate() {
                prop_assert!(stream.len().min((index + 1) * size) - mark <= limit);
            }
        }
    }
}

//! The scanner against a plain reference parser, whatever the cuts.

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

//! Input: how much may be held, how many cuts, the cuts, the stream.

use crate::api::events::{HOLD_LIMIT, Kind, Scanner};

/// No smaller limit is worth a promise: a byte order mark would be cut.
const LEAST: usize = 8;

type Seen = Vec<(Kind, Vec<u8>)>;

pub fn events(data: &[u8]) {
    let [limit, cuts, rest @ ..] = data else {
        return;
    };
    let cuts = usize::from(cuts % 16).min(rest.len());
    let (cuts, stream) = rest.split_at(cuts);
    let mut cuts: Vec<usize> = cuts
        .iter()
        .map(|&cut| usize::from(cut) * stream.len() / 255)
        .collect();
    cuts.extend([0, stream.len()]);
    cuts.sort_unstable();
    let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &stream[cut[0]..cut[1]]).collect();
    let (expected, ends) = reference(stream);

    // Nothing is too long: after each piece exactly the whole events are out.
    let (scanner, events, marks) = relay(Scanner::new(), HOLD_LIMIT, &pieces);
    assert_eq!(events, expected);
    for (cut, mark) in cuts[1..].iter().zip(marks) {
        assert_eq!(Some(mark), ends.iter().copied().rfind(|end| end <= cut));
    }
    assert_eq!(scanner.is_whole(), ends.last() == Some(&stream.len()));
    assert_eq!(scanner.closing(), b"");
    let kinds: Vec<Kind> = expected.iter().map(|(kind, _)| *kind).collect();
    assert_eq!(scanner.first(), kinds.first().copied());
    assert_eq!(
        scanner.is_message_stream(),
        kinds.contains(&Kind::MessageStart)
    );
    assert_eq!(scanner.is_stopped(), kinds.contains(&Kind::MessageStop));
    assert_eq!(scanner.has_failed(), kinds.contains(&Kind::Error));

    // Little may be held: what is let go half is still known to be half.
    let limit = LEAST + usize::from(*limit);
    let (scanner, _, _) = relay(Scanner::with_limit(limit), limit, &pieces);
    assert_eq!(scanner.is_whole(), ends.last() == Some(&stream.len()));
    assert!(!scanner.is_whole() || scanner.closing().is_empty());
}

/// Relays a stream as the product does: what is held stays in front of the next piece. Answers the events and, after
/// each piece, how many bytes are out.
fn relay(mut scanner: Scanner, limit: usize, pieces: &[&[u8]]) -> (Scanner, Seen, Vec<usize>) {
    let (mut held, mut out) = (Vec::new(), Vec::new());
    let (mut events, mut marks) = (Seen::new(), Vec::new());
    for piece in pieces {
        held.extend_from_slice(piece);
        let go = scanner.push(&held, |event| {
            events.push((event.kind, event.data.to_vec()));
        });
        out.extend(held.drain(..go));
        assert!(held.len() <= limit, "{} bytes are held", held.len());
        marks.push(out.len());
    }
    assert_eq!([out, held].concat(), pieces.concat(), "every byte once");
    (scanner, events, marks)
}

/// The events of a stream that is all there, and every place between two of them.
fn reference(stream: &[u8]) -> (Seen, Vec<usize>) {
    let (mut events, mut ends) = (Seen::new(), vec![0]);
    let (mut name, mut data, mut inside) = (None, None, false);
    let mut at = 0;
    while let Some(length) = stream[at..].iter().position(|b| b"\r\n".contains(b)) {
        let mut line = &stream[at..at + length];
        if at == 0 {
            line = line.strip_prefix(b"\xef\xbb\xbf").unwrap_or(line);
        }
        at += length + 1;
        let mut halves = line.splitn(2, |&b| b == b':');
        let field = halves.next().unwrap_or_default();
        let value = halves.next().unwrap_or_default();
        let value = value.strip_prefix(b" ").unwrap_or(value);
        match (line, field) {
            ([], _) => {
                if name.is_some() || data.is_some() {
                    let data: &[u8] = data.take().unwrap_or_default();
                    events.push((kind(name.take(), data), data.to_vec()));
                }
                inside = false;
            }
            ([b':', ..], _) => {}
            (_, b"event") => (name, inside) = (Some(value), true),
            (_, b"data") => (data, inside) = (data.or(Some(value)), true),
            _ => inside = true,
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

fn kind(name: Option<&[u8]>, data: &[u8]) -> Kind {
    let name = match name {
        None | Some(b"" | b"message") => type_of(data).unwrap_or_default(),
        Some(name) => name,
    };
    match name {
        b"message_start" => Kind::MessageStart,
        b"message_delta" => Kind::MessageDelta,
        b"message_stop" => Kind::MessageStop,
        b"error" => Kind::Error,
        _ => Kind::Other,
    }
}

/// `NAME` of data that begins with `{"type":"NAME"`, blanks between.
fn type_of(data: &[u8]) -> Option<&[u8]> {
    let mut rest = data;
    for piece in ["{", "\"type\"", ":", "\""] {
        rest = rest.trim_ascii_start().strip_prefix(piece.as_bytes())?;
    }
    rest.split(|&b| b == b'"').next()
}

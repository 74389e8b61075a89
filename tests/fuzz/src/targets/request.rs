//! Input: the limit of a body, two cuts, the client's bytes. In those `FF n b` stands for 512 × n times `b`: a head of
//! 64 KiB is out of reach otherwise.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

use http::StatusCode;

use super::wire;
use crate::downstream::body::{BodyReader, TOO_SHORT};
use crate::downstream::body_budget::BodyBudget;
use crate::downstream::head::{self, Framing, Head, Scan};
use crate::downstream::refusal::{BODY_TOO_LARGE, Refusal};

/// Longest body: small ones, so that they are met, and one above what is read in one step.
const LIMITS: [usize; 3] = [5, 300, 70_000];
const MAX_HEAD: usize = 64 << 10;
const MAX_LINES: usize = 128;
/// Of what `FF n b` makes, all together.
const MOST: usize = 200 << 10;
/// What the listener has seen of its client in the end.
#[derive(Debug)]
struct Seen {
    requests: Vec<(Head, Vec<u8>)>,
    end: End,
}

#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The last request asked for the connection's end.
    Asked,
    /// The client sent no more. Nobody waits for an answer.
    Gone,
    Refused(Refusal),
}

pub fn request(data: &[u8]) {
    let [limit, one, two, rest @ ..] = data else {
        return;
    };
    let limit = LIMITS[usize::from(*limit) % LIMITS.len()];
    let bytes = unfold(rest);
    let whole = read(&bytes, &[bytes.len()], limit);
    check(&bytes, limit, &whole);

    let mut ends: Vec<usize> = [*one, *two]
        .iter()
        .map(|&cut| usize::from(cut) * bytes.len() / 255)
        .chain([bytes.len()])
        .collect();
    ends.sort_unstable();
    let cut = read(&bytes, &ends, limit);
    assert_eq!(whole.end, cut.end, "cut at {ends:?}");
    assert_eq!(whole.requests.len(), cut.requests.len(), "cut at {ends:?}");
    for ((head, body), (other_head, other_body)) in whole.requests.iter().zip(&cut.requests) {
        assert_eq!(facts(head), facts(other_head), "cut at {ends:?}");
        assert_eq!(head.headers, other_head.headers, "cut at {ends:?}");
        assert_eq!(body, other_body, "cut at {ends:?}");
    }
}

fn facts(head: &Head) -> (&str, &str, Framing, bool, bool, bool) {
    (
        head.method.as_str(),
        head.target.as_str(),
        head.body,
        head.expects_continue,
        head.keep_alive,
        head.is_http10,
    )
}

fn unfold(mut rest: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        match rest {
            [0xff, times, byte, tail @ ..] => {
                let times = (usize::from(*times) * 512).min(MOST.saturating_sub(bytes.len()));
                bytes.resize(bytes.len() + times, *byte);
                rest = tail;
            }
            [byte, tail @ ..] => {
                bytes.push(*byte);
                rest = tail;
            }
            [] => return bytes,
        }
    }
}

/// Reads one request after the other, as the listener does with the pieces that a client's bytes come in.
fn read(bytes: &[u8], ends: &[usize], limit: usize) -> Seen {
    let mut reader = Reader {
        held: Vec::new(),
        scan: Scan::default(),
        upload: None,
        limit,
        requests: Vec::new(),
    };
    let mut from = 0;
    for &end in ends {
        match reader.read(&bytes[from..end]) {
            Ok(()) => from = end,
            Err(end) => {
                return Seen {
                    requests: reader.requests,
                    end,
                };
            }
        }
    }
    let end = match reader.upload {
        Some(_) => End::Refused(TOO_SHORT),
        None => End::Gone,
    };
    Seen {
        requests: reader.requests,
        end,
    }
}

struct Reader {
    held: Vec<u8>,
    scan: Scan,
    upload: Option<(Head, BodyReader)>,
    limit: usize,
    requests: Vec<(Head, Vec<u8>)>,
}

impl Reader {
    fn read(&mut self, mut piece: &[u8]) -> Result<(), End> {
        if let Some((_, body)) = &mut self.upload {
            let spare = body.spare();
            let straight = spare.len().min(piece.len());
            spare[..straight].copy_from_slice(&piece[..straight]);
            body.filled(straight);
            piece = &piece[straight..];
        }
        self.held.extend_from_slice(piece);
        let all = std::mem::take(&mut self.held);
        let mut input = &all[..];
        while self.take(&mut input)? {}
        self.held = input.to_vec();
        Ok(())
    }

    /// False where it is the beginning of something.
    fn take(&mut self, input: &mut &[u8]) -> Result<bool, End> {
        static BUDGET: LazyLock<Arc<BodyBudget>> =
            LazyLock::new(|| BodyBudget::for_bodies(1 << 30));
        if let Some((_, body)) = &mut self.upload {
            if !body.take(input).map_err(End::Refused)? {
                return Ok(false);
            }
            let (head, body) = self.upload.take().expect("it is there");
            let keep = head.keep_alive;
            self.requests.push((head, body.finish().bytes));
            return if keep { Ok(true) } else { Err(End::Asked) };
        }
        let Some(end) = self.scan.find_end(input).map_err(End::Refused)? else {
            return Ok(false);
        };
        let (head, behind) = input.split_at(end);
        *input = behind;
        self.scan = Scan::default();
        let head = head::parse(head).map_err(End::Refused)?;
        if matches!(head.body, Framing::Length(length) if length > self.limit as u64) {
            return Err(End::Refused(BODY_TOO_LARGE));
        }
        let body = BodyReader::new(head.body, self.limit, BUDGET.charge()).map_err(End::Refused)?;
        self.upload = Some((head, body));
        Ok(true)
    }
}

/// Holds what was read against a slower reading of all the bytes.
fn check(bytes: &[u8], limit: usize, seen: &Seen) {
    let mut rest = bytes;
    for (head, body) in &seen.requests {
        let expected = wire::Head::read(rest).expect("an accepted head is whole");
        check_head(&rest[..expected.length], &expected, head);
        rest = &rest[expected.length..];
        let used = match head.body {
            Framing::Length(length) => {
                let length = usize::try_from(length).expect("a length below the limit");
                assert_eq!(&rest[..length], body, "the bytes that follow");
                length
            }
            Framing::Chunked => match wire::Chunks::read(rest) {
                wire::Chunks::Whole {
                    body: expected,
                    used,
                    ..
                } => {
                    assert_eq!(&expected, body);
                    used
                }
                other => panic!("accepted, but {other:?}"),
            },
        };
        assert!(body.len() <= limit);
        rest = &rest[used..];
    }
    if seen.end == End::Asked {
        return;
    }
    let Some(head) = wire::Head::read(rest) else {
        return assert_ne!(seen.end, End::Refused(BODY_TOO_LARGE));
    };
    let End::Refused(refusal) = &seen.end else {
        panic!("a whole head deserves an answer");
    };
    let (status, why) = (refusal.status, &refusal.message);
    let after = &rest[head.length..];
    let fields = head.fields.len();
    match status {
        StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => {
            assert!(head.length > MAX_HEAD || fields > MAX_LINES, "{why}");
        }
        StatusCode::PAYLOAD_TOO_LARGE => match announced(&head) {
            Some(Announced::Length(length)) => assert!(length > limit),
            Some(Announced::Chunks) => match wire::Chunks::read(after) {
                wire::Chunks::Whole { body, .. } => assert!(body.len() > limit),
                // Enough was announced.
                wire::Chunks::Short { .. } | wire::Chunks::Unclosed | wire::Chunks::Malformed => {}
            },
            None => panic!("{why}"),
        },
        _ => assert!(
            !must_be_taken(&head, after, limit),
            "{status} {why}: {}",
            rest.escape_ascii()
        ),
    }
}

fn check_head(bytes: &[u8], expected: &wire::Head, head: &Head) {
    assert!(bytes.len() <= MAX_HEAD, "{} bytes of head", bytes.len());
    assert!(expected.fields.len() <= MAX_LINES);
    let line_ends = bytes.windows(2).filter(|pair| pair == b"\r\n").count();
    let halves = bytes.iter().filter(|b| b"\r\n\0".contains(b)).count();
    assert_eq!(halves, 2 * line_ends, "bare CR, LF or NUL");
    let mut parts = expected.first.split(|&b| b == b' ');
    assert_eq!(parts.next(), Some(head.method.as_str().as_bytes()));
    let target = parts.next().expect("a target");
    let written = head.target.as_str().as_bytes();
    // `http://host?query` has no slash of its own.
    assert!(target.ends_with(written) || head.target == "/" || target.ends_with(&written[1..]));
    assert!(head.method.as_str().len() <= 32);
    let version: &[u8] = if head.is_http10 {
        b"HTTP/1.0"
    } else {
        b"HTTP/1.1"
    };
    assert_eq!((parts.next(), parts.next()), (Some(version), None));
    assert_eq!(head.headers.len(), expected.fields.len());
    let names: HashSet<&String> = expected.fields.iter().map(|(name, _)| name).collect();
    for name in names {
        let values: Vec<_> = head.headers.get_all(name).iter().collect();
        assert_eq!(values, expected.values(name), "{name}");
    }
    let hosts = expected.values("host").len();
    assert!(hosts == 1 || hosts == 0 && head.is_http10);
    match (announced(expected), head.body) {
        (Some(Announced::Length(length)), Framing::Length(read)) => {
            assert_eq!(length as u64, read);
        }
        (Some(Announced::Chunks), Framing::Chunked) => assert!(!head.is_http10),
        (_, read) => panic!("{read:?}"),
    }
}

/// What a head says of its body; `None` where it must not be believed.
enum Announced {
    Length(usize),
    Chunks,
}

fn announced(head: &wire::Head) -> Option<Announced> {
    match (
        &*head.values("content-length"),
        &*head.values("transfer-encoding"),
    ) {
        ([], []) => Some(Announced::Length(0)),
        ([length], []) => {
            let text = std::str::from_utf8(length).ok()?;
            let is_number = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
            is_number.then(|| Announced::Length(text.parse().unwrap_or(usize::MAX)))
        }
        ([], [coding]) if coding.eq_ignore_ascii_case(b"chunked") => Some(Announced::Chunks),
        _ => None,
    }
}

/// Whether nothing about a request is unusual, its body is there and within the limit.
fn must_be_taken(head: &wire::Head, after: &[u8], limit: usize) -> bool {
    let mut parts = head.first.split(|&b| b == b' ');
    let method = parts.next().unwrap_or_default();
    let target = parts.next().unwrap_or_default();
    let is_path = |b: &u8| b.is_ascii_alphanumeric() || b"/-_.~".contains(b);
    head.plain
        && head.length <= MAX_HEAD
        && head.fields.len() <= MAX_LINES
        && !method.is_empty()
        && method.iter().all(u8::is_ascii_uppercase)
        && method.len() <= 32
        && head.values("connection").iter().all(|names| !names.contains(&b','))
        && target.starts_with(b"/")
        && target.iter().all(is_path)
        && (parts.next(), parts.next()) == (Some(b"HTTP/1.1"), None)
        && head.values("host").len() == 1
        && head.values("host")[0].iter().all(u8::is_ascii_alphanumeric)
        && head.values("expect").is_empty()
        && match announced(head) {
            Some(Announced::Length(length)) => length <= limit.min(after.len()),
            Some(Announced::Chunks) => matches!(
                wire::Chunks::read(after),
                wire::Chunks::Whole { body, plain: true, .. } if body.len() <= limit
            ),
            None => false,
        }
}

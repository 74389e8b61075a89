//! Input: the limit of a body, two cuts, the client's bytes. In those `FF n b` stands for 512 × n times `b`: a head of
//! 64 KiB is out of reach otherwise.

use std::collections::HashSet;
use std::net::{Shutdown, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv, send};
use http::StatusCode;

use super::wire;
use crate::front::head::{Framing, Head};
use crate::front::memory::Memory;
use crate::front::request::{BODY_TOO_LARGE, Fault, Input};

/// Longest body: small ones, so that they are met, and one above what is read in one step.
const LIMITS: [usize; 3] = [5, 300, 70_000];
const MAX_HEAD: usize = 64 << 10;
const MAX_LINES: usize = 128;
/// Of what `FF n b` makes, all together.
const MOST: usize = 200 << 10;
/// Never over: the fuzzer's own timeout finds what hangs.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a connection's thread has seen of its client in the end.
#[derive(Debug)]
struct Seen {
    requests: Vec<(Head, Vec<u8>)>,
    /// `None`: the last request asked for the connection's end.
    fault: Option<Fault>,
}

pub fn request(data: &[u8]) {
    let [limit, one, two, rest @ ..] = data else {
        return;
    };
    let limit = LIMITS[usize::from(*limit) % LIMITS.len()];
    let bytes: Arc<[u8]> = unfold(rest).into();
    let whole = read(&bytes, vec![bytes.len()], limit);
    check(&bytes, limit, &whole);

    let mut ends: Vec<usize> = [*one, *two]
        .iter()
        .map(|&cut| usize::from(cut) * bytes.len() / 255)
        .chain([bytes.len()])
        .collect();
    ends.sort_unstable();
    let cut = read(&bytes, ends.clone(), limit);
    assert_eq!(whole.fault, cut.fault, "cut at {ends:?}");
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

/// Reads one request after the other, as `front::connection` does.
fn read(bytes: &Arc<[u8]>, ends: Vec<usize>, limit: usize) -> Seen {
    static MEMORY: LazyLock<Arc<Memory>> = LazyLock::new(|| Memory::for_bodies(1 << 30));
    let (client, ours) = UnixStream::pair().expect("a pair of sockets");
    // What the kernel holds needs no second thread.
    let mut sent = 0;
    while sent < ends[0] {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        match send(client.as_raw_fd(), &bytes[sent..ends[0]], flags) {
            Ok(more) => sent += more,
            Err(_) => break,
        }
    }
    let done = Arc::new(AtomicBool::new(false));
    if sent == bytes.len() {
        client.shutdown(Shutdown::Write).expect("an open socket");
    } else {
        let delivery = Delivery {
            bytes: bytes.clone(),
            sent,
            ends,
            peek: ours.try_clone().expect("a descriptor"),
            client,
            done: done.clone(),
        };
        WRITER.send(delivery).expect("the writer lives on");
    }
    let stream = TcpStream::from(OwnedFd::from(ours));
    let mut input = Input::new(&stream);
    let until = Instant::now() + PATIENCE;
    let mut requests = Vec::new();
    let mut next = || -> Result<(Head, Vec<u8>), Fault> {
        input.wait(until)?;
        let head = input.read_head(until)?;
        if matches!(head.body, Framing::Length(length) if length > limit as u64) {
            return Err(BODY_TOO_LARGE);
        }
        let mut charge = MEMORY.charge();
        let body = input.read_body(head.body, limit, &mut charge, || until)?;
        input.release();
        Ok((head, body))
    };
    let fault = loop {
        match next() {
            Ok(request) => {
                let keep = request.0.keep_alive;
                requests.push(request);
                if !keep {
                    break None;
                }
            }
            Err(fault) => break Some(fault),
        }
    };
    done.store(true, Ordering::Relaxed);
    // Frees a writer that waits for room.
    let _ = stream.shutdown(Shutdown::Both);
    Seen { requests, fault }
}

/// A client's bytes, and where each of its writes ends.
struct Delivery {
    bytes: Arc<[u8]>,
    sent: usize,
    ends: Vec<usize>,
    client: UnixStream,
    /// The reader's socket, to see what it has not taken yet.
    peek: UnixStream,
    done: Arc<AtomicBool>,
}

/// A thread that writes what a client sends, each piece only when the one before it was read: so no read sees two.
static WRITER: LazyLock<Sender<Delivery>> = LazyLock::new(|| {
    let (sender, receiver) = mpsc::channel::<Delivery>();
    thread::spawn(move || receiver.into_iter().for_each(|delivery| delivery.write()));
    sender
});

impl Delivery {
    fn write(&self) {
        let mut from = self.sent;
        for &end in self.ends.iter().filter(|&&end| end > self.sent) {
            self.await_reader();
            while from < end {
                let piece = &self.bytes[from..end];
                match send(self.client.as_raw_fd(), piece, MsgFlags::MSG_NOSIGNAL) {
                    Ok(written) => from += written,
                    Err(Errno::EINTR) => {}
                    Err(_) => return,
                }
            }
        }
        let _ = self.client.shutdown(Shutdown::Write);
    }

    fn await_reader(&self) {
        let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
        while !self.done.load(Ordering::Relaxed)
            && recv(self.peek.as_raw_fd(), &mut [0], flags) == Ok(1)
        {
            thread::yield_now();
        }
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
    let Some(fault) = &seen.fault else {
        return;
    };
    let Some(head) = wire::Head::read(rest) else {
        return assert!(
            !matches!(fault, Fault::Refused(status, _) if *status == StatusCode::PAYLOAD_TOO_LARGE)
        );
    };
    assert_ne!(*fault, Fault::Gone, "a whole head deserves an answer");
    let Fault::Refused(status, why) = fault else {
        return;
    };
    let after = &rest[head.length..];
    let fields = head.fields.len();
    match *status {
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
    assert!(target.ends_with(head.target.as_str().as_bytes()) || head.target == "/");
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
        && target.starts_with(b"/")
        && target.iter().all(is_path)
        && (parts.next(), parts.next()) == (Some(b"HTTP/1.1"), None)
        && head.values("host").len() == 1
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

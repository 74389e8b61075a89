//! Input: options, two cuts, the endpoint's bytes.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread;

use http::uri::PathAndQuery;
use http::{HeaderMap, Method};

use super::wire;
use crate::config::Config;
use crate::upstream::{Abort, Outgoing, Surroundings, Upstream};

/// Larger than any piece that an input makes.
const BUFFER: usize = 8 << 10;
const SECOND: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecond";

/// What the endpoint answers `/first` with; `/second` gets [`SECOND`].
#[derive(Clone, Default)]
struct Script {
    pieces: Vec<Vec<u8>>,
    /// It waits for another request instead of closing.
    keep: bool,
}

static SCRIPT: Mutex<Option<Script>> = Mutex::new(None);

/// The endpoint's configuration; it listens for as long as the process lives.
static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its number");
    // Two of them: a connection that is kept must not keep the next one waiting.
    for _ in 0..2 {
        let listener = listener.try_clone().expect("a descriptor");
        thread::spawn(move || listener.incoming().flatten().for_each(serve));
    }
    let text = format!(
        r#"{{ "endpoints": [{{ "baseURL": "http://{address}", "authToken": "t" }}],
            "connectSeconds": 20, "responseSeconds": 20, "idleSeconds": 20 }}"#
    );
    Config::parse(&text, "f", &|_| None, &|_| Ok(String::new())).expect("a configuration")
});

/// What an answer's bytes mean.
enum Expected {
    Whole {
        body: Vec<u8>,
        /// Bytes of the answer, where it does not reach to the connection's end.
        used: Option<usize>,
    },
    /// It must not end well: this, or less, and an error.
    Broken { body: Vec<u8> },
    /// Unusual. Whatever is made of it, it is made without harm.
    Unknown,
}

pub fn answer(data: &[u8]) {
    let [options, one, two, raw @ ..] = data else {
        return;
    };
    let method = match options % 4 {
        0 | 1 => Method::GET,
        2 => Method::POST,
        _ => Method::HEAD,
    };
    let interim = interim(raw);
    let behind = &raw[interim.unwrap_or_default()..];
    let head = wire::Head::read(behind);
    let mut expected = match interim {
        Some(_) => expected(behind, head.as_ref(), method == Method::HEAD),
        None => Expected::Unknown,
    };
    if let (
        Some(interim),
        Expected::Whole {
            used: Some(used), ..
        },
    ) = (interim, &mut expected)
    {
        *used += interim;
    }
    let is_framed = matches!(expected, Expected::Whole { used: Some(_), .. });
    let keep = options & 4 != 0 && is_framed;
    let mut ends: Vec<usize> = match options & 8 {
        0 => vec![],
        _ => [one, two]
            .map(|&cut| usize::from(cut) * raw.len() / 255)
            .to_vec(),
    };
    // Excess that comes later than the answer may come later than the next request, too: nobody can tell it then.
    if let Expected::Whole {
        used: Some(used), ..
    } = expected
    {
        ends.retain(|&end| end < used);
    }
    ends.extend([0, raw.len()]);
    ends.sort_unstable();
    let pieces = ends
        .windows(2)
        .map(|cut| raw[cut[0]..cut[1]].to_vec())
        .collect();
    *SCRIPT.lock().unwrap_or_else(PoisonError::into_inner) = Some(Script { pieces, keep });

    let upstream = Upstream::new(&CONFIG.endpoints[0], &CONFIG, &Surroundings::bare());
    let read = fetch(&upstream, &method, "/first");
    match (expected, read) {
        (Expected::Whole { body, .. }, read) => {
            let (status, length, read, clean) = read.expect("a well-formed answer");
            assert!(clean, "a whole answer ends well");
            assert_eq!(
                read.escape_ascii().to_string(),
                body.escape_ascii().to_string()
            );
            let head = head.expect("it was looked at");
            let first = String::from_utf8_lossy(head.first);
            assert_eq!(first.get(9..12), Some(&*status.to_string()));
            // Of an answer without a body the length may be told or not.
            if let ([announced], false) = (&*head.values("content-length"), body.is_empty()) {
                assert_eq!(length, number(announced).map(|length| length as u64));
            }
        }
        (Expected::Broken { body }, Ok((.., read, clean))) => {
            assert!(
                !clean,
                "a broken answer must not end well: {}",
                raw.escape_ascii()
            );
            assert!(body.starts_with(&read), "{}", read.escape_ascii());
        }
        (Expected::Broken { .. }, Err(_)) | (Expected::Unknown, _) => {}
    }
    if is_framed {
        // What an endpoint sends behind an answer must not become the answer of somebody else's request.
        let (status, _, body, clean) =
            fetch(&upstream, &Method::GET, "/second").expect("an answer");
        assert_eq!((status, clean), (200, true));
        assert_eq!(body.escape_ascii().to_string(), "second");
    }
}

type Fetched = (u16, Option<u64>, Vec<u8>, bool);

/// Status, length, body, and whether the body ended well.
fn fetch(upstream: &Upstream, method: &Method, target: &'static str) -> Result<Fetched, String> {
    let body: &[u8] = if *method == Method::POST { b"{}" } else { b"" };
    let outgoing = Outgoing {
        method,
        target: &PathAndQuery::from_static(target),
        headers: &HeaderMap::new(),
        body,
    };
    let mut answer = upstream
        .send(&outgoing, &Arc::new(Abort::default()))
        .map_err(|err| format!("{err:?}"))?;
    let (mut body, mut buf) = (Vec::new(), vec![0; BUFFER]);
    let clean = loop {
        match answer.body.read(&mut buf) {
            Ok(0) => break true,
            Ok(more) => body.extend_from_slice(&buf[..more]),
            Err(_) => break false,
        }
    };
    Ok((answer.status.as_u16(), answer.length, body, clean))
}

/// Bytes of the interim answers (1xx) before the real one; `None` where there is something unusual about them.
fn interim(raw: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(head) = wire::Head::read(&raw[at..]) {
        let is_interim = head.first.starts_with(b"HTTP/1.1 1") && !head.first.starts_with(b"HTTP/1.1 101");
        if !is_interim {
            break;
        }
        let reason = head.first.get(10..).unwrap_or_default();
        let is_usual = reason.len() >= 2
            && reason[..2].iter().all(u8::is_ascii_digit)
            && (reason.len() == 2 || reason[2] == b' ')
            && wire::is_printable(reason);
        if !head.plain || !is_usual {
            return None;
        }
        at += head.length;
    }
    Some(at)
}

fn expected(raw: &[u8], head: Option<&wire::Head>, is_head: bool) -> Expected {
    let Some(head) = head else {
        return Expected::Unknown;
    };
    let rest = &raw[head.length..];
    let Some(status) = status(head.first) else {
        return Expected::Unknown;
    };
    let is_usual = head.plain && head.fields.len() <= 60 && head.length < 16 << 10;
    if !is_usual {
        return Expected::Unknown;
    }
    if is_head || matches!(status, 204 | 304) {
        let lengths = head.values("content-length");
        let is_number = |text: &&[u8]| number(text).is_some();
        return if lengths.len() <= 1 && lengths.iter().all(is_number) {
            Expected::Whole {
                body: Vec::new(),
                used: Some(head.length),
            }
        } else {
            Expected::Unknown
        };
    }
    match (
        &*head.values("content-length"),
        &*head.values("transfer-encoding"),
    ) {
        ([], []) => Expected::Whole {
            body: rest.to_vec(),
            used: None,
        },
        ([text], []) => match number(text) {
            Some(length) if length <= rest.len() => Expected::Whole {
                body: rest[..length].to_vec(),
                used: Some(head.length + length),
            },
            Some(_) => Expected::Broken {
                body: rest.to_vec(),
            },
            None => Expected::Unknown,
        },
        ([], [b"chunked"]) => match wire::Chunks::read(rest) {
            wire::Chunks::Whole {
                body,
                used,
                plain: true,
            } => Expected::Whole {
                body,
                used: Some(head.length + used),
            },
            wire::Chunks::Short { body } => Expected::Broken { body },
            wire::Chunks::Whole { .. } | wire::Chunks::Unclosed | wire::Chunks::Malformed => {
                Expected::Unknown
            }
        },
        _ => Expected::Unknown,
    }
}

/// Of `HTTP/1.1 200 Something`, for the statuses that have nothing special about them.
fn status(line: &[u8]) -> Option<u16> {
    let (version, rest) = line.split_at_checked(9)?;
    let (digits, reason) = rest.split_at_checked(3)?;
    let status = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let is_plain = reason.is_empty() || reason[0] == b' ' && wire::is_printable(reason);
    (version == b"HTTP/1.1 " && is_plain && (200..600).contains(&status)).then_some(status)
}

/// A length that is no more than can be read.
fn number(text: &[u8]) -> Option<usize> {
    let text = std::str::from_utf8(text).ok()?;
    let is_number = (1..=15).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| text.parse().ok()).flatten()
}

/// One connection to the endpoint.
fn serve(mut stream: TcpStream) {
    let _ = stream.set_nodelay(true);
    let mut request = Vec::new();
    let mut buf = [0; 1024];
    while let Ok(more @ 1..) = stream.read(&mut buf) {
        request.extend_from_slice(&buf[..more]);
        let Some(length) = wire::Head::read(&request).map(|head| head.length) else {
            continue;
        };
        let is_post = request.starts_with(b"POST");
        if is_post && request.len() < length + 2 {
            continue;
        }
        if wire::find(&request, b" /second ").is_some() {
            if stream.write_all(SECOND).is_err() {
                return;
            }
        } else {
            let script = SCRIPT
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let script = script.unwrap_or_default();
            for piece in &script.pieces {
                if stream.write_all(piece).is_err() {
                    return;
                }
                thread::yield_now();
            }
            if !script.keep {
                return;
            }
        }
        request.clear();
    }
}

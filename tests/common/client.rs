//! A client that sends any bytes, reads piece by piece, and can tell how a connection ended.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use super::wire::{Ending, Head, Wire, find, is_timeout};
use super::{A_WHILE, DEADLINE};

/// A request to send.
#[derive(Clone)]
pub struct Request {
    method: String,
    target: String,
    version: &'static str,
    headers: Vec<(String, Vec<u8>)>,
    body: Option<Vec<u8>>,
    chunked: bool,
}

impl Request {
    pub fn new(method: &str, target: &str) -> Request {
        let (method, target) = (method.to_owned(), target.to_owned());
        Request {
            method,
            target,
            version: "1.1",
            headers: Vec::new(),
            body: None,
            chunked: false,
        }
    }

    /// The message request that most stories send.
    pub fn message() -> Request {
        Request::new("POST", "/v1/messages").body("{}")
    }

    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Request {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    /// With a `content-length`.
    pub fn body(mut self, body: impl AsRef<[u8]>) -> Request {
        self.body = Some(body.as_ref().to_vec());
        self
    }

    /// The body goes out in chunks of up to 1,000 bytes.
    pub fn chunked(mut self) -> Request {
        self.chunked = true;
        self
    }

    pub fn version(mut self, version: &'static str) -> Request {
        self.version = version;
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut out = format!(
            "{} {} HTTP/{}\r\nhost: localhost\r\n",
            self.method, self.target, self.version
        );
        if self.chunked {
            out.push_str("transfer-encoding: chunked\r\n");
        } else if let Some(body) = &self.body {
            out.push_str(&format!("content-length: {}\r\n", body.len()));
        }
        let mut out = out.into_bytes();
        for (name, value) in &self.headers {
            out.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
        }
        out.extend_from_slice(b"\r\n");
        let body = self.body.as_deref().unwrap_or_default();
        if self.chunked {
            for piece in body.chunks(1000) {
                out.extend([format!("{:x}\r\n", piece.len()).as_bytes(), piece, b"\r\n"].concat());
            }
            out.extend_from_slice(b"0\r\n\r\n");
        } else {
            out.extend_from_slice(body);
        }
        out
    }
}

/// A whole answer, or as much of one as came.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: Head,
    pub body: Vec<u8>,
    /// False where the connection ended before the body did.
    pub whole: bool,
}

impl Answer {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body in UTF-8")
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {:?}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.get(name)
    }

    pub fn served_by(&self) -> &str {
        self.header("x-served-by")
            .expect("an endpoint's answer names it")
    }

    /// The events of a stream that ended well-framed, each up to its empty line.
    pub fn events(&self) -> Vec<&str> {
        assert!(self.whole, "the stream ends well-formed: {:?}", self.text());
        assert!(
            self.text().ends_with("\n\n") || self.text().ends_with("\r\n\r\n"),
            "the last event is whole: {:?}",
            self.text()
        );
        self.text().split_inclusive("\n\n").collect()
    }

    /// Asserts that this is an error of ours, whole and in the API's shape, and returns its message.
    #[track_caller]
    pub fn own_error(&self, status: u16, kind: &str) -> String {
        assert_eq!(
            self.status,
            status,
            "{:?} {}",
            self.head,
            String::from_utf8_lossy(&self.body)
        );
        assert!(self.whole);
        assert_eq!(self.header("content-type"), Some("application/json"));
        assert_eq!(self.header("access-control-allow-origin"), Some("*"));
        assert!(
            !self.head.has("x-served-by"),
            "no endpoint answered this: {:?}",
            self.head
        );
        let json = self.json();
        assert_eq!(json["type"], "error");
        assert_eq!(json["error"]["type"], kind);
        let id = json["request_id"].as_str().expect("a request id");
        assert!(!id.is_empty());
        assert_eq!(
            self.header("request-id"),
            Some(id),
            "header and body name the same request"
        );
        let keys: Vec<&String> = json.as_object().expect("an object").keys().collect();
        assert_eq!(keys.len(), 3, "{json}");
        let message = json["error"]["message"].as_str().expect("a message");
        assert!(
            message.len() > 10,
            "words that a user can act on: {message:?}"
        );
        message.to_owned()
    }
}

/// How the body that is being read is framed, and what is left of it.
#[derive(Clone, Copy)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

pub struct Client {
    wire: Wire,
    framing: Framing,
    /// Of the current body: what came behind the last event that was read.
    tail: Vec<u8>,
}

impl Client {
    pub fn connect(address: SocketAddr) -> Client {
        let stream =
            TcpStream::connect_timeout(&address, DEADLINE).expect("the balancer takes connections");
        Client {
            wire: Wire::new(stream),
            framing: Framing::Length(0),
            tail: Vec::new(),
        }
    }

    pub fn wire(&mut self) -> &mut Wire {
        &mut self.wire
    }

    /// Sends bytes as they are. A balancer that has closed already is not an error here: its answer tells.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Client {
        let _ = self.wire.write(bytes.as_ref());
        self
    }

    /// Sends a request and reads the whole answer.
    #[track_caller]
    pub fn ask(&mut self, request: &Request) -> Answer {
        self.send(request.bytes());
        self.answer_to(&request.method)
    }

    /// Sends a request and reads the head of its answer.
    #[track_caller]
    pub fn begin(&mut self, request: &Request) -> Head {
        self.send(request.bytes());
        self.head()
    }

    /// The next head, an interim one too.
    #[track_caller]
    pub fn head(&mut self) -> Head {
        self.head_to("GET")
    }

    #[track_caller]
    fn head_to(&mut self, method: &str) -> Head {
        let head = match self.wire.head() {
            Ok(Some(head)) => head,
            Ok(None) => panic!("the connection ended before an answer"),
            Err(e) => panic!("no head of an answer: {e}"),
        };
        let status = status_of(&head);
        let (length, coding) = (head.get("content-length"), head.get("transfer-encoding"));
        let bodiless = method == "HEAD" || status < 200 || status == 204 || status == 304;
        assert!(
            !(length.is_some() && coding.is_some()),
            "one framing only: {head:?}"
        );
        assert!(
            status != 204 || length.is_none(),
            "a 204 has no length: {head:?}"
        );
        self.framing = match (length, coding) {
            _ if bodiless => Framing::Length(0),
            (Some(n), _) => Framing::Length(n.parse().expect("a length")),
            (None, Some(coding)) => {
                assert_eq!(coding, "chunked");
                Framing::Chunked
            }
            (None, None) => Framing::UntilClose,
        };
        self.tail.clear();
        head
    }

    /// The next whole answer, interim ones left aside.
    #[track_caller]
    pub fn answer(&mut self) -> Answer {
        self.answer_to("GET")
    }

    #[track_caller]
    pub fn answer_to(&mut self, method: &str) -> Answer {
        loop {
            let head = self.head_to(method);
            let status = status_of(&head);
            if status >= 200 {
                let (body, whole) = self.rest();
                return Answer {
                    status,
                    head,
                    body,
                    whole,
                };
            }
        }
    }

    /// The next piece of the body, a chunk where it is chunked; `None` at its end.
    pub fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        match &mut self.framing {
            Framing::Length(0) => Ok(None),
            Framing::Length(left) => {
                let piece = self.wire.some(*left)?.ok_or(io::ErrorKind::UnexpectedEof)?;
                *left -= piece.len();
                Ok(Some(piece))
            }
            Framing::Chunked => {
                let piece = self.wire.chunk()?;
                if piece.is_none() {
                    self.framing = Framing::Length(0);
                }
                Ok(piece)
            }
            Framing::UntilClose => self.wire.some(usize::MAX),
        }
    }

    /// What is left of the body, and whether it ended as its framing says.
    #[track_caller]
    pub fn rest(&mut self) -> (Vec<u8>, bool) {
        let mut body = std::mem::take(&mut self.tail);
        loop {
            match self.piece() {
                Ok(Some(piece)) => body.extend(piece),
                Ok(None) => return (body, true),
                Err(e) if is_timeout(&e) => {
                    panic!(
                        "the answer does not go on after {:?}",
                        String::from_utf8_lossy(&body)
                    )
                }
                Err(e) if e.kind() == io::ErrorKind::InvalidData => {
                    panic!("{e} after {:?}", String::from_utf8_lossy(&body))
                }
                Err(_) => return (body, false),
            }
        }
    }

    /// The next event of a stream, up to its empty line.
    #[track_caller]
    pub fn event(&mut self) -> String {
        loop {
            if let Some(at) = find(&self.tail, b"\n\n") {
                let event = self.tail.drain(..at + 2).collect();
                return String::from_utf8(event).expect("an event in UTF-8");
            }
            match self.piece() {
                Ok(Some(piece)) => self.tail.extend(piece),
                end => panic!(
                    "no further event: {end:?} after {:?}",
                    String::from_utf8_lossy(&self.tail)
                ),
            }
        }
    }

    /// Asserts that nothing comes for a while.
    #[track_caller]
    pub fn hears_nothing(&mut self) {
        assert!(self.wire.is_silent_for(A_WHILE), "nothing was to come yet");
    }

    /// Whether something has come that was not read yet.
    pub fn has_answer(&mut self) -> bool {
        !self.wire.is_silent_for(Duration::from_millis(1))
    }

    /// How the connection ends, waiting for it.
    pub fn ending(&mut self) -> Ending {
        self.wire.ending(DEADLINE)
    }

    pub fn ending_within(&mut self, limit: Duration) -> Ending {
        self.wire.ending(limit)
    }

    /// Goes away at once, as a client that crashed.
    pub fn reset(self) {
        self.wire.reset();
    }
}

pub fn status_of(head: &Head) -> u16 {
    let mut words = head.line.split(' ');
    assert_eq!(
        words.next(),
        Some("HTTP/1.1"),
        "we speak HTTP/1.1: {:?}",
        head.line
    );
    words
        .next()
        .and_then(|w| w.parse().ok())
        .unwrap_or_else(|| panic!("a status line: {:?}", head.line))
}

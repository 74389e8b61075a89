//! Two fake Claude endpoints on loopback, for `--demo`: everything works with nothing but the binary, and costs nothing.
//!
//! They answer as the API does (same paths, shapes and events, a human pace) and say which of them it was, in the text
//! and in `x-demo-endpoint`. Only the balancer talks to them, so they know no more of HTTP than it sends: requests with
//! a length, one after the other. A thread a connection, not tiny_http, whose connections may queue behind a stream.
//! Each can be told to fail for a while, so that failover can be watched.

mod message;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::config::{Endpoint, Secret};
use message::{Message, question, tokens};

/// Most bytes and header lines of a request's head, and bytes of its body: more than the balancer lets through.
const MAX_HEAD: usize = 128 << 10;
const MAX_HEADERS: usize = 160;
const MAX_BODY: usize = 64 << 20;

/// A thread's stack: JSON of its greatest depth is parsed on it.
const STACK: usize = 256 << 10;

const MODELS: [(&str, &str); 2] = [
    ("claude-demo-large", "Claude Demo Large"),
    ("claude-demo-small", "Claude Demo Small"),
];

/// Names and tokens.
const FAKES: [(&str, &str); 2] = [("demo-1", "demo-token-1"), ("demo-2", "demo-token-2")];

/// How long a fake fails that was told to: time enough to see the page change, and to see it change back.
const FAILURE: Duration = Duration::from_secs(60);

/// The running fakes. Their threads end with the process, a connection's when it is closed.
#[derive(Debug)]
pub struct Demo {
    addresses: Vec<SocketAddr>,
}

impl Demo {
    /// Starts both on free ports.
    ///
    /// # Errors
    /// The system has no port or thread left.
    pub fn start() -> io::Result<Demo> {
        let addresses: io::Result<_> = FAKES
            .iter()
            .map(|(name, token)| Fake::start(name, token))
            .collect();
        Ok(Demo {
            addresses: addresses?,
        })
    }

    /// What the balancer has to know of them.
    pub fn endpoints(&self) -> Vec<Endpoint> {
        let endpoint = |((name, token), address): (&(&str, &str), &SocketAddr)| {
            let url = format!("http://{address}/");
            let url = url.parse().expect("an address makes a URL");
            Endpoint::new(name, url, Secret::new((*token).to_owned()))
        };
        FAKES.iter().zip(&self.addresses).map(endpoint).collect()
    }

    /// What to try with a balancer that listens at `address`.
    pub fn hints(&self, address: &str) -> String {
        let question = r#""model":"claude-demo-large","max_tokens":100,"messages":[{"role":"user","content":"Hello!"}]"#;
        let (name, fake) = (FAKES[0].0, self.addresses[0]);
        format!(
            "Two fake endpoints answer; no token is spent. Watch them at http://{address}/\n\n\
             Try, in another terminal, each line more than once:\n\n\
             \x20 curl http://{address}/v1/messages -d '{{{question}}}'\n\
             \x20 curl -N http://{address}/v1/messages -d '{{\"stream\":true,{question}}}'\n\
             \x20 curl http://{address}/health\n\n\
             {name} fails for a minute after this; its requests go to the other one:\n\n\
             \x20 curl -X POST http://{fake}/fail\n"
        )
    }
}

#[derive(Debug)]
struct Fake {
    name: &'static str,
    token: &'static str,
    /// Somebody wants to see it fail.
    fails_until: Mutex<Option<Instant>>,
}

impl Fake {
    fn start(name: &'static str, token: &'static str) -> io::Result<SocketAddr> {
        // The second one is for machines that have IPv6 alone.
        let loopback: [SocketAddr; 2] = [
            (Ipv4Addr::LOCALHOST, 0).into(),
            (Ipv6Addr::LOCALHOST, 0).into(),
        ];
        let listener = TcpListener::bind(&loopback[..])?;
        let address = listener.local_addr()?;
        let fake = Arc::new(Fake {
            name,
            token,
            fails_until: Mutex::new(None),
        });
        thread::Builder::new()
            .name(name.into())
            .stack_size(STACK)
            .spawn(move || fake.accept(&listener))?;
        Ok(address)
    }

    fn accept(self: Arc<Fake>, listener: &TcpListener) {
        loop {
            let served = listener.accept().and_then(|(client, _)| {
                let fake = self.clone();
                let connection = move || fake.serve(client);
                thread::Builder::new()
                    .name(self.name.into())
                    .stack_size(STACK)
                    .spawn(connection)
            });
            if served.is_err() {
                // No descriptor or thread left: some come back when a request ends.
                thread::sleep(Duration::from_millis(50));
            }
        }
    }

    /// One connection's life. What breaks it is the other side's end, so nobody needs to hear of it.
    fn serve(&self, mut client: TcpStream) -> io::Result<()> {
        client.set_nodelay(true)?;
        let mut bytes = Vec::new();
        while let Some(request) = Request::read(&mut client, &mut bytes)? {
            let number = next_number();
            match self.answer(&request, number) {
                Answer::Json(status, body) => {
                    let body = body.to_string();
                    let kind = format!(
                        "content-type: application/json\r\ncontent-length: {}",
                        body.len()
                    );
                    let mut out = self.head(status, &kind, number);
                    out.push_str(if request.method == "HEAD" { "" } else { &body });
                    client.write_all(out.as_bytes())?;
                }
                Answer::Stream(message) => {
                    let kind = "content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n\
                                transfer-encoding: chunked";
                    client.write_all(self.head("200 OK", kind, number).as_bytes())?;
                    message.stream(&mut client)?;
                }
            }
        }
        Ok(())
    }

    fn head(&self, status: &str, kind: &str, number: u64) -> String {
        let name = self.name;
        format!(
            "HTTP/1.1 {status}\r\n{kind}\r\nrequest-id: req_{name}_{number}\r\nx-demo-endpoint: {name}\r\n\r\n"
        )
    }

    fn failing(&self) -> MutexGuard<'_, Option<Instant>> {
        self.fails_until
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, request: &Request, number: u64) -> Answer {
        if (&*request.method, &*request.path) == ("POST", "/fail") {
            *self.failing() = Some(Instant::now() + FAILURE);
            let seconds = FAILURE.as_secs();
            return Answer::Json(
                "200 OK",
                json!({ "endpoint": self.name, "fails_for_seconds": seconds }),
            );
        }
        if self.failing().is_some_and(|until| Instant::now() < until) {
            let message = "the demo was told to fail for a minute";
            return self.error(number, "500 Internal Server Error", "api_error", message);
        }
        if request.token.as_deref() != Some(self.token) {
            let message = "invalid x-api-key";
            return self.error(number, "401 Unauthorized", "authentication_error", message);
        }
        self.api(request, number)
    }

    /// What the Claude API would say to it.
    fn api(&self, request: &Request, number: u64) -> Answer {
        let error = |status, kind, message: &str| self.error(number, status, kind, message);
        let invalid = |message: &str| error("400 Bad Request", "invalid_request_error", message);
        let is_head = request.method == "HEAD";
        let method = if is_head { "GET" } else { &*request.method };
        match (method, request.path.as_str()) {
            ("POST", "/v1/messages") => match Message::new(self.name, &request.body, number) {
                Ok(message) if message.is_stream => Answer::Stream(message),
                Ok(message) => Answer::Json("200 OK", message.whole()),
                Err(complaint) => invalid(&complaint),
            },
            ("POST", "/v1/messages/count_tokens") => match question(&request.body) {
                Ok(_) => Answer::Json("200 OK", json!({ "input_tokens": tokens(&request.body) })),
                Err(complaint) => invalid(&complaint),
            },
            ("GET", "/v1/models") => {
                let ids = MODELS.map(|(id, _)| id);
                let page = json!({ "data": MODELS.map(model), "has_more": false, "first_id": ids[0], "last_id": ids[1] });
                Answer::Json("200 OK", page)
            }
            ("GET", path) if path.starts_with("/v1/models/") => {
                let wanted = path.trim_start_matches("/v1/models/");
                match MODELS.into_iter().find(|(id, _)| *id == wanted) {
                    Some(found) => Answer::Json("200 OK", model(found)),
                    None => error(
                        "404 Not Found",
                        "not_found_error",
                        &format!("model: {wanted}"),
                    ),
                }
            }
            _ => error("404 Not Found", "not_found_error", "Not found"),
        }
    }

    fn error(&self, number: u64, status: &'static str, kind: &str, message: &str) -> Answer {
        let id = format!("req_{}_{number}", self.name);
        Answer::Json(
            status,
            json!({ "type": "error", "error": { "type": kind, "message": message }, "request_id": id }),
        )
    }
}

enum Answer {
    Json(&'static str, Value),
    Stream(Message),
}

struct Request {
    method: String,
    /// Without the query.
    path: String,
    token: Option<String>,
    body: Vec<u8>,
}

impl Request {
    /// Reads the next one. `bytes` are those that were read already. `None`: there is none.
    fn read(client: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<Option<Request>> {
        let (mut request, length) = loop {
            if let Some((request, length, head)) = Request::parse(bytes)? {
                bytes.drain(..head);
                break (request, length);
            }
            let mut piece = [0; 4096];
            let size = client.read(&mut piece)?;
            if size == 0 || bytes.len() > MAX_HEAD {
                return Ok(None);
            }
            bytes.extend_from_slice(&piece[..size]);
        };
        let missing = length.saturating_sub(bytes.len());
        client.take(missing as u64).read_to_end(bytes)?;
        if bytes.len() < length {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        request.body = bytes.drain(..length).collect();
        Ok(Some(request))
    }

    /// A request whose head is there whole, the length of its body and that of its head.
    fn parse(bytes: &[u8]) -> io::Result<Option<(Request, usize, usize)>> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut parsed = httparse::Request::new(&mut headers);
        let status = parsed
            .parse(bytes)
            .map_err(|err| io::Error::new(ErrorKind::InvalidData, err))?;
        let httparse::Status::Complete(head) = status else {
            return Ok(None);
        };

        let (mut token, mut length) = (None, 0);
        for header in parsed.headers.iter() {
            let value = String::from_utf8_lossy(header.value).into_owned();
            match header.name.to_ascii_lowercase().as_str() {
                "x-api-key" => token = Some(value),
                "authorization" => token = value.strip_prefix("Bearer ").map(str::to_owned),
                "content-length" => length = value.parse().unwrap_or(usize::MAX),
                "transfer-encoding" => length = usize::MAX,
                _ => {}
            }
        }
        if length > MAX_BODY {
            return Err(ErrorKind::InvalidData.into());
        }
        let path = parsed.path.unwrap_or_default();
        let path = path.split('?').next().unwrap_or_default().to_owned();
        let method = parsed.method.unwrap_or_default().to_owned();
        Ok(Some((
            Request {
                method,
                path,
                token,
                body: Vec::new(),
            },
            length,
            head,
        )))
    }
}

fn model((id, display_name): (&str, &str)) -> Value {
    json!({ "type": "model", "id": id, "display_name": display_name, "created_at": "2026-01-01T00:00:00Z" })
}

fn next_number() -> u64 {
    static NUMBERS: AtomicU64 = AtomicU64::new(1);
    NUMBERS.fetch_add(1, Ordering::Relaxed)
}

#[cfg(test)]
mod tests;

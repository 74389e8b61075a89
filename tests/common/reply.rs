//! A scripted reply: status, headers, a body in any framing, and how the connection goes on.

/// One scripted reply.
#[derive(Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, Vec<u8>)>,
    pub body: Body,
    pub then: Then,
}

#[derive(Clone)]
pub enum Body {
    /// With a `content-length`.
    Whole(Vec<u8>),
    /// Chunked, one chunk each, with the last chunk.
    Chunks(Vec<Vec<u8>>),
    /// These bytes instead of head and body.
    Raw(Vec<u8>),
    /// The story decides.
    ByHand,
}

#[derive(Clone, Copy, PartialEq)]
pub enum Then {
    Keep,
    Close,
    Reset,
    /// Nothing more until the balancer closes.
    Stall,
}

pub fn status(status: u16) -> Reply {
    Reply {
        status,
        headers: Vec::new(),
        body: Body::Whole(Vec::new()),
        then: Then::Keep,
    }
}

/// 200 with this body.
pub fn ok(body: impl AsRef<[u8]>) -> Reply {
    status(200)
        .header("content-type", "application/json")
        .body(body)
}

/// 200 with these events, each in a chunk of its own.
pub fn stream(events: &[String]) -> Reply {
    status(200)
        .header("content-type", "text/event-stream; charset=utf-8")
        .chunks(events)
}

/// An error as the Claude API writes it.
pub fn api_error(code: u16, kind: &str, message: &str) -> Reply {
    let body = serde_json::json!({"type": "error", "error": {"type": kind, "message": message}, "request_id": "req_up"});
    status(code)
        .header("content-type", "application/json")
        .header("request-id", "req_up")
        .body(body.to_string())
}

/// Exactly these bytes, then a close.
pub fn raw(bytes: impl AsRef<[u8]>) -> Reply {
    let mut reply = status(0).then(Then::Close);
    reply.body = Body::Raw(bytes.as_ref().to_vec());
    reply
}

/// Closes without a byte.
pub fn hang_up() -> Reply {
    raw("")
}

/// The story answers, through `Upstream::call`.
pub fn by_hand() -> Reply {
    let mut reply = status(0);
    reply.body = Body::ByHand;
    reply
}

impl Reply {
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Reply {
        self.headers
            .push((name.to_owned(), value.as_ref().to_vec()));
        self
    }

    pub fn body(mut self, body: impl AsRef<[u8]>) -> Reply {
        self.body = Body::Whole(body.as_ref().to_vec());
        self
    }

    pub fn chunks(mut self, chunks: &[impl AsRef<[u8]>]) -> Reply {
        self.body = Body::Chunks(chunks.iter().map(|c| c.as_ref().to_vec()).collect());
        self
    }

    fn then(mut self, then: Then) -> Reply {
        self.then = then;
        self
    }

    /// Closes after the reply; a chunked one lacks its last chunk.
    pub fn close(self) -> Reply {
        self.then(Then::Close)
    }

    /// Resets after the reply; a chunked one lacks its last chunk.
    pub fn reset(self) -> Reply {
        self.then(Then::Reset)
    }

    /// Falls silent after the reply; a chunked one lacks its last chunk.
    pub fn stall(self) -> Reply {
        self.then(Then::Stall)
    }

    /// What goes out, for a request with this method.
    pub fn bytes(&self, method: &str) -> Vec<u8> {
        if let Body::Raw(bytes) = &self.body {
            return bytes.clone();
        }
        let mut out = format!("HTTP/1.1 {} Scripted\r\n", self.status).into_bytes();
        for (name, value) in &self.headers {
            out.extend_from_slice(format!("{name}: ").as_bytes());
            out.extend_from_slice(value);
            out.extend_from_slice(b"\r\n");
        }
        match &self.body {
            Body::Whole(body) => {
                let bodiless = self.status == 204 || self.status == 304;
                if !bodiless
                    && !self
                        .headers
                        .iter()
                        .any(|(n, _)| n.eq_ignore_ascii_case("content-length"))
                {
                    out.extend_from_slice(format!("content-length: {}\r\n", body.len()).as_bytes());
                }
                out.extend_from_slice(b"\r\n");
                if method != "HEAD" {
                    out.extend_from_slice(body);
                }
            }
            Body::Chunks(chunks) => {
                out.extend_from_slice(b"transfer-encoding: chunked\r\n\r\n");
                chunks.iter().for_each(|c| out.extend(chunk(c)));
                if self.then == Then::Keep {
                    out.extend_from_slice(b"0\r\n\r\n");
                }
            }
            Body::Raw(_) | Body::ByHand => {}
        }
        out
    }
}

pub fn chunk(data: &[u8]) -> Vec<u8> {
    let mut out = format!("{:x}\r\n", data.len()).into_bytes();
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
    out
}

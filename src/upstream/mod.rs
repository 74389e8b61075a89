//! One attempt at one endpoint.
//!
//! The only file that names ureq's agent. ureq does the protocol; what it cannot do for us is in `upstream/transport.rs`:
//! an attempt that another thread can end, one look at a kept connection instead of six system calls, head and body in
//! one write, buffers that shrink. It knows nothing of other endpoints: what an outcome means is `failover`'s to say.

mod call;
mod input;
mod resolver;
mod transport;

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri, header};
use ureq::tls::{Certificate, PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::unversioned::transport::{Connector, RustlsConnector};
use ureq::{Agent, AsSendBody, BodyReader, Timeout};

use crate::api::headers;
use crate::config::{Config, Endpoint};
use call::Call;
pub use call::{Abort, Reason};
use transport::{NoLookup, TcpConnector, WatchedConnector};
/// Whom we trust to name an endpoint.
pub use ureq::tls::RootCerts as Roots;

/// Bytes of an answer's head that we take; the Claude API's are about 2 KiB.
const MAX_HEAD: usize = 64 << 10;
/// The TLS layer's buffers, in bytes: one record (RFC 8446 §5.1). A plain connection brings its own.
const TLS_BUFFER: usize = 16 << 10;
/// Room for what an outgoing head has beside the lines that we count: method, version, length, names, line ends.
const LINES_OF_OURS: usize = 512;
/// Idle connections to one endpoint that are kept for the next requests, and for how long. nginx users write
/// `keepalive 64`; the API's edge closes idle connections after some minutes.
const MAX_IDLE: usize = 64;
const MAX_IDLE_AGE: Duration = Duration::from_secs(60);

/// One endpoint, ready to be sent to.
pub struct Upstream {
    endpoint: Endpoint,
    credential: (HeaderName, HeaderValue),
    agent: Agent,
    timeouts: Timeouts,
}

#[derive(Clone, Copy, PartialEq, Eq)]
struct Timeouts {
    connect: Duration,
    response: Duration,
    idle: Duration,
}

impl Timeouts {
    fn of(config: &Config) -> Timeouts {
        Timeouts {
            connect: config.connect_timeout,
            response: config.response_timeout,
            idle: config.idle_timeout,
        }
    }
}

/// What is sent: a request with the client's own headers already sorted out, but for the credential.
pub struct Outgoing<'a> {
    pub method: &'a Method,
    pub target: &'a PathAndQuery,
    pub headers: &'a HeaderMap,
    pub body: &'a [u8],
}

/// The head of an answer, and the way to its body.
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// `None` where the endpoint announced no length: chunked, or until it closes.
    pub length: Option<u64>,
    pub body: Body,
    /// `responseSeconds` after the request had gone out.
    pub first_event_by: Instant,
}

/// Why an attempt gave no answer.
#[derive(Debug)]
pub enum Error {
    /// No connection, closed before the answer's first byte, or not HTTP.
    Unreachable(String),
    /// Connected and sent, but no answer's head within `responseSeconds`: the endpoint may be working on it.
    TimedOut,
    /// [`Abort::abort`] was called: the client has gone, or we are shutting down.
    Aborted,
    /// This machine had no descriptor or thread left for it. No endpoint's fault.
    Exhausted(io::Error),
}

impl Upstream {
    /// `roots` as [`roots`] gives them.
    pub fn new(endpoint: &Endpoint, config: &Config, roots: &RootCerts) -> Upstream {
        let timeouts = Timeouts::of(config);
        let agent_config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .allow_non_standard_methods(true)
            .proxy(None)
            .user_agent("")
            .accept("")
            .accept_encoding("")
            .timeout_connect(Some(timeouts.connect))
            .timeout_recv_response(Some(timeouts.response))
            .max_response_header_size(MAX_HEAD)
            .input_buffer_size(TLS_BUFFER)
            .output_buffer_size(TLS_BUFFER)
            .max_idle_connections(MAX_IDLE)
            .max_idle_connections_per_host(MAX_IDLE)
            .max_idle_age(MAX_IDLE_AGE)
            .tls_config(TlsConfig::builder().root_certs(roots.clone()).build())
            .build();
        let connector = TcpConnector::new(timeouts.response)
            .chain(RustlsConnector::default())
            .chain(WatchedConnector);
        Upstream {
            credential: headers::credential(endpoint.auth_scheme, &endpoint.auth_token),
            agent: Agent::with_parts(agent_config, connector, NoLookup),
            endpoint: endpoint.clone(),
            timeouts,
        }
    }

    pub fn name(&self) -> &str {
        &self.endpoint.name
    }

    /// Whether a new configuration leaves this endpoint as it is, so that its connections can stay.
    pub fn fits(&self, endpoint: &Endpoint, config: &Config) -> bool {
        self.endpoint == *endpoint && self.timeouts == Timeouts::of(config)
    }

    /// Sends a request and waits for the answer's head.
    ///
    /// A kept connection may have been closed by the endpoint at the same moment: where not a byte of an answer came on
    /// it, the request goes out again on a fresh one, once.
    pub fn send(&self, call: &Outgoing, abort: &Arc<Abort>) -> Result<Answer, Error> {
        let head = self.head_size(call);
        let size = head + call.body.len().min(transport::OUTPUT);
        let mut outcome = self.send_once(call, Call::new(abort, size));
        // Where only the time ran out, the endpoint may be working on it.
        let failed = matches!(&outcome, Err(err) if !matches!(err, ureq::Error::Timeout(_)));
        if failed && !abort.is_aborted() && Call::met_a_stale_connection() {
            log::debug!(endpoint = self.name(); "a kept connection had been closed");
            outcome = self.send_once(call, Call::on_a_fresh_connection(abort, size));
        }
        outcome.map_err(|err| {
            if abort.is_aborted() {
                Error::Aborted
            } else {
                explain(err)
            }
        })
    }

    fn send_once(&self, call: &Outgoing, context: Call) -> Result<Answer, ureq::Error> {
        context.enter();
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = call.method.clone();
        parts.uri = self.uri(call.target);
        parts.headers = call.headers.clone();
        parts
            .headers
            .insert(self.credential.0.clone(), self.credential.1.clone());
        let answer = if call.body.is_empty() && !needs_length(call.method) {
            self.run(Request::from_parts(parts, ()))?
        } else {
            self.run(Request::from_parts(parts, call.body))?
        };
        let (head, body) = answer.into_parts();
        let length = match head.headers.contains_key(header::TRANSFER_ENCODING) {
            true => None,
            false => body.content_length(),
        };
        let body = Body {
            reader: body.into_reader(),
            idle: self.timeouts.idle,
        };
        let first_event_by = Call::sent_at() + self.timeouts.response;
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            length,
            body,
            first_event_by,
        })
    }

    fn run(
        &self,
        mut request: Request<impl AsSendBody>,
    ) -> Result<Response<ureq::Body>, ureq::Error> {
        let longest = request
            .headers()
            .values()
            .map(HeaderValue::len)
            .max()
            .unwrap_or(0);
        if longest > TLS_BUFFER / 2 {
            // A header line must fit in the buffer. Such a request gets a connection of its own.
            request = self
                .agent
                .configure_request(request)
                .output_buffer_size(2 * MAX_HEAD)
                .build();
        }
        self.agent.run(request)
    }

    /// Bytes of the head that goes out, or a few more.
    fn head_size(&self, call: &Outgoing) -> usize {
        let lines: usize = call
            .headers
            .iter()
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum();
        let base = &self.endpoint.base_url;
        let host = base.authority().map_or(0, |host| host.as_str().len());
        lines
            + call.target.as_str().len()
            + base.path().len()
            + host
            + self.credential.1.len()
            + LINES_OF_OURS
    }

    /// The base URL with the request's path and query, byte for byte.
    fn uri(&self, target: &PathAndQuery) -> Uri {
        let base = self.endpoint.base_url.path();
        let target = target.as_str().strip_prefix('/').unwrap_or(target.as_str());
        let mut joined = String::with_capacity(base.len() + target.len());
        joined.push_str(base);
        joined.push_str(target);
        let mut parts = self.endpoint.base_url.clone().into_parts();
        parts.path_and_query =
            Some(PathAndQuery::try_from(joined).expect("two valid paths make one"));
        Uri::from_parts(parts).expect("a base URL has scheme and host")
    }
}

/// Methods whose request has a meaning with a body, so that an empty one is announced as empty.
fn needs_length(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

fn explain(err: ureq::Error) -> Error {
    match err {
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => {
            Error::Unreachable("no connection within connectSeconds".into())
        }
        ureq::Error::Timeout(_) => Error::TimedOut,
        ureq::Error::Io(err) if transport::is_exhaustion(&err) => Error::Exhausted(err),
        ureq::Error::Io(err) => Error::Unreachable(err.to_string()),
        err => Error::Unreachable(err.to_string()),
    }
}

/// An answer's body as it comes.
pub struct Body {
    reader: BodyReader<'static>,
    idle: Duration,
}

impl Body {
    /// Waits for the next piece, `idleSeconds` at most. 0: the body has ended as announced.
    ///
    /// # Errors
    /// `TimedOut` after `idleSeconds` of silence; anything else when the endpoint broke the body off.
    pub fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        Call::set_patience(self.idle);
        self.reader.read(buf)
    }

    /// The same, until `deadline` at most.
    pub fn read_by(&mut self, deadline: Instant, buf: &mut [u8]) -> io::Result<usize> {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        Call::set_patience(left.min(self.idle));
        self.reader.read(buf)
    }
}

/// Whom we trust to name an endpoint: Mozilla's list, built in, or what the file named by `SSL_CERT_FILE` holds, as
/// OpenSSL, curl and Go have it.
///
/// # Errors
/// The file cannot be read or holds no certificate.
pub fn roots() -> Result<RootCerts, String> {
    let Some(path) = std::env::var_os("SSL_CERT_FILE").filter(|path| !path.is_empty()) else {
        return Ok(RootCerts::WebPki);
    };
    let path = std::path::PathBuf::from(path);
    let wrong = |what: String| {
        format!(
            "SSL_CERT_FILE: {}: expected PEM certificates, {what}",
            path.display()
        )
    };
    let pem = std::fs::read(&path).map_err(|err| wrong(err.to_string()))?;
    let mut certificates: Vec<Certificate<'static>> = Vec::new();
    for item in parse_pem(&pem) {
        if let PemItem::Certificate(certificate) = item.map_err(|err| wrong(err.to_string()))? {
            certificates.push(certificate);
        }
    }
    if certificates.is_empty() {
        return Err(wrong("found none".into()));
    }
    Ok(RootCerts::new_with_certs(&certificates))
}

//! One attempt at one endpoint.
//!
//! ureq does the protocol; what it cannot do for us is in the connection under it (`transport.rs`, `connector.rs`): an attempt that another
//! thread can end, one look at a kept connection instead of six system calls, head and body in one write, buffers that shrink, answers
//! that ureq would fail on. It knows nothing of other endpoints: what an outcome means is `failover`'s to say.

mod ask;
mod call;
mod connector;
mod dial;
mod error;
mod input;
mod proxies;
mod resolver;
mod sieve;
mod surroundings;
mod transport;
mod trust;
mod tunnel;
mod wire;

use std::io::{self, Read};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Request, Response, StatusCode, Uri, Version, header};
use ureq::{Agent, AsSendBody, BodyReader};

use crate::api::headers;
use crate::config::{Config, Endpoint};
use call::Call;
pub use call::{Abort, Reason};
use connector::{EndpointConnector, NoLookup};
pub use error::Error;
pub use surroundings::Surroundings;

/// Room for what an outgoing head has beside the lines that we count: version, length, names, line ends.
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

/// What is sent.
pub struct Outgoing<'a> {
    pub method: &'a Method,
    pub target: &'a PathAndQuery,
    /// The client's; what goes on of them is sorted out here.
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

impl Upstream {
    pub fn new(endpoint: &Endpoint, config: &Config, around: &Surroundings) -> Upstream {
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
            .max_response_header_size(sieve::MAX_HEAD)
            .max_idle_connections(MAX_IDLE)
            .max_idle_connections_per_host(MAX_IDLE)
            .max_idle_age(MAX_IDLE_AGE)
            .build();
        let connector = EndpointConnector::new(
            &around.roots(endpoint),
            around.proxy(endpoint),
            timeouts.response,
        );
        Upstream {
            credential: headers::credential(endpoint.auth_scheme, &endpoint.auth_token),
            agent: Agent::with_parts(agent_config, connector, NoLookup),
            endpoint: endpoint.clone(),
            timeouts,
        }
    }

    /// What the configuration says of it.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub fn name(&self) -> &str {
        &self.endpoint.name
    }

    /// An endpoint's words, as our own answers and the log may repeat them: not too many, and none of its secrets.
    pub fn quote(&self, words: &str) -> String {
        let mut words = self.endpoint.masked(words).into_owned();
        if let Some((end, _)) = words.char_indices().nth(error::MAX_WORDS) {
            words.truncate(end);
            words.push('…');
        }
        words
    }

    /// Whether a new configuration leaves this endpoint as it is, so that its connections can stay.
    pub fn fits(&self, endpoint: &Endpoint, config: &Config) -> bool {
        self.endpoint == *endpoint && self.timeouts == Timeouts::of(config)
    }

    /// Sends a request and waits for the answer's head.
    ///
    /// A kept connection may have been closed by the endpoint at the same moment, or be dead without having said so: where not a byte
    /// of an answer came on it, the request goes out again on a fresh one, once.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn send(&self, call: &Outgoing, abort: &Arc<Abort>) -> Result<Answer, Error> {
        self.send_by(call, abort, None)
    }

    /// `deadline`: for all of it, the answer's body too.
    fn send_by(
        &self,
        call: &Outgoing,
        abort: &Arc<Abort>,
        deadline: Option<Instant>,
    ) -> Result<Answer, Error> {
        let size = self.head_size(call) + call.body.len().min(transport::OUTPUT);
        let context = |fresh| Call::new(abort, size, fresh);
        let mut outcome = self.send_once(call, context(false), deadline);
        if let Err((Error::Broken(why), true)) = &outcome
            && !abort.is_aborted()
        {
            log::debug!(endpoint = self.name(); "a kept connection had ended: {why}");
            outcome = self.send_once(call, context(true), deadline);
        }
        outcome.map_err(|(err, _)| match abort.is_aborted() {
            true => Error::Aborted,
            false => err,
        })
    }

    /// An error comes with whether a kept connection had ended before a byte of the answer: then it may be that alone.
    fn send_once(
        &self,
        call: &Outgoing,
        context: Call,
        deadline: Option<Instant>,
    ) -> Result<Answer, (Error, bool)> {
        let mut place = Some(context);
        let entered = Call::enter(&mut place);
        let (mut parts, ()) = Request::new(()).into_parts();
        parts.method = call.method.clone();
        parts.uri = self.uri(call.target).map_err(|err| (err, false))?;
        let more = self.endpoint.headers.len() + 1;
        parts.headers = headers::to_upstream(call.headers, more);
        let ours = self.endpoint.headers.iter().chain([&self.credential]);
        for (name, value) in ours {
            parts.headers.insert(name.clone(), value.clone());
        }
        let answer = if call.body.is_empty() && !needs_length(call.method) {
            self.run(Request::from_parts(parts, ()), deadline)
        } else {
            self.run(Request::from_parts(parts, call.body), deadline)
        };
        let (reused, answered) = Call::with(|call| (call.reused, call.answered));
        let answer = answer.map_err(|err| (error::sort(err, answered), reused && !answered))?;
        let (mut head, body) = answer.into_parts();
        let has_body = *call.method != Method::HEAD && !is_bodiless(head.status);
        if has_body && let Err(why) = check_coding(head.version, &head.headers) {
            return Err((Error::Broken(why.into()), false));
        }
        let is_chunked = head.headers.contains_key(header::TRANSFER_ENCODING);
        if is_chunked && head.headers.contains_key(header::CONTENT_LENGTH) {
            // RFC 9112 §6.3: the chunks count, and somebody on the way may see it otherwise.
            Call::with(|call| call.spoiled = true);
        }
        if is_bodiless(head.status) {
            head.headers.remove(header::CONTENT_LENGTH);
        }
        let length = match is_chunked || is_bodiless(head.status) {
            true => None,
            false => body.content_length(),
        };
        let first_event_by = Call::with(|call| call.sent) + self.timeouts.response;
        drop(entered);
        Ok(Answer {
            status: head.status,
            headers: head.headers,
            length,
            body: Body {
                reader: body.into_reader(),
                idle: self.timeouts.idle,
                call: place,
            },
            first_event_by,
        })
    }

    fn run(
        &self,
        request: Request<impl AsSendBody>,
        deadline: Option<Instant>,
    ) -> Result<Response<ureq::Body>, ureq::Error> {
        let Some(deadline) = deadline else {
            return self.agent.run(request);
        };
        let left = deadline.saturating_duration_since(Instant::now());
        let request = self.agent.configure_request(request);
        self.agent.run(request.timeout_global(Some(left)).build())
    }

    /// Bytes of the head that goes out, or a few more.
    fn head_size(&self, call: &Outgoing) -> usize {
        let ours = self
            .endpoint
            .headers
            .iter()
            .map(|(name, value)| (name, value));
        let lines: usize = call
            .headers
            .iter()
            .chain(ours)
            .map(|(name, value)| name.as_str().len() + value.len() + 4)
            .sum();
        let base = &self.endpoint.base_url;
        let host = base.authority().map_or(0, |host| host.as_str().len());
        lines
            + call.method.as_str().len()
            + call.target.as_str().len()
            + base.path().len()
            + host
            + self.credential.1.len()
            + LINES_OF_OURS
    }

    /// The base URL with the request's path and query, byte for byte.
    fn uri(&self, target: &PathAndQuery) -> Result<Uri, Error> {
        let base = self.endpoint.base_url.path();
        let target = target.as_str().strip_prefix('/').unwrap_or(target.as_str());
        let mut joined = String::with_capacity(base.len() + target.len());
        joined.push_str(base);
        joined.push_str(target);
        let mut parts = self.endpoint.base_url.clone().into_parts();
        // Two valid paths make one, but for a length that is more than the `http` crate takes: 65,534 bytes.
        let joined = PathAndQuery::try_from(joined)
            .map_err(|err| Error::Unsendable(format!("path and query cannot be sent on: {err}")))?;
        parts.path_and_query = Some(joined);
        Ok(Uri::from_parts(parts).expect("a base URL has scheme and host"))
    }
}

/// Methods whose request has a meaning with a body, so that an empty one is announced as empty.
fn needs_length(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

/// Answers of these statuses have no body, whatever they say (RFC 9110 §15.3.5, §15.4.5).
fn is_bodiless(status: StatusCode) -> bool {
    matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// RFC 9112 §6.1: we understand chunks, and nothing else, and not from an HTTP/1.0 server, whose framing is not to be trusted then.
fn check_coding(version: Version, headers: &HeaderMap) -> Result<(), &'static str> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => Ok(()),
        _ if version == Version::HTTP_10 => Err("an HTTP/1.0 answer with a transfer coding"),
        (Some(one), None) if one.as_bytes().eq_ignore_ascii_case(b"chunked") => Ok(()),
        _ => Err("an answer with a transfer coding that nobody asked for"),
    }
}

/// An answer's body as it comes.
pub struct Body {
    reader: BodyReader<'static>,
    idle: Duration,
    /// What the connection under the reader must know while it is read.
    call: Option<Call>,
}

impl Body {
    /// Waits for the next piece, `idleSeconds` at most. 0: the body has ended as announced.
    ///
    /// # Errors
    /// `TimedOut` after `idleSeconds` of silence; anything else when the endpoint broke the body off.
    pub fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.read_until(Instant::now() + self.idle, buf)
    }

    /// The same, until `deadline` at most.
    pub fn read_by(&mut self, deadline: Instant, buf: &mut [u8]) -> io::Result<usize> {
        let now = Instant::now();
        if deadline <= now {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.read_until(deadline.min(now + self.idle), buf)
    }

    fn read_until(&mut self, moment: Instant, buf: &mut [u8]) -> io::Result<usize> {
        let _entered = Call::enter(&mut self.call);
        Call::with(|call| call.piece_by = moment);
        self.reader.read(buf)
    }
}

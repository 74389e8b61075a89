//! What is known of one request when its answer has ended: the log's line for it, and what the counters take.

mod strangers;

use std::time::{Duration, Instant};

use http::{Method, Response, StatusCode, Uri};
use log::Level;
use log::kv::{self, Key, Source, Value, VisitSource};

use crate::api::usage::Usage;
use strangers::STRANGERS;

/// The status that the log and the counters give a request whose client did not wait (as nginx has it).
pub const CLIENT_GONE: u16 = 499;

/// How an answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    Whole,
    /// The endpoint broke it off or fell silent, or we had to; for this reason. The client can tell.
    Broken(String),
    /// The client went, or did not take it in time. No endpoint's fault.
    ClientGone,
}

impl End {
    fn word(&self) -> &'static str {
        match self {
            End::Whole => "whole",
            End::Broken(_) => "broken",
            End::ClientGone => "client gone",
        }
    }
}

/// What a request came to, as its client sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForClient {
    /// An answer, or an error that the request itself is at fault for.
    Good,
    /// An endpoint's fault, or ours: nothing that the client can mend.
    Failed,
    /// The client did not wait for its end.
    Left,
}

/// One request that was forwarded, or was to be. Whoever answers it fills this.
#[derive(Debug)]
pub struct Record {
    pub method: Method,
    /// Its query never gets into the log: people write strange things there.
    pub uri: Uri,
    /// What the log and our own errors call it.
    pub request_id: String,
    /// Whose token it came with. `None`: nobody's, tokens are not asked for.
    pub client: Option<String>,
    /// When the request had arrived whole.
    pub arrived: Instant,
    /// Bytes of its body.
    pub bytes_in: u64,
    /// What the client got; [`CLIENT_GONE`] until an answer begins.
    pub status: u16,
    /// The endpoint whose answer it was; `None`: ours.
    pub endpoint: Option<String>,
    /// The last endpoint that was asked, whatever came of it.
    pub asked: Option<String>,
    /// Endpoints that were asked.
    pub attempts: usize,
    /// Why the last one of them was: a word.
    pub why: Option<&'static str>,
    /// What the answer cost, where it says so.
    pub usage: Option<Usage>,
    /// When the first byte of the answer went out; `None`: none did.
    pub first_byte: Option<Instant>,
    /// Bytes of the answer, head and framing included.
    pub bytes_out: u64,
    /// The answer was an event stream.
    pub is_stream: bool,
    /// The endpoint's own number for the request.
    pub upstream_request_id: Option<String>,
    pub end: End,
}

impl Record {
    pub fn new(
        method: Method,
        uri: Uri,
        bytes_in: u64,
        request_id: String,
        arrived: Instant,
    ) -> Record {
        Record {
            method,
            uri,
            request_id,
            client: None,
            arrived,
            bytes_in,
            status: CLIENT_GONE,
            endpoint: None,
            asked: None,
            attempts: 0,
            why: None,
            usage: None,
            first_byte: None,
            bytes_out: 0,
            is_stream: false,
            upstream_request_id: None,
            end: End::ClientGone,
        }
    }

    /// From the request's arrival to the answer's first byte.
    pub fn first_byte_after(&self) -> Option<Duration> {
        self.first_byte
            .map(|first| first.saturating_duration_since(self.arrived))
    }

    /// What it came to. Refusals of a token are here an endpoint's: the client's own was judged before.
    pub fn for_client(&self) -> ForClient {
        match (&self.end, self.status) {
            (End::ClientGone, _) | (_, CLIENT_GONE) => ForClient::Left,
            (End::Broken(_), _) => ForClient::Failed,
            (End::Whole, 401 | 402 | 403 | 408 | 429 | 500..) => ForClient::Failed,
            (End::Whole, _) => ForClient::Good,
        }
    }

    /// The endpoint that the log names: whose answer it was, or who kept the client waiting.
    fn endpoint_told(&self) -> Option<&str> {
        let kept_waiting = matches!(self.status, CLIENT_GONE | 408);
        let asked = self.asked.as_deref().filter(|_| kept_waiting);
        self.endpoint.as_deref().or(asked)
    }

    /// Writes the log's line. `total`: from the request's arrival to the answer's end.
    pub fn log(&self, total: Duration) {
        let line = Line {
            method: self.method.as_str(),
            path: self.uri.path(),
            status: self.status,
            endpoint: self.endpoint_told(),
            client: self.client.as_deref(),
            usage: self.usage,
            attempts: self.attempts,
            why: self.why,
            first_byte: self.first_byte_after(),
            total,
            bytes_out: self.bytes_out,
            is_stream: self.is_stream,
            request_id: &self.request_id,
            upstream_request_id: self.upstream_request_id.as_deref(),
            end: self.end.word(),
        };
        STRANGERS.tell_what_was_left_out(self.arrived + total);
        line.write(Level::Info);
    }
}

/// Writes the line of a request that we answer ourselves, at once. `None`: it was not even HTTP.
///
/// What went well is a line for who looks closely only: pages and monitors ask each second. Of refusals, which a stranger can
/// cause as many as he likes, a few in a second have a line; the others are counted.
pub fn log_local(
    method: Option<&Method>,
    path: Option<&str>,
    answer: &Response<Vec<u8>>,
    request_id: &str,
    now: Instant,
) {
    let level = match answer.status() {
        status if status.is_success() => Level::Debug,
        StatusCode::SERVICE_UNAVAILABLE => Level::Info,
        _ if STRANGERS.may_be_told(now) => Level::Info,
        _ => return,
    };
    let is_head = method == Some(&Method::HEAD);
    let line = Line {
        method: method.map_or("-", Method::as_str),
        path: path.unwrap_or("-"),
        status: answer.status().as_u16(),
        endpoint: None,
        client: None,
        usage: None,
        attempts: 0,
        why: None,
        first_byte: Some(Duration::ZERO),
        total: Duration::ZERO,
        bytes_out: if is_head { 0 } else { answer.body().len() } as u64,
        is_stream: false,
        request_id,
        upstream_request_id: None,
        end: End::Whole.word(),
    };
    line.write(level);
}

/// The fields of a line, in their order.
struct Line<'a> {
    method: &'a str,
    path: &'a str,
    status: u16,
    endpoint: Option<&'a str>,
    client: Option<&'a str>,
    usage: Option<Usage>,
    attempts: usize,
    why: Option<&'static str>,
    first_byte: Option<Duration>,
    total: Duration,
    bytes_out: u64,
    is_stream: bool,
    request_id: &'a str,
    upstream_request_id: Option<&'a str>,
    end: &'static str,
}

impl Line<'_> {
    fn write(&self, level: Level) {
        if level > log::max_level() {
            return;
        }
        let mut record = log::Record::builder();
        record
            .level(level)
            .target(module_path!())
            .key_values(&self)
            .args(format_args!("request"));
        log::logger().log(&record.build());
    }
}

/// All fields are always there, but for the client's name and the tokens, where they are not known, why an endpoint was asked where
/// none was, and the time to a first byte that never came: a client that left after a minute would look like a slow answer.
impl Source for Line<'_> {
    fn visit<'kvs>(&'kvs self, visitor: &mut dyn VisitSource<'kvs>) -> Result<(), kv::Error> {
        let mut pair =
            |key: &'static str, value: Value<'kvs>| visitor.visit_pair(Key::from_str(key), value);
        pair("method", self.method.into())?;
        pair("path", self.path.into())?;
        pair("status", self.status.into())?;
        pair("endpoint", self.endpoint.unwrap_or("-").into())?;
        if let Some(client) = self.client {
            pair("client", client.into())?;
        }
        if let Some(usage) = self.usage {
            pair("tokens_in", usage.input.into())?;
            pair("tokens_out", usage.output.into())?;
            pair("tokens_cache_read", usage.cache_read.into())?;
        }
        pair("attempts", self.attempts.into())?;
        if let Some(why) = self.why {
            pair("why", why.into())?;
        }
        if let Some(first_byte) = self.first_byte {
            pair("first_byte_ms", millis(first_byte).into())?;
        }
        pair("total_ms", millis(self.total).into())?;
        pair("bytes_out", self.bytes_out.into())?;
        pair("stream", self.is_stream.into())?;
        pair("request_id", self.request_id.into())?;
        let upstream_request_id = self.upstream_request_id.unwrap_or("-");
        pair("upstream_request_id", upstream_request_id.into())?;
        pair("end", self.end.into())
    }
}

/// Milliseconds with three decimals.
fn millis(time: Duration) -> f64 {
    (time.as_micros() as f64) / 1000.0
}

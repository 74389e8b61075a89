//! What is known of one request when its answer has ended: the log's line for it, and what the counters take.

use std::time::{Duration, Instant};

use http::{Method, Response, Uri};

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

/// One request that was forwarded, or was to be. Whoever answers it fills this.
#[derive(Debug)]
pub struct Record {
    pub method: Method,
    /// Its query never gets into the log: people write strange things there.
    pub uri: Uri,
    /// What the log and our own errors call it.
    pub request_id: String,
    /// When the request had arrived whole.
    pub arrived: Instant,
    /// Bytes of its body.
    pub bytes_in: u64,
    /// What the client got; [`CLIENT_GONE`] until an answer begins.
    pub status: u16,
    /// The endpoint whose answer it was; `None`: ours.
    pub endpoint: Option<String>,
    /// Endpoints that were asked.
    pub attempts: usize,
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
            arrived,
            bytes_in,
            status: CLIENT_GONE,
            endpoint: None,
            attempts: 0,
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

    /// Writes the log's line. `total`: from the request's arrival to the answer's end.
    pub fn log(&self, total: Duration) {
        line(&Line {
            method: self.method.as_str(),
            path: self.uri.path(),
            status: self.status,
            endpoint: self.endpoint.as_deref().unwrap_or("-"),
            attempts: self.attempts,
            first_byte: self.first_byte_after().unwrap_or(total),
            total,
            bytes_out: self.bytes_out,
            is_stream: self.is_stream,
            request_id: &self.request_id,
            upstream_request_id: self.upstream_request_id.as_deref().unwrap_or("-"),
            end: self.end.word(),
        });
    }
}

/// Writes the line of a request that we answer ourselves, at once. `None`: it was not even HTTP.
pub fn log_local(
    method: Option<&Method>,
    path: Option<&str>,
    answer: &Response<Vec<u8>>,
    request_id: &str,
) {
    line(&Line {
        method: method.map_or("-", Method::as_str),
        path: path.unwrap_or("-"),
        status: answer.status().as_u16(),
        endpoint: "-",
        attempts: 0,
        first_byte: Duration::ZERO,
        total: Duration::ZERO,
        bytes_out: answer.body().len() as u64,
        is_stream: false,
        request_id,
        upstream_request_id: "-",
        end: End::Whole.word(),
    });
}

/// The fields of a line, in their order, always all of them.
struct Line<'a> {
    method: &'a str,
    path: &'a str,
    status: u16,
    endpoint: &'a str,
    attempts: usize,
    first_byte: Duration,
    total: Duration,
    bytes_out: u64,
    is_stream: bool,
    request_id: &'a str,
    upstream_request_id: &'a str,
    end: &'static str,
}

fn line(line: &Line) {
    log::info!(
        method = line.method,
        path = line.path,
        status = line.status,
        endpoint = line.endpoint,
        attempts = line.attempts,
        first_byte_ms = millis(line.first_byte),
        total_ms = millis(line.total),
        bytes_out = line.bytes_out,
        stream = line.is_stream,
        request_id = line.request_id,
        upstream_request_id = line.upstream_request_id,
        end = line.end;
        "request"
    );
}

/// Milliseconds with three decimals.
fn millis(time: Duration) -> f64 {
    (time.as_micros() as f64) / 1000.0
}

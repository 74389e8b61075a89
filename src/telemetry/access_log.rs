//! The line that the log gets for each request.

use std::time::Duration;

use http::{Method, Response};

/// What happened to a request. The log shows these fields in this order, always all of them.
#[derive(Debug)]
pub struct Line<'a> {
    /// `-` where the request was not even HTTP.
    pub method: &'a str,
    /// Without the query: people write strange things there.
    pub path: &'a str,
    /// 499: the client had gone before an answer began (as nginx has it).
    pub status: u16,
    /// The endpoint whose answer it was; `-`: ours.
    pub endpoint: &'a str,
    pub attempts: usize,
    /// From the request's arrival to the answer's first byte. `None`: there was none.
    pub first_byte: Option<Duration>,
    /// From the request's arrival to the answer's end.
    pub total: Duration,
    /// Head and framing included.
    pub bytes_out: u64,
    pub stream: bool,
    pub request_id: &'a str,
    /// The endpoint's own number for the request.
    pub upstream_request_id: &'a str,
    /// How the answer ended: `whole`, `broken`, or `client gone`.
    pub end: &'static str,
}

/// The status that the log and the counters give a request whose client did not wait.
pub const CLIENT_GONE: u16 = 499;

impl<'a> Line<'a> {
    /// The line of a request that we answer ourselves, at once.
    pub fn own(
        method: Option<&'a Method>,
        path: Option<&'a str>,
        answer: &Response<Vec<u8>>,
        id: &'a str,
    ) -> Line<'a> {
        Line {
            method: method.map_or("-", Method::as_str),
            path: path.unwrap_or("-"),
            status: answer.status().as_u16(),
            endpoint: "-",
            attempts: 0,
            first_byte: None,
            total: Duration::ZERO,
            bytes_out: answer.body().len() as u64,
            stream: false,
            request_id: id,
            upstream_request_id: "-",
            end: "whole",
        }
    }

    pub fn log(&self) {
        log::info!(
            method = self.method,
            path = self.path,
            status = self.status,
            endpoint = self.endpoint,
            attempts = self.attempts,
            first_byte_ms = millis(self.first_byte.unwrap_or(self.total)),
            total_ms = millis(self.total),
            bytes_out = self.bytes_out,
            stream = self.stream,
            request_id = self.request_id,
            upstream_request_id = self.upstream_request_id,
            end = self.end;
            "request"
        );
    }
}

/// Milliseconds with three decimals.
fn millis(time: Duration) -> f64 {
    (time.as_micros() as f64) / 1000.0
}

//! What a worker's client gets, and what the log is told of it.

use std::time::Instant;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Request, StatusCode, Uri};

use crate::api::errors::{error, request_id};
use crate::api::headers::{self, ACCEL_BUFFERING, REQUEST_ID, SERVED_BY};
use crate::api::usage::{BodyUsage, Usage};
use crate::config::Config;
use crate::downstream::access::Cors;
use crate::downstream::listener::{Body, Exchange};
use crate::downstream::writer::{Downstream, Framing};
use crate::memory;
use crate::proxy::attempt::{Failure, Parts, Trial};
use crate::proxy::relay::{self, EventStream, How, Passed};
use crate::telemetry::access_log::{CLIENT_GONE, Line};
use crate::telemetry::metrics::{Ended, Metrics};
use crate::upstream::Answer;

/// The answer to one exchange. Where a worker panics, dropping it leaves the client a 500 if nothing went out yet.
pub struct Reply<'a> {
    exchange: &'a Exchange,
    method: Method,
    uri: Uri,
    bytes_in: u64,
    cors: Cors,
    request_id: String,
    /// Endpoints that were asked.
    pub attempts: usize,
    status: u16,
    endpoint: String,
    upstream_request_id: String,
    first_byte: Option<Instant>,
    bytes: u64,
    stream: bool,
    end: &'static str,
    keep: bool,
    finished: bool,
}

impl<'a> Reply<'a> {
    pub fn new(exchange: &'a Exchange, request: &Request<Body>, config: &Config) -> Reply<'a> {
        Reply {
            exchange,
            method: request.method().clone(),
            uri: request.uri().clone(),
            bytes_in: request.body().bytes.len() as u64,
            cors: Cors::of(config, request.headers()),
            request_id: request_id(),
            attempts: 0,
            status: 0,
            endpoint: String::from("-"),
            upstream_request_id: String::from("-"),
            first_byte: None,
            bytes: 0,
            stream: false,
            end: "whole",
            keep: false,
            finished: false,
        }
    }

    /// Passes on an answer that is no event stream.
    pub fn pass(&mut self, mut answer: Answer, trial: Trial) {
        let parts = Parts {
            status: answer.status,
            headers: answer.headers,
        };
        let framing = self.framing(&parts, answer.length);
        let mut usage = (is_json(&parts.headers) && !relay::is_encoded(&parts.headers))
            .then(BodyUsage::default);
        let mut downstream = self.begin(&parts, trial.name(), framing);
        let settle = self.settle(trial, parts.status);
        let passed = relay::pass(
            &mut answer.body,
            answer.length,
            &mut downstream,
            usage.as_mut(),
            settle,
        );
        self.ended(passed, &downstream);
    }

    /// Passes on an event stream that has begun well.
    pub fn pass_stream(&mut self, parts: &Parts, mut stream: EventStream, trial: Trial) {
        self.stream = true;
        let framing = self.framing(parts, None);
        let mut downstream = self.begin(parts, trial.name(), framing);
        let settle = self.settle(trial, parts.status);
        memory::give_stack_back();
        let passed = stream.pass(&mut downstream, &self.request_id, settle);
        self.ended(passed, &downstream);
    }

    /// Passes on the most telling answer of those that failed.
    pub fn pass_failure(&mut self, failure: &Failure) {
        let framing = self.framing(&failure.parts, Some(failure.body.len() as u64));
        let downstream = self.begin(&failure.parts, &failure.endpoint, framing);
        self.write(downstream, &failure.body);
    }

    /// Answers with an error of ours.
    pub fn error(&mut self, status: StatusCode, message: &str) {
        let answer = error(status, message, &self.request_id);
        let mut headers = answer.headers().clone();
        self.cors.mark(&mut headers);
        let length = answer.body().len() as u64;
        let framing = match self.method {
            Method::HEAD => Framing::None {
                announce: Some(length),
            },
            _ => Framing::Length(length),
        };
        self.status = status.as_u16();
        let downstream = self.start(status, &headers, framing);
        self.write(downstream, answer.body());
    }

    fn write(&mut self, mut downstream: Downstream, body: &[u8]) {
        self.exchange.admission.release();
        let passed = match downstream.last(body) {
            Ok(()) => Passed::Whole,
            Err(_) => Passed::ClientGone,
        };
        self.ended(passed, &downstream);
    }

    /// What is done before the client can know that its answer has ended: the next request that it sends finds the
    /// endpoint and the worker free, and all of it counted.
    fn settle(
        &self,
        mut trial: Trial,
        status: StatusCode,
    ) -> impl FnOnce(How, Option<Usage>) + use<'a> {
        let (exchange, request_id) = (self.exchange, self.request_id.clone());
        move |how, usage| {
            match how {
                How::Whole => trial.end(Ended::Status(status.as_u16()), false),
                // Where the client has gone, or we must, the endpoint is not to blame.
                How::Broken(why) if !exchange.abort.is_aborted() => {
                    trial.end(Ended::Broken, true);
                    log::warn!(endpoint = trial.name(), request_id = request_id, cause = why; "an answer broke");
                }
                How::Broken(_) | How::ClientGone => {}
            }
            if let Some(usage) = usage {
                trial.counters().used(usage);
            }
            drop(trial);
            exchange.admission.release();
        }
    }

    /// The client went before there was anything to say.
    pub fn client_gone(&mut self) {
        self.status = CLIENT_GONE;
        self.end = "client gone";
        self.keep = false;
    }

    /// Writes the log's line and counts. Returns whether the connection may serve another request.
    pub fn finish(mut self, metrics: &Metrics) -> bool {
        self.finished = true;
        let now = Instant::now();
        let arrived = self.exchange.arrived;
        let line = Line {
            method: self.method.as_str(),
            path: self.uri.path(),
            status: self.status,
            endpoint: &self.endpoint,
            attempts: self.attempts,
            first_byte: self.first_byte.map(|first| first - arrived),
            total: now - arrived,
            bytes_out: self.bytes,
            stream: self.stream,
            request_id: &self.request_id,
            upstream_request_id: &self.upstream_request_id,
            end: self.end,
        };
        line.log();
        metrics.forwarded(
            line.status,
            line.first_byte,
            line.total,
            self.bytes_in,
            line.bytes_out,
        );
        self.keep
    }

    /// The head of an endpoint's answer, on its way.
    fn begin(&mut self, parts: &Parts, endpoint: &str, framing: Framing) -> Downstream<'a> {
        let mut out = HeaderMap::with_capacity(parts.headers.len() + 4);
        for (name, value) in headers::to_client(&parts.headers) {
            out.append(name.clone(), value.clone());
        }
        out.insert(
            SERVED_BY,
            HeaderValue::from_str(endpoint).expect("names are visible ASCII"),
        );
        if self.stream {
            out.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
        }
        self.cors.mark(&mut out);
        self.status = parts.status.as_u16();
        self.endpoint = endpoint.to_owned();
        if let Some(id) = parts
            .headers
            .get(REQUEST_ID)
            .and_then(|id| id.to_str().ok())
        {
            self.upstream_request_id = id.to_owned();
        }
        self.start(parts.status, &out, framing)
    }

    fn start(
        &mut self,
        status: StatusCode,
        headers: &HeaderMap,
        framing: Framing,
    ) -> Downstream<'a> {
        self.keep = self.exchange.keep_alive && framing != Framing::UntilClose;
        self.first_byte = Some(Instant::now());
        Downstream::new(
            self.exchange.connection.stream(),
            status,
            headers,
            framing,
            self.keep,
        )
    }

    fn framing(&self, parts: &Parts, length: Option<u64>) -> Framing {
        let no_body = self.method == Method::HEAD
            || matches!(
                parts.status,
                StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
            );
        let announced = || {
            parts
                .headers
                .get(header::CONTENT_LENGTH)?
                .to_str()
                .ok()?
                .parse()
                .ok()
        };
        match length {
            _ if no_body => Framing::None {
                announce: announced(),
            },
            Some(length) => Framing::Length(length),
            None if self.exchange.is_http10 => Framing::UntilClose,
            None => Framing::Chunked,
        }
    }

    fn ended(&mut self, passed: Passed, downstream: &Downstream) {
        self.bytes = downstream.bytes();
        // A broken stream that ended well-formed leaves the connection as it was.
        self.keep &= downstream.has_ended();
        self.end = match passed {
            Passed::Whole => "whole",
            Passed::Broken if !self.exchange.connection.is_gone() => "broken",
            Passed::Broken | Passed::ClientGone => "client gone",
        };
    }
}

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        if !self.finished && self.first_byte.is_none() {
            self.keep = false;
            self.error(
                StatusCode::INTERNAL_SERVER_ERROR,
                "this balancer failed at the request; its log says how",
            );
        }
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

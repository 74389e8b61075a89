//! Writes one request's answer, its log line and its counters.

use std::time::Instant;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request, StatusCode};

use super::attempt::Attempt;
use super::delivery::{FailedAnswer, OwnError, Parts};
use super::failover::Failure;
use super::looked::Looked;
use super::relay::{self, Last, Sent};
use super::stream::EventStream;
use crate::api::errors::error;
use crate::api::headers::{self, ACCEL_BUFFERING, NOSNIFF, SERVED_BY};
use crate::api::usage::{BodyUsage, Usage};
use crate::downstream::{After, Body, Downstream, Exchange, Framing, Permit};
use crate::memory;
use crate::telemetry::access_log::{End, Record};
use crate::telemetry::metrics::{Ended, Metrics};
use crate::upstream::Reason;

/// The answer to one exchange. Where a worker panics, dropping it leaves the client a 500 if nothing went out yet, else an answer
/// that ends with a reset; the request is logged and counted all the same.
pub struct Reply<'a> {
    exchange: &'a Exchange,
    metrics: &'a Metrics,
    permit: Option<Permit>,
    /// For the log and the counters.
    pub record: Record,
    after: After,
    is_finished: bool,
}

impl<'a> Reply<'a> {
    /// `request` and `permit` are those that were taken out of the exchange.
    pub fn new(
        exchange: &'a Exchange,
        request: &Request<Body>,
        permit: Option<Permit>,
        metrics: &'a Metrics,
    ) -> Reply<'a> {
        let mut record = Record::new(
            request.method().clone(),
            request.uri().clone(),
            request.body().bytes.len() as u64,
            exchange.admission.request_id.clone(),
            exchange.arrived,
        );
        let client = exchange.admission.client();
        record.client = client.map(|client| client.name.clone());
        Reply {
            exchange,
            metrics,
            permit,
            record,
            after: After::Close,
            is_finished: false,
        }
    }

    /// Passes on an answer that is no event stream.
    pub fn pass(&mut self, parts: &Parts, mut body: Looked, mut attempt: Attempt) {
        let framing = self.framing(parts, parts.length);
        let usage = (relay::is_json(&parts.headers) && !relay::is_encoded(&parts.headers))
            .then(BodyUsage::default);
        let mut downstream = self.begin(parts, attempt.name(), framing);
        let last = relay::pass(
            &mut body,
            parts.length,
            || attempt.goes_on(),
            &mut downstream,
            usage,
        );
        self.settle(attempt, parts.status, &last);
        let sent = last.send(&mut downstream);
        self.end(sent, &downstream);
    }

    /// Passes on an event stream that has begun well.
    pub fn pass_stream(&mut self, parts: &Parts, mut stream: EventStream, mut attempt: Attempt) {
        self.record.is_stream = true;
        let framing = self.framing(parts, None);
        let mut downstream = self.begin(parts, attempt.name(), framing);
        memory::give_stack_back();
        let request_id = &self.record.request_id;
        let last = relay::pass_stream(&mut stream, &mut attempt, &mut downstream, request_id);
        self.settle(attempt, parts.status, &last);
        let sent = last.send(&mut downstream);
        self.end(sent, &downstream);
        stream.finish();
    }

    /// Passes on the most telling answer of those that failed.
    pub fn pass_failed(&mut self, failed: &FailedAnswer) {
        let framing = self.framing(&failed.parts, Some(failed.body.len() as u64));
        let downstream = self.begin(&failed.parts, &failed.endpoint, framing);
        self.write(downstream, &failed.body);
    }

    /// Answers with JSON of our own.
    pub fn own(&mut self, json: Vec<u8>) {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(NOSNIFF.0, NOSNIFF.1);
        self.write_own(StatusCode::OK, headers, &json);
    }

    /// Answers with an error of ours.
    pub fn error(&mut self, own: &OwnError) {
        let answer = error(own.status, &own.message, &self.record.request_id);
        let mut headers = answer.headers().clone();
        if let Some(wait) = own.retry_after {
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        self.write_own(own.status, headers, answer.body());
    }

    fn write_own(&mut self, status: StatusCode, mut headers: HeaderMap, body: &[u8]) {
        self.exchange.admission.cors.mark(&mut headers, None);
        let length = body.len() as u64;
        let framing = match self.record.method {
            Method::HEAD => Framing::None {
                announce: Some(length),
            },
            _ => Framing::Length(length),
        };
        let downstream = self.start(status, &headers, framing);
        self.write(downstream, body);
    }

    /// Writes the log's line and counts. Answers what is to become of the connection.
    pub fn finish(mut self) -> After {
        self.is_finished = true;
        self.account();
        self.after
    }

    fn account(&self) {
        let total = self.record.arrived.elapsed();
        self.record.log(total);
        self.metrics.forwarded(&self.record, total);
    }

    fn write(&mut self, mut downstream: Downstream, body: &[u8]) {
        drop(self.permit.take());
        let end = match downstream.last(body) {
            Ok(()) => End::Whole,
            Err(_) => End::ClientGone,
        };
        let needs_reset = false;
        self.end(Sent { end, needs_reset }, &downstream);
    }

    /// What is done before the client can know that its answer has ended: the next request that it sends finds the
    /// endpoint and its share of the memory free, and the attempt counted.
    fn settle(&mut self, mut attempt: Attempt, status: StatusCode, last: &Last) {
        match &last.end {
            End::Whole => attempt.succeeded(status.as_u16()),
            // Where the client has gone, or we must, the endpoint is not to blame.
            End::Broken(reason) if !self.exchange.abort.is_aborted() => {
                let may_cool_down = self.exchange.admission.route.may_cool_down;
                let failure = Failure::broke_off(may_cool_down);
                let request_id = &self.record.request_id;
                attempt.failed(&failure, Ended::Broken, false, reason, request_id);
            }
            End::Broken(_) | End::ClientGone => {}
        }
        self.record.usage = last.usage.filter(Usage::is_believable);
        if let Some(usage) = self.record.usage {
            attempt.target().counters.used(usage);
        }
        drop(attempt);
        drop(self.permit.take());
    }

    /// The head of an endpoint's answer, on its way.
    fn begin(&mut self, parts: &Parts, endpoint: &str, framing: Framing) -> Downstream<'a> {
        let served_by = HeaderValue::from_str(endpoint).expect("names are visible ASCII");
        let mut ours = HeaderMap::new();
        ours.insert(SERVED_BY, served_by);
        if self.record.is_stream {
            ours.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
        }
        let cors = &self.exchange.admission.cors;
        cors.mark(&mut ours, Some(&parts.headers));
        self.record.endpoint = Some(endpoint.to_owned());
        self.record.upstream_request_id = parts.request_id.clone();
        let headers = headers::to_client(&parts.headers).chain(&ours);
        self.start(parts.status, headers, framing)
    }

    fn start<'h>(
        &mut self,
        status: StatusCode,
        headers: impl IntoIterator<Item = (&'h HeaderName, &'h HeaderValue)>,
        framing: Framing,
    ) -> Downstream<'a> {
        let keep = self.exchange.keep_alive && framing != Framing::UntilClose;
        self.after = if keep { After::Keep } else { After::Close };
        self.record.status = status.as_u16();
        self.record.first_byte = Some(Instant::now());
        Downstream::new(&self.exchange.connection, status, headers, framing, keep)
    }

    fn framing(&self, parts: &Parts, length: Option<u64>) -> Framing {
        let no_body = self.record.method == Method::HEAD
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

    fn end(&mut self, sent: Sent, downstream: &Downstream) {
        self.record.bytes_out = downstream.bytes();
        // A broken stream that ended well-formed leaves the connection as it was.
        if !downstream.has_ended() {
            self.after = if sent.needs_reset {
                After::Reset
            } else {
                After::Close
            };
        }
        self.record.end = match sent.end {
            End::Broken(_) if self.exchange.abort.reason() == Some(Reason::ClientGone) => {
                End::ClientGone
            }
            end => end,
        };
    }
}

impl Drop for Reply<'_> {
    fn drop(&mut self) {
        if self.is_finished {
            return;
        }
        let message = "this balancer failed at the request; its log says how";
        if self.record.first_byte.is_none() {
            self.error(&OwnError {
                status: StatusCode::INTERNAL_SERVER_ERROR,
                message: message.into(),
                retry_after: None,
            });
        } else {
            self.exchange.connection.break_off();
            self.record.end = End::Broken(message.into());
        }
        self.account();
    }
}

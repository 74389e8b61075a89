//! One attempt: a request is sent to the endpoint of a lease, the outcome judged, and the endpoint put on cooldown if it failed.

use std::io::{self, Read};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, StatusCode, header};
use log::Level;

use super::failover::{self, Outcome, Rests, Verdict};
use super::relay;
use super::stream::{Beginning, EventStream};
use crate::balancer::Lease;
use crate::downstream::{Admission, Exchange};
use crate::telemetry::metrics::{Ended, EndpointMetrics};
use crate::upstream::{self, Answer, Outgoing, Reason, Upstream};

/// How much of an answer that sends us on is kept for the client, in bytes, and how long we wait for it. It is an
/// error's body: some hundred bytes, that come with the head.
const KEPT_BODY: u64 = 8 << 20;
const KEPT_BODY_TIME: Duration = Duration::from_secs(2);
/// How often, and how long apart, an attempt is made again for which this machine had no descriptor or thread left.
const EXHAUSTED_TRIES: u32 = 40;
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// An endpoint with its counters: what a lease gives access to.
pub struct Target {
    pub upstream: Upstream,
    pub counters: Arc<EndpointMetrics>,
}

/// What follows from an attempt.
pub enum Step {
    Deliver(Box<Delivery>),
    /// The next endpoint gets the request. What is left of the answer, and what to tell the client if there is no
    /// better one.
    TryNext(Option<FailedAnswer>, String),
}

impl Step {
    fn deliver(delivery: Delivery) -> Step {
        Step::Deliver(Box::new(delivery))
    }
}

/// What a request's way through the endpoints led to.
pub enum Delivery {
    /// An answer that goes to the client as it comes.
    Answer(Answer, Attempt),
    /// The same for an event stream whose first event is here.
    Stream(Parts, EventStream, Attempt),
    /// Every attempt failed: the most telling of their answers.
    Failed(FailedAnswer),
    /// An error of ours.
    Error(StatusCode, String),
    /// Nobody waits for an answer.
    ClientGone,
}

/// The head of an endpoint's answer.
pub struct Parts {
    pub status: StatusCode,
    pub headers: HeaderMap,
}

/// An answer that sent us on to the next endpoint, kept for a client that gets no better one.
pub struct FailedAnswer {
    pub parts: Parts,
    pub body: Vec<u8>,
    pub endpoint: String,
}

/// An attempt under way. The first `end` decides; dropped without one, it counts as `ClientGone`.
pub struct Attempt {
    lease: Lease<Target>,
    begun: Instant,
    first_byte: Option<Duration>,
    ended: bool,
}

impl Attempt {
    pub fn new(lease: Lease<Target>) -> Attempt {
        let begun = Instant::now();
        lease.counters.begun(begun);
        Attempt {
            lease,
            begun,
            first_byte: None,
            ended: false,
        }
    }

    /// The endpoint's name.
    pub fn name(&self) -> &str {
        self.lease.upstream.name()
    }

    pub fn counters(&self) -> &EndpointMetrics {
        &self.lease.counters
    }

    /// `failed`: it counts as one of the endpoint's failures.
    pub fn end(&mut self, ended: Ended, failed: bool) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        if failed {
            self.lease.failed();
        }
        self.lease
            .counters
            .ended(Instant::now(), ended, self.first_byte, failed);
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        self.end(Ended::ClientGone, false);
    }
}

/// Runs one attempt.
pub fn run(call: &Outgoing, mut attempt: Attempt, exchange: &Exchange) -> Step {
    let answer = match send(call, &attempt.lease.upstream, exchange) {
        Ok(answer) => answer,
        Err(upstream::Error::Aborted) => return Step::deliver(aborted(exchange)),
        Err(upstream::Error::TimedOut) => return timed_out(attempt),
        Err(upstream::Error::Unsendable(why)) => {
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            return Step::deliver(Delivery::Error(status, why));
        }
        Err(upstream::Error::Unreachable(why) | upstream::Error::Broken(why)) => {
            apply_verdict(
                Outcome::Unreachable,
                &why,
                &mut attempt,
                &exchange.admission,
            );
            return Step::TryNext(None, format!("{}: {why}", attempt.name()));
        }
        Err(upstream::Error::Exhausted(err)) => {
            log::error!("no connection to an endpoint can be made on this machine: {err}");
            let message = "this machine has no descriptor or thread left; try again".into();
            return Step::deliver(Delivery::Error(StatusCode::SERVICE_UNAVAILABLE, message));
        }
    };
    attempt.first_byte = Some(attempt.begun.elapsed());
    let retry_after = answer
        .headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let outcome = Outcome::Status(answer.status.as_u16(), retry_after);
    let reason = answer.status.to_string();
    let fails = apply_verdict(outcome, &reason, &mut attempt, &exchange.admission);
    if fails && exchange.admission.config.failover {
        let reason = format!("{}: {reason}", attempt.name());
        return Step::TryNext(keep(answer, attempt.name()), reason);
    }
    if answer.status.is_success() && relay::is_event_stream(&answer.headers) {
        return begin_stream(answer, attempt, exchange);
    }
    Step::deliver(Delivery::Answer(answer, attempt))
}

/// Sends, again and again while this machine cannot: no endpoint's fault, and it passes.
fn send(
    call: &Outgoing,
    upstream: &Upstream,
    exchange: &Exchange,
) -> Result<Answer, upstream::Error> {
    let mut tries = 1;
    loop {
        match upstream.send(call, &exchange.abort) {
            Err(upstream::Error::Exhausted(err)) if tries < EXHAUSTED_TRIES => {
                log::debug!("an attempt waits: {err}");
                exchange.connection.ask_for_room();
                thread::sleep(EXHAUSTED_PAUSE);
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

/// The gate: a stream is the client's only when its first event is here.
fn begin_stream(answer: Answer, mut attempt: Attempt, exchange: &Exchange) -> Step {
    let parts = Parts {
        status: answer.status,
        headers: answer.headers,
    };
    let mut stream = EventStream::new(answer.body, relay::is_encoded(&parts.headers));
    let reason = match stream.begin(answer.first_event_by) {
        Beginning::Event => return Step::deliver(Delivery::Stream(parts, stream, attempt)),
        Beginning::Error(_) if !exchange.admission.config.failover => {
            return Step::deliver(Delivery::Stream(parts, stream, attempt));
        }
        Beginning::TimedOut => return timed_out(attempt),
        _ if exchange.abort.is_aborted() => return Step::deliver(aborted(exchange)),
        Beginning::Error(data) => format!("the stream began with an error: {data}"),
        Beginning::Broken(why) => why,
    };
    apply_verdict(
        Outcome::NoFirstEvent,
        &reason,
        &mut attempt,
        &exchange.admission,
    );
    Step::TryNext(None, format!("{}: {reason}", attempt.name()))
}

/// Whether an outcome sends the request on. Puts the endpoint on cooldown where it must, and logs both.
fn apply_verdict(
    outcome: Outcome,
    reason: &str,
    attempt: &mut Attempt,
    admission: &Admission,
) -> bool {
    let config = &admission.config;
    let rests = Rests {
        cooldown: config.cooldown,
        max_cooldown: config.max_cooldown,
    };
    let Verdict::Next { rest, cause, mend } = failover::judge(
        outcome,
        admission.route.may_cool_down,
        rests,
        SystemTime::now(),
    ) else {
        attempt.lease.answered();
        return false;
    };
    let ended = match outcome {
        Outcome::Status(status, _) => Ended::Status(status),
        Outcome::Unreachable => Ended::Unreachable,
        Outcome::NoFirstEvent => Ended::Broken,
    };
    attempt.end(ended, true);
    match rest {
        Some(rest) => {
            attempt.lease.rest(Instant::now() + rest, cause);
            attempt.counters().rested(cause);
        }
        None if outcome != Outcome::Unreachable => attempt.lease.answered(),
        None => {}
    }
    let level = if mend { Level::Error } else { Level::Warn };
    let rest = rest.unwrap_or_default().as_secs_f64();
    log::log!(level, endpoint = attempt.name(), cause = cause, rest_seconds = rest, answer = reason; "an attempt failed");
    true
}

fn timed_out(mut attempt: Attempt) -> Step {
    attempt.end(Ended::Timeout, true);
    log::warn!(endpoint = attempt.name(), cause = "timeout", rest_seconds = 0.0; "an attempt failed");
    let message = format!(
        "{} gave no answer within responseSeconds; it may be working on the request",
        attempt.name()
    );
    Step::deliver(Delivery::Error(StatusCode::REQUEST_TIMEOUT, message))
}

/// An attempt was ended: the client has gone, or we must.
fn aborted(exchange: &Exchange) -> Delivery {
    if exchange.abort.reason() == Some(Reason::ClientGone) {
        return Delivery::ClientGone;
    }
    Delivery::Error(
        StatusCode::SERVICE_UNAVAILABLE,
        "this balancer is shutting down".into(),
    )
}

/// Reads what sends us on to its end, so that the endpoint's connection can be used again; `None` where that takes too
/// long or too much.
fn keep(mut answer: Answer, endpoint: &str) -> Option<FailedAnswer> {
    let deadline = Instant::now() + KEPT_BODY_TIME;
    let mut body = Vec::new();
    let length = Reading {
        body: &mut answer.body,
        deadline,
    }
    .take(KEPT_BODY + 1)
    .read_to_end(&mut body)
    .ok()?;
    let parts = Parts {
        status: answer.status,
        headers: answer.headers,
    };
    (length as u64 <= KEPT_BODY).then(|| FailedAnswer {
        parts,
        body,
        endpoint: endpoint.to_owned(),
    })
}

/// A body that is read until a moment.
struct Reading<'a> {
    body: &'a mut upstream::Body,
    deadline: Instant,
}

impl Read for Reading<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        self.body.read_by(self.deadline, buf)
    }
}

//! One attempt: a request is sent to the endpoint of a lease, the outcome judged, and the endpoint made to feel it.

use std::io::{self, Read};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, StatusCode, header};
use log::Level;

use crate::balancer::Lease;
use crate::config::Config;
use crate::downstream::listener::Exchange;
use crate::proxy::failover::{self, Outcome, Rests, Verdict};
use crate::proxy::relay::{self, Beginning, EventStream};
use crate::telemetry::metrics::{Ended, EndpointMetrics};
use crate::upstream::{self, Answer, Outgoing, Upstream};

/// How much of an answer that sends us on is kept for the client, in bytes, and how long we wait for it. It is an
/// error's body: some hundred bytes, that come with the head.
const KEPT_BODY: u64 = 8 << 20;
const KEPT_BODY_TIME: Duration = Duration::from_secs(2);
/// How often, and how long apart, an attempt is made again for which this machine had no descriptor or thread left.
const EXHAUSTED_TRIES: u32 = 40;
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// An endpoint with its counters: what a lease gives access to.
pub struct Member {
    pub upstream: Upstream,
    pub counters: Arc<EndpointMetrics>,
}

/// How one attempt ended.
pub enum Attempt {
    Found(Box<Found>),
    /// The next endpoint gets the request. What is left of the answer, and what to tell the client if there is no
    /// better one.
    Failed(Option<Failure>, String),
}

impl Attempt {
    fn found(found: Found) -> Attempt {
        Attempt::Found(Box::new(found))
    }
}

/// What a request's way through the endpoints led to.
pub enum Found {
    /// An answer that goes to the client as it comes.
    Answer(Answer, Trial),
    /// The same for an event stream whose first event is here.
    Stream(Parts, EventStream, Trial),
    /// Every attempt failed: the most telling of their answers.
    Failure(Failure),
    /// An error of ours.
    Error(StatusCode, String),
    ClientGone,
}

/// The head of an endpoint's answer.
pub struct Parts {
    pub status: StatusCode,
    pub headers: HeaderMap,
}

/// An answer that sent us on to the next endpoint, kept for a client that gets no better one.
pub struct Failure {
    pub parts: Parts,
    pub body: Vec<u8>,
    pub endpoint: String,
}

/// An attempt under way. It ends once, as the first who knows says; where nobody does, its client has gone.
pub struct Trial {
    lease: Lease<Member>,
    begun: Instant,
    first_byte: Option<Duration>,
    ended: bool,
}

impl Trial {
    pub fn new(lease: Lease<Member>) -> Trial {
        let begun = Instant::now();
        lease.counters.begun(begun);
        Trial {
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

impl Drop for Trial {
    fn drop(&mut self) {
        self.end(Ended::ClientGone, false);
    }
}

/// Makes it. `may_rest`: see [`crate::downstream::routes::Forward`].
pub fn attempt(
    call: &Outgoing,
    mut trial: Trial,
    exchange: &Exchange,
    config: &Config,
    may_rest: bool,
) -> Attempt {
    let answer = match send(call, &trial.lease.upstream, exchange) {
        Ok(answer) => answer,
        Err(upstream::Error::Aborted) => return Attempt::found(aborted(exchange)),
        Err(upstream::Error::TimedOut) => return timed_out(trial),
        Err(upstream::Error::Unreachable(why)) => {
            judge(Outcome::Unreachable, &why, &mut trial, config, may_rest);
            return Attempt::Failed(None, format!("{}: {why}", trial.name()));
        }
        Err(upstream::Error::Exhausted(err)) => {
            log::error!("no connection to an endpoint can be made on this machine: {err}");
            let message = "this machine has no descriptor or thread left; try again".into();
            return Attempt::found(Found::Error(StatusCode::SERVICE_UNAVAILABLE, message));
        }
    };
    trial.first_byte = Some(trial.begun.elapsed());
    let retry_after = answer
        .headers
        .get(header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok());
    let outcome = Outcome::Status(answer.status.as_u16(), retry_after);
    let words = answer.status.to_string();
    let fails = judge(outcome, &words, &mut trial, config, may_rest);
    if fails && config.failover {
        let words = format!("{}: {words}", trial.name());
        return Attempt::Failed(keep(answer, trial.name()), words);
    }
    if answer.status.is_success() && relay::is_event_stream(&answer.headers) {
        return begin_stream(answer, trial, exchange, config, may_rest);
    }
    Attempt::found(Found::Answer(answer, trial))
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
                exchange.front.relieve();
                thread::sleep(EXHAUSTED_PAUSE);
                tries += 1;
            }
            outcome => return outcome,
        }
    }
}

/// The gate: a stream is the client's only when its first event is here.
fn begin_stream(
    answer: Answer,
    mut trial: Trial,
    exchange: &Exchange,
    config: &Config,
    may_rest: bool,
) -> Attempt {
    let parts = Parts {
        status: answer.status,
        headers: answer.headers,
    };
    let mut stream = EventStream::new(answer.body, relay::is_encoded(&parts.headers));
    let words = match stream.begin(answer.first_event_by) {
        Beginning::Event => return Attempt::found(Found::Stream(parts, stream, trial)),
        Beginning::Error(_) if !config.failover => {
            return Attempt::found(Found::Stream(parts, stream, trial));
        }
        Beginning::TimedOut => return timed_out(trial),
        _ if exchange.abort.is_aborted() => return Attempt::found(aborted(exchange)),
        Beginning::Error(data) => format!("the stream began with an error: {data}"),
        Beginning::Broken(why) => why,
    };
    judge(Outcome::NoFirstEvent, &words, &mut trial, config, may_rest);
    Attempt::Failed(None, format!("{}: {words}", trial.name()))
}

/// Whether an outcome sends the request on. Rests the endpoint where it must, and logs both.
fn judge(
    outcome: Outcome,
    words: &str,
    trial: &mut Trial,
    config: &Config,
    may_rest: bool,
) -> bool {
    let rests = Rests {
        cooldown: config.cooldown,
        max_cooldown: config.max_cooldown,
    };
    let Verdict::Next { rest, cause, mend } =
        failover::judge(outcome, may_rest, rests, SystemTime::now())
    else {
        trial.lease.answered();
        return false;
    };
    let ended = match outcome {
        Outcome::Status(status, _) => Ended::Status(status),
        Outcome::Unreachable => Ended::Unreachable,
        Outcome::NoFirstEvent => Ended::Broken,
    };
    trial.end(ended, true);
    match rest {
        Some(rest) => {
            trial.lease.rest(Instant::now() + rest, cause);
            trial.counters().rested(cause);
        }
        None if outcome != Outcome::Unreachable => trial.lease.answered(),
        None => {}
    }
    let level = if mend { Level::Error } else { Level::Warn };
    let rest = rest.unwrap_or_default().as_secs_f64();
    log::log!(level, endpoint = trial.name(), cause = cause, rest_seconds = rest, answer = words; "an attempt failed");
    true
}

fn timed_out(mut trial: Trial) -> Attempt {
    trial.end(Ended::Timeout, true);
    log::warn!(endpoint = trial.name(), cause = "timeout", rest_seconds = 0.0; "an attempt failed");
    let message = format!(
        "{} gave no answer within responseSeconds; it may be working on the request",
        trial.name()
    );
    Attempt::found(Found::Error(StatusCode::REQUEST_TIMEOUT, message))
}

/// An attempt was ended: the client has gone, or we must.
fn aborted(exchange: &Exchange) -> Found {
    if exchange.connection.is_gone() {
        return Found::ClientGone;
    }
    Found::Error(
        StatusCode::SERVICE_UNAVAILABLE,
        "this balancer is shutting down".into(),
    )
}

/// Reads what sends us on to its end, so that the endpoint's connection can be used again; `None` where that takes too
/// long or too much.
fn keep(mut answer: Answer, endpoint: &str) -> Option<Failure> {
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
    (length as u64 <= KEPT_BODY).then(|| Failure {
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

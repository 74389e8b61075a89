//! One attempt's run: the request is sent to the endpoint, and its outcome says what the next step is.

use std::thread;
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;

use super::attempt::Attempt;
use super::delivery::{Delivery, Failed, FailedAnswer, Parts, Suspect};
use super::failover::{self, Failure, Outcome, Verdict};
use super::looked::Looked;
use super::reading;
use super::relay;
use super::stream::{Beginning, EventStream};
use super::subject::Subject;
use crate::api::headers::REQUEST_ID;
use crate::balancer::Penalty;
use crate::downstream::Exchange;
use crate::telemetry::metrics::Ended;
use crate::upstream::{self, Answer, Outgoing, Reason, Upstream};

/// How much of an answer that sends us on is read for the client, in bytes. It is an error's body: some hundred bytes, that come with
/// the head. Read to its end, it leaves the endpoint's connection free for others.
const KEPT_BODY: usize = 64 << 10;
/// How often, and how long apart, an attempt is made again for which this machine had no descriptor or thread left.
const EXHAUSTED_TRIES: u32 = 40;
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(50);

/// What follows from an attempt.
pub enum Step {
    Deliver(Box<Delivery>),
    /// The next endpoint gets the request.
    TryNext(Box<Failed>),
}

impl Step {
    fn deliver(delivery: Delivery) -> Step {
        Step::Deliver(Box::new(delivery))
    }
}

/// Runs one attempt.
pub fn run(call: &Outgoing, subject: &Subject, mut attempt: Attempt, exchange: &Exchange) -> Step {
    let body = subject.body_for(attempt.target().models());
    let call = Outgoing {
        body: &body,
        ..*call
    };
    let answer = match send(&call, &attempt.target().upstream, exchange) {
        Ok(answer) => answer,
        Err(err) => return unanswered(err, subject, attempt, exchange),
    };
    attempt.heard(&answer.headers);
    judge(answer, subject, attempt, exchange)
}

/// What an answer leads to.
fn judge(answer: Answer, subject: &Subject, mut attempt: Attempt, exchange: &Exchange) -> Step {
    let first_event_by = answer.first_event_by;
    let request_id = answer.headers.get(REQUEST_ID);
    let request_id = request_id.and_then(|id| id.to_str().ok());
    let parts = Parts {
        request_id: request_id.map(|id| attempt.target().upstream.quote(id)),
        status: answer.status,
        headers: answer.headers,
        length: answer.length,
    };
    let mut body = Looked::new(answer.body, answer.length);
    if parts.status.is_success() && relay::is_event_stream(&parts.headers) {
        return begin_stream(parts, body, first_event_by, subject, attempt, exchange);
    }
    let outcome = if reading::is_no_answer(&parts, &mut body, subject) {
        Outcome::NoAnswer
    } else {
        Outcome::Answer(reading::signs(&parts, &mut body, subject))
    };
    let verdict = failover::judge(&outcome, subject.sort(&outcome), SystemTime::now());
    let Verdict::Next(failure) = verdict else {
        attempt.answered();
        return Step::deliver(Delivery::Answer(parts, body, attempt));
    };
    let reason = reading::told(&parts, &outcome, &mut body, &attempt);
    let ended = match outcome {
        Outcome::NoAnswer => Ended::Broken,
        _ => Ended::Status(parts.status.as_u16()),
    };
    // Where nobody else can be asked an error goes out as it comes; but a refused token is not the client's, and what is no answer is
    // nobody's.
    let is_an_error = outcome != Outcome::NoAnswer && parts.status != StatusCode::UNAUTHORIZED;
    let is_last = !subject.has_choice && is_an_error;
    let goes_on = exchange.admission.config.failover && !is_last;
    let request_id = &exchange.admission.request_id;
    attempt.failed(&failure, ended, goes_on, &reason, request_id);
    if !goes_on {
        return Step::deliver(Delivery::Answer(parts, body, attempt));
    }
    let suspect = failed_suspect(&failure, &attempt);
    let signs = match outcome {
        Outcome::Answer(signs) => Some(signs),
        _ => None,
    };
    let answer = signs.map(|signs| FailedAnswer {
        parts,
        body: body.beginning(KEPT_BODY).to_vec(),
        endpoint: attempt.name().to_owned(),
        signs,
    });
    Step::TryNext(Box::new(Failed {
        reason: format!("{}: {reason}", attempt.name()),
        answer,
        suspect,
    }))
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

/// What follows where no answer came.
fn unanswered(
    err: upstream::Error,
    subject: &Subject,
    mut attempt: Attempt,
    exchange: &Exchange,
) -> Step {
    match err {
        upstream::Error::Aborted => Step::deliver(aborted(exchange)),
        upstream::Error::TimedOut => {
            let reason = "no answer within responseSeconds";
            failed(Outcome::TimedOut, reason, subject, attempt, exchange)
        }
        upstream::Error::Unsendable(why) => {
            attempt.unsent();
            let status = StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE;
            Step::deliver(Delivery::error(status, why))
        }
        upstream::Error::Unreachable(why) => {
            failed(Outcome::Unreachable, &why, subject, attempt, exchange)
        }
        upstream::Error::Broken(why) => failed(Outcome::Broken, &why, subject, attempt, exchange),
        upstream::Error::Exhausted(err) => {
            attempt.unsent();
            log::error!("no connection to an endpoint can be made on this machine: {err}");
            let message = "this machine has no descriptor or thread left; try again";
            Step::deliver(Delivery::error(StatusCode::SERVICE_UNAVAILABLE, message))
        }
    }
}

/// An attempt without an answer that could be passed on.
fn failed(
    outcome: Outcome,
    reason: &str,
    subject: &Subject,
    mut attempt: Attempt,
    exchange: &Exchange,
) -> Step {
    let ended = match outcome {
        Outcome::TimedOut => Ended::Timeout,
        Outcome::Unreachable => Ended::Unreachable,
        _ => Ended::Broken,
    };
    let request_id = &exchange.admission.request_id;
    match failover::judge(&outcome, subject.sort(&outcome), SystemTime::now()) {
        Verdict::GiveUp(failure) => {
            attempt.failed(&failure, ended, false, reason, request_id);
            let message = format!(
                "{} gave no answer within responseSeconds; it may be working on the request",
                attempt.name()
            );
            Step::deliver(Delivery::error(StatusCode::REQUEST_TIMEOUT, message))
        }
        Verdict::Next(failure) => {
            let goes_on = exchange.admission.config.failover;
            attempt.failed(&failure, ended, goes_on, reason, request_id);
            Step::TryNext(Box::new(Failed {
                reason: format!("{}: {reason}", attempt.name()),
                answer: None,
                suspect: None,
            }))
        }
        Verdict::Deliver => unreachable!("there is nothing to deliver"),
    }
}

/// The gate: a stream is the client's only when its first event is here.
fn begin_stream(
    parts: Parts,
    body: Looked,
    first_event_by: Instant,
    subject: &Subject,
    mut attempt: Attempt,
    exchange: &Exchange,
) -> Step {
    let mut stream = EventStream::new(body.into_body(), relay::is_encoded(&parts.headers));
    let beginning = stream.begin(first_event_by);
    let deliver = match &beginning {
        Beginning::Event => true,
        Beginning::Error(_) => !exchange.admission.config.failover,
        Beginning::TimedOut | Beginning::Broken(_) => false,
    };
    if deliver {
        attempt.answered();
        return Step::deliver(Delivery::Stream(parts, stream, attempt));
    }
    if exchange.abort.is_aborted() {
        return Step::deliver(aborted(exchange));
    }
    let (outcome, reason) = match beginning {
        Beginning::TimedOut => (
            Outcome::TimedOut,
            "no first event within responseSeconds".into(),
        ),
        Beginning::Error(data) => {
            let data = attempt.target().upstream.quote(&data);
            let reason = format!("the stream began with an error: {data}");
            (Outcome::NoFirstEvent, reason)
        }
        Beginning::Broken(why) => (Outcome::NoFirstEvent, why),
        Beginning::Event => unreachable!("it was delivered"),
    };
    failed(outcome, &reason, subject, attempt, exchange)
}

fn failed_suspect(failure: &Failure, attempt: &Attempt) -> Option<Suspect> {
    let cooldown = match failure.penalty {
        Penalty::For(cooldown) if failure.only_if_another_answers => cooldown,
        _ => return None,
    };
    Some(Suspect {
        member: attempt.member(),
        endpoint: attempt.name().to_owned(),
        cooldown,
        cause: failure.cause,
    })
}

/// An attempt was ended: the client has gone, or we must.
pub fn aborted(exchange: &Exchange) -> Delivery {
    if exchange.abort.reason() == Some(Reason::ClientGone) {
        return Delivery::ClientGone;
    }
    Delivery::error(
        StatusCode::SERVICE_UNAVAILABLE,
        "this balancer is shutting down",
    )
}

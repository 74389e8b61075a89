//! What an attempt's outcome means: is it the client's answer, or does the next endpoint get the request, and does this one go on
//! cooldown?
//!
//! The contract's table, and no state. Times are arguments.

use std::time::{Duration, SystemTime};

use crate::api::account::Exhausted;
use crate::api::rate_limits::Told;
use crate::balancer::Penalty;

/// How an attempt ended, as far as the next step depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// No connection: its name, TCP, TLS, a proxy, or `connectSeconds`.
    Unreachable,
    /// Closed before the answer's first byte, or no HTTP.
    Broken,
    /// No first byte, or of an event stream no first event, within `responseSeconds`.
    TimedOut,
    /// An event stream that ended or broke before its first event, or began with an `error`.
    NoFirstEvent,
    /// A 200 to a message that is no answer: a web page, nothing, an error object.
    NoAnswer,
    /// An answer.
    Answer(Signs),
}

/// What an answer's head and the beginning of its body say.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    pub status: u16,
    /// For how long it asks not to be asked.
    pub told: Option<Told>,
    /// The account behind the token is at its end.
    pub exhausted: Option<Exhausted>,
    /// The body has the API's shape.
    pub is_api_error: bool,
    /// Its message names the model that was asked for.
    pub names_model: bool,
}

/// What the request says about whose fault a failure is.
#[derive(Clone, Copy, Debug)]
pub struct Sort<'a> {
    /// It is a message: only those put an endpoint on cooldown. Others have limits of their own at the API, and must not keep
    /// messages from an endpoint that serves them.
    pub may_cool_down: bool,
    /// It may be sent twice, even where an endpoint may be working on it: `GET` and `HEAD`.
    pub is_safe: bool,
    /// The model that it names: a limit may be that model's.
    pub model: Option<&'a str>,
}

/// What follows from an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// It is the client's answer.
    Deliver,
    /// The endpoint fell silent: it may be working on the request, so nobody else gets it.
    GiveUp(Failure<'a>),
    /// The next endpoint gets the request.
    Next(Failure<'a>),
}

/// What an endpoint's failure costs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failure<'a> {
    pub penalty: Penalty<'a>,
    /// Why, in a word or two, for the log and the counters: one of a few.
    pub cause: &'static str,
    /// What the operator must look at, since waiting helps nobody.
    pub look_at: Option<&'static str>,
    /// The penalty holds only where another endpoint then answers the same request well: where all refuse, the request is at fault.
    pub only_if_another_answers: bool,
}

impl Failure<'_> {
    /// An answer that broke off, or fell silent, after its beginning had gone to the client.
    pub fn broke_off(may_cool_down: bool) -> Failure<'static> {
        let penalty = if may_cool_down {
            Penalty::Counted
        } else {
            Penalty::None
        };
        row(penalty, "broke off", None)
    }
}

/// Cooldown of an endpoint that refuses its token or is none: long enough not to be locked out by it, short enough to see it mended.
const REFUSED: Duration = Duration::from_secs(60);
/// The longest that an overloaded endpoint is believed.
const OVERLOADED: Duration = Duration::from_secs(60);
/// Cooldown of an account at its end that does not say until when.
const EXHAUSTED: Duration = Duration::from_secs(600);

/// The contract's table. `now`: to know how long a date is away.
pub fn judge<'a>(outcome: &Outcome, sort: Sort<'a>, now: SystemTime) -> Verdict<'a> {
    let next = |penalty, cause| row(penalty, cause, None);
    let failure = match outcome {
        Outcome::Unreachable => next(Penalty::AtOnce, "unreachable"),
        Outcome::Broken => next(Penalty::Counted, "broken"),
        Outcome::TimedOut => next(Penalty::AtOnce, "timeout"),
        Outcome::NoFirstEvent => next(Penalty::None, "no first event"),
        Outcome::NoAnswer => row(Penalty::Counted, "no answer", Some("baseURL")),
        Outcome::Answer(signs) => match of_answer(signs, sort, now) {
            Some(failure) => failure,
            None => return Verdict::Deliver,
        },
    };
    let failure = if sort.may_cool_down {
        failure
    } else {
        Failure {
            penalty: Penalty::None,
            ..failure
        }
    };
    match outcome {
        Outcome::TimedOut if !sort.is_safe => Verdict::GiveUp(failure),
        _ => Verdict::Next(failure),
    }
}

/// The rows of answers; `None`: it is the client's.
fn of_answer<'a>(signs: &Signs, sort: Sort<'a>, now: SystemTime) -> Option<Failure<'a>> {
    let asked = signs.told.map(|told| told.duration);
    let failure = match (signs.status, signs.told) {
        _ if signs.exhausted.is_some() => row(
            exhausted(signs, now),
            "account at its end",
            Some("the account and its billing"),
        ),
        (429, Some(told)) => {
            let model = sort.model.filter(|_| !told.whole_endpoint);
            let penalty = match model {
                Some(model) => Penalty::ModelRateLimited(model, told.duration),
                None => Penalty::RateLimited(told.duration),
            };
            row(penalty, "rate limited", None)
        }
        (429, None) => row(Penalty::None, "rate limited", None),
        (401, _) => row(Penalty::For(REFUSED), "token refused", Some("authToken")),
        (403, _) => Failure {
            only_if_another_answers: true,
            ..row(Penalty::For(REFUSED), "request refused", None)
        },
        (404, _) if signs.names_model && sort.model.is_some() => {
            let penalty = sort.model.map_or(Penalty::None, Penalty::ModelMissing);
            row(penalty, "model missing", None)
        }
        (404, _) if signs.is_api_error => row(Penalty::None, "not found", None),
        (404, _) => row(Penalty::For(REFUSED), "not the API", Some("baseURL")),
        (529, _) => {
            let asked = asked.map(|asked| Penalty::For(asked.min(OVERLOADED)));
            row(asked.unwrap_or(Penalty::None), "overloaded", None)
        }
        (500..=504 | 520..=527 | 530, _) => {
            let asked = asked.map(Penalty::For);
            row(asked.unwrap_or(Penalty::Counted), "server error", None)
        }
        _ => return None,
    };
    Some(failure)
}

fn exhausted(signs: &Signs, now: SystemTime) -> Penalty<'static> {
    let until = signs.exhausted.as_ref().and_then(|account| account.until);
    // A date that has passed says nothing about now.
    let left = until.and_then(|until| until.duration_since(now).ok());
    Penalty::For(left.filter(|left| !left.is_zero()).unwrap_or(EXHAUSTED))
}

fn row<'a>(
    penalty: Penalty<'a>,
    cause: &'static str,
    look_at: Option<&'static str>,
) -> Failure<'a> {
    Failure {
        penalty,
        cause,
        look_at,
        only_if_another_answers: false,
    }
}

/// How much a failed answer tells the client that gets no better one; the highest goes out.
pub fn rank(signs: &Signs) -> u8 {
    match signs.status {
        _ if signs.exhausted.is_some() => 3,
        429 => 5,
        500.. => 4,
        404 => 2,
        403 => 1,
        _ => 0,
    }
}

#[cfg(test)]
mod tests;

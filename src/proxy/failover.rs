//! What an attempt's outcome means: is it the client's answer, or does the next endpoint get the request, and does this
//! one rest?
//!
//! A table and no state. The time is an argument.

use std::time::{Duration, SystemTime};

/// How an attempt ended, as far as the next step depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    /// An answer, with its `retry-after`.
    Status(u16, Option<&'a str>),
    /// No connection, closed before the answer's first byte, or not HTTP.
    Unreachable,
    /// An event stream that ended or broke before its first event, or began with an `error`.
    NoFirstEvent,
}

/// How long endpoints rest.
#[derive(Clone, Copy, Debug)]
pub struct Rests {
    /// Where the endpoint does not say. Zero: no rest.
    pub cooldown: Duration,
    /// At the most, whoever says so.
    pub max_cooldown: Duration,
}

/// What follows from an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the client's answer.
    Deliver,
    /// The next endpoint gets the request.
    Next {
        /// How long this one rests; never zero.
        rest: Option<Duration>,
        /// Why, in a word or two, for the log and the counters: one of a few.
        cause: &'static str,
        /// The operator must mend it: waiting helps nobody.
        mend: bool,
    },
}

/// Rest of an endpoint that refuses its token: long enough not to be locked out by it, short enough to see it mended.
const REFUSED: Duration = Duration::from_secs(60);

/// The contract's table. `may_cool_down`: see [`crate::downstream::routes::Forward`].
///
/// An endpoint that falls silent is not in it: it may be working on the request, so nobody else gets that.
pub fn judge(outcome: Outcome, may_cool_down: bool, rests: Rests, now: SystemTime) -> Verdict {
    use Outcome::{NoFirstEvent, Status, Unreachable};
    let asked = match outcome {
        Status(_, Some(retry_after)) => parse_retry_after(retry_after, now),
        _ => None,
    };
    let (rest, cause) = match outcome {
        Unreachable => (Some(rests.cooldown), "unreachable"),
        NoFirstEvent => (None, "no first event"),
        Status(429, _) => (asked, "rate limited"),
        Status(401 | 403, _) => (Some(REFUSED), "token refused"),
        Status(404, _) => (None, "not found"),
        Status(529, _) => (asked, "overloaded"),
        Status(500 | 502..=504 | 520..=527 | 530, _) => {
            (asked.or(Some(rests.cooldown)), "server error")
        }
        Status(..) => return Verdict::Deliver,
    };
    let rest = rest
        .map(|rest| rest.min(rests.max_cooldown))
        .filter(|rest| may_cool_down && !rest.is_zero());
    Verdict::Next {
        rest,
        cause,
        mend: matches!(outcome, Status(401 | 403, _)),
    }
}

/// How much an answer tells the client that gets no better one; the highest goes out.
pub fn rank(status: u16) -> u8 {
    match status {
        429 => 5,
        500.. => 4,
        404 => 3,
        403 => 2,
        _ => 1,
    }
}

/// Seconds, or an HTTP date (RFC 9110 §10.2.3); one that has passed means no time at all. Anything else is as if it
/// were not there. A fraction is taken as it is meant, though the RFC knows none: some gateways send it.
pub fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    {
        // More seconds than fit are as many as fit; `max_cooldown` is far below.
        return text
            .parse()
            .ok()
            .map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests;

//! What an answer's headers say of rate limits: how long not to ask again, and how much of each window is used.
//!
//! Windows are found by the pattern of their names and not by a list, as the API adds some now and then. Two families:
//! `anthropic-ratelimit-WINDOW-{limit,remaining,reset}` of API keys (<https://platform.claude.com/docs/en/api/rate-limits>), and
//! `anthropic-ratelimit-unified-WINDOW-{utilization,status,reset}` of subscriptions, as Claude Code reads them. No clock in here.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::header::{self, HeaderMap};

const PREFIX: &str = "anthropic-ratelimit-";
const UNIFIED: &str = "unified-";
const ORGANIZATION: &str = "anthropic-organization-id";
/// What OpenAI's and Anthropic's SDKs look at first: milliseconds.
const RETRY_AFTER_MS: &str = "retry-after-ms";
/// A reading is worth nothing after this time: others use the same key.
const FORGET: Duration = Duration::from_secs(600);
/// What is `remaining` of a minute is refilled all the time (its reset says when it is full again).
const FORGET_REMAINING: Duration = Duration::from_secs(15);

/// For how long an endpoint asks not to be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Never zero.
    pub duration: Duration,
    /// It holds for everything at this endpoint, and not for one model only.
    pub whole_endpoint: bool,
}

/// What is known of the windows in which an endpoint counts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reading {
    pub windows: Vec<Window>,
}

/// One window; its times count from the moment of the answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// As in the header's name: `5h`, `input-tokens`.
    pub name: String,
    /// 0 to 1, and above where more was used than is allowed.
    pub used: f64,
    /// The endpoint warns, or refuses already.
    pub warned: bool,
    /// When the window begins anew.
    pub reset_in: Option<Duration>,
    /// How long this is worth anything.
    pub forget_in: Duration,
}

/// Whose rate limits these are: keys of one organisation share them.
pub fn organization(headers: &HeaderMap) -> Option<&str> {
    text(headers, ORGANIZATION).filter(|id| !id.is_empty())
}

/// How long the endpoint asks us to wait: `retry-after-ms`, else `retry-after`, else the reset of a subscription whose status is
/// `rejected`. `None` where it does not say so, or says no time at all.
pub fn retry_in(headers: &HeaderMap, now: SystemTime) -> Option<Told> {
    let rejected = text(headers, "anthropic-ratelimit-unified-status") == Some("rejected");
    let millis = text(headers, RETRY_AFTER_MS)
        .and_then(number)
        .map(|millis| seconds(millis / 1000.0));
    let some_time = |duration: &Duration| !duration.is_zero();
    let duration = millis
        .filter(some_time)
        .or_else(|| retry_after(headers, now).filter(some_time))
        .or_else(|| {
            let reset = text(headers, "anthropic-ratelimit-unified-reset").filter(|_| rejected)?;
            moment(reset)?.duration_since(now).ok()
        })
        .filter(some_time)?;
    Some(Told {
        duration,
        whole_endpoint: rejected,
    })
}

/// Seconds, or an HTTP date (RFC 9110 §10.2.3), which is measured against the answer's own `date` where there is one: clocks differ.
/// A fraction is taken as it is meant, though the RFC knows none: some gateways send it. Anything else is as if it were not there.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let asked = text(headers, "retry-after")?;
    let date = |text: &str| httpdate::parse_http_date(text).ok();
    let there = text(headers, header::DATE.as_str()).and_then(date);
    parse_retry_after(asked, there.unwrap_or(now))
}

/// One `retry-after`. `now`: on the clock of who says it.
pub fn parse_retry_after(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    if let Some(number) = number(text) {
        return Some(seconds(number));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    Some(date.duration_since(now).unwrap_or(Duration::ZERO))
}

impl Reading {
    pub fn of(headers: &HeaderMap, now: SystemTime) -> Reading {
        let mut windows = Vec::new();
        for (name, value) in headers {
            let (Some(name), Ok(value)) = (name.as_str().strip_prefix(PREFIX), value.to_str())
            else {
                continue;
            };
            let window = match name.strip_prefix(UNIFIED) {
                Some(name) => unified(name, value, headers, now),
                None => remaining(name, value, headers, now),
            };
            windows.extend(window);
        }
        Reading { windows }
    }
}

/// A subscription's window, at its `utilization`, or at its `status` where that is all; or the whole of it, at `status`.
fn unified(name: &str, value: &str, headers: &HeaderMap, now: SystemTime) -> Option<Window> {
    let of = |window: &str, what: &str| text(headers, &format!("{PREFIX}{UNIFIED}{window}{what}"));
    let (window, used, status) = if name == "status" {
        ("unified", 0.0, Some(value))
    } else if let Some(window) = name.strip_suffix("-utilization") {
        (window, number(value)?, of(window, "-status"))
    } else {
        // A status alone says something too, if it is a warning.
        let window = name.strip_suffix("-status")?;
        if of(window, "-utilization").is_some() || value == "allowed" {
            return None;
        }
        (window, 0.0, Some(value))
    };
    let reset = if name == "status" {
        of("", "reset")
    } else {
        of(window, "-reset")
    };
    let warned = status.is_some_and(|status| status.contains("warning") || status == "rejected");
    // Paid use beyond the windows: where it is refused, the windows still are what they are.
    if window.starts_with("overage") || (name == "status" && !warned) {
        return None;
    }
    build(window, used, warned, reset, FORGET, now)
}

/// A window of an API key, at its `remaining`.
fn remaining(name: &str, value: &str, headers: &HeaderMap, now: SystemTime) -> Option<Window> {
    let window = name.strip_suffix("-remaining")?;
    let limit = text(headers, &format!("{PREFIX}{window}-limit")).and_then(number)?;
    let used = if limit > 0.0 {
        1.0 - (number(value)? / limit).min(1.0)
    } else {
        1.0
    };
    let reset = text(headers, &format!("{PREFIX}{window}-reset"));
    build(window, used, false, reset, FORGET_REMAINING, now)
}

fn build(
    name: &str,
    used: f64,
    warned: bool,
    reset: Option<&str>,
    forget: Duration,
    now: SystemTime,
) -> Option<Window> {
    let reset = reset.and_then(moment);
    // A window that has begun anew meanwhile is another one.
    let reset_in = match reset {
        Some(reset) => Some(reset.duration_since(now).ok()?),
        None => None,
    };
    Some(Window {
        name: name.to_owned(),
        used,
        warned,
        reset_in,
        forget_in: reset_in.map_or(forget, |reset_in| reset_in.min(forget)),
    })
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Seconds since 1970, or RFC 3339.
fn moment(text: &str) -> Option<SystemTime> {
    match number(text) {
        Some(number) => UNIX_EPOCH.checked_add(seconds(number)),
        None => humantime::parse_rfc3339_weak(text).ok(),
    }
}

/// Digits with at most one point: no sign, no exponent, no `inf`.
fn number(text: &str) -> Option<f64> {
    let is_plain = text.starts_with(|c: char| c.is_ascii_digit())
        && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    text.parse().ok().filter(|_| is_plain)
}

/// More seconds than fit are as many as fit.
fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
}

#[cfg(test)]
mod tests;

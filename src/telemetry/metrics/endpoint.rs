//! One endpoint's counters, its history, and what the log is told of its failures.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use super::counters::{Causes, Histogram, add};
use super::{Ended, TOKENS, lock};
use crate::api::usage::Usage;
use crate::telemetry::events::{Events, Kind};
use crate::telemetry::failures::Failures;
use crate::telemetry::history::{Attempts, Coarse, Series, Span};

/// One endpoint's counters. They go on over a reload.
#[derive(Debug)]
pub struct EndpointMetrics {
    pub(super) name: String,
    pub(super) ended: [AtomicU64; Ended::LABELS.len()],
    pub(super) cooldowns: Causes,
    pub(super) tokens: [AtomicU64; TOKENS.len()],
    /// From an attempt's beginning to the first byte of a good answer.
    pub(super) first_byte: Histogram,
    series: Mutex<Series<Attempts>>,
    keeps_day: Arc<AtomicBool>,
    failures: Failures,
    events: Arc<Events>,
}

/// A failed attempt, as the log and the page tell of it.
#[derive(Clone, Copy, Debug)]
pub struct FailedAttempt<'a> {
    /// In a word or two: one of a few.
    pub cause: &'static str,
    /// What the operator must look at, where waiting helps nobody.
    pub look_at: Option<&'static str>,
    /// How long the endpoint is on cooldown for it. `None`: it is not.
    pub cooldown: Option<Duration>,
    /// The model that alone is on cooldown there. `None`: all are.
    pub model: Option<&'a str>,
    /// The next endpoint gets the request.
    pub goes_on: bool,
    /// What the endpoint said, or what happened to its answer. It holds no token.
    pub answer: &'a str,
    pub request_id: &'a str,
}

impl EndpointMetrics {
    /// `begun`: when the process started. `keeps_day`: whether there are few enough for a day of history.
    pub(super) fn new(
        name: &str,
        begun: Instant,
        keeps_day: Arc<AtomicBool>,
        events: Arc<Events>,
    ) -> EndpointMetrics {
        EndpointMetrics {
            name: name.to_owned(),
            ended: Default::default(),
            cooldowns: Causes::default(),
            tokens: Default::default(),
            first_byte: Histogram::default(),
            series: Mutex::new(Series::new(begun)),
            keeps_day,
            failures: Failures::default(),
            events,
        }
    }

    /// An attempt has ended. `first_byte`: how long after its beginning the answer began, if it did. `failed`: it counts as
    /// one of the endpoint's failures.
    pub fn ended(&self, now: Instant, ended: Ended, first_byte: Option<Duration>, failed: bool) {
        add(&self.ended[ended.index()], 1);
        // Errors are fast: with them an outage would look like a good time.
        let is_good = !failed && matches!(ended, Ended::Status(..400));
        let first_byte = first_byte.filter(|_| is_good);
        if let Some(first_byte) = first_byte {
            self.first_byte.observe(first_byte);
        }
        let step = Attempts {
            attempts: 1,
            failed: failed.into(),
            first_byte: first_byte.map(Coarse::of).unwrap_or_default(),
        };
        lock(&self.series).add(now, self.keeps_day.load(Relaxed), &step);
    }

    /// The endpoint was put on cooldown, for `cause`.
    pub fn cooled_down(&self, cause: &'static str) {
        self.cooldowns.add(cause);
    }

    /// An answer cost so much.
    pub fn used(&self, usage: Usage) {
        super::clients::add_tokens(&self.tokens, usage);
    }

    /// Tokens so far.
    pub fn usage(&self) -> Usage {
        super::clients::tokens(&self.tokens)
    }

    /// Its history; nothing where nothing happened, or for a day that is not kept.
    pub fn history(&self, now: Instant, span: Span) -> Vec<Attempts> {
        let mut series = lock(&self.series);
        if series.is_empty(span) {
            return Vec::new();
        }
        series.steps(now, span)
    }

    /// The last so many steps of the hour, in one.
    pub fn recent(&self, now: Instant, steps: usize) -> Attempts {
        let mut series = lock(&self.series);
        if series.is_empty(Span::Hour) {
            return Attempts::default();
        }
        series.last(now, steps)
    }

    /// Tells the log and the page of a failed attempt: the log not of each one while they go on.
    pub fn tell_failure(&self, now: Instant, time: SystemTime, failed: &FailedAttempt) {
        let kind = match (failed.cooldown, failed.goes_on) {
            (Some(_), _) => Kind::Cooldown,
            (None, true) => Kind::Failover,
            (None, false) => Kind::Failed,
        };
        let cooldown = failed.cooldown.unwrap_or_default().as_secs_f64();
        let cooldown = (cooldown * 1000.0).round() / 1000.0;
        let text = match (failed.cooldown, failed.model) {
            (Some(_), Some(model)) => format!("of {model} for {cooldown} s: {}", failed.answer),
            (Some(_), None) => format!("for {cooldown} s: {}", failed.answer),
            (None, _) => failed.answer.to_owned(),
        };
        self.events
            .add(time, kind, Some(&self.name), failed.cause, &text);
        let Some(count) = self
            .failures
            .failed(now, failed.cause, failed.cooldown.is_some())
        else {
            return;
        };
        let (name, cause, answer) = (self.name.as_str(), failed.cause, failed.answer);
        let (request_id, model) = (failed.request_id, failed.model.unwrap_or("-"));
        let message = match count {
            1 => "an attempt failed",
            _ => "attempts go on failing",
        };
        match failed.look_at {
            Some(look_at) => {
                log::error!(endpoint = name, request_id = request_id, cause = cause, cooldown_seconds = cooldown, model = model, answer = answer, look_at = look_at, failures = count; "{message}");
            }
            None => {
                log::warn!(endpoint = name, request_id = request_id, cause = cause, cooldown_seconds = cooldown, model = model, answer = answer, failures = count; "{message}");
            }
        }
    }

    /// Tells the page of a cooldown that no single attempt of the endpoint's is the cause of.
    pub fn tell_cooldown(
        &self,
        time: SystemTime,
        cause: &'static str,
        cooldown: Duration,
        why: &str,
    ) {
        let text = format!("for {} s: {why}", cooldown.as_secs_f64().round());
        let name = Some(self.name.as_str());
        self.events.add(time, Kind::Cooldown, name, cause, &text);
    }

    /// Tells of a good answer, where the log has told of failures. `was_out`: the endpoint was on cooldown until then.
    pub fn tell_success(&self, now: Instant, time: SystemTime, was_out: bool) {
        let Some(over) = self.failures.succeeded(now, was_out) else {
            return;
        };
        let seconds = over.lasted.as_secs();
        let name = self.name.as_str();
        log::info!(endpoint = name, failures = over.failures, seconds = seconds; "an endpoint is well again");
        let attempts = if over.failures == 1 {
            "attempt"
        } else {
            "attempts"
        };
        let text = format!("after {} failed {attempts} in {seconds} s", over.failures);
        self.events.add(time, Kind::Well, Some(name), "", &text);
    }

    /// Tells the page of a check.
    pub fn tell_check(&self, time: SystemTime, passed: bool, answer: &str) {
        let cause = if passed { "passed" } else { "failed" };
        let name = Some(self.name.as_str());
        self.events.add(time, Kind::Check, name, cause, answer);
    }
}

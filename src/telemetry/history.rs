//! How it went: an hour in steps of ten seconds and a day in steps of five minutes, for all requests together, for each endpoint
//! and for each client.
//!
//! Memory is bounded and taken as it is used: a series that nothing happens in has none. Twenty endpoints and twenty clients that
//! are busy all day take less than 1.5 MB. No I/O, no thread and no clock in here: callers pass `now`, and whoever looks turns
//! the rings.

mod quantiles;
mod ring;

use std::time::{Duration, Instant};

pub use quantiles::{Coarse, Fine};
pub use ring::Ring;

/// The hour's steps: their length, and how many there are.
pub const HOUR: (Duration, usize) = (Duration::from_secs(10), 360);
/// The day's steps.
pub const DAY: (Duration, usize) = (Duration::from_secs(300), 288);
/// Where there are more endpoints and clients than this, they have an hour and no day: it would be megabytes that nobody looks at.
pub const MOST_DAYS: usize = 100;

/// Which of the two is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Span {
    #[default]
    Hour,
    Day,
}

impl Span {
    /// The length of a step, and how many there are.
    pub fn steps(self) -> (Duration, usize) {
        match self {
            Span::Hour => HOUR,
            Span::Day => DAY,
        }
    }
}

/// What happens in a step of a series. The empty one is what a step begins with.
pub trait Step: Clone + Default {
    /// Adds what happened in another step.
    fn add(&mut self, other: &Self);
}

/// All requests that were forwarded, or were to be, by what their clients got.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Answers {
    pub answers: u32,
    /// Those of them that did the client no good: an endpoint's fault, or ours.
    pub failed: u32,
    /// Good answers that took more than one attempt.
    pub saved: u32,
    /// Clients that left before the end of their answer.
    pub left: u32,
    /// Times to the first byte of good answers.
    pub first_byte: Fine,
}

/// One endpoint's attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    pub attempts: u32,
    pub failed: u32,
    /// Times to the first byte of good answers.
    pub first_byte: Coarse,
}

/// One client's requests and tokens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Requests {
    pub requests: u32,
    pub failed: u32,
    pub tokens_in: u32,
    pub tokens_out: u32,
    pub tokens_cache_read: u32,
}

/// Adds each field, and stays at the top where there is no room for more.
macro_rules! add_up {
    ($to:ident, $from:ident, $($field:ident),+) => {
        $($to.$field = $to.$field.saturating_add($from.$field);)+
    };
}

impl Step for Answers {
    fn add(&mut self, other: &Answers) {
        add_up!(self, other, answers, failed, saved, left);
        self.first_byte.add(&other.first_byte);
    }
}

impl Step for Attempts {
    fn add(&mut self, other: &Attempts) {
        add_up!(self, other, attempts, failed);
        self.first_byte.add(&other.first_byte);
    }
}

impl Step for Requests {
    fn add(&mut self, other: &Requests) {
        add_up!(
            self,
            other,
            requests,
            failed,
            tokens_in,
            tokens_out,
            tokens_cache_read
        );
    }
}

/// An hour, and a day.
#[derive(Debug)]
pub struct Series<S> {
    begun: Instant,
    hour: Ring<S>,
    day: Ring<S>,
}

impl<S: Step> Series<S> {
    /// `begun`: when the process started; steps are counted from there, so that those of all series are the same.
    pub fn new(begun: Instant) -> Series<S> {
        Series {
            begun,
            hour: Ring::new(HOUR.1),
            day: Ring::new(DAY.1),
        }
    }

    /// Adds what happened. `keeps_day`: false where there are too many series for that.
    pub fn add(&mut self, now: Instant, keeps_day: bool, step: &S) {
        let since = now.saturating_duration_since(self.begun);
        self.hour.at(number(since, HOUR.0)).add(step);
        if keeps_day {
            self.day.at(number(since, DAY.0)).add(step);
        } else {
            self.day.clear();
        }
    }

    /// All steps of a span, the oldest first; the last one is still being filled.
    pub fn steps(&mut self, now: Instant, span: Span) -> Vec<S> {
        let (ring, step) = match span {
            Span::Hour => (&mut self.hour, HOUR.0),
            Span::Day => (&mut self.day, DAY.0),
        };
        let since = now.saturating_duration_since(self.begun);
        ring.turn(number(since, step));
        ring.steps().cloned().collect()
    }

    /// Nothing happened in any step of a span, as far as that can be told without looking at each.
    pub fn is_empty(&self, span: Span) -> bool {
        match span {
            Span::Hour => self.hour.is_empty(),
            Span::Day => self.day.is_empty(),
        }
    }

    /// The last so many steps of the hour, the one that is being filled among them, in one.
    pub fn last(&mut self, now: Instant, steps: usize) -> S {
        let since = now.saturating_duration_since(self.begun);
        self.hour.turn(number(since, HOUR.0));
        let mut sum = S::default();
        for step in self.hour.steps().skip(HOUR.1 - steps) {
            sum.add(step);
        }
        sum
    }
}

/// Steps in groups of so many, the last group ending with the last step. Nothing where nothing happened.
pub fn grouped<S: Step + PartialEq>(steps: &[S], size: usize) -> Vec<S> {
    if steps.iter().all(|step| *step == S::default()) {
        return Vec::new();
    }
    let sum = |group: &[S]| {
        let mut sum = S::default();
        group.iter().for_each(|step| sum.add(step));
        sum
    };
    steps.chunks(size).map(sum).collect()
}

fn number(since: Duration, step: Duration) -> u64 {
    since.as_secs() / step.as_secs()
}

#[cfg(test)]
mod tests;

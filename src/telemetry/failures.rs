//! An endpoint's failures, as the log tells them: one line when they begin, one a minute with their number while they go on, one
//! when the endpoint is well again.
//!
//! No I/O and no clock in here: callers pass `now`.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How often a failure that goes on is told.
const TELL: Duration = Duration::from_secs(60);
/// An endpoint that fails now and then, with good answers between, is well when it has not failed for so long.
const QUIET: Duration = Duration::from_secs(10);

/// The failures of one endpoint that go on, by their causes.
#[derive(Debug, Default)]
pub struct Failures(Mutex<Vec<Streak>>);

#[derive(Debug)]
struct Streak {
    cause: &'static str,
    /// Failures that put the endpoint on cooldown are told beside those that do not yet.
    cools_down: bool,
    begun: Instant,
    newest: Instant,
    told: Instant,
    /// Failures that were not told yet, and all of them.
    untold: u64,
    count: u64,
}

/// Failures that are over; none where the endpoint was on cooldown for another one's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Over {
    pub failures: u64,
    pub lasted: Duration,
}

impl Failures {
    /// An attempt failed for `cause`. `cools_down`: the endpoint was put on cooldown for it. Answers how many failures the log is
    /// to be told of now; `None`: of none.
    pub fn failed(&self, now: Instant, cause: &'static str, cools_down: bool) -> Option<u64> {
        let mut streaks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same =
            |streak: &&mut Streak| (streak.cause, streak.cools_down) == (cause, cools_down);
        let Some(streak) = streaks.iter_mut().find(is_same) else {
            streaks.push(Streak {
                cause,
                cools_down,
                begun: now,
                newest: now,
                told: now,
                untold: 0,
                count: 1,
            });
            return Some(1);
        };
        streak.newest = streak.newest.max(now);
        streak.count = streak.count.saturating_add(1);
        streak.untold = streak.untold.saturating_add(1);
        if now.saturating_duration_since(streak.told) < TELL {
            return None;
        }
        streak.told = now;
        Some(std::mem::take(&mut streak.untold))
    }

    /// The endpoint gave a good answer. `was_out`: it was on cooldown until then. Answers what is over with that, if something
    /// is.
    pub fn succeeded(&self, now: Instant, was_out: bool) -> Option<Over> {
        let mut streaks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(newest) = streaks.iter().map(|streak| streak.newest).max() else {
            let nothing = Over {
                failures: 0,
                lasted: Duration::ZERO,
            };
            return was_out.then_some(nothing);
        };
        if !was_out && now.saturating_duration_since(newest) < QUIET {
            return None;
        }
        let begun = streaks.iter().map(|streak| streak.begun).min()?;
        let counts = streaks.drain(..).map(|streak| streak.count);
        Some(Over {
            failures: counts.fold(0, u64::saturating_add),
            lasted: now.saturating_duration_since(begun),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_a_few_lines() {
        let (failures, start) = (Failures::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        let none = Over {
            failures: 0,
            lasted: Duration::ZERO,
        };
        assert_eq!(failures.succeeded(at(0), true), Some(none));
        assert_eq!(failures.succeeded(at(0), false), None);
        assert_eq!(failures.failed(at(0), "unreachable", false), Some(1));
        assert_eq!(failures.failed(at(1), "overloaded", false), Some(1)); // Another cause.
        assert_eq!(failures.failed(at(1), "unreachable", true), Some(1)); // It costs more now.
        for second in 2..60 {
            assert_eq!(failures.failed(at(second), "unreachable", false), None);
        }
        assert_eq!(failures.failed(at(61), "unreachable", false), Some(59));
        assert_eq!(failures.failed(at(62), "unreachable", false), None);
        assert_eq!(failures.succeeded(at(63), false), None); // A good answer between bad ones.
        let over = Over {
            failures: 63,
            lasted: Duration::from_secs(72),
        };
        assert_eq!(failures.succeeded(at(72), false), Some(over));
        assert_eq!(failures.succeeded(at(99), false), None);
        assert_eq!(failures.failed(at(100), "unreachable", false), Some(1));
        let over = Over {
            failures: 1,
            lasted: Duration::from_secs(1),
        };
        assert_eq!(failures.succeeded(at(101), true), Some(over));
    }
}

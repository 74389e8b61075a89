//! Whether a client goes on while we wait for it. No clock in here: `now` is an argument.
//!
//! Only the time counts in which we wait for the client: one whose endpoint takes long to say something is not slow, nor one that we
//! have not come to read from. What the kernel takes for a client counts as taken, so a reader is seen in steps of its window.

use std::time::{Duration, Instant};

/// A client that moves fewer bytes than `ENOUGH` in so long a wait, which is under 1 KiB a second, is slow.
const LIMIT: Duration = Duration::from_secs(10);
const ENOUGH: u64 = 10 << 10;

/// How long we have waited for a client since it last moved so much that it is not slow.
#[derive(Debug, Default)]
pub struct Pace {
    /// Waits that are over.
    waited: Duration,
    /// When the present wait began.
    since: Option<Instant>,
    /// Bytes that moved meanwhile.
    moved: u64,
}

impl Pace {
    /// From now on we wait for the client.
    pub fn waiting(now: Instant) -> Pace {
        let mut pace = Pace::default();
        pace.wait(now);
        pace
    }

    /// A wait begins, if none has.
    pub fn wait(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    /// The wait is over.
    pub fn rest(&mut self, now: Instant) {
        if let Some(since) = self.since.take() {
            self.waited += now.saturating_duration_since(since);
        }
    }

    /// So many bytes have moved.
    pub fn moved(&mut self, bytes: u64, now: Instant) {
        self.moved += bytes;
        if self.moved >= ENOUGH {
            self.moved = 0;
            self.waited = Duration::ZERO;
            self.since = self.since.map(|_| now);
        }
    }

    /// For how long it has been slow, if it is and we wait for it.
    pub fn slow_for(&self, now: Instant) -> Option<Duration> {
        let waited = self.waited + now.saturating_duration_since(self.since?);
        (waited >= LIMIT).then_some(waited)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a client does, one step after the other.
    enum Step {
        /// We wait for it for so many seconds, and it moves so many bytes at the end of them.
        Wait(u64, u64),
        /// So many seconds pass in which we do not wait for it.
        Pass(u64),
    }
    use Step::*;

    /// Follows the steps, then begins a wait of `last` seconds.
    #[track_caller]
    fn check(steps: &[Step], last: u64, expected: Option<u64>) {
        let mut now = Instant::now();
        let mut pace = Pace::default();
        for step in steps {
            match *step {
                Wait(seconds, bytes) => {
                    pace.wait(now);
                    now += Duration::from_secs(seconds);
                    pace.moved(bytes, now);
                    pace.rest(now);
                }
                Pass(seconds) => now += Duration::from_secs(seconds),
            }
        }
        assert_eq!(pace.slow_for(now), None, "nobody waits for it");
        pace.wait(now);
        now += Duration::from_secs(last);
        assert_eq!(pace.slow_for(now), expected.map(Duration::from_secs));
    }

    #[test]
    fn who_moves_under_a_kibibyte_a_second_of_our_waiting_is_slow() {
        check(&[], 9, None);
        check(&[], 10, Some(10));
        check(&[Wait(9, 100), Pass(3600)], 0, None);
        check(&[Wait(9, 100), Pass(3600)], 2, Some(11));
        check(&[Wait(6, ENOUGH - 1), Wait(6, 0)], 0, Some(12));
        check(&[Wait(9, ENOUGH)], 9, None);
        check(&[Wait(3600, ENOUGH)], 9, None); // It was slow, and is not any more.
        check(
            &[Wait(5, 6 << 10), Wait(5, 6 << 10), Wait(5, 0)],
            5,
            Some(10),
        );
    }
}

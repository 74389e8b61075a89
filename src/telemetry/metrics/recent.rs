//! The last ten minutes of an endpoint, for the status page.

use std::array;
use std::time::{Duration, Instant};

/// The ten minutes come in this many slots, each this long.
pub const SLOT: Duration = Duration::from_secs(10);
pub const SLOTS: usize = 60;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// Attempts begun.
    pub requests: u32,
    /// Attempts ended as a failure.
    pub failures: u32,
    /// Attempts ended that had an answer, and the sum of the times to their first byte.
    pub answers: u32,
    pub first_bytes: Duration,
}

/// A ring that is turned by whoever looks at it: no thread does.
#[derive(Debug)]
pub struct Recent {
    begun: Instant,
    /// Number of the slot that is being filled, counted from `begun`.
    newest: u64,
    slots: [Slot; SLOTS],
}

impl Recent {
    pub fn new(begun: Instant) -> Recent {
        Recent {
            begun,
            newest: 0,
            slots: [Slot::default(); SLOTS],
        }
    }

    /// The slot that is being filled at `now`.
    pub fn slot(&mut self, now: Instant) -> &mut Slot {
        let number = now.saturating_duration_since(self.begun).as_secs() / SLOT.as_secs();
        // A thread that was held up comes with an older `now`: its count goes to the newest slot.
        for passed in (self.newest + 1..=number).rev().take(SLOTS) {
            self.slots[passed as usize % SLOTS] = Slot::default();
        }
        self.newest = self.newest.max(number);
        &mut self.slots[self.newest as usize % SLOTS]
    }

    /// All slots, oldest first.
    pub fn slots(&mut self, now: Instant) -> [Slot; SLOTS] {
        self.slot(now);
        let oldest = self.newest as usize + 1;
        array::from_fn(|at| self.slots[(oldest + at) % SLOTS])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_slots_are_forgotten() {
        let start = Instant::now();
        let mut recent = Recent::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        let begin = |recent: &mut Recent, seconds| recent.slot(at(seconds)).requests += 1;
        let check = |recent: &mut Recent, seconds, tail: &[u32]| {
            let mut expected = [0; SLOTS];
            expected[SLOTS - tail.len()..].copy_from_slice(tail);
            assert_eq!(
                recent.slots(at(seconds)).map(|slot| slot.requests),
                expected,
                "at {seconds} s"
            );
        };
        begin(&mut recent, 0);
        begin(&mut recent, 9);
        check(&mut recent, 9, &[2]);
        begin(&mut recent, 10);
        begin(&mut recent, 35);
        begin(&mut recent, 12); // Held up: it counts where we are now.
        check(&mut recent, 35, &[2, 1, 0, 2]);
        let mut full = [0; SLOTS];
        full[..4].copy_from_slice(&[2, 1, 0, 2]);
        check(&mut recent, 599, &full);
        full[..4].copy_from_slice(&[1, 0, 2, 0]);
        check(&mut recent, 600, &full);
        check(&mut recent, 100_000, &[]);
        begin(&mut recent, 100_000);
        check(&mut recent, 100_019, &[1, 0]);
    }
}

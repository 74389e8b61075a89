//! After a long cooldown an endpoint's weight grows from a tenth to the whole: no herd at one that is just back, and conversations
//! move home one after the other.

use std::time::{Duration, Instant};

use super::State;

/// A cooldown shorter than this needs no slow start.
pub(super) const LONG: Duration = Duration::from_secs(60);
/// In this time the whole weight is reached.
const RISE: Duration = Duration::from_secs(60);

/// The part of its weight that an endpoint has whose weight has been growing since then: 0.1 to 1. It only ever grows, so it moves each
/// conversation at most once, and towards its home.
pub(super) fn share(rising: Option<Instant>, now: Instant) -> f64 {
    let Some(since) = rising else {
        return 1.0;
    };
    let part = now.saturating_duration_since(since).as_secs_f64() / RISE.as_secs_f64();
    (0.1 + 0.9 * part).min(1.0)
}

impl<T> State<T> {
    /// Brings the weights of those that rise up to date, for the turns: in steps of a tenth, since turns are counted in whole numbers.
    pub(super) fn rise(&mut self, now: Instant) {
        if !self.some_rise {
            return;
        }
        self.some_rise = false;
        for (at, state) in self.members.iter_mut().enumerate() {
            if state.rising.is_none() {
                continue;
            }
            let share = share(state.rising, now);
            if share >= 1.0 {
                state.rising = None;
            } else {
                self.some_rise = true;
            }
            let tenths = (share * 10.0 + 1e-9) as u32;
            for index in [&mut self.first, &mut self.again, &mut self.last_resort] {
                index.set_tenths(at, tenths);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_grows_from_a_tenth_to_the_whole_in_a_minute() {
        let start = Instant::now();
        let check = |seconds: u64, expected: f64| {
            let share = share(Some(start), start + Duration::from_secs(seconds));
            assert!((share - expected).abs() < 1e-9, "{seconds}: {share}");
        };
        check(0, 0.1);
        check(20, 0.4);
        check(40, 0.7);
        check(60, 1.0);
        check(3600, 1.0);
        assert_eq!(share(None, start), 1.0);
    }
}

//! Lines that anybody can cause, without a token: a few in a second are written, the others counted.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// For all refusals of this process.
pub static STRANGERS: Strangers = Strangers::new();

/// So many lines come at once; then one each [`EACH`]. A line has at most 4 KiB: 8 KiB of log in a second.
const BURST: u32 = 20;
const EACH: Duration = Duration::from_millis(500);
/// How often it is told how many were left out.
const TELL: Duration = Duration::from_secs(1);

/// A bucket of lines that fills as time passes.
#[derive(Debug)]
pub struct Strangers(Mutex<State>);

#[derive(Debug)]
struct State {
    /// Lines that may be written, as of `filled`.
    left: u32,
    filled: Option<Instant>,
    left_out: u64,
    told: Option<Instant>,
}

impl Strangers {
    pub const fn new() -> Strangers {
        Strangers(Mutex::new(State {
            left: BURST,
            filled: None,
            left_out: 0,
            told: None,
        }))
    }

    /// Whether one more line may be written. Counts it if not, and says in the log what was not written before.
    pub fn may_be_told(&self, now: Instant) -> bool {
        let may = self.take(now);
        self.tell_what_was_left_out(now);
        may
    }

    /// Writes a line with the number of those that were left out, if there are any and it was not told just now.
    pub fn tell_what_was_left_out(&self, now: Instant) {
        if let Some(lines) = self.take_left_out(now) {
            log::warn!(lines = lines; "lines of refused requests were left out of the log");
        }
    }

    fn take(&self, now: Instant) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let filled = *state.filled.get_or_insert(now);
        let more = now.saturating_duration_since(filled).as_millis() / EACH.as_millis();
        if more > 0 {
            let more = u32::try_from(more).unwrap_or(BURST).min(BURST);
            state.left = (state.left + more).min(BURST);
            state.filled = Some(now);
        }
        let may = state.left > 0;
        state.left -= u32::from(may);
        state.left_out += u64::from(!may);
        may
    }

    fn take_left_out(&self, now: Instant) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let was_told = |told: Instant| now.saturating_duration_since(told) < TELL;
        if state.left_out == 0 || state.told.is_some_and(was_told) {
            return None;
        }
        state.told = Some(now);
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_and_a_count() {
        let (strangers, start) = (Strangers::new(), Instant::now());
        let at = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let lines = |n: usize, seconds: f64| (0..n).filter(|_| strangers.take(at(seconds))).count();
        assert_eq!(strangers.take_left_out(at(0.0)), None);
        assert_eq!(lines(100, 0.0), BURST as usize);
        assert_eq!(strangers.take_left_out(at(0.1)), Some(80));
        assert_eq!(lines(3, 0.3), 0);
        assert_eq!(strangers.take_left_out(at(0.4)), None); // Told a moment ago.
        assert_eq!(lines(5, 2.1), 4);
        assert_eq!(strangers.take_left_out(at(2.1)), Some(4));
        assert_eq!(lines(100, 1e6), BURST as usize);
        assert_eq!(lines(1, 5.0), 0); // A thread that was held up.
        assert_eq!(strangers.take_left_out(at(1e6)), Some(81));
        assert_eq!(strangers.take_left_out(at(2e6)), None);
    }
}

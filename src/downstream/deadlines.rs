//! When each of many clients is to be looked at again, without a look at all of them.
//!
//! A client's deadline moves with nearly every byte, mostly further away. So only the nearest one that was ever asked for is kept in
//! order; when it comes, the client says whether that is still so, and is put in again where it is not.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Moments in order, each with the number of a client.
#[derive(Default)]
pub struct Deadlines(BinaryHeap<Reverse<(Instant, u64)>>);

/// The nearest moment that is kept for one client; `None`: none is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kept(Option<Instant>);

impl Deadlines {
    /// The client is to be looked at at `at`, or earlier.
    pub fn set(&mut self, client: u64, kept: &mut Kept, at: Instant) {
        if kept.0.is_none_or(|kept| at < kept) {
            kept.0 = Some(at);
            self.0.push(Reverse((at, client)));
        }
    }

    /// The next client whose moment has come, and which moment that was. It is for the caller to find the client and to ask
    /// [`Kept::is_due`].
    pub fn next_due(&mut self, now: Instant) -> Option<(u64, Instant)> {
        let Reverse((at, client)) = *self.0.peek().filter(|Reverse((at, _))| *at <= now)?;
        self.0.pop();
        Some((client, at))
    }

    /// When somebody has to be looked at.
    pub fn nearest(&self) -> Option<Instant> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }
}

impl Kept {
    /// Whether `at` is the moment that is kept: an older one was overtaken by a nearer one.
    pub fn is_due(&mut self, at: Instant) -> bool {
        let is_due = self.0 == Some(at);
        if is_due {
            self.0 = None;
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_nearest_moment_counts_and_the_others_are_passed_over() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut deadlines = Deadlines::default();
        let (mut one, mut two) = (Kept::default(), Kept::default());
        deadlines.set(1, &mut one, at(9));
        deadlines.set(2, &mut two, at(5));
        deadlines.set(1, &mut one, at(20)); // Further away: nothing to do before 9.
        deadlines.set(1, &mut one, at(3));
        assert_eq!(deadlines.nearest(), Some(at(3)));
        assert_eq!(deadlines.next_due(at(2)), None);
        assert_eq!(deadlines.next_due(at(9)), Some((1, at(3))));
        assert!(one.is_due(at(3)));
        assert_eq!(deadlines.next_due(at(9)), Some((2, at(5))));
        assert!(two.is_due(at(5)));
        assert_eq!(deadlines.next_due(at(9)), Some((1, at(9))));
        assert!(!one.is_due(at(9)));
        assert_eq!(deadlines.nearest(), None);
    }
}

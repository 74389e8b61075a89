//! When each of many clients is to be looked at again, without a look at all of them.
//!
//! A client's deadline moves with nearly every byte, mostly further away. So only the nearest one that was ever asked for is kept in
//! order; when it comes, the client says whether that is still so, and is put in again where it is not. There is one moment for each
//! client at most: however many come and go, nothing of those that have gone stays.

use std::collections::BTreeSet;
use std::time::Instant;

/// Moments in order, each with the number of a client.
#[derive(Default)]
pub struct Deadlines(BTreeSet<(Instant, u64)>);

/// The moment that is kept for one client; `None`: none is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Kept(Option<Instant>);

impl Deadlines {
    /// The client is to be looked at at `at`, or earlier.
    pub fn set(&mut self, client: u64, kept: &mut Kept, at: Instant) {
        if kept.0.is_none_or(|kept| at < kept) {
            self.forget(client, *kept);
            kept.0 = Some(at);
            self.0.insert((at, client));
        }
    }

    /// The client has gone.
    pub fn forget(&mut self, client: u64, kept: Kept) {
        if let Some(at) = kept.0 {
            self.0.remove(&(at, client));
        }
    }

    /// The next client whose moment has come. None is kept for it any more: its [`Kept`] is the caller's to begin anew.
    pub fn next_due(&mut self, now: Instant) -> Option<u64> {
        self.0.first().filter(|(at, _)| *at <= now)?;
        self.0.pop_first().map(|(_, client)| client)
    }

    /// When somebody has to be looked at.
    pub fn nearest(&self) -> Option<Instant> {
        self.0.first().map(|(at, _)| *at)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_nearest_moment_counts_and_nothing_else_is_kept() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut deadlines = Deadlines::default();
        let (mut one, mut two, mut gone) = (Kept::default(), Kept::default(), Kept::default());
        deadlines.set(1, &mut one, at(9));
        deadlines.set(2, &mut two, at(5));
        deadlines.set(3, &mut gone, at(4));
        deadlines.set(1, &mut one, at(20)); // Further away: nothing to do before 9.
        deadlines.set(1, &mut one, at(3));
        deadlines.forget(3, gone);
        assert_eq!(deadlines.nearest(), Some(at(3)));
        assert_eq!(deadlines.next_due(at(2)), None);
        assert_eq!(deadlines.next_due(at(9)), Some(1));
        assert_eq!(deadlines.next_due(at(9)), Some(2));
        assert_eq!(deadlines.nearest(), None);
    }
}

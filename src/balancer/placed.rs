//! Where conversations were last, for the one question that hashing cannot answer: is this conversation new?
//!
//! An endpoint that is nearly used up keeps the conversations that it has and gets no new ones, and a conversation that therefore began
//! elsewhere stays there. Nothing else asks. So this is a hint and no session table: it has a fixed size, two conversations may share a
//! slot (the older one is then taken for a new one), and replicas and restarts agree about all conversations but those few.

use std::time::Instant;

use super::MemberId;

/// 32 KiB, of which only those pages are real that were used.
const SLOTS: usize = 2048;
/// Prompt caches live for an hour at the longest: after that a conversation may as well be new.
const KEPT: u64 = 3600;

#[derive(Clone, Copy, Default)]
struct Slot {
    conversation: u64,
    member: u64,
    /// Seconds since the table's start, plus one. Zero: the slot is empty.
    seen: u32,
    displaced: bool,
}

/// Where a conversation was last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub member: MemberId,
    /// It is there because its home was nearly used up.
    pub displaced: bool,
}

#[derive(Default)]
pub(super) struct Placed {
    start: Option<Instant>,
    slots: Vec<Slot>,
}

impl Placed {
    pub fn find(&self, conversation: u64, now: Instant) -> Option<Place> {
        let slot = self.slots.get(conversation as usize % SLOTS)?;
        let age = (self.seconds(now) + 1).saturating_sub(u64::from(slot.seen));
        (slot.seen > 0 && slot.conversation == conversation && age < KEPT).then_some(Place {
            member: MemberId(slot.member),
            displaced: slot.displaced,
        })
    }

    pub fn note(&mut self, conversation: u64, now: Instant, place: Place) {
        if self.slots.is_empty() {
            self.slots = vec![Slot::default(); SLOTS];
            self.start = Some(now);
        }
        let seen = u32::try_from(self.seconds(now) + 1).unwrap_or(u32::MAX);
        self.slots[conversation as usize % SLOTS] = Slot {
            conversation,
            member: place.member.0,
            seen,
            displaced: place.displaced,
        };
    }

    fn seconds(&self, now: Instant) -> u64 {
        let start = self.start.unwrap_or(now);
        now.saturating_duration_since(start).as_secs()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_place_is_known_for_an_hour_and_as_long_as_nobody_takes_its_slot() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let place = |member| Place {
            member: MemberId(member),
            displaced: member == 2,
        };
        let mut placed = Placed::default();
        assert_eq!(placed.find(7, start), None);
        placed.note(7, start, place(1));
        placed.note(0, after(10), place(2));
        assert_eq!(placed.find(7, after(3599)), Some(place(1)));
        assert_eq!(placed.find(7, after(3600)), None);
        assert_eq!(placed.find(0, after(3599)), Some(place(2)));
        placed.note(SLOTS as u64, after(20), place(3));
        assert_eq!(placed.find(0, after(20)), None);
        assert_eq!(placed.find(SLOTS as u64, after(20)), Some(place(3)));
    }
}

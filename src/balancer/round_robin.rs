//! Whose turn it is: smooth weighted round robin among members that come and go.
//!
//! The turn goes to the member that is furthest behind its share of all turns; among equals, to the one whose last turn
//! is the longest ago. While the same members take part this is nginx's smooth weighted round robin: what is computed
//! here from the turns that each one took is what nginx carries along as `current_weight`.
//!
//! Carried along, that number goes wrong when the members change, for it counts in parts of the old total weight: of
//! three equal ones, when two had their turn and the first leaves, the third would go twice in a row. Turns taken mean
//! the same in any company. So among equal weights any window is exact, whoever comes and goes meanwhile. Among others,
//! one as long as the total weight is exact while nobody does, and one that comes back has no burst.
//!
//! Whole numbers: nothing is rounded again and again, and the counters last longer than the hardware.

use std::cmp::Reverse;

/// An index over members that are told by their place.
#[derive(Clone, Debug, Default)]
pub struct RoundRobin {
    members: Vec<Share>,
    /// Turns and weight of those that took part in the last turn, summed up: their ratio is how many turns a weight of
    /// one has had by now. A member that was away starts from there.
    taken: u64,
    weight: u64,
    /// Turns so far; dates each member's last one.
    count: u64,
}

#[derive(Clone, Debug, Default)]
struct Share {
    /// The configured weight.
    whole: u64,
    /// The weight that counts now, in tenths: that of a member that is just back grows in steps.
    weight: u64,
    taken: u64,
    last: u64,
    took_part: bool,
}

impl RoundRobin {
    /// Other members: each one's weight and, if it was there before, its old place. One that is new, or whose weight
    /// has changed, begins like one that was away.
    pub fn set_members(&mut self, members: impl Iterator<Item = (u32, Option<usize>)>) {
        let member = |(weight, old): (u32, Option<usize>)| {
            let whole = u64::from(weight);
            let old = old.map(|at| &self.members[at]);
            old.filter(|old| old.whole == whole)
                .cloned()
                .unwrap_or(Share {
                    whole,
                    weight: whole * 10,
                    ..Share::default()
                })
        };
        self.members = members.map(member).collect();
    }

    /// So many tenths of its weight count for this member; where that is a change it begins like one that was away.
    pub fn set_tenths(&mut self, at: usize, tenths: u32) {
        let member = &mut self.members[at];
        let weight = member.whole * u64::from(tenths);
        if member.weight != weight {
            (member.weight, member.taken, member.took_part) = (weight, 0, false);
        }
    }

    /// Gives the next turn to one of those that take part. `None`: nobody does.
    pub fn take(&mut self, takes_part: impl Fn(usize) -> bool) -> Option<usize> {
        let (mut taken, mut weight) = (0, 0);
        for (at, member) in self.members.iter_mut().enumerate() {
            let takes_part = takes_part(at);
            if takes_part && !member.took_part {
                // What it missed is lost, or it would now get a burst to catch up; what it had begun to wait for is not.
                let missed = u128::from(member.weight) * u128::from(self.taken)
                    / u128::from(self.weight.max(1));
                member.taken = member.taken.max(missed as u64);
            }
            member.took_part = takes_part;
            if takes_part {
                taken += member.taken;
                weight += member.weight;
            }
        }
        // In turns, times the total weight, when this turn is over. The difference is small however large the products
        // are: it is right even where they wrap.
        let behind = |member: &Share| {
            let fair = member.weight.wrapping_mul(taken + 1);
            fair.wrapping_sub(weight.wrapping_mul(member.taken))
                .cast_signed()
        };
        let members = self
            .members
            .iter_mut()
            .enumerate()
            .filter(|(_, member)| member.took_part);
        let (winner, member) = members
            .max_by_key(|(at, member)| (behind(member), Reverse(member.last), Reverse(*at)))?;
        self.count += 1;
        member.taken += 1;
        member.last = self.count;
        (self.taken, self.weight) = (taken + 1, weight);
        Some(winner)
    }
}

#[cfg(test)]
mod tests;

//! Which endpoint serves the next attempt, and which ones are not asked for now.
//!
//! A request has one [`Search`], that remembers what was tried:
//!
//! ```text
//! let mut search = balancer.search(Want { conversation, model, first_only });
//! loop {
//!     match search.pick(now) {
//!         Pick::Go(lease) => make the attempt, tell the lease how it went, and deliver or go on,
//!         Pick::Wait => search.wait(a moment), or give up when it took too long,
//!         Pick::TooManyWait | Pick::RateLimited { .. } | Pick::Unserved | Pick::Exhausted => an answer of our own,
//!     }
//! }
//! ```
//!
//! A [`Lease`] is told how the attempt went: what its headers say of rate limits (`note_limits`, before anything that they explain), that a
//! good answer has begun (`answered`) and goes on (`heard`), and how it ended (`succeeded`, `failed`, `client_left`). A [`Fault`] says what a
//! failure costs. What is learnt later about an endpoint goes to [`Balancer::cool_down`]. One thread runs the checks
//! ([`Balancer::due_checks`]). Models are compared only where [`Balancer::needs_model`] says so: a request's model need not be read before.
//!
//! No I/O and no clock in here: callers pass `now`, so every rule is tested without waiting. The lock lives inside the methods and never
//! spans a network call. No thread wakes up to end a cooldown: its end is compared with `now` when somebody asks.

mod affinity;
mod checks;
mod choice;
mod cooldown;
mod lease;
mod limits;
mod member;
mod placed;
mod round_robin;
mod search;
mod silence;
mod slow_start;
mod snapshot;
mod standing;
mod verdict;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use affinity::hash;
pub use checks::Check;
pub use lease::Lease;
pub use limits::{LimitReading, LimitWindow};
pub use member::{LastError, Member, MemberId, Rules, Serves};
pub use search::{Pick, Search, Want};
pub use snapshot::{EndpointState, LimitState, ModelState, Snapshot};
pub use verdict::{Fault, Penalty};

use cooldown::{Length, MODEL_KEPT, ModelCooldown};
use member::MemberState;
use placed::Placed;
use round_robin::RoundRobin;
use standing::Standing;

/// The endpoints, in the file's order, with all that is known of them.
pub struct Balancer<T> {
    state: Mutex<State<T>>,
    /// Signalled when one who was told [`Pick::Wait`] may find an endpoint.
    freed: Condvar,
    /// Signalled when checks are to be made at another time than was known.
    checker: Condvar,
}

struct State<T> {
    members: Vec<MemberState<T>>,
    rules: Rules,
    /// Turns of requests that have tried nothing yet.
    first: RoundRobin,
    /// Turns of requests that go on from a failed attempt. With an index of their own, all of the others share an unwell
    /// endpoint's load, and its failures change nothing in who gets the requests' first attempts.
    again: RoundRobin,
    /// Turns of requests that find only endpoints on cooldown, where several come back at the same moment.
    last_resort: RoundRobin,
    placed: Placed,
    /// Some member's weight is growing.
    some_rise: bool,
    /// Numbers members, leases, cooldowns and checks.
    count: u64,
    /// Spreads cooldowns.
    random: u64,
    /// Requests between [`Pick::Wait`] and what follows. `particular`: those of them that not every endpoint would help.
    waiting: usize,
    particular: usize,
    /// Those of them whose threads sleep.
    sleeping: usize,
    /// Counts what those who wait should know: one who is just about to wait need not, if it has changed.
    changes: u64,
    /// Somebody should tell the checker; it has not been told yet. And: it was told, and has not looked yet.
    wake_checker: bool,
    news_for_checker: bool,
    /// What a pick finds out about each member; kept for its memory.
    standings: Vec<Standing>,
}

/// Whom a change may help.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wake {
    Nobody,
    /// There is room for one more request.
    One,
    All,
}

impl<T> Balancer<T> {
    /// `seed` spreads the lengths of cooldowns: any number, another one in each process.
    pub fn new(members: Vec<Member<T>>, rules: Rules, seed: u64) -> Arc<Balancer<T>> {
        let state = State {
            members: Vec::new(),
            rules: rules.bounded(),
            first: RoundRobin::default(),
            again: RoundRobin::default(),
            last_resort: RoundRobin::default(),
            placed: Placed::default(),
            some_rise: false,
            count: 0,
            random: seed,
            waiting: 0,
            particular: 0,
            sleeping: 0,
            changes: 0,
            wake_checker: false,
            news_for_checker: false,
            standings: Vec::new(),
        };
        let balancer = Arc::new(Balancer {
            state: Mutex::new(state),
            freed: Condvar::new(),
            checker: Condvar::new(),
        });
        balancer.reconfigure(members, rules);
        balancer
    }

    /// Puts other endpoints in place. One with the same name and base URL keeps its counters and, where the token is the same too, its
    /// state; requests at one that is gone end in peace.
    pub fn reconfigure(&self, members: Vec<Member<T>>, rules: Rules) {
        // What is replaced may have connections to close: it outlives the lock.
        let mut replaced = Vec::new();
        let mut state = self.lock();
        state.rules = rules.bounded();
        let old_place = |member: &Member<T>| {
            let same = |old: &MemberState<T>| {
                old.member.name == member.name && old.member.base_url == member.base_url
            };
            state.members.iter().position(same)
        };
        let shares: Vec<_> = members
            .iter()
            .map(|member| (member.weight, old_place(member)))
            .collect();
        let State {
            first,
            again,
            last_resort,
            ..
        } = &mut *state;
        for index in [first, again, last_resort] {
            index.set_members(shares.iter().copied());
        }
        let old = std::mem::take(&mut state.members).into_iter();
        let mut old: Vec<_> = old.map(Some).collect();
        for (member, (_, place)) in members.into_iter().zip(shares) {
            let kept = place.and_then(|place| old[place].take());
            let kept = match kept {
                Some(mut kept) => {
                    replaced.push(kept.replace(member));
                    kept
                }
                None => {
                    state.count += 1;
                    MemberState::new(MemberId(state.count), member)
                }
            };
            state.members.push(kept);
        }
        state.wake_checker = true;
        self.finish(state, Wake::All);
        drop((replaced, old));
    }

    /// Whether a request's model makes a difference now: some endpoint serves certain models only, or has one on cooldown.
    pub fn needs_model(&self, now: Instant) -> bool {
        let state = self.lock();
        let is_kept = |found: &ModelCooldown| found.cooldown.until + MODEL_KEPT > now;
        let differs = |state: &MemberState<T>| {
            state.member.serves.is_some() || state.models.iter().any(is_kept)
        };
        state.members.iter().any(differs)
    }

    /// Puts an endpoint on cooldown for what was learnt after its attempt had ended: that another endpoint answered well what this one
    /// refused. Like [`Penalty::For`], but no further failure; answers the same.
    pub fn cool_down(
        &self,
        id: MemberId,
        now: Instant,
        cause: &'static str,
        length: Duration,
    ) -> Option<Duration> {
        let mut state = self.lock();
        let at = state.find(id, 0)?;
        let cooldown = state.cool_down(at, now, cause, Length::exact(length));
        self.finish(state, Wake::Nobody);
        cooldown
    }

    /// Lets go of the lock, and wakes whom the change may help. Costs no system call where nobody sleeps.
    fn finish(&self, mut state: MutexGuard<State<T>>, wake: Wake) {
        let (sleeping, particular) = (state.sleeping > 0, state.particular > 0);
        state.changes += u64::from(wake != Wake::Nobody);
        let wake_checker = std::mem::take(&mut state.wake_checker);
        state.news_for_checker |= wake_checker;
        drop(state);
        match wake {
            // One who waits for another endpoint would sleep on, and nobody else would wake.
            Wake::One if sleeping && !particular => self.freed.notify_one(),
            Wake::One | Wake::All if sleeping => self.freed.notify_all(),
            _ => {}
        }
        if wake_checker {
            self.checker.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// Where a member is, probably at `place`. `None`: a reload has taken it away.
    fn find(&self, id: MemberId, place: usize) -> Option<usize> {
        match self.members.get(place) {
            Some(state) if state.id == id => Some(place),
            _ => self.members.iter().position(|state| state.id == id),
        }
    }
}

#[cfg(test)]
mod tests;

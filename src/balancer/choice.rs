//! The rules by which an endpoint is chosen.
//!
//! Candidates are enabled, serve the request's model and were not tried in this request. One is *available* that is well (or to be tried),
//! below its `maxConcurrent` and not being checked or tried.
//!
//! 1. The lowest tier that has an available candidate; in it those that are nearly used up after the others.
//! 2. None is available, but one that is well is full: it is waited for.
//! 3. Only endpoints on cooldown are left: the conversation's own or the one that comes back first, once a request. Where all of them are
//!    rate limited and have just said so: none.

use std::time::{Duration, Instant};

use super::State;
use super::member::MemberState;
use super::placed::Place;
use super::search::{Tried, Want};
use super::standing::Standing;

/// Where all are rate limited one of them is asked this often.
const ASKED_AGAIN: Duration = Duration::from_secs(1);

/// What follows for a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Choice {
    Take(usize),
    LastResort(usize),
    /// One that is well is at its `maxConcurrent`; or all that are left are.
    Full,
    /// The verdict about an endpoint that is checked or tried is near.
    Verdict,
    RateLimited(Duration),
    Unserved,
    Exhausted,
}

/// What a look at all endpoints shows.
#[derive(Default)]
struct View {
    some_enabled: bool,
    /// Some endpoint serves the request, tried or not.
    some_serve: bool,
    some_left: bool,
    /// The lowest tier with an available candidate, and whether one of those is not nearly used up.
    tier: Option<u8>,
    some_fresh: bool,
    some_full: bool,
    verdict_is_near: bool,
}

impl<T> State<T> {
    /// Chooses for a request. `is_patient`: it would rather wait for a verdict than be a last resort.
    pub(super) fn choose(
        &mut self,
        now: Instant,
        want: &Want,
        tried: &Tried,
        had_last_resort: bool,
        is_patient: bool,
    ) -> Choice {
        let mut standings = std::mem::take(&mut self.standings);
        let view = self.look(now, want, tried, &mut standings);
        let choice = match view.tier {
            Some(tier) => {
                let takes_part = |at: usize, state: &MemberState<T>| {
                    state.member.tier == tier
                        && matches!(standings[at], Standing::Available | Standing::Nearly)
                };
                let is_fresh = |at: usize| !view.some_fresh || standings[at] == Standing::Available;
                self.take(now, want, tried, takes_part, is_fresh)
            }
            None if !view.some_serve && view.some_enabled => Choice::Unserved,
            None if view.some_full => Choice::Full,
            None if !view.some_left || had_last_resort => Choice::Exhausted,
            None if is_patient && view.verdict_is_near => Choice::Verdict,
            None => self.last_resort(now, want, &standings),
        };
        self.standings = standings;
        choice
    }

    /// When the first endpoint that serves a request may be asked.
    pub(super) fn retry_in(&self, now: Instant, want: &Want) -> Option<Duration> {
        let serving = self.serving(want);
        serving.map(|(_, state)| state.remaining(now, want)).min()
    }

    /// The endpoint that a turn would go to: for those who show it.
    pub(super) fn next(&mut self, now: Instant) -> usize {
        let indexes = [&self.first, &self.again, &self.last_resort].map(Clone::clone);
        let choice = self.choose(now, &Want::default(), &Tried::default(), false, false);
        [self.first, self.again, self.last_resort] = indexes;
        match choice {
            Choice::Take(at) | Choice::LastResort(at) => at,
            // All are full: who will be waited for, the well ones first.
            _ => {
                let want = Want::default();
                let soonest = self
                    .serving(&want)
                    .min_by_key(|(_, state)| state.remaining(now, &want));
                soonest.map_or(0, |(at, _)| at)
            }
        }
    }

    /// Enabled endpoints that serve a request, with their places.
    fn serving(&self, want: &Want) -> impl Iterator<Item = (usize, &MemberState<T>)> {
        let enabled = self.members.iter().enumerate();
        let enabled = enabled.filter(|(_, state)| state.member.enabled);
        enabled
            .take(if want.first_only { 1 } else { usize::MAX })
            .filter(|(_, state)| state.serves(want.model))
    }

    fn look(
        &self,
        now: Instant,
        want: &Want,
        tried: &Tried,
        standings: &mut Vec<Standing>,
    ) -> View {
        standings.clear();
        standings.resize(self.members.len(), Standing::Out);
        let mut view = View {
            some_enabled: self.members.iter().any(|state| state.member.enabled),
            ..View::default()
        };
        for (at, state) in self.serving(want) {
            view.some_serve = true;
            if tried.contains(state.id) {
                continue;
            }
            view.some_left = true;
            let standing = state.standing(now, want.model, self.rules.check);
            standings[at] = standing;
            match standing {
                Standing::Available | Standing::Nearly => {
                    let tier = state.member.tier;
                    if view.tier.is_none_or(|lowest| tier < lowest) {
                        (view.tier, view.some_fresh) = (Some(tier), false);
                    }
                    if view.tier == Some(tier) {
                        view.some_fresh |= standing == Standing::Available;
                    }
                }
                Standing::Full => view.some_full = true,
                Standing::Unwell { .. } => {
                    view.verdict_is_near |=
                        state.verdict_is_near(now, want.model, self.rules.check);
                }
                Standing::Out => {}
            }
        }
        view
    }

    /// Rule 1: one of those that take part.
    fn take(
        &mut self,
        now: Instant,
        want: &Want,
        tried: &Tried,
        takes_part: impl Fn(usize, &MemberState<T>) -> bool,
        is_fresh: impl Fn(usize) -> bool,
    ) -> Choice {
        let found = match want.conversation {
            _ if want.first_only => self.members.iter().position(|state| state.member.enabled),
            Some(conversation) => self.of_conversation(now, conversation, takes_part, is_fresh),
            None => {
                let index = if tried.len() == 0 {
                    &mut self.first
                } else {
                    &mut self.again
                };
                index.take(|at| is_fresh(at) && takes_part(at, &self.members[at]))
            }
        };
        found.map_or(Choice::Exhausted, Choice::Take)
    }

    /// The conversation's own among those that take part. It takes no turn. An endpoint that is nearly used up keeps those conversations that
    /// it has, and gets no new ones; one that went elsewhere for that stays there.
    fn of_conversation(
        &mut self,
        now: Instant,
        conversation: u64,
        takes_part: impl Fn(usize, &MemberState<T>) -> bool,
        is_fresh: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        let members = || self.members.iter().enumerate();
        let best = |is_wanted: &dyn Fn(usize) -> bool| {
            let draws = members()
                .filter(|&(at, state)| takes_part(at, state) && is_wanted(at))
                .map(|(at, state)| (at, state.draw(conversation, now)));
            draws.max_by(|(_, a), (_, b)| a.total_cmp(b))
        };
        let (home, _) = best(&|_| true)?;
        let place = self.placed.find(conversation, now);
        let stays = place.filter(|place| place.displaced || !is_fresh(home));
        let stays = stays.and_then(|place| {
            let (at, state) = members().find(|(_, state)| state.id == place.member)?;
            takes_part(at, state).then_some(at)
        });
        let at = match stays {
            Some(at) => at,
            None if is_fresh(home) => home,
            None => best(&is_fresh).map_or(home, |(at, _)| at),
        };
        let place = Place {
            member: self.members[at].id,
            displaced: at != home,
        };
        self.placed.note(conversation, now, place);
        Some(at)
    }

    /// Rule 3. The real answer of a real endpoint is worth more than none, but not where its answer is known. One that failed as a last
    /// resort comes after those that have not: else the request of everybody goes to the same one in vain while others would answer.
    fn last_resort(&mut self, now: Instant, want: &Want, standings: &[Standing]) -> Choice {
        let is_left = |at: usize| standings[at] != Standing::Out;
        let left = || {
            let members = self.members.iter().enumerate();
            members.filter(|&(at, _)| is_left(at))
        };
        let is_limited = |(_, state): (usize, &MemberState<T>)| state.is_rate_limited(now, want);
        let was_asked = |(_, state): (usize, &MemberState<T>)| {
            let ago = |asked| now.saturating_duration_since(asked);
            state.asked.map(ago).is_some_and(|ago| ago < ASKED_AGAIN)
        };
        if left().all(is_limited) && left().any(was_asked) {
            let shortest = left().map(|(_, state)| state.remaining(now, want)).min();
            return Choice::RateLimited(shortest.unwrap_or_default());
        }
        let is_able = |at: usize| standings[at] == (Standing::Unwell { full: false });
        let able = left().filter(|&(at, _)| is_able(at));
        let Some(least) = able.map(|(_, state)| state.asked_in_vain).min() else {
            return Choice::Full;
        };
        let may_go = |at: usize| is_able(at) && self.members[at].asked_in_vain == least;
        let own = self.home(want).filter(|&at| may_go(at));
        if let Some(own) = own.filter(|&at| !self.members[at].is_rate_limited(now, want)) {
            return Choice::LastResort(own);
        }
        let able = left().filter(|&(at, _)| may_go(at));
        let Some(soonest) = able.map(|(_, state)| state.remaining(now, want)).min() else {
            return Choice::Full;
        };
        let comes_first =
            |at: usize| may_go(at) && self.members[at].remaining(now, want) == soonest;
        let found = self.last_resort.take(comes_first);
        found.map_or(Choice::Exhausted, Choice::LastResort)
    }

    /// Where a conversation lives while all are well.
    fn home(&self, want: &Want) -> Option<usize> {
        let conversation = want.conversation?;
        let tier = self
            .serving(want)
            .map(|(_, state)| state.member.tier)
            .min()?;
        let draws = self
            .serving(want)
            .filter(|(_, state)| state.member.tier == tier)
            .map(|(at, state)| (at, state.whole_draw(conversation)));
        let best = draws.max_by(|(_, a), (_, b)| a.total_cmp(b));
        best.map(|(at, _)| at)
    }
}

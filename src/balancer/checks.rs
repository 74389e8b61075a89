//! Checks: what a cooldown is over for is asked by us before a client's request is spent on it.
//!
//! Who runs them (a thread of another room) asks [`Balancer::due_checks`], makes each call, and tells how it went; between them it sleeps
//! in [`Balancer::wait_for_checks`]. An endpoint that was rate limited needs no check: it has said itself when to come back.

use std::ops::Deref;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::cooldown::{Phase, Proof};
use super::{Balancer, MemberId, State, Wake};

/// A check to be made. While it is there nobody is sent to its endpoint; dropped without a verdict, it is due again.
pub struct Check<T> {
    balancer: Arc<Balancer<T>>,
    id: MemberId,
    number: u64,
    target: Arc<T>,
}

impl<T> Balancer<T> {
    /// The checks that are due, each once. Empty where [`super::Rules::check`] is off.
    pub fn due_checks(self: &Arc<Self>, now: Instant) -> Vec<Check<T>> {
        let mut state = self.lock();
        let State {
            members,
            count,
            rules,
            ..
        } = &mut *state;
        let mut due = Vec::new();
        for member in members {
            if !member.member.enabled || member.phase(now, rules.check) != Phase::ToCheck {
                continue;
            }
            let Some(cooldown) = &mut member.cooldown else {
                continue;
            };
            *count += 1;
            cooldown.proof = Proof::Checking(*count);
            due.push(Check {
                balancer: self.clone(),
                id: member.id,
                number: *count,
                target: member.member.target.clone(),
            });
        }
        due
    }

    /// How long it is until a check is due. `None`: none is to come, unless an endpoint fails.
    pub fn next_check(&self, now: Instant) -> Option<Duration> {
        let state = self.lock();
        let to_come = state.members.iter().filter_map(|member| {
            let cooldown = member.cooldown.as_ref().filter(|_| member.member.enabled)?;
            let will_be =
                state.rules.check && !cooldown.rate_limited && cooldown.proof == Proof::Missing;
            will_be.then(|| cooldown.until.saturating_duration_since(now))
        });
        to_come.min()
    }

    /// Waits until an endpoint has been put on cooldown, or `limit` is over. What happened
    /// since the last wait counts. For one thread.
    pub fn wait_for_checks(&self, limit: Duration) {
        let state = self.lock();
        let mut state = self
            .checker
            .wait_timeout_while(state, limit, |state| !state.news_for_checker)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        state.news_for_checker = false;
    }
}

impl<T> Check<T> {
    /// The endpoint may be tried: the next request does.
    pub fn passed(self) {
        self.end(|state, at| {
            if let Some(cooldown) = &mut state.members[at].cooldown {
                cooldown.proof = Proof::Checked;
            }
        });
    }

    /// The endpoint goes back on cooldown, for longer: so long. `None` where the check has been overtaken.
    ///
    /// The cause stays what put it there: that a check failed as well tells an operator less.
    pub fn failed(self, now: Instant) -> Option<Duration> {
        self.end(|state, place| {
            let cause = state.members[place].cooldown.as_ref()?.cause;
            state.cool_down_longer(place, now, cause)
        })?
    }

    /// The first verdict counts. It counts for nothing where the endpoint was put on cooldown anew, or is gone.
    fn end<R>(&self, verdict: impl FnOnce(&mut State<T>, usize) -> R) -> Option<R> {
        let mut state = self.balancer.lock();
        let at = state.find(self.id, 0)?;
        let checking = Proof::Checking(self.number);
        match &mut state.members[at].cooldown {
            Some(cooldown) if cooldown.proof == checking => cooldown.proof = Proof::Missing,
            _ => return None,
        }
        let told = verdict(&mut state, at);
        self.balancer.finish(state, Wake::All);
        Some(told)
    }
}

impl<T> Deref for Check<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.target
    }
}

impl<T> Drop for Check<T> {
    fn drop(&mut self) {
        self.end(|_, _| ());
    }
}

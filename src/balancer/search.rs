//! One request's way through the endpoints.

use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use super::choice::Choice;
use super::cooldown::Proof;
use super::{Balancer, Lease, MemberId, State};

/// What a request wants of its endpoint.
#[derive(Clone, Copy, Debug, Default)]
pub struct Want<'a> {
    /// Its conversation's name, as [`super::hash`] gives it: such a request goes to the conversation's own endpoint while that is
    /// available. `None`: it takes turns.
    pub conversation: Option<u64>,
    /// The model that it names. `None`: every endpoint may serve it.
    pub model: Option<&'a str>,
    /// The first enabled endpoint and no other: what it is about lives in that account.
    pub first_only: bool,
}

/// What there is for a request.
pub enum Pick<T> {
    Go(Lease<T>),
    /// An endpoint that is well is at its `maxConcurrent`, or the verdict about one is near: see [`Search::wait`].
    Wait,
    /// As `Wait`, but too many wait already.
    TooManyWait,
    /// All that are left are rate limited, and have just said so. Nobody is asked; the first of them may be asked again in this time.
    RateLimited {
        retry_in: Duration,
    },
    /// No enabled endpoint serves the model.
    Unserved,
    /// None is left that may be asked.
    Exhausted,
}

/// One request's search for an endpoint. It never gives the same one twice.
pub struct Search<'a, T> {
    balancer: Arc<Balancer<T>>,
    want: Want<'a>,
    tried: Tried,
    /// A last resort is given once.
    had_last_resort: bool,
    /// Since when it has been waiting for a verdict instead of taking a last resort.
    patient_since: Option<Instant>,
    /// It is one of those that wait. `is_particular`: as it was counted.
    is_waiting: bool,
    is_particular: bool,
    /// [`State::changes`] at the last pick.
    seen: u64,
}

impl<T> Balancer<T> {
    /// Begins a request's search.
    pub fn search<'a>(self: &Arc<Self>, want: Want<'a>) -> Search<'a, T> {
        Search {
            balancer: self.clone(),
            want,
            tried: Tried::default(),
            had_last_resort: false,
            patient_since: None,
            is_waiting: false,
            is_particular: false,
            seen: 0,
        }
    }
}

impl<'a, T> Search<'a, T> {
    /// The next endpoint for the request.
    pub fn pick(&mut self, now: Instant) -> Pick<T> {
        let balancer = self.balancer.clone();
        let mut state = balancer.lock();
        self.seen = state.changes;
        state.rise(now);
        let patience = state.rules.patience;
        let is_patient = self
            .patient_since
            .map_or(Duration::ZERO, |since| now.saturating_duration_since(since))
            < patience;
        let mut choice = state.choose(
            now,
            &self.want,
            &self.tried,
            self.had_last_resort,
            is_patient,
        );
        if matches!(choice, Choice::Verdict) {
            if self.may_wait(&mut state) {
                self.patient_since.get_or_insert(now);
                return Pick::Wait;
            }
            // Too many wait already to be patient.
            choice = state.choose(now, &self.want, &self.tried, self.had_last_resort, false);
        }
        if matches!(choice, Choice::Full) {
            return if self.may_wait(&mut state) {
                Pick::Wait
            } else {
                Pick::TooManyWait
            };
        }
        self.stop_waiting(&mut state);
        match choice {
            Choice::Take(at) => Pick::Go(self.lease(now, &mut state, at, false)),
            Choice::LastResort(at) => Pick::Go(self.lease(now, &mut state, at, true)),
            Choice::RateLimited(retry_in) => Pick::RateLimited { retry_in },
            Choice::Unserved => Pick::Unserved,
            Choice::Exhausted | Choice::Full | Choice::Verdict => Pick::Exhausted,
        }
    }

    /// Waits until something may have changed since the last [`Pick::Wait`], `limit` at most. It may return early. A moment at a time is
    /// best: whether the client is still there is for the caller to see.
    pub fn wait(&self, limit: Duration) {
        let mut state = self.balancer.lock();
        state.sleeping += 1;
        let seen = self.seen;
        let mut state = self
            .balancer
            .freed
            .wait_timeout_while(state, limit, |state| state.changes == seen)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        state.sleeping -= 1;
    }

    /// Endpoints that were given so far.
    pub fn attempts(&self) -> usize {
        self.tried.len()
    }

    /// When the first of all endpoints that serve the request may be asked again, tried or not; zero where one may be asked now. `None`:
    /// there is none.
    pub fn retry_in(&self, now: Instant) -> Option<Duration> {
        self.balancer.lock().retry_in(now, &self.want)
    }

    /// The request's model, where it has been read only now.
    pub fn name_model(&mut self, model: &'a str) {
        self.want.model = Some(model);
    }

    fn lease(
        &mut self,
        now: Instant,
        state: &mut State<T>,
        at: usize,
        is_last_resort: bool,
    ) -> Lease<T> {
        state.count += 1;
        let number = state.count;
        let member = &mut state.members[at];
        if !is_last_resort {
            // Its cooldown is over: this request is the one that tries.
            let own = member.cooldown.as_mut();
            let mut models = member.models.iter_mut();
            let model = models.find(|found| Some(found.model.as_str()) == self.want.model);
            let model = model.map(|found| &mut found.cooldown);
            for cooldown in own.into_iter().chain(model) {
                cooldown.proof = Proof::Trying(number);
            }
        }
        member.in_flight += 1;
        member.requests += 1;
        member.asked = member.asked.max(Some(now));
        self.tried.push(member.id);
        self.had_last_resort |= is_last_resort;
        self.patient_since = None;
        Lease {
            balancer: self.balancer.clone(),
            id: member.id,
            place: at,
            target: member.member.target.clone(),
            number,
            is_last_resort,
            heard: None,
        }
    }

    /// Counts the request among those that wait, unless there are too many.
    fn may_wait(&mut self, state: &mut State<T>) -> bool {
        if !self.is_waiting && state.waiting < state.rules.max_waiting {
            let want = &self.want;
            self.is_waiting = true;
            self.is_particular = want.model.is_some() || want.first_only || self.tried.len() > 0;
            state.waiting += 1;
            state.particular += usize::from(self.is_particular);
        }
        self.is_waiting
    }

    fn stop_waiting(&mut self, state: &mut State<T>) {
        if std::mem::take(&mut self.is_waiting) {
            state.waiting -= 1;
            state.particular -= usize::from(self.is_particular);
        }
    }
}

impl<T> Drop for Search<'_, T> {
    fn drop(&mut self) {
        if self.is_waiting {
            let balancer = self.balancer.clone();
            self.stop_waiting(&mut balancer.lock());
        }
    }
}

/// The endpoints that a request has tried: few, so that they need no memory of their own.
#[derive(Default)]
pub(super) struct Tried {
    few: [Option<MemberId>; 4],
    more: Vec<MemberId>,
}

impl Tried {
    pub fn len(&self) -> usize {
        self.few.iter().flatten().count() + self.more.len()
    }

    pub fn push(&mut self, id: MemberId) {
        match self.few.iter_mut().find(|slot| slot.is_none()) {
            Some(slot) => *slot = Some(id),
            None => self.more.push(id),
        }
    }

    pub fn contains(&self, id: MemberId) -> bool {
        self.few.contains(&Some(id)) || self.more.contains(&id)
    }
}

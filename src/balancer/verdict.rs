//! What an attempt's end means for its endpoint.

use std::time::{Duration, Instant, SystemTime};

use super::cooldown::{Cooldown, Length, Proof};
use super::member::{LastError, MemberState};
use super::{State, Wake, slow_start};

/// An endpoint that does not know a model is asked for it again after this time: models are added.
const MODEL_MISSING: Duration = Duration::from_secs(600);

/// A failed attempt.
#[derive(Clone, Copy, Debug)]
pub struct Fault<'a> {
    /// In a word or two, one of a few: for the log and the counters.
    pub cause: &'static str,
    /// For those who read it.
    pub at: SystemTime,
    /// A byte of an answer came, so the endpoint is not silent.
    pub answered: bool,
    pub penalty: Penalty<'a>,
}

/// What a failure costs the endpoint. The attempt that tries an endpoint after its cooldown costs another, longer cooldown in any case,
/// unless the failure is about a model only.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Penalty<'a> {
    /// Nothing.
    None,
    /// A cooldown of [`super::Rules::cooldown`], that grows.
    AtOnce,
    /// The same after [`super::Rules::failures`] of these in a row.
    Counted,
    /// A cooldown of this length.
    For(Duration),
    /// So long everything at this endpoint is refused, and at those of its organisation.
    RateLimited(Duration),
    /// The same for one model.
    ModelRateLimited(&'a str, Duration),
    /// The endpoint does not know this model: ten minutes.
    ModelMissing(&'a str),
}

impl<'a> Penalty<'a> {
    /// The endpoint says when it may be asked again.
    pub fn is_rate_limit(&self) -> bool {
        matches!(
            self,
            Penalty::RateLimited(_) | Penalty::ModelRateLimited(..)
        )
    }

    /// The model that it is about. `None`: all of them.
    pub fn model(&self) -> Option<&'a str> {
        match *self {
            Penalty::ModelRateLimited(model, _) | Penalty::ModelMissing(model) => Some(model),
            _ => None,
        }
    }
}

impl<T> State<T> {
    /// An attempt at the endpoint at this place has failed. Answers the cooldown that it costs.
    pub(super) fn failed(
        &mut self,
        at: usize,
        now: Instant,
        lease: u64,
        fault: &Fault,
    ) -> (Wake, Option<Duration>) {
        let state = &mut self.members[at];
        state.failures += 1;
        state.last_error = Some(LastError {
            at: fault.at,
            cause: fault.cause,
        });
        if fault.answered {
            state.silence.broken(now);
        }
        // An attempt from before the last cooldown only repeats why that came, even where it fails long after its end.
        let is_old = state.is_old(lease);
        if !is_old {
            state.failed_in_row = state.failed_in_row.saturating_add(1);
            let is_counted = fault.penalty == Penalty::Counted;
            state.counted_in_row = state.counted_in_row.saturating_add(is_counted.into());
        }
        let was_trying = state.stop_trying(lease);
        let cooldown = self.penalise(at, now, is_old, was_trying, fault);
        // Those who wait for a verdict have it; those who wait for this endpoint or model look for another one.
        let wake = match (was_trying, cooldown) {
            (None, None) => Wake::Nobody,
            _ => Wake::All,
        };
        (wake, cooldown)
    }

    /// The penalty for a failure.
    fn penalise(
        &mut self,
        at: usize,
        now: Instant,
        is_old: bool,
        was_trying: Option<Trial>,
        fault: &Fault,
    ) -> Option<Duration> {
        let cause = fault.cause;
        let is_enough = self.members[at].counted_in_row >= self.rules.failures;
        let length = match fault.penalty {
            Penalty::ModelRateLimited(model, length) => {
                return self.model_limited(at, now, model, cause, length);
            }
            Penalty::ModelMissing(model) => {
                return self.cool_model(at, now, model, cause, MODEL_MISSING, false);
            }
            Penalty::RateLimited(length) => return self.limited(at, now, cause, length),
            Penalty::For(length) if was_trying.is_none() => Length::exact(length),
            Penalty::For(length) => Length::growing(length),
            Penalty::AtOnce | Penalty::Counted if is_old => return None,
            Penalty::AtOnce => Length::growing(self.rules.cooldown),
            Penalty::Counted if is_enough => Length::growing(self.rules.cooldown),
            Penalty::Counted | Penalty::None => match was_trying? {
                Trial::Endpoint => Length::growing(self.base_of(at)),
                Trial::Model(place) => return self.cool_model_again(at, now, place, cause),
            },
        };
        self.cool_down(at, now, cause, length)
    }

    /// The attempt of that number shows that the endpoint is well again, if it is news at all: it must have begun after the last failure
    /// that is known, and a cooldown that is not over is cut by nobody.
    /// Answers whether the endpoint was not well before.
    pub(super) fn answered(&mut self, at: usize, now: Instant, lease: u64) -> (Wake, bool) {
        let state = &mut self.members[at];
        state.silence.broken(now);
        let is_proof = |cooldown: &Cooldown| cooldown.until <= now && cooldown.number < lease;
        let mut wake = Wake::Nobody;
        let trying = Proof::Trying(lease);
        let models = state.models.len();
        state.models.retain(|found| found.cooldown.proof != trying);
        if state.models.len() < models {
            wake = Wake::All;
        }
        let over = state.cooldown.take_if(|cooldown| is_proof(cooldown));
        let is_back = over.is_some();
        if let Some(over) = over {
            wake = Wake::All;
            state.last_cooldown = over.number;
            if over.until.saturating_duration_since(over.since) >= slow_start::LONG {
                state.rising = Some(now);
                self.some_rise = true;
            }
        }
        (wake, is_back)
    }

    /// A good, whole answer. One to an attempt from before the last failure changes nothing in how that is judged.
    pub(super) fn succeeded(&mut self, at: usize, now: Instant, lease: u64) -> (Wake, bool) {
        let told = self.answered(at, now, lease);
        let state = &mut self.members[at];
        state.asked_in_vain = 0;
        if !state.is_old(lease) {
            (state.growth, state.failed_in_row, state.counted_in_row) = (0, 0, 0);
        }
        told
    }
}

/// What an attempt was trying.
#[derive(Clone, Copy)]
pub(super) enum Trial {
    Endpoint,
    /// The model at that place in the list.
    Model(usize),
}

impl<T> MemberState<T> {
    /// Whether the attempt of that number began before the last cooldown did, be that over or not.
    fn is_old(&self, lease: u64) -> bool {
        let cooldown = self.cooldown.as_ref();
        lease < cooldown.map_or(self.last_cooldown, |cooldown| cooldown.number)
    }

    /// The attempt of that number finds out nothing more: another one may try. Answers what it was trying.
    pub fn stop_trying(&mut self, lease: u64) -> Option<Trial> {
        let trying = Proof::Trying(lease);
        let mut tried = None;
        for (place, found) in self.models.iter_mut().enumerate() {
            if found.cooldown.proof == trying {
                found.cooldown.proof = Proof::Checked;
                tried = Some(Trial::Model(place));
            }
        }
        if let Some(cooldown) = &mut self.cooldown
            && cooldown.proof == trying
        {
            cooldown.proof = Proof::Checked;
            tried = Some(Trial::Endpoint);
        }
        tried
    }
}

//! An endpoint as the balancer sees it, and all that is known of its state.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use super::affinity;
use super::cooldown::{Cooldown, ModelCooldown, Phase};
use super::limits::Limits;
use super::silence::Silence;

/// Whether an endpoint serves a model, called by the name that the request gives it. Asked under the balancer's lock: it must be a
/// pure and quick function.
pub type Serves = Arc<dyn Fn(&str) -> bool + Send + Sync>;

/// An endpoint, as far as the balancer must know it; `target` is what a lease gives access to.
pub struct Member<T> {
    pub name: String,
    pub base_url: String,
    /// Changes when the token does, and says nothing else about it: what was held against an old token is not held against a new one.
    pub token_mark: u64,
    /// 1 to 100.
    pub weight: u32,
    /// Requests at the same time. `None`: no limit.
    pub max_concurrent: Option<u32>,
    /// Where false it gets nothing, and keeps its counters.
    pub enabled: bool,
    /// A higher tier is used while no endpoint of a lower one is available.
    pub tier: u8,
    /// The models that it serves. `None`: all. Requests that name no model are served by everybody.
    pub serves: Option<Serves>,
    pub target: Arc<T>,
}

/// Names a member for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemberId(pub(super) u64);

/// How the balancer judges, from the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Rules {
    /// So many failures in a row ([`super::Penalty::Counted`]) put an endpoint on cooldown.
    pub failures: u32,
    /// First cooldown where the endpoint does not say how long. Zero: none.
    pub cooldown: Duration,
    /// Longest cooldown, whatever its cause.
    pub max_cooldown: Duration,
    /// Whether an endpoint is checked by us when its cooldown is over.
    pub check: bool,
    /// Requests that may wait at the same time.
    pub max_waiting: usize,
    /// How long a request that would be a last resort waits for the verdict about an endpoint that is just being checked or tried;
    /// no longer than a request may wait at all.
    pub patience: Duration,
}

/// A member and its state.
pub(super) struct MemberState<T> {
    pub id: MemberId,
    pub member: Member<T>,
    /// See [`affinity::draw`].
    pub name_hash: u64,
    /// `None`: nothing is known against it.
    pub cooldown: Option<Cooldown>,
    /// Models that are on cooldown at this endpoint only.
    pub models: Vec<ModelCooldown>,
    /// Cooldowns since the last good answer, but for rate limits.
    pub growth: u32,
    /// Failures since the last good answer: all of them, and those that are counted against [`Rules::failures`].
    pub failed_in_row: u32,
    pub counted_in_row: u32,
    /// Failures as a last resort since the last good answer, but for rate limits, which say when it may be asked.
    pub asked_in_vain: u32,
    pub silence: Silence,
    pub limits: Limits,
    /// The number of the last cooldown that the endpoint was seen to come back from.
    pub last_cooldown: u64,
    /// Since when its weight has been growing again.
    pub rising: Option<Instant>,
    /// When a request was last sent there.
    pub asked: Option<Instant>,
    pub in_flight: u32,
    pub requests: u64,
    pub failures: u64,
    pub last_error: Option<LastError>,
}

/// The last failure of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LastError {
    pub at: SystemTime,
    pub cause: &'static str,
}

impl<T> MemberState<T> {
    pub fn new(id: MemberId, member: Member<T>) -> MemberState<T> {
        MemberState {
            id,
            name_hash: affinity::hash(&member.name),
            member,
            cooldown: None,
            models: Vec::new(),
            growth: 0,
            failed_in_row: 0,
            counted_in_row: 0,
            asked_in_vain: 0,
            silence: Silence::default(),
            limits: Limits::default(),
            last_cooldown: 0,
            rising: None,
            asked: None,
            in_flight: 0,
            requests: 0,
            failures: 0,
            last_error: None,
        }
    }

    /// Another configuration of the same endpoint. With a new token it begins anew, but for its counters. Gives back the old one.
    pub fn replace(&mut self, member: Member<T>) -> Member<T> {
        if member.token_mark != self.member.token_mark {
            self.cooldown = None;
            self.models.clear();
            (self.growth, self.failed_in_row, self.counted_in_row) = (0, 0, 0);
            self.asked_in_vain = 0;
            self.silence = Silence::default();
            self.limits = Limits::default();
        }
        std::mem::replace(&mut self.member, member)
    }

    pub fn is_full(&self) -> bool {
        self.member
            .max_concurrent
            .is_some_and(|most| self.in_flight >= most)
    }

    pub fn serves(&self, model: Option<&str>) -> bool {
        match (&self.member.serves, model) {
            (Some(serves), Some(model)) => serves(model),
            _ => true,
        }
    }

    /// The cooldown of one model at this endpoint.
    pub fn model_cooldown(&self, model: Option<&str>) -> Option<&Cooldown> {
        let model = model?;
        let found = self.models.iter().find(|found| found.model == model);
        found.map(|found| &found.cooldown)
    }

    /// Where the endpoint's own cooldown stands; a model's is told by [`MemberState::model_cooldown`].
    pub fn phase(&self, now: Instant, check: bool) -> Phase {
        self.cooldown
            .as_ref()
            .map_or(Phase::Well, |cooldown| cooldown.phase(now, check))
    }
}

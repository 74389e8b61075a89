//! Cooldowns: how long an endpoint is not asked, and how it comes back.
//!
//! A cooldown has an end and no alarm: `until` is compared with `now` when somebody asks. When it is over the endpoint is not well yet:
//! it is checked first (see [`super::checks`]), then one request tries it, and only when that one's answer has begun is it forgotten.

use std::time::{Duration, Instant};

use super::State;
use super::affinity::mix;
use super::member::Rules;

/// Cooldowns that double stop growing here, unless the first one was longer already.
const LONGEST_GROWN: Duration = Duration::from_secs(300);
/// The longest time for which a model's cooldown is kept after its end, while no request tries it.
pub(super) const MODEL_KEPT: Duration = Duration::from_secs(600);

/// Why and until when something is not asked.
#[derive(Clone, Debug)]
pub(super) struct Cooldown {
    /// Numbers leases and cooldowns in one row: an attempt from before a cooldown knows nothing about it.
    pub number: u64,
    /// The beginning of the first of the cooldowns that followed one another.
    pub since: Instant,
    /// In the past: it is over, and nobody has seen the endpoint well yet.
    pub until: Instant,
    pub cause: &'static str,
    pub rate_limited: bool,
    /// What the next one is doubled from.
    base: Duration,
    pub proof: Proof,
}

/// How far we are in finding out whether it is well again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    Missing,
    /// The check of that number is under way.
    Checking(u64),
    Checked,
    /// The attempt of that number tries it.
    Trying(u64),
}

/// One model's cooldown at one endpoint.
#[derive(Clone, Debug)]
pub(super) struct ModelCooldown {
    pub model: String,
    pub cooldown: Cooldown,
}

/// Where an endpoint stands between its failure and being well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Well,
    Cooling,
    /// The cooldown is over, and the check has not begun.
    ToCheck,
    Checking,
    /// The next request tries it.
    ToTry,
    Trying,
}

impl Cooldown {
    pub fn phase(&self, now: Instant, check: bool) -> Phase {
        match self.proof {
            _ if self.until > now => Phase::Cooling,
            Proof::Checking(_) => Phase::Checking,
            Proof::Trying(_) => Phase::Trying,
            Proof::Missing if check && !self.rate_limited => Phase::ToCheck,
            Proof::Missing | Proof::Checked => Phase::ToTry,
        }
    }
}

/// How long a cooldown is, and who says so.
#[derive(Clone, Copy, Debug)]
pub(super) struct Length {
    base: Duration,
    /// It doubles each time it comes again.
    grows: bool,
    rate_limited: bool,
}

impl Length {
    /// Ours, that doubles each time it comes again.
    pub fn growing(base: Duration) -> Length {
        Length {
            base,
            grows: true,
            rate_limited: false,
        }
    }

    /// Just so long.
    pub fn exact(base: Duration) -> Length {
        Length {
            grows: false,
            ..Length::growing(base)
        }
    }

    /// As the endpoint's limits say.
    fn rate_limit(base: Duration) -> Length {
        Length {
            rate_limited: true,
            ..Length::exact(base)
        }
    }
}

impl<T> State<T> {
    /// Puts an endpoint on a cooldown that grows: from the one that is just over, or else from the first.
    pub(super) fn cool_down_longer(
        &mut self,
        at: usize,
        now: Instant,
        cause: &'static str,
    ) -> Option<Duration> {
        let length = Length::growing(self.base_of(at));
        self.cool_down(at, now, cause, length)
    }

    /// What the cooldown that is just over, or the first one, was doubled from.
    pub(super) fn base_of(&self, at: usize) -> Duration {
        let cooldown = self.members[at].cooldown.as_ref();
        let last = cooldown.filter(|cooldown| !cooldown.rate_limited);
        last.map_or(self.rules.cooldown, |cooldown| cooldown.base)
    }

    /// Puts an endpoint on cooldown, and answers for how long; `None`: it is on one that goes on.
    ///
    /// A late, shorter verdict does not cut a longer cooldown. One that only repeats why an endpoint is on cooldown does not lengthen it
    /// either: requests that failed together, or that were last resorts meanwhile, are one outage.
    pub(super) fn cool_down(
        &mut self,
        at: usize,
        now: Instant,
        cause: &'static str,
        mut length: Length,
    ) -> Option<Duration> {
        length.base = length.base.min(self.rules.max_cooldown);
        let state = &mut self.members[at];
        let running = state.cooldown.as_ref().filter(|old| old.until > now);
        let is_the_same = |old: &Cooldown| old.cause == cause && old.base == length.base;
        if running.is_some_and(is_the_same) && !length.rate_limited {
            return None;
        }
        let times = match length.grows {
            true => state.growth.saturating_sub(running.is_some().into()),
            false => 0,
        };
        let time = grown(length.base, times, &mut self.random).min(self.rules.max_cooldown);
        if time.is_zero() || running.is_some_and(|old| old.until >= now + time) {
            return None;
        }
        if running.is_none() && !length.rate_limited {
            state.growth = state.growth.saturating_add(1);
        }
        self.count += 1;
        let cooldown = Cooldown {
            number: self.count,
            // What follows an end that nobody saw well again goes on.
            since: state.cooldown.as_ref().map_or(now, |old| old.since),
            until: now + time,
            cause,
            rate_limited: length.rate_limited,
            base: length.base,
            proof: Proof::Missing,
        };
        state.cooldown = Some(cooldown);
        self.wake_checker = true;
        Some(time)
    }

    /// The endpoint is rate limited, and with it those of its organisation.
    pub(super) fn limited(
        &mut self,
        at: usize,
        now: Instant,
        cause: &'static str,
        base: Duration,
    ) -> Option<Duration> {
        let length = Length::rate_limit(base);
        let mut own = None;
        for other in self.organization(at) {
            let time = self.cool_down(other, now, cause, length);
            own = own.or(time.filter(|_| other == at));
        }
        own
    }

    /// The same for one model.
    pub(super) fn model_limited(
        &mut self,
        at: usize,
        now: Instant,
        model: &str,
        cause: &'static str,
        length: Duration,
    ) -> Option<Duration> {
        let mut own = None;
        for other in self.organization(at) {
            let time = self.cool_model(other, now, model, cause, length, true);
            own = own.or(time.filter(|_| other == at));
        }
        own
    }

    /// The places of those that share the limits of the endpoint at this one; itself among them.
    fn organization(&self, at: usize) -> Vec<usize> {
        let own = self.members[at].limits.organization;
        let shares = |other: &usize| {
            *other == at || own.is_some() && self.members[*other].limits.organization == own
        };
        (0..self.members.len()).filter(shares).collect()
    }

    /// Puts one model at one endpoint on cooldown.
    pub(super) fn cool_model(
        &mut self,
        at: usize,
        now: Instant,
        model: &str,
        cause: &'static str,
        length: Duration,
        rate_limited: bool,
    ) -> Option<Duration> {
        let time = length.min(self.rules.max_cooldown);
        if time.is_zero() || model.len() > MODEL_NAME {
            return None;
        }
        self.count += 1;
        let cooldown = Cooldown {
            number: self.count,
            since: now,
            until: now + time,
            cause,
            rate_limited,
            base: time,
            proof: Proof::Missing,
        };
        let models = &mut self.members[at].models;
        match models.iter_mut().find(|found| found.model == model) {
            Some(found) if found.cooldown.until >= cooldown.until => return None,
            Some(found) => found.cooldown = cooldown,
            None => {
                // Names come from clients: what nobody has asked for since its cooldown ended is forgotten.
                models.retain(|found| found.cooldown.until + MODEL_KEPT > now);
                if models.len() == MODELS {
                    return None;
                }
                let model = model.to_owned();
                models.push(ModelCooldown { model, cooldown });
            }
        }
        Some(time)
    }

    /// The attempt that tried whether a model is there again has failed, for a reason of no length of its own.
    pub(super) fn cool_model_again(
        &mut self,
        at: usize,
        now: Instant,
        place: usize,
        cause: &'static str,
    ) -> Option<Duration> {
        let found = &self.members[at].models[place];
        let length = (found.cooldown.base * 2)
            .clamp(self.rules.cooldown, LONGEST_GROWN.max(self.rules.cooldown));
        let (model, rate_limited) = (found.model.clone(), found.cooldown.rate_limited);
        self.cool_model(at, now, &model, cause, length, rate_limited)
    }
}

/// So many models on cooldown are remembered for one endpoint: more than there are, fewer than a client could make up.
const MODELS: usize = 64;
/// The longest name of a model, in bytes, that is remembered: longer than there are, for clients choose it.
const MODEL_NAME: usize = 200;

/// The length of a cooldown that came so many times before. The first is exact. The others are spread by a fifth, so that many endpoints
/// (or many of us) do not come back at one moment.
fn grown(base: Duration, times: u32, random: &mut u64) -> Duration {
    if times == 0 {
        return base;
    }
    let longest = LONGEST_GROWN.max(base);
    let doubled = base.saturating_mul(1 << times.min(31)).min(longest);
    *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let uniform = (mix(*random) >> 11) as f64 / (1u64 << 53) as f64;
    doubled.mul_f64(0.8 + 0.4 * uniform).min(longest)
}

impl Rules {
    /// Nobody can be put on cooldown for longer than `now` can be added to.
    pub(super) fn bounded(mut self) -> Rules {
        self.max_cooldown = self.max_cooldown.min(Duration::from_secs(365 * 86_400));
        self.failures = self.failures.max(1);
        self
    }
}

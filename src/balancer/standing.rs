//! How an endpoint stands, for one request at one moment.

use std::time::{Duration, Instant};

use super::cooldown::{Cooldown, Phase};
use super::member::MemberState;
use super::search::Want;
use super::{affinity, slow_start};

/// Endpoints that are rate limited for no longer than this are asked rather than not.
const A_MOMENT: Duration = Duration::from_secs(1);

/// How an endpoint stands, for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// No candidate.
    Out,
    Available,
    /// Available, and nearly used up.
    Nearly,
    /// Well, or to be tried, but at its `maxConcurrent`.
    Full,
    /// On cooldown, or being checked or tried; `full` too, or not.
    Unwell {
        full: bool,
    },
}

impl<T> MemberState<T> {
    pub fn standing(&self, now: Instant, model: Option<&str>, check: bool) -> Standing {
        let full = self.is_full();
        let model = self.model_cooldown(model);
        let model = model.map_or(Phase::Well, |cooldown| cooldown.phase(now, false));
        match (self.phase(now, check), model) {
            (Phase::Well | Phase::ToTry, Phase::Well | Phase::ToTry) => {
                if full {
                    Standing::Full
                } else if self.limits.is_nearly_used_up(now) {
                    Standing::Nearly
                } else {
                    Standing::Available
                }
            }
            _ => Standing::Unwell { full },
        }
    }

    /// It is just being checked, is to be, or is being tried, and nothing else stands in the way.
    pub fn verdict_is_near(&self, now: Instant, model: Option<&str>, check: bool) -> bool {
        let model = self.model_cooldown(model);
        let phases = [
            self.phase(now, check),
            model.map_or(Phase::Well, |cooldown| cooldown.phase(now, false)),
        ];
        let is_near =
            |phase: &Phase| matches!(phase, Phase::ToCheck | Phase::Checking | Phase::Trying);
        !phases.contains(&Phase::Cooling) && phases.iter().any(is_near)
    }

    /// What keeps a request from the endpoint: its own cooldown, and its model's.
    fn cooldowns(&self, now: Instant, want: &Want) -> impl Iterator<Item = &Cooldown> {
        let all = self.cooldown.iter().chain(self.model_cooldown(want.model));
        all.filter(move |cooldown| cooldown.until > now)
    }

    /// How long it is on cooldown for this request.
    pub fn remaining(&self, now: Instant, want: &Want) -> Duration {
        let ends = self.cooldowns(now, want).map(|cooldown| cooldown.until);
        ends.max()
            .map_or(Duration::ZERO, |until| until.saturating_duration_since(now))
    }

    pub fn is_rate_limited(&self, now: Instant, want: &Want) -> bool {
        self.cooldowns(now, want)
            .any(|cooldown| cooldown.rate_limited && cooldown.until > now + A_MOMENT)
    }

    pub fn whole_draw(&self, conversation: u64) -> f64 {
        affinity::draw(conversation, self.name_hash, self.member.weight)
    }

    pub fn draw(&self, conversation: u64, now: Instant) -> f64 {
        self.whole_draw(conversation) * slow_start::share(self.rising, now)
    }
}

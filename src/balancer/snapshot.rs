//! A copy of every endpoint's state, for those who show it.

use std::time::{Duration, Instant};

use super::cooldown::Phase;
use super::member::{LastError, MemberState};
use super::{Balancer, slow_start};

/// So many attempts in a row, all failed, make an endpoint `failing` that is not on cooldown.
const FAILING: u32 = 5;

/// How the endpoints stand at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub endpoints: Vec<EndpointState>,
    /// The one that comes next, counted from 0.
    pub next: usize,
    /// No enabled endpoint is well (`up` or `full`), and some enabled one is not.
    pub none_well: bool,
    pub some_unwell: bool,
}

#[derive(Clone, Debug, Default)]
pub struct EndpointState {
    pub name: String,
    pub base_url: String,
    pub tier: u8,
    pub enabled: bool,
    pub weight: u32,
    /// The part of its weight that counts now: less than 1 for a minute after a long cooldown.
    pub share: f64,
    /// `up`, `resting`, `full` or `failing`. It is `resting` too while it is checked, with no cooldown left.
    pub state: &'static str,
    /// What is left of its cooldown.
    pub cooldown: Duration,
    /// Why it is on cooldown.
    pub cause: Option<&'static str>,
    /// Since when it has not been well.
    pub since: Option<Instant>,
    /// Cooldowns since the last good answer, but for rate limits: each doubles the next one.
    pub growth: u32,
    /// In how long it is checked; zero while it is. `None`: no check is to come.
    pub next_check: Option<Duration>,
    /// Models on cooldown at this endpoint only.
    pub models: Vec<ModelState>,
    pub in_flight: u32,
    /// At the most. `None`: no limit.
    pub most: Option<u32>,
    /// Attempts, and those of them that failed, since the start.
    pub requests: u64,
    pub failures: u64,
    pub last_error: Option<LastError>,
    /// Rate-limit windows that are known of.
    pub limits: Vec<LimitState>,
}

#[derive(Clone, Debug)]
pub struct ModelState {
    pub model: String,
    /// What is left of its cooldown.
    pub cooldown: Duration,
    pub cause: &'static str,
}

#[derive(Clone, Debug)]
pub struct LimitState {
    pub name: String,
    /// The used part: 0 to 1, and above.
    pub used: f64,
    pub warned: bool,
    pub reset_in: Option<Duration>,
}

impl<T> Balancer<T> {
    /// A copy of every endpoint's state.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let mut state = self.lock();
        let next = state.next(now);
        let check = state.rules.check;
        let members = state.members.iter();
        let endpoints: Vec<_> = members
            .map(|member| EndpointState::of(member, now, check))
            .collect();
        drop(state);
        let enabled = || endpoints.iter().filter(|endpoint| endpoint.enabled);
        let (none_well, some_unwell) = (
            !enabled().any(EndpointState::is_well),
            !enabled().all(EndpointState::is_well),
        );
        Snapshot {
            endpoints,
            next,
            none_well,
            some_unwell,
        }
    }
}

impl EndpointState {
    pub fn is_well(&self) -> bool {
        matches!(self.state, "up" | "full")
    }

    fn of<T>(state: &MemberState<T>, now: Instant, check: bool) -> EndpointState {
        let phase = state.phase(now, check);
        let left = |until: Instant| until.saturating_duration_since(now);
        let is_out = matches!(phase, Phase::Cooling | Phase::ToCheck | Phase::Checking);
        let cooldown = state.cooldown.as_ref();
        let will_be_checked =
            check && is_out && cooldown.is_some_and(|cooldown| !cooldown.rate_limited);
        let models = state
            .models
            .iter()
            .filter(|found| found.cooldown.until > now);
        let limits = state.limits.windows(now);
        EndpointState {
            name: state.member.name.clone(),
            base_url: state.member.base_url.clone(),
            tier: state.member.tier,
            enabled: state.member.enabled,
            weight: state.member.weight,
            share: slow_start::share(state.rising, now),
            state: match phase {
                _ if is_out => "resting",
                _ if state.failed_in_row >= FAILING => "failing",
                _ if state.is_full() => "full",
                _ => "up",
            },
            cooldown: cooldown.map_or(Duration::ZERO, |cooldown| left(cooldown.until)),
            cause: cooldown.filter(|_| is_out).map(|cooldown| cooldown.cause),
            since: cooldown.map(|cooldown| cooldown.since),
            growth: state.growth,
            next_check: cooldown
                .filter(|_| will_be_checked)
                .map(|cooldown| left(cooldown.until)),
            models: models
                .map(|found| ModelState {
                    model: found.model.clone(),
                    cooldown: left(found.cooldown.until),
                    cause: found.cooldown.cause,
                })
                .collect(),
            in_flight: state.in_flight,
            most: state.member.max_concurrent,
            requests: state.requests,
            failures: state.failures,
            last_error: state.last_error,
            limits: limits
                .map(|window| LimitState {
                    name: window.name.clone(),
                    used: window.used,
                    warned: window.warned,
                    reset_in: window.reset.map(left),
                })
                .collect(),
        }
    }
}

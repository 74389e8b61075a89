//! How an endpoint stands, as `/health` and the page say it.

use std::time::{Duration, Instant};

use serde::Serialize;

use super::overview::rfc3339;
use crate::balancer::{self, EndpointState, LimitState, ModelState};

/// An endpoint in the contract's `/health`, in its order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointHealth<'a> {
    index: usize,
    name: &'a str,
    #[serde(rename = "baseURL")]
    base_url: &'a str,
    /// `Config::load` takes none without one.
    has_token: bool,
    tier: u8,
    /// Told only where it gets nothing, as the configuration says.
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    state: &'static str,
    resting_seconds: u64,
    in_flight: u32,
    requests: u64,
    failures: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<LastError>,
}

#[derive(Serialize)]
struct LastError {
    at: String,
    cause: &'static str,
}

impl EndpointHealth<'_> {
    pub fn of(index: usize, endpoint: &EndpointState) -> EndpointHealth<'_> {
        EndpointHealth {
            index,
            name: &endpoint.name,
            base_url: &endpoint.base_url,
            has_token: true,
            tier: endpoint.tier,
            enabled: (!endpoint.enabled).then_some(false),
            state: endpoint.state,
            resting_seconds: whole_seconds(endpoint.cooldown),
            in_flight: endpoint.in_flight,
            requests: endpoint.requests,
            failures: endpoint.failures,
            last_error: endpoint.last_error.map(LastError::of),
        }
    }
}

impl LastError {
    fn of(error: balancer::LastError) -> LastError {
        LastError {
            at: rfc3339(error.at),
            cause: error.cause,
        }
    }
}

/// What the page shows beyond that.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Standing<'a> {
    weight: u32,
    /// The part of the weight that counts now: less than 1 for a while after a long cooldown.
    share: f64,
    max_concurrent: Option<u32>,
    /// Why it is on cooldown.
    cause: Option<&'a str>,
    /// For how long it has not been well.
    since_seconds: Option<u64>,
    /// Cooldowns in a row, each longer than the one before.
    growth: u32,
    /// In how long it is checked; 0 while it is. `null`: no check is to come.
    next_check_seconds: Option<u64>,
    models: Vec<Model<'a>>,
    limits: Vec<Limit<'a>>,
}

/// A model on cooldown at this endpoint only.
#[derive(Serialize)]
struct Model<'a> {
    model: &'a str,
    seconds: u64,
    cause: &'static str,
}

/// A rate-limit window, as the endpoint's answers told of it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Limit<'a> {
    name: &'a str,
    /// The used part: 0 to 1, and above.
    used: f64,
    warned: bool,
    reset_seconds: Option<u64>,
}

impl Standing<'_> {
    pub fn of(now: Instant, endpoint: &EndpointState) -> Standing<'_> {
        let since = |moment: Instant| now.saturating_duration_since(moment).as_secs();
        Standing {
            weight: endpoint.weight,
            share: endpoint.share,
            max_concurrent: endpoint.most,
            cause: endpoint.cause,
            since_seconds: endpoint.since.map(since),
            growth: endpoint.growth,
            next_check_seconds: endpoint.next_check.map(whole_seconds),
            models: endpoint.models.iter().map(Model::of).collect(),
            limits: endpoint.limits.iter().map(Limit::of).collect(),
        }
    }
}

impl Model<'_> {
    fn of(model: &ModelState) -> Model<'_> {
        Model {
            model: &model.model,
            seconds: whole_seconds(model.cooldown),
            cause: model.cause,
        }
    }
}

impl Limit<'_> {
    fn of(limit: &LimitState) -> Limit<'_> {
        Limit {
            name: &limit.name,
            used: (limit.used * 1e4).round() / 1e4,
            warned: limit.warned,
            reset_seconds: limit.reset_in.map(whole_seconds),
        }
    }
}

/// Rounded up: one on cooldown never shows 0.
fn whole_seconds(time: Duration) -> u64 {
    time.as_secs() + u64::from(time.subsec_nanos() > 0)
}

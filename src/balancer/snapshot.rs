//! A copy of every endpoint's state, for those who show it.

use std::time::{Duration, Instant};

use super::Place;

/// How the endpoints stand at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub endpoints: Vec<EndpointState>,
    /// The one that comes next, counted from 0.
    pub next: usize,
    pub all_rest: bool,
}

#[derive(Clone, Debug)]
pub struct EndpointState {
    pub name: String,
    pub base_url: String,
    /// `up`, `resting` or `full`.
    pub state: &'static str,
    pub resting: Duration,
    /// Why it rests.
    pub cause: Option<&'static str>,
    pub in_flight: u32,
    /// Attempts, and those of them that failed, since the start.
    pub requests: u64,
    pub failures: u64,
}

impl EndpointState {
    pub(super) fn of<T>(place: &Place<T>, now: Instant) -> EndpointState {
        EndpointState {
            name: place.seat.name.clone(),
            base_url: place.seat.base_url.clone(),
            state: match place {
                _ if place.rests(now) => "resting",
                _ if place.is_full() => "full",
                _ => "up",
            },
            resting: place
                .until
                .map_or(Duration::ZERO, |until| until.saturating_duration_since(now)),
            cause: place.rests(now).then_some(place.cause),
            in_flight: place.in_flight,
            requests: place.requests,
            failures: place.failures,
        }
    }
}

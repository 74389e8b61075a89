//! An attempt: one request at one endpoint, from the pick to the answer's end.

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::HeaderMap;

use super::failover::Failure;
use crate::api::rate_limits;
use crate::balancer::{self, Fault, Lease, LimitReading, LimitWindow, MemberId, Penalty};
use crate::config::Models;
use crate::telemetry::metrics::{Ended, EndpointMetrics, FailedAttempt};
use crate::upstream::Upstream;

/// An endpoint with its counters: what a lease gives access to.
pub struct Target {
    pub upstream: Upstream,
    pub counters: Arc<EndpointMetrics>,
}

impl Target {
    /// The models that it serves, and what it calls them. `None`: all, by their own names.
    pub fn models(&self) -> Option<&Models> {
        self.upstream.endpoint().models.as_ref()
    }
}

/// An attempt under way. The first that ends it decides; dropped without one, its client has gone.
pub struct Attempt {
    lease: Lease<Target>,
    begun: Instant,
    /// When the answer's head came.
    first_byte: Option<Instant>,
    ended: bool,
}

impl Attempt {
    pub fn new(lease: Lease<Target>) -> Attempt {
        let begun = Instant::now();
        Attempt {
            lease,
            begun,
            first_byte: None,
            ended: false,
        }
    }

    /// The endpoint's name.
    pub fn name(&self) -> &str {
        self.lease.upstream.name()
    }

    pub fn target(&self) -> &Target {
        &self.lease
    }

    /// The endpoint, for [`crate::balancer::Balancer::cool_down`].
    pub fn member(&self) -> MemberId {
        self.lease.id()
    }

    /// The head of an answer has come.
    pub fn heard(&mut self, headers: &HeaderMap) {
        let now = Instant::now();
        self.first_byte = Some(now);
        note_limits(&mut self.lease, now, headers);
    }

    /// The answer is the client's, and begins.
    pub fn answered(&mut self) {
        if self.lease.answered(Instant::now()) {
            self.tell_success(true);
        }
    }

    /// A further piece of the answer has come.
    pub fn goes_on(&mut self) {
        self.lease.heard(Instant::now());
    }

    /// The attempt failed. Puts the endpoint on cooldown where it must, and tells of both.
    /// `goes_on`: the next endpoint gets the request.
    pub fn failed(
        &mut self,
        failure: &Failure,
        ended: Ended,
        goes_on: bool,
        reason: &str,
        request_id: &str,
    ) {
        if self.end(ended, true) {
            return;
        }
        let now = Instant::now();
        let penalty = if failure.only_if_another_answers {
            Penalty::None
        } else {
            failure.penalty
        };
        // What answers is there, even if it cannot serve this request.
        if penalty == Penalty::None && matches!(ended, Ended::Status(_)) {
            self.lease.answered(now);
        }
        let cooldown = self.lease.failed(
            now,
            Fault {
                cause: failure.cause,
                at: SystemTime::now(),
                answered: self.first_byte.is_some(),
                penalty,
            },
        );
        if cooldown.is_some() {
            self.lease.counters.cooled_down(failure.cause);
        }
        let told = FailedAttempt {
            cause: failure.cause,
            look_at: failure.look_at,
            cooldown,
            model: penalty.model(),
            goes_on,
            answer: reason,
            request_id,
        };
        let counters = &self.lease.counters;
        counters.tell_failure(now, SystemTime::now(), &told);
    }

    /// Nothing of the request went out, through no fault of the endpoint's: it is judged by nothing.
    pub fn unsent(&mut self) {
        self.end(Ended::Unsent, false);
    }

    /// The answer has ended as it should.
    pub fn succeeded(&mut self, status: u16) {
        if !self.end(Ended::Status(status), false) && status < 400 {
            let was_out = self.lease.succeeded(Instant::now());
            self.tell_success(was_out);
        }
    }

    /// `was_out`: the endpoint was on cooldown until now.
    fn tell_success(&self, was_out: bool) {
        let (now, time) = (Instant::now(), SystemTime::now());
        self.lease.counters.tell_success(now, time, was_out);
    }

    /// Counts the attempt. True where it had ended already.
    fn end(&mut self, ended: Ended, failed: bool) -> bool {
        if std::mem::replace(&mut self.ended, true) {
            return true;
        }
        let first_byte = self.first_byte.map(|first| first - self.begun);
        let counters = &self.lease.counters;
        counters.ended(Instant::now(), ended, first_byte, failed);
        false
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if self.end(Ended::ClientGone, false) {
            return;
        }
        let now = Instant::now();
        let waited = now - self.begun;
        let is_silent = self
            .lease
            .client_left(now, waited, self.first_byte.is_some());
        if let Some(cooldown) = is_silent {
            let answer = "clients left without a first byte";
            let counters = &self.lease.counters;
            counters.cooled_down("silent");
            counters.tell_cooldown(SystemTime::now(), "silent", cooldown, answer);
            log::warn!(endpoint = self.name(), cause = "silent"; "clients left without a first byte: the endpoint is on cooldown");
        }
    }
}

/// Tells the balancer what an answer's headers say of rate limits.
fn note_limits(lease: &mut Lease<Target>, now: Instant, headers: &HeaderMap) {
    let time = SystemTime::now();
    let reading = rate_limits::Reading::of(headers, time);
    let windows: Vec<_> = reading
        .windows
        .iter()
        .map(|window| LimitWindow {
            name: &window.name,
            used: window.used,
            warned: window.warned,
            reset_in: window.reset_in,
            forget_in: window.forget_in,
        })
        .collect();
    let reading = LimitReading {
        organization: rate_limits::organization(headers).map(balancer::hash),
        windows: &windows,
    };
    lease.note_limits(now, &reading);
}

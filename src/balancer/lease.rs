//! A turn at an endpoint, from the pick to the answer's end.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Instant;

use super::{Balancer, SeatId, Wake};

/// A turn at an endpoint. It counts as in flight until this is dropped.
pub struct Lease<T> {
    pub(super) balancer: Arc<Balancer<T>>,
    pub(super) id: SeatId,
    pub(super) upstream: Arc<T>,
    /// This request is the one that tries whether the endpoint is well again.
    pub(super) probe: Option<u64>,
    /// The endpoint was not known to be well when it was picked, so it is news if it is.
    pub(super) is_in_doubt: bool,
}

impl<T> Lease<T> {
    pub fn id(&self) -> SeatId {
        self.id
    }

    /// The endpoint has answered: if its rest is over and it is being tried, it is up.
    ///
    /// The answer to a last resort says so too. A probe may be a request whose answer takes minutes to begin.
    pub fn answered(&mut self) {
        if !std::mem::take(&mut self.is_in_doubt) {
            return;
        }
        self.balancer
            .update(self.id, |place| match place.probe.take() {
                Some(_) => {
                    place.until = None;
                    Wake::All
                }
                None => Wake::Nobody,
            });
    }

    /// The attempt counts as one of the endpoint's failures.
    pub fn failed(&self) {
        self.balancer.update(self.id, |place| {
            place.failures += 1;
            Wake::Nobody
        });
    }

    /// The endpoint rests. A late, shorter verdict from a slow request does not cut a longer rest short. Whoever is
    /// trying whether the endpoint is well need not find out any more.
    pub fn rest(&self, until: Instant, cause: &'static str) {
        self.balancer.update(self.id, |place| {
            if place.until.is_none_or(|old| old < until) {
                place.until = Some(until);
                place.cause = cause;
            }
            place.probe.take().map_or(Wake::Nobody, |_| Wake::All)
        });
    }
}

impl<T> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.upstream
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        self.balancer.update(self.id, |place| {
            let was_full = place.is_full();
            place.in_flight -= 1;
            if self.probe.is_some() && place.probe == self.probe {
                // It found nothing out, since its client left: the next request is the probe.
                place.probe = None;
                return Wake::All;
            }
            if was_full && !place.is_full() {
                Wake::One
            } else {
                Wake::Nobody
            }
        });
    }
}

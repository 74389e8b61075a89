//! A turn at an endpoint, from the pick to the answer's end.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Balancer, Fault, LimitReading, MemberId, State, Wake};

/// A further byte is told to the balancer once in so much time.
const HEARD_AGAIN: Duration = Duration::from_secs(1);

/// Why an endpoint is on cooldown whose clients left one after the other, without a byte of an answer.
const SILENT: &str = "silent";

/// A turn at an endpoint. It counts as in flight until this is dropped.
///
/// What became of the attempt is told by one of [`Lease::failed`], [`Lease::succeeded`] and [`Lease::client_left`]. Where none is, the
/// endpoint is judged by nothing, and the next request tries it if this one was to.
pub struct Lease<T> {
    pub(super) balancer: Arc<Balancer<T>>,
    pub(super) id: MemberId,
    /// Where the member was at the pick; after a reload it may be elsewhere.
    pub(super) place: usize,
    pub(super) target: Arc<T>,
    /// See [`super::cooldown::Cooldown::number`].
    pub(super) number: u64,
    pub(super) is_last_resort: bool,
    /// When a byte of the answer was last told.
    pub(super) heard: Option<Instant>,
}

impl<T> Lease<T> {
    /// The endpoint, for [`Balancer::cool_down`].
    pub fn id(&self) -> MemberId {
        self.id
    }

    /// The endpoint was on cooldown when it was picked: there was nobody better.
    pub fn is_last_resort(&self) -> bool {
        self.is_last_resort
    }

    /// An answer that is no failure has begun: if the endpoint's cooldown is over, it is up. The answer to a last resort says so too,
    /// where the cooldown has ended meanwhile. Answers whether this was news.
    ///
    /// Where an answer fails the attempt and yet shows that the endpoint is well (a 404 in the API's shape, a 403), call this before `failed`.
    pub fn answered(&mut self, now: Instant) -> bool {
        self.heard = Some(now);
        self.update(|state, at| state.answered(at, now, self.number))
            .unwrap_or(false)
    }

    /// A further piece of the answer has come. Cheap: most calls compare two times and no more.
    pub fn heard(&mut self, now: Instant) {
        let is_news = |last: Instant| now.saturating_duration_since(last) >= HEARD_AGAIN;
        if self.heard.is_none_or(is_news) {
            self.heard = Some(now);
            self.update(|state, at| (Wake::Nobody, state.members[at].silence.broken(now)));
        }
    }

    /// The answer is good, and whole: failures are in a row no more, and cooldowns begin small again. Says what `answered` says, where that
    /// was not called.
    pub fn succeeded(&mut self, now: Instant) -> bool {
        self.update(|state, at| state.succeeded(at, now, self.number))
            .unwrap_or(false)
    }

    /// The attempt counts as one of the endpoint's failures. Answers the cooldown on which it puts the endpoint, or its model: `None` where
    /// it costs none, or one that is there goes on. Rate limits are shared by organisation, so [`Lease::note_limits`] goes first.
    pub fn failed(&mut self, now: Instant, fault: Fault) -> Option<Duration> {
        let is_limit = fault.penalty.is_rate_limit();
        let in_vain = u32::from(self.is_last_resort && !is_limit);
        self.update(|state, at| {
            let member = &mut state.members[at];
            member.asked_in_vain = member.asked_in_vain.saturating_add(in_vain);
            state.failed(at, now, self.number, &fault)
        })?
    }

    /// The client has left, after so long a time. `had_bytes`: a byte of an answer had come.
    ///
    /// It costs nobody anything, but three in a row that waited long for a first byte put the endpoint on cooldown, whose length this
    /// answers then.
    pub fn client_left(
        &mut self,
        now: Instant,
        waited: Duration,
        had_bytes: bool,
    ) -> Option<Duration> {
        if had_bytes {
            self.heard(now);
            return None;
        }
        self.update(|state, at| {
            let is_silent = state.members[at].silence.client_left(now, waited);
            let cooldown = if is_silent {
                state.cool_down_longer(at, now, SILENT)
            } else {
                None
            };
            (Wake::Nobody, cooldown)
        })?
    }

    /// What the answer's headers told of rate limits.
    pub fn note_limits(&mut self, now: Instant, reading: &LimitReading) {
        if reading.organization.is_some() || !reading.windows.is_empty() {
            self.update(|state, at| (Wake::Nobody, state.note_limits(at, now, reading)));
        }
    }

    /// Changes the endpoint's state, if it is still there, and wakes those whom the change may help.
    fn update<R>(&self, change: impl FnOnce(&mut State<T>, usize) -> (Wake, R)) -> Option<R> {
        let mut state = self.balancer.lock();
        let at = state.find(self.id, self.place)?;
        let (wake, told) = change(&mut state, at);
        self.balancer.finish(state, wake);
        Some(told)
    }
}

impl<T> Deref for Lease<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.target
    }
}

impl<T> Drop for Lease<T> {
    fn drop(&mut self) {
        self.update(|state, at| {
            let member = &mut state.members[at];
            let was_full = member.is_full();
            member.in_flight -= 1;
            // It may have found nothing out, since its client left: then the next request tries.
            let wake = match member.stop_trying(self.number) {
                Some(_) => Wake::All,
                None if was_full && !member.is_full() => Wake::One,
                None => Wake::Nobody,
            };
            (wake, ())
        });
    }
}

//! What endpoints tell of their rate limits before they refuse anything.
//!
//! A reading moves new conversations and turns to endpoints that have more left; it never takes an endpoint out. Keys of one organisation
//! share its limits: what one of them is told holds for the others.

use std::time::{Duration, Instant};

use super::State;

/// A window that is used up to here is "nearly used up".
const NEARLY: f64 = 0.95;

/// The rate-limit headers of one answer. All times count from the `now` of the call.
#[derive(Clone, Copy, Debug)]
pub struct LimitReading<'a> {
    /// `anthropic-organization-id`, as [`super::hash`] gives it.
    pub organization: Option<u64>,
    pub windows: &'a [LimitWindow<'a>],
}

/// One of the windows in which an endpoint counts.
#[derive(Clone, Copy, Debug)]
pub struct LimitWindow<'a> {
    /// As in the header's name: `5h`, `tokens`.
    pub name: &'a str,
    /// 0 to 1, and above where more was used than is allowed.
    pub used: f64,
    /// The endpoint warns, or refuses already.
    pub warned: bool,
    /// When the window begins anew, where the endpoint says so.
    pub reset_in: Option<Duration>,
    /// How long this reading is worth anything.
    pub forget_in: Duration,
}

/// A window as it is remembered.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    pub name: String,
    pub used: f64,
    pub warned: bool,
    pub reset: Option<Instant>,
    forget: Instant,
}

/// What one endpoint is known to have left.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub organization: Option<u64>,
    windows: Vec<Known>,
}

impl Limits {
    /// More than 95 % of a window is used, or the endpoint has warned.
    pub fn is_nearly_used_up(&self, now: Instant) -> bool {
        let mut known = self.windows(now);
        known.any(|window| window.warned || window.used > NEARLY)
    }

    /// What is still worth something.
    pub fn windows(&self, now: Instant) -> impl Iterator<Item = &Known> {
        self.windows
            .iter()
            .filter(move |window| window.forget > now)
    }

    /// A later answer says what holds for the windows that it names. Those that are forgotten go, so there are never many.
    fn note(&mut self, now: Instant, windows: &[LimitWindow]) {
        self.windows.retain(|known| known.forget > now);
        for window in windows {
            let forget = now + window.forget_in.min(LONGEST);
            let reset = window.reset_in.map(|reset| now + reset.min(LONGEST));
            match self
                .windows
                .iter_mut()
                .find(|known| known.name == window.name)
            {
                Some(known) => {
                    (known.used, known.warned) = (window.used, window.warned);
                    (known.reset, known.forget) = (reset, forget);
                }
                None => self.windows.push(Known {
                    name: window.name.to_owned(),
                    used: window.used,
                    warned: window.warned,
                    reset,
                    forget,
                }),
            }
        }
    }
}

/// A year: no window is longer, and times that are added to `now` must not overflow, whatever an endpoint says.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

impl<T> State<T> {
    /// Notes what the endpoint at this place was told, for all endpoints of its organisation.
    pub(super) fn note_limits(&mut self, at: usize, now: Instant, reading: &LimitReading) {
        let own = &mut self.members[at].limits;
        if reading.organization.is_some() {
            own.organization = reading.organization;
        }
        let organization = own.organization;
        own.note(now, reading.windows);
        if organization.is_none() || reading.windows.is_empty() {
            return;
        }
        for (other, state) in self.members.iter_mut().enumerate() {
            if other != at && state.limits.organization == organization {
                state.limits.note(now, reading.windows);
            }
        }
    }
}

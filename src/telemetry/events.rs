//! What happened: the last events, for the page.
//!
//! One that comes again and again is one event with a count, or an outage would leave nothing else to see. No I/O and no clock
//! in here: callers pass the time.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

/// So many are kept.
pub const MOST: usize = 50;
/// Of those, so many newest ones may happen again without being a new one ...
const RECENT: usize = 10;
/// ... if it is not longer than this since they began.
const SAME: Duration = Duration::from_secs(600);
/// Characters of a text that are kept.
const MAX_TEXT: usize = 300;

/// What sort of thing happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An attempt failed, and the next endpoint got the request.
    Failover,
    /// An attempt failed, and its request with it.
    Failed,
    /// An endpoint was put on cooldown.
    Cooldown,
    /// An endpoint was checked when its cooldown was over.
    Check,
    /// An endpoint is well again.
    Well,
    /// A changed configuration was put in force.
    Reload,
    /// A changed configuration was not put in force.
    Complaint,
}

impl Kind {
    /// Its name in the page's data.
    pub fn word(self) -> &'static str {
        match self {
            Kind::Failover => "failover",
            Kind::Failed => "failed",
            Kind::Cooldown => "cooldown",
            Kind::Check => "check",
            Kind::Well => "well",
            Kind::Reload => "reload",
            Kind::Complaint => "complaint",
        }
    }
}

/// Something that happened, once or more often.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    pub kind: Kind,
    /// When it happened first, and when last.
    pub first: SystemTime,
    pub last: SystemTime,
    pub count: u64,
    /// The endpoint's name. `None`: it is about none.
    pub endpoint: Option<String>,
    /// The cause in a word or two, or nothing.
    pub cause: &'static str,
    /// What there is to say beyond that, of the last time.
    pub text: String,
}

/// The last [`MOST`] events.
#[derive(Debug, Default)]
pub struct Events(Mutex<VecDeque<Event>>);

impl Events {
    /// Adds an event. One of the same kind, endpoint and cause that happened lately is counted there and becomes the newest.
    pub fn add(
        &self,
        now: SystemTime,
        kind: Kind,
        endpoint: Option<&str>,
        cause: &'static str,
        text: &str,
    ) {
        let text: String = text.chars().take(MAX_TEXT).collect();
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |event: &Event| {
            let age = now.duration_since(event.first).unwrap_or_default();
            let same =
                (event.kind, event.endpoint.as_deref(), event.cause) == (kind, endpoint, cause);
            same && age < SAME
        };
        let known = events.iter().rev().take(RECENT).position(is_same);
        let known = known.map(|from_end| events.len() - 1 - from_end);
        let known = known.and_then(|at| events.remove(at));
        let event = match known {
            Some(event) => Event {
                last: now,
                count: event.count.saturating_add(1),
                text,
                ..event
            },
            None => Event {
                kind,
                first: now,
                last: now,
                count: 1,
                endpoint: endpoint.map(str::to_owned),
                cause,
                text,
            },
        };
        while events.len() >= MOST {
            events.pop_front();
        }
        events.push_back(event);
    }

    /// All of them, the newest first.
    pub fn newest_first(&self) -> Vec<Event> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_on_is_one_event_and_old_ones_go() {
        let events = Events::default();
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let fail = |seconds, endpoint| {
            events.add(
                at(seconds),
                Kind::Failover,
                Some(endpoint),
                "overloaded",
                "529",
            );
        };
        (0..100).for_each(|n| fail(n, if n % 2 == 0 { "one" } else { "two" }));
        let found = events.newest_first();
        let facts = |event: &Event| (event.endpoint.clone(), event.count, event.first, event.last);
        assert_eq!(facts(&found[0]), (Some("two".into()), 50, at(1), at(99)));
        assert_eq!(facts(&found[1]), (Some("one".into()), 50, at(0), at(98)));
        assert_eq!(found.len(), 2);
        fail(700, "one"); // Too long ago to be the same.
        assert_eq!(events.newest_first()[0].count, 1);
        for n in 0..60 {
            events.add(
                at(800),
                Kind::Complaint,
                Some(&n.to_string()),
                "",
                &"é".repeat(500),
            );
        }
        let found = events.newest_first();
        assert_eq!(found.len(), MOST);
        assert!(
            found
                .iter()
                .all(|event| event.kind == Kind::Complaint && event.text.len() == 600)
        );
    }
}

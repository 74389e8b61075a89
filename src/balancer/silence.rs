//! An endpoint that accepts requests and never answers, where clients give up before we do.
//!
//! One client that leaves says nothing about the endpoint. Three in a row that waited long, while not a byte of any answer came, do.

use std::time::{Duration, Instant};

/// A client that waited so long for a first byte was ready to wait.
const LONG: Duration = Duration::from_secs(20);
/// So many clients in a row.
const MANY: u32 = 3;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Silence {
    departures: u32,
    last_byte: Option<Instant>,
}

impl Silence {
    /// A byte of an answer has come, of whatever answer.
    pub fn broken(&mut self, now: Instant) {
        self.departures = 0;
        self.last_byte = self.last_byte.max(Some(now));
    }

    /// A client has left that had `waited` for the first byte of its answer. Answers whether the endpoint is to be taken for dead.
    ///
    /// Clients that leave sooner neither count nor interrupt the row: they tell nothing.
    pub fn client_left(&mut self, now: Instant, waited: Duration) -> bool {
        let was_answering = self
            .last_byte
            .is_some_and(|last| now.saturating_duration_since(last) < waited);
        if waited < LONG || was_answering {
            return false;
        }
        self.departures += 1;
        if self.departures < MANY {
            return false;
        }
        self.departures = 0;
        true
    }
}

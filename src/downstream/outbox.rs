//! Bytes of ours on their way to a client that takes its time: an own answer, a refusal, a word in between.

use std::io::{self, ErrorKind, IoSlice};
use std::sync::Arc;

use super::body_budget::{BodyBudget, Charge};
use super::connection::Connection;
use super::socket;

/// What goes out to one client before anything else of it is read.
pub struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
    then: Then,
    charge: Charge,
}

/// What comes when all has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Then {
    /// What was under way goes on.
    GoOn,
    /// Another request may follow.
    NextRequest,
    /// Nothing follows: the client gets the time to read it.
    Linger,
}

impl Outbox {
    pub fn new(budget: &Arc<BodyBudget>) -> Outbox {
        Outbox {
            bytes: Vec::new(),
            sent: 0,
            then: Then::GoOn,
            charge: budget.charge_for_head(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Bytes that have not gone yet.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.sent
    }

    pub fn post(&mut self, bytes: Vec<u8>, then: Then) {
        self.bytes = bytes;
        self.sent = 0;
        self.then = then;
    }

    /// Sends what goes at once. `None`: some is left, and waits for room.
    ///
    /// # Errors
    /// The connection is dead, or there is no memory for what it does not take.
    pub fn flush(&mut self, connection: &Connection) -> io::Result<Option<Then>> {
        while self.sent < self.bytes.len() {
            match socket::send(
                connection.stream(),
                &[IoSlice::new(&self.bytes[self.sent..])],
            ) {
                Ok(sent) => self.sent += sent,
                Err(err) if err.kind() == ErrorKind::WouldBlock => {
                    // A client that asks and never reads costs memory: it is counted like a body's.
                    if self.charge.grow_to(self.bytes.len()) {
                        return Ok(None);
                    }
                    return Err(ErrorKind::OutOfMemory.into());
                }
                Err(err) => return Err(err),
            }
        }
        self.bytes = Vec::new();
        self.sent = 0;
        self.charge.shrink_to(0);
        Ok(Some(self.then))
    }
}

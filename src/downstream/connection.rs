//! What the listener's thread and a worker share of a client's connection.
//!
//! A connection is the listener's or a worker's, never both's. The worker says "back" and the listener "the client has spoken" under
//! one lock, so that whoever is second sees it: a worker wakes the listener only where the client has said something meanwhile, or
//! where the connection is to be closed. Between two quiet requests nobody is woken.

use std::net::TcpStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::bell::Bell;
use super::socket;

/// One client connection. The socket closes when the last of its owners is done with it.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    /// Never used twice.
    number: u64,
    /// `clientSeconds`: how long the client may leave what we send untaken.
    patience: Duration,
    bell: Arc<Bell>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The client has sent something, or has gone, since its request was handed over.
    has_spoken: bool,
    /// The worker is done.
    back: Option<Back>,
}

/// A connection that a worker has given back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Back {
    pub after: After,
    pub at: Instant,
}

/// What is to become of a connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum After {
    /// Another request may follow.
    Keep,
    Close,
    /// The answer was cut where only a reset can tell the client so.
    Reset,
}

impl Connection {
    pub fn new(stream: TcpStream, number: u64, patience: Duration, bell: Arc<Bell>) -> Connection {
        Connection {
            stream,
            number,
            patience,
            bell,
            state: Mutex::default(),
        }
    }

    /// A worker has answered.
    pub fn finish(&self, after: After) {
        if after == After::Close {
            socket::say_goodbye(&self.stream);
        }
        let mut state = self.lock();
        state.back = Some(Back {
            after,
            at: Instant::now(),
        });
        let is_awaited = state.has_spoken;
        drop(state);
        if is_awaited || after != After::Keep {
            self.bell.ring(|notes| notes.back.push(self.number));
        }
    }

    /// An attempt for this client lacks a descriptor: idle connections are to be closed.
    pub fn ask_for_room(&self) {
        self.bell.ring(|notes| notes.make_room = true);
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    pub(super) fn patience(&self) -> Duration {
        self.patience
    }

    /// The connection goes to a worker. `has_spoken`: bytes of a next request are here, or may be.
    pub(super) fn hand_over(&self, has_spoken: bool) {
        *self.lock() = State {
            has_spoken,
            back: None,
        };
    }

    /// The client has sent something, or has gone. Where a worker still has the connection it will ring.
    pub(super) fn speak(&self) -> Option<Back> {
        let mut state = self.lock();
        state.has_spoken = true;
        state.back.take()
    }

    /// Whether the worker is done.
    pub(super) fn take_back(&self) -> Option<Back> {
        self.lock().back.take()
    }

    /// Since when the connection is back, without taking it.
    pub(super) fn back_since(&self) -> Option<Instant> {
        self.lock().back.map(|back| back.at)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! What the listener's thread and a worker share of a client's connection.
//!
//! A connection is the listener's or a worker's, never both's. The worker says "back" and the listener "the client has spoken" under
//! one lock, so that whoever is second sees it: a worker wakes the listener only where the client has said something meanwhile, or
//! where the connection is to be closed. Between two quiet requests nobody is woken.

use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::bell::Bell;
use super::pace::Pace;
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
    /// How the client takes its answer.
    taking: Pace,
    /// Its answer was ended before its end: the client took too little, or the worker failed.
    is_cut: bool,
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
        let mut state = self.lock();
        let after = if state.is_cut { After::Reset } else { after };
        if after == After::Close {
            socket::say_goodbye(&self.stream);
        }
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

    /// The answer ends in its middle, whatever [`Connection::finish`] is told: a reset says so.
    pub fn break_off(&self) {
        self.lock().is_cut = true;
        socket::reset_on_close(&self.stream);
    }

    /// An attempt for this client lacks a descriptor: idle connections are to be closed.
    pub fn ask_for_room(&self) {
        self.bell.ring(|notes| notes.make_room = true);
    }

    /// The worker waits for the client to take something, which took `moved` bytes since the last wait.
    pub(super) fn wait_for_room(&self, moved: u64) {
        let now = Instant::now();
        let mut state = self.lock();
        state.taking.moved(moved, now);
        state.taking.wait(now);
    }

    /// It waits no longer.
    pub(super) fn has_waited(&self) {
        self.lock().taking.rest(Instant::now());
    }

    /// For how long a worker has waited for a client that takes too little. `None`: it takes enough, or nobody waits for it now.
    pub(super) fn slow_for(&self, now: Instant) -> Option<Duration> {
        self.lock().taking.slow_for(now)
    }

    /// Ends the connection of a client that takes too little. False where no worker waits for it any more. The worker cannot have gone on
    /// meanwhile: it takes the same lock before its next write, and that fails.
    pub(super) fn cut(&self, now: Instant) -> bool {
        let mut state = self.lock();
        if state.is_cut || state.taking.slow_for(now).is_none() {
            return false;
        }
        state.is_cut = true;
        // What the kernel still holds would look like the end of an answer that ends with its connection.
        socket::reset_on_close(&self.stream);
        // An error means that it is closed already.
        let _ = self.stream.shutdown(Shutdown::Both);
        true
    }

    /// It was ended, and its worker may not know yet.
    pub(super) fn is_cut(&self) -> bool {
        self.lock().is_cut
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
            ..State::default()
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

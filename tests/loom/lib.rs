//! Models: what the program's threads share, run by loom through every order in which they could take turns.
//!
//! They are made of the program's own files, which know nothing of it: in this package the name `std` means this very
//! file, so that a `std::sync::Mutex` is loom's. A lost wake-up shows as a deadlock, a count below nothing as an
//! overflow. `LOOM_LOCATION=1` tells where each thread stood.
//!
//! Three structures are here, those where an unlucky order would cost a request or a connection: who of the workers
//! waits, is told or ends; what the listener and a worker tell each other; and the abort of an attempt.
//!
//! Why not ThreadSanitizer: it sees the orders that happen, these are all of them. And it needs a std that was built
//! with it; with the usual one it reports races where there is none (what a `Condvar`'s lock protects, the last
//! owner's drop of an `Arc`).

#![cfg(test)]
// What stands in for std has its functions.
#![allow(clippy::new_without_default)]

extern crate self as std;
extern crate std as real;

#[path = "../../src/upstream/call.rs"]
#[allow(dead_code)]
mod call;
#[path = "../../src/downstream/connection.rs"]
#[allow(dead_code)]
mod connection;
#[path = "../../src/server/crew.rs"]
#[allow(dead_code)]
mod crew;

mod abort_models;
mod connection_models;
mod crew_models;

use real::sync::Arc;
use real::sync::atomic::{AtomicUsize, Ordering};

/// The listener's bell, of which only the strokes are counted.
mod bell {
    use crate::sync::Mutex;

    #[derive(Debug)]
    pub struct Bell(Mutex<usize>);

    #[derive(Default)]
    pub struct Notes {
        pub back: real::vec::Vec<u64>,
        pub make_room: bool,
    }

    impl Bell {
        pub fn new() -> Bell {
            Bell(Mutex::new(0))
        }

        pub fn ring(&self, note: impl FnOnce(&mut Notes)) {
            note(&mut Notes::default());
            *self.0.lock().unwrap() += 1;
        }

        pub fn rings(&self) -> usize {
            *self.0.lock().unwrap()
        }
    }
}

/// A client's pace, for which every hour is too long.
mod pace {
    use crate::time::{Duration, Instant};

    #[derive(Debug, Default)]
    pub struct Pace(Option<Instant>);

    impl Pace {
        pub fn wait(&mut self, now: Instant) {
            self.0.get_or_insert(now);
        }

        pub fn rest(&mut self, _: Instant) {
            self.0 = None;
        }

        pub fn moved(&mut self, _: u64, _: Instant) {}

        pub fn slow_for(&self, now: Instant) -> Option<Duration> {
            let waited = now.saturating_duration_since(self.0?);
            (waited > Duration::ZERO).then_some(waited)
        }
    }
}

mod socket {
    pub fn reset_on_close(_: &crate::net::TcpStream) {}

    pub fn say_goodbye(stream: &crate::net::TcpStream) {
        let _ = stream.shutdown(crate::net::Shutdown::Write);
    }
}

/// Runs a model in every order of its threads' steps that interrupts a thread three times at the most, not counting
/// where it waits. Two show nearly all bugs (Musuvathi and Qadeer, PLDI 2007); four take minutes.
fn explore(model: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = builder.preemption_bound.or(Some(3));
    let orders = Arc::new(AtomicUsize::new(0));
    let seen = orders.clone();
    builder.check(move || {
        seen.fetch_add(1, Ordering::Relaxed);
        model();
    });
    println!("{} orders", orders.load(Ordering::Relaxed));
}

pub use real::{cell, io, marker, panic};

pub mod sync {
    pub use loom::sync::{Mutex, MutexGuard, atomic};
    // Counting owners is not what is examined, and loom knows no `Weak`.
    pub use real::sync::{Arc, PoisonError, Weak};

    use real::sync::LockResult;

    #[derive(Debug)]
    pub struct Condvar(loom::sync::Condvar);

    impl Condvar {
        pub fn new() -> Condvar {
            Condvar(loom::sync::Condvar::new())
        }

        pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
            self.0.wait(guard)
        }

        pub fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}

pub mod thread {
    pub use loom::thread::{JoinHandle, spawn};
}

/// A clock with two times: the beginning, and an hour later. A model has a thread that lets the hour pass, so that it
/// does so at each moment once.
pub mod time {
    pub use real::time::Duration;

    use real::ops::Add;

    use crate::sync::Mutex;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Instant(Duration);

    loom::lazy_static! {
        static ref IS_LATE: Mutex<bool> = Mutex::new(false);
    }

    impl Instant {
        pub fn now() -> Instant {
            Instant(Duration::from_secs(if is_late() { 3600 } else { 0 }))
        }

        pub fn saturating_duration_since(&self, earlier: Instant) -> Duration {
            self.0.saturating_sub(earlier.0)
        }
    }

    impl Add<Duration> for Instant {
        type Output = Instant;

        fn add(self, duration: Duration) -> Instant {
            Instant(self.0 + duration)
        }
    }

    pub fn pass() {
        *IS_LATE.lock().unwrap() = true;
    }

    pub fn is_late() -> bool {
        *IS_LATE.lock().unwrap()
    }
}

pub mod net {
    pub use real::net::Shutdown;

    use real::io;

    use crate::sync::{Condvar, Mutex};

    /// A socket that nothing comes from until it is shut.
    #[derive(Debug)]
    pub struct TcpStream {
        state: Mutex<State>,
        shut: Condvar,
    }

    #[derive(Debug, PartialEq, Eq)]
    enum State {
        Open,
        Shut,
        /// It serves somebody else now.
        Left,
    }

    impl TcpStream {
        pub fn new() -> TcpStream {
            TcpStream {
                state: Mutex::new(State::Open),
                shut: Condvar::new(),
            }
        }

        pub fn shutdown(&self, _: Shutdown) -> io::Result<()> {
            let mut state = self.state.lock().unwrap();
            assert!(*state != State::Left, "somebody else's socket is shut");
            *state = State::Shut;
            self.shut.notify_all();
            Ok(())
        }

        /// Waits for bytes, or an end.
        pub fn read(&self) {
            let mut state = self.state.lock().unwrap();
            while *state == State::Open {
                state = self.shut.wait(state).unwrap();
            }
        }

        pub fn is_open(&self) -> bool {
            *self.state.lock().unwrap() == State::Open
        }

        pub fn leave_to_others(&self) {
            *self.state.lock().unwrap() = State::Left;
        }
    }
}

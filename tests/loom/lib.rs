//! Models: what the program's threads share, run by loom through every order in which they could take turns.
//!
//! They are made of the program's own files, which know nothing of it: in this package the name `std` means this very
//! file, so that a `std::sync::Mutex` is loom's. A lost wake-up shows as a deadlock, a count below nothing as an
//! overflow. `LOOM_LOCATION=1` tells where each thread stood.
//!
//! Three structures are here, those where an unlucky order would cost a request or a connection: who of the workers
//! waits, is idle or ends; what the listener and a worker tell each other; and the abort of an attempt.
//!
//! Why not ThreadSanitizer: it sees the orders that happen, these are all of them. And it needs a std that was built
//! with it; with the usual one it reports races where there is none (what a `Condvar`'s lock protects, the last
//! owner's drop of an `Arc`).

#![cfg(test)]
// What stands in for std and threadpool has their functions.
#![allow(clippy::new_without_default)]

extern crate self as std;
extern crate self as threadpool;
extern crate std as real;

#[path = "../../src/upstream/call.rs"]
#[allow(dead_code)]
mod call;
#[path = "../../src/downstream/connection.rs"]
#[allow(dead_code)]
mod connection;
#[path = "../../src/server/workers.rs"]
mod workers;

mod abort_models;
mod connection_models;
mod workers_models;

use real::boxed::Box;
use real::sync::Arc;
use real::sync::atomic::{AtomicUsize, Ordering};

mod memory {
    pub fn give_back() {}
    pub fn give_stack_back() {}
}

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
    use real::time::Duration;

    use crate::time;

    #[derive(Debug)]
    pub struct Condvar(loom::sync::Condvar);

    impl Condvar {
        pub fn new() -> Condvar {
            Condvar(loom::sync::Condvar::new())
        }

        pub fn wait<'a, T>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
            self.0.wait(guard)
        }

        /// Over at once after the hour. One that began before lasts until somebody ends it: a notice that was lost is
        /// not made good by the limit.
        pub fn wait_timeout<'a, T>(
            &self,
            guard: MutexGuard<'a, T>,
            _: Duration,
        ) -> LockResult<(MutexGuard<'a, T>, ())> {
            let guard = if time::is_late() {
                guard
            } else {
                self.0.wait(guard).unwrap()
            };
            Ok((guard, ()))
        }

        pub fn notify_all(&self) {
            self.0.notify_all();
        }
    }
}

pub mod thread {
    pub use loom::thread::{spawn, yield_now};

    use real::time::Duration;

    use crate::sync::{Arc, Condvar, Mutex};
    use crate::time;

    /// loom's own `unpark` also wakes a thread that waits for a lock; this one does not.
    #[derive(Clone)]
    pub struct Thread(Arc<(Mutex<bool>, Condvar)>);

    loom::thread_local! {
        static CURRENT: Thread = Thread(Arc::new((Mutex::new(false), Condvar::new())));
    }

    pub fn current() -> Thread {
        CURRENT.with(Thread::clone)
    }

    impl Thread {
        pub fn unpark(&self) {
            let (token, given) = &*self.0;
            *token.lock().unwrap() = true;
            given.notify_all();
        }
    }

    /// Nobody waits for what is done after it.
    pub fn sleep(_: Duration) {}

    /// Lasts until somebody ends it, or the hour comes.
    pub fn park_timeout(_: Duration) {
        let thread = current();
        if !time::wake_when_late(&thread) {
            return yield_now();
        }
        let (token, given) = &*thread.0;
        let mut token = token.lock().unwrap();
        while !*token {
            token = given.wait(token).unwrap();
        }
        *token = false;
    }
}

/// A clock with two times: the beginning, and an hour later. A model has a thread that lets the hour pass, so that it
/// does so at each moment once.
pub mod time {
    pub use real::time::Duration;

    use real::mem::take;
    use real::ops::Add;
    use real::vec::Vec;

    use crate::sync::Mutex;
    use crate::thread::Thread;

    #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
    pub struct Instant(Duration);

    #[derive(Default)]
    struct Clock {
        is_late: bool,
        sleepers: Vec<Thread>,
    }

    loom::lazy_static! {
        static ref CLOCK: Mutex<Clock> = Mutex::new(Clock::default());
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
        let mut clock = CLOCK.lock().unwrap();
        clock.is_late = true;
        let sleepers = take(&mut clock.sleepers);
        drop(clock);
        sleepers.iter().for_each(Thread::unpark);
    }

    pub fn is_late() -> bool {
        CLOCK.lock().unwrap().is_late
    }

    /// False where it is late already.
    pub fn wake_when_late(thread: &Thread) -> bool {
        let mut clock = CLOCK.lock().unwrap();
        clock.sleepers.push(thread.clone());
        !clock.is_late
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

/// A pool whose every job begins at once; a job that takes time starts a thread itself.
pub struct ThreadPool;
pub struct Builder;

impl Builder {
    pub fn new() -> Builder {
        Builder
    }

    pub fn thread_name(self, _: real::string::String) -> Builder {
        self
    }

    pub fn thread_stack_size(self, _: usize) -> Builder {
        self
    }

    pub fn num_threads(self, _: usize) -> Builder {
        self
    }

    pub fn build(self) -> ThreadPool {
        ThreadPool
    }
}

impl ThreadPool {
    pub fn set_num_threads(&mut self, threads: usize) {
        assert!(threads > 0, "threadpool panics");
    }

    pub fn execute(&self, job: impl FnOnce() + Send + 'static) {
        job();
    }
}

/// What a thread of a model does.
type Work = Box<dyn FnOnce() + Send>;

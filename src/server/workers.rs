//! Which workers wait for requests, and how many there are.
//!
//! A fixed number at the most, as the program's shape wants it; but a worker is started when a request first needs it,
//! and ends when none has for a while, since 256 threads that wait cost memory and do nothing. A few wait in
//! tiny_http's queue. The others are idle behind them and are woken most recent first, so that a request meets a warm stack
//! and cache: with all of them in the queue each request woke the one that had slept longest, and those that were awake
//! fought for the queue's lock.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use threadpool::ThreadPool;

use crate::memory;

/// A worker's stack. TLS and JSON are its deepest calls.
pub const STACK: usize = 256 << 10;
/// So many wait for requests at the same time: one that comes back from a request joins them without a sleep.
pub const WAITING: usize = 4;
/// A worker that nobody has needed for so long ends.
const RETIRE: Duration = Duration::from_secs(15);
/// Workers that end at the same time are gone after this.
const ENDING: Duration = Duration::from_secs(1);

/// The workers' places.
pub struct Workers {
    most: usize,
    state: Mutex<State>,
}

struct State {
    pool: ThreadPool,
    started: usize,
    /// Workers in the queue, or on their way there.
    waiting: usize,
    /// Those that are not needed now, the last to come on top.
    idle: Vec<Idle>,
}

struct Idle {
    thread: Thread,
    /// It is wanted.
    called: Arc<AtomicBool>,
}

impl Workers {
    /// `most`: workers at the same time.
    pub fn new(most: usize) -> Workers {
        // A pool has one thread at least: it waits for its job.
        let builder = threadpool::Builder::new()
            .thread_name("worker".into())
            .thread_stack_size(STACK);
        let state = State {
            pool: builder.num_threads(1).build(),
            started: 0,
            waiting: 0,
            idle: Vec::new(),
        };
        Workers {
            most,
            state: Mutex::new(state),
        }
    }

    /// The first worker, for the first request. A worker does `work`; it waits for a request, and goes on as long as
    /// [`Workers::next_turn`] says so.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn start(&self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.lock().start(work)
    }

    /// A worker has a request. If no other worker waits, wakes an idle one or starts one.
    pub fn took_request<W: FnOnce() + Send + 'static>(&self, work: impl FnOnce() -> W) {
        let mut state = self.lock();
        state.waiting -= 1;
        if state.waiting > 0 {
            return;
        }
        if let Some(idle) = state.idle.pop() {
            state.waiting += 1;
            drop(state);
            idle.called.store(true, Ordering::Release);
            idle.thread.unpark();
        } else if state.started < self.most {
            let started = state.start(work());
            drop(state);
            if let Err(err) = started {
                // Who is at work now takes the next request after this one.
                log::warn!("{err}");
            }
        }
    }

    /// A worker is done with its request: true when it is to wait for another one, false when it is to end.
    pub fn next_turn(&self) -> bool {
        let called = Arc::new(AtomicBool::new(false));
        {
            let mut state = self.lock();
            if state.waiting < WAITING {
                state.waiting += 1;
                return true;
            }
            state.idle.push(Idle {
                thread: thread::current(),
                called: called.clone(),
            });
        }
        let until = Instant::now() + RETIRE;
        while !called.load(Ordering::Acquire) {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() && self.retire(&called) {
                return false;
            }
            // One that was just called hears so at once.
            thread::park_timeout(left.max(Duration::from_millis(1)));
        }
        true
    }

    /// False where somebody has just called the worker.
    fn retire(&self, called: &Arc<AtomicBool>) -> bool {
        let mut state = self.lock();
        let Some(at) = state
            .idle
            .iter()
            .position(|idle| Arc::ptr_eq(&idle.called, called))
        else {
            return false;
        };
        state.idle.remove(at);
        state.started -= 1;
        let started = state.started.max(1);
        state.pool.set_num_threads(started);
        let is_last = state.idle.is_empty();
        drop(state);
        memory::give_stack_back();
        if is_last {
            // Not before the others that end now have.
            thread::sleep(ENDING);
            memory::give_back();
        }
        true
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn start(&mut self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        let threads = self.started + 1;
        // threadpool panics where a thread cannot be had.
        if catch_unwind(AssertUnwindSafe(|| self.pool.set_num_threads(threads))).is_err() {
            self.pool.set_num_threads(self.started.max(1));
            return Err(io::Error::other("no thread for one more worker can be had"));
        }
        self.pool.execute(work);
        self.started = threads;
        self.waiting += 1;
        Ok(())
    }
}

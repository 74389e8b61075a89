//! The workers' threads: threadpool's, as many as there is work for.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use threadpool::ThreadPool;

/// A worker's stack. TLS and JSON are its deepest calls.
pub const STACK: usize = 256 << 10;

pub struct Workers(Mutex<Pool>);

struct Pool {
    pool: ThreadPool,
    started: usize,
}

impl Workers {
    pub fn new() -> Workers {
        // A pool has one thread at least: it waits for its job.
        let builder = threadpool::Builder::new()
            .thread_name("worker".into())
            .thread_stack_size(STACK);
        Workers(Mutex::new(Pool {
            pool: builder.num_threads(1).build(),
            started: 0,
        }))
    }

    /// One more worker, which does `work`.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn start(&self, work: impl FnOnce() + Send + 'static) -> io::Result<()> {
        self.change(|Pool { pool, started }| {
            // threadpool panics where a thread cannot be had.
            if catch_unwind(AssertUnwindSafe(|| pool.set_num_threads(*started + 1))).is_err() {
                pool.set_num_threads((*started).max(1));
                return Err(io::Error::other("no thread for one more worker can be had"));
            }
            pool.execute(work);
            *started += 1;
            Ok(())
        })
    }

    /// One of them ends, as the last thing that it does.
    pub fn end(&self) {
        self.change(|Pool { pool, started }| {
            *started -= 1;
            pool.set_num_threads((*started).max(1));
        });
    }

    fn change<T>(&self, change: impl FnOnce(&mut Pool) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

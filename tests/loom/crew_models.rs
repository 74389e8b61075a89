//! A request never waits while a worker could be sent for it.
//!
//! In each model as many workers as are kept in any case are busy for ever. They have no threads here: loom knows five at the most.

use real::sync::atomic::{AtomicBool, Ordering};
use real::vec::Vec;

use crate::crew::{Call, Crew, Idle, RESERVE};
use crate::sync::{Arc, Condvar, Mutex};
use crate::thread::{JoinHandle, spawn};
use crate::time::Instant;
use crate::{explore, time};

/// A worker has ended, in one of the orders.
static ENDED: AtomicBool = AtomicBool::new(false);

/// What `server/queue` does, with numbers for requests.
struct Queue {
    state: Mutex<State>,
    served: Condvar,
    tiny_http: Waiting,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

struct State {
    crew: Crew,
    ready: usize,
    served: usize,
}

/// tiny_http's queue, in which `unblock` leaves a note for one of those that wait.
struct Waiting {
    notes: Mutex<Notes>,
    changed: Condvar,
}

#[derive(Default)]
struct Notes {
    unblocked: usize,
    /// Nobody waits any more.
    is_over: bool,
}

impl Waiting {
    fn unblock(&self) {
        self.notes.lock().unwrap().unblocked += 1;
        self.changed.notify_all();
    }

    /// Until there is a note, or its time has passed. False when all is over.
    fn recv(&self) -> bool {
        let began = Instant::now();
        let mut notes = self.notes.lock().unwrap();
        loop {
            if notes.is_over {
                return false;
            }
            if notes.unblocked > 0 {
                notes.unblocked -= 1;
                return true;
            }
            if began < Instant::now() {
                return true;
            }
            notes = self.changed.wait(notes).unwrap();
        }
    }

    fn end(&self) {
        self.notes.lock().unwrap().is_over = true;
        self.changed.notify_all();
    }
}

impl Queue {
    /// `more` workers may come to those that are busy for ever.
    fn with(more: usize) -> Arc<Queue> {
        let mut crew = Crew::new(RESERVE + more, Instant::now());
        for _ in 0..RESERVE {
            assert_eq!(crew.call(), Call::New);
            crew.comes();
        }
        let state = State {
            crew,
            ready: 0,
            served: 0,
        };
        Arc::new(Queue {
            state: Mutex::new(state),
            served: Condvar::new(),
            tiny_http: Waiting {
                notes: Mutex::default(),
                changed: Condvar::new(),
            },
            threads: Mutex::default(),
        })
    }

    /// A worker is started that finds nothing to do.
    fn start_one(self: &Arc<Queue>) {
        let call = self.state.lock().unwrap().crew.call();
        self.call(call);
    }

    /// A request has come.
    fn submit(self: &Arc<Queue>) {
        let mut state = self.state.lock().unwrap();
        state.ready += 1;
        let call = state.crew.call();
        drop(state);
        self.call(call);
    }

    fn call(self: &Arc<Queue>, call: Call) {
        match call {
            Call::Nobody => {}
            Call::Waiting => self.tiny_http.unblock(),
            Call::New => {
                let queue = self.clone();
                let thread = spawn(move || queue.work());
                self.threads.lock().unwrap().push(thread);
            }
        }
    }

    fn work(self: Arc<Queue>) {
        self.state.lock().unwrap().crew.comes();
        while self.next() {}
    }

    /// Serves a request. False when there will be none.
    fn next(self: &Arc<Queue>) -> bool {
        let mut state = self.state.lock().unwrap();
        loop {
            if state.ready > 0 {
                state.ready -= 1;
                state.served += 1;
                state.crew.takes();
                let call = if state.ready > 0 {
                    state.crew.call()
                } else {
                    Call::Nobody
                };
                drop(state);
                self.served.notify_all();
                self.call(call);
                return true;
            }
            if let Idle::Ends { is_last } = state.crew.finds_none(Instant::now()) {
                assert!(is_last, "one is spare");
                ENDED.store(true, Ordering::Relaxed);
                return false;
            }
            drop(state);
            if !self.tiny_http.recv() {
                return false;
            }
            state = self.state.lock().unwrap();
            state.crew.comes();
        }
    }

    /// Nothing else may be needed for that.
    fn await_served(&self, requests: usize) {
        let mut state = self.state.lock().unwrap();
        while state.served < requests {
            state = self.served.wait(state).unwrap();
        }
        drop(state);
        self.tiny_http.end();
        while let Some(thread) = { self.threads.lock().unwrap().pop() } {
            thread.join().unwrap();
        }
    }
}

/// One worker is being started, at work or on its way to wait when the second request comes.
#[test]
fn a_worker_that_is_about_to_wait_sees_the_next_request() {
    explore(|| {
        let queue = Queue::with(1);
        queue.submit();
        queue.submit();
        queue.await_served(2);
    });
}

/// While one is on its way nobody else is told: it sees to that, where there is more.
#[test]
fn each_of_several_requests_is_taken() {
    explore(|| {
        let queue = Queue::with(2);
        let other = queue.clone();
        let client = spawn(move || other.submit());
        queue.submit();
        client.join().unwrap();
        queue.await_served(2);
    });
}

/// The worker's time passes, and it may end, while it is called. Then another one is started.
#[test]
fn a_worker_that_ends_takes_no_request_with_it() {
    explore(|| {
        let queue = Queue::with(1);
        queue.start_one();
        let other = queue.clone();
        let later = spawn(move || {
            time::pass();
            other.tiny_http.changed.notify_all();
        });
        queue.submit();
        later.join().unwrap();
        queue.await_served(1);
    });
    assert!(ENDED.load(Ordering::Relaxed), "in some order it ends");
}

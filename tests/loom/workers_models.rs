//! A request never waits while a worker could be sent for it.
//!
//! In each model as many workers wait in the queue as may; they take the first requests, whose answers never end. They
//! have no threads here: loom knows five at the most.

use real::boxed::Box;

use crate::sync::{Arc, Condvar, Mutex};
use crate::thread::spawn;
use crate::workers::{WAITING, Workers};
use crate::{Work, explore, time};

/// tiny_http's queue.
struct Queue {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    requests: usize,
    served: usize,
    closed: bool,
}

struct Crew {
    workers: Workers,
    queue: Queue,
}

impl Queue {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    /// Waits for a request; false where none will come any more.
    fn take(&self) -> bool {
        let mut state = self.state.lock().unwrap();
        loop {
            if state.requests > 0 {
                state.requests -= 1;
                return true;
            }
            if state.closed {
                return false;
            }
            state = self.changed.wait(state).unwrap();
        }
    }

    fn await_served(&self, requests: usize) {
        let mut state = self.state.lock().unwrap();
        while state.served < requests {
            state = self.changed.wait(state).unwrap();
        }
    }
}

impl Crew {
    /// `busy` workers have a request, and the others wait.
    fn with(busy: usize) -> Arc<Crew> {
        let workers = Workers::new(WAITING + busy);
        for _ in 0..WAITING + busy {
            workers.start(|| ()).unwrap();
        }
        for _ in 0..busy {
            workers.took_request(|| || panic!("others wait"));
        }
        let queue = Queue {
            state: Mutex::default(),
            changed: Condvar::new(),
        };
        Arc::new(Crew { workers, queue })
    }

    /// What a worker does, as in `server`.
    fn work(self: &Arc<Crew>) {
        while self.queue.take() {
            self.workers.took_request(|| self.worker());
            self.queue.change(|state| state.served += 1);
            if !self.workers.next_turn() {
                return;
            }
        }
    }

    fn worker(self: &Arc<Crew>) -> Work {
        let crew = self.clone();
        Box::new(move || {
            spawn(move || crew.work());
        })
    }

    /// One that is about to be done with its request.
    fn next_turn(self: &Arc<Crew>) -> loom::thread::JoinHandle<()> {
        let crew = self.clone();
        spawn(move || {
            if crew.workers.next_turn() {
                crew.work();
            }
        })
    }

    /// Those that wait get a request each.
    fn occupy(self: &Arc<Crew>) {
        for _ in 0..WAITING {
            self.workers.took_request(|| self.worker());
        }
    }

    fn serve(&self, requests: usize) {
        self.queue.change(|state| state.requests += requests);
        self.queue.await_served(requests);
        self.queue.change(|state| state.closed = true);
    }
}

/// The worker comes back, rests and retires while it is called. Once it has retired, another one may be started.
#[test]
fn a_worker_that_retires_takes_no_request_with_it() {
    explore(|| {
        let crew = Crew::with(1);
        let worker = crew.next_turn();
        let later = spawn(time::pass);
        crew.occupy();
        crew.serve(2);
        worker.join().unwrap();
        later.join().unwrap();
    });
}

/// Nobody retires here, so that nothing but the call itself wakes those that rest.
#[test]
fn each_of_those_that_rest_hears_its_call() {
    explore(|| {
        let crew = Crew::with(2);
        let workers = [crew.next_turn(), crew.next_turn()];
        crew.occupy();
        crew.serve(2);
        for worker in workers {
            worker.join().unwrap();
        }
    });
}

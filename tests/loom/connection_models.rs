//! A client's thread never waits for an answer that has ended, and never leaves one that is still being written.

use crate::call::Abort;
use crate::connection::{Connection, Phase};
use crate::explore;
use crate::net::TcpStream;
use crate::sync::{Arc, Mutex};
use crate::thread::{spawn, yield_now};
use crate::time::{self, Duration};

const LIMIT: Duration = Duration::from_secs(1);

fn connect() -> Arc<Connection> {
    Arc::new(Connection::new(TcpStream::new(), LIMIT).unwrap())
}

fn await_answer(connection: &Connection) -> Phase {
    loop {
        match connection.await_end(LIMIT) {
            Phase::Queued | Phase::Served => yield_now(),
            ended => return ended,
        }
    }
}

/// A client that has sent its second request before the answer to its first one.
#[test]
fn the_end_of_an_answer_is_never_missed() {
    explore(|| {
        let connection = connect();
        let later = spawn(time::pass);
        for keep in [true, false] {
            connection.queue(&Arc::default());
            let served = connection.clone();
            let worker = spawn(move || {
                served.begin();
                served.finish(keep);
            });
            assert_eq!(await_answer(&connection), Phase::Answered { keep });
            worker.join().unwrap();
        }
        // It was shut, since no other request may follow.
        connection.stream().read();
        later.join().unwrap();
    });
}

/// The client hangs up while a worker takes its request, serves it, or has just answered it; at the same time the
/// program is told to end.
#[test]
fn a_client_that_leaves_ends_its_attempt() {
    explore(|| {
        let connection = connect();
        let abort = Arc::new(Abort::default());
        connection.queue(&abort);
        let waiting = Arc::new(Mutex::new(Some(abort)));
        let (served, taking) = (connection.clone(), waiting.clone());
        let worker = spawn(move || {
            let Some(abort) = taking.lock().unwrap().take() else {
                return;
            };
            served.begin();
            let socket = Arc::new(TcpStream::new());
            abort.attach(&socket);
            // The endpoint says nothing: only an abort ends this.
            socket.read();
            abort.detach();
            socket.leave_to_others();
            served.finish(false);
        });
        let ending = connection.clone();
        let end = spawn(move || ending.abort());
        connection.leave();
        let withdrawn = waiting.lock().unwrap().take();
        if withdrawn.is_none() {
            assert_eq!(await_answer(&connection), Phase::Answered { keep: false });
        }
        worker.join().unwrap();
        end.join().unwrap();
        assert!(connection.is_gone());
    });
}

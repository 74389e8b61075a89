//! The listener hears exactly once that a connection is back, whoever speaks first; and a quiet one wakes nobody.

use crate::bell::Bell;
use crate::connection::{After, Connection};
use crate::explore;
use crate::net::TcpStream;
use crate::sync::Arc;
use crate::thread::spawn;
use crate::time::{self, Duration, Instant};

fn connect() -> (Arc<Connection>, Arc<Bell>) {
    let bell = Arc::new(Bell::new());
    let connection = Connection::new(TcpStream::new(), 1, Duration::from_secs(1), bell.clone());
    (Arc::new(connection), bell)
}

/// The client sends its next request, or goes, while the worker is just done.
#[test]
fn a_client_that_speaks_is_never_forgotten() {
    explore(|| {
        let (connection, bell) = connect();
        connection.hand_over(false);
        let served = connection.clone();
        let worker = spawn(move || served.finish(After::Keep));
        let seen = connection.speak();
        worker.join().unwrap();
        // Either the listener sees it at once, or the worker rings.
        assert_ne!(seen.is_some(), bell.rings() == 1);
        assert!(seen.or_else(|| connection.take_back()).is_some());
    });
}

#[test]
fn a_quiet_client_wakes_nobody() {
    explore(|| {
        let (connection, bell) = connect();
        connection.hand_over(false);
        let served = connection.clone();
        let worker = spawn(move || served.finish(After::Keep));
        worker.join().unwrap();
        assert_eq!(bell.rings(), 0);
        assert!(connection.back_since().is_some());
        assert!(connection.take_back().is_some());
    });
}

/// What is to be closed is, whether the client has spoken or not.
#[test]
fn a_close_is_always_heard() {
    explore(|| {
        for has_spoken in [false, true] {
            let (connection, bell) = connect();
            connection.hand_over(has_spoken);
            let served = connection.clone();
            let worker = spawn(move || served.finish(After::Close));
            let seen = connection.speak();
            worker.join().unwrap();
            assert_eq!(bell.rings(), 1);
            let back = seen.or_else(|| connection.take_back());
            assert_eq!(back.map(|back| back.after), Some(After::Close));
            // Its client was told.
            connection.stream().read();
        }
    });
}

/// A client that takes next to nothing is cut while its worker waits for it, or not at all: never behind an answer that went out whole.
#[test]
fn a_cut_meets_a_worker_that_waits() {
    explore(|| {
        let (connection, _) = connect();
        connection.hand_over(false);
        let served = connection.clone();
        let worker = spawn(move || {
            served.wait_for_room(0);
            served.has_waited();
            let has_written = served.stream().is_open();
            served.finish(After::Keep);
            has_written
        });
        time::pass();
        let is_cut = connection.cut(Instant::now());
        let has_written = worker.join().unwrap();
        assert_ne!(is_cut, has_written);
        let after = connection.take_back().map(|back| back.after);
        let expected = if is_cut { After::Reset } else { After::Keep };
        assert_eq!(after, Some(expected));
    });
}

//! What a client learns of how its connection was given back.

use std::io::{self, Read};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use super::bell::Bell;
use super::connection::{After, Connection};

/// What the client reads where a worker ends its answer in that way.
fn read_after(end: impl FnOnce(&Connection)) -> io::Result<usize> {
    let door = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = door.local_addr().expect("it has one");
    let mut client = TcpStream::connect(address).expect("it listens");
    let limit = Some(Duration::from_secs(20));
    client.set_read_timeout(limit).expect("it is open");
    let (stream, _) = door.accept().expect("the client");
    let bell = Arc::new(Bell::new().expect("a descriptor"));
    let connection = Connection::new(stream, 1, Duration::from_secs(1), bell);
    connection.hand_over(false);
    end(&connection);
    drop(connection);
    client.read(&mut [0])
}

/// An answer that ends where its connection does would look whole.
#[test]
fn a_worker_that_fails_in_the_middle_of_an_answer_leaves_no_end_to_be_seen() {
    let failed = read_after(|connection| {
        connection.break_off();
        connection.finish(After::Close);
    });
    let kind = failed.map_err(|err| err.kind());
    assert_eq!(kind, Err(io::ErrorKind::ConnectionReset));
    let closed = read_after(|connection| connection.finish(After::Close));
    assert_eq!(closed.expect("an end"), 0);
}

//! Connecting: of several addresses the first that answers, within a limit.

use std::net::TcpListener;

use nix::sys::socket::{Backlog, SockaddrIn, bind, getsockname, listen};

use super::*;

/// An address where a connection is neither refused nor made, for as long as these live.
fn black_hole() -> (SocketAddr, OwnedFd, TcpStream) {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .expect("a socket");
    bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("a free port");
    listen(&socket, Backlog::new(0).expect("a small backlog")).expect("listening");
    let address: SockaddrIn = getsockname(socket.as_raw_fd()).expect("an address");
    let address = SocketAddr::from((address.ip(), address.port()));
    // One connection fills a backlog of 0; the kernel then leaves the next ones without an answer.
    let full = TcpStream::connect(address).expect("one connection");
    (address, socket, full)
}

/// An address that refuses connections, most likely.
fn refusing() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its address")
}

fn after(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

#[test]
fn families_take_turns() {
    let parse = |text: &str| text.parse::<SocketAddr>().expect("an address");
    let check = |given: &[&str], expected: &[&str]| {
        let given: Vec<_> = given.iter().copied().map(parse).collect();
        let expected: Vec<_> = expected.iter().copied().map(parse).collect();
        assert_eq!(in_turns(&given), expected);
    };
    check(&["1.1.1.1:1"], &["1.1.1.1:1"]);
    check(
        &["[::1]:1", "[::2]:1", "1.1.1.1:1", "2.2.2.2:1", "3.3.3.3:1"],
        &["[::1]:1", "1.1.1.1:1", "[::2]:1", "2.2.2.2:1", "3.3.3.3:1"],
    );
    check(&["1.1.1.1:1", "[::1]:1"], &["1.1.1.1:1", "[::1]:1"]);
    check(&[], &[]);
}

#[test]
fn an_address_that_says_nothing_costs_a_quarter_of_a_second() {
    let (dead, _socket, _full) = black_hole();
    let live = TcpListener::bind("127.0.0.1:0").expect("a port");
    let live = live
        .local_addr()
        .map(|address| (address, live))
        .expect("its address");
    let start = Instant::now();
    let stream = dial(&[dead, live.0], after(20), || false).expect("a connection");
    assert_eq!(stream.peer_addr().expect("a peer"), live.0);
    let took = start.elapsed();
    assert!(took >= APART && took < APART * 8, "{took:?}");
}

#[test]
fn an_address_that_refuses_costs_nothing() {
    let live = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = live.local_addr().expect("its address");
    let addresses = [refusing(), refusing(), refusing(), address];
    let start = Instant::now();
    let stream = dial(&addresses, after(20), || false).expect("a connection");
    assert_eq!(stream.peer_addr().expect("a peer"), address);
    assert!(start.elapsed() < APART * 2, "{:?}", start.elapsed());
}

#[test]
fn where_none_answers_the_last_failure_is_told() {
    let last = refusing();
    match dial(&[refusing(), last], after(20), || false) {
        Err(Error::Unreachable(why)) => assert!(why.starts_with(&last.to_string()), "{why}"),
        other => panic!("{other:?}"),
    }
    let (dead, _socket, _full) = black_hole();
    let soon = Instant::now() + Duration::from_millis(50);
    match dial(&[dead], soon, || false) {
        Err(Error::Unreachable(why)) => assert!(why.contains("connectSeconds"), "{why}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_ends_when_nobody_waits_any_more() {
    let (dead, _socket, _full) = black_hole();
    let asked = std::cell::Cell::new(0);
    let is_over = || {
        asked.set(asked.get() + 1);
        asked.get() > 2
    };
    let outcome = dial(&[dead], after(20), is_over);
    assert!(matches!(outcome, Err(Error::Aborted)), "{outcome:?}");
}

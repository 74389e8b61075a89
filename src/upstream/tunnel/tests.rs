//! What we say to a proxy, and what we make of its answers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use super::*;

/// A proxy that answers each thing that it hears with the next of these; what it heard comes back.
fn proxy(answers: &'static [&'static [u8]]) -> (Wire, thread::JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let stream = TcpStream::connect(listener.local_addr().expect("its address"));
    let (mut inner, _) = listener.accept().expect("a connection");
    let heard = thread::spawn(move || {
        let mut heard = Vec::new();
        for answer in answers {
            let mut piece = [0; 1024];
            let amount = inner.read(&mut piece).expect("it is asked");
            heard.push(piece[..amount].to_vec());
            inner.write_all(answer).expect("it is heard");
        }
        heard
    });
    (Wire::plain(stream.expect("a connection")), heard)
}

fn soon() -> Instant {
    Instant::now() + Duration::from_secs(5)
}

const LOGIN: Login = Some(("me", "secret"));

#[test]
fn a_connection_through_http() {
    let check = |login: Login, answer: &'static [&'static [u8]], expected: Result<(), &str>| {
        let (mut wire, heard) = proxy(answer);
        let outcome = connect(&mut wire, "api.example", 443, login, soon());
        match (outcome, expected) {
            (Ok(()), Ok(())) => {}
            (Err(Failure::Refused(why)), Err(expected)) => {
                assert!(why.contains(expected), "{why}");
                assert!(!why.contains("secret"));
            }
            (outcome, _) => panic!("{outcome:?}, expected {expected:?}"),
        }
        String::from_utf8(heard.join().expect("the proxy").remove(0)).expect("a text")
    };
    let plain = check(None, &[b"HTTP/1.1 200 Connected\r\n\r\n"], Ok(()));
    let expected = "CONNECT api.example:443 HTTP/1.1\r\nhost: api.example:443\r\n\r\n";
    assert_eq!(plain, expected);
    let login = check(LOGIN, &[b"HTTP/1.0 200 OK\r\nvia: x\r\n\r\n"], Ok(()));
    assert!(login.contains("\r\nproxy-authorization: Basic bWU6c2VjcmV0\r\n"));
    const WANTS: &[&[u8]] = &[b"HTTP/1.1 407 No\r\nproxy-authenticate: Basic\r\n\r\n"];
    check(None, WANTS, Err("wants user and password"));
    check(LOGIN, WANTS, Err("refuses user and password"));
    check(
        None,
        &[b"HTTP/1.1 403 Forbidden\r\n\r\n<html>"],
        Err("status 403"),
    );
    check(None, &[b"SSH-2.0-mail is here\r\n\r\n"], Err("no HTTP"));
    check(None, &[b"\r\n\r\n"], Err("no HTTP"));
    check(None, &[b"HTTP/1.1 200 A\r\n\r\nmore"], Err("more than"));
    check(None, &[b"HTTP/1.1 2"], Err("closed"));
}

#[test]
fn a_connection_through_socks5() {
    const BOUND: &[u8] = &[5, 0, 0, 1, 10, 0, 0, 1, 0, 80];
    let check = |host: &str, login: Login, answers, expected: Result<(), &str>| {
        let (mut wire, heard) = proxy(answers);
        let outcome = socks5(&mut wire, host, 443, login, soon());
        match (outcome, expected) {
            (Ok(()), Ok(())) => {}
            (Err(Failure::Refused(why)), Err(expected)) => {
                assert!(why.contains(expected), "{why}");
                assert!(!why.contains("secret"));
            }
            (outcome, _) => panic!("{outcome:?}, expected {expected:?}"),
        }
        heard.join().expect("the proxy")
    };
    let heard = check("api.example", None, &[&[5, 0], BOUND], Ok(()));
    assert_eq!(heard[0], [5, 1, 0]);
    assert_eq!(heard[1], b"\x05\x01\0\x03\x0bapi.example\x01\xbb");
    let heard = check("[::1]", LOGIN, &[&[5, 2], &[1, 0], BOUND], Ok(()));
    assert_eq!(heard[0], [5, 2, 0, 2]);
    assert_eq!(heard[1], b"\x01\x02me\x06secret");
    assert_eq!(heard[2].len(), 4 + 16 + 2);
    check("10.0.0.1", LOGIN, &[&[5, 0], BOUND], Ok(()));
    check("a", None, &[&[5, 0xff]], Err("wants user and password"));
    check(
        "a",
        LOGIN,
        &[&[5, 2], &[1, 1]],
        Err("refuses user and password"),
    );
    check(
        "a",
        None,
        &[&[5, 0], &[5, 5, 0, 1]],
        Err("connection refused"),
    );
    check("a", None, &[b"HTTP/1.1 400"], Err("no SOCKS5"));
}

#[test]
fn a_proxy_that_says_nothing_costs_the_time_and_no_more() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let silent = || {
        let stream = TcpStream::connect(listener.local_addr().expect("its address"));
        Wire::plain(stream.expect("a connection"))
    };
    let deadline = Instant::now() + Duration::from_millis(100);
    let outcome = connect(&mut silent(), "a", 1, None, deadline);
    assert_eq!(outcome, Err(Failure::NoTime));
    assert_eq!(
        socks5(&mut silent(), "a", 1, None, deadline),
        Err(Failure::NoTime)
    );
}

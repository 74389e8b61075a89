//! Asking an endpoint ourselves: what comes back, in which time, and how much of it.

use std::io::{Read, Write};
use std::mem;
use std::net::{TcpListener, TcpStream};
use std::thread;

use super::*;
use crate::config::Config;
use crate::upstream::Surroundings;

/// An endpoint that does this with each request's connection, whose head was read.
fn endpoint(serve: impl Fn(&mut TcpStream) + Send + Sync + 'static) -> Upstream {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).expect("a head");
                head.push(byte[0]);
            }
            serve(&mut stream);
        }
    });
    let text = format!(r#"[{{"baseURL": "http://{address}/", "authToken": "t"}}]"#);
    let config = Config::parse(&text, "f", &|_| None, &|_| Ok(String::new()));
    let config = config.expect("a configuration");
    Upstream::new(&config.endpoints[0], &config, &Surroundings::bare())
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_status_is_told() {
    for status in [200, 401, 404, 529] {
        let upstream = endpoint(move |stream| {
            let answer = format!("HTTP/1.1 {status} A\r\ncontent-length: 2\r\n\r\n{{}}");
            stream.write_all(answer.as_bytes()).expect("it is taken");
        });
        let checked = upstream.check(10 * SECOND).expect("an answer");
        assert_eq!(checked, status);
    }
}

#[test]
fn the_limit_holds_for_all_of_it() {
    let endpoints = [
        endpoint(|stream| mem::forget(stream.try_clone())),
        endpoint(|stream| {
            let head = "HTTP/1.1 200 A\r\ncontent-length: 1000\r\n\r\n";
            let _ = stream.write_all(head.as_bytes());
            let pause = Some(SECOND / 50);
            stream.set_read_timeout(pause).expect("it is open");
            while stream.write_all(b"x").is_ok() {
                let _ = stream.read(&mut [0]);
            }
        }),
    ];
    for upstream in endpoints {
        let start = Instant::now();
        let checked = upstream.check(SECOND / 4);
        assert!(matches!(checked, Err(Error::TimedOut)), "{checked:?}");
        assert!(start.elapsed() < 2 * SECOND);
    }
}

#[test]
fn an_answer_has_bounds() {
    let upstream = endpoint(|stream| {
        let head = "HTTP/1.1 200 A\r\ntransfer-encoding: chunked\r\n\r\n";
        let _ = stream.write_all(head.as_bytes());
        let chunk = format!("1000\r\n{}\r\n", "x".repeat(0x1000));
        while stream.write_all(chunk.as_bytes()).is_ok() {}
    });
    let checked = upstream.check(10 * SECOND);
    assert!(matches!(checked, Err(Error::Broken(_))), "{checked:?}");
}

//! What passes between us and an endpoint: requests of any size, answers as the RFCs allow them, and answers as they do not.

use std::io::{Read, Write};
use std::mem;
use std::net::{TcpListener, TcpStream};
use std::thread;

use crate::common::events::message;
use crate::common::prelude::*;

#[test]
fn long_lines_go_out_in_the_clear_and_under_tls() {
    let identity = Identity::new(&["localhost"]);
    let (plain, secure) = (Upstream::always(ok("{}")), Upstream::secure(&identity, []));
    for up in [&plain, &secure] {
        let setup = balance(&[up]);
        let pem = identity.write_pem(setup.folder().path());
        let balancer = setup.env("SSL_CERT_FILE", pem).start();
        for length in [8_200, 16_400, 33_000, 60_000] {
            let long = "x".repeat(length);
            let target = format!("/v1/messages?{long}");
            assert_eq!(balancer.post(&target, "{}").status, 200, "{length}");
            let request = Request::message().header("x-long", &long);
            assert_eq!(balancer.send(&request).status, 200, "{length}");
            let seen = up.requests();
            let [.., one, two] = &seen[..] else {
                panic!("two requests")
            };
            assert_eq!(one.target(), target);
            assert_eq!(two.head.get("x-long"), Some(&*long));
        }
        assert_eq!(balancer.endpoint(0)["failures"], 0);
    }
}

#[test]
fn a_head_that_cannot_be_sent_is_431_and_no_endpoints_fault() {
    let (one, two) = (Upstream::always(ok("{}")), Upstream::always(ok("{}")));
    let base = format!("{}{}/", one.url(), "base".repeat(50));
    let balancer = Setup::new().endpoint(base).endpoint(two.url()).start();
    let target = format!("/v1/{}", "x".repeat(65_481));
    let request = Request::new("GET", &target);
    balancer
        .send(&request)
        .own_error(431, "invalid_request_error");
    assert_eq!(one.count() + two.count(), 0);
    let metrics = balancer.get("/metrics").text().to_owned();
    for (outcome, count) in [("unsent", 1), ("client_gone", 0)] {
        let line = format!("attempts_total{{endpoint=\"one\",outcome=\"{outcome}\"}} {count}");
        assert!(metrics.contains(&line), "{line}");
    }
    for index in [0, 1] {
        assert_eq!(balancer.state(index), "up");
        assert_eq!(balancer.endpoint(index)["failures"], 0);
    }
}

#[test]
fn interim_answers_are_left_out() {
    let interim = "HTTP/1.1 100 Continue\r\nx-a: 1\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n";
    let real = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nreal";
    let up = Upstream::script([raw(format!("{interim}{real}")), by_hand()]);
    let balancer = balance(&[&up]).start();
    let answer = balancer.ask();
    assert_eq!((answer.status, answer.text()), (200, "real"));
    assert_eq!(answer.header("link"), None);
    // The same when they come one by one.
    let mut client = balancer.client();
    client.send(Request::message().bytes());
    let mut call = up.call();
    for line in interim.split_inclusive("\r\n") {
        call.send(line);
        client.hears_nothing();
    }
    call.send(real);
    assert_eq!(client.answer().text(), "real");
    assert_eq!(balancer.endpoint(0)["failures"], 0);
}

#[test]
fn interim_answers_without_an_end_are_no_answer() {
    let flood = "HTTP/1.1 102 Processing\r\n\r\n".repeat(1000);
    let (up, well) = (
        Upstream::script([raw(flood).stall()]),
        Upstream::always(ok("well")),
    );
    let balancer = balance(&[&up, &well]).start();
    assert_eq!(balancer.ask().text(), "well");
    assert_eq!(balancer.endpoint(0)["failures"], 1);
}

#[test]
fn what_is_no_http_answer_goes_on() {
    for answer in [
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n",
        "HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nhi",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        "220 mail.example ready\r\n",
        "SSH-2.0-nothing",
        "HTTP/1.1 200 OK\r\nno header line\r\n",
    ] {
        let well = Upstream::always(ok("well"));
        let up = Upstream::script([raw(answer).stall()]);
        let balancer = balance(&[&up, &well]).start();
        assert_eq!(balancer.ask().text(), "well", "{answer:?}");
        assert_eq!(balancer.endpoint(0)["failures"], 1, "{answer:?}");
    }
}

#[test]
fn an_answer_of_a_kind_that_has_no_body_has_none_and_no_length() {
    for status in ["204 No Content", "304 Not Modified"] {
        for fields in [
            "content-length: 5\r\n",
            "transfer-encoding: chunked\r\n",
            "",
        ] {
            let answer = format!("HTTP/1.1 {status}\r\n{fields}\r\n");
            let up = Upstream::script([raw(answer), ok("next")]);
            let balancer = balance(&[&up]).start();
            let mut client = balancer.client();
            let answer = client.ask(&Request::new("GET", "/v1/models"));
            assert_eq!(answer.header("content-length"), None, "{status} {fields}");
            assert_eq!(answer.header("transfer-encoding"), None);
            assert_eq!(answer.body, b"");
            assert_eq!(client.ask(&Request::message()).text(), "next");
        }
    }
}

#[test]
fn chunk_extensions_and_trailers_do_no_harm() {
    let events = message("hi");
    let mut answer = String::from(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    for event in &events {
        let length = event.len();
        answer += &format!(
            "{length:x};signature=\"{}\"\r\n{event}\r\n",
            "s".repeat(200)
        );
    }
    answer += "0;last\r\nx-checksum: 1\r\nx-more: 2\r\n\r\n";
    let up = Upstream::script([by_hand(), ok("next")]);
    let balancer = balance(&[&up]).start();
    let mut client = balancer.client();
    client.send(Request::message().bytes());
    let mut call = up.call();
    call.send(answer);
    assert_eq!(client.answer().text(), events.concat());
    call.answer(ok("next"));
    balancer.settle();
    assert_eq!(balancer.endpoint(0)["failures"], 0);
}

#[test]
fn trailers_that_drip_are_a_silence() {
    let up = Upstream::by_hand();
    let balancer = balance(&[&up]).set("idleSeconds", 0.4).start();
    let mut client = balancer.client();
    client.send(Request::new("GET", "/v1/models").bytes());
    let mut call = up.call();
    call.send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n");
    let dripping = thread::spawn(move || {
        while !call.is_left_within(Duration::from_millis(20)) {
            call.try_send("a: b\r\n");
        }
    });
    let answer = client.answer();
    assert_eq!((answer.text(), answer.whole), ("hi", false));
    dripping.join().expect("it was left");
}

/// Takes one connection, reads the head of what comes on it, and says this.
fn answers_at_the_head(
    answer: &'static str,
    then: impl FnOnce(TcpStream) + Send + 'static,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("a connection");
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|n| n > 0) {
            head.push(byte[0]);
        }
        stream.write_all(answer.as_bytes()).expect("it is taken");
        then(stream);
    });
    format!("http://{address}/")
}

#[test]
fn an_answer_that_comes_before_the_body_is_sent_is_noticed() {
    let body = vec![b'x'; 20 << 20];
    for answer in [
        "HTTP/1.1 413 Too Large\r\nconnection: close\r\ncontent-length: 3\r\n\r\nbig",
        "HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig",
    ] {
        // It takes nothing of the body, and closes nothing.
        let url = answers_at_the_head(answer, mem::forget);
        let balancer = Setup::new().endpoint(url).start();
        let start = Instant::now();
        let answer = balancer.post("/v1/messages", &body);
        assert_eq!((answer.status, answer.text()), (413, "big"));
        assert!(start.elapsed() < Duration::from_secs(10), "at once");
    }
}

#[test]
fn an_endpoint_that_reads_on_gets_the_whole_body() {
    let body = vec![b'x'; 20 << 20];
    let url = answers_at_the_head(
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n",
        |mut stream| {
            let (mut left, mut piece) = (20 << 20, vec![0; 64 << 10]);
            while left > 0 {
                left -= stream.read(&mut piece).expect("the body comes");
            }
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nall";
            stream.write_all(answer).expect("it is taken");
        },
    );
    let balancer = Setup::new().endpoint(url).start();
    assert_eq!(balancer.post("/v1/messages", &body).text(), "all");
}

#[test]
fn kept_connections_that_are_dead_without_a_word_are_left_in_time() {
    let up = Fading::new(2);
    // What is not acknowledged for half of it is dead.
    let balancer = Setup::new()
        .endpoint(up.url())
        .set("responseSeconds", 4)
        .start();
    thread::scope(|scope| {
        let asking = [(); 2].map(|()| scope.spawn(|| balancer.ask().status));
        for asking in asking {
            assert_eq!(asking.join().expect("a client"), 200);
        }
    });
    balancer.settle();
    up.fade();
    assert_eq!(balancer.ask().text(), "3", "sent again on a fresh one");
    let start = Instant::now();
    assert_eq!(
        balancer.ask().text(),
        "3",
        "the other dead one is not tried"
    );
    assert!(start.elapsed() < Duration::from_secs(1));
    let one = balancer.endpoint(0);
    assert_eq!((&one["failures"], &one["state"]), (&json!(0), &json!("up")));
}

#[test]
fn a_connection_on_which_not_all_went_out_is_not_used_again() {
    let (listener, body) = (
        TcpListener::bind("127.0.0.1:0").expect("a port"),
        vec![b'x'; 20 << 20],
    );
    let url = format!("http://{}/", listener.local_addr().expect("its address"));
    listener.set_nonblocking(true).expect("it can");
    let accept = || eventually("a connection", || listener.accept().ok()).0;
    let balancer = Setup::new().endpoint(url).start();
    thread::scope(|scope| {
        let big = scope.spawn(|| balancer.post("/v1/messages", &body));
        let mut first = accept();
        first.read_exact(&mut [0; 100]).expect("the head's begin");
        // It would keep the connection, and says so, but takes no more of the body.
        let refusal =
            b"HTTP/1.1 413 Too Large\r\nconnection: keep-alive\r\ncontent-length: 3\r\n\r\nbig";
        first.write_all(refusal).expect("it is taken");
        assert_eq!(big.join().expect("a client").status, 413);
        let next = scope.spawn(|| balancer.ask());
        let mut second = accept();
        second.read_exact(&mut [0; 100]).expect("the head's begin");
        second
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .expect("it is taken");
        assert_eq!(next.join().expect("a client").text(), "ok");
    });
}

#[test]
fn a_connection_whose_framing_is_told_twice_is_not_used_again() {
    let both = "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n";
    let up = Upstream::script([by_hand()]);
    let balancer = balance(&[&up]).start();
    let mut client = balancer.client();
    client.send(Request::message().bytes());
    let mut call = up.call();
    call.send(both);
    let answer = client.answer();
    assert_eq!((answer.text(), answer.whole), ("hi", true));
    assert!(call.is_left(), "nobody knows what follows on it");
    assert_eq!(balancer.ask().status, 200);
    assert_eq!(balancer.endpoint(0)["failures"], 0);
}

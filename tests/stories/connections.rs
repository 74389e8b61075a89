//! Connections that are kept, on both sides, and what old or careful clients need.

use std::thread;

use crate::common::prelude::*;

#[test]
fn an_old_client_gets_an_unchunked_answer_and_a_close() {
    let up = Upstream::script([status(200).chunks(&["ab", "cd"]), ok("known")]);
    let balancer = balance(&[&up]).start();
    for expected in ["abcd", "known"] {
        let mut client = balancer.client();
        let answer = client.ask(&Request::message().version("1.0"));
        assert_eq!(
            (answer.text(), answer.header("transfer-encoding")),
            (expected, None)
        );
        assert_eq!(client.ending(), Ending::Closed);
    }
}

#[test]
fn a_client_that_asks_for_a_close_gets_one() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    for path in ["/v1/messages", "/health", "/nowhere"] {
        let mut client = balancer.client();
        let answer = client.ask(&Request::new("GET", path).header("Connection", "Close"));
        assert_eq!(
            answer
                .header("connection")
                .map(str::to_lowercase)
                .as_deref(),
            Some("close"),
            "{path}"
        );
        assert_eq!(client.ending(), Ending::Closed, "{path}");
    }
}

/// RFC 9112 §9.6: a close while bytes of the client are unread would be a reset, and take with it what the client has not read yet.
#[test]
fn an_answer_that_ends_with_a_close_is_whole_though_the_client_sent_more() {
    // More than the kernel holds for a connection.
    let body: Vec<u8> = (0..=250).cycle().take(6_000_000).collect();
    let pieces: Vec<&[u8]> = body.chunks(1_000_000).collect();
    let old = Request::message().version("1.0");
    let closing = Request::message().header("connection", "close");
    for reply in [ok(&body), status(200).chunks(&pieces)] {
        let up = Upstream::always(reply);
        let balancer = balance(&[&up]).start();
        for request in [&old, &closing] {
            let mut client = balancer.client();
            let more = Request::message().body("x".repeat(60_000)).bytes();
            client.send([request.bytes(), more.clone()].concat());
            client.head();
            let first = client.piece().expect("a piece").expect("a body");
            // And more while the answer is on its way.
            client.send(more);
            let (rest, is_whole) = client.rest();
            let got = [first, rest].concat();
            assert!(is_whole && got == body, "{} of 6,000,000", got.len());
            assert_eq!(client.ending(), Ending::Closed);
        }
        assert_eq!(up.count(), 2, "what came behind is no request");
    }
}

#[test]
fn a_client_that_expects_100_gets_it_before_its_body() {
    let up = Upstream::always(ok("done"));
    let balancer = balance(&[&up]).start();
    let mut client = balancer.client();
    client.send("POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nexpect: 100-Continue\r\ncontent-length: 5\r\n\r\n");
    assert_eq!(status_of(&client.head()), 100);
    client.send("hello");
    assert_eq!(client.answer().text(), "done");
    let seen = up.request();
    assert_eq!((seen.text(), seen.head.has("expect")), ("hello", false));
    assert_eq!(client.ask(&Request::message()).status, 200);
}

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    let up = Upstream::script(["1", "2", "3"].map(ok));
    let balancer = balance(&[&up]).start();
    let mut client = balancer.client();
    let three = [
        Request::message().bytes(),
        Request::new("GET", "/v1/models").bytes(),
        Request::message().body("x").chunked().bytes(),
    ];
    client.send([three.concat(), Request::new("GET", "/nowhere").bytes()].concat());
    let bodies: Vec<Vec<u8>> = (0..3).map(|_| client.answer().body).collect();
    assert_eq!(bodies, [b"1", b"2", b"3"]);
    assert_eq!(client.answer().status, 404);
}

#[test]
fn one_kept_connection_serves_requests_in_turn() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let mut client = balancer.client();
    for _ in 0..20 {
        assert_eq!(client.ask(&Request::message()).status, 200);
    }
    assert_eq!(
        up.connections(),
        1,
        "and one connection to the endpoint does"
    );
}

#[test]
fn a_kept_connection_closed_as_it_is_reused_costs_nothing() {
    let reset = || raw("").reset();
    let up = Upstream::script([
        ok("1"),
        hang_up(),
        ok("2"),
        reset(),
        ok("3"),
        hang_up(),
        ok("4"),
    ]);
    let other = Upstream::always(ok("other"));
    let balancer = balance(&[&up, &other]).set("affinity", "off").start();
    let mut client = balancer.client();
    for n in 1..=4 {
        let big = "x".repeat(n * 70_000);
        assert_eq!(
            client.ask(&Request::message().body(&big)).text(),
            n.to_string()
        );
        assert_eq!(
            up.requests().pop().expect("a request").text(),
            big,
            "sent again whole"
        );
        assert_eq!(client.ask(&Request::message()).text(), "other");
        balancer.settle();
    }
    let one = balancer.endpoint(0);
    assert_eq!(
        (&one["state"], &one["failures"], &one["requests"]),
        (&json!("up"), &json!(0), &json!(4))
    );
}

#[test]
fn a_client_that_leaves_with_its_answer_cuts_nobody_elses() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    // Its connection to the endpoint serves somebody else by the time that its leaving is noticed.
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| (0..100).for_each(|_| assert_eq!(balancer.ask().status, 200)));
        }
    });
    assert_eq!(up.count(), 800, "nobody's request had to be sent twice");
    assert_eq!(balancer.endpoint(0)["failures"], 0);
}

#[test]
fn an_idle_connection_that_the_endpoint_closed_costs_nothing() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    for _ in 0..5 {
        assert_eq!(balancer.ask().status, 200);
        up.close_idle();
    }
    assert_eq!(balancer.endpoint(0)["failures"], 0);
    assert_eq!((up.count(), up.connections()), (5, 5));
}

#[test]
fn a_client_that_asks_and_never_reads_holds_nobody_up() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let mut deaf = balancer.client();
    // Far more answers than the kernel holds for a connection.
    let request = Request::new("GET", "/").bytes();
    deaf.send(request.repeat(1000));
    for _ in 0..20 {
        assert_eq!(balancer.get("/health").status, 200);
        assert_eq!(balancer.ask().status, 200);
    }
    // It lost nothing either.
    for _ in 0..1000 {
        assert_eq!(deaf.answer().status, 200);
    }
}

#[test]
fn clients_that_wait_take_no_threads() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).set("workers", 4).start();
    assert_eq!(balancer.ask().status, 200);
    let mut clients: Vec<Client> = (0..200).map(|_| balancer.client()).collect();
    for client in clients.iter_mut().step_by(2) {
        client.send("POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 5\r\n\r\nhe");
    }
    assert_eq!(balancer.health()["status"], "healthy");
    // The workers, and: main, signals, listener, log, watcher and checker. tiny_http's own end some seconds after the start.
    eventually("few threads", || {
        (balancer.threads() <= 4 + 6).then_some(())
    });
    for client in clients.iter_mut().step_by(2) {
        client.send("llo");
        assert_eq!(client.answer().status, 200);
    }
}

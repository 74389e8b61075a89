//! Our own errors: one shape, one meaning each, and never an end of service for the next request.

use std::collections::HashSet;

use crate::common::prelude::*;

#[test]
fn every_error_names_its_own_request() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let ids: HashSet<String> = (0..20)
        .map(|_| {
            balancer
                .get("/nowhere")
                .header("request-id")
                .expect("an id")
                .to_owned()
        })
        .collect();
    assert_eq!(ids.len(), 20);
}

#[test]
fn an_error_without_need_for_it_keeps_the_connection() {
    let up = Upstream::script([hang_up(), ok("fine")]);
    let balancer = balance(&[&up]).set("cooldownSeconds", 0).start();
    let mut client = balancer.client();
    client
        .ask(&Request::new("GET", "/nowhere"))
        .own_error(404, "not_found_error");
    client
        .ask(&Request::new("DELETE", "/health"))
        .own_error(405, "invalid_request_error");
    client
        .ask(&Request::message())
        .own_error(500, "internal_error");
    assert_eq!(client.ask(&Request::message()).text(), "fine");
}

#[test]
fn a_body_that_nobody_wants_is_read_over_or_ends_the_connection() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    for request in [
        Request::new("POST", "/nowhere").body("unwanted"),
        Request::new("POST", "/nowhere").body("x").chunked(),
    ] {
        let mut client = balancer.client();
        let answer = client.ask(&request);
        answer.own_error(404, "not_found_error");
        if answer.header("connection") == Some("close") {
            assert_eq!(client.ending(), Ending::Closed);
        } else {
            assert_eq!(client.ask(&Request::message()).status, 200);
        }
    }
}

#[test]
fn an_error_for_head_has_no_body() {
    let up = Upstream::always(hang_up());
    let balancer = balance(&[&up]).start();
    let mut client = balancer.client();
    let answer = client.ask(&Request::new("HEAD", "/nowhere"));
    assert_eq!((answer.status, answer.body.len()), (404, 0));
    let answer = client.ask(&Request::new("HEAD", "/v1/models"));
    assert_eq!((answer.status, answer.body.len()), (500, 0));
    client
        .ask(&Request::new("GET", "/nowhere"))
        .own_error(404, "not_found_error");
}

#[test]
fn an_old_client_gets_an_error_it_can_read() {
    let up = Upstream::always(hang_up());
    let balancer = balance(&[&up]).start();
    for path in ["/nowhere", "/v1/models"] {
        let mut client = balancer.client();
        let answer = client.ask(&Request::new("GET", path).version("1.0"));
        assert!(
            answer.status >= 400 && !answer.head.has("transfer-encoding"),
            "{:?}",
            answer.head
        );
        assert_eq!(client.ending(), Ending::Closed);
    }
}

#[test]
fn the_message_of_a_500_says_that_no_endpoint_answered() {
    let refusing = Refusing::new();
    let balancer = Setup::new().endpoint(refusing.url()).start();
    let message = balancer.ask().own_error(500, "internal_error");
    assert!(message.to_lowercase().contains("endpoint"), "{message}");
}

#[test]
fn a_head_of_64_kib_and_128_lines_is_the_most() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let head = |lines: usize, size: usize| {
        let mut head = "GET /v1/models HTTP/1.1\r\nhost: localhost\r\n".to_owned();
        // `host` and `x-pad` are lines too.
        (0..lines - 2).for_each(|n| head.push_str(&format!("x-{n}: v\r\n")));
        let pad = size - head.len() - "x-pad: \r\n\r\n".len();
        head + &format!("x-pad: {}\r\n\r\n", "p".repeat(pad))
    };
    let ask = |text: String| balancer.client().send(text).answer();
    assert_eq!(ask(head(128, 8000)).status, 200);
    assert_eq!(ask(head(8, 64 * 1024)).status, 200);
    ask(head(129, 8000)).own_error(431, "invalid_request_error");
    ask(head(8, 64 * 1024 + 1)).own_error(431, "invalid_request_error");
    let seen = up.requests().remove(1);
    assert!(seen.head.get("x-pad").expect("it passes").len() > 60_000);
}

#[test]
fn a_head_without_end_is_431_long_before_its_end() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let starts = [
        "GET /v1/models HTTP/1.1\r\nx-a: ",
        "GET /v1/",
        "GET /v1/models HTTP/1.1\r\nhost: localhost\r\nx",
    ];
    for start in starts {
        let mut client = balancer.client();
        client.send(start).send("y".repeat(200_000));
        client.answer().own_error(431, "invalid_request_error");
    }
    let mut client = balancer.client();
    client
        .send("GET /v1/models HTTP/1.1\r\n")
        .send("x-a: b\r\n".repeat(2000));
    client.answer().own_error(431, "invalid_request_error");
    assert_eq!(up.count(), 0);
}

#[test]
fn another_expectation_is_417() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    for expect in ["200-ok", "100-continue, fast"] {
        balancer
            .send(&Request::message().header("expect", expect))
            .own_error(417, "invalid_request_error");
    }
    assert_eq!(up.count(), 0);
}

#[test]
fn another_version_is_505() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    for version in ["2.0", "3.0", "0.9", "1.2"] {
        balancer
            .send(&Request::message().version(version))
            .own_error(505, "invalid_request_error");
    }
    let mut client = balancer.client();
    client.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    client.answer().own_error(505, "invalid_request_error");
    assert_eq!(up.count(), 0);
    assert_eq!(balancer.ask().status, 200);
}

#[test]
fn no_answer_of_ours_is_to_be_guessed_at() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let ours = [
        ("GET", "/health"),
        ("GET", "/metrics"),
        ("GET", "/"),
        ("GET", "/nowhere"),
        ("POST", "/health"),
        ("OPTIONS", "/v1/messages"),
        ("GET", "/v1/../x"),
    ];
    for (method, path) in ours {
        let answer = balancer.send(&Request::new(method, path));
        let header = answer.header("x-content-type-options");
        assert_eq!(header, Some("nosniff"), "{method} {path}");
    }
    assert_eq!(
        balancer.ask().header("x-content-type-options"),
        None,
        "an endpoint's own"
    );
}

//! What of an answer crosses unchanged, whatever its framing.

use crate::common::prelude::*;

fn every_byte() -> Vec<u8> {
    (0..=255).cycle().take(300_000).collect()
}

#[test]
fn an_answer_keeps_status_headers_and_body() {
    for code in [200, 201, 202, 206, 299, 400, 402, 413, 418, 422, 451, 501] {
        let up = Upstream::script([status(code)
            .header("request-id", "req_1")
            .header("x-new", "yes")
            .body(every_byte())]);
        let balancer = balance(&[&up]).start();
        let answer = balancer.ask();
        assert_eq!(answer.status, code);
        assert!(answer.body == every_byte(), "{code}: byte for byte");
        assert_eq!(
            (answer.header("request-id"), answer.header("x-new")),
            (Some("req_1"), Some("yes"))
        );
        assert_eq!(answer.header("content-length"), Some("300000"));
        assert_eq!(answer.served_by(), "one");
        assert!(!answer.head.has("x-accel-buffering"), "that is for streams");
    }
}

#[test]
fn hop_by_hop_headers_of_an_answer_are_dropped() {
    let reply = ok("{}")
        .header("connection", "x-hop, keep-alive")
        .header("x-hop", "1")
        .header("keep-alive", "timeout=5")
        .header("proxy-authenticate", "Basic")
        .header("upgrade", "h2c")
        .header("trailer", "x-t")
        .header("x-kept", "1");
    let up = Upstream::always(reply);
    let head = balance(&[&up]).start().ask().head;
    for name in [
        "x-hop",
        "keep-alive",
        "proxy-authenticate",
        "upgrade",
        "trailer",
    ] {
        assert!(!head.has(name), "{name} in {head:?}");
    }
    assert!(head.has("x-kept"));
}

#[test]
fn a_compressed_answer_is_not_touched() {
    let body = b"\x1f\x8b\x08\0 whatever this decodes to \xff";
    let up = Upstream::always(
        status(200)
            .header("content-encoding", "gzip")
            .header("vary", "accept-encoding")
            .body(body),
    );
    let balancer = balance(&[&up]).start();
    let answer = balancer.send(&Request::message().header("accept-encoding", "gzip, br"));
    assert_eq!(answer.body, body);
    assert_eq!(answer.header("content-encoding"), Some("gzip"));
    assert!(answer.head.all("vary").contains(&"accept-encoding"));
    assert_eq!(up.request().head.get("accept-encoding"), Some("gzip, br"));
}

#[test]
fn an_answer_of_unknown_length_arrives_whole() {
    let body = every_byte();
    let until_close = [
        b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n".as_slice(),
        &body,
    ]
    .concat();
    let old = [
        b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\n\r\n".as_slice(),
        &body,
    ]
    .concat();
    let pieces: Vec<&[u8]> = body.chunks(999).collect();
    for reply in [status(200).chunks(&pieces), raw(until_close), raw(old)] {
        let up = Upstream::script([reply]);
        let balancer = balance(&[&up]).start();
        let mut client = balancer.client();
        let answer = client.ask(&Request::message());
        assert!(answer.whole && answer.body == body, "{:?}", answer.head);
        assert_eq!(
            client.ask(&Request::message()).status,
            200,
            "the connection goes on"
        );
    }
}

#[test]
fn pieces_of_any_body_are_passed_on_when_they_come() {
    let up = Upstream::by_hand();
    let balancer = balance(&[&up]).start();
    let mut client = balancer.client();
    client.send(Request::message().bytes());
    let mut call = up.call();
    call.send("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 6\r\n\r\nabc");
    let head = client.head();
    assert_eq!(head.get("content-length"), Some("6"));
    assert_eq!(
        client.piece().expect("a piece").as_deref(),
        Some(b"abc".as_slice())
    );
    call.send("def");
    assert_eq!(client.rest(), (b"def".to_vec(), true));
}

#[test]
fn an_answer_without_body_is_no_riddle() {
    let up = Upstream::script([
        status(204).header("x-a", "1"),
        status(304).header("etag", "\"e\""),
        status(304).header("content-length", "500"),
        status(200),
    ]);
    let balancer = balance(&[&up]).start();
    let mut client = balancer.client();
    for code in [204, 304, 304, 200, 200] {
        let answer = client.ask(&Request::new("GET", "/v1/models"));
        assert_eq!(
            (answer.status, answer.whole),
            (code, true),
            "each on the same connection"
        );
    }
}

#[test]
fn interim_answers_do_not_end_the_exchange() {
    let hints = "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n";
    let up = Upstream::script([raw(format!(
        "{hints}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nreal"
    ))]);
    let balancer = balance(&[&up]).start();
    let answer = balancer.ask();
    assert_eq!((answer.status, answer.text()), (200, "real"));
}

#[test]
fn a_redirect_is_passed_on_not_followed() {
    let up = Upstream::always(
        status(307)
            .header("location", "https://elsewhere.test/v1/messages")
            .body("moved"),
    );
    let balancer = balance(&[&up]).start();
    let answer = balancer.ask();
    assert_eq!((answer.status, answer.text()), (307, "moved"));
    assert_eq!(
        answer.header("location"),
        Some("https://elsewhere.test/v1/messages")
    );
    assert_eq!(up.count(), 1);
}

#[test]
fn an_answer_larger_than_any_buffer_arrives_whole() {
    let body: Vec<u8> = every_byte().repeat(20);
    let up = Upstream::always(ok(&body));
    let balancer = balance(&[&up]).start();
    let answer = balancer.ask();
    assert!(answer.whole && answer.body == body);
}

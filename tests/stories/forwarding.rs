//! What of a request crosses unchanged, and what must not cross.

use crate::common::prelude::*;

fn every_byte() -> Vec<u8> {
    (0..=255).cycle().take(300_000).collect()
}

#[test]
fn a_body_goes_out_byte_for_byte_with_its_length() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    for body in [Vec::new(), b"{}".to_vec(), every_byte()] {
        assert_eq!(balancer.post("/v1/messages", &body).status, 200);
        let seen = up.requests().pop().expect("a request");
        assert!(seen.body == body, "{} bytes arrive unchanged", body.len());
        assert_eq!(
            seen.head.get("content-length"),
            Some(body.len().to_string().as_str())
        );
    }
}

#[test]
fn a_chunked_body_goes_out_byte_for_byte_with_a_length() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let mut client = balancer.client();
    for body in [Vec::new(), every_byte()] {
        assert_eq!(
            client.ask(&Request::message().body(&body).chunked()).status,
            200
        );
        let seen = up.requests().pop().expect("a request");
        assert!(seen.body == body, "{} bytes arrive unchanged", body.len());
        assert_eq!(
            seen.head.get("content-length"),
            Some(body.len().to_string().as_str())
        );
    }
}

#[test]
fn a_compressed_body_stays_compressed() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let body = b"\x1f\x8b\x08 not really gzip";
    balancer.send(
        &Request::message()
            .header("content-encoding", "gzip")
            .body(body),
    );
    let seen = up.request();
    assert_eq!(
        (seen.body.as_slice(), seen.head.get("content-encoding")),
        (body.as_slice(), Some("gzip"))
    );
}

#[test]
fn a_request_without_body_goes_out_without_one() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    balancer.get("/v1/models");
    let head = up.request().head;
    assert!(
        !head.has("content-length") && !head.has("transfer-encoding"),
        "{head:?}"
    );
}

#[test]
fn unknown_headers_pass_and_nothing_is_added() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let sent = [
        ("Anthropic-Version", "2024-10-22"),
        ("anthropic-beta", "a,b"),
        ("X-Claude-Code-Session-Id", "s1"),
        ("x-stainless-lang", "js"),
        ("x-nobody-knows", " spaced  value "),
        ("accept", "application/json"),
        ("user-agent", "story/1.0"),
        ("x-empty", ""),
    ];
    let request = sent
        .iter()
        .fold(Request::message(), |r, (name, value)| r.header(name, value));
    balancer.send(&request);
    let head = up.request().head;
    for (name, value) in sent {
        assert_eq!(head.get(name), Some(value.trim()), "{name}");
    }
    let mut names = head.names();
    names.sort();
    let mut expected: Vec<String> = sent.iter().map(|(name, _)| name.to_lowercase()).collect();
    expected.extend(["host", "content-length", "x-api-key"].map(str::to_owned));
    expected.sort();
    assert_eq!(names, expected);
}

#[test]
fn a_bare_request_gets_host_credential_and_version_only() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    balancer.get("/v1/models");
    let head = up.request().head;
    let mut names = head.names();
    names.sort();
    assert_eq!(names, ["anthropic-version", "host", "x-api-key"]);
    assert_eq!(head.get("anthropic-version"), Some("2023-06-01"));
    assert_eq!(head.get("x-api-key"), Some("token-one"));
    assert_eq!(head.get("host"), Some(up.address().to_string().as_str()));
}

#[test]
fn hop_by_hop_headers_and_what_connection_names_are_dropped() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let request = Request::message()
        .header("Connection", "keep-alive, X-Secret-Hop")
        .header("connection", "x-other")
        .header("x-secret-hop", "1")
        .header("X-Other", "1")
        .header("keep-alive", "timeout=5")
        .header("te", "trailers")
        .header("trailer", "x-checksum")
        .header("upgrade", "websocket")
        .header("proxy-authorization", "Basic abc")
        .header("proxy-connection", "keep-alive")
        .header("proxy-anything", "1")
        .header("origin", "https://page.test")
        .header("referer", "https://page.test/x")
        .header("cookie", "session=1")
        .header("x_api_key", "mine")
        .header("x-forwarded-for", "10.0.0.1")
        .header("cf-ray", "1")
        .header("content-type", "application/json")
        .header("x-kept", "1");
    assert_eq!(balancer.send(&request).status, 200);
    let mut names = up.request().head.names();
    names.sort();
    assert_eq!(
        names,
        [
            "anthropic-version",
            "content-length",
            "content-type",
            "host",
            "x-api-key",
            "x-kept"
        ]
    );
}

#[test]
fn connection_cannot_name_what_the_balancer_adds() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let request = Request::message().header(
        "connection",
        "x-api-key, content-length, host, anthropic-version",
    );
    assert_eq!(balancer.send(&request).status, 200);
    let seen = up.request();
    assert_eq!(
        (seen.text(), seen.head.get("x-api-key")),
        ("{}", Some("token-one"))
    );
}

#[test]
fn the_clients_credentials_are_replaced() {
    let (key, bearer) = (Upstream::always(ok("{}")), Upstream::always(ok("{}")));
    let balancer = balance(&[&key, &bearer])
        .with("authScheme", "bearer")
        .start();
    let request = Request::message()
        .header("X-Api-Key", "mine")
        .header("Authorization", "Bearer mine");
    balancer.send(&request);
    balancer.send(&request);
    let (key, bearer) = (key.request().head, bearer.request().head);
    assert_eq!(
        (key.get("x-api-key"), key.get("authorization")),
        (Some("token-one"), None)
    );
    assert_eq!(
        (bearer.get("x-api-key"), bearer.get("authorization")),
        (None, Some("Bearer token-two"))
    );
}

#[test]
fn repeated_headers_keep_order_and_number_both_ways() {
    let reply = ok("{}")
        .header("set-cookie", "a=1")
        .header("x-b", "1")
        .header("Set-Cookie", "b=2")
        .header("x-b", "1");
    let up = Upstream::always(reply);
    let balancer = balance(&[&up]).start();
    let request = Request::message()
        .header("x-a", "2")
        .header("anthropic-beta", "q")
        .header("X-A", "1")
        .header("x-a", "2");
    let answer = balancer.send(&request);
    assert_eq!(up.request().head.all("x-a"), ["2", "1", "2"]);
    assert_eq!(answer.head.all("set-cookie"), ["a=1", "b=2"]);
    assert_eq!(answer.head.all("x-b"), ["1", "1"]);
}

#[test]
fn header_bytes_over_127_arrive_unchanged_both_ways() {
    let strange = b"caf\xc3\xa9 \xff\x80 end".as_slice();
    let up = Upstream::always(ok("{}").header("x-answer", strange));
    let balancer = balance(&[&up]).start();
    let answer = balancer.send(&Request::message().header("x-question", strange));
    assert_eq!(up.request().head.bytes("x-question"), [strange]);
    assert_eq!(answer.head.bytes("x-answer"), [strange]);
}

//! Requests that are not well-formed: one clear answer and a close for each, never a second request out of a body.
//!
//! Among them are the shapes of CVE-2026-66752 and CVE-2026-66753 of tiny_http 0.12: length and chunked together, two
//! lengths, a signed length, chunk sizes that are none. The front refuses them before tiny_http could see them.

use crate::common::prelude::*;

/// What a body of ours could be taken for.
const SMUGGLED: &str = "GET /v1/smuggled HTTP/1.1\r\nhost: localhost\r\n\r\n";

struct Story {
    up: Upstream,
    balancer: Balancer,
}

impl Story {
    fn new() -> Story {
        let up = Upstream::always(ok("{}"));
        let balancer = balance(&[&up]).start();
        Story { up, balancer }
    }

    /// Sends these bytes and a request behind them; asserts that one 400 and an end are all that comes.
    #[track_caller]
    fn refuses(&self, bytes: impl AsRef<[u8]>) {
        let shown = String::from_utf8_lossy(bytes.as_ref()).into_owned();
        let all = self.answers(bytes);
        assert!(
            all.starts_with("HTTP/1.1 400 "),
            "{shown:?} is malformed: {all}"
        );
        assert!(
            all.contains("\"invalid_request_error\""),
            "{shown:?}: {all}"
        );
    }

    /// Everything that comes back: one answer at most, and nothing reaches an endpoint.
    #[track_caller]
    fn answers(&self, bytes: impl AsRef<[u8]>) -> String {
        let shown = String::from_utf8_lossy(bytes.as_ref()).into_owned();
        let mut client = self.balancer.client();
        client.send(&bytes).send(SMUGGLED);
        client.wire().finish_writing();
        let all = String::from_utf8(client.wire().everything()).expect("text");
        assert!(status_lines(&all) <= 1, "one answer to {shown:?}: {all}");
        assert_eq!(
            self.up.count(),
            0,
            "nothing of {shown:?} reaches an endpoint"
        );
        all
    }

    /// Asserts that an ordinary request is served all the same.
    fn end(self) {
        assert_eq!(self.balancer.ask().status, 200);
    }
}

fn status_lines(text: &str) -> usize {
    text.match_indices("HTTP/1.1 ")
        .filter(|(at, m)| text[at + m.len()..].starts_with(|c: char| c.is_ascii_digit()))
        .count()
}

fn post(headers: &str, body: &str) -> String {
    format!("POST /v1/messages HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n{body}")
}

#[test]
fn length_and_chunked_together_are_refused() {
    let story = Story::new();
    let chunked = format!("{:x}\r\n{SMUGGLED}\r\n0\r\n\r\n", SMUGGLED.len());
    story.refuses(post(
        "content-length: 4\r\ntransfer-encoding: chunked\r\n",
        &chunked,
    ));
    story.refuses(post(
        "transfer-encoding: chunked\r\ncontent-length: 0\r\n",
        &chunked,
    ));
    story.refuses(post(
        "Transfer-Encoding: chunked\r\nContent-Length: 4\r\n",
        "0\r\n\r\n",
    ));
    story.end();
}

#[test]
fn two_lengths_are_refused() {
    let story = Story::new();
    story.refuses(post("content-length: 0\r\ncontent-length: 40\r\n", ""));
    story.refuses(post("content-length: 40\r\nContent-Length: 0\r\n", ""));
    story.refuses(post("content-length: 4\r\ncontent-length: 4\r\n", "abcd"));
    story.refuses(post("content-length: 4, 4\r\n", "abcd"));
    story.refuses(post("content-length: 4, 5\r\n", "abcd"));
    story.end();
}

#[test]
fn a_length_that_is_no_number_is_refused() {
    let story = Story::new();
    for length in [
        "+4", "-4", "-0", "0x4", "4a", "1e1", "4.0", "", "four", "4 4", "\"4\"", "4;", "٤",
    ] {
        story.refuses(post(&format!("content-length: {length}\r\n"), "abcd"));
    }
    story.end();
}

#[test]
fn a_length_beyond_any_number_is_refused() {
    let story = Story::new();
    for length in [
        "18446744073709551616",
        "99999999999999999999",
        "340282366920938463463374607431768211456",
    ] {
        let all = story.answers(post(&format!("content-length: {length}\r\n"), "abcd"));
        assert!(
            all.starts_with("HTTP/1.1 413 ") || all.starts_with("HTTP/1.1 400 "),
            "{all}"
        );
    }
    story.end();
}

#[test]
fn an_unknown_transfer_coding_is_refused() {
    let story = Story::new();
    for coding in [
        "gzip",
        "gzip, chunked",
        "chunked, gzip",
        "chunked, chunked",
        "identity",
        "xchunked",
        "chunked;a=b",
        "\"chunked\"",
        "",
    ] {
        story.refuses(post(
            &format!("transfer-encoding: {coding}\r\n"),
            "0\r\n\r\n",
        ));
    }
    story.refuses(post(
        "transfer-encoding: chunked\r\ntransfer-encoding: identity\r\n",
        "0\r\n\r\n",
    ));
    story.refuses(post(
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "0\r\n\r\n",
    ));
    story.end();
}

#[test]
fn bad_chunks_are_refused() {
    let story = Story::new();
    let chunks = [
        "zz\r\nabcd\r\n0\r\n\r\n",
        "\r\nabcd\r\n0\r\n\r\n",
        "+4\r\nabcd\r\n0\r\n\r\n",
        "-4\r\nabcd\r\n0\r\n\r\n",
        "0x4\r\nabcd\r\n0\r\n\r\n",
        " 4\r\nabcd\r\n0\r\n\r\n",
        "4 4\r\nabcd\r\n0\r\n\r\n",
        "4\nabcd\r\n0\r\n\r\n",
        "4\r\nabcdXX\r\n0\r\n\r\n",
        "4\r\nabcd0\r\n\r\n",
        "5\r\nabcd\r\n0\r\n\r\n",
        "4\r\nabcd\r\nx\r\n\r\n",
        "4;\0\r\nabcd\r\n0\r\n\r\n",
    ];
    for body in chunks {
        story.refuses(post("transfer-encoding: chunked\r\n", body));
    }
    story.end();
}

#[test]
fn a_chunk_size_beyond_any_number_is_refused() {
    let story = Story::new();
    for size in [
        "fffffffffffffffff",
        "ffffffffffffffff",
        "10000000000000004",
        "7fffffffffffffff",
    ] {
        let all = story.answers(post(
            "transfer-encoding: chunked\r\n",
            &format!("{size}\r\nabcd\r\n0\r\n\r\n"),
        ));
        assert!(
            all.starts_with("HTTP/1.1 413 ") || all.starts_with("HTTP/1.1 400 "),
            "{all}"
        );
    }
    story.end();
}

#[test]
fn chunk_extensions_and_trailers_are_read_over() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let mut client = balancer.client();
    for body in [
        "4;a=b\r\nabcd\r\n0;c\r\n\r\n",
        "4;a=\"GET / HTTP/1.1\"\r\nabcd\r\n0\r\n\r\n",
        "4\r\nabcd\r\n0\r\nx-checksum: 1\r\ncontent-length: 9\r\n\r\n",
        "004\r\nabcd\r\n000\r\n\r\n",
        "2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n",
    ] {
        client.send(post(
            "transfer-encoding: chunked\r\ntrailer: x-checksum\r\n",
            body,
        ));
        assert_eq!(client.answer().status, 200, "{body:?}");
        let seen = up.requests().pop().expect("a request");
        assert_eq!(
            (
                seen.text(),
                seen.head.get("content-length"),
                seen.head.has("x-checksum")
            ),
            ("abcd", Some("4"), false)
        );
    }
}

#[test]
fn extensions_and_trailers_without_end_are_refused() {
    let story = Story::new();
    for body in [
        format!("4;{}", "a".repeat(300_000)),
        format!("0\r\n{}", "x-a: b\r\n".repeat(40_000)),
    ] {
        let all = story.answers(post("transfer-encoding: chunked\r\n", &body));
        assert!(all.is_empty() || all.starts_with("HTTP/1.1 4"), "{all}");
    }
    story.end();
}

#[test]
fn folded_headers_are_refused() {
    let story = Story::new();
    story.refuses(post("x-a: 1\r\n folded\r\ncontent-length: 0\r\n", ""));
    story.refuses(post("x-a: 1\r\n\tcontent-length: 40\r\n", ""));
    story.refuses("GET /v1/models HTTP/1.1\r\n host: localhost\r\n\r\n");
    story.end();
}

#[test]
fn header_lines_that_are_none_are_refused() {
    let story = Story::new();
    for line in [
        "no colon",
        "content-length : 4",
        ": no name",
        "na me: x",
        "na\0me: x",
        "name: \0",
        "name: a\rb",
        "näme: x",
        "(name): x",
        "transfer-encoding : chunked",
    ] {
        story.refuses(post(&format!("{line}\r\n"), ""));
    }
    story.end();
}

#[test]
fn request_lines_that_are_none_are_refused() {
    let story = Story::new();
    for line in [
        "GET /v1/models",
        "GET",
        "/v1/models HTTP/1.1",
        "GET /v1/models HTTP/1.1 more",
        "GET /v1/a b HTTP/1.1",
        "GET  /v1/models HTTP/1.1",
        "GET v1/models HTTP/1.1",
        "GET /v1/models http/1.1",
        "GET /v1/models FTP/1.1",
        "G\0T /v1/models HTTP/1.1",
        "GET /v1/\0 HTTP/1.1",
        "GET /v1/\x7f HTTP/1.1",
        "G(T /v1/models HTTP/1.1",
    ] {
        story.refuses(format!("{line}\r\nhost: localhost\r\n\r\n"));
    }
    story.end();
}

#[test]
fn a_request_without_host_or_with_two_is_refused() {
    let story = Story::new();
    story.refuses("GET /v1/models HTTP/1.1\r\n\r\n");
    story.refuses("GET /v1/models HTTP/1.1\r\nhost: localhost\r\nhost: b\r\n\r\n");
    story.end();
}

#[test]
fn strange_greetings_get_one_answer_or_a_close() {
    let story = Story::new();
    let greetings: [&[u8]; 6] = [
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 a TLS client hello",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x12\x04",
        b"CONNECT elsewhere.test:443 HTTP/1.1\r\nhost: elsewhere.test\r\n\r\n",
        b"GET http://elsewhere.test/nowhere HTTP/1.1\r\nhost: elsewhere.test\r\nconnection: close\r\n\r\n",
        b"\0\0\0\0\0\0\r\n\r\n",
        b"GET /\n\n",
    ];
    for greeting in greetings {
        let all = story.answers([greeting, b"\r\n\r\n"].concat());
        assert!(
            all.is_empty() || all.starts_with("HTTP/1.1 4") || all.starts_with("HTTP/1.1 505 "),
            "{:?}: {all}",
            String::from_utf8_lossy(greeting)
        );
    }
    story.end();
}

#[test]
fn bare_line_feeds_make_no_second_request() {
    let story = Story::new();
    for bytes in [
        "GET /nowhere HTTP/1.1\nhost: a\nconnection: close\n\n",
        "GET /nowhere HTTP/1.1\r\nhost: a\nconnection: close\r\n\r\n",
        "POST /nowhere HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-a: b\ncontent-length: 40\r\n\r\n",
    ] {
        let all = story.answers(bytes);
        assert!(
            all.starts_with("HTTP/1.1 400 ") || all.starts_with("HTTP/1.1 404 "),
            "{bytes:?}: {all}"
        );
    }
    story.end();
}

#[test]
fn chunked_from_an_old_client_makes_no_second_request() {
    let story = Story::new();
    let head = "POST /v1/messages HTTP/1.0\r\ntransfer-encoding: chunked\r\nconnection: keep-alive\r\n\r\n";
    let mut client = story.balancer.client();
    client.send(format!("{head}0\r\n\r\n{SMUGGLED}"));
    let all = String::from_utf8(client.wire().everything()).expect("text");
    assert_eq!(status_lines(&all), 1, "{all}");
    assert!(
        story
            .up
            .requests()
            .iter()
            .all(|r| r.target() == "/v1/messages"),
        "{:?}",
        story.up.requests()
    );
    assert_eq!(story.balancer.ask().status, 200);
}

#[test]
fn a_body_shorter_than_announced_is_400() {
    let story = Story::new();
    for request in [
        post("content-length: 10\r\n", "12345"),
        post("transfer-encoding: chunked\r\n", "a\r\n12345"),
        post("transfer-encoding: chunked\r\n", "5\r\n12345\r\n"),
    ] {
        let mut client = story.balancer.client();
        client.send(request);
        client.wire().finish_writing();
        client.answer().own_error(400, "invalid_request_error");
        assert_eq!(client.ending(), Ending::Closed);
    }
    assert_eq!(story.up.count(), 0, "half a request is not sent");
    story.end();
}

#[test]
fn a_body_longer_than_announced_is_no_part_of_the_request() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let mut client = balancer.client();
    client.send(post("content-length: 4\r\n", "abcd and more\r\n\r\n"));
    assert_eq!(client.answer().status, 200);
    client.answer().own_error(400, "invalid_request_error");
    assert_eq!(client.ending(), Ending::Closed);
    assert_eq!(up.request().text(), "abcd");
}

#[test]
fn what_looks_like_a_request_in_a_body_is_a_body() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let mut client = balancer.client();
    for chunked in [false, true] {
        let request = Request::message().body(SMUGGLED);
        client.ask(&if chunked { request.chunked() } else { request });
        assert_eq!(up.requests().pop().expect("a request").text(), SMUGGLED);
    }
    // A GET's body, too.
    client.send(format!(
        "GET /nowhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{SMUGGLED}",
        SMUGGLED.len()
    ));
    let answer = client.answer();
    answer.own_error(404, "not_found_error");
    if answer.header("connection") == Some("close") {
        assert_eq!(client.ending(), Ending::Closed);
    } else {
        assert_eq!(client.ask(&Request::message()).status, 200);
    }
    assert!(up.requests().iter().all(|r| r.target() == "/v1/messages"));
}

#[test]
fn empty_lines_before_a_request_are_forgiven() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let mut client = balancer.client();
    client.send("\r\n").send(Request::message().bytes());
    assert_eq!(client.answer().status, 200);
}

//! Answers that break after their first byte: every client can tell.

use crate::common::events::{block_start, delta, event, message, message_start};
use crate::common::prelude::*;

/// Asserts that the stream holds these whole events and then one error event of ours.
#[track_caller]
fn breaks_after(answer: &Answer, events: &[String]) -> String {
    let got = answer.events();
    assert_eq!(
        got[..got.len() - 1],
        *events,
        "what was whole is passed on, what was not is not"
    );
    let last = got[got.len() - 1];
    let data = last
        .strip_prefix("event: error\ndata: ")
        .and_then(|d| d.strip_suffix("\n\n"));
    let data = data.unwrap_or_else(|| panic!("one error event of two lines: {last:?}"));
    let json: Value = serde_json::from_str(data).expect("JSON");
    assert_eq!(json["type"], "error");
    assert!(
        json["error"]["type"]
            .as_str()
            .expect("a type")
            .ends_with("_error"),
        "{json}"
    );
    assert!(!data.contains("token-one"));
    json["error"]["message"]
        .as_str()
        .expect("a message")
        .to_owned()
}

/// A story with one endpoint that answers the first request like this; the next one must work on the same connection.
#[track_caller]
fn ask_once(reply: Reply, setup: impl Fn(Setup) -> Setup) -> (Answer, Balancer) {
    let up = Upstream::script([reply]);
    let balancer = setup(balance(&[&up])).start();
    let mut client = balancer.client();
    let answer = client.ask(&Request::message());
    assert_eq!(
        client.ask(&Request::message()).status,
        200,
        "the next request on the same connection is served"
    );
    (answer, balancer)
}

/// The events `start` as chunks, then these bytes as they are.
fn stream_then(start: &[String], bytes: &[u8]) -> Vec<u8> {
    let mut out =
        b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            .to_vec();
    for event in start {
        out.extend(format!("{:x}\r\n{event}\r\n", event.len()).bytes());
    }
    out.extend_from_slice(bytes);
    out
}

fn chunk(data: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat()
}

#[test]
fn a_stream_that_ends_without_message_stop_is_broken_however_it_ends() {
    let events = [message_start(), block_start(), delta("half")];
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
    let text = events.concat();
    for reply in [
        stream(&events),
        stream(&events).close(),
        stream(&events).reset(),
        raw(format!("{head}\r\n{text}")),
        raw(format!(
            "{head}content-length: {}\r\n\r\n{text}",
            text.len()
        )),
        raw(format!(
            "{head}content-length: {}\r\n\r\n{text}",
            text.len() + 10
        )),
    ] {
        let (answer, balancer) = ask_once(reply, |s| s);
        breaks_after(&answer, &events);
        balancer.settle();
        assert_eq!(
            balancer.endpoint(0)["failures"],
            1,
            "a broken answer counts"
        );
        assert_eq!(balancer.state(0), "up", "but costs no rest");
    }
}

#[test]
fn a_stream_that_falls_silent_gets_an_error_event() {
    let events = [message_start(), block_start()];
    let (answer, balancer) = ask_once(stream(&events).stall(), |s| s.set("idleSeconds", 0.25));
    breaks_after(&answer, &events);
    balancer.settle();
    assert_eq!(balancer.endpoint(0)["failures"], 1);
}

#[test]
fn a_stream_cut_anywhere_ends_with_one_error_event() {
    let start = [message_start(), block_start()];
    let euro = delta("€");
    let in_character = euro.find('€').expect("it is there") + 1;
    let cuts: [(&str, Vec<u8>); 7] = [
        ("between events", Vec::new()),
        ("in an event", chunk(&delta("lost").as_bytes()[..20])),
        (
            "before an event's empty line",
            chunk(delta("lost").trim_end().as_bytes()),
        ),
        (
            "in a UTF-8 character",
            chunk(&euro.as_bytes()[..in_character]),
        ),
        ("in a chunk", b"40\r\nevent: content_block".to_vec()),
        ("in a chunk's size", b"4".to_vec()),
        (
            "by a chunk size that is none",
            b"zz\r\nevent: ping".to_vec(),
        ),
    ];
    for (place, bytes) in cuts {
        for reset in [false, true] {
            let up = Upstream::script([by_hand()]);
            let balancer = balance(&[&up]).start();
            let mut client = balancer.client();
            client.send(Request::message().bytes());
            let mut call = up.call();
            call.begin().chunk(start.concat());
            let head = client.head();
            // Only now: a reset overtakes what was not taken yet.
            let events = [client.event(), client.event()];
            assert_eq!(events, start);
            call.send(&bytes);
            if reset {
                call.reset()
            } else {
                drop(call)
            }
            let (rest, whole) = client.rest();
            let answer = Answer {
                status: 200,
                head,
                body: [start.concat().as_bytes(), &rest].concat(),
                whole,
            };
            assert!(whole, "cut {place}");
            breaks_after(&answer, &start);
            assert_eq!(client.ask(&Request::message()).status, 200, "cut {place}");
        }
    }
}

#[test]
fn silence_in_the_middle_of_an_event_does_not_tear_it() {
    let start = [message_start()];
    let reply = raw(stream_then(
        &start,
        &chunk(b"event: content_block_delta\ndata: {\"ty"),
    ))
    .stall();
    let (answer, _) = ask_once(reply, |s| s.set("idleSeconds", 0.25));
    breaks_after(&answer, &start);
}

#[test]
fn a_chunks_line_that_does_not_end_breaks_the_answer() {
    let start = [message_start()];
    let long = "x".repeat(200 << 10);
    for line in [format!("5;{long}"), format!("0\r\ntrailer: {long}")] {
        // `idleSeconds` is far away: it is not silence that ends this one.
        let reply = raw(stream_then(&start, line.as_bytes())).stall();
        let (answer, _) = ask_once(reply, |s| s);
        breaks_after(&answer, &start);
    }
}

#[test]
fn a_compressed_stream_that_breaks_is_cut_so_that_the_client_can_tell() {
    let pieces: [&[u8]; 2] = [b"\x1f\x8b\x08\0\0\0\0\0", b"\0\x03rest of it"];
    let reply = status(200)
        .header("content-type", "text/event-stream")
        .header("content-encoding", "gzip")
        .chunks(&pieces);
    for reply in [reply.clone().close(), reply.clone().reset(), reply.stall()] {
        let up = Upstream::script([reply]);
        let balancer = balance(&[&up]).set("idleSeconds", 0.25).start();
        let mut client = balancer.client();
        let answer = client.ask(&Request::message());
        assert!(
            !answer.whole,
            "a proper end would be a lie: {:?}",
            answer.head
        );
        assert!(
            pieces.concat().starts_with(&answer.body),
            "nothing is written into it"
        );
        assert_eq!(balancer.ask().status, 200);
    }
}

#[test]
fn a_body_that_breaks_is_cut_so_that_the_client_can_tell() {
    let length = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100\r\n\r\n{\"half\":";
    let chunked = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n8\r\n{\"half\":\r\n";
    // A close without a head would look like a kept connection that had ended, and many a client sends again then.
    let bare =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    for reply in [
        raw(bare),
        raw([bare, "no chunk at all\r\n"].concat()),
        raw(length.split_inclusive("\r\n\r\n").next().expect("a head")),
        raw(length),
        raw(length).reset(),
        raw(length).stall(),
        raw(chunked),
        raw(chunked).stall(),
    ] {
        let (up, other) = (Upstream::script([reply]), Upstream::always(ok("other")));
        let balancer = balance(&[&up, &other]).set("idleSeconds", 0.25).start();
        let answer = balancer.ask();
        assert_eq!((answer.status, answer.whole), (200, false));
        assert!(
            answer.head.has("content-length") || answer.head.has("transfer-encoding"),
            "{:?}",
            answer.head
        );
        assert_eq!(other.count(), 0, "no second attempt after the first byte");
        balancer.settle();
        assert_eq!(balancer.endpoint(0)["failures"], 1);
    }
}

#[test]
fn an_old_clients_stream_ends_with_the_connection() {
    let events = [message_start(), delta("half")];
    let up = Upstream::script([stream(&message("hi")), stream(&events).close()]);
    let balancer = balance(&[&up]).start();
    let request = Request::message().version("1.0");
    assert_eq!(balancer.send(&request).text(), message("hi").concat());
    breaks_after(&balancer.send(&request), &events);
}

#[test]
fn a_stream_of_other_events_that_breaks_gets_an_error_event_too() {
    let events = [event(&json!({"type": "job_progress", "percent": 50}))];
    let up = Upstream::script([stream(&events).close()]);
    let balancer = balance(&[&up]).start();
    breaks_after(&balancer.get("/v1/jobs/1/events"), &events);
}

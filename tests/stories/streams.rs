//! Event streams: passed on as they come, and always with an end that a client can understand.

use crate::common::events::{delta, event, message, message_start, message_stop, ping};
use crate::common::prelude::*;

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

#[test]
fn each_event_is_passed_on_when_it_comes() {
    let up = Upstream::by_hand();
    let balancer = balance(&[&up]).start();
    let mut client = balancer.client();
    for _ in 0..2 {
        client.send(Request::message().bytes());
        let mut call = up.call();
        call.begin();
        for (n, event) in message("hello").iter().enumerate() {
            call.chunk(event);
            if n == 0 {
                let head = client.head();
                assert_eq!(head.get("content-type"), Some("text/event-stream"));
                assert_eq!(head.get("x-accel-buffering"), Some("no"));
                assert_eq!(head.get("x-served-by"), Some("one"));
                assert_eq!(head.get("transfer-encoding"), Some("chunked"));
            }
            assert_eq!(client.event(), *event);
        }
        call.end();
        assert_eq!(
            client.rest(),
            (Vec::new(), true),
            "and the next request goes on the same connection"
        );
    }
    assert_eq!(up.connections(), 1);
}

#[test]
fn a_stream_arrives_byte_for_byte() {
    let strange = format!(
        ": a comment\n\n{}id: 7\nretry: 5\ndata: a\ndata: b\n\ndata:no space\n\n\n\n{}",
        ping(),
        message("é€😀").concat()
    );
    let (answer, _) = ask_once(stream(std::slice::from_ref(&strange)), |s| s);
    assert_eq!(answer.text(), strange);
}

#[test]
fn other_line_ends_are_line_ends_too() {
    for end in ["\r\n", "\r"] {
        let text = message("x").concat().replace('\n', end);
        let (answer, balancer) = ask_once(stream(std::slice::from_ref(&text)), |s| s);
        assert!(answer.whole);
        assert_eq!(answer.text(), text);
        balancer.settle();
        assert_eq!(
            balancer.endpoint(0)["failures"],
            0,
            "a whole message stream with {end:?}"
        );
    }
}

#[test]
fn comment_lines_are_passed_at_once() {
    let up = Upstream::by_hand();
    let balancer = balance(&[&up]).start();
    let mut client = balancer.client();
    client.send(Request::message().bytes());
    let mut call = up.call();
    call.begin().chunk(message_start());
    client.head();
    assert_eq!(client.event(), message_start());
    call.chunk(": still here\n");
    let piece = client.piece().expect("a piece").expect("not the end");
    assert_eq!(piece, b": still here\n");
    call.chunk("\n").chunk(message_stop());
    call.end();
    let (rest, whole) = client.rest();
    assert!(whole);
    assert_eq!(
        String::from_utf8_lossy(&rest),
        format!("\n{}", message_stop())
    );
}

#[test]
fn events_split_at_any_byte_arrive_whole() {
    let text = message("é€😀").concat();
    let bytes: Vec<[u8; 1]> = text.bytes().map(|b| [b]).collect();
    let (answer, _) = ask_once(stream(&[]).chunks(&bytes), |s| s);
    assert_eq!(answer.text(), text);
    assert!(answer.whole);
}

#[test]
fn an_event_larger_than_any_buffer_arrives_whole() {
    let events = [
        message_start(),
        delta(&"long ".repeat(300_000)),
        message_stop(),
    ];
    let (answer, balancer) = ask_once(stream(&events), |s| s);
    assert!(answer.whole);
    assert!(answer.text() == events.concat());
    assert_eq!(balancer.endpoint(0)["failures"], 0);
}

#[test]
fn a_stream_with_a_length_or_until_close_is_a_stream_too() {
    let text = message("hi").concat();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
    let until_close = raw(format!("{head}\r\n{text}"));
    let with_length = raw(format!(
        "{head}content-length: {}\r\n\r\n{text}",
        text.len()
    ));
    for reply in [until_close, with_length] {
        let (answer, _) = ask_once(reply, |s| s);
        assert!(answer.whole);
        assert_eq!(answer.text(), text);
    }
}

#[test]
fn a_stream_that_goes_on_within_idle_seconds_is_never_too_long() {
    let up = Upstream::by_hand();
    let balancer = balance(&[&up])
        .set("idleSeconds", 3)
        .set("responseSeconds", 3)
        .start();
    let mut client = balancer.client();
    client.send(Request::message().bytes());
    let mut call = up.call();
    call.begin().chunk(message_start());
    client.head();
    client.event();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(4) {
        client.hears_nothing();
        call.chunk(ping());
        assert_eq!(client.event(), ping());
    }
    call.chunk(message_stop());
    call.end();
    assert_eq!(client.rest(), (message_stop().into_bytes(), true));
}

#[test]
fn a_compressed_stream_passes_piece_by_piece_unchanged() {
    let pieces: [&[u8]; 3] = [b"\x1f\x8b\x08\0", b"\n\nevent: ", b"\xff\0\x80"];
    let reply = status(200)
        .header("content-type", "text/event-stream")
        .header("content-encoding", "gzip")
        .chunks(&pieces);
    let (answer, balancer) = ask_once(reply, |s| s);
    assert!(answer.whole);
    assert_eq!(answer.body, pieces.concat());
    balancer.settle();
    assert_eq!(balancer.endpoint(0)["failures"], 0);
}

#[test]
fn a_stream_of_other_events_needs_no_message_stop() {
    let events = [
        event(&json!({"type": "job_progress", "percent": 50})),
        event(&json!({"type": "job_done"})),
    ];
    let up = Upstream::script([stream(&events)]);
    let balancer = balance(&[&up]).start();
    let answer = balancer.get("/v1/jobs/1/events");
    assert!(answer.whole);
    assert_eq!(answer.text(), events.concat());
    balancer.settle();
    assert_eq!(balancer.endpoint(0)["failures"], 0);
}

#[test]
fn a_client_that_leaves_a_stream_ends_it_and_costs_nobody() {
    let up = Upstream::by_hand();
    let balancer = balance(&[&up]).start();
    for reset in [false, true] {
        let mut client = balancer.client();
        client.send(Request::message().bytes());
        let mut call = up.call();
        call.begin().chunk(message_start());
        client.head();
        client.event();
        if reset {
            client.reset();
        } else {
            drop(client);
        }
        assert!(call.is_left(), "the endpoint sees that nobody listens");
        balancer.settle();
    }
    let one = balancer.endpoint(0);
    assert_eq!(
        (&one["failures"], &one["state"], &one["requests"]),
        (&json!(0), &json!("up"), &json!(2))
    );
}

#[test]
fn a_client_that_leaves_before_the_answer_ends_the_attempt_and_costs_nobody() {
    let (up, other) = (Upstream::by_hand(), Upstream::always(ok("{}")));
    let balancer = balance(&[&up, &other]).start();
    let mut client = balancer.client();
    client.send(Request::message().bytes());
    let mut call = up.call();
    drop(client);
    assert!(call.is_left(), "the endpoint sees that nobody waits");
    balancer.settle();
    let one = balancer.endpoint(0);
    assert_eq!((&one["failures"], &one["state"]), (&json!(0), &json!("up")));
    assert_eq!(other.count(), 0, "and no other endpoint is asked");
}

#[test]
fn fifty_kept_connections_are_served_beside_fifty_streams() {
    let up = Upstream::always(ok("{}"));
    let streaming = Upstream::by_hand();
    let balancer = balance(&[&streaming, &up]).start();
    let file = |n: usize| Request::new("GET", &format!("/v1/files/{n}"));
    let mut listeners: Vec<(Client, _)> = (0..50)
        .map(|n| {
            let mut client = balancer.client();
            client.send(file(n).bytes());
            let mut call = streaming.call();
            call.begin().chunk(message_start());
            client.head();
            client.event();
            (client, call)
        })
        .collect();
    streaming.henceforth(ok("{}"));
    let mut kept: Vec<Client> = (0..50).map(|_| balancer.client()).collect();
    for _ in 0..3 {
        for client in &mut kept {
            assert_eq!(client.ask(&Request::message()).status, 200);
        }
        for (client, call) in &mut listeners {
            call.chunk(ping());
            assert_eq!(client.event(), ping());
        }
    }
    for (mut client, mut call) in listeners {
        call.chunk(message_stop());
        call.end();
        assert_eq!(client.rest(), (message_stop().into_bytes(), true));
    }
    assert_eq!(balancer.health()["endpoints"][0]["failures"], 0);
}

#[test]
fn a_stream_holds_its_prompt_no_longer_than_it_may_be_sent_again() {
    let up = Upstream::by_hand();
    let balancer = balance(&[&up]).start();
    let prompt = Request::message().body(vec![b'x'; 8 << 20]).bytes();
    let mut streams = Vec::new();
    for _ in 0..12 {
        let mut client = balancer.client();
        client.send(&prompt);
        let mut call = up.call();
        call.begin().chunk(message_start());
        client.head();
        assert_eq!(client.event(), message_start());
        streams.push((client, call));
    }
    let held = balancer.memory();
    assert!(held < 64 << 10, "{held} KiB beside 12 prompts of 8 MiB");
    for (mut client, mut call) in streams {
        call.chunk(message_stop());
        call.end();
        assert_eq!(client.rest(), (message_stop().into_bytes(), true));
    }
}

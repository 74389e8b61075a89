//! The first-event gate: a stream is the client's only when its first event is there.

use crate::common::events::{message, message_start, overloaded};
use crate::common::prelude::*;

#[test]
fn a_stream_that_dies_before_its_first_event_is_never_seen() {
    for reply in [
        stream(&[]),
        stream(&[]).close(),
        stream(&[]).reset(),
        stream(&[message_start()[..30].to_owned()]).close(),
        stream(&[overloaded()]),
        stream(&[overloaded()]).close(),
        stream(&[": hello\n\n".to_owned(), overloaded()]),
        raw("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 0\r\n\r\n"),
    ] {
        let (sick, well) = (
            Upstream::script([reply]),
            Upstream::always(stream(&message("fine"))),
        );
        let balancer = balance(&[&sick, &well]).start();
        let answer = balancer.ask();
        assert_eq!(
            (answer.served_by(), answer.text()),
            ("two", message("fine").concat().as_str())
        );
        assert_eq!(sick.count(), 1);
        let sick = balancer.endpoint(0);
        assert_eq!(
            (&sick["failures"], &sick["state"]),
            (&json!(1), &json!("up")),
            "it costs no rest"
        );
    }
}

#[test]
fn streams_that_all_die_before_their_first_event_become_our_own_500() {
    let (a, b) = (
        Upstream::always(stream(&[])),
        Upstream::always(stream(&[overloaded()])),
    );
    let balancer = balance(&[&a, &b]).start();
    balancer.ask().own_error(500, "internal_error");
    assert_eq!((a.count(), b.count()), (1, 1));
}

#[test]
fn an_error_status_is_more_telling_than_a_stream_that_died() {
    let (a, b) = (
        Upstream::always(stream(&[])),
        Upstream::always(api_error(529, "overloaded_error", "busy")),
    );
    let balancer = balance(&[&a, &b]).start();
    for _ in 0..2 {
        let answer = balancer.ask();
        assert_eq!((answer.status, answer.served_by()), (529, "two"));
    }
}

#[test]
fn without_failover_a_stream_that_begins_with_an_error_goes_to_the_client() {
    let up = Upstream::always(stream(&[overloaded()]));
    let other = Upstream::always(ok("other"));
    let balancer = balance(&[&up, &other]).set("failover", false).start();
    let answer = balancer.ask();
    assert_eq!((answer.status, answer.served_by()), (200, "one"));
    assert!(
        answer.text().starts_with(&overloaded()),
        "{}",
        answer.text()
    );
    assert_eq!(other.count(), 0);
}

#[test]
fn nothing_of_a_stream_goes_out_before_its_first_event() {
    let (up, other) = (
        Upstream::script([by_hand()]),
        Upstream::always(stream(&message("fine"))),
    );
    let balancer = balance(&[&up, &other]).start();
    let mut client = balancer.client();
    client.send(Request::message().bytes());
    let mut call = up.call();
    call.begin();
    client.hears_nothing();
    call.chunk("event: message_start\n");
    client.hears_nothing();
    drop(call);
    assert_eq!(client.answer().text(), message("fine").concat());
}

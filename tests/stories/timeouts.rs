//! Endpoints and clients that take too long.

use crate::common::events::{message, ping};
use crate::common::prelude::*;

#[test]
fn an_endpoint_without_a_first_byte_is_408_and_not_asked_again() {
    let (silent, other) = (Upstream::by_hand(), Upstream::always(ok("other")));
    let balancer = balance(&[&silent, &other])
        .set("responseSeconds", 0.3)
        .start();
    let start = Instant::now();
    balancer.ask().own_error(408, "timeout_error");
    assert!(
        start.elapsed() >= Duration::from_millis(290),
        "it had its time"
    );
    assert_eq!(
        (silent.count(), other.count()),
        (1, 0),
        "some endpoint may be working on it"
    );
    let one = balancer.endpoint(0);
    assert_eq!(
        (&one["state"], &one["failures"]),
        (&json!("resting"), &json!(1)),
        "who is silent once is not asked again at once"
    );
    assert!(silent.call().is_left(), "the attempt is given up");
}

#[test]
fn a_kept_connection_without_a_first_byte_is_not_taken_for_a_closed_one() {
    let up = Upstream::script([ok("1"), by_hand(), ok("sent again")]);
    let balancer = balance(&[&up]).set("responseSeconds", 0.3).start();
    assert_eq!(balancer.ask().text(), "1");
    balancer.settle();
    balancer.ask().own_error(408, "timeout_error");
    assert_eq!(
        (up.count(), up.connections()),
        (2, 1),
        "some endpoint may be working on it"
    );
}

#[test]
fn half_a_head_is_no_first_event_either() {
    for start in [
        "HTTP/1.1 200 OK\r\ncontent-ty",
        "HTTP/1.1 100 Continue\r\n\r\n",
    ] {
        let (silent, other) = (
            Upstream::script([raw(start).stall()]),
            Upstream::always(ok("other")),
        );
        let balancer = balance(&[&silent, &other])
            .set("responseSeconds", 0.3)
            .start();
        balancer.ask().own_error(408, "timeout_error");
        assert_eq!(other.count(), 0);
    }
}

#[test]
fn a_stream_without_a_first_event_in_time_is_408() {
    for chunks in [
        vec![],
        vec![": wait\n\n".to_owned()],
        vec!["event: message_start\n".to_owned()],
    ] {
        let (silent, other) = (
            Upstream::script([stream(&chunks).stall()]),
            Upstream::always(ok("other")),
        );
        let balancer = balance(&[&silent, &other])
            .set("responseSeconds", 0.3)
            .start();
        balancer.ask().own_error(408, "timeout_error");
        assert_eq!(other.count(), 0);
        let one = balancer.endpoint(0);
        assert_eq!(
            (&one["state"], &one["failures"]),
            (&json!("resting"), &json!(1))
        );
    }
}

#[test]
fn a_connection_is_usable_after_a_408_of_an_endpoint() {
    let up = Upstream::script([by_hand(), ok("next")]);
    let balancer = balance(&[&up]).set("responseSeconds", 0.2).start();
    let mut client = balancer.client();
    client
        .ask(&Request::message())
        .own_error(408, "timeout_error");
    assert_eq!(client.ask(&Request::message()).text(), "next");
}

#[test]
fn a_408_of_an_endpoint_is_its_answer() {
    let (up, other) = (
        Upstream::always(status(408).body("slow you")),
        Upstream::always(ok("other")),
    );
    let answer = balance(&[&up, &other]).start().ask();
    assert_eq!((answer.status, answer.text()), (408, "slow you"));
}

#[test]
fn a_failed_attempt_before_a_silent_one_still_ends_in_408() {
    let (busy, silent, other) = (
        Upstream::always(status(529)),
        Upstream::by_hand(),
        Upstream::always(ok("other")),
    );
    let balancer = balance(&[&busy, &silent, &other])
        .set("responseSeconds", 0.2)
        .start();
    balancer.ask().own_error(408, "timeout_error");
    assert_eq!(other.count(), 0);
}

#[test]
fn a_head_that_is_begun_and_not_finished_in_time_is_408_and_closed() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).set("clientSeconds", 0.3).start();
    let mut client = balancer.client();
    client.send("POST /v1/messages HTTP/1.1\r\nhost: localhost\r\n");
    client.answer().own_error(408, "timeout_error");
    assert_eq!(client.ending(), Ending::Closed);
    assert_eq!(up.count(), 0);
}

#[test]
fn a_head_must_be_whole_within_client_seconds_however_it_trickles() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).set("clientSeconds", 0.4).start();
    let mut client = balancer.client();
    let start = Instant::now();
    client.send("GET /v1/models HTTP/1.1\r\n");
    while client.wire().is_silent_for(Duration::from_millis(40)) {
        client.send("x");
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "a trickling head is not waited for"
        );
    }
    client.answer().own_error(408, "timeout_error");
}

#[test]
fn a_body_that_stalls_is_408_and_closed() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).set("clientSeconds", 0.3).start();
    for head in [
        "content-length: 10\r\n\r\n12345",
        "transfer-encoding: chunked\r\n\r\na\r\n12345",
        "transfer-encoding: chunked\r\n\r\n",
    ] {
        let mut client = balancer.client();
        client.send(format!(
            "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\n{head}"
        ));
        client.answer().own_error(408, "timeout_error");
        assert_eq!(client.ending(), Ending::Closed);
    }
    assert_eq!(up.count(), 0);
}

#[test]
fn what_came_while_the_process_stood_still_counts() {
    let up = Upstream::script([ok("first"), by_hand(), ok("rest"), ok("rest")]);
    let balancer = balance(&[&up])
        .set("responseSeconds", 1)
        .set("clientSeconds", 1)
        .start();
    let (mut kept, mut sending, mut waiting) =
        (balancer.client(), balancer.client(), balancer.client());
    kept.send(Request::message().bytes());
    assert_eq!(kept.answer().text(), "first");
    sending.send("POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 2\r\n\r\n{");
    waiting.send(Request::message().bytes());
    let call = up.call();
    balancer.freeze();
    kept.send(Request::message().bytes());
    sending.send("}");
    call.answer(ok("answered"));
    // Nothing comes of a process that stands still, for longer than anybody has patience.
    assert!(waiting.wire().is_silent_for(Duration::from_millis(1500)));
    balancer.signal(Signal::SIGCONT);
    assert_eq!(waiting.answer().text(), "answered");
    assert_eq!(sending.answer().text(), "rest");
    assert_eq!(kept.answer().text(), "rest");
    assert_eq!(balancer.endpoint(0)["failures"], 0);
}

#[test]
fn a_whole_request_must_arrive_within_request_seconds() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).set("requestSeconds", 0.4).start();
    let mut client = balancer.client();
    let start = Instant::now();
    client.send("POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000000\r\n\r\n");
    while client.wire().is_silent_for(Duration::from_millis(40)) {
        client.send("x");
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "a trickling body is not waited for"
        );
    }
    client.answer().own_error(408, "timeout_error");
    assert_eq!(client.ending(), Ending::Closed);
    assert_eq!(up.count(), 0);
}

#[test]
fn a_slow_body_that_goes_on_is_served() {
    let up = Upstream::always(ok("{}"));
    // Far more than a pause of this story's on a busy machine.
    let balancer = balance(&[&up]).set("clientSeconds", 3).start();
    let mut client = balancer.client();
    client.send(
        "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n",
    );
    let start = Instant::now();
    let mut sent = 0;
    while start.elapsed() < Duration::from_secs(4) {
        client.hears_nothing();
        client.send("1\r\nx\r\n");
        sent += 1;
    }
    client.send("0\r\n\r\n");
    assert_eq!(client.answer().status, 200);
    assert_eq!(up.request().text(), "x".repeat(sent));
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).set("clientSeconds", 0.3).start();
    let mut fresh = balancer.client();
    let mut used = balancer.client();
    assert_eq!(used.ask(&Request::message()).status, 200);
    assert_eq!(fresh.wire().everything(), b"");
    assert_eq!(used.wire().everything(), b"");
}

#[test]
fn a_client_that_waits_for_its_answer_is_not_idle() {
    let up = Upstream::by_hand();
    let balancer = balance(&[&up]).set("clientSeconds", 0.2).start();
    let mut client = balancer.client();
    client.send(Request::message().bytes());
    let mut call = up.call();
    (0..4).for_each(|_| client.hears_nothing());
    call.begin();
    for event in message("late") {
        call.chunk(event);
    }
    call.end();
    assert_eq!(client.answer().text(), message("late").concat());
}

#[test]
fn what_the_kernel_takes_for_a_client_does_not_prolong_its_silence() {
    let up = Upstream::always(ok("x".repeat(64 << 20)));
    let balancer = balance(&[&up]).set("clientSeconds", 4).start();
    let mut client = balancer.client();
    let start = Instant::now();
    client.send(Request::message().bytes());
    // Nobody reads. The line is written when the worker has given up.
    balancer.logged(&["method=POST", "client gone"]);
    let held = start.elapsed();
    assert!(
        held < Duration::from_secs(8),
        "twice clientSeconds: {held:?}"
    );
}

#[test]
fn a_client_that_does_not_take_its_answer_is_left_after_client_seconds() {
    let up = Upstream::script([by_hand()]);
    let balancer = balance(&[&up])
        .set("clientSeconds", 0.4)
        .set("workers", 1)
        .set("queue", 4)
        .start();
    let mut client = balancer.client();
    client.send(Request::message().bytes());
    let mut call = up.call();
    call.begin();
    let wall = ping().repeat(3000);
    // The endpoint writes until nobody takes it any more; then the balancer gives both sides up.
    let chunk = format!("{:x}\r\n{wall}\r\n", wall.len());
    let sender = std::thread::spawn(move || while call.try_send(&chunk) {});
    assert_eq!(balancer.ask().status, 200, "the one worker is free again");
    sender.join().expect("the endpoint's side");
    let one = balancer.endpoint(0);
    assert_eq!(
        (&one["state"], &one["failures"]),
        (&json!("up"), &json!(0)),
        "no fault of the endpoint's"
    );
}

//! How much is served at the same time, and what happens to the rest.

use std::sync::Barrier;
use std::thread;

use crate::common::prelude::*;

/// A client whose request is being answered by hand.
fn occupy(balancer: &Balancer, up: &Upstream) -> (Client, Call) {
    let mut client = balancer.client();
    client.send(Request::message().bytes());
    (client, up.call())
}

#[track_caller]
fn turned_away(answer: &Answer) {
    answer.own_error(503, "overloaded_error");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[test]
fn two_hundred_clients_at_one_instant_are_all_served() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let gate = Barrier::new(200);
    thread::scope(|scope| {
        let (gate, balancer) = (&gate, &balancer);
        let ask = move |n: usize| {
            gate.wait();
            balancer.post(&format!("/v1/{n}"), "{}").status
        };
        let asking: Vec<_> = (0..200).map(|n| scope.spawn(move || ask(n))).collect();
        assert!(
            asking
                .into_iter()
                .all(|a| a.join().expect("a client") == 200)
        );
    });
    let mut asked: Vec<String> = up
        .requests()
        .iter()
        .map(|r| r.target().to_owned())
        .collect();
    asked.sort();
    let mut expected: Vec<String> = (0..200).map(|n| format!("/v1/{n}")).collect();
    expected.sort();
    assert_eq!(asked, expected, "each once");
}

#[test]
fn without_a_queue_one_more_request_is_503_at_once() {
    let up = Upstream::by_hand();
    let balancer = balance(&[&up]).set("workers", 1).set("queue", 0).start();
    let (mut client, call) = occupy(&balancer, &up);
    let start = Instant::now();
    let mut other = balancer.client();
    turned_away(&other.ask(&Request::message()));
    assert!(start.elapsed() < Duration::from_secs(2), "at once");
    call.answer(ok("{}"));
    assert_eq!(client.answer().status, 200);
    up.henceforth(ok("again"));
    // The connection was kept, and the worker is free as soon as it has seen its answer go.
    eventually("the worker is free", || {
        (other.ask(&Request::message()).text() == "again").then_some(())
    });
}

#[test]
fn the_queue_takes_as_many_as_it_says() {
    let up = Upstream::by_hand();
    let balancer = balance(&[&up]).set("workers", 1).set("queue", 2).start();
    let (mut running, call) = occupy(&balancer, &up);
    let mut waiting: Vec<Client> = (0..2).map(|_| balancer.client()).collect();
    for (n, client) in waiting.iter_mut().enumerate() {
        client.send(Request::message().bytes());
        eventually("it waits", || {
            (balancer.health()["queued"] == n + 1).then_some(())
        });
    }
    turned_away(&balancer.ask());
    assert_eq!(balancer.health()["inFlight"], 1);
    up.henceforth(ok("waited"));
    call.answer(ok("ran"));
    assert_eq!(running.answer().text(), "ran");
    for client in &mut waiting {
        assert_eq!(client.answer().text(), "waited");
    }
}

#[test]
fn a_request_waits_for_a_worker_no_longer_than_queue_seconds() {
    let up = Upstream::by_hand();
    let balancer = balance(&[&up])
        .set("workers", 1)
        .set("queueSeconds", 0.3)
        .start();
    let (mut client, call) = occupy(&balancer, &up);
    let start = Instant::now();
    turned_away(&balancer.ask());
    assert!(start.elapsed() >= Duration::from_millis(290), "it waited");
    call.answer(ok("{}"));
    assert_eq!(client.answer().status, 200);
    assert_eq!(up.count(), 1, "what was turned away is not served later");
    assert_eq!(balancer.health()["queued"], 0);
}

#[test]
fn a_client_that_leaves_the_queue_costs_no_attempt() {
    let up = Upstream::by_hand();
    let balancer = balance(&[&up]).set("workers", 1).start();
    let (mut client, call) = occupy(&balancer, &up);
    let mut leaving = balancer.client();
    leaving.send(Request::message().bytes());
    eventually("it waits", || {
        (balancer.health()["queued"] == 1).then_some(())
    });
    drop(leaving);
    eventually("its place is free", || {
        (balancer.health()["queued"] == 0).then_some(())
    });
    up.henceforth(ok("next"));
    call.answer(ok("{}"));
    assert_eq!(client.answer().status, 200);
    assert_eq!(balancer.ask().text(), "next");
    assert_eq!(up.count(), 2, "nobody's request is not sent");
}

#[test]
fn health_and_metrics_answer_while_every_worker_is_busy() {
    let up = Upstream::by_hand();
    let balancer = balance(&[&up]).set("workers", 1).set("queue", 0).start();
    let (mut client, call) = occupy(&balancer, &up);
    let health = balancer.health();
    assert_eq!(
        (&health["inFlight"], &health["workers"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(balancer.get("/metrics").status, 200);
    assert_eq!(balancer.get("/").status, 200);
    assert_eq!(
        balancer
            .send(&Request::new("OPTIONS", "/v1/messages"))
            .status,
        204
    );
    balancer.get("/nowhere").own_error(404, "not_found_error");
    call.answer(ok("{}"));
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_slow_upload_never_holds_a_worker() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).set("workers", 1).set("queue", 1).start();
    let mut slow: Vec<Client> = (0..5).map(|_| balancer.client()).collect();
    for client in &mut slow {
        client.send("POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 4\r\n\r\n");
        assert_eq!(status_of(&client.head()), 100, "its body is being read");
        client.send("12");
    }
    assert_eq!(balancer.ask().status, 200);
    for client in &mut slow {
        client.send("34");
        assert_eq!(client.answer().status, 200);
    }
}

#[test]
fn an_endpoint_at_its_max_concurrent_is_passed_over() {
    let (small, other) = (Upstream::by_hand(), Upstream::always(ok("other")));
    let balancer = balance(&[&small])
        .with("maxConcurrent", 1)
        .endpoint(other.url())
        .start();
    let (mut client, call) = occupy(&balancer, &small);
    for _ in 0..3 {
        assert_eq!(balancer.ask().text(), "other");
    }
    let one = balancer.endpoint(0);
    assert_eq!(
        (&one["state"], &one["inFlight"]),
        (&json!("full"), &json!(1))
    );
    call.answer(ok("small"));
    assert_eq!(client.answer().text(), "small");
    assert_eq!(balancer.state(0), "up");
}

#[test]
fn when_all_are_at_max_concurrent_a_request_waits_for_its_turn() {
    let up = Upstream::by_hand();
    let balancer = balance(&[&up]).with("maxConcurrent", 1).start();
    let (mut first, call) = occupy(&balancer, &up);
    let mut second = balancer.client();
    second.send(Request::message().bytes());
    second.hears_nothing();
    assert!(up.call_now().is_none(), "never two at once");
    call.answer(ok("1"));
    up.call().answer(ok("2"));
    assert_eq!((first.answer().text(), second.answer().text()), ("1", "2"));
}

#[test]
fn waiting_for_max_concurrent_ends_after_queue_seconds() {
    let up = Upstream::by_hand();
    let balancer = balance(&[&up])
        .with("maxConcurrent", 1)
        .set("queueSeconds", 0.3)
        .start();
    let (mut client, call) = occupy(&balancer, &up);
    let start = Instant::now();
    turned_away(&balancer.ask());
    assert!(start.elapsed() >= Duration::from_millis(290), "it waited");
    call.answer(ok("{}"));
    assert_eq!(client.answer().status, 200);
    let one = balancer.endpoint(0);
    assert_eq!(
        (&one["failures"], &one["requests"]),
        (&json!(0), &json!(1)),
        "no fault of the endpoint's"
    );
}

#[test]
fn max_concurrent_counts_to_the_end_of_an_answer() {
    let (small, other) = (Upstream::by_hand(), Upstream::always(ok("other")));
    let balancer = balance(&[&small])
        .with("maxConcurrent", 1)
        .endpoint(other.url())
        .start();
    let (mut client, mut call) = occupy(&balancer, &small);
    call.begin().chunk(events::message_start());
    client.head();
    client.event();
    assert_eq!(
        (balancer.ask().text(), balancer.ask().text()),
        ("other", "other")
    );
    call.chunk(events::message_stop());
    call.end();
    client.rest();
    balancer.settle();
    assert_eq!(balancer.state(0), "up");
}

#[test]
fn when_all_connections_are_taken_an_idle_one_makes_room() {
    let up = Upstream::by_hand();
    let balancer = balance(&[&up]).set("maxConnections", 2).start();
    let (mut busy, call) = occupy(&balancer, &up);
    let mut idle = balancer.client();
    let answer = idle.ask(&Request::new("GET", "/nowhere"));
    answer.own_error(404, "not_found_error");
    balancer.get("/nowhere").own_error(404, "not_found_error");
    assert_ne!(idle.ending(), Ending::Open, "the idle one was closed");
    call.answer(ok("{}"));
    assert_eq!(busy.answer().status, 200, "the busy one was not");
}

#[test]
fn when_no_connection_is_idle_a_new_one_waits_in_the_backlog() {
    let up = Upstream::by_hand();
    let balancer = balance(&[&up]).set("maxConnections", 2).start();
    let (mut a, call_a) = occupy(&balancer, &up);
    let (mut b, call_b) = occupy(&balancer, &up);
    let mut waiting = balancer.client();
    waiting.send(Request::message().bytes());
    waiting.hears_nothing();
    call_a.answer(ok("a"));
    assert_eq!(a.answer().text(), "a");
    // Its connection is idle now, so the one that waits may come in.
    up.call().answer(ok("waited"));
    assert_eq!(waiting.answer().text(), "waited");
    call_b.answer(ok("b"));
    assert_eq!(b.answer().text(), "b");
}

#[test]
fn a_body_of_exactly_the_limit_passes() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).set("maxBodyMB", 1).start();
    let body = vec![b'x'; 1 << 20];
    assert_eq!(balancer.post("/v1/messages", &body).status, 200);
    assert_eq!(
        balancer
            .send(&Request::message().body(&body).chunked())
            .status,
        200
    );
    assert!(up.requests().iter().all(|r| r.body.len() == 1 << 20));
}

#[test]
fn a_body_over_the_limit_is_413_before_it_is_read() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).set("maxBodyMB", 1).start();
    for expect in ["", "expect: 100-continue\r\n"] {
        for length in ["1048577", "4294967296", "18446744073709551615"] {
            let mut client = balancer.client();
            client.send(format!(
                "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\n{expect}content-length: {length}\r\n\r\n"
            ));
            let head = client.head();
            assert_eq!(status_of(&head), 413, "no 100 before it: {head:?}");
            let (body, whole) = client.rest();
            Answer {
                status: 413,
                head,
                body,
                whole,
            }
            .own_error(413, "request_too_large");
            client.wire().finish_writing();
            assert_ne!(
                client.ending(),
                Ending::Open,
                "a connection with an unread body is not used again"
            );
        }
    }
    assert_eq!(up.count(), 0);
}

#[test]
fn a_client_that_sends_its_whole_large_body_still_sees_the_413() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).set("maxBodyMB", 1).start();
    let body = vec![b'x'; (1 << 20) + 100_000];
    balancer
        .post("/v1/messages", &body)
        .own_error(413, "request_too_large");
    balancer
        .send(&Request::message().body(&body).chunked())
        .own_error(413, "request_too_large");
    assert_eq!(up.count(), 0);
}

#[test]
fn a_large_body_of_a_path_that_is_not_forwarded_does_not_cost_its_size() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let mut client = balancer.client();
    client.send("POST /nowhere HTTP/1.1\r\nhost: localhost\r\ncontent-length: 30000000000\r\n\r\n");
    let answer = client.answer();
    assert!(
        answer.status == 404 || answer.status == 413,
        "{:?}",
        answer.head
    );
    assert_eq!(balancer.ask().status, 200);
}

#[test]
fn all_threads_share_one_heap() {
    let up = Upstream::by_hand();
    let balancer = balance(&[&up]).start();
    let running: Vec<_> = (0..8).map(|_| occupy(&balancer, &up)).collect();
    assert_eq!(balancer.further_heaps(), 0, "each keeps what it once took");
    for (mut client, call) in running {
        call.answer(ok("{}"));
        assert_eq!(client.answer().status, 200);
    }
}

//! SIGINT and SIGTERM: nobody new, everybody running to the end.

use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;

use crate::common::events::{message, message_start, message_stop};
use crate::common::prelude::*;

fn refuses_connections(balancer: &Balancer) {
    eventually("new connections are refused", || {
        TcpStream::connect(balancer.address).is_err().then_some(())
    });
}

#[test]
fn an_idle_balancer_ends_at_once_with_0() {
    let up = Upstream::always(ok("{}"));
    for signal in [Signal::SIGTERM, Signal::SIGINT] {
        let mut balancer = balance(&[&up]).start();
        let mut kept = balancer.client();
        assert_eq!(kept.ask(&Request::message()).status, 200);
        let start = Instant::now();
        balancer.signal(signal);
        assert_eq!(balancer.exit().code(), Some(0));
        assert!(
            start.elapsed() < Duration::from_secs(3),
            "an idle connection holds nothing up"
        );
        assert_ne!(kept.ending(), Ending::Open);
    }
}

#[test]
fn running_requests_finish_and_new_connections_are_refused() {
    let up = Upstream::by_hand();
    let mut balancer = balance(&[&up]).start();
    let (mut plain, mut streaming) = (balancer.client(), balancer.client());
    plain.send(Request::message().bytes());
    let plain_call = up.call();
    streaming.send(Request::message().bytes());
    let mut call = up.call();
    call.begin().chunk(message_start());
    streaming.head();
    assert_eq!(streaming.event(), message_start());
    balancer.signal(Signal::SIGTERM);
    refuses_connections(&balancer);
    for event in &message("to the end")[1..] {
        call.chunk(event);
        assert_eq!(streaming.event(), *event);
    }
    call.end();
    assert_eq!(streaming.rest(), (Vec::new(), true));
    assert!(balancer.is_running(), "another request still runs");
    plain_call.answer(ok("late"));
    assert_eq!(plain.answer().text(), "late");
    assert_eq!(balancer.exit().code(), Some(0));
    assert_ne!(plain.ending(), Ending::Open);
}

#[test]
fn kept_connections_get_503_and_a_close_while_it_drains() {
    let up = Upstream::by_hand();
    let mut balancer = balance(&[&up]).start();
    let mut running = balancer.client();
    running.send(Request::message().bytes());
    let call = up.call();
    let mut kept: Vec<Client> = (0..3).map(|_| balancer.client()).collect();
    for client in &mut kept {
        client
            .ask(&Request::new("GET", "/nowhere"))
            .own_error(404, "not_found_error");
    }
    balancer.signal(Signal::SIGTERM);
    refuses_connections(&balancer);
    for (client, path) in kept.iter_mut().zip(["/health", "/v1/messages", "/nowhere"]) {
        let answer = client.ask(&Request::new("GET", path));
        if path == "/health" {
            assert_eq!(answer.json()["status"], "draining");
        } else {
            answer.own_error(503, "overloaded_error");
            assert_eq!(client.ending(), Ending::Closed);
        }
    }
    call.answer(ok("{}"));
    assert_eq!(running.answer().status, 200);
    assert_eq!(balancer.exit().code(), Some(0));
}

#[test]
fn what_waits_for_a_worker_is_not_lost_without_a_word() {
    let up = Upstream::by_hand();
    let mut balancer = balance(&[&up]).set("workers", 1).start();
    let (mut running, mut waiting) = (balancer.client(), balancer.client());
    running.send(Request::message().bytes());
    let call = up.call();
    waiting.send(Request::message().bytes());
    eventually("it waits", || {
        (balancer.health()["queued"] == 1).then_some(())
    });
    balancer.signal(Signal::SIGTERM);
    refuses_connections(&balancer);
    up.henceforth(ok("served"));
    call.answer(ok("{}"));
    assert_eq!(running.answer().status, 200);
    let answer = waiting.answer();
    assert!(
        answer.status == 200 || answer.status == 503,
        "{:?}",
        answer.head
    );
    assert_eq!(balancer.exit().code(), Some(0));
}

/// While the process stands still the kernel takes connections in its stead.
#[test]
fn who_was_let_in_before_the_signal_gets_an_answer() {
    let up = Upstream::always(ok("{}"));
    let mut balancer = balance(&[&up]).start();
    balancer.signal(Signal::SIGSTOP);
    let request = Request::message().body(vec![b'x'; 40 << 10]);
    let mut clients: Vec<Client> = (0..40).map(|_| balancer.client()).collect();
    for client in &mut clients {
        client.send(request.bytes());
    }
    balancer.signal(Signal::SIGTERM);
    balancer.signal(Signal::SIGCONT);
    for client in &mut clients {
        let answer = client.answer();
        if answer.status != 200 {
            answer.own_error(503, "overloaded_error");
        }
        assert_ne!(client.ending(), Ending::Open);
    }
    assert_eq!(balancer.exit().code(), Some(0));
}

#[test]
fn who_only_begins_a_request_holds_the_end_up_for_a_second_at_most() {
    let up = Upstream::always(ok("{}"));
    let mut balancer = balance(&[&up]).start();
    let mut silent = balancer.client();
    let mut slow = balancer.client();
    slow.ask(&Request::new("GET", "/health"));
    slow.send("POST /v1/messages HTTP/1.1\r\nhost: localhost");
    let start = Instant::now();
    balancer.signal(Signal::SIGTERM);
    assert_eq!(balancer.exit().code(), Some(0));
    assert!(start.elapsed() < Duration::from_secs(5), "not drainSeconds");
    assert_ne!(silent.ending(), Ending::Open);
    assert_ne!(slow.ending(), Ending::Open);
}

#[test]
fn the_drain_ends_after_drain_seconds() {
    let up = Upstream::by_hand();
    let mut balancer = balance(&[&up]).set("drainSeconds", 0.4).start();
    let mut client = balancer.client();
    client.send(Request::message().bytes());
    let mut call = up.call();
    call.begin().chunk(message_start());
    client.head();
    client.event();
    let start = Instant::now();
    balancer.signal(Signal::SIGTERM);
    assert_eq!(balancer.exit().code(), Some(0));
    let took = start.elapsed();
    assert!(
        took >= Duration::from_millis(390) && took < Duration::from_secs(5),
        "{took:?}"
    );
    assert!(call.is_left());
}

#[test]
fn a_second_signal_ends_at_once() {
    let up = Upstream::by_hand();
    for second in [Signal::SIGTERM, Signal::SIGINT] {
        let mut balancer = balance(&[&up]).start();
        let mut client = balancer.client();
        client.send(Request::message().bytes());
        let _call = up.call();
        balancer.signal(Signal::SIGTERM);
        refuses_connections(&balancer);
        assert!(balancer.is_running(), "it drains");
        let start = Instant::now();
        balancer.signal(second);
        eventually("it ends", || (!balancer.is_running()).then_some(()));
        assert!(
            start.elapsed() < Duration::from_secs(5),
            "long before drainSeconds"
        );
    }
}

#[test]
fn its_private_socket_goes_with_it() {
    let up = Upstream::always(ok("{}"));
    let setup = balance(&[&up]);
    let run = setup.folder().path().join("run");
    std::fs::create_dir(&run).expect("a folder");
    let mut balancer = setup.env("TMPDIR", &run).start();
    assert_eq!(balancer.ask().status, 200);
    let left = || std::fs::read_dir(&run).expect("the folder").count();
    balancer.signal(Signal::SIGTERM);
    let status = balancer.exit();
    assert_eq!((status.code(), status.signal()), (Some(0), None));
    assert_eq!(left(), 0, "nothing is left behind");
}

#[test]
fn a_stream_that_ends_during_the_drain_closes_its_connection() {
    let up = Upstream::by_hand();
    let mut balancer = balance(&[&up]).start();
    let mut client = balancer.client();
    client.send(Request::message().bytes());
    let mut call = up.call();
    call.begin().chunk(message_start());
    client.head();
    client.event();
    balancer.signal(Signal::SIGTERM);
    refuses_connections(&balancer);
    call.chunk(message_stop());
    call.end();
    assert_eq!(client.rest(), (message_stop().into_bytes(), true));
    assert_eq!(client.ending(), Ending::Closed);
    assert_eq!(balancer.exit().code(), Some(0));
}

//! Clients that bring or take next to nothing, while others wait for their connection, their worker or their share of the memory.
//!
//! Ten seconds under 1 KiB/s are what it takes to be one of them, so these stories last a little longer than that.

use crate::common::prelude::*;

/// More than the kernel holds for a client that does not read.
const WALL: usize = 64 << 20;
/// Ten seconds, until the next look at who waits, and some for a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// A client that has asked for more than the kernel holds for it, has its answer's head, and reads no further.
fn deaf(balancer: &Balancer) -> Client {
    let mut client = balancer.client();
    assert_eq!(status_of(&client.begin(&Request::message())), 200);
    client
}

/// A client whose body stops before its end.
fn halting(balancer: &Balancer, length: usize, sent: usize) -> Client {
    let mut client = balancer.client();
    client.send(format!(
        "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n"
    ));
    client.send("x".repeat(sent));
    client
}

#[track_caller]
fn answered_soon(client: &mut Client) {
    let limit = Some(SOON);
    let socket = client.wire().tcp();
    socket.set_read_timeout(limit).expect("a read timeout");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn who_takes_nothing_gives_up_its_worker_where_others_wait_for_one() {
    let up = Upstream::script([ok("x".repeat(WALL)), by_hand(), ok("at last")]);
    let balancer = balance(&[&up]).set("workers", 2).start();
    let mut deaf = deaf(&balancer);
    let mut patient = balancer.client();
    patient.send(Request::message().bytes());
    let mut call = up.call();
    call.begin().chunk(events::message_start());
    patient.head();
    patient.event();
    let mut waiting = balancer.client();
    waiting.send(Request::message().bytes());
    answered_soon(&mut waiting);
    balancer.logged(&["under 1 KiB/s", "clients=1", "wait for a worker"]);
    assert_eq!(
        deaf.ending(),
        Ending::Reset,
        "it can tell that its answer is not whole"
    );
    // Who waits for an endpoint that thinks is not slow.
    call.chunk(events::message_stop());
    call.end();
    assert!(patient.rest().1, "its answer is whole");
    balancer.settle();
    assert_eq!(balancer.endpoint(0)["failures"], 0);
}

#[test]
fn who_takes_or_brings_nothing_gives_up_its_connection_where_others_wait_for_one() {
    let up = Upstream::script([ok("x".repeat(WALL)), by_hand(), by_hand()]);
    let balancer = balance(&[&up]).set("maxConnections", 2).start();
    let (mut deaf, mut halting) = (deaf(&balancer), halting(&balancer, 100, 1));
    let mut waiting: Vec<Client> = (0..2).map(|_| balancer.client()).collect();
    for client in &mut waiting {
        client.send(Request::message().bytes());
    }
    // None of the two gives way to the other: both places have to come from those that move nothing.
    let calls = [up.call(), up.call()];
    for call in calls {
        call.answer(ok("{}"));
    }
    for client in &mut waiting {
        assert_eq!(client.answer().status, 200);
    }
    assert_ne!(deaf.ending(), Ending::Open);
    assert_eq!(halting.answer().status, 408);
}

#[test]
fn who_brings_nothing_gives_up_its_memory_where_others_lack_it() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).set("maxBodyMB", 1).start();
    // Two small bodies, which are never refused, and as many of the largest as there is memory for beside them. They will never be whole.
    let mut halting: Vec<Client> = [64 << 10; 2]
        .into_iter()
        .chain([1 << 20; 63])
        .map(|length| self::halting(&balancer, length, length - 1))
        .collect();
    let large = "x".repeat(1 << 20);
    eventually("the memory is taken", || {
        if balancer.post("/v1/messages", &large).status == 503 {
            return Some(());
        }
        // That request may have had the memory for which one of them came a moment later: another one takes it now.
        for client in &mut halting {
            if client.has_answer() {
                *client = self::halting(&balancer, 1 << 20, (1 << 20) - 1);
            }
        }
        None
    });
    eventually("they hold it no longer", || {
        (balancer.post("/v1/messages", &large).status == 200).then_some(())
    });
    let mut cut = 0;
    for client in &mut halting {
        if client.has_answer() {
            assert_eq!(client.answer().status, 408);
            cut += 1;
        }
    }
    assert!((1..10).contains(&cut), "as many as it took: {cut}");
}

#[test]
fn who_takes_nothing_is_waited_for_where_nobody_waits_for_it() {
    let up = Upstream::script([ok("x".repeat(WALL)), ok("{}")]);
    let balancer = balance(&[&up]).set("workers", 2).start();
    let (mut deaf, mut idle) = (deaf(&balancer), balancer.client());
    let long_enough = Duration::from_secs(12);
    assert!(idle.wire().is_silent_for(long_enough), "nobody has to go");
    assert_eq!(balancer.ask().status, 200, "a worker is free");
    assert_eq!(deaf.rest().0.len(), WALL);
}

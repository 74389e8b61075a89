//! Many threads at one balancer: who waits, who wakes, and who gets a turn.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;

/// Longer than any machine is busy, shorter than anybody waits for a test.
const LONG: Duration = Duration::from_secs(30);

#[test]
fn one_that_waits_wakes_when_there_is_room() {
    let balancer = Balancer::new(vec![seat("a", 1, Some(1))]);
    let served = AtomicUsize::new(0);
    let start = Instant::now();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..50 {
                    let lease = loop {
                        match balancer.pick(at(0), Want::Any, &[], true) {
                            Pick::Go(lease) => break lease,
                            _ => balancer.wait(LONG),
                        }
                    };
                    assert_eq!(balancer.snapshot(at(0)).endpoints[0].in_flight, 1);
                    served.fetch_add(1, Ordering::Relaxed);
                    thread::yield_now();
                    drop(lease);
                }
            });
        }
    });
    assert_eq!(served.into_inner(), 400);
    assert!(start.elapsed() < LONG, "nobody slept through a wake-up");
}

#[test]
fn everybody_wakes_at_a_verdict() {
    for how in ["answered", "rest", "dropped", "reconfigured"] {
        let balancer = balancer("a");
        rest(&balancer, 0, "a", 10);
        let mut probe = pick(&balancer, 10);
        balancer.lock().missed = false;
        let start = Instant::now();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| balancer.wait(LONG));
            }
            while balancer.lock().waiters < 3 {
                thread::yield_now();
            }
            match how {
                "answered" => probe.answered(),
                "rest" => probe.rest(at(20), "test"),
                "dropped" => drop(probe),
                _ => balancer.reconfigure(vec![seat("b", 1, None)]),
            }
        });
        assert!(start.elapsed() < LONG, "{how}");
    }
}

#[test]
fn what_is_freed_before_the_wait_is_not_missed() {
    let balancer = Balancer::new(vec![seat("a", 1, Some(1))]);
    balancer.lock().missed = false;
    let lease = pick(&balancer, 0);
    assert_eq!(ask(&balancer, 0, Want::Any, &[], true), "wait");
    drop(lease);
    let start = Instant::now();
    balancer.wait(LONG);
    assert!(start.elapsed() < LONG);
    balancer.wait(Duration::from_millis(1));
    assert_eq!(balancer.lock().waiters, 0);
}

#[test]
fn two_at_the_same_moment_never_take_the_same_turn() {
    let balancer = balancer("abc");
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| (0..500).for_each(|_| drop(pick(&balancer, 0))));
        }
    });
    assert!(
        balancer
            .snapshot(at(0))
            .endpoints
            .iter()
            .all(|endpoint| endpoint.requests == 1000)
    );
}

#[test]
fn after_a_rest_there_is_no_herd() {
    let balancer = balancer("a");
    for round in 1..20 {
        rest(&balancer, round * 10 - 10, "a", round * 10);
        let probes = AtomicUsize::new(0);
        let leases: Vec<Option<Lease<String>>> = thread::scope(|scope| {
            let ask = || {
                let lease = balancer.pick(at(round * 10), Want::Any, &[], true).go();
                probes.fetch_add(lease.iter().count(), Ordering::Relaxed);
                lease
            };
            let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            asking
                .into_iter()
                .map(|asking| asking.join().expect("no panic"))
                .collect()
        });
        assert_eq!(probes.into_inner(), 1);
        drop(leases);
    }
}

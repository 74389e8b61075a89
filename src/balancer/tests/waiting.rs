//! Many threads at one balancer: who waits, who wakes, and who gets a turn.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use super::*;

/// Longer than any machine is busy, shorter than anybody waits for a test.
const LONG: Duration = Duration::from_secs(30);

#[test]
fn one_that_waits_wakes_when_there_is_room() {
    for model in [None, Some("x")] {
        let balancer = with(vec![limited("a", 1)], RULES);
        let served = AtomicUsize::new(0);
        let start = Instant::now();
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let want = Want {
                            model,
                            ..Want::default()
                        };
                        let mut search = balancer.search(want);
                        let lease = loop {
                            match search.pick(at(0)) {
                                Pick::Go(lease) => break lease,
                                _ => search.wait(LONG),
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
        assert_eq!(balancer.lock().waiting, 0);
    }
}

#[test]
fn everybody_wakes_at_a_verdict() {
    for how in ["answered", "failed", "dropped", "reconfigured"] {
        let balancer = balancer("a");
        rest(&balancer, 0, "a", 10);
        let mut trial = pick(&balancer, 10);
        let start = Instant::now();
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| {
                    let mut search = balancer.search(Want::default());
                    assert_eq!(told(&search.pick(at(10))), "wait");
                    search.wait(LONG);
                });
            }
            while balancer.lock().sleeping < 3 {
                thread::yield_now();
            }
            match how {
                "answered" => assert!(trial.answered(at(10))),
                "failed" => assert!(trial.failed(at(10), fault(Penalty::AtOnce)).is_some()),
                "dropped" => drop(trial),
                _ => balancer.reconfigure(members("b"), RULES),
            }
        });
        assert!(start.elapsed() < LONG, "{how}");
    }
}

#[test]
fn what_is_freed_before_the_wait_is_not_missed() {
    let balancer = with(vec![limited("a", 1)], RULES);
    let lease = pick(&balancer, 0);
    let mut search = balancer.search(Want::default());
    assert_eq!(told(&search.pick(at(0))), "wait");
    drop(lease);
    let start = Instant::now();
    search.wait(LONG);
    assert!(start.elapsed() < LONG);
    let lease = search.pick(at(0)).go();
    let mut other = balancer.search(Want::default());
    assert_eq!(told(&other.pick(at(0))), "wait");
    other.wait(Duration::from_millis(1));
    drop(lease);
    assert_eq!(balancer.lock().sleeping, 0);
}

#[test]
fn those_who_wait_are_few_and_hold_nobody_else_up() {
    let few = Rules {
        max_waiting: 2,
        ..RULES
    };
    let balancer = with(vec![limited("a", 1), member("b")], few);
    let first = || balancer.search(FIRST);
    let a = pick_named(&balancer, 0, "a");
    let mut waiting = [first(), first()];
    for search in &mut waiting {
        for _ in 0..3 {
            assert_eq!(told(&search.pick(at(0))), "wait", "it counts once");
        }
    }
    assert_eq!(ask(&balancer, 0, FIRST), "too many");
    assert_eq!(
        ask(&balancer, 0, Want::default()),
        "b",
        "an idle one is never waited for"
    );
    let [one, mut other] = waiting;
    drop(one);
    assert_eq!(ask(&balancer, 0, FIRST), "wait", "one has gone");
    drop(a);
    assert_eq!(told(&other.pick(at(0))), "a");
    assert_eq!(balancer.lock().waiting, 0);
    drop(other);
    assert_eq!(balancer.lock().waiting, 0);
}

#[test]
fn where_too_many_wait_nobody_is_patient() {
    let nobody = Rules {
        max_waiting: 0,
        ..RULES
    };
    let balancer = with(members("a"), nobody);
    rest(&balancer, 0, "a", 10);
    let _trial = pick(&balancer, 10);
    assert_eq!(ask(&balancer, 10, Want::default()), "a!");
}

#[test]
fn two_at_the_same_moment_never_take_the_same_turn() {
    let balancer = balancer("abc");
    thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| (0..500).for_each(|_| drop(pick(&balancer, 0))));
        }
    });
    let endpoints = balancer.snapshot(at(0)).endpoints;
    assert!(endpoints.iter().all(|endpoint| endpoint.requests == 1000));
}

#[test]
fn after_a_cooldown_there_is_no_herd() {
    let balancer = balancer("a");
    let mut now = 0;
    for _ in 1..20 {
        rest(&balancer, now, "a", now + 10);
        now += left(&balancer, now) as u64 + 1;
        let trials = AtomicUsize::new(0);
        let leases: Vec<Option<Lease<String>>> = thread::scope(|scope| {
            let ask = || {
                let lease = balancer.search(Want::default()).pick(at(now)).go();
                trials.fetch_add(lease.iter().count(), Ordering::Relaxed);
                lease
            };
            let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
            asking
                .into_iter()
                .map(|asking| asking.join().expect("no panic"))
                .collect()
        });
        assert_eq!(trials.into_inner(), 1);
        drop(leases);
    }
}

#[test]
fn who_waits_for_another_endpoint_takes_nobodys_wake_up() {
    let serving = |name: &'static str| Member {
        serves: Some(Arc::new(move |model: &str| model == name)),
        ..limited(name, 1)
    };
    let balancer = with(vec![serving("a"), serving("b")], RULES);
    let lease = |model| balancer.search(for_model(model)).pick(at(0)).go();
    let (a, b) = (lease("a"), lease("b"));
    let wait_for = |model| {
        let mut search = balancer.search(for_model(model));
        while !matches!(search.pick(at(0)), Pick::Go(_)) {
            search.wait(LONG);
        }
    };
    let start = Instant::now();
    thread::scope(|scope| {
        // The first one that sleeps would be the one that is woken.
        let for_b = scope.spawn(|| wait_for("b"));
        while balancer.lock().sleeping < 1 {
            thread::yield_now();
        }
        let for_a = scope.spawn(|| wait_for("a"));
        while balancer.lock().sleeping < 2 {
            thread::yield_now();
        }
        drop(a);
        for_a.join().expect("no panic");
        drop(b);
        for_b.join().expect("no panic");
    });
    assert!(start.elapsed() < LONG);
}

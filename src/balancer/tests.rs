//! Turns, rests, probes and reloads: rules as tables, behaviours as stories with made-up times.

mod lives;
mod sessions;
mod waiting;

use std::sync::LazyLock;

use super::*;

/// The moment that all times here count from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn at(seconds: u64) -> Instant {
    *START + Duration::from_secs(seconds)
}

type Test = Arc<Balancer<String>>;

fn seat(name: &str, weight: u32, max_concurrent: Option<u32>) -> Seat<String> {
    let (name, base_url) = (name.to_owned(), format!("http://{name}.example/"));
    Seat {
        upstream: Arc::new(name.clone()),
        name,
        base_url,
        weight,
        max_concurrent,
    }
}

/// One endpoint a letter, of weight one.
fn balancer(names: &str) -> Test {
    Balancer::new(
        names
            .chars()
            .map(|name| seat(&name.to_string(), 1, None))
            .collect(),
    )
}

impl<T> Pick<T> {
    fn go(self) -> Option<Lease<T>> {
        match self {
            Pick::Go(lease) => Some(lease),
            Pick::Wait | Pick::Exhausted => None,
        }
    }
}

/// What an impatient request without session gets.
fn pick(balancer: &Test, now: u64) -> Lease<String> {
    balancer
        .pick(at(now), Want::Any, &[], false)
        .go()
        .expect("an endpoint")
}

/// What is picked, shortly: the endpoint's name, `wait` or `none`.
fn ask(balancer: &Test, now: u64, want: Want, tried: &[SeatId], patient: bool) -> String {
    match balancer.pick(at(now), want, tried, patient) {
        Pick::Go(lease) => lease.clone(),
        Pick::Wait => "wait".into(),
        Pick::Exhausted => "none".into(),
    }
}

/// The endpoints of `n` requests that are well answered.
fn order(balancer: &Test, now: u64, n: usize) -> String {
    let serve = |_| {
        let mut lease = pick(balancer, now);
        lease.answered();
        lease.clone()
    };
    (0..n).map(serve).collect()
}

/// A turn at the endpoint of that name.
fn pick_named(balancer: &Test, now: u64, name: &str) -> Lease<String> {
    let mut others = Vec::new();
    loop {
        let lease = balancer
            .pick(at(now), Want::Any, &others, false)
            .go()
            .expect("a name that is there");
        if *lease == name {
            return lease;
        }
        others.push(lease.id());
    }
}

/// Lets the endpoint of that name rest until then.
fn rest(balancer: &Test, now: u64, name: &str, until: u64) {
    pick_named(balancer, now, name).rest(at(until), "test");
}

fn states(balancer: &Test, now: u64) -> Vec<(&'static str, u64)> {
    let endpoints = balancer.snapshot(at(now)).endpoints;
    endpoints
        .iter()
        .map(|endpoint| (endpoint.state, endpoint.resting.as_secs()))
        .collect()
}

#[test]
fn endpoints_take_turns_in_the_files_order() {
    assert_eq!(order(&balancer("abc"), 0, 7), "abcabca");
    let weighted = Balancer::new(vec![
        seat("a", 1, None),
        seat("b", 1, None),
        seat("c", 3, None),
    ]);
    assert_eq!(order(&weighted, 0, 10), "cacbccacbc");
}

#[test]
fn one_that_rests_is_passed_over_and_comes_back_without_a_burst() {
    let balancer = balancer("abc");
    rest(&balancer, 0, "a", 10);
    assert_eq!(order(&balancer, 0, 6), "bcbcbc");
    assert_eq!(order(&balancer, 9, 2), "bc");
    assert_eq!(order(&balancer, 10, 6), "abcabc");
}

#[test]
fn the_first_attempts_of_requests_are_not_moved_by_failures() {
    let balancer = balancer("abc");
    let (mut firsts, mut seconds) = (String::new(), String::new());
    for _ in 0..12 {
        let first = pick(&balancer, 0);
        firsts.push_str(&first);
        if *first == "a" {
            seconds.push_str(&ask(&balancer, 0, Want::Any, &[first.id()], true));
        }
    }
    assert_eq!(
        (firsts.as_str(), seconds.as_str()),
        ("abcabcabcabc", "bcbc"),
        "the others share what `a` fails at"
    );
}

#[test]
fn those_that_rest_come_last_in_turn_rather_than_not_at_all() {
    let balancer = balancer("abc");
    for name in ["a", "b"] {
        rest(&balancer, 0, name, 10);
    }
    let c = pick(&balancer, 1);
    assert_eq!(*c, "c");
    for expected in ["a", "b", "a"] {
        assert_eq!(ask(&balancer, 1, Want::Any, &[c.id()], true), expected);
    }
    rest(&balancer, 1, "c", 10);
    let mut last_resorts: Vec<char> = order(&balancer, 2, 9).chars().collect();
    assert!(
        last_resorts
            .chunks(3)
            .all(|round| round.contains(&'a') && round.contains(&'b') && round.contains(&'c'))
    );
    last_resorts.sort();
    assert_eq!(last_resorts, ['a', 'a', 'a', 'b', 'b', 'b', 'c', 'c', 'c']);
    assert_eq!(
        states(&balancer, 2),
        [("resting", 8); 3],
        "a good answer in between does not end a rest"
    );
}

#[test]
fn a_shorter_later_rest_does_not_cut_a_longer_one_short() {
    let balancer = balancer("a");
    let (first, second, third) = (pick(&balancer, 0), pick(&balancer, 0), pick(&balancer, 0));
    first.rest(at(500), "long");
    second.rest(at(10), "short");
    assert_eq!(balancer.snapshot(at(0)).endpoints[0].cause, Some("long"));
    assert_eq!(states(&balancer, 0), [("resting", 500)]);
    third.rest(at(600), "longer");
    assert_eq!(balancer.snapshot(at(0)).endpoints[0].cause, Some("longer"));
    assert_eq!(states(&balancer, 0), [("resting", 600)]);
}

#[test]
fn no_endpoint_is_tried_twice() {
    let balancer = balancer("abcd");
    rest(&balancer, 0, "b", 10);
    for want in [Want::Any, Want::Session("s")] {
        let mut tried = Vec::new();
        while let Some(lease) = balancer.pick(at(0), want, &tried, true).go() {
            assert!(!tried.contains(&lease.id()));
            tried.push(lease.id());
        }
        assert_eq!(tried.len(), 4);
        assert_eq!(ask(&balancer, 0, want, &tried, true), "none");
    }
}

#[test]
fn one_that_is_full_is_passed_over_and_then_waited_for() {
    let balancer = Balancer::new(vec![seat("a", 1, Some(1)), seat("b", 1, Some(2))]);
    let a = pick(&balancer, 0);
    let b = [pick(&balancer, 0), pick(&balancer, 0)];
    assert_eq!([&*a, &*b[0], &*b[1]], ["a", "b", "b"]);
    assert_eq!(states(&balancer, 0), [("full", 0), ("full", 0)]);
    assert_eq!(ask(&balancer, 0, Want::Any, &[], true), "wait");
    assert_eq!(ask(&balancer, 0, Want::Any, &[a.id()], false), "wait");
    assert_eq!(
        ask(&balancer, 0, Want::Any, &[a.id(), b[0].id()], false),
        "none"
    );
    let id = a.id();
    drop(a);
    assert_eq!(
        ask(&balancer, 0, Want::Any, &[id], true),
        "wait",
        "the other one"
    );
    assert_eq!(ask(&balancer, 0, Want::Any, &[], true), "a");
}

#[test]
fn one_that_rests_and_is_full_is_waited_for() {
    let balancer = Balancer::new(vec![seat("a", 1, Some(1))]);
    rest(&balancer, 0, "a", 10);
    let last_resort = pick(&balancer, 1);
    assert_eq!(ask(&balancer, 1, Want::Any, &[], false), "wait");
    assert_eq!(states(&balancer, 1), [("resting", 9)]);
    drop(last_resort);
    assert_eq!(ask(&balancer, 1, Want::Any, &[], false), "a");
}

#[test]
fn what_lives_in_the_first_account_goes_there_only_and_takes_no_turn() {
    let balancer = Balancer::new(vec![seat("a", 1, Some(3)), seat("b", 1, None)]);
    let leases: Vec<_> = (0..3)
        .filter_map(|_| balancer.pick(at(0), Want::First, &[], true).go())
        .collect();
    assert!(leases.iter().all(|lease| **lease == "a"));
    assert_eq!(ask(&balancer, 0, Want::First, &[], true), "wait");
    assert_eq!(
        ask(&balancer, 0, Want::First, &[leases[0].id()], true),
        "none"
    );
    drop(leases);
    assert_eq!(order(&balancer, 0, 4), "abab");
    rest(&balancer, 0, "a", 10);
    assert_eq!(
        ask(&balancer, 0, Want::First, &[], true),
        "a",
        "rather than not at all"
    );
}

#[test]
fn after_a_rest_one_request_probes() {
    let balancer = balancer("ab");
    rest(&balancer, 0, "a", 10);
    let mut probe = pick_named(&balancer, 10, "a");
    assert_eq!(order(&balancer, 10, 3), "bbb", "the others pass it over");
    assert_eq!(states(&balancer, 10), [("up", 0), ("up", 0)]);
    probe.answered();
    assert_eq!(
        order(&balancer, 10, 4),
        "abab",
        "it is up while the probe's answer is still under way"
    );
}

#[test]
fn a_probe_that_fails_makes_it_rest_again() {
    let balancer = balancer("ab");
    rest(&balancer, 0, "a", 10);
    let probe = pick_named(&balancer, 10, "a");
    probe.rest(at(20), "again");
    drop(probe);
    assert_eq!(order(&balancer, 19, 2), "bb");
    assert_eq!(states(&balancer, 19), [("resting", 1), ("up", 0)]);
    assert_eq!(order(&balancer, 20, 2), "ab");
}

#[test]
fn a_probe_that_finds_nothing_out_is_given_back() {
    let balancer = balancer("ab");
    rest(&balancer, 0, "a", 10);
    for _ in 0..3 {
        let _probe = pick_named(&balancer, 10, "a");
        assert_eq!(order(&balancer, 10, 2), "bb");
    }
    assert_eq!(order(&balancer, 10, 2), "ab");
}

#[test]
fn a_probe_outlived_by_another_one_changes_nothing() {
    let balancer = balancer("ab");
    let slow = pick(&balancer, 0);
    rest(&balancer, 0, "a", 10);
    let mut first = pick_named(&balancer, 10, "a");
    // A request from before the rest tells that the endpoint is unwell, and for how long.
    slow.rest(at(500), "late");
    first.answered();
    assert_eq!(
        states(&balancer, 10)[0],
        ("resting", 490),
        "a rest is over when it is over"
    );
    let second = pick_named(&balancer, 500, "a");
    drop(first);
    assert_eq!(order(&balancer, 500, 2), "bb", "the second one still tries");
    drop(second);
    assert_eq!(order(&balancer, 500, 2), "ab");
}

#[test]
fn patient_requests_wait_for_the_verdict_if_nothing_else_is_left() {
    let balancer = balancer("ab");
    for name in ["a", "b"] {
        rest(&balancer, 0, name, if name == "a" { 10 } else { 50 });
    }
    let mut probe = pick(&balancer, 10);
    assert_eq!(*probe, "a");
    for want in [Want::Any, Want::First, Want::Session("s")] {
        assert_eq!(ask(&balancer, 10, want, &[], true), "wait");
        assert_ne!(
            ask(&balancer, 10, want, &[], false),
            "wait",
            "rather than not at all"
        );
    }
    assert_eq!(
        ask(&balancer, 10, Want::Any, &[probe.id()], true),
        "b",
        "it knows all about the other one"
    );
    probe.answered();
    assert_eq!(order(&balancer, 10, 2), "aa");
}

#[test]
fn the_answer_to_a_last_resort_ends_a_slow_probe() {
    let balancer = balancer("a");
    rest(&balancer, 0, "a", 10);
    let _probe = pick(&balancer, 10);
    assert_eq!(ask(&balancer, 10, Want::Any, &[], true), "wait");
    pick(&balancer, 11).answered();
    assert_eq!(ask(&balancer, 11, Want::Any, &[], true), "a");
}

#[test]
fn an_answer_from_before_the_failure_ends_no_probe() {
    let balancer = balancer("a");
    let mut old = pick(&balancer, 0);
    rest(&balancer, 0, "a", 10);
    let _probe = pick(&balancer, 10);
    old.answered();
    assert_eq!(ask(&balancer, 10, Want::Any, &[], true), "wait");
}

#[test]
fn what_stays_keeps_what_is_known_of_it() {
    let balancer = Balancer::new(vec![
        seat("a", 1, None),
        seat("b", 1, Some(1)),
        seat("c", 1, None),
    ]);
    let (a, b, c) = (pick(&balancer, 0), pick(&balancer, 0), pick(&balancer, 0));
    let others = [b.id(), c.id()];
    a.failed();
    balancer
        .pick(at(0), Want::Any, &others, true)
        .go()
        .expect("a")
        .rest(at(10), "test");
    // `a` is gone, `b` may take one more, `c` has moved, and `d` is new.
    let mut moved = seat("c", 1, None);
    moved.base_url = "http://elsewhere.example/".into();
    balancer.reconfigure(vec![seat("d", 1, None), seat("b", 1, Some(2)), moved]);
    drop(a);
    let counts: Vec<_> = balancer
        .snapshot(at(0))
        .endpoints
        .iter()
        .map(|e| (e.requests, e.in_flight))
        .collect();
    assert_eq!(counts, [(0, 0), (1, 1), (0, 0)]);
    let second = balancer
        .pick(at(0), Want::Session("s"), &[], true)
        .go()
        .expect("any");
    drop((b, c, second));
    balancer.reconfigure(vec![seat("a", 1, None), seat("b", 1, Some(2))]);
    assert_eq!(
        states(&balancer, 0),
        [("up", 0), ("up", 0)],
        "one that was gone comes back as a new one"
    );
    rest(&balancer, 0, "b", 10);
    balancer.reconfigure(vec![seat("b", 7, None)]);
    assert_eq!(states(&balancer, 0), [("resting", 10)]);
    assert!(
        balancer
            .snapshot(at(0))
            .endpoints
            .iter()
            .all(|endpoint| endpoint.in_flight == 0)
    );
}

#[test]
fn a_probe_outlives_a_reload() {
    let balancer = balancer("ab");
    rest(&balancer, 0, "a", 10);
    let mut probe = pick_named(&balancer, 10, "a");
    balancer.reconfigure(vec![seat("b", 1, None), seat("a", 1, None)]);
    assert_eq!(order(&balancer, 10, 2), "bb");
    probe.answered();
    assert_eq!(order(&balancer, 10, 2), "ab");
}

#[test]
fn a_new_endpoint_starts_smoothly() {
    let balancer = balancer("ab");
    order(&balancer, 0, 1001);
    balancer.reconfigure(
        "abc"
            .chars()
            .map(|name| seat(&name.to_string(), 1, None))
            .collect(),
    );
    assert_eq!(order(&balancer, 0, 6), "cbacba");
    balancer.reconfigure(
        "abc"
            .chars()
            .map(|name| seat(&name.to_string(), 1, None))
            .collect(),
    );
    assert_eq!(
        order(&balancer, 0, 3),
        "cba",
        "a reload that changes nothing changes no turn"
    );
}

#[test]
fn failures_and_requests_are_counted() {
    let balancer = balancer("ab");
    let leases = [pick(&balancer, 0), pick(&balancer, 0), pick(&balancer, 0)];
    leases[0].failed();
    let counts = |balancer: &Test| -> Vec<(u64, u64, u32)> {
        let endpoints = balancer.snapshot(at(0)).endpoints;
        endpoints
            .iter()
            .map(|endpoint| (endpoint.requests, endpoint.failures, endpoint.in_flight))
            .collect()
    };
    assert_eq!(counts(&balancer), [(2, 1, 2), (1, 0, 1)]);
    drop(leases);
    assert_eq!(counts(&balancer), [(2, 1, 0), (1, 0, 0)]);
}

#[test]
fn all_rest_only_while_all_do() {
    let balancer = balancer("ab");
    rest(&balancer, 0, "a", 10);
    assert!(!balancer.snapshot(at(0)).all_rest);
    rest(&balancer, 0, "b", 20);
    assert!(balancer.snapshot(at(9)).all_rest);
    assert!(!balancer.snapshot(at(10)).all_rest);
}

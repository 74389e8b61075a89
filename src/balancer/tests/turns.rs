//! Rule 1: turns, tiers, and who is passed over.

use super::*;

#[test]
fn endpoints_take_turns_in_the_files_order() {
    assert_eq!(order(&balancer("abc"), 0, 7), "abcabca");
    let members = vec![weighted("a", 1), weighted("b", 1), weighted("c", 3)];
    assert_eq!(order(&with(members, RULES), 0, 10), "cacbccacbc");
}

#[test]
fn one_on_cooldown_is_passed_over_and_comes_back_without_a_burst() {
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
        let mut search = balancer.search(Want::default());
        let first = search.pick(at(0)).go().expect("an endpoint");
        firsts.push_str(&first);
        if *first == "a" {
            seconds.push_str(&told(&search.pick(at(0))));
        }
    }
    assert_eq!(
        (firsts.as_str(), seconds.as_str()),
        ("abcabcabcabc", "bcbc"),
        "the others share what `a` fails at"
    );
}

#[test]
fn a_higher_tier_is_used_while_no_lower_one_is_available_and_no_longer() {
    let mut b = tiered("b", 2);
    b.max_concurrent = Some(1);
    let balancer = with(
        vec![tiered("c", 3), b, tiered("a", 1), tiered("A", 1)],
        RULES,
    );
    assert_eq!(order(&balancer, 0, 4), "aAaA");
    rest(&balancer, 0, "a", 10);
    assert_eq!(order(&balancer, 0, 3), "AAA");
    rest(&balancer, 0, "A", 20);
    let held = pick(&balancer, 0);
    assert_eq!(*held, "b");
    assert_eq!(
        ask(&balancer, 0, Want::default()),
        "c",
        "the second tier is full"
    );
    drop(held);
    assert_eq!(order(&balancer, 9, 2), "bb");
    assert_eq!(order(&balancer, 10, 2), "aa");
    for n in 0..20 {
        assert_eq!(
            ask(&balancer, 10, of(&n.to_string())),
            "a",
            "conversations too"
        );
    }
}

#[test]
fn within_a_request_it_goes_up_the_tiers() {
    let balancer = with(vec![tiered("c", 9), tiered("a", 1), tiered("b", 2)], RULES);
    let mut search = balancer.search(Want::default());
    let tried: Vec<_> = (0..4).map(|_| told(&search.pick(at(0)))).collect();
    assert_eq!(tried, ["a", "b", "c", "none"]);
    assert_eq!(search.attempts(), 3);
}

#[test]
fn a_disabled_one_gets_nothing_and_keeps_its_counters() {
    let balancer = balancer("ab");
    assert_eq!(order(&balancer, 0, 4), "abab");
    let off = |name: &str| Member {
        enabled: false,
        ..member(name)
    };
    balancer.reconfigure(vec![off("a"), member("b")], RULES);
    assert_eq!(order(&balancer, 0, 4), "bbbb");
    assert_eq!(ask(&balancer, 0, FIRST), "b", "the first that is enabled");
    let snapshot = balancer.snapshot(at(0));
    assert_eq!(
        (
            snapshot.endpoints[0].requests,
            snapshot.endpoints[0].enabled
        ),
        (2, false)
    );
    rest(&balancer, 0, "b", 10);
    assert_eq!(
        ask(&balancer, 1, Want::default()),
        "b!",
        "not even as a last resort"
    );
    balancer.reconfigure(vec![off("a"), off("b")], RULES);
    assert_eq!(ask(&balancer, 1, Want::default()), "none");
    assert_eq!(balancer.search(Want::default()).retry_in(at(1)), None);
    balancer.reconfigure(members("ab"), RULES);
    assert_eq!(order(&balancer, 10, 2).len(), 2);
}

#[test]
fn what_lives_in_the_first_account_goes_there_only_and_takes_no_turn() {
    let balancer = with(vec![limited("a", 3), member("b")], RULES);
    let lease = || balancer.search(FIRST).pick(at(0)).go();
    let leases: Vec<_> = (0..3).filter_map(|_| lease()).collect();
    assert!(leases.iter().all(|lease| **lease == "a"));
    assert_eq!(ask(&balancer, 0, FIRST), "wait");
    drop(leases);
    let mut search = balancer.search(FIRST);
    assert_eq!(told(&search.pick(at(0))), "a");
    assert_eq!(told(&search.pick(at(0))), "none");
    assert_eq!(order(&balancer, 0, 4), "abab");
    rest(&balancer, 0, "a", 10);
    assert_eq!(ask(&balancer, 0, FIRST), "a!", "rather than not at all");
}

#[test]
fn no_endpoint_is_tried_twice() {
    let names = "abcdefg";
    let balancer = balancer(names);
    for want in [Want::default(), of("s")] {
        let mut search = balancer.search(want);
        let mut tried: Vec<String> = Vec::new();
        while let Some(lease) = search.pick(at(0)).go() {
            assert!(!tried.contains(&lease));
            tried.push(lease.to_string());
        }
        assert_eq!((tried.len(), search.attempts()), (names.len(), names.len()));
        assert_eq!(told(&search.pick(at(0))), "none");
    }
}

#[test]
fn failures_and_requests_are_counted() {
    let balancer = balancer("ab");
    let mut leases = [pick(&balancer, 0), pick(&balancer, 0), pick(&balancer, 0)];
    leases[0].failed(at(0), fault(Penalty::None));
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
    let error = balancer.snapshot(at(0)).endpoints[0].last_error;
    assert_eq!(error.map(|error| error.cause), Some("test"));
}

#[test]
fn the_snapshot_knows_who_comes_next() {
    let balancer = with(vec![tiered("b", 2), tiered("a", 1), limited("A", 1)], RULES);
    let next = |now| {
        let snapshot = balancer.snapshot(at(now));
        snapshot.endpoints[snapshot.next].name.clone()
    };
    for now in 0..6 {
        let expected = next(now);
        assert_eq!(*pick(&balancer, now), expected);
    }
    rest(&balancer, 6, "a", 20);
    rest(&balancer, 6, "A", 10);
    assert_eq!(next(7), "b");
    rest(&balancer, 7, "b", 100);
    assert_eq!(next(8), "A");
}

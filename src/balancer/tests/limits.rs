//! Readings of rate limits, and who shares them.

use super::*;

fn window(used: f64) -> LimitWindow<'static> {
    LimitWindow {
        name: "5h",
        used,
        warned: false,
        reset_in: Some(seconds_of(500)),
        forget_in: seconds_of(100),
    }
}

fn note(balancer: &Test, now: u64, name: &str, organization: &str, windows: &[LimitWindow]) {
    let organization = (!organization.is_empty()).then(|| hash(organization));
    let reading = LimitReading {
        organization,
        windows,
    };
    pick_named(balancer, now, name).note_limits(at(now), &reading);
}

#[test]
fn one_that_is_nearly_used_up_gets_its_turns_after_the_others_of_its_tier() {
    let warned = LimitWindow {
        warned: true,
        ..window(0.5)
    };
    let check = |window: LimitWindow, expected: &str| {
        let balancer = with(vec![member("a"), member("b"), tiered("c", 2)], RULES);
        note(&balancer, 0, "a", "", &[window]);
        let mut order: Vec<_> = (0..4).map(|_| ask(&balancer, 0, Want::default())).collect();
        order.sort();
        assert_eq!(order.concat(), expected, "{window:?}");
        rest(&balancer, 0, "b", 10);
        assert_eq!(
            ask(&balancer, 0, Want::default()),
            "a",
            "before the next tier"
        );
    };
    check(window(0.95), "aabb");
    check(window(0.951), "bbbb");
    check(window(1.01), "bbbb");
    check(warned, "bbbb");
}

#[test]
fn a_reading_is_forgotten_and_a_later_one_counts() {
    let balancer = balancer("ab");
    note(&balancer, 0, "a", "", &[window(0.99)]);
    let limits = &balancer.snapshot(at(1)).endpoints[0].limits[0];
    assert_eq!(
        (limits.name.as_str(), limits.used, limits.reset_in),
        ("5h", 0.99, Some(seconds_of(499)))
    );
    let asked = |now| -> String {
        (0..4)
            .map(|_| ask(&balancer, now, Want::default()))
            .collect()
    };
    assert_eq!(asked(99), "bbbb");
    assert!(asked(100).contains('a'));
    assert!(balancer.snapshot(at(100)).endpoints[0].limits.is_empty());
    note(&balancer, 100, "a", "", &[window(0.99)]);
    note(&balancer, 101, "a", "", &[window(0.2)]);
    assert!(asked(102).contains('a'));
    let other = LimitWindow {
        name: "7d",
        forget_in: Duration::MAX,
        reset_in: Some(Duration::MAX),
        ..window(0.97)
    };
    note(&balancer, 103, "a", "", &[other]);
    assert_eq!(asked(1000), "bbbb");
}

#[test]
fn a_conversation_stays_where_it_is_and_new_ones_go_elsewhere() {
    let balancer = balancer("ab");
    let names: Vec<String> = (0..60).map(|n| n.to_string()).collect();
    let homes: Vec<String> = names
        .iter()
        .map(|name| ask(&balancer, 0, of(name)))
        .collect();
    note(&balancer, 1, "a", "", &[window(0.99)]);
    for (name, home) in names.iter().zip(&homes) {
        assert_eq!(ask(&balancer, 2, of(name)), *home, "it has its cache there");
    }
    let new: Vec<String> = (100..160).map(|n| n.to_string()).collect();
    for name in &new {
        assert_eq!(ask(&balancer, 2, of(name)), "b");
    }
    for name in &new {
        assert_eq!(
            ask(&balancer, 200, of(name)),
            "b",
            "it stays when the reading is forgotten"
        );
    }
    assert!((300..320).any(|n| ask(&balancer, 200, of(&n.to_string())) == "a"));
    rest(&balancer, 200, "b", 210);
    for name in &new {
        assert_eq!(ask(&balancer, 201, of(name)), "a");
    }
    let all: Vec<_> = new
        .iter()
        .map(|name| ask(&balancer, 210, of(name)))
        .collect();
    assert!(
        all.iter().any(|at| at == "a"),
        "and after a move it is like any other"
    );
}

#[test]
fn endpoints_of_one_organisation_share_what_they_are_told() {
    let balancer = balancer("abcd");
    for (name, organization) in [("a", "one"), ("b", "one"), ("c", "two"), ("d", "")] {
        note(&balancer, 0, name, organization, &[]);
    }
    note(&balancer, 0, "a", "one", &[window(0.99)]);
    let known = |balancer: &Test, now| -> Vec<usize> {
        let endpoints = balancer.snapshot(at(now)).endpoints;
        endpoints
            .iter()
            .map(|endpoint| endpoint.limits.len())
            .collect()
    };
    assert_eq!(known(&balancer, 0), [1, 1, 0, 0]);
    fail(
        &balancer,
        0,
        "a",
        Penalty::ModelRateLimited("x", seconds_of(50)),
    );
    let models: Vec<_> = balancer
        .snapshot(at(0))
        .endpoints
        .iter()
        .map(|e| e.models.len())
        .collect();
    assert_eq!(models, [1, 1, 0, 0]);
    fail(&balancer, 0, "b", Penalty::RateLimited(seconds_of(60)));
    assert_eq!(
        states(&balancer, 0),
        [("resting", 60), ("resting", 60), ("up", 0), ("up", 0)]
    );
    fail(&balancer, 0, "d", Penalty::RateLimited(seconds_of(60)));
    assert_eq!(states(&balancer, 0)[2], ("up", 0));
    fail(&balancer, 60, "a", Penalty::AtOnce);
    assert_eq!(
        states(&balancer, 60)[1],
        ("up", 0),
        "only limits are shared"
    );
}

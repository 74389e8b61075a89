//! What a new configuration keeps.

use super::*;

#[test]
fn what_stays_keeps_what_is_known_of_it() {
    let balancer = with(vec![member("a"), limited("b", 1), member("c")], RULES);
    let (mut a, b, c) = (pick(&balancer, 0), pick(&balancer, 0), pick(&balancer, 0));
    a.failed(at(0), fault(Penalty::For(seconds_of(10))));
    // `a` is gone, `b` may take one more, `c` has moved, and `d` is new.
    let mut moved = member("c");
    moved.base_url = "http://elsewhere.example/".into();
    balancer.reconfigure(vec![member("d"), limited("b", 2), moved], RULES);
    drop(a);
    let endpoints = balancer.snapshot(at(0)).endpoints;
    let counts: Vec<_> = endpoints
        .iter()
        .map(|e| (e.requests, e.in_flight))
        .collect();
    assert_eq!(counts, [(0, 0), (1, 1), (0, 0)]);
    let second = pick(&balancer, 0);
    drop((b, c, second));
    balancer.reconfigure(vec![member("a"), limited("b", 2)], RULES);
    assert_eq!(
        states(&balancer, 0),
        [("up", 0), ("up", 0)],
        "one that was gone comes back as a new one"
    );
    rest(&balancer, 0, "b", 10);
    balancer.reconfigure(vec![weighted("b", 7)], RULES);
    assert_eq!(states(&balancer, 0), [("resting", 10)]);
    let endpoints = balancer.snapshot(at(0)).endpoints;
    assert!(endpoints.iter().all(|endpoint| endpoint.in_flight == 0));
}

#[test]
fn a_new_token_begins_anew_but_for_the_counters() {
    let balancer = balancer("ab");
    rest(&balancer, 0, "a", 3600);
    fail(&balancer, 0, "a", Penalty::ModelMissing("x"));
    let changed = |mark| {
        vec![
            Member {
                token_mark: mark,
                ..member("a")
            },
            member("b"),
        ]
    };
    balancer.reconfigure(changed(0), RULES);
    assert_eq!(states(&balancer, 1)[0], ("resting", 3599), "the same token");
    balancer.reconfigure(changed(1), RULES);
    let snapshot = balancer.snapshot(at(1));
    let a = &snapshot.endpoints[0];
    assert_eq!((a.state, a.requests, a.failures, a.growth), ("up", 2, 2, 0));
    assert!(a.models.is_empty());
    fail(&balancer, 1, "a", Penalty::AtOnce);
    assert_eq!(left(&balancer, 1), 10.0);
}

#[test]
fn a_trial_outlives_a_reload() {
    let balancer = balancer("ab");
    rest(&balancer, 0, "a", 10);
    let mut trial = pick_named(&balancer, 10, "a");
    balancer.reconfigure(vec![member("b"), member("a")], RULES);
    assert_eq!(order(&balancer, 10, 2), "bb");
    trial.answered(at(10));
    assert_eq!(order(&balancer, 10, 2), "ab");
}

#[test]
fn a_new_endpoint_starts_smoothly() {
    let balancer = balancer("ab");
    order(&balancer, 0, 1001);
    balancer.reconfigure(members("abc"), RULES);
    assert_eq!(order(&balancer, 0, 6), "cbacba");
    balancer.reconfigure(members("abc"), RULES);
    assert_eq!(
        order(&balancer, 0, 3),
        "cba",
        "a reload that changes nothing changes no turn"
    );
}

#[test]
fn new_rules_hold_from_then_on() {
    let balancer = balancer("ab");
    let once = Rules {
        failures: 0,
        ..RULES
    };
    balancer.reconfigure(members("ab"), once);
    fail(&balancer, 0, "a", Penalty::Counted);
    assert_eq!(
        states(&balancer, 0)[0],
        ("resting", 10),
        "none at all is one"
    );
}

//! After a cooldown one request tries the endpoint, and the others pass it over.

use super::*;

#[test]
fn after_a_cooldown_one_request_tries() {
    let balancer = balancer("ab");
    rest(&balancer, 0, "a", 10);
    let mut trial = pick_named(&balancer, 10, "a");
    assert_eq!(order(&balancer, 10, 3), "bbb", "the others pass it over");
    assert_eq!(states(&balancer, 10), [("up", 0), ("up", 0)]);
    trial.answered(at(10));
    assert_eq!(
        order(&balancer, 10, 4),
        "abab",
        "it is up while the answer is still under way"
    );
}

#[test]
fn a_trial_that_fails_puts_it_on_a_longer_cooldown_at_once_whatever_the_failure() {
    for penalty in [
        Penalty::None,
        Penalty::Counted,
        Penalty::AtOnce,
        Penalty::For(seconds_of(10)),
    ] {
        let balancer = balancer("ab");
        fail(&balancer, 0, "a", Penalty::AtOnce);
        fail(&balancer, 10, "a", penalty);
        assert_eq!(order(&balancer, 11, 2), "bb", "{penalty:?}");
        let left = left(&balancer, 10);
        assert!((16.0..=24.0).contains(&left), "{penalty:?}: {left}");
    }
}

#[test]
fn a_trial_after_a_rate_limit_that_fails_costs_the_first_cooldown() {
    let balancer = balancer("ab");
    fail(&balancer, 0, "a", Penalty::RateLimited(seconds_of(5)));
    fail(&balancer, 5, "a", Penalty::None);
    assert_eq!(left(&balancer, 5), 10.0);
    fail(&balancer, 15, "a", Penalty::RateLimited(seconds_of(7)));
    assert_eq!(
        left(&balancer, 15),
        7.0,
        "what the endpoint says does not grow"
    );
}

#[test]
fn a_failure_about_a_model_is_no_verdict_about_the_endpoint() {
    let balancer = balancer("ab");
    rest(&balancer, 0, "a", 10);
    fail(&balancer, 10, "a", Penalty::ModelMissing("m"));
    assert_eq!(states(&balancer, 10)[0], ("up", 0));
    assert_eq!(*pick_named(&balancer, 10, "a"), "a");
}

#[test]
fn a_client_that_leaves_frees_the_trial() {
    let balancer = balancer("ab");
    rest(&balancer, 0, "a", 10);
    for _ in 0..3 {
        let mut trial = pick_named(&balancer, 10, "a");
        assert_eq!(order(&balancer, 10, 2), "bb");
        trial.client_left(at(10), Duration::ZERO, false);
    }
    assert_eq!(order(&balancer, 10, 2), "ab");
}

#[test]
fn a_late_verdict_from_before_counts_where_the_endpoint_says_how_long() {
    let balancer = balancer("ab");
    let (mut slow, mut slower) = (pick(&balancer, 0), pick_named(&balancer, 0, "a"));
    rest(&balancer, 0, "a", 10);
    let mut first = pick_named(&balancer, 10, "a");
    slower.failed(at(10), fault(Penalty::AtOnce));
    assert_eq!(
        states(&balancer, 10)[0],
        ("up", 0),
        "it repeats why the cooldown came"
    );
    slow.failed(at(10), fault(Penalty::For(seconds_of(490))));
    first.answered(at(10));
    assert_eq!(
        states(&balancer, 10)[0],
        ("resting", 490),
        "a cooldown is over when it is over"
    );
    let second = pick_named(&balancer, 500, "a");
    drop(first);
    assert_eq!(order(&balancer, 500, 2), "bb", "the second one still tries");
    drop(second);
    assert_eq!(order(&balancer, 500, 2), "ab");
    slower.failed(at(600), fault(Penalty::AtOnce));
    assert_eq!(
        states(&balancer, 600)[0],
        ("up", 0),
        "it has come back since"
    );
}

#[test]
fn an_answer_from_before_the_failure_ends_no_trial() {
    let balancer = balancer("a");
    let mut old = pick(&balancer, 0);
    rest(&balancer, 0, "a", 10);
    let _trial = pick(&balancer, 10);
    old.answered(at(10));
    assert_eq!(ask(&balancer, 10, Want::default()), "wait");
}

#[test]
fn who_would_be_a_last_resort_waits_for_the_verdict_a_moment() {
    let balancer = balancer("ab");
    rest(&balancer, 0, "a", 10);
    rest(&balancer, 0, "b", 50);
    let mut trial = pick(&balancer, 10);
    assert_eq!(*trial, "a");
    for want in [Want::default(), FIRST, of("s")] {
        let mut search = balancer.search(want);
        assert_eq!(told(&search.pick(at(10))), "wait");
        assert_eq!(told(&search.pick(at(11))), "a!", "rather than not at all");
    }
    trial.answered(at(10));
    assert_eq!(order(&balancer, 10, 2), "aa");
}

#[test]
fn who_has_tried_it_does_not_wait_for_its_verdict() {
    let balancer = balancer("ab");
    rest(&balancer, 0, "a", 10);
    rest(&balancer, 0, "b", 50);
    let mut search = balancer.search(Want::default());
    let trial = search.pick(at(10)).go().expect("a");
    assert_eq!(told(&search.pick(at(10))), "b!");
    drop(trial);
}

#[test]
fn the_answer_to_a_last_resort_ends_a_slow_trial() {
    let balancer = balancer("a");
    rest(&balancer, 0, "a", 10);
    let _trial = pick(&balancer, 10);
    let mut search = balancer.search(Want::default());
    assert_eq!(told(&search.pick(at(10))), "wait");
    let mut last_resort = search.pick(at(11)).go().expect("a");
    last_resort.answered(at(11));
    assert_eq!(ask(&balancer, 11, Want::default()), "a");
}

#[test]
fn a_good_answer_to_a_last_resort_ends_no_cooldown() {
    let balancer = balancer("a");
    rest(&balancer, 0, "a", 10);
    pick(&balancer, 1).succeeded(at(2));
    assert_eq!(states(&balancer, 2), [("resting", 8)]);
    let mut last_resort = pick(&balancer, 3);
    last_resort.succeeded(at(10));
    assert_eq!(ask(&balancer, 10, Want::default()), "a");
    assert_eq!(
        balancer.snapshot(at(10)).endpoints[0].since,
        None,
        "but where it ends later"
    );
}

#[test]
fn each_attempt_has_its_own_patience() {
    let balancer = balancer("ab");
    rest(&balancer, 0, "a", 10);
    rest(&balancer, 0, "b", 10);
    let (mut a, _b) = (pick_named(&balancer, 10, "a"), pick(&balancer, 10));
    let mut search = balancer.search(Want::default());
    assert_eq!(told(&search.pick(at(10))), "wait");
    a.answered(at(10));
    assert_eq!(told(&search.pick(at(10))), "a");
    assert_eq!(told(&search.pick(at(11))), "wait");
    assert_eq!(told(&search.pick(at(12))), "b!");
}

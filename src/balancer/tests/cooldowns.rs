//! What puts an endpoint on cooldown, and for how long.

use super::*;

/// What is left of the cooldown of one that fails so often in a row.
#[track_caller]
fn check(rules: Rules, penalties: &[Penalty], expected: f64) {
    let balancer = with(members("a"), rules);
    let mut leases: Vec<_> = penalties.iter().map(|_| pick(&balancer, 0)).collect();
    for (lease, penalty) in leases.iter_mut().zip(penalties) {
        lease.failed(at(0), fault(*penalty));
    }
    assert_eq!(left(&balancer, 0), expected, "{penalties:?}");
}

#[test]
fn penalties() {
    use Penalty::{AtOnce, Counted, For, None, RateLimited};
    let none = Rules {
        cooldown: Duration::ZERO,
        ..RULES
    };
    let short = Rules {
        max_cooldown: seconds_of(5),
        ..RULES
    };
    let for_seconds = |seconds| For(seconds_of(seconds));
    check(RULES, &[None; 9], 0.0);
    check(RULES, &[AtOnce], 10.0);
    check(RULES, &[AtOnce; 9], 10.0); // They failed together: it is one outage.
    check(RULES, &[Counted; 2], 0.0);
    check(RULES, &[Counted; 3], 10.0);
    check(RULES, &[Counted, None, Counted, None], 0.0);
    check(RULES, &[for_seconds(60)], 60.0);
    check(RULES, &[for_seconds(60), AtOnce], 60.0); // No shorter one cuts it.
    check(RULES, &[AtOnce, for_seconds(60)], 60.0);
    check(RULES, &[RateLimited(seconds_of(3))], 3.0);
    check(
        RULES,
        &[RateLimited(seconds_of(30)), RateLimited(seconds_of(3))],
        30.0,
    );
    check(RULES, &[RateLimited(Duration::MAX)], 3600.0);
    check(RULES, &[For(Duration::MAX)], 3600.0);
    check(RULES, &[RateLimited(Duration::ZERO)], 0.0);
    check(none, &[AtOnce], 0.0);
    check(none, &[Counted; 9], 0.0);
    check(none, &[for_seconds(60)], 60.0);
    check(short, &[AtOnce], 5.0);
    check(short, &[for_seconds(60)], 5.0);
    check(short, &[RateLimited(seconds_of(60))], 5.0);
}

#[test]
fn only_failures_in_a_row_count_together() {
    let balancer = balancer("a");
    for good in [true, false] {
        for _ in 0..2 {
            fail(&balancer, 0, "a", Penalty::Counted);
        }
        if good {
            pick(&balancer, 0).answered(at(0));
            assert_eq!(states(&balancer, 0), [("up", 0)]);
            pick(&balancer, 0).succeeded(at(0));
        }
    }
    assert_eq!(states(&balancer, 0), [("up", 0)]);
    pick(&balancer, 0).answered(at(0));
    fail(&balancer, 0, "a", Penalty::Counted);
    assert_eq!(
        states(&balancer, 0),
        [("resting", 10)],
        "a beginning is no good answer"
    );
}

/// The lengths of cooldowns that come one after the other, each at once when the one before is over.
fn lengths(rules: Rules, seed: u64) -> Vec<f64> {
    let balancer = Balancer::new(members("a"), rules, seed);
    let mut now = at(0);
    let mut lengths = Vec::new();
    for _ in 0..8 {
        let mut lease = balancer.search(Want::default()).pick(now).go().expect("a");
        lease.failed(now, fault(Penalty::AtOnce));
        let length = balancer.snapshot(now).endpoints[0].cooldown;
        lengths.push(length.as_secs_f64());
        now += length;
    }
    lengths
}

#[test]
fn cooldowns_double_with_a_fifth_of_spread_up_to_five_minutes() {
    for seed in 0..50 {
        let lengths = lengths(RULES, seed);
        assert_eq!(lengths[0], 10.0);
        for (times, length) in lengths.iter().enumerate().skip(1) {
            let fair = (10.0 * f64::powi(2.0, times as i32)).min(300.0);
            let within = fair * 0.8..=(fair * 1.2).min(300.0);
            assert!(within.contains(length), "{lengths:?}");
        }
    }
    assert_ne!(lengths(RULES, 1), lengths(RULES, 2), "they are spread");
    assert_eq!(lengths(RULES, 1), lengths(RULES, 1), "by the seed");
    let long = Rules {
        cooldown: seconds_of(600),
        ..RULES
    };
    assert!(
        lengths(long, 1)
            .iter()
            .all(|length| (480.0..=600.0).contains(length))
    );
    let bounded = Rules {
        max_cooldown: seconds_of(15),
        ..RULES
    };
    assert!(
        lengths(bounded, 1)[1..]
            .iter()
            .all(|length| (12.0..=15.0).contains(length))
    );
}

#[test]
fn a_good_answer_makes_the_next_cooldown_small_again_and_a_begun_one_does_not() {
    let balancer = balancer("a");
    fail(&balancer, 0, "a", Penalty::AtOnce);
    pick(&balancer, 10).answered(at(10));
    fail(&balancer, 10, "a", Penalty::AtOnce);
    assert!((16.0..=24.0).contains(&left(&balancer, 10)));
    assert_eq!(balancer.snapshot(at(10)).endpoints[0].growth, 2);
    pick(&balancer, 40).succeeded(at(40));
    assert_eq!(balancer.snapshot(at(40)).endpoints[0].growth, 0);
    fail(&balancer, 40, "a", Penalty::AtOnce);
    assert_eq!(left(&balancer, 40), 10.0);
}

#[test]
fn last_resorts_that_fail_do_not_lengthen_a_cooldown() {
    let balancer = balancer("a");
    fail(&balancer, 0, "a", Penalty::AtOnce);
    for now in 1..10 {
        fail(&balancer, now, "a", Penalty::AtOnce);
    }
    assert_eq!(left(&balancer, 9), 1.0);
}

#[test]
fn an_answer_from_before_the_outage_is_no_good_sign() {
    let balancer = balancer("a");
    let mut old = pick(&balancer, 0);
    fail(&balancer, 0, "a", Penalty::AtOnce);
    old.succeeded(at(5));
    fail(&balancer, 10, "a", Penalty::AtOnce);
    assert!(left(&balancer, 10) > 15.0);
}

#[test]
fn silence() {
    #[track_caller]
    fn check(clients: &[(u64, u64, bool)], expected: u64) {
        let balancer = balancer("a");
        for &(now, waited, had_bytes) in clients {
            let mut lease = pick(&balancer, now - waited);
            let told = lease.client_left(at(now), seconds_of(waited), had_bytes);
            assert_eq!(told.is_some(), states(&balancer, now)[0].0 == "resting");
        }
        let now = clients.last().expect("one").0;
        assert_eq!(states(&balancer, now)[0].1, expected, "{clients:?}");
    }
    check(&[(20, 20, false); 2], 0);
    check(&[(20, 20, false); 3], 10);
    check(&[(30, 19, false); 9], 0);
    check(
        &[
            (20, 20, false),
            (21, 5, false),
            (21, 21, false),
            (25, 25, false),
        ],
        10,
    );
    check(
        &[
            (20, 20, false),
            (21, 20, false),
            (25, 25, true),
            (46, 20, false),
        ],
        0,
    );
    // A byte came since the third one began: it is waiting in a row, behind others.
    check(
        &[
            (20, 20, false),
            (25, 1, true),
            (26, 26, false),
            (27, 27, false),
            (28, 28, false),
        ],
        0,
    );
}

#[test]
fn bytes_of_other_answers_show_that_an_endpoint_is_not_silent() {
    let balancer = balancer("a");
    let mut stream = pick(&balancer, 0);
    stream.answered(at(0));
    for now in [20, 40, 60, 80] {
        stream.heard(at(now));
        assert!(
            pick(&balancer, now)
                .client_left(at(now), seconds_of(20), false)
                .is_none(),
            "{now}"
        );
    }
    let mut failed = pick(&balancer, 80);
    for now in [101, 102] {
        assert!(
            pick(&balancer, now)
                .client_left(at(now), seconds_of(20), false)
                .is_none()
        );
    }
    failed.failed(
        at(103),
        Fault {
            answered: true,
            ..fault(Penalty::None)
        },
    );
    assert!(
        pick(&balancer, 103)
            .client_left(at(130), seconds_of(27), false)
            .is_none()
    );
}

#[test]
fn one_that_fails_five_times_in_a_row_and_has_no_cooldown_is_failing() {
    let balancer = balancer("ab");
    for n in 0..5 {
        assert_eq!(states(&balancer, 0)[0].0, "up", "{n}");
        fail(&balancer, 0, "a", Penalty::None);
    }
    assert_eq!(states(&balancer, 0)[0].0, "failing");
    let snapshot = balancer.snapshot(at(0));
    assert_eq!((snapshot.none_well, snapshot.some_unwell), (false, true));
    pick_named(&balancer, 0, "a").succeeded(at(0));
    assert_eq!(states(&balancer, 0)[0].0, "up");
    assert!(!balancer.snapshot(at(0)).some_unwell);
}

#[test]
fn none_is_well_only_while_all_are_on_cooldown() {
    let balancer = balancer("ab");
    rest(&balancer, 0, "a", 10);
    let well = |now| {
        let snapshot = balancer.snapshot(at(now));
        (snapshot.none_well, snapshot.some_unwell)
    };
    assert_eq!(well(0), (false, true));
    rest(&balancer, 0, "b", 20);
    assert_eq!(well(9), (true, true));
    assert_eq!(well(10), (false, true));
    assert_eq!(well(20), (false, false));
}

#[test]
fn a_late_verdict_of_the_caller_counts_like_any_other() {
    let balancer = balancer("ab");
    let mut refused = pick(&balancer, 0);
    refused.failed(at(0), fault(Penalty::None));
    let id = refused.id();
    drop(refused);
    balancer.cool_down(id, at(1), "forbidden", seconds_of(60));
    let snapshot = balancer.snapshot(at(1));
    let a = &snapshot.endpoints[0];
    assert_eq!(
        (a.cause, a.cooldown, a.failures),
        (Some("forbidden"), seconds_of(60), 1)
    );
    balancer.cool_down(MemberId(0), at(1), "forbidden", seconds_of(60));
}

#[test]
fn the_caller_is_told_what_became_of_the_endpoint() {
    let balancer = balancer("ab");
    let (mut first, mut second) = (pick_named(&balancer, 0, "a"), pick_named(&balancer, 0, "a"));
    assert_eq!(first.failed(at(0), fault(Penalty::None)), None);
    assert_eq!(
        first.failed(at(0), fault(Penalty::AtOnce)),
        Some(seconds_of(10))
    );
    assert_eq!(
        second.failed(at(0), fault(Penalty::AtOnce)),
        None,
        "it goes on"
    );
    let longer = fault(Penalty::RateLimited(seconds_of(30)));
    assert_eq!(second.failed(at(0), longer), Some(seconds_of(30)));
    let shorter = fault(Penalty::For(seconds_of(5)));
    assert_eq!(second.failed(at(0), shorter), None);
    let model = fault(Penalty::ModelMissing("x"));
    assert_eq!(second.failed(at(0), model), Some(seconds_of(600)));
    let mut trial = pick_named(&balancer, 30, "a");
    assert!(trial.answered(at(30)), "it is well again");
    assert!(!trial.succeeded(at(31)), "which is known");
    assert!(!pick_named(&balancer, 31, "b").answered(at(31)));
}

#[test]
fn another_cause_during_a_cooldown_may_lengthen_it_and_does_not_make_it_grow() {
    let balancer = balancer("a");
    rest(&balancer, 0, "a", 5);
    fail(&balancer, 1, "a", Penalty::AtOnce);
    assert_eq!(left(&balancer, 1), 10.0);
    assert_eq!(balancer.snapshot(at(1)).endpoints[0].growth, 1);
}

#[test]
fn attempts_from_before_a_cooldown_do_not_count_when_it_is_over() {
    let balancer = balancer("a");
    let mut old: Vec<_> = (0..6).map(|_| pick(&balancer, 0)).collect();
    rest(&balancer, 0, "a", 10);
    pick(&balancer, 10).succeeded(at(10));
    for lease in &mut old {
        assert_eq!(lease.failed(at(11), fault(Penalty::Counted)), None);
    }
    assert_eq!(states(&balancer, 11), [("up", 0)]);
    assert_eq!(balancer.snapshot(at(11)).endpoints[0].failures, 7);
    fail(&balancer, 11, "a", Penalty::Counted);
    assert_eq!(states(&balancer, 11), [("up", 0)]);
}

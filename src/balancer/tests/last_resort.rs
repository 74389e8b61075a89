//! Rules 2 and 3: who is waited for, and who is asked when only endpoints on cooldown are left.

use super::*;

#[test]
fn one_that_is_full_is_passed_over_and_then_waited_for() {
    let balancer = with(vec![limited("a", 1), limited("b", 2)], RULES);
    let a = pick(&balancer, 0);
    let b = [pick(&balancer, 0), pick(&balancer, 0)];
    assert_eq!([&*a, &*b[0], &*b[1]], ["a", "b", "b"]);
    assert_eq!(states(&balancer, 0), [("full", 0), ("full", 0)]);
    assert_eq!(ask(&balancer, 0, Want::default()), "wait");
    drop(a);
    assert_eq!(ask(&balancer, 0, Want::default()), "a");
}

#[test]
fn one_that_is_well_and_full_is_waited_for_rather_than_one_on_cooldown_asked() {
    let balancer = with(vec![limited("a", 1), member("b")], RULES);
    rest(&balancer, 0, "b", 10);
    let a = pick(&balancer, 0);
    for want in [Want::default(), of("s")] {
        assert_eq!(ask(&balancer, 1, want), "wait");
    }
    drop(a);
    assert_eq!(ask(&balancer, 1, Want::default()), "a");
}

#[test]
fn one_that_is_to_be_tried_and_full_is_waited_for_too() {
    let balancer = with(vec![limited("a", 1), member("b")], RULES);
    let stream = pick(&balancer, 0);
    let id = stream.id();
    balancer.cool_down(id, at(0), "test", seconds_of(10));
    rest(&balancer, 0, "b", 100);
    assert_eq!(ask(&balancer, 9, Want::default()), "b!");
    assert_eq!(ask(&balancer, 10, Want::default()), "wait");
    drop(stream);
    assert_eq!(ask(&balancer, 10, Want::default()), "a");
}

#[test]
fn one_on_cooldown_and_full_is_waited_for_where_nothing_else_is_left() {
    let balancer = with(vec![limited("a", 1)], RULES);
    rest(&balancer, 0, "a", 10);
    let last_resort = pick(&balancer, 1);
    assert_eq!(ask(&balancer, 1, Want::default()), "wait");
    assert_eq!(states(&balancer, 1), [("resting", 9)]);
    drop(last_resort);
    assert_eq!(ask(&balancer, 1, Want::default()), "a!");
}

#[test]
fn the_one_that_comes_back_first_is_the_last_resort_and_no_other() {
    let balancer = balancer("abc");
    for (name, until) in [("a", 30), ("b", 10), ("c", 20)] {
        rest(&balancer, 0, name, until);
    }
    let mut search = balancer.search(Want::default());
    assert_eq!(told(&search.pick(at(1))), "b!");
    assert_eq!(told(&search.pick(at(1))), "none");
    assert_eq!(search.attempts(), 1);
    assert_eq!(
        states(&balancer, 1),
        [("resting", 29), ("resting", 9), ("resting", 19)]
    );
}

#[test]
fn one_that_failed_as_a_last_resort_comes_after_those_that_have_not() {
    let balancer = balancer("abc");
    for (name, until) in [("a", 30), ("b", 10), ("c", 20)] {
        rest(&balancer, 0, name, until);
    }
    let try_once = |want: Want, is_well: bool| {
        let mut search = balancer.search(want);
        let Pick::Go(mut lease) = search.pick(at(1)) else {
            panic!("a last resort");
        };
        if is_well {
            lease.succeeded(at(1));
        } else {
            lease.failed(at(1), fault(Penalty::Counted));
        }
        lease.to_string()
    };
    let asked: String = (0..6).map(|_| try_once(Want::default(), false)).collect();
    assert_eq!(asked, "bcabca");
    // What answers is stayed with.
    assert_eq!(try_once(Want::default(), false), "b");
    assert_eq!(try_once(Want::default(), true), "c");
    assert_eq!(try_once(Want::default(), true), "c");
    // It goes for a conversation's own, too.
    let all_in_vain: Vec<_> = (0..3).map(|_| try_once(of("x"), false)).collect();
    assert_eq!(all_in_vain[0], "c");
}

#[test]
fn after_a_last_resort_one_that_is_available_meanwhile_is_asked() {
    let balancer = balancer("ab");
    rest(&balancer, 0, "a", 10);
    rest(&balancer, 0, "b", 20);
    let mut search = balancer.search(Want::default());
    assert_eq!(told(&search.pick(at(9))), "a!");
    assert_eq!(told(&search.pick(at(20))), "b");
}

#[test]
fn after_failed_attempts_there_is_still_one_last_resort() {
    let balancer = balancer("abc");
    rest(&balancer, 0, "b", 10);
    rest(&balancer, 0, "c", 20);
    let mut search = balancer.search(Want::default());
    let tried: Vec<_> = (0..3).map(|_| told(&search.pick(at(1)))).collect();
    assert_eq!(tried, ["a", "b!", "none"]);
}

#[test]
fn those_that_come_back_at_the_same_moment_take_turns() {
    let balancer = balancer("abc");
    for name in ["a", "b", "c"] {
        rest(&balancer, 0, name, 10);
    }
    let asked: String = (0..6).map(|_| ask(&balancer, 1, Want::default())).collect();
    assert_eq!(asked, "a!b!c!a!b!c!");
}

#[test]
fn a_conversations_own_is_its_last_resort_unless_that_is_rate_limited() {
    let balancer = balancer("abc");
    let home = ask(&balancer, 0, of("s"));
    let others: Vec<_> = ["a", "b", "c"]
        .into_iter()
        .filter(|name| **name != home)
        .collect();
    rest(&balancer, 0, &home, 30);
    rest(&balancer, 0, others[0], 10);
    rest(&balancer, 0, others[1], 20);
    assert_eq!(ask(&balancer, 1, of("s")), format!("{home}!"));
    let mut at_home = balancer.search(of("s")).pick(at(1)).go().expect("home");
    at_home.failed(at(1), fault(Penalty::RateLimited(seconds_of(60))));
    assert_eq!(ask(&balancer, 2, of("s")), format!("{}!", others[0]));
}

#[test]
fn where_all_are_rate_limited_one_is_asked_a_second_and_the_others_are_told_how_long() {
    let balancer = balancer("abc");
    for (name, seconds) in [("a", 3600), ("b", 100), ("c", 50)] {
        fail(
            &balancer,
            0,
            name,
            Penalty::RateLimited(seconds_of(seconds)),
        );
    }
    let mut attempts = 0;
    // Ninety requests a second, for ten seconds.
    for tick in 90..990u64 {
        let now = at(0) + Duration::from_millis(tick * 1000 / 90);
        let mut search = balancer.search(Want::default());
        match search.pick(now) {
            Pick::Go(mut lease) => {
                attempts += 1;
                assert_eq!(*lease, "c");
                let left = seconds_of(50) - (now - at(0));
                lease.failed(now, fault(Penalty::RateLimited(left)));
                assert_eq!(search.retry_in(now), Some(left));
                assert!(matches!(search.pick(now), Pick::Exhausted));
            }
            Pick::RateLimited { retry_in } => assert_eq!(retry_in, seconds_of(50) - (now - at(0))),
            other => panic!("{}", told(&other)),
        }
    }
    assert!((9..=10).contains(&attempts), "{attempts}");
    assert_eq!(ask(&balancer, 10, of("s")), "limited 40");
    assert_eq!(
        ask(&balancer, 10, FIRST),
        "a!",
        "that one was not asked lately"
    );
    assert_eq!(ask(&balancer, 10, FIRST), "limited 3590");
}

#[test]
fn where_one_is_out_for_another_reason_or_limited_for_a_moment_it_is_asked() {
    let balancer = balancer("ab");
    fail(&balancer, 0, "a", Penalty::RateLimited(seconds_of(100)));
    rest(&balancer, 0, "b", 200);
    for _ in 0..3 {
        assert_eq!(ask(&balancer, 0, Want::default()), "a!");
    }
    let balancer = self::balancer("ab");
    fail(&balancer, 0, "a", Penalty::RateLimited(seconds_of(1)));
    fail(&balancer, 0, "b", Penalty::RateLimited(seconds_of(100)));
    assert_eq!(ask(&balancer, 0, Want::default()), "a!");
}

#[test]
fn when_the_first_of_all_may_be_asked_again() {
    let balancer = balancer("ab");
    let retry_in = |now, want| {
        balancer
            .search(want)
            .retry_in(at(now))
            .map(|left| left.as_secs())
    };
    fail(&balancer, 0, "a", Penalty::RateLimited(seconds_of(3600)));
    assert_eq!(retry_in(0, Want::default()), Some(0));
    fail(&balancer, 0, "b", Penalty::RateLimited(seconds_of(5)));
    assert_eq!(retry_in(1, Want::default()), Some(4));
    assert_eq!(retry_in(1, FIRST), Some(3599));
}

#[test]
fn a_conversations_own_is_of_the_lowest_tier() {
    let balancer = with(vec![tiered("a", 1), tiered("b", 2)], RULES);
    rest(&balancer, 0, "a", 20);
    rest(&balancer, 0, "b", 10);
    for n in 0..20 {
        assert_eq!(ask(&balancer, 1, of(&n.to_string())), "a!");
    }
    assert_eq!(ask(&balancer, 1, Want::default()), "b!");
}

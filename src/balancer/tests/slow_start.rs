//! After a long cooldown an endpoint's share grows.

use super::*;

/// Two endpoints, of which the first is back from a cooldown of that many seconds.
fn back_after(seconds: u64) -> Test {
    let balancer = balancer("ab");
    rest(&balancer, 0, "a", seconds);
    pick_named(&balancer, seconds, "a").succeeded(at(seconds));
    balancer
}

#[test]
fn turns_grow_within_a_minute() {
    let balancer = back_after(60);
    let share = |now| order(&balancer, now, 220).matches('a').count();
    let check = |now: u64, weight: f64| {
        let fair = 220.0 * weight / (1.0 + weight);
        let share = share(now) as f64;
        assert!(
            (share - fair).abs() <= 3.0,
            "{now}: {share}, {fair} would be fair"
        );
    };
    check(60, 0.1);
    check(80, 0.4);
    check(100, 0.7);
    check(120, 1.0);
    check(1000, 1.0);
}

#[test]
fn after_a_short_cooldown_all_of_it_is_back_at_once() {
    let balancer = back_after(59);
    assert_eq!(order(&balancer, 59, 220).matches('a').count(), 110);
    assert_eq!(balancer.snapshot(at(59)).endpoints[0].share, 1.0);
}

#[test]
fn short_cooldowns_that_followed_one_another_are_a_long_one() {
    let balancer = balancer("ab");
    for now in [0, 20, 40] {
        fail(&balancer, now, "a", Penalty::RateLimited(seconds_of(20)));
    }
    let back = 60;
    pick_named(&balancer, back, "a").succeeded(at(back));
    assert_eq!(balancer.snapshot(at(back)).endpoints[0].share, 0.1);
}

#[test]
fn each_conversation_moves_home_once() {
    let balancer = back_after(60);
    let names: Vec<String> = (0..200).map(|n| n.to_string()).collect();
    let places = |now| -> Vec<String> {
        names
            .iter()
            .map(|name| ask(&balancer, now, of(name)))
            .collect()
    };
    let homes = places(1000);
    let balancer = back_after(60);
    let places = |now| -> Vec<String> {
        names
            .iter()
            .map(|name| ask(&balancer, now, of(name)))
            .collect()
    };
    let mut before = places(60);
    let at_once = before.iter().filter(|place| *place == "a").count();
    assert!(
        (5..40).contains(&at_once),
        "{at_once} of 200 are there at once"
    );
    let mut moves = vec![0; names.len()];
    for now in 61..=121 {
        let places = places(now);
        for (n, (before, place)) in before.iter().zip(&places).enumerate() {
            if before != place {
                moves[n] += 1;
                assert_eq!(*place, homes[n]);
            }
        }
        before = places;
    }
    assert_eq!(before, homes);
    assert!(moves.iter().all(|&moves| moves <= 1));
}

#[test]
fn a_reload_does_not_end_it() {
    let balancer = back_after(60);
    let heavier = vec![weighted("b", 1), weighted("a", 1)];
    balancer.reconfigure(heavier, RULES);
    let share = order(&balancer, 60, 220).matches('a').count();
    assert!((17..=23).contains(&share), "{share}");
}

//! Where conversations live.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// Where conversations live must never change: a new version of the program would move all of them.
#[test]
fn conversations_live_where_they_always_have() {
    let members = vec![weighted("one", 1), weighted("two", 1), weighted("three", 2)];
    let balancer = with(members, RULES);
    let check = |name: &str, home: &str| assert_eq!(ask(&balancer, 0, of(name)), home, "{name}");
    check("session-0", "three");
    check("session-1", "two");
    check("session-2", "three");
    check("session-3", "three");
    check("session-4", "one");
    check("", "one");
    check("é", "three");
    check("5c3b7c1e-9d0a-4a51-8b7e-0d9f2c6a1e44", "three");
}

#[test]
fn conversations_spread_by_weight() {
    let members = vec![weighted("a", 1), weighted("b", 2), weighted("c", 5)];
    let balancer = with(members, RULES);
    let mut shares = HashMap::<String, u32>::new();
    for n in 0..8000 {
        let home = ask(&balancer, 0, of(&format!("{n:x}")));
        *shares.entry(home).or_default() += 1;
    }
    for (name, fair) in [("a", 1000), ("b", 2000), ("c", 5000)] {
        // Five standard deviations are 220 at the most.
        assert!(shares[name].abs_diff(fair) < 220, "{shares:?}");
    }
}

#[test]
fn conversations_take_no_turn() {
    let balancer = balancer("abc");
    let mut turns = String::new();
    for n in 0..6 {
        ask(&balancer, 0, of(&n.to_string()));
        turns += &order(&balancer, 0, 1);
    }
    assert_eq!(turns, "abcabc");
}

proptest! {
    /// A conversation moves only while its own endpoint is out, and comes back; on any replica, in whatever order its file
    /// lists the endpoints.
    #[test]
    fn a_conversation_moves_only_when_its_endpoint_is_out(
        weights in prop::collection::vec(1u32..=100, 2..9),
        names in prop::collection::vec("[ -~]{0,40}", 1..40),
        out in prop::collection::vec(any::<bool>(), 9),
    ) {
        let members = |weights: &[u32]| -> Vec<_> {
            weights.iter().enumerate().map(|(at, &weight)| weighted(&format!("endpoint-{at}"), weight)).collect()
        };
        let (here, mut reversed) = (with(members(&weights), RULES), members(&weights));
        reversed.reverse();
        let there = with(reversed, RULES);
        let homes = |balancer: &Test, now| -> Vec<String> {
            names.iter().map(|name| ask(balancer, now, of(name))).collect()
        };
        let before = homes(&here, 0);
        prop_assert_eq!(&homes(&there, 0), &before);
        let mut out: Vec<String> =
            (0..weights.len()).filter(|&at| out[at]).map(|at| format!("endpoint-{at}")).collect();
        out.truncate(weights.len() - 1);
        for name in &out {
            rest(&here, 0, name, 10);
        }
        let during = homes(&here, 0);
        for (before, during) in before.iter().zip(&during) {
            prop_assert!(!out.contains(during));
            prop_assert_eq!(out.contains(before), during != before);
        }
        // Where an endpoint is gone for good its conversations live where they went while it was out.
        there.reconfigure(members(&weights).into_iter().filter(|member| !out.contains(&member.name)).collect(), RULES);
        prop_assert_eq!(&homes(&there, 0), &during);
        prop_assert_eq!(&homes(&here, 10), &before);
    }
}

//! Where sessions live.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

/// Where sessions live must never change: a new version of the program would move all of them.
#[test]
fn sessions_live_where_they_always_have() {
    let seats =
        [("one", 1), ("two", 1), ("three", 2)].map(|(name, weight)| seat(name, weight, None));
    let balancer = Balancer::new(seats.into());
    let check = |session: &str, home: &str| {
        assert_eq!(
            ask(&balancer, 0, Want::Session(session), &[], true),
            home,
            "{session}"
        );
    };
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
fn sessions_spread_by_weight() {
    let seats = [("a", 1), ("b", 2), ("c", 5)].map(|(name, weight)| seat(name, weight, None));
    let balancer = Balancer::new(seats.into());
    let mut shares = HashMap::<String, u32>::new();
    for n in 0..8000 {
        *shares
            .entry(ask(
                &balancer,
                0,
                Want::Session(&format!("{n:x}")),
                &[],
                true,
            ))
            .or_default() += 1;
    }
    for (name, fair) in [("a", 1000), ("b", 2000), ("c", 5000)] {
        // Five standard deviations are 220 at the most.
        assert!(shares[name].abs_diff(fair) < 220, "{shares:?}");
    }
}

#[test]
fn sessions_take_no_turn() {
    let balancer = balancer("abc");
    let mut turns = String::new();
    for n in 0..6 {
        ask(&balancer, 0, Want::Session(&n.to_string()), &[], true);
        turns += &order(&balancer, 0, 1);
    }
    assert_eq!(turns, "abcabc");
}

proptest! {
    /// A session moves only while its own endpoint is out, and comes back; on any replica, in whatever order its file
    /// lists the endpoints.
    #[test]
    fn a_session_moves_only_when_its_endpoint_is_out(
        weights in prop::collection::vec(1u32..=100, 2..9),
        sessions in prop::collection::vec("[ -~]{0,40}", 1..40),
        out in prop::collection::vec(any::<bool>(), 9),
    ) {
        let seats = |weights: &[u32]| -> Vec<_> {
            weights.iter().enumerate().map(|(at, &weight)| seat(&format!("endpoint-{at}"), weight, None)).collect()
        };
        let (here, mut reversed) = (Balancer::new(seats(&weights)), seats(&weights));
        reversed.reverse();
        let there = Balancer::new(reversed);
        let homes = |balancer: &Test, now| -> Vec<String> {
            sessions.iter().map(|session| ask(balancer, now, Want::Session(session), &[], true)).collect()
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
        // Where an endpoint is gone for good its sessions live where they went while it rested.
        there.reconfigure(seats(&weights).into_iter().filter(|seat| !out.contains(&seat.name)).collect());
        prop_assert_eq!(&homes(&there, 0), &during);
        prop_assert_eq!(&homes(&here, 10), &before);
    }
}

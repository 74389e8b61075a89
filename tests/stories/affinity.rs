//! Sessions keep to one endpoint while it is available.

use std::collections::HashMap;

use crate::common::prelude::*;

fn in_session(id: &str) -> Request {
    Request::message().header("X-Claude-Code-Session-Id", id)
}

fn served(balancer: &Balancer, id: &str) -> String {
    balancer.send(&in_session(id)).served_by().to_owned()
}

fn three() -> Vec<Upstream> {
    (0..3).map(|_| Upstream::always(ok("{}"))).collect()
}

fn map(balancer: &Balancer, sessions: usize) -> HashMap<String, String> {
    let mut client = balancer.client();
    let ids = (0..sessions).map(|n| format!("session-{n}"));
    ids.map(|id| {
        (
            id.clone(),
            client.ask(&in_session(&id)).served_by().to_owned(),
        )
    })
    .collect()
}

#[test]
fn a_session_keeps_to_one_endpoint_and_sessions_spread() {
    let ups = three();
    let balancer = balance(&ups.iter().collect::<Vec<_>>()).start();
    let first = map(&balancer, 90);
    assert_eq!(map(&balancer, 90), first);
    for up in &ups {
        assert!((30..=90).contains(&up.count()), "{} of 180", up.count());
    }
}

#[test]
fn replicas_and_restarts_agree() {
    let ups = three();
    let all: Vec<&Upstream> = ups.iter().collect();
    let before = map(&balance(&all).start(), 30);
    assert_eq!(map(&balance(&all).start(), 30), before);
}

#[test]
fn weights_count_for_sessions_too() {
    let ups = three();
    let balancer = balance(&[&ups[0]])
        .with("weight", 4)
        .endpoint(ups[1].url())
        .start();
    map(&balancer, 200);
    assert!(
        (130..=185).contains(&ups[0].count()),
        "about 160 of 200: {}",
        ups[0].count()
    );
}

#[test]
fn a_session_moves_while_its_endpoint_rests_and_comes_back() {
    let ups = three();
    let balancer = balance(&ups.iter().collect::<Vec<_>>())
        .set("cooldownSeconds", 0.5)
        .start();
    let before = map(&balancer, 30);
    let home = before["session-0"].clone();
    let at = ["one", "two", "three"]
        .iter()
        .position(|n| *n == home)
        .expect("a name of ours");
    ups[at].then(api_error(500, "api_error", "oops"));
    let away = served(&balancer, "session-0");
    assert_ne!(away, home);
    let during = map(&balancer, 30);
    // A slow machine may be here only after the rest; then there is nothing to see.
    if balancer.state(at) == "resting" {
        for (id, endpoint) in &before {
            assert_eq!(
                *endpoint == home,
                during[id] != *endpoint,
                "only the sessions of {home} move: {id}"
            );
        }
    }
    eventually("the rest ends", || {
        (balancer.state(at) == "up").then_some(())
    });
    assert_eq!(map(&balancer, 30), before);
}

#[test]
fn a_session_goes_elsewhere_while_its_endpoint_is_full() {
    let (a, b) = (Upstream::by_hand(), Upstream::by_hand());
    let balancer = balance(&[&a])
        .with("maxConcurrent", 1)
        .endpoint(b.url())
        .with("maxConcurrent", 1)
        .start();
    let (mut first, mut second) = (balancer.client(), balancer.client());
    first.send(in_session("s").bytes());
    let call = eventually("its endpoint", || a.call_now().or_else(|| b.call_now()));
    second.send(in_session("s").bytes());
    let other = eventually("the other endpoint", || {
        a.call_now().or_else(|| b.call_now())
    });
    call.answer(ok("1"));
    other.answer(ok("2"));
    let (home, away) = (first.answer(), second.answer());
    assert_ne!(home.served_by(), away.served_by());
    first.send(in_session("s").bytes());
    eventually("back home", || a.call_now().or_else(|| b.call_now())).answer(ok("3"));
    assert_eq!(first.answer().served_by(), home.served_by());
}

#[test]
fn without_affinity_a_session_takes_turns() {
    let ups = three();
    let balancer = balance(&ups.iter().collect::<Vec<_>>())
        .set("affinity", "off")
        .start();
    let names: Vec<String> = (0..4).map(|_| served(&balancer, "s")).collect();
    assert_eq!(names, ["one", "two", "three", "one"]);
}

#[test]
fn sessions_take_nobodys_turn() {
    let ups = three();
    let balancer = balance(&ups.iter().collect::<Vec<_>>()).start();
    let mut order = Vec::new();
    for n in 0..6 {
        served(&balancer, &format!("session-{n}"));
        order.push(balancer.ask().served_by().to_owned());
    }
    assert_eq!(order, ["one", "two", "three", "one", "two", "three"]);
}

#[test]
fn a_session_fails_over_like_any_request() {
    let ups: Vec<Upstream> = (0..2)
        .map(|_| Upstream::always(api_error(429, "rate_limit_error", "slow")))
        .collect();
    let balancer = balance(&[&ups[0], &ups[1]]).start();
    assert_eq!(balancer.send(&in_session("s")).status, 429);
    assert_eq!((ups[0].count(), ups[1].count()), (1, 1));
}

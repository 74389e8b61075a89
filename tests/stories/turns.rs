//! Whose turn it is: the index, its weights, and the session that keeps to one endpoint's side.

use std::thread;

use crate::common::prelude::*;

fn order(balancer: &Balancer, n: usize) -> Vec<String> {
    (0..n)
        .map(|_| balancer.ask().served_by().to_owned())
        .collect()
}

#[test]
fn endpoints_take_turns_in_the_order_of_the_file() {
    let ups: Vec<Upstream> = (0..3).map(|_| Upstream::always(ok("{}"))).collect();
    let balancer = balance(&ups.iter().collect::<Vec<_>>()).start();
    assert_eq!(
        order(&balancer, 6),
        ["one", "two", "three", "one", "two", "three"]
    );
}

#[test]
fn weights_are_exact_and_smooth() {
    let ups: Vec<Upstream> = (0..3).map(|_| Upstream::always(ok("{}"))).collect();
    let setup = balance(&[&ups[0], &ups[1]])
        .endpoint(ups[2].url())
        .with("weight", 3);
    let balancer = setup.start();
    let served = order(&balancer, 20);
    assert_eq!(
        ups.iter().map(Upstream::count).collect::<Vec<_>>(),
        [4, 4, 12]
    );
    for round in served.chunks(5) {
        assert_eq!(
            round.iter().filter(|n| *n == "three").count(),
            3,
            "{served:?}"
        );
    }
    assert!(
        !served
            .windows(3)
            .any(|run| run.iter().all(|n| n == "three")),
        "no run of three: {served:?}"
    );
}

#[test]
fn two_requests_at_once_never_take_the_same_turn() {
    let ups: Vec<Upstream> = (0..2).map(|_| Upstream::always(ok("{}"))).collect();
    let balancer = balance(&[&ups[0], &ups[1]]).start();
    thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let mut client = balancer.client();
                (0..25).for_each(|_| assert_eq!(client.ask(&Request::message()).status, 200));
            });
        }
    });
    assert_eq!((ups[0].count(), ups[1].count()), (100, 100));
}

#[test]
fn every_kind_of_request_takes_its_turn() {
    let ups: Vec<Upstream> = (0..2).map(|_| Upstream::always(ok("{}"))).collect();
    let balancer = balance(&[&ups[0], &ups[1]]).start();
    balancer.get("/v1/models");
    balancer.post("/v1/messages/count_tokens", "{}");
    balancer.ask();
    assert_eq!((ups[0].count(), ups[1].count()), (2, 1));
}

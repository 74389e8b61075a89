//! How long an endpoint is on cooldown, how it comes back, and how not.

use std::thread;

use crate::common::prelude::*;

/// A sick endpoint before a sound one, with settings.
fn sick_and_well(
    setup: impl Fn(Setup) -> Setup,
    replies: impl IntoIterator<Item = Reply>,
) -> (Upstream, Upstream, Balancer) {
    let (sick, well) = (Upstream::script(replies), Upstream::always(ok("well")));
    let balancer = setup(balance(&[&sick, &well]).set("failures", 1)).start();
    (sick, well, balancer)
}

fn cooldown(balancer: &Balancer, index: usize) -> f64 {
    balancer.endpoint(index)["restingSeconds"]
        .as_f64()
        .expect("a number")
}

#[test]
fn a_rate_limited_endpoint_is_not_asked() {
    let busy = Upstream::script([status(429).header("retry-after", "60")]);
    let idle = Upstream::script([ok("one"), ok("two"), ok("three")]);
    let balancer = balance(&[&busy, &idle]).start();
    for expected in ["one", "two", "three"] {
        assert_eq!(balancer.post("/v1/messages", "{}").text(), expected);
    }
    assert_eq!(busy.count(), 1);
}

#[test]
fn no_cooldown_is_longer_than_max_cooldown_seconds() {
    for reply in [
        status(429).header("retry-after", "5000"),
        status(429).header("retry-after", "99999999999999999999"),
        status(429).header("retry-after", "Tue, 31 Dec 2999 23:59:59 GMT"),
        status(401),
        status(500),
    ] {
        let (_sick, _well, balancer) = sick_and_well(
            |s| s.set("maxCooldownSeconds", 5).set("cooldownSeconds", 100),
            [reply],
        );
        balancer.ask();
        assert_eq!(balancer.state(0), "resting");
        assert!(
            (3.0..=5.0).contains(&cooldown(&balancer, 0)),
            "{}",
            cooldown(&balancer, 0)
        );
    }
}

#[test]
fn cooldown_seconds_may_be_zero() {
    let (sick, _well, balancer) =
        sick_and_well(|s| s.set("cooldownSeconds", 0), [status(500), status(500)]);
    balancer.ask();
    assert_eq!(balancer.state(0), "up");
    (0..2).for_each(|_| drop(balancer.ask()));
    assert_eq!(sick.count(), 2);
}

#[test]
fn a_shorter_later_verdict_never_cuts_a_longer_cooldown_short() {
    let sick = Upstream::by_hand();
    let well = Upstream::always(ok("well"));
    let balancer = balance(&[&sick, &well]).set("affinity", "off").start();
    let mut clients: Vec<Client> = (0..3).map(|_| balancer.client()).collect();
    let mut calls = Vec::new();
    for (n, client) in clients.iter_mut().enumerate() {
        client.send(Request::message().bytes());
        calls.push(sick.call());
        if n < 2 {
            assert_eq!(balancer.ask().text(), "well", "the next turn");
        }
    }
    let verdicts = [
        status(429).header("retry-after", "500"),
        status(500),
        status(429).header("retry-after", "2"),
    ];
    for ((call, verdict), client) in calls.into_iter().zip(verdicts).zip(&mut clients) {
        call.answer(verdict);
        assert_eq!(client.answer().text(), "well");
        assert!(cooldown(&balancer, 0) > 450.0, "{}", cooldown(&balancer, 0));
    }
}

#[test]
fn only_a_message_puts_an_endpoint_on_cooldown() {
    for request in [
        Request::new("POST", "/v1/messages/count_tokens").body("{}"),
        Request::new("POST", "/v1/messages/count_tokens?beta=true").body("{}"),
        Request::new("GET", "/v1/models"),
        Request::new("HEAD", "/v1/models"),
    ] {
        for reply in [
            status(429).header("retry-after", "60"),
            status(500),
            status(401),
            hang_up(),
        ] {
            let (sick, well, balancer) = sick_and_well(|s| s, [reply]);
            assert_eq!(
                (
                    balancer.client().ask(&request).status,
                    sick.count(),
                    well.count()
                ),
                (200, 1, 1)
            );
            assert_eq!(
                (
                    balancer.state(0).as_str(),
                    balancer.endpoint(0)["failures"].clone()
                ),
                ("up", json!(1))
            );
        }
    }
}

#[test]
fn an_endpoint_on_cooldown_is_asked_rather_than_nobody() {
    let ups: Vec<Upstream> = (0..2).map(|_| Upstream::script([status(500)])).collect();
    let balancer = balance(&[&ups[0], &ups[1]]).set("failures", 1).start();
    assert_eq!(balancer.ask().status, 500);
    assert_eq!(balancer.health()["status"], "failing");
    let served = balancer.ask();
    assert_eq!(served.status, 200, "the real answer of a real endpoint");
}

#[test]
fn an_endpoint_on_cooldown_is_asked_after_the_others_have_failed() {
    let cooling = Upstream::script([status(401), ok("after all")]);
    let well = Upstream::script([ok("well"), status(529)]);
    let balancer = balance(&[&cooling, &well]).start();
    assert_eq!(balancer.ask().text(), "well");
    let answer = balancer.ask();
    assert_eq!((answer.text(), answer.served_by()), ("after all", "one"));
}

#[test]
fn when_a_cooldown_is_over_one_request_tries_the_endpoint() {
    let (sick, well, balancer) =
        sick_and_well(|s| s.set("cooldownSeconds", 0.2), [status(500), by_hand()]);
    sick.henceforth(by_hand());
    balancer.ask();
    eventually("the cooldown ends", || {
        (balancer.state(0) != "resting").then_some(())
    });
    let (mut probing, probe, _) = balancer.reach(&sick);
    let before = well.count();
    for _ in 0..5 {
        assert_eq!(balancer.ask().text(), "well", "the others pass it over");
    }
    assert_eq!(well.count(), before + 5);
    assert!(sick.call_now().is_none());
    sick.henceforth(ok("up again"));
    probe.answer(ok("up again"));
    assert_eq!(probing.answer().text(), "up again");
    let texts: Vec<String> = (0..2).map(|_| balancer.ask().text().to_owned()).collect();
    assert!(
        texts.contains(&"up again".to_owned()),
        "then it is up: {texts:?}"
    );
}

#[test]
fn a_trial_that_fails_puts_it_on_cooldown_again() {
    let (sick, _well, balancer) = sick_and_well(
        |s| s.set("cooldownSeconds", 0.3),
        [status(500), status(502), ok("cured")],
    );
    balancer.ask();
    eventually("the trial fails", || {
        assert_eq!(balancer.ask().text(), "well");
        (sick.count() == 2).then_some(())
    });
    assert_eq!(balancer.state(0), "resting");
    eventually("it is cured", || {
        (balancer.ask().text() == "cured").then_some(())
    });
}

#[test]
fn a_trial_whose_client_leaves_is_the_next_requests() {
    let (sick, _well, balancer) =
        sick_and_well(|s| s.set("cooldownSeconds", 0.1), [status(500), by_hand()]);
    balancer.ask();
    eventually("the cooldown ends", || {
        (balancer.state(0) != "resting").then_some(())
    });
    let (client, mut call, _) = balancer.reach(&sick);
    drop(client);
    assert!(call.is_left(), "its client has gone");
    balancer.settle();
    let texts: Vec<String> = (0..2).map(|_| balancer.ask().text().to_owned()).collect();
    assert!(
        texts.contains(&"{}".to_owned()),
        "the next request tries: {texts:?}"
    );
}

#[test]
fn there_is_no_herd_after_a_cooldown() {
    let only = Upstream::script([status(500)]);
    let balancer = balance(&[&only])
        .set("cooldownSeconds", 0.3)
        .set("failures", 1)
        .start();
    assert_eq!(balancer.ask().status, 500);
    eventually("the cooldown ends", || {
        (balancer.state(0) == "up").then_some(())
    });
    only.henceforth(by_hand());
    thread::scope(|scope| {
        let asking: Vec<_> = (0..20)
            .map(|_| scope.spawn(|| balancer.ask().status))
            .collect();
        let probe = only.call();
        eventually("all have a worker", || {
            (balancer.health()["inFlight"] == 20).then_some(())
        });
        assert_eq!(only.count(), 2, "one trial, not twenty");
        only.henceforth(ok("{}"));
        probe.answer(ok("{}"));
        assert!(
            asking
                .into_iter()
                .all(|a| a.join().expect("a client") == 200)
        );
    });
    assert_eq!(only.count(), 21);
}

//! `GET /health`.

use crate::common::prelude::*;

#[test]
fn health_has_its_documented_shape() {
    let (a, b) = (Upstream::always(ok("{}")), Upstream::always(status(500)));
    let balancer = balance(&[&a, &b]).set("workers", 7).start();
    let answer = balancer.get("/health");
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, Some("application/json"))
    );
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    let mut health = answer.json();
    let timestamp = health["timestamp"].as_str().expect("a time").to_owned();
    assert_eq!(
        (timestamp.len(), &timestamp[10..11], &timestamp[23..]),
        (24, "T", "Z"),
        "{timestamp}"
    );
    assert!(health["uptimeSeconds"].is_u64());
    health["timestamp"] = json!("now");
    health["uptimeSeconds"] = json!(0);
    let endpoint = |index: usize, name: &str, url: String| {
        json!({"index": index, "name": name, "baseURL": url, "hasToken": true, "tier": 1, "state": "up", "restingSeconds": 0,
            "inFlight": 0, "requests": 0, "failures": 0})
    };
    let expected = json!({"status": "healthy", "timestamp": "now", "version": env!("CARGO_PKG_VERSION"), "uptimeSeconds": 0,
        "endpoints": [endpoint(1, "one", a.url()), endpoint(2, "two", b.url())],
        "currentEndpoint": 1, "inFlight": 0, "queued": 0, "workers": 7});
    assert_eq!(health, expected);
}

#[test]
fn the_current_endpoint_is_the_one_that_comes_next() {
    let ups: Vec<Upstream> = (0..3).map(|_| Upstream::always(ok("{}"))).collect();
    let balancer = balance(&ups.iter().collect::<Vec<_>>()).start();
    for n in 0..5 {
        let next = balancer.health()["currentEndpoint"]
            .as_u64()
            .expect("a number");
        assert_eq!(next, n % 3 + 1);
        assert_eq!(
            balancer.health()["currentEndpoint"],
            next,
            "asking takes no turn"
        );
        assert_eq!(
            balancer.ask().served_by(),
            ["one", "two", "three"][n as usize % 3]
        );
    }
}

#[test]
fn the_current_endpoint_is_none_on_cooldown() {
    let (a, b) = (Upstream::script([status(401)]), Upstream::always(ok("{}")));
    let balancer = balance(&[&a, &b]).start();
    balancer.ask();
    for _ in 0..2 {
        assert_eq!(balancer.health()["currentEndpoint"], 2);
        assert_eq!(balancer.ask().served_by(), "two");
    }
}

#[test]
fn requests_failures_and_flights_are_counted() {
    let (a, b) = (
        Upstream::script([status(529), by_hand()]),
        Upstream::always(ok("{}")),
    );
    let balancer = balance(&[&a, &b]).start();
    balancer.ask();
    let (mut client, call, sent) = balancer.reach(&a);
    let health = balancer.health();
    assert_eq!(health["inFlight"], 1);
    let counts = |n: usize| {
        let e = &health["endpoints"][n];
        [&e["requests"], &e["failures"], &e["inFlight"]].map(|v| v.as_u64().expect("a number"))
    };
    assert_eq!(counts(0), [2, 1, 1]);
    assert_eq!(counts(1), [sent, 0, 0]);
    call.answer(ok("{}"));
    client.answer();
}

#[test]
fn health_is_failing_while_every_endpoint_is_on_cooldown() {
    let (a, b) = (
        Upstream::script([status(500), status(500)]),
        Upstream::always(status(500)),
    );
    let balancer = balance(&[&a, &b])
        .set("cooldownSeconds", 1)
        .set("failures", 1)
        .start();
    assert_eq!(balancer.health()["status"], "healthy");
    balancer.ask();
    let answer = balancer.get("/health");
    assert_eq!(
        (answer.status, answer.json()["status"].clone()),
        (200, json!("failing"))
    );
    let error = &balancer.endpoint(0)["lastError"];
    assert_eq!(error["cause"], "server error");
    assert!(error["at"].as_str().expect("a time").ends_with('Z'));
    eventually("their checks pass", || {
        (balancer.health()["status"] == "healthy").then_some(())
    });
}

#[test]
fn a_failed_check_does_not_hide_what_the_endpoint_is_on_cooldown_for() {
    let up = Upstream::always(status(401));
    up.checked_with(status(503));
    let balancer = balance(&[&up]).set("maxCooldownSeconds", 0.1).start();
    balancer.ask();
    // What came of the first is in force when the second begins.
    eventually("two checks", || (up.checks() >= 2).then_some(()));
    let endpoint = balancer.endpoint(0);
    assert_eq!(
        (&endpoint["state"], &endpoint["lastError"]["cause"]),
        (&json!("resting"), &json!("token refused"))
    );
    let page = Request::new("GET", "/").header("accept", "application/json");
    assert_eq!(
        balancer.send(&page).json()["endpoints"][0]["cause"],
        "token refused"
    );
    balancer.logged(&["WARN", "check failed", "status 503"]);
}

#[test]
fn health_is_degraded_while_one_endpoint_is_on_cooldown() {
    let (a, b) = (Upstream::script([status(401)]), Upstream::always(ok("{}")));
    let balancer = balance(&[&a, &b]).start();
    balancer.ask();
    let health = balancer.health();
    assert_eq!(
        (&health["status"], &health["endpoints"][0]["state"]),
        (&json!("degraded"), &json!("resting"))
    );
}

#[test]
fn strangers_see_status_and_time_only() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up])
        .set("clientTokens", json!(["secret"]))
        .start();
    let keys = |answer: Answer| -> Vec<String> {
        answer
            .json()
            .as_object()
            .expect("an object")
            .keys()
            .cloned()
            .collect()
    };
    assert_eq!(keys(balancer.get("/health")).len(), 2);
    let wrong = Request::new("GET", "/health").header("x-api-key", "guess");
    let mut names = keys(balancer.send(&wrong));
    names.sort();
    assert_eq!(names, ["status", "timestamp"]);
    let right = Request::new("GET", "/health").header("authorization", "Bearer secret");
    assert_eq!(balancer.send(&right).json()["endpoints"][0]["name"], "one");
}

#[test]
fn a_query_does_not_hide_health() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    assert_eq!(balancer.get("/health?probe=1").json()["status"], "healthy");
}

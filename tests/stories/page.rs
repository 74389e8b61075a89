//! `GET /` for who accepts JSON: what the page shows.

use crate::common::prelude::*;

fn data(balancer: &Balancer) -> Value {
    let request = Request::new("GET", "/").header("accept", "application/json");
    balancer.send(&request).json()
}

/// The kinds of the events, the newest first, with the endpoint, the cause and how often.
fn events(data: &Value) -> Vec<(String, String, String, u64)> {
    let events = data["events"].as_array().expect("events");
    let word = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
    let facts = |event: &Value| {
        let count = event["count"].as_u64().expect("a number");
        (
            word(event, "kind"),
            word(event, "endpoint"),
            word(event, "cause"),
            count,
        )
    };
    events.iter().map(facts).collect()
}

#[test]
fn what_clients_got_is_told_from_what_was_tried() {
    let message = ok(r#"{"usage":{"input_tokens":7,"output_tokens":5}}"#);
    let (a, b) = (
        Upstream::always(status(529)),
        Upstream::script(vec![message; 6]),
    );
    let balancer = balance(&[&a, &b]).start();
    for _ in 0..4 {
        assert_eq!(balancer.ask().status, 200);
    }
    let found = eventually("all of it is counted", || {
        let found = data(&balancer);
        (found["recent"]["answers"] == 4).then_some(found)
    });
    let recent = &found["recent"];
    assert_eq!((&recent["failed"], &recent["left"]), (&json!(0), &json!(0)));
    assert_eq!(recent["saved"], a.count() as u64);
    assert!(recent["p50"].is_f64(), "{recent}");
    let [one, two] = [0, 1].map(|at| found["endpoints"][at]["recent"].clone());
    assert_eq!(one["failed"], one["attempts"]);
    assert!(one["p50"].is_null(), "an outage is not fast: {one}");
    assert_eq!((&two["attempts"], &two["failed"]), (&json!(4), &json!(0)));
    let client = &found["clients"][0];
    assert_eq!(
        (&client["name"], &client["allRequests"]),
        (&json!(""), &json!(4))
    );
    let tokens = [&client["inputTokens"], &client["outputTokens"]];
    assert_eq!(tokens, [&json!(28), &json!(20)]);
    let told = (
        "failover".into(),
        "one".into(),
        "overloaded".into(),
        a.count() as u64,
    );
    assert_eq!(events(&found), [told]);
    let steps = found["history"]["answers"].as_array().expect("steps");
    let sum: u64 = steps.iter().filter_map(Value::as_u64).sum();
    assert_eq!((steps.len(), sum), (360, 4));
}

#[test]
fn nobody_is_well_where_every_answer_failed() {
    let up = Upstream::always(status(500));
    let balancer = balance(&[&up]).start();
    balancer.ask();
    let found = eventually("it is counted", || {
        let found = data(&balancer);
        (found["recent"]["answers"] == 1).then_some(found)
    });
    assert_eq!(found["recent"]["failed"], 1);
    assert_eq!(found["recent"]["p50"], Value::Null);
}

#[test]
fn a_mistake_in_a_changed_file_is_an_event() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let good = balancer.config_json();
    let mut file = good.clone();
    file["queue"] = json!("many");
    balancer.edit(&file);
    let found = eventually("the complaint", || {
        let found = data(&balancer);
        (found["badReloads"] == 1).then_some(found)
    });
    assert_eq!(found["events"][0]["kind"], "complaint");
    let text = found["events"][0]["text"].as_str().expect("a text");
    assert!(text.contains("queue"), "{text}");
    balancer.edit(&good);
    eventually("it is good again", || {
        (data(&balancer)["events"][0]["kind"] == "reload").then_some(())
    });
}

#[test]
fn an_endpoints_way_down_and_up_is_told() {
    let up = Upstream::script([status(500), ok("{}")]);
    up.checked_with(status(503));
    let balancer = balance(&[&up])
        .set("cooldownSeconds", 0.1)
        .set("failures", 1)
        .start();
    balancer.ask();
    eventually("a check failed", || (up.checks() >= 1).then_some(()));
    up.checked_with(ok(r#"{"data":[]}"#));
    eventually("one passed", || {
        (balancer.health()["status"] == "healthy").then_some(())
    });
    assert_eq!(balancer.ask().status, 200);
    let found = eventually("the endpoint is well again", || {
        let found = data(&balancer);
        (found["events"][0]["kind"] == "well").then_some(found)
    });
    let kinds: Vec<_> = events(&found)
        .into_iter()
        .map(|(kind, endpoint, cause, _)| {
            assert_eq!(endpoint, "one");
            format!("{kind} {cause}")
        })
        .collect();
    let expected = [
        "well ",
        "check passed",
        "check failed",
        "cooldown server error",
    ];
    assert_eq!(kinds, expected);
    balancer.logged(&["INFO", "an endpoint is well again", "failures=1"]);
}

//! The shapes of the answers, the page's size, and that its policy fits it.

use super::*;
use crate::api::usage::Usage;
use crate::balancer::{EndpointState, LastError, LimitState, ModelState};
use crate::telemetry::metrics::{Ended, record};
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use serde_json::Value;
use std::time::{Duration, UNIX_EPOCH};

fn endpoint(name: &str, state: &'static str, cooldown: f64) -> EndpointState {
    EndpointState {
        name: name.to_owned(),
        base_url: format!("https://{name}.example/api/"),
        state,
        tier: 1,
        weight: 2,
        enabled: true,
        cooldown: Duration::from_secs_f64(cooldown),
        last_error: (state == "resting").then_some(LastError {
            at: UNIX_EPOCH + Duration::from_millis(1_704_067_199_000),
            cause: "rate limited",
        }),
        cause: (state == "resting").then_some("rate limited"),
        in_flight: 2,
        requests: 7,
        failures: 1,
        ..EndpointState::default()
    }
}

fn view(metrics: &Arc<Metrics>, begun: Instant) -> View<'_> {
    View {
        metrics,
        snapshot: Snapshot {
            endpoints: vec![endpoint("one", "up", 0.0), endpoint("two", "resting", 1.2)],
            next: 1,
            none_well: false,
            some_unwell: true,
        },
        load: Load {
            in_flight: 3,
            queued: 4,
            queue: 5,
            workers: 6,
            draining: false,
        },
        now: begun + Duration::from_millis(12_900),
        time: UNIX_EPOCH + Duration::from_millis(1_704_067_200_000),
    }
}

fn read(answer: &Response<Vec<u8>>) -> Value {
    assert_eq!(answer.headers()["content-type"], "application/json");
    serde_json::from_slice(answer.body()).expect("JSON")
}

#[test]
fn health_has_the_contracts_shape() {
    let begun = Instant::now();
    let metrics = Metrics::new(begun, UNIX_EPOCH);
    let answer = health(&view(&metrics, begun), true);
    let expected = format!(
        concat!(
            r#"{{"status":"degraded","timestamp":"2024-01-01T00:00:00.000Z","version":"{}","uptimeSeconds":12,"#,
            r#""endpoints":[{{"index":1,"name":"one","baseURL":"https://one.example/api/","hasToken":true,"#,
            r#""tier":1,"state":"up","restingSeconds":0,"inFlight":2,"requests":7,"failures":1}},"#,
            r#"{{"index":2,"name":"two","baseURL":"https://two.example/api/","hasToken":true,"#,
            r#""tier":1,"state":"resting","restingSeconds":2,"inFlight":2,"requests":7,"failures":1,"#,
            r#""lastError":{{"at":"2023-12-31T23:59:59.000Z","cause":"rate limited"}}}}],"#,
            r#""currentEndpoint":2,"inFlight":3,"queued":4,"workers":6}}"#
        ),
        VERSION
    );
    assert_eq!(String::from_utf8_lossy(answer.body()), expected);
    let short = json!({ "status": "degraded", "timestamp": "2024-01-01T00:00:00.000Z" });
    assert_eq!(read(&health(&view(&metrics, begun), false)), short);
}

#[test]
fn status_words() {
    let begun = Instant::now();
    let metrics = Metrics::new(begun, UNIX_EPOCH);
    let check = |none_well: bool, some_unwell: bool, draining: bool, expected: &str| {
        let mut view = view(&metrics, begun);
        (view.snapshot.none_well, view.snapshot.some_unwell) = (none_well, some_unwell);
        view.load.draining = draining;
        assert_eq!(read(&health(&view, false))["status"], expected);
        assert_eq!(read(&health(&view, true))["status"], expected);
    };
    check(false, false, false, "healthy");
    check(false, true, false, "degraded");
    check(true, true, false, "failing");
    check(false, false, true, "draining");
    check(true, true, true, "draining");
}

#[test]
fn the_data_is_for_who_accepts_it() {
    let check = |accept: &[&'static str], expected: bool| {
        let mut asked = HeaderMap::new();
        for value in accept {
            asked.append(header::ACCEPT, HeaderValue::from_static(value));
        }
        assert_eq!(wants_data(&asked), expected, "{accept:?}");
    };
    check(&[], false);
    check(&["*/*"], false);
    check(
        &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
        false,
    );
    check(&["application/json"], true);
    check(&["text/plain", "text/html, application/json"], true);
}

#[test]
fn the_data_has_what_the_page_shows() {
    let begun = Instant::now();
    let metrics = Metrics::new(begun, UNIX_EPOCH);
    let one = metrics.endpoint("one");
    let (good, bad) = (Duration::from_millis(800), Duration::from_millis(1));
    one.ended(begun, Ended::Status(200), Some(good), false);
    one.ended(begun, Ended::Status(500), Some(bad), true);
    let usage = Usage {
        input: 1,
        output: 2,
        cache_read: 3,
        cache_write: 4,
    };
    one.used(usage);
    let mut of_client = record(200, Some(good), 10, 20);
    of_client.client = Some("ci".into());
    of_client.usage = Some(usage);
    of_client.attempts = 2;
    metrics.forwarded(&of_client, good);
    metrics.answered_locally(http::StatusCode::UNAUTHORIZED);
    metrics.refused("no client token");
    metrics.reloaded(
        UNIX_EPOCH + Duration::from_secs(5),
        Some("line 3: what is this?"),
    );
    let answer = data(&view(&metrics, begun), None);
    assert_eq!(answer.headers()["cache-control"], "no-store");
    assert_eq!(answer.headers()["vary"], "accept");
    let found = read(&answer);
    let near = |value: &Value| {
        let value = value.as_f64().expect("a number");
        assert!((500.0..1200.0).contains(&value), "{value}");
    };
    assert_eq!(found["recent"]["answers"], 1);
    assert_eq!(found["recent"]["saved"], 1);
    near(&found["recent"]["p95"]);
    assert_eq!(
        (&found["stepSeconds"], &found["groupSeconds"]),
        (&json!(10), &json!(60))
    );
    assert_eq!(
        found["history"]["answers"].as_array().map(Vec::len),
        Some(360)
    );
    let endpoint = &found["endpoints"][0];
    assert_eq!(
        (&endpoint["name"], &endpoint["inFlight"]),
        (&json!("one"), &json!(2))
    );
    assert_eq!(
        (&endpoint["cacheReadTokens"], &endpoint["recent"]["failed"]),
        (&json!(3), &json!(1))
    );
    near(&endpoint["recent"]["p50"]);
    assert_eq!(endpoint["attempts"].as_array().map(Vec::len), Some(60));
    assert_eq!(endpoint["attempts"][59], 2);
    let idle = &found["endpoints"][1];
    assert_eq!(
        (&idle["cause"], &idle["attempts"]),
        (&json!("rate limited"), &json!([]))
    );
    let client = &found["clients"][0];
    assert_eq!(
        (&client["name"], &client["allRequests"]),
        (&json!("ci"), &json!(1))
    );
    assert_eq!(client["outputTokens"], 2);
    let event = json!({"kind": "complaint", "first": 5000, "last": 5000, "count": 1, "endpoint": null, "cause": "",
        "text": "line 3: what is this?"});
    assert_eq!(found["events"], json!([event]));
    assert_eq!(found["answers"], json!([[200, 1]]));
    assert_eq!(found["refused"], json!([["no client token", 1]]));
    assert_eq!(
        (&found["queue"], &found["keepsDay"]),
        (&json!(5), &json!(true))
    );

    let day = read(&data(&view(&metrics, begun), Some("x=1&span=day")));
    assert_eq!(
        (&day["stepSeconds"], &day["groupSeconds"]),
        (&json!(300), &json!(1200))
    );
    assert_eq!(
        day["history"]["answers"].as_array().map(Vec::len),
        Some(288)
    );
    assert_eq!(
        day["endpoints"][0]["attempts"].as_array().map(Vec::len),
        Some(72)
    );
}

#[test]
fn an_endpoint_that_is_not_well_says_why() {
    let begun = Instant::now();
    let metrics = Metrics::new(begun, UNIX_EPOCH);
    let mut view = view(&metrics, begun);
    let endpoint = &mut view.snapshot.endpoints[1];
    endpoint.since = Some(begun + Duration::from_secs(2));
    endpoint.growth = 3;
    endpoint.next_check = Some(Duration::from_millis(1200));
    endpoint.share = 1.0;
    endpoint.models = vec![ModelState {
        model: "claude-x".into(),
        cooldown: Duration::from_secs(9),
        cause: "rate limited",
    }];
    endpoint.limits = vec![LimitState {
        name: "5h".into(),
        used: 0.123_456,
        warned: true,
        reset_in: Some(Duration::from_secs(60)),
    }];
    let found = read(&data(&view, None))["endpoints"][1].clone();
    let check = |key: &str, expected: Value| assert_eq!(found[key], expected, "{key}");
    check("tier", json!(1));
    check("weight", json!(2));
    check("maxConcurrent", Value::Null);
    check("cause", json!("rate limited"));
    check("sinceSeconds", json!(10));
    check("growth", json!(3));
    check("nextCheckSeconds", json!(2));
    check(
        "lastError",
        json!({"at": "2023-12-31T23:59:59.000Z", "cause": "rate limited"}),
    );
    check(
        "models",
        json!([{"model": "claude-x", "seconds": 9, "cause": "rate limited"}]),
    );
    check(
        "limits",
        json!([{"name": "5h", "used": 0.1235, "warned": true, "resetSeconds": 60}]),
    );
}

#[test]
fn the_page_is_small_and_its_policy_fits() {
    let answer = page();
    assert!(PAGE.len() < 60_000, "the page has {} bytes", PAGE.len());
    let policy = answer.headers()["content-security-policy"]
        .to_str()
        .expect("ASCII");
    for tag in ["style", "script"] {
        let (start, end) = (format!("<{tag}>"), format!("</{tag}>"));
        assert_eq!(
            PAGE.matches(&format!("<{tag}")).count(),
            1,
            "one {tag} element"
        );
        let inside = PAGE
            .split(&start)
            .nth(1)
            .and_then(|rest| rest.split(&end).next())
            .expect("the element");
        let expected = format!("{tag}-src 'sha256-{}'", sha256(inside));
        assert!(
            policy.contains(&expected),
            "the page was changed: PAGE_HEADERS needs {expected}"
        );
    }
    // Nothing is fetched from elsewhere, and no text becomes HTML.
    for never in [
        "http://",
        "https://",
        "innerHTML",
        "insertAdjacentHTML",
        "document.write",
        "eval(",
        " style=",
    ] {
        let used = PAGE
            .replace("http://www.w3.org/2000/svg", "")
            .contains(never);
        assert!(!used, "the page uses {never}");
    }
}

/// In base 64, as a policy wants it.
fn sha256(text: &str) -> String {
    let suite = TLS13_AES_128_GCM_SHA256.tls13().expect("a TLS 1.3 suite");
    let hash = suite.common.hash_provider.hash(text.as_bytes());
    let letter = |bits: u32| {
        char::from(
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[bits as usize & 63],
        )
    };
    let mut encoded = String::new();
    for chunk in hash.as_ref().chunks(3) {
        let bits = chunk
            .iter()
            .fold(0, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - chunk.len()));
        encoded.extend((0..=chunk.len()).map(|at| letter(bits >> (18 - 6 * at))));
    }
    // 32 bytes: the last chunk has two.
    encoded + "="
}

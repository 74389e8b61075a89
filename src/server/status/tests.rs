//! The shapes of the answers, the page's size, and that its policy fits it.

use super::*;
use crate::api::usage::Usage;
use crate::telemetry::metrics::{Ended, record};
use rustls::crypto::ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
use serde_json::Value;
use std::time::UNIX_EPOCH;

fn endpoint(name: &str, state: &'static str, cooldown: f64) -> EndpointState {
    EndpointState {
        name: name.to_owned(),
        base_url: format!("https://{name}.example/api/"),
        state,
        tier: 1,
        enabled: true,
        cooldown: Duration::from_secs_f64(cooldown),
        last_error: (state == "resting").then_some(crate::balancer::LastError {
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
        view.snapshot.none_well = none_well;
        view.snapshot.some_unwell = some_unwell;
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
fn metrics_come_as_text_or_json() {
    let begun = Instant::now();
    let metrics = Metrics::new(begun, UNIX_EPOCH);
    let check = |accept: &[&'static str], expected: &str| {
        let mut asked = HeaderMap::new();
        for value in accept {
            asked.append(header::ACCEPT, HeaderValue::from_static(value));
        }
        let answer = super::metrics(view(&metrics, begun), &asked);
        assert_eq!(answer.headers()["content-type"], expected, "{accept:?}");
        assert_eq!(answer.headers()["cache-control"], "no-store");
        assert_eq!(answer.headers()["vary"], "accept");
    };
    let text = "text/plain; version=0.0.4; charset=utf-8";
    check(&[], text);
    check(&["*/*"], text);
    check(
        &["application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"],
        text,
    );
    check(&["application/json"], "application/json");
    check(
        &["text/html", "text/plain, application/json"],
        "application/json",
    );
}

#[test]
fn the_overview_has_what_the_page_shows() {
    let begun = Instant::now();
    let metrics = Metrics::new(begun, UNIX_EPOCH);
    let one = metrics.endpoint("one");
    one.begun(begun);
    one.begun(begun);
    one.ended(
        begun,
        Ended::Status(200),
        Some(Duration::from_micros(1500)),
        false,
    );
    one.ended(
        begun,
        Ended::Status(200),
        Some(Duration::from_micros(2000)),
        true,
    );
    one.used(Usage {
        input: 1,
        output: 2,
        cache_read: 3,
        cache_write: 4,
    });
    metrics.forwarded(&record(200, None, 10, 20), Duration::ZERO);
    metrics.answered_locally(http::StatusCode::UNAUTHORIZED);
    metrics.refused("no client token");
    let overview = serde_json::to_value(super::overview(&view(&metrics, begun))).expect("JSON");
    let found = &overview["endpoints"][0];
    assert_eq!(found["name"], "one");
    assert_eq!(found["inFlight"], 2);
    assert_eq!(found["cacheReadTokens"], 3);
    assert_eq!(
        found["recent"]["requests"].as_array().map(Vec::len),
        Some(60)
    );
    assert_eq!(found["recent"]["requests"][58], 2); // 12 s ago: the slot before this one.
    assert_eq!(found["recent"]["failures"][58], 1);
    assert_eq!(found["recent"]["firstByteMs"][58], 1.8);
    assert_eq!(found["recent"]["firstByteMs"][59], Value::Null);
    assert_eq!(overview["endpoints"][1]["cause"], "rate limited");
    assert_eq!(overview["answers"], json!([[200, 1]]));
    assert_eq!(overview["refused"], json!([["no client token", 1]]));
    assert_eq!(overview["queue"], 5);
}

#[test]
fn the_page_is_small_and_its_policy_fits() {
    let answer = page();
    assert!(PAGE.len() < 40_000, "the page has {} bytes", PAGE.len());
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

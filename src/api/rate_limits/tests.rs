//! Headers as they were seen, and what they mean.

use http::{HeaderName, HeaderValue};
use proptest::prelude::*;

use super::*;

/// 2025-08-21T12:40:00Z.
const NOW: u64 = 1_755_780_000;

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(NOW)
}

fn map(lines: &[(&str, &str)]) -> HeaderMap {
    lines
        .iter()
        .map(|(name, value)| {
            (
                name.parse::<HeaderName>().expect("a name"),
                value.parse::<HeaderValue>().expect("a value"),
            )
        })
        .collect()
}

#[track_caller]
fn check(lines: &[(&str, &str)], expected: Option<(f64, bool)>) {
    let told = retry_in(&map(lines), now());
    let told = told.map(|told| (told.duration.as_secs_f64(), told.whole_endpoint));
    assert_eq!(told, expected, "{lines:?}");
}

#[test]
fn how_long() {
    check(&[], None);
    check(&[("retry-after", "7")], Some((7.0, false)));
    check(&[("retry-after", "7.5")], Some((7.5, false)));
    check(&[("retry-after", "0")], None);
    check(&[("retry-after", "soon")], None);
    check(&[("retry-after", "-3")], None);
    check(
        &[("retry-after-ms", "1500"), ("retry-after", "9")],
        Some((1.5, false)),
    );
    check(
        &[
            ("retry-after-ms", "x"),
            ("retry-after", "9"),
            ("anthropic-ratelimit-unified-status", "rejected"),
        ],
        Some((9.0, true)),
    );
    let date = httpdate::fmt_http_date(now() + Duration::from_secs(30));
    check(&[("retry-after", &date)], Some((30.0, false)));
    // The endpoint's own clock is an hour behind ours.
    let (there, later) = (
        httpdate::fmt_http_date(now() - Duration::from_secs(3600)),
        httpdate::fmt_http_date(now() - Duration::from_secs(3590)),
    );
    check(
        &[("date", &there), ("retry-after", &later)],
        Some((10.0, false)),
    );
    let reset = (NOW + 100).to_string();
    let status = |status| ("anthropic-ratelimit-unified-status", status);
    let reset = ("anthropic-ratelimit-unified-reset", reset.as_str());
    check(&[status("rejected"), reset], Some((100.0, true)));
    check(
        &[status("rejected"), reset, ("retry-after", "0")],
        Some((100.0, true)),
    );
    check(&[status("allowed"), reset], None);
    check(
        &[
            status("allowed"),
            reset,
            ("anthropic-ratelimit-unified-overage-status", "rejected"),
        ],
        None,
    );
}

fn windows(lines: &[(&str, &str)]) -> Vec<(String, f64, bool, u64)> {
    let reading = Reading::of(&map(lines), now());
    let window = |w: Window| (w.name, w.used, w.warned, w.forget_in.as_secs());
    let mut windows: Vec<_> = reading.windows.into_iter().map(window).collect();
    windows.sort_by(|a, b| a.0.cmp(&b.0));
    windows
}

#[test]
fn a_subscriptions_windows() {
    let soon = (NOW + 100).to_string();
    let later = (NOW + 100_000).to_string();
    let found = windows(&[
        ("anthropic-ratelimit-unified-status", "rejected"),
        ("anthropic-ratelimit-unified-reset", &soon),
        (
            "anthropic-ratelimit-unified-representative-claim",
            "five_hour",
        ),
        ("anthropic-ratelimit-unified-5h-status", "rejected"),
        ("anthropic-ratelimit-unified-5h-utilization", "1.01"),
        ("anthropic-ratelimit-unified-5h-reset", &soon),
        ("anthropic-ratelimit-unified-7d-utilization", "0.69"),
        ("anthropic-ratelimit-unified-7d-status", "allowed"),
        ("anthropic-ratelimit-unified-7d-reset", &later),
        ("anthropic-ratelimit-unified-overage-status", "rejected"),
        ("anthropic-ratelimit-unified-overage-utilization", "1"),
    ]);
    let expected = [
        ("5h".into(), 1.01, true, 100),
        ("7d".into(), 0.69, false, 600),
        ("unified".into(), 0.0, true, 100),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_window_with_a_status_alone() {
    let warned = windows(&[
        (
            "anthropic-ratelimit-unified-7d_opus-status",
            "allowed_warning",
        ),
        ("anthropic-ratelimit-unified-7d-status", "allowed"),
    ]);
    assert_eq!(warned, [("7d_opus".into(), 0.0, true, 600)]);
}

#[test]
fn a_warning_without_a_window() {
    let warned = windows(&[("anthropic-ratelimit-unified-status", "allowed_warning")]);
    assert_eq!(warned, [("unified".into(), 0.0, true, 600)]);
    assert_eq!(
        windows(&[("anthropic-ratelimit-unified-status", "allowed")]),
        []
    );
}

#[test]
fn an_api_keys_windows() {
    let found = windows(&[
        ("anthropic-ratelimit-requests-limit", "50"),
        ("anthropic-ratelimit-requests-remaining", "49"),
        ("anthropic-ratelimit-requests-reset", "2025-08-21T12:40:59Z"),
        ("anthropic-ratelimit-input-tokens-limit", "1000000"),
        ("anthropic-ratelimit-input-tokens-remaining", "10000"),
        (
            "anthropic-ratelimit-input-tokens-reset",
            "2025-08-21T12:40:05Z",
        ),
        ("anthropic-ratelimit-new-thing-remaining", "3"),
        ("anthropic-ratelimit-past-limit", "10"),
        ("anthropic-ratelimit-past-remaining", "0"),
        ("anthropic-ratelimit-past-reset", "2025-08-21T12:39:59Z"),
    ]);
    assert_eq!(found.len(), 2, "{found:?}");
    assert_eq!(
        (&*found[0].0, found[0].1, found[0].3),
        ("input-tokens", 0.99, 5)
    );
    assert_eq!(
        (&*found[1].0, (found[1].1 * 100.0).round(), found[1].3),
        ("requests", 2.0, 15)
    );
}

#[test]
fn the_organization() {
    assert_eq!(
        organization(&map(&[("anthropic-organization-id", "org-1")])),
        Some("org-1")
    );
    assert_eq!(organization(&map(&[])), None);
}

proptest! {
    #[test]
    fn any_text_is_read(text: String, now in 0_u64..4_000_000_000) {
        let _ = parse_retry_after(&text, UNIX_EPOCH + Duration::from_secs(now));
        let _ = moment(&text);
    }
}

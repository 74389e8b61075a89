//! Who counts for how long, and under which label.

use super::*;
use crate::api::usage::Usage;
use crate::telemetry::access_log::End;

fn metrics() -> (Arc<Metrics>, Instant) {
    let now = Instant::now();
    (Metrics::new(now, SystemTime::UNIX_EPOCH), now)
}

/// A request that ended with `status`.
pub fn record(status: u16, first_byte: Option<Duration>, bytes_in: u64, bytes_out: u64) -> Record {
    let arrived = Instant::now();
    let uri = http::Uri::from_static("/v1/messages");
    let mut record = Record::new(http::Method::POST, uri, bytes_in, "req_1".into(), arrived);
    record.status = status;
    record.first_byte = first_byte.map(|after| arrived + after);
    record.bytes_out = bytes_out;
    record.end = End::Whole;
    record
}

#[test]
fn an_endpoint_lives_as_long_as_somebody_holds_it() {
    let (metrics, now) = metrics();
    let timeouts =
        |endpoint: &EndpointMetrics| endpoint.ended[Ended::Timeout.index()].load(Relaxed);
    let old = metrics.endpoint("one");
    old.ended(now, Ended::Timeout, None, true);
    let reloaded = metrics.endpoint("one");
    drop(old);
    reloaded.ended(now, Ended::Timeout, None, true);
    assert_eq!(timeouts(&reloaded), 2);
    drop(reloaded);
    assert_eq!(timeouts(&metrics.endpoint("one")), 0);
    (0..100).for_each(|number| drop(metrics.endpoint(&number.to_string())));
    assert!(
        lock(&metrics.endpoints).len() <= 1,
        "nothing grows with reloads"
    );
}

#[test]
fn outcomes() {
    fn check(ended: Ended, label: &str) {
        assert_eq!(Ended::LABELS[ended.index()], label, "{ended:?}");
    }
    check(Ended::Status(200), "2xx");
    check(Ended::Status(304), "3xx");
    check(Ended::Status(400), "4xx");
    check(Ended::Status(429), "429");
    check(Ended::Status(499), "4xx");
    check(Ended::Status(500), "5xx");
    check(Ended::Status(529), "529");
    check(Ended::Status(999), "5xx");
    check(Ended::Timeout, "timeout");
    check(Ended::Unreachable, "unreachable");
    check(Ended::Broken, "broken");
    check(Ended::ClientGone, "client_gone");
    check(Ended::Unsent, "unsent");
}

#[test]
fn odd_values_are_taken() {
    let (metrics, now) = metrics();
    let endpoint = metrics.endpoint("one");
    for status in [0, 99, 600, u16::MAX] {
        metrics.forwarded(
            &record(status, Some(Duration::from_secs(1 << 30)), 0, 0),
            Duration::ZERO,
        );
        endpoint.ended(now, Ended::Status(status), Some(Duration::MAX), false);
    }
    assert_eq!(metrics.statuses(), [(100, 2), (599, 2)]);
}

#[test]
fn counters_stay_at_their_top() {
    let (metrics, now) = metrics();
    let endpoint = metrics.endpoint("one");
    let much = Usage {
        input: u64::MAX - 1,
        ..Usage::default()
    };
    assert!(!much.is_believable());
    (0..3).for_each(|_| endpoint.used(much));
    assert_eq!(endpoint.usage().input, u64::MAX);
    for _ in 0..2 {
        metrics.forwarded(&record(200, None, u64::MAX, 1), Duration::MAX / 4);
    }
    assert_eq!(metrics.bytes(), [u64::MAX, 2]);
    endpoint.ended(now, Ended::Status(200), Some(Duration::MAX), false);
}

#[test]
fn what_clients_got_is_told_from_what_was_tried() {
    let (metrics, begun) = metrics();
    let fast = Some(Duration::from_millis(1));
    let answer = |status: u16, attempts: usize, end: End| {
        let mut record = record(status, fast, 0, 0);
        (record.attempts, record.end) = (attempts, end);
        metrics.forwarded(&record, Duration::ZERO);
    };
    answer(200, 1, End::Whole);
    answer(200, 3, End::Whole); // Saved.
    answer(400, 2, End::Whole); // The request's own fault.
    answer(500, 3, End::Whole);
    answer(429, 3, End::Whole);
    answer(401, 1, End::Whole); // Ours: the endpoint refused our token.
    answer(200, 1, End::Broken("fell silent".into()));
    answer(200, 1, End::ClientGone);
    metrics.turned_away(Instant::now());
    let recent = metrics.recent(begun.max(Instant::now()), 60);
    let counts = [recent.answers, recent.failed, recent.saved, recent.left];
    assert_eq!(counts, [8, 5, 1, 1]);
    let mut good = Fine::default();
    (0..2).for_each(|_| good.add(&Fine::of(Duration::from_millis(1))));
    assert_eq!(recent.first_byte, good, "of good answers only");
}

#[test]
fn an_outage_does_not_look_fast() {
    let (metrics, now) = metrics();
    let endpoint = metrics.endpoint("one");
    let times = [
        (200, 800, false),
        (500, 1, true),
        (429, 1, true),
        (400, 1, false),
    ];
    for (status, millis, failed) in times {
        let first_byte = Some(Duration::from_millis(millis));
        endpoint.ended(now, Ended::Status(status), first_byte, failed);
    }
    let recent = endpoint.recent(now, 1);
    assert_eq!((recent.attempts, recent.failed), (4, 2));
    let near = recent.first_byte.millis(0.5).expect("one good answer");
    assert!((500.0..1200.0).contains(&near), "{near}");
}

#[test]
fn clients_that_are_gone_are_forgotten() {
    let (metrics, _) = metrics();
    for name in [None, Some("one"), Some("two")] {
        let mut record = record(200, None, 0, 0);
        record.client = name.map(str::to_owned);
        metrics.forwarded(&record, Duration::ZERO);
    }
    metrics.expect(1, &["two"]);
    let names: Vec<_> = metrics
        .clients()
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["", "two"]);
    assert!(metrics.keeps_day());
    metrics.expect(1000, &["two"]);
    assert!(!metrics.keeps_day());
}

#[test]
fn what_an_endpoint_does_is_an_event() {
    let (metrics, now) = metrics();
    let endpoint = metrics.endpoint("one");
    let time = SystemTime::UNIX_EPOCH;
    let mut failed = FailedAttempt {
        cause: "overloaded",
        look_at: None,
        cooldown: None,
        model: None,
        goes_on: true,
        answer: "529",
        request_id: "req_1",
    };
    endpoint.tell_failure(now, time, &failed);
    failed.goes_on = false;
    endpoint.tell_failure(now, time, &failed);
    failed.cooldown = Some(Duration::from_secs(10));
    endpoint.tell_failure(now, time, &failed);
    (failed.cause, failed.model) = ("rate limited", Some("claude-sonnet-4-5"));
    endpoint.tell_failure(now, time, &failed);
    endpoint.tell_success(now, time, true);
    endpoint.tell_success(now, time, false);
    endpoint.tell_check(time, false, "status 503");
    let events = metrics.events().newest_first();
    let told = |event: &crate::telemetry::events::Event| (event.kind.word(), event.text.clone());
    let expected = [
        ("check", "status 503"),
        ("well", "after 4 failed attempts in 0 s"),
        ("cooldown", "of claude-sonnet-4-5 for 10 s: 529"),
        ("cooldown", "for 10 s: 529"),
        ("failed", "529"),
        ("failover", "529"),
    ];
    let expected = expected.map(|(kind, text)| (kind, text.to_owned()));
    assert_eq!(events.iter().map(told).collect::<Vec<_>>(), expected);
}

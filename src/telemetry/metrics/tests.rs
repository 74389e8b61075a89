//! Who counts for how long, and under which label.

use super::*;

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

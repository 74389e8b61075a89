//! The contract's table of failures, row by row.

use proptest::prelude::*;

use super::*;

const RESTS: Rests = Rests {
    cooldown: Duration::from_secs(10),
    max_cooldown: Duration::from_secs(3600),
};

fn next(rest: Option<u64>, cause: &'static str) -> Verdict {
    Verdict::Next {
        rest: rest.map(Duration::from_secs),
        cause,
        mend: cause == "token refused",
    }
}

fn check(status: u16, retry_after: Option<&str>, expected: Verdict) {
    let verdict = judge(
        Outcome::Status(status, retry_after),
        true,
        RESTS,
        SystemTime::UNIX_EPOCH,
    );
    assert_eq!(verdict, expected, "{status} {retry_after:?}");
}

#[test]
fn verdicts() {
    check(429, Some("7"), next(Some(7), "rate limited")); // The endpoint knows better than our default.
    check(429, Some("0"), next(None, "rate limited"));
    check(429, None, next(None, "rate limited"));
    check(529, None, next(None, "overloaded"));
    check(529, Some("3"), next(Some(3), "overloaded"));
    check(401, Some("7"), next(Some(60), "token refused"));
    check(403, None, next(Some(60), "token refused"));
    check(404, Some("7"), next(None, "not found"));
    check(503, Some("0"), next(None, "server error"));
    check(
        503,
        Some("Thu, 01 Jan 1970 00:00:00 GMT"),
        next(None, "server error"),
    ); // It has passed.
    check(503, Some("soon"), next(Some(10), "server error"));
    check(503, Some("999999"), next(Some(3600), "server error"));
    check(
        429,
        Some("99999999999999999999999999"),
        next(Some(3600), "rate limited"),
    );
    check(400, Some("5"), Verdict::Deliver); // The client's mistake: the next endpoint would say the same.
    check(302, None, Verdict::Deliver); // Passed on, not followed.
    check(408, None, Verdict::Deliver);
    check(501, None, Verdict::Deliver);
}

#[test]
fn every_status_has_its_row() {
    let server_errors = [
        500, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 527, 530,
    ];
    for status in 100..1000 {
        match status {
            401 | 403 | 404 | 429 | 529 => {}
            _ if server_errors.contains(&status) => {
                check(status, None, next(Some(10), "server error"));
                check(status, Some("2"), next(Some(2), "server error"));
            }
            _ => check(status, Some("2"), Verdict::Deliver),
        }
    }
}

#[test]
fn what_gives_no_status() {
    let judge = |outcome| judge(outcome, true, RESTS, SystemTime::UNIX_EPOCH);
    assert_eq!(judge(Outcome::Unreachable), next(Some(10), "unreachable"));
    assert_eq!(judge(Outcome::NoFirstEvent), next(None, "no first event"));
}

#[test]
fn some_requests_never_make_an_endpoint_rest() {
    for outcome in [
        Outcome::Status(500, None),
        Outcome::Status(401, None),
        Outcome::Unreachable,
    ] {
        let Verdict::Next { rest, .. } = judge(outcome, false, RESTS, SystemTime::UNIX_EPOCH)
        else {
            panic!("{outcome:?} goes to the next endpoint")
        };
        assert_eq!(rest, None, "{outcome:?}");
    }
}

#[test]
fn no_cooldown_is_no_rest_and_no_rest_is_longer_than_the_longest() {
    let none = Rests {
        cooldown: Duration::ZERO,
        max_cooldown: Duration::from_secs(5),
    };
    let judge = |outcome| judge(outcome, true, none, SystemTime::UNIX_EPOCH);
    assert_eq!(judge(Outcome::Unreachable), next(None, "unreachable"));
    assert_eq!(
        judge(Outcome::Status(403, None)),
        next(Some(5), "token refused")
    );
}

#[test]
fn retry_after_in_both_forms() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777); // Sun, 06 Nov 1994 08:49:37 GMT
    let check = |text: &str, expected: Option<u64>| {
        assert_eq!(
            parse_retry_after(text, now),
            expected.map(Duration::from_secs),
            "{text:?}"
        );
    };
    check("120", Some(120));
    check(" 1 ", Some(1));
    check("007", Some(7));
    check("0", Some(0));
    check("Sun, 06 Nov 1994 08:50:37 GMT", Some(60));
    check("Sunday, 06-Nov-94 08:50:37 GMT", Some(60));
    check("Sun Nov  6 08:50:37 1994", Some(60));
    check("Sun, 06 Nov 1994 08:00:00 GMT", Some(0));
    for garbage in [
        "", " ", "-1", "+1", "1e9", "1_000", "0x10", "1,5", "1.2.3", ".5", "inf", "NaN", "soon",
        "5 s", "\u{663}",
    ] {
        check(garbage, None);
    }
    assert_eq!(
        parse_retry_after("0.25", now),
        Some(Duration::from_millis(250))
    );
    assert_eq!(
        parse_retry_after(&"9".repeat(1000), now),
        Some(Duration::MAX)
    );
}

#[test]
fn the_most_telling_answer() {
    let mut statuses = [401, 404, 503, 403, 429];
    statuses.sort_by_key(|&status| std::cmp::Reverse(rank(status)));
    assert_eq!(statuses, [429, 503, 404, 403, 401]);
}

proptest! {
    /// No text and no clock makes it panic, and no rest is longer than the longest or zero.
    #[test]
    fn any_retry_after(
        text in prop_oneof![".*", "[0-9.]{0,400}", "[A-Z][a-z]{2}, [0-9]{2} [A-Z][a-z]{2} [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT"],
        seconds in 0u64..1 << 40,
    ) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        for status in [429, 503, 529] {
            match judge(Outcome::Status(status, Some(&text)), true, RESTS, now) {
                Verdict::Next { rest: Some(rest), .. } => prop_assert!(!rest.is_zero() && rest <= RESTS.max_cooldown),
                Verdict::Next { rest: None, .. } => {}
                Verdict::Deliver => prop_assert!(false, "{} goes on", status),
            }
        }
    }

    #[test]
    fn any_date(ahead in 0u64..1 << 32, seconds in 0u64..1 << 32) {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let date = httpdate::fmt_http_date(now + Duration::from_secs(ahead));
        prop_assert_eq!(parse_retry_after(&date, now), Some(Duration::from_secs(ahead)));
    }
}

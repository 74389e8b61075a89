//! The contract's table of failures, row by row.

use proptest::prelude::*;

use super::*;

const NOW: SystemTime = SystemTime::UNIX_EPOCH;

const MESSAGE: Sort = Sort {
    may_cool_down: true,
    is_safe: false,
    model: Some("m"),
};

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// An answer that asks for a wait of so many seconds.
fn answer(status: u16, asked: Option<u64>) -> Signs {
    Signs {
        status,
        told: asked.map(|asked| Told {
            duration: seconds(asked),
            whole_endpoint: false,
        }),
        is_api_error: true,
        ..Signs::default()
    }
}

#[track_caller]
fn check(outcome: Outcome, penalty: Penalty, cause: &str) {
    let Verdict::Next(failure) = judge(&outcome, MESSAGE, NOW) else {
        panic!("the next endpoint was to get it: {outcome:?}");
    };
    assert_eq!(
        (failure.penalty, failure.cause),
        (penalty, cause),
        "{outcome:?}"
    );
    let others = judge(
        &outcome,
        Sort {
            may_cool_down: false,
            ..MESSAGE
        },
        NOW,
    );
    let expected = Failure {
        penalty: Penalty::None,
        ..failure
    };
    assert_eq!(
        others,
        Verdict::Next(expected),
        "only a message costs an endpoint"
    );
}

#[test]
fn outcomes_without_an_answer() {
    check(Outcome::Unreachable, Penalty::AtOnce, "unreachable");
    check(Outcome::Broken, Penalty::Counted, "broken");
    check(Outcome::NoFirstEvent, Penalty::None, "no first event");
    check(Outcome::NoAnswer, Penalty::Counted, "no answer");
}

#[test]
fn silence() {
    let failure = Failure {
        penalty: Penalty::AtOnce,
        cause: "timeout",
        look_at: None,
        only_if_another_answers: false,
    };
    // It may be working on it, so nobody else gets it.
    assert_eq!(
        judge(&Outcome::TimedOut, MESSAGE, NOW),
        Verdict::GiveUp(failure)
    );
    let get = Sort {
        may_cool_down: false,
        is_safe: true,
        model: None,
    };
    let costs_nothing = Failure {
        penalty: Penalty::None,
        ..failure
    };
    assert_eq!(
        judge(&Outcome::TimedOut, get, NOW),
        Verdict::Next(costs_nothing)
    );
}

#[test]
fn answers() {
    let check = |signs, penalty, cause| check(Outcome::Answer(signs), penalty, cause);
    let limited = |after| Penalty::ModelRateLimited("m", seconds(after));
    check(answer(429, Some(7)), limited(7), "rate limited"); // The endpoint knows better than our default.
    check(answer(429, None), Penalty::None, "rate limited");
    let mut whole = answer(429, Some(7));
    whole.told = whole.told.map(|told| Told {
        whole_endpoint: true,
        ..told
    });
    check(whole, Penalty::RateLimited(seconds(7)), "rate limited");
    check(answer(529, None), Penalty::None, "overloaded");
    check(answer(529, Some(3)), Penalty::For(seconds(3)), "overloaded");
    check(
        answer(529, Some(3600)),
        Penalty::For(seconds(60)),
        "overloaded",
    );
    check(
        answer(401, Some(7)),
        Penalty::For(seconds(60)),
        "token refused",
    );
    check(
        answer(403, None),
        Penalty::For(seconds(60)),
        "request refused",
    );
    check(answer(404, Some(7)), Penalty::None, "not found");
    let mut missing = answer(404, None);
    missing.names_model = true;
    check(missing, Penalty::ModelMissing("m"), "model missing");
    let mut page = answer(404, None);
    page.is_api_error = false;
    check(page, Penalty::For(seconds(60)), "not the API");
    for status in (500..=504).chain(520..=527).chain([530]) {
        check(answer(status, None), Penalty::Counted, "server error");
        check(
            answer(status, Some(5)),
            Penalty::For(seconds(5)),
            "server error",
        );
    }
}

#[test]
fn a_limit_without_a_model_is_the_whole_endpoints() {
    let request = Sort {
        model: None,
        ..MESSAGE
    };
    let Verdict::Next(failure) = judge(&Outcome::Answer(answer(429, Some(7))), request, NOW) else {
        panic!("the next endpoint was to get it");
    };
    assert_eq!(failure.penalty, Penalty::RateLimited(seconds(7)));
}

#[test]
fn an_account_at_its_end() {
    for (until, penalty) in [
        (None, seconds(600)),
        (Some(NOW + seconds(5000)), seconds(5000)),
        (Some(NOW), seconds(600)), // A date that has passed says nothing about now.
    ] {
        let mut signs = answer(400, None);
        signs.exhausted = Some(Exhausted {
            cause: "credit balance is too low",
            until,
        });
        check(
            Outcome::Answer(signs),
            Penalty::For(penalty),
            "account at its end",
        );
    }
}

#[test]
fn what_the_operator_must_mend() {
    let needs_operator = |outcome| match judge(&outcome, MESSAGE, NOW) {
        Verdict::Next(failure) => failure.look_at.is_some(),
        other => panic!("{other:?}"),
    };
    for status in [429, 529, 500, 403] {
        assert!(!needs_operator(Outcome::Answer(answer(status, None))));
    }
    assert!(needs_operator(Outcome::Answer(answer(401, None))));
    assert!(needs_operator(Outcome::NoAnswer));
    assert!(!needs_operator(Outcome::Broken));
}

#[test]
fn every_status_has_its_row() {
    for status in 100..=999 {
        let goes_on =
            judge(&Outcome::Answer(answer(status, None)), MESSAGE, NOW) != Verdict::Deliver;
        let expected = matches!(status, 401 | 403 | 404 | 429 | 500..=504 | 520..=527 | 529 | 530);
        assert_eq!(goes_on, expected, "{status}");
    }
}

#[test]
fn ranks() {
    let rank_of = |status| rank(&answer(status, None));
    let mut broke = answer(400, None);
    broke.exhausted = Some(Exhausted {
        cause: "credit balance is too low",
        until: None,
    });
    let best_first = [
        rank_of(429),
        rank_of(500),
        rank(&broke),
        rank_of(404),
        rank_of(403),
        rank_of(401),
    ];
    assert!(best_first.is_sorted_by(|a, b| a > b), "{best_first:?}");
    assert_eq!(rank_of(529), rank_of(500));
}

proptest! {
    #[test]
    fn a_failure_costs_nothing_where_it_may_not(status in 100_u16..1000, asked: Option<u64>) {
        let request = Sort { may_cool_down: false, ..MESSAGE };
        match judge(&Outcome::Answer(answer(status, asked)), request, NOW) {
            Verdict::Next(failure) => prop_assert_eq!(failure.penalty, Penalty::None),
            Verdict::Deliver => {}
            Verdict::GiveUp(_) => prop_assert!(false, "there was an answer"),
        }
    }
}

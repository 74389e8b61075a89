//! What an outcome says about its endpoint: nothing, or that it is not to be asked for a while, and by whom that is told.

use crate::common::events::{message, message_start, message_stop};
use crate::common::prelude::*;

/// A message that names a model.
fn ask_for(model: &str) -> Request {
    Request::new("POST", "/v1/messages").body(format!(r#"{{"model":"{model}","messages":[]}}"#))
}

#[test]
fn an_endpoint_that_never_answers_is_waited_for_once() {
    let (silent, well) = (Upstream::by_hand(), Upstream::always(ok("well")));
    let balancer = balance(&[&silent, &well])
        .set("responseSeconds", 0.3)
        .start();
    balancer.ask().own_error(408, "timeout_error");
    for _ in 0..5 {
        assert_eq!(balancer.ask().text(), "well");
    }
    assert_eq!(silent.count(), 1);
    assert_eq!(balancer.endpoint(0)["lastError"]["cause"], "timeout");
}

/// Three clients that give up after 20 s each say what `responseSeconds` would have said, had they waited.
#[test]
fn three_clients_that_left_without_a_byte_put_an_endpoint_on_cooldown() {
    let (silent, well) = (Upstream::by_hand(), Upstream::always(ok("well")));
    let balancer = balance(&[&silent, &well]).set("affinity", "off").start();
    let mut waiting = Vec::new();
    for _ in 0..3 {
        let mut client = balancer.client();
        client.send(Request::message().bytes());
        let call = silent.call();
        waiting.push((client, call));
        assert_eq!(balancer.ask().text(), "well", "the next turn");
    }
    let (last, _) = waiting.last_mut().expect("three clients");
    assert!(last.wire().is_silent_for(Duration::from_secs(20)));
    for (client, mut call) in waiting {
        drop(client);
        assert!(call.is_left());
    }
    eventually("it is on cooldown", || {
        (balancer.state(0) == "resting").then_some(())
    });
    balancer.logged(&["endpoint=one", "cause=silent"]);
}

#[test]
fn an_account_without_credit_is_left_alone() {
    let low = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.";
    let broke = Upstream::always(api_error(400, "invalid_request_error", low));
    let well = Upstream::always(ok("well"));
    let balancer = balance(&[&broke, &well]).start();
    for _ in 0..4 {
        assert_eq!(balancer.ask().text(), "well");
    }
    assert_eq!(broke.count(), 1);
    let seconds = &balancer.endpoint(0)["restingSeconds"];
    assert!(
        (595..=600).contains(&seconds.as_u64().expect("a number")),
        "{seconds}"
    );
    let line = balancer.logged(&["ERROR", "endpoint=one", "account at its end"]);
    assert!(line.contains("credit balance is too low"), "{line}");
}

/// As Claude Code asks for it. What the client gets stays as it came.
#[test]
fn what_is_compressed_is_judged_by_what_it_says() {
    // {"error":{"message":"Your credit balance is too low"}}, by gzip.
    let low: &[u8] = &[
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 171, 86, 74, 45, 42, 202, 47, 82, 178, 170, 86, 202, 77,
        45, 46, 78, 76, 79, 85, 178, 82, 138, 204, 47, 45, 82, 72, 46, 74, 77, 201, 44, 81, 72, 74,
        204, 73, 204, 75, 78, 85, 200, 44, 86, 40, 201, 207, 87, 200, 201, 47, 87, 170, 173, 5, 0,
        73, 65, 0, 50, 54, 0, 0, 0,
    ];
    let broke = Upstream::always(
        status(400)
            .header("content-encoding", "gzip")
            .header("content-type", "application/json")
            .body(low),
    );
    let well = Upstream::always(ok("well"));
    let balancer = balance(&[&broke, &well]).start();
    assert_eq!(balancer.ask().text(), "well");
    assert_eq!(balancer.state(0), "resting");
    balancer.logged(&["ERROR", "credit balance is too low"]);
    let answer = balance(&[&broke]).start().ask();
    assert!(answer.status == 400 && answer.body == low);
}

#[test]
fn a_400_of_the_requests_own_is_its_answer() {
    for message in [
        "prompt is too long: 210000 tokens > 200000 maximum",
        "messages.1.content.0: Invalid `signature` in `thinking` block",
        "credit_score: extra field",
    ] {
        let (up, other) = (
            Upstream::always(api_error(400, "invalid_request_error", message)),
            Upstream::always(ok("other")),
        );
        let balancer = balance(&[&up, &other]).start();
        let answer = balancer.ask();
        assert_eq!(answer.status, 400);
        assert_eq!(answer.json()["error"]["message"], message);
        assert_eq!((other.count(), balancer.state(0)), (0, "up".to_owned()));
    }
}

#[test]
fn clients_are_told_when_the_first_endpoint_may_be_asked_again() {
    let limited = |seconds: &str| {
        Upstream::always(api_error(429, "rate_limit_error", "slow").header("retry-after", seconds))
    };
    for (first, second) in [("3600", "5"), ("5", "3600")] {
        let (a, b) = (limited(first), limited(second));
        let answer = balance(&[&a, &b]).start().ask();
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (429, Some("5"))
        );
    }
    // One of them may be asked at once.
    let a = limited("3600");
    let b = Upstream::always(api_error(429, "rate_limit_error", "slow"));
    let answer = balance(&[&a, &b]).start().ask();
    assert_eq!((answer.status, answer.header("retry-after")), (429, None));
}

#[test]
fn a_request_that_every_endpoint_refuses_costs_none_of_them() {
    let refused = || Upstream::always(api_error(403, "permission_error", "no"));
    let ups = [refused(), refused(), refused()];
    let balancer = balance(&[&ups[0], &ups[1], &ups[2]]).start();
    assert_eq!(balancer.ask().status, 403);
    for (at, up) in ups.iter().enumerate() {
        assert_eq!((balancer.state(at).as_str(), up.count()), ("up", 1));
    }
}

#[test]
fn a_403_that_another_endpoint_answers_well_is_the_endpoints_fault() {
    let refuses = Upstream::always(api_error(403, "permission_error", "no"));
    let well = Upstream::always(ok("well"));
    let balancer = balance(&[&refuses, &well]).start();
    assert_eq!(balancer.ask().text(), "well");
    assert_eq!(balancer.state(0), "resting");
    balancer.logged(&["ERROR", "endpoint=one", "403"]);
}

#[test]
fn a_new_token_ends_a_cooldown() {
    let up = Upstream::script([status(401)]);
    let other = Upstream::always(ok("other"));
    let balancer = balance(&[&up, &other]).start();
    balancer.ask();
    assert_eq!(balancer.state(0), "resting");
    let mut config = balancer.config_json();
    config["endpoints"][0]["authToken"] = json!("token-new");
    balancer.edit(&config);
    eventually("the new token is used", || {
        (balancer.state(0) == "up").then_some(())
    });
    eventually("it is asked", || {
        (balancer.ask().served_by() == "one").then_some(())
    });
}

#[test]
fn where_everything_is_rate_limited_we_say_so_ourselves() {
    let limited =
        || Upstream::always(api_error(429, "rate_limit_error", "slow").header("retry-after", "30"));
    let (a, b) = (limited(), limited());
    let balancer = balance(&[&a, &b]).start();
    assert_eq!(balancer.ask().status, 429);
    let asked = a.count() + b.count();
    for _ in 0..5 {
        let answer = balancer.ask();
        answer.own_error(429, "rate_limit_error");
        let seconds: u64 = answer
            .header("retry-after")
            .and_then(|seconds| seconds.parse().ok())
            .expect("seconds");
        assert!((25..=30).contains(&seconds), "{seconds}");
    }
    let more = a.count() + b.count() - asked;
    assert!(more <= 1, "one a second at most, not {more} of 5");
}

#[test]
fn keys_of_one_organisation_share_its_limits() {
    let of = |reply: Reply| reply.header("anthropic-organization-id", "org-1");
    let a = Upstream::script([of(ok("a"))]);
    a.henceforth(of(api_error(429, "rate_limit_error", "slow")
        .header("anthropic-ratelimit-unified-status", "rejected")
        .header("retry-after", "60")));
    let b = Upstream::always(of(ok("b")));
    let c = Upstream::always(ok("c"));
    let balancer = balance(&[&a, &b, &c]).start();
    // The fourth would be the turn of `one`, which is told no: and so is `two`.
    for expected in ["a", "b", "c", "c"] {
        assert_eq!(balancer.ask().text(), expected);
    }
    assert_eq!(
        (balancer.state(0), balancer.state(1)),
        ("resting".into(), "resting".into())
    );
    for _ in 0..4 {
        assert_eq!(balancer.ask().text(), "c");
    }
}

#[test]
fn a_limit_of_one_model_leaves_the_others_alone() {
    let up =
        Upstream::script([api_error(429, "rate_limit_error", "slow").header("retry-after", "60")]);
    let other = Upstream::always(ok("other"));
    let balancer = balance(&[&up, &other]).start();
    assert_eq!(balancer.send(&ask_for("big")).text(), "other");
    assert_eq!(balancer.state(0), "up");
    for _ in 0..4 {
        assert_eq!(balancer.send(&ask_for("big")).text(), "other");
    }
    assert_eq!(up.count(), 1);
    eventually("another model is asked for there", || {
        (balancer.send(&ask_for("small")).served_by() == "one").then_some(())
    });
}

#[test]
fn a_model_that_an_endpoint_does_not_know_is_asked_for_elsewhere() {
    let up = Upstream::script([api_error(404, "not_found_error", "model: big")]);
    let other = Upstream::always(ok("other"));
    let balancer = balance(&[&up, &other]).start();
    for _ in 0..4 {
        assert_eq!(balancer.send(&ask_for("big")).text(), "other");
    }
    assert_eq!((up.count(), balancer.state(0).as_str()), (1, "up"));
}

#[test]
fn what_is_no_answer_is_not_delivered() {
    let html = "<!DOCTYPE html><html>Welcome</html>";
    for reply in [
        ok(html).header("content-type", "text/html"),
        ok(""),
        status(200).body(r#"{"type":"error","error":{"type":"x","message":"no"}}"#),
        status(200).body(r#"{"error":{"message":"no"}}"#),
        raw("HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n\r\n<html>hello"),
    ] {
        let (sick, well) = (Upstream::always(reply), Upstream::always(ok("well")));
        let balancer = balance(&[&sick, &well]).start();
        for _ in 0..8 {
            assert_eq!(balancer.ask().text(), "well");
        }
        assert_eq!(sick.count(), 3, "failures in a row");
        assert_eq!(balancer.state(0), "resting");
        balancer.logged(&["ERROR", "endpoint=one", "no answer"]);
    }
}

#[test]
fn what_is_no_answer_is_not_delivered_by_an_only_endpoint_either() {
    let page = ok("<html>hello</html>").header("content-type", "text/html");
    let up = Upstream::always(page);
    let balancer = balance(&[&up]).start();
    balancer.ask().own_error(500, "internal_error");
    assert_eq!(up.count(), 1);
}

#[test]
fn a_body_that_does_not_come_is_waited_for_once() {
    let silent = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n";
    let up = Upstream::script([raw(silent).stall()]);
    let balancer = balance(&[&up]).set("idleSeconds", 3).start();
    let start = Instant::now();
    assert!(!balancer.ask().whole);
    let took = start.elapsed();
    assert!(took < Duration::from_secs(5), "idleSeconds once: {took:?}");
}

#[test]
fn an_errors_body_that_does_not_come_is_waited_for_once() {
    let silent = "HTTP/1.1 429 Slow\r\ncontent-type: application/json\r\ncontent-length: 9\r\n\r\n";
    let up = Upstream::script([raw(silent).stall()]);
    let well = Upstream::always(ok("well"));
    let balancer = balance(&[&up, &well]).start();
    let start = Instant::now();
    assert_eq!(balancer.ask().text(), "well");
    let took = start.elapsed();
    assert!(
        took < Duration::from_millis(3500),
        "two seconds once: {took:?}"
    );
}

#[test]
fn a_404_that_is_none_of_the_apis_tells_of_a_wrong_base_url() {
    let wrong = Upstream::always(
        status(404)
            .header("content-type", "text/html")
            .body("<html>nginx</html>"),
    );
    let well = Upstream::always(ok("well"));
    let balancer = balance(&[&wrong, &well]).start();
    for _ in 0..4 {
        assert_eq!(balancer.ask().text(), "well");
    }
    assert_eq!((wrong.count(), balancer.state(0).as_str()), (1, "resting"));
    balancer.logged(&["ERROR", "endpoint=one", "baseURL"]);
}

#[test]
fn a_stream_that_has_had_its_stop_is_whole_whatever_follows() {
    let whole = message("hi");
    for ending in [Reply::stall, Reply::reset, Reply::close] {
        let up = Upstream::script([ending(stream(&whole))]);
        let balancer = balance(&[&up]).set("idleSeconds", 30).start();
        let start = Instant::now();
        let answer = balancer.ask();
        assert_eq!(
            (answer.text(), answer.whole),
            (whole.concat().as_str(), true)
        );
        assert!(start.elapsed() < Duration::from_secs(10), "not idleSeconds");
        balancer.settle();
        assert_eq!(balancer.endpoint(0)["failures"], 0);
    }
}

#[test]
fn a_stream_of_comments_is_begun_for_the_client_after_ten_seconds() {
    let up = Upstream::by_hand();
    let balancer = balance(&[&up]).start();
    let mut client = balancer.client();
    client.send(Request::message().bytes());
    let mut call = up.call();
    call.begin();
    let start = Instant::now();
    while !client.has_answer() {
        assert!(start.elapsed() < Duration::from_secs(20), "it begins");
        call.chunk(": wait\n\n");
        client.wire().is_silent_for(Duration::from_millis(200));
    }
    assert!(start.elapsed() > Duration::from_secs(8), "not at once");
    call.chunk(message_start()).chunk(message_stop());
    call.end();
    client.head();
    let (rest, whole) = client.rest();
    let rest = String::from_utf8(rest).expect("text");
    assert!(whole && rest.starts_with(": wait\n\n") && rest.ends_with(&message_stop()));
}

#[test]
fn a_silent_endpoint_does_not_keep_a_list_of_models_from_its_client() {
    let (silent, well) = (Upstream::by_hand(), Upstream::always(ok("well")));
    let balancer = balance(&[&silent, &well])
        .set("responseSeconds", 0.3)
        .start();
    for _ in 0..4 {
        assert_eq!(balancer.get("/v1/models").text(), "well");
    }
    assert_eq!(balancer.state(0), "up", "only a message costs an endpoint");
}

#[test]
fn an_endpoint_is_checked_before_it_gets_a_clients_request() {
    let up = Upstream::script([status(401)]);
    up.checked_with(status(401));
    let other = Upstream::always(ok("other"));
    let balancer = balance(&[&up, &other])
        .set("maxCooldownSeconds", 0.3)
        .start();
    balancer.ask();
    eventually("it was checked", || (up.checks() >= 3).then_some(()));
    for _ in 0..4 {
        assert_eq!(balancer.ask().text(), "other");
    }
    assert_eq!(up.count(), 1, "no client's request was spent on it");
    up.checked_with(ok(r#"{"data":[]}"#));
    eventually("it is up again", || {
        (balancer.ask().served_by() == "one").then_some(())
    });
    balancer.logged(&["endpoint=one", "well again"]);
}

#[test]
fn without_check_the_next_request_tries() {
    let up = Upstream::script([status(401)]);
    let other = Upstream::always(ok("other"));
    let balancer = balance(&[&up, &other])
        .set("maxCooldownSeconds", 0.3)
        .set("check", false)
        .start();
    balancer.ask();
    eventually("it is tried", || {
        (balancer.ask().served_by() == "one").then_some(())
    });
    assert_eq!(up.checks(), 0);
}

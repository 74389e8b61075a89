//! Which outcome goes to the next endpoint, which one is the answer, and which answer is left when all have failed.

use crate::common::events::{message, overloaded};
use crate::common::prelude::*;

/// One endpoint with this outcome before a sound one; says what the client got, and the sick endpoint's health.
fn after(reply: Reply, request: &Request) -> (Answer, Value) {
    let (sick, well) = (Upstream::script([reply]), Upstream::always(ok("well")));
    let balancer = balance(&[&sick, &well]).set("failures", 1).start();
    let answer = balancer.send(request);
    assert_eq!(sick.count(), 1, "no endpoint is tried twice");
    assert_eq!(well.count(), usize::from(answer.served_by() == "two"));
    (answer, balancer.endpoint(0))
}

/// Asserts that the outcome goes to the next endpoint, and that the endpoint is then on cooldown for `seconds`.
#[track_caller]
fn goes_on(reply: Reply, seconds: u64) {
    let (answer, sick) = after(reply, &Request::message());
    assert_eq!((answer.status, answer.text()), (200, "well"));
    assert_eq!(sick["failures"], 1);
    let state = if seconds > 0 { "resting" } else { "up" };
    assert_eq!(sick["state"], state);
    let resting = sick["restingSeconds"].as_f64().expect("a number");
    assert!(
        (resting - seconds as f64).abs() <= 2.0,
        "{resting} of {seconds} s"
    );
}

/// Asserts that the outcome is the answer, and costs the endpoint nothing.
#[track_caller]
fn is_the_answer(code: u16) {
    let (answer, sick) = after(
        status(code).header("retry-after", "9").body("this"),
        &Request::message(),
    );
    assert_eq!(
        (answer.status, answer.text(), answer.served_by()),
        (code, "this", "one")
    );
    assert_eq!(
        (&sick["failures"], &sick["state"]),
        (&json!(0), &json!("up")),
        "{code}"
    );
}

#[test]
fn after_a_closed_or_senseless_answer_the_next_endpoint_is_asked() {
    goes_on(hang_up(), 10);
    goes_on(hang_up().reset(), 10);
    goes_on(raw("HTTP/1.1 200"), 10);
    goes_on(raw("HTTP/1.1 200 OK\r\ncontent-length: 4\r\n"), 10);
    goes_on(raw("SSH-2.0-OpenSSH_9.2\r\n"), 10);
    goes_on(raw([0x15, 3, 3, 0, 2, 2, 80]), 10);
    goes_on(raw("HTTP/1.1 abc OK\r\n\r\n"), 10);
    goes_on(raw("HTTP/1.1 200 OK\r\nno colon\r\n\r\n"), 10);
    goes_on(raw("HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n{}"), 10);
}

#[test]
fn after_an_endless_head_of_an_answer_the_next_endpoint_is_asked() {
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "x-a: b\r\n".repeat(400_000));
    goes_on(raw(endless), 10);
    let line = format!("HTTP/1.1 200 OK\r\nx-a: {}", "b".repeat(3_000_000));
    goes_on(raw(line), 10);
}

#[test]
fn after_a_refused_connection_the_next_endpoint_is_asked() {
    let (refusing, well) = (Refusing::new(), Upstream::always(ok("well")));
    let balancer = Setup::new()
        .endpoint(refusing.url())
        .endpoint(well.url())
        .start();
    assert_eq!(balancer.ask().text(), "well");
    let sick = balancer.endpoint(0);
    assert_eq!(
        (&sick["failures"], &sick["state"]),
        (&json!(1), &json!("resting"))
    );
}

#[test]
fn after_a_name_that_is_unknown_the_next_endpoint_is_asked() {
    let well = Upstream::always(ok("well"));
    let balancer = Setup::new()
        .endpoint("http://nowhere.invalid/")
        .endpoint(well.url())
        .start();
    assert_eq!(balancer.ask().text(), "well");
    assert_eq!(balancer.state(0), "resting");
}

#[test]
fn after_a_connection_that_is_not_made_in_time_the_next_endpoint_is_asked() {
    let (hole, well) = (BlackHole::new(), Upstream::always(ok("well")));
    let balancer = Setup::new()
        .endpoint(hole.url())
        .endpoint(well.url())
        .set("connectSeconds", 0.2)
        .start();
    let start = Instant::now();
    assert_eq!(balancer.ask().text(), "well");
    assert!(
        start.elapsed() >= Duration::from_millis(190),
        "it had its time"
    );
    assert_eq!(balancer.state(0), "resting");
}

#[test]
fn a_rate_limited_endpoint_is_left_alone_for_as_long_as_it_says() {
    goes_on(status(429).header("retry-after", "60"), 60);
    goes_on(status(429).header("Retry-After", "0"), 0);
    goes_on(status(429), 0);
    goes_on(status(429).header("retry-after", "soon"), 0);
    let date = |seconds| {
        httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(seconds))
    };
    goes_on(status(429).header("retry-after", date(120)), 120);
    let past = httpdate::fmt_http_date(std::time::SystemTime::now() - Duration::from_secs(9));
    goes_on(status(429).header("retry-after", past), 0);
}

#[test]
fn an_endpoint_that_refuses_its_token_is_on_cooldown_for_a_minute() {
    goes_on(api_error(401, "authentication_error", "no"), 60);
    // The other endpoint answers it, so it is this one's fault.
    goes_on(api_error(403, "permission_error", "no"), 60);
}

#[test]
fn a_404_of_the_api_costs_nothing() {
    goes_on(api_error(404, "not_found_error", "no such model"), 0);
}

#[test]
fn server_errors_go_on_and_cool_down() {
    for code in [
        500, 501, 502, 503, 504, 520, 521, 522, 523, 524, 525, 526, 527, 530,
    ] {
        goes_on(status(code), 10);
    }
    goes_on(status(503).header("retry-after", "40"), 40);
    goes_on(status(500).header("retry-after", "later"), 10);
}

#[test]
fn an_overloaded_endpoint_is_left_alone_only_if_it_says_so() {
    goes_on(api_error(529, "overloaded_error", "busy"), 0);
    goes_on(
        api_error(529, "overloaded_error", "busy").header("retry-after", "30"),
        30,
    );
}

#[test]
fn anything_else_is_the_answer() {
    for code in [
        201, 300, 302, 400, 405, 408, 409, 410, 413, 422, 451, 499, 505, 519, 528, 531, 599,
    ] {
        is_the_answer(code);
    }
}

#[test]
fn a_stream_with_an_error_first_goes_on_and_costs_nothing() {
    goes_on(stream(&[overloaded()]), 0);
    goes_on(stream(&[]), 0);
}

#[test]
fn the_second_attempt_carries_the_same_request_with_its_own_credential() {
    let (sick, well) = (Upstream::always(status(500)), Upstream::always(ok("{}")));
    let balancer = balance(&[&sick, &well]).start();
    let body: Vec<u8> = (0..=255).cycle().take(200_000).collect();
    let request = Request::new("POST", "/v1/messages?beta=true")
        .header("x-a", "1")
        .header("x-a", "2")
        .body(&body);
    assert_eq!(balancer.send(&request).status, 200);
    let (first, second) = (sick.request(), well.request());
    assert!(
        first.body == body && second.body == body,
        "the body is whole both times"
    );
    assert_eq!(second.target(), "/v1/messages?beta=true");
    let own = |head: &Head| -> Vec<(String, Vec<u8>)> {
        let mut all = head.headers.clone();
        all.retain(|(n, _)| n != "host" && n != "x-api-key");
        all
    };
    assert_eq!(own(&first.head), own(&second.head));
    assert_eq!(first.head.get("x-api-key"), Some("token-one"));
    assert_eq!(second.head.get("x-api-key"), Some("token-two"));
}

#[test]
fn when_all_have_failed_the_most_telling_answer_goes_to_the_client() {
    // In every order: 429 before 5xx before 404 before 403 before 401.
    let ranks = [429, 529, 404, 403, 401];
    for (n, best) in ranks.iter().enumerate() {
        for worse in &ranks[n + 1..] {
            for (first, second) in [(best, worse), (worse, best)] {
                let reply = |code: u16| {
                    api_error(code, "story_error", &format!("this is {code}"))
                        .header("x-code", code.to_string())
                };
                let (a, b) = (
                    Upstream::always(reply(*first)),
                    Upstream::always(reply(*second)),
                );
                let answer = balance(&[&a, &b]).start().ask();
                assert_eq!(answer.status, *best, "of {first} and {second}");
                assert_eq!(answer.header("x-code"), Some(best.to_string().as_str()));
                assert_eq!(answer.header("request-id"), Some("req_up"));
                assert_eq!(
                    answer.json()["error"]["message"],
                    format!("this is {best}"),
                    "unmodified"
                );
                assert_eq!(
                    answer.served_by(),
                    if first == best { "one" } else { "two" }
                );
            }
        }
    }
}

#[test]
fn any_answer_is_more_telling_than_none() {
    let (refusing, other) = (Refusing::new(), Refusing::new());
    let up = Upstream::always(api_error(403, "permission_error", "no"));
    let balancer = Setup::new()
        .endpoint(refusing.url())
        .endpoint(up.url())
        .endpoint(other.url())
        .start();
    assert_eq!(balancer.ask().status, 403);
}

#[test]
fn refused_tokens_are_not_the_clients() {
    let refuses = || Upstream::always(api_error(401, "authentication_error", "invalid x-api-key"));
    let (a, b, refusing) = (refuses(), refuses(), Refusing::new());
    let balancer = balance(&[&a, &b]).endpoint(refusing.url()).start();
    let message = balancer.ask().own_error(500, "internal_error");
    assert!(
        message.contains("one, two") && message.contains("token"),
        "{message}"
    );
}

#[test]
fn a_kept_answer_of_any_framing_arrives_whole() {
    let big = "y".repeat(60_000);
    let until_close = raw(format!(
        "HTTP/1.1 429 Slow\r\ncontent-type: text/plain\r\n\r\n{big}"
    ));
    for reply in [
        status(429).body(&big),
        status(429).chunks(&[&big[..10], &big[10..]]),
        until_close,
    ] {
        let (a, b) = (
            Upstream::always(reply),
            Upstream::always(status(503).body("no")),
        );
        let answer = balance(&[&a, &b]).start().ask();
        assert_eq!(answer.status, 429);
        assert!(answer.whole && answer.text() == big);
    }
}

/// What is kept of failed answers is memory that nobody has asked for.
#[test]
fn of_a_kept_answer_64_kib_are_enough() {
    let big = "z".repeat(3 << 20);
    let (a, b) = (
        Upstream::always(status(503).body(&big)),
        Upstream::always(status(404).body("no")),
    );
    let answer = balance(&[&a, &b]).start().ask();
    assert_eq!((answer.status, answer.whole), (503, true));
    assert!(
        answer.text() == &big[..64 << 10],
        "{} bytes",
        answer.body.len()
    );
    // Where nobody else can be asked nothing is kept.
    let answer = balance(&[&a]).start().ask();
    assert!(answer.whole && answer.text() == big);
}

#[test]
fn without_any_answer_it_is_our_own_500() {
    let (a, b) = (Refusing::new(), Upstream::always(hang_up()));
    let balancer = Setup::new().endpoint(a.url()).endpoint(b.url()).start();
    let answer = balancer.ask();
    answer.own_error(500, "internal_error");
    assert_eq!(b.count(), 1);
}

#[test]
fn without_failover_the_outcome_of_one_attempt_goes_to_the_client() {
    let other = Upstream::always(ok("other"));
    for code in [401, 429, 500, 529] {
        let up = Upstream::always(api_error(code, "story_error", "this"));
        let balancer = balance(&[&up, &other]).set("failover", false).start();
        let answer = balancer.ask();
        assert_eq!((answer.status, answer.served_by()), (code, "one"));
        assert_eq!(balancer.endpoint(0)["failures"], 1, "it would have gone on");
    }
    let refusing = Refusing::new();
    let balancer = Setup::new()
        .endpoint(refusing.url())
        .endpoint(other.url())
        .set("failover", false)
        .start();
    balancer.ask().own_error(500, "internal_error");
    assert_eq!(other.count(), 0);
}

#[test]
fn without_failover_a_failed_endpoint_goes_on_cooldown_all_the_same() {
    let (up, other) = (Upstream::always(status(500)), Upstream::always(ok("other")));
    let balancer = balance(&[&up, &other])
        .set("failover", false)
        .set("failures", 1)
        .start();
    assert_eq!(balancer.ask().status, 500);
    assert_eq!(balancer.state(0), "resting");
    assert_eq!((balancer.ask().status, balancer.ask().status), (200, 200));
}

#[test]
fn a_failed_attempt_leaves_its_connection_usable() {
    let up = Upstream::script([api_error(429, "rate_limit_error", "slow"), ok("{}")]);
    let other = Upstream::always(ok("{}"));
    let balancer = balance(&[&up, &other]).start();
    balancer.ask();
    balancer.ask();
    balancer.ask();
    assert_eq!((up.count(), up.connections()), (2, 1));
}

#[test]
fn five_endpoints_are_tried_in_turn_until_one_answers() {
    let sick: Vec<Upstream> = [500, 529, 429, 404]
        .map(|code| Upstream::always(status(code)))
        .into();
    let well = Upstream::always(stream(&message("fine")));
    let mut all: Vec<&Upstream> = sick.iter().collect();
    all.push(&well);
    let answer = balance(&all).start().ask();
    assert_eq!(
        (answer.served_by(), answer.text()),
        ("five", message("fine").concat().as_str())
    );
    assert!(sick.iter().all(|up| up.count() == 1));
}

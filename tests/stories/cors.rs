//! Browsers on other origins.

use crate::common::prelude::*;

fn preflight(origin: &str) -> Request {
    Request::new("OPTIONS", "/v1/messages")
        .header("Origin", origin)
        .header("access-control-request-method", "POST")
        .header(
            "access-control-request-headers",
            "content-type,x-api-key,anthropic-version",
        )
}

#[test]
fn a_preflight_is_answered_for_everybody_by_default() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let answer = balancer.send(&preflight("https://page.test"));
    assert_eq!((answer.status, answer.body.len()), (204, 0));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(
        answer.header("access-control-allow-methods"),
        Some("GET,HEAD,PUT,PATCH,POST,DELETE")
    );
    assert_eq!(
        answer.header("access-control-allow-headers"),
        Some("content-type,x-api-key,anthropic-version")
    );
    assert!(
        answer
            .header("access-control-max-age")
            .expect("a time")
            .parse::<u32>()
            .is_ok()
    );
    assert_eq!(up.count(), 0);
}

#[test]
fn only_listed_origins_are_let_in() {
    let up = Upstream::always(ok("{}"));
    let origins = json!(["https://page.test", "http://localhost:3000"]);
    let balancer = balance(&[&up]).set("allowedOrigins", origins).start();
    for origin in ["https://page.test", "http://localhost:3000"] {
        for request in [
            preflight(origin),
            Request::message().header("origin", origin),
        ] {
            let answer = balancer.send(&request);
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
            assert!(
                answer
                    .head
                    .all("vary")
                    .iter()
                    .any(|v| v.eq_ignore_ascii_case("origin")),
                "{:?}",
                answer.head
            );
        }
    }
    for origin in [
        "https://evil.test",
        "https://page.test.evil.test",
        "null",
        "http://page.test",
    ] {
        for request in [
            preflight(origin),
            Request::message().header("origin", origin),
        ] {
            let answer = balancer.send(&request);
            assert_eq!(
                answer.header("access-control-allow-origin"),
                None,
                "{origin}"
            );
        }
    }
    assert_eq!(balancer.ask().header("access-control-allow-origin"), None);
}

#[test]
fn every_answer_carries_cors_headers() {
    let up = Upstream::script([
        ok("{}"),
        api_error(400, "invalid_request_error", "no"),
        stream(&events::message("x")),
        status(204),
    ]);
    let balancer = balance(&[&up]).start();
    let mut answers: Vec<Answer> = (0..4).map(|_| balancer.ask()).collect();
    answers.extend(["/health", "/", "/metrics", "/nowhere"].map(|path| balancer.get(path)));
    answers.push(balancer.client().send("nonsense\r\n\r\n").answer());
    for answer in answers {
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some("*"),
            "{:?}",
            answer.head
        );
    }
}

#[test]
fn what_a_page_may_read_is_exposed() {
    let reply = api_error(400, "invalid_request_error", "no")
        .header("retry-after", "3")
        .header("anthropic-ratelimit-requests-remaining", "9")
        .header("Anthropic-RateLimit-Tokens-Reset", "soon")
        .header("x-other", "1");
    let up = Upstream::script([reply, ok("{}")]);
    let balancer = balance(&[&up]).start();
    let exposed = |answer: &Answer| -> Vec<String> {
        let all = answer
            .header("access-control-expose-headers")
            .expect("exposed names");
        all.split(',')
            .map(|n| n.trim().to_ascii_lowercase())
            .collect()
    };
    let names = exposed(&balancer.ask());
    for name in [
        "request-id",
        "retry-after",
        "x-served-by",
        "anthropic-ratelimit-requests-remaining",
        "anthropic-ratelimit-tokens-reset",
    ] {
        assert!(names.contains(&name.to_owned()), "{name} in {names:?}");
    }
    assert!(!names.contains(&"x-other".to_owned()));
    for answer in [balancer.ask(), balancer.get("/nowhere")] {
        let names = exposed(&answer);
        assert!(
            names.contains(&"request-id".to_owned()) && names.contains(&"x-served-by".to_owned()),
            "{names:?}"
        );
    }
}

#[test]
fn an_endpoints_own_cors_headers_do_not_double_ours() {
    let reply = ok("{}")
        .header("access-control-allow-origin", "https://api.test")
        .header("access-control-expose-headers", "x-theirs");
    let up = Upstream::always(reply);
    let answer = balance(&[&up]).start().ask();
    assert_eq!(
        answer.head.all("access-control-allow-origin"),
        ["*"],
        "a browser refuses two"
    );
}

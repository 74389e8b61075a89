//! Who may come in, and that no token ever comes out.

use crate::common::prelude::*;

fn guarded(up: &Upstream) -> Balancer {
    balance(&[up])
        .set(
            "clientTokens",
            json!(["client-secret-1", "client-secret-2"]),
        )
        .start()
}

#[test]
fn a_right_token_is_let_in_either_way() {
    let up = Upstream::always(ok("{}"));
    let balancer = guarded(&up);
    for token in ["client-secret-1", "client-secret-2"] {
        assert_eq!(
            balancer
                .send(&Request::message().header("X-Api-Key", token))
                .status,
            200
        );
        for scheme in ["Bearer", "bearer", "BEARER"] {
            assert_eq!(
                balancer
                    .send(&Request::message().header("authorization", format!("{scheme} {token}")))
                    .status,
                200
            );
        }
    }
    for request in up.requests() {
        let raw = String::from_utf8_lossy(&request.head.raw).into_owned();
        assert!(
            !raw.contains("client-secret"),
            "no endpoint sees a client's token: {raw}"
        );
    }
}

#[test]
fn a_missing_or_wrong_token_is_401() {
    let up = Upstream::always(ok("{}"));
    let balancer = guarded(&up);
    let wrong = [
        Request::message(),
        Request::message().header("x-api-key", ""),
        Request::message().header("x-api-key", "client-secret"),
        Request::message().header("x-api-key", "client-secret-11"),
        Request::message().header("authorization", "client-secret-1"),
        Request::message().header("authorization", "Basic client-secret-1"),
        Request::message().header("authorization", "Bearer token-one"),
        Request::message().header("cookie", "x-api-key=client-secret-1"),
        Request::new("GET", "/v1/models?x-api-key=client-secret-1"),
        Request::new("GET", "/metrics"),
    ];
    for request in wrong {
        let message = balancer
            .send(&request)
            .own_error(401, "authentication_error");
        assert!(!message.contains("secret"), "{message}");
    }
    assert_eq!(up.count(), 0);
}

#[test]
fn one_right_token_of_two_is_enough() {
    let up = Upstream::always(ok("{}"));
    let balancer = guarded(&up);
    let both = Request::message()
        .header("x-api-key", "placeholder")
        .header("authorization", "Bearer client-secret-2");
    assert_eq!(balancer.send(&both).status, 200);
}

#[test]
fn metrics_need_a_token_and_the_page_is_the_same_for_everybody() {
    let up = Upstream::always(ok("{}"));
    let balancer = guarded(&up);
    let with = |path: &str| {
        balancer.send(&Request::new("GET", path).header("x-api-key", "client-secret-1"))
    };
    assert_eq!(with("/metrics").status, 200);
    let (stranger, friend) = (balancer.get("/"), with("/"));
    assert_eq!((stranger.status, friend.status), (200, 200));
    assert!(stranger.body == friend.body, "the same page");
    let data = |token: &str| {
        let request = Request::new("GET", "/").header("accept", "application/json");
        balancer.send(&request.header("x-api-key", token))
    };
    data("wrong").own_error(401, "authentication_error");
    assert_eq!(data("client-secret-1").json()["status"], "healthy");
    balancer.get("/nowhere").own_error(404, "not_found_error");
}

#[test]
fn a_401_comes_before_the_body_is_read() {
    let up = Upstream::always(ok("{}"));
    let balancer = guarded(&up);
    let mut client = balancer.client();
    client.send("POST /v1/messages HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 30000000\r\n\r\n");
    client.answer().own_error(401, "authentication_error");
    let mut client = balancer.client();
    client
        .send("POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 30000000\r\n\r\n");
    client.answer().own_error(401, "authentication_error");
}

fn shows_a_token(text: &str) -> bool {
    ["client-secret", "token-one", "token-two"]
        .iter()
        .any(|token| text.contains(token))
}

#[test]
fn no_token_is_in_any_log_line_or_answer_of_ours() {
    // `debug` would show most; the libraries' own lines are among them.
    for format in ["text", "json"] {
        let sick = [
            hang_up(),
            status(401),
            status(500),
            raw("nonsense\r\n\r\n"),
            stream(&[]),
            ok("{}"),
            ok("{}"),
        ];
        let (up, refusing) = (Upstream::script(sick), Refusing::new());
        let balancer = balance(&[&up])
            .endpoint(refusing.url())
            .with("authScheme", "bearer")
            .set("clientTokens", json!(["client-secret"]))
            .set("cooldownSeconds", 0)
            .env("LOG_LEVEL", "debug")
            .env("LOG_FORMAT", format)
            .start();
        let mut answers = Vec::new();
        for token in ["client-secret", "client-secret-wrong"] {
            let request = Request::message().header("x-api-key", token);
            answers.extend((0..7).map(|_| balancer.send(&request)));
            for path in ["/health", "/metrics", "/", "/nowhere"] {
                answers.push(balancer.send(
                    &Request::new("GET", path).header("authorization", format!("Bearer {token}")),
                ));
            }
            let data = Request::new("GET", "/").header("accept", "application/json");
            answers.push(balancer.send(&data.header("x-api-key", token)));
            answers.push(
                balancer
                    .client()
                    .send(format!(
                        "GET / HTTP/1.1\r\nx-api-key: {token}\r\nbad line\r\n\r\n"
                    ))
                    .answer(),
            );
        }
        let mut file = balancer.config_json();
        file["endpoints"][0]["authToken"] = json!(["token-one"]);
        balancer.edit(&file);
        balancer.logged(&["authToken"]);
        for answer in answers {
            let all = String::from_utf8_lossy(&answer.body).into_owned()
                + &String::from_utf8_lossy(&answer.head.raw);
            assert!(!shows_a_token(&all), "{all}");
        }
        for line in balancer.log() {
            assert!(!shows_a_token(&line), "{line}");
        }
    }
}

#[test]
fn an_upstream_body_that_holds_a_token_is_passed_on_as_it_is() {
    let up = Upstream::always(status(400).body("you sent token-one"));
    assert_eq!(balance(&[&up]).start().ask().text(), "you sent token-one");
}

fn with_token(request: Request, token: &str) -> Request {
    request.header("x-api-key", token)
}

#[test]
fn a_status_token_spends_nothing() {
    let up = Upstream::always(ok("{}"));
    let clients = json!([{"token": "prometheus-secret", "name": "prometheus", "scope": "status"}]);
    let balancer = balance(&[&up]).set("clientTokens", clients).start();
    for path in ["/health", "/metrics", "/"] {
        let request = with_token(Request::new("GET", path), "prometheus-secret")
            .header("accept", "application/json");
        assert_eq!(balancer.send(&request).status, 200, "{path}");
    }
    let health = with_token(Request::new("GET", "/health"), "prometheus-secret");
    assert_eq!(balancer.send(&health).json()["endpoints"][0]["name"], "one");
    for request in [Request::message(), Request::new("GET", "/v1/models")] {
        let answer = balancer.send(&with_token(request, "prometheus-secret"));
        answer.own_error(403, "permission_error");
    }
    assert_eq!(up.count(), 0);
}

#[test]
fn who_asked_is_in_the_log_and_the_metrics() {
    let up = Upstream::always(ok("{}"));
    let clients = json!([{"token": "secret-of-ann", "name": "ann"}, "secret-of-the-second"]);
    let balancer = balance(&[&up]).set("clientTokens", clients).start();
    balancer.send(&with_token(Request::message(), "secret-of-ann"));
    balancer.logged(&["client=ann", "status=200"]);
    balancer.send(&with_token(Request::message(), "secret-of-the-second"));
    balancer.logged(&["client=client-2", "status=200"]);
    let metrics = balancer.send(&with_token(
        Request::new("GET", "/metrics"),
        "secret-of-ann",
    ));
    assert!(
        metrics.text().contains("client=\"ann\""),
        "{}",
        metrics.text()
    );
}

#[test]
fn a_client_over_its_own_limit_waits_and_keeps_nobody_from_a_worker() {
    let up = Upstream::by_hand();
    let clients = json!([
        {"token": "secret-of-ann", "name": "ann", "maxConcurrent": 1},
        {"token": "secret-of-bob", "name": "bob"},
    ]);
    let balancer = balance(&[&up])
        .set("clientTokens", clients)
        .set("workers", 2)
        .set("queueSeconds", 20)
        .start();
    let ask = |token: &str| {
        let mut client = balancer.client();
        client.send(with_token(Request::message(), token).bytes());
        client
    };
    let mut first = ask("secret-of-ann");
    let call = up.call();
    let mut second = ask("secret-of-ann");
    second.hears_nothing();
    let mut gone = ask("secret-of-ann");
    gone.hears_nothing();
    let mut third = ask("secret-of-ann");
    // Two workers: one of them has been free all the time.
    let mut other = ask("secret-of-bob");
    up.call().answer(ok("bob"));
    assert_eq!(other.answer().text(), "bob");
    assert!(up.call_now().is_none());
    drop(gone);
    call.answer(ok("1"));
    assert_eq!(first.answer().text(), "1");
    up.call().answer(ok("2"));
    assert_eq!(second.answer().text(), "2");
    up.call().answer(ok("3"));
    assert_eq!(third.answer().text(), "3");
}

#[test]
fn a_client_that_waits_too_long_for_its_own_is_told_429() {
    let up = Upstream::by_hand();
    let clients = json!([{"token": "secret-of-ann", "name": "ann", "maxConcurrent": 1}]);
    let balancer = balance(&[&up])
        .set("clientTokens", clients)
        .set("queueSeconds", 0.3)
        .start();
    let request = with_token(Request::message(), "secret-of-ann");
    let mut first = balancer.client();
    first.send(request.bytes());
    let call = up.call();
    let answer = balancer.send(&request);
    let message = answer.own_error(429, "rate_limit_error");
    assert!(message.contains("maxConcurrent"), "{message}");
    assert_eq!(answer.header("retry-after"), Some("1"));
    call.answer(ok("1"));
    assert_eq!(first.answer().text(), "1");
    assert_eq!(up.count(), 1);
}

//! Which request is answered by whom.

use crate::common::prelude::*;

#[test]
fn any_method_under_v1_is_forwarded() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE", "QUERY"] {
        assert_eq!(
            balancer
                .send(&Request::new(method, "/v1/anything").body("x"))
                .status,
            200,
            "{method}"
        );
    }
    let methods: Vec<String> = up
        .requests()
        .iter()
        .map(|r| r.method().to_owned())
        .collect();
    assert_eq!(methods, ["GET", "POST", "PUT", "PATCH", "DELETE", "QUERY"]);
}

#[test]
fn the_path_is_joined_to_the_base_url_and_the_query_kept() {
    let up = Upstream::always(ok("{}"));
    let balancer = Setup::new()
        .endpoint(format!("{}some/api", up.url()))
        .start();
    let paths = [
        "/v1/messages?beta=true",
        "/v1/",
        "/v1/a//b/.../c;d=1/%2e%2E%2e/%C3%a9",
        "/v1/models?after_id=x&limit=20&x=%2F%20+&empty=&&q=a?b",
        "/v1/messages?",
    ];
    for path in paths {
        assert_eq!(balancer.get(path).status, 200, "{path}");
    }
    let seen: Vec<String> = up
        .requests()
        .iter()
        .map(|r| r.target().to_owned())
        .collect();
    assert_eq!(seen, paths.map(|p| format!("/some/api{p}")));
}

#[test]
fn an_absolute_target_names_the_same_path() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let answer = balancer.get("http://localhost/v1/models?limit=2");
    // A server must take the absolute form (RFC 9112 §3.2.2); refusing it clearly would do, too.
    if answer.status == 200 {
        assert_eq!(up.request().target(), "/v1/models?limit=2");
    } else {
        answer.own_error(400, "invalid_request_error");
    }
}

#[test]
fn an_unknown_path_is_404() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    for path in [
        "/nowhere",
        "/v1",
        "/v2/messages",
        "/healthz",
        "/health/",
        "/V1/messages",
        "//v1/messages",
        "/metrics/x",
    ] {
        balancer.get(path).own_error(404, "not_found_error");
    }
    balancer
        .post("/nowhere", "{}")
        .own_error(404, "not_found_error");
    assert_eq!(up.count(), 0);
}

#[test]
fn a_known_path_with_the_wrong_method_is_405() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    for path in ["/", "/health", "/metrics"] {
        for method in ["POST", "PUT", "DELETE", "PATCH"] {
            let answer = balancer.send(&Request::new(method, path).body("{}"));
            answer.own_error(405, "invalid_request_error");
            let allow = answer.header("allow").expect("an allow header");
            assert!(allow.contains("GET") && allow.contains("HEAD"), "{allow}");
        }
    }
}

#[test]
fn head_is_the_head_of_get() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let mut client = balancer.client();
    for path in ["/", "/health", "/metrics"] {
        let get = client.ask(&Request::new("GET", path));
        let head = client.ask(&Request::new("HEAD", path));
        assert_eq!((head.status, head.body.len()), (200, 0), "{path}");
        assert_eq!(
            head.header("content-type"),
            get.header("content-type"),
            "{path}"
        );
        assert_eq!(head.head.names(), get.head.names(), "{path}");
    }
    // The bytes of a body would have been taken for the next answer.
    assert_eq!(client.ask(&Request::message()).status, 200);
}

#[test]
fn head_of_a_forwarded_path_goes_to_an_endpoint() {
    let up = Upstream::script([status(200)
        .header("content-length", "1234")
        .header("content-type", "application/json")]);
    let balancer = balance(&[&up]).start();
    let mut client = balancer.client();
    let answer = client.ask(&Request::new("HEAD", "/v1/models"));
    assert_eq!(
        (answer.status, answer.header("content-length")),
        (200, Some("1234"))
    );
    assert_eq!(up.request().method(), "HEAD");
    assert_eq!(
        client.ask(&Request::message()).status,
        200,
        "the connection goes on"
    );
}

#[test]
fn options_is_a_preflight_anywhere() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up])
        .set("clientTokens", json!(["secret"]))
        .start();
    for path in ["/", "/health", "/metrics", "/v1/messages", "/nowhere", "*"] {
        let answer = balancer.send(&Request::new("OPTIONS", path));
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{path}");
    }
    assert_eq!(up.count(), 0, "no endpoint is asked");
}

#[test]
fn account_bound_paths_go_to_the_first_endpoint_only() {
    let (first, second) = (
        Upstream::always(ok("first")),
        Upstream::always(ok("second")),
    );
    let balancer = balance(&[&first, &second]).start();
    let paths = [
        "/v1/messages/batches",
        "/v1/messages/batches/b_1/results",
        "/v1/messages/batches?limit=1",
        "/v1/files",
        "/v1/files/f_1/content",
        "/v1/files?beta=true",
    ];
    for path in paths {
        assert_eq!(balancer.get(path).text(), "first", "{path}");
        let with_session = Request::new("POST", path)
            .header("x-claude-code-session-id", path)
            .body("{}");
        assert_eq!(balancer.send(&with_session).text(), "first", "{path}");
    }
    assert_eq!(second.count(), 0);
}

#[test]
fn an_account_bound_request_never_fails_over() {
    let first = Upstream::script([
        api_error(429, "rate_limit_error", "slow down"),
        api_error(500, "api_error", "oops"),
    ]);
    let second = Upstream::always(ok("second"));
    let balancer = balance(&[&first, &second]).start();
    let answer = balancer.post("/v1/messages/batches", "{}");
    assert_eq!((answer.status, answer.served_by()), (429, "one"));
    assert_eq!(balancer.post("/v1/files", "x").status, 500);
    assert_eq!(balancer.state(0), "up", "only a message costs an endpoint");
    first.then(status(401));
    assert_eq!(balancer.ask().text(), "second");
    assert_eq!(balancer.state(0), "resting");
    assert_eq!(
        balancer.get("/v1/files").status,
        200,
        "not even while the first one is on cooldown"
    );
    assert_eq!(second.count(), 1);
}

#[test]
fn account_bound_requests_take_nobodys_turn() {
    let (first, second) = (Upstream::always(ok("{}")), Upstream::always(ok("{}")));
    let balancer = balance(&[&first, &second]).start();
    for _ in 0..3 {
        balancer.get("/v1/files");
        balancer.ask();
        balancer.ask();
    }
    assert_eq!((first.count(), second.count()), (6, 3));
}

#[test]
fn no_path_leaves_the_endpoints_base_path() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    for path in [
        "/v1/../admin",
        "/v1/a/%2e%2E/b",
        "/v1/..%2fadmin",
        "/v1/..;/admin",
    ] {
        balancer.get(path).own_error(400, "invalid_request_error");
    }
    assert_eq!(up.count(), 0);
}

#[test]
fn a_base_url_with_a_v1_too_much_is_told() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let message = balancer
        .post("/v1/v1/messages", "{}")
        .own_error(404, "not_found_error");
    assert!(message.contains("must not end in /v1"), "{message}");
    assert_eq!(up.count(), 0);
}

/// What an endpoint answers to `TRACE` shows its token.
#[test]
fn trace_and_connect_are_known_nowhere() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    for request in [
        "TRACE /v1/messages HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "TRACE /health HTTP/1.1\r\nhost: localhost\r\n\r\n",
        "CONNECT elsewhere.test:443 HTTP/1.1\r\nhost: localhost\r\n\r\n",
    ] {
        let mut client = balancer.client();
        client.send(request);
        let answer = client.answer();
        answer.own_error(405, "invalid_request_error");
        assert!(answer.header("allow").expect("methods").contains("POST"));
        assert_eq!(
            client.ending(),
            Ending::Closed,
            "what follows is for nobody here"
        );
    }
    assert_eq!(up.count(), 0);
}

//! Web pages that have a browser call us.

use crate::common::prelude::*;

/// A request as a browser sends it for a page of `origin`.
fn from(origin: &str, method: &str, path: &str) -> Request {
    Request::new(method, path)
        .header("origin", origin)
        .header("sec-fetch-site", "cross-site")
}

#[track_caller]
fn refused(answer: &Answer) {
    let error = &answer.json()["error"]["type"];
    assert_eq!((answer.status, error), (403, &json!("permission_error")));
}

#[test]
fn a_form_of_any_web_page_spends_no_token() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    for kind in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
    ] {
        let form = from("https://evil.test", "POST", "/v1/messages")
            .header("content-type", kind)
            .body("{}");
        refused(&balancer.send(&form));
    }
    refused(&balancer.send(&from("https://evil.test", "POST", "/v1/messages").body("{}")));
    assert_eq!(up.count(), 0);
    // One that has asked first may, as long as `allowedOrigins` has the star.
    let asked = from("https://app.test", "POST", "/v1/messages")
        .header("content-type", "application/json")
        .body("{}");
    assert_eq!(balancer.send(&asked).status, 200);
}

#[test]
fn a_web_sites_name_that_leads_here_is_refused() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up])
        .set("allowedHosts", json!(["balancer.test"]))
        .start();
    let named = |host: &str, start: &str| {
        let mut client = balancer.client();
        client.send(format!("{start} HTTP/1.1\r\nhost: {host}\r\n\r\n"));
        client.answer()
    };
    for start in ["GET /health", "GET /", "GET /v1/models", "GET /metrics"] {
        refused(&named("evil.test", start));
        assert_eq!(named("balancer.test:443", start).status, 200);
        assert_eq!(named("127.0.0.1:1", start).status, 200);
    }
    refused(&named("localhost", "GET http://evil.test/health"));
    assert_eq!(up.count(), 2);
}

#[test]
fn with_client_tokens_any_name_will_do() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up])
        .set("clientTokens", json!(["secret"]))
        .start();
    let mut client = balancer.client();
    client.send("GET /v1/models HTTP/1.1\r\nhost: any.test\r\nx-api-key: secret\r\n\r\n");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn origins_that_are_not_listed_are_refused() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up])
        .set("allowedOrigins", json!(["https://app.test"]))
        .start();
    for (method, path) in [
        ("GET", "/health"),
        ("GET", "/v1/models"),
        ("POST", "/v1/messages"),
    ] {
        let answer = balancer.send(&from("https://evil.test", method, path));
        refused(&answer);
        assert_eq!(answer.header("access-control-allow-origin"), None);
        for origin in [
            "https://app.test",
            "http://localhost:3000",
            "http://127.0.0.1",
        ] {
            let answer = balancer.send(&from(origin, method, path));
            assert_eq!(answer.status, 200, "{origin} {method} {path}");
            assert_eq!(answer.header("access-control-allow-origin"), Some(origin));
        }
    }
    let preflight = from("https://evil.test", "OPTIONS", "/v1/messages")
        .header("access-control-request-method", "POST");
    let answer = balancer.send(&preflight);
    assert_eq!(answer.status, 204);
    assert_eq!(answer.header("access-control-allow-methods"), None);
}

//! The rule, row by row: who calls, from where, for what.

use super::*;
use crate::config::{Config, Endpoint, Secret};
use crate::downstream::routes::route;

/// A configuration without client tokens.
fn config(origins: &[&str], hosts: &[&str]) -> Config {
    let url = "http://127.0.0.1:1/".parse().expect("a URL");
    let endpoint = Endpoint::new("one", url, Secret::new("token-one".to_owned()));
    let mut config = Config::demo(vec![endpoint]).expect("a configuration");
    let owned = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect();
    config.allowed_origins = owned(origins);
    config.allowed_hosts = owned(hosts);
    config
}

/// Why a request is refused; "" where it is not. `lines`: header lines, each with its end.
fn cause(config: &Config, start: &str, lines: &str) -> &'static str {
    let bytes = format!("{start} HTTP/1.1\r\n{lines}\r\n");
    let head = crate::downstream::head::parse(bytes.as_bytes()).expect("a request");
    let route = route(&head.method, head.target.path());
    refusal(config, &head, route).map_or("", |refusal| refusal.cause)
}

#[test]
fn names() {
    let own = config(&["*"], &["balancer.example"]);
    for host in [
        "localhost:13255",
        "a.localhost",
        "127.0.0.1:13255",
        "[::1]:13255",
        "192.168.0.7",
        "Balancer.Example:443",
    ] {
        let host = format!("host: {host}\r\n");
        assert_eq!(cause(&own, "GET /health", &host), "", "{host}");
    }
    for host in ["evil.example", "localhost.evil.example", "2130706433"] {
        let host = format!("host: {host}\r\n");
        for start in [
            "GET /health",
            "POST /v1/messages",
            "OPTIONS /v1/messages",
            "GET /",
        ] {
            assert_eq!(cause(&own, start, &host), "foreign host", "{start} {host}");
        }
    }
    let absolute = cause(&own, "GET http://evil.example/", "host: localhost\r\n");
    assert_eq!(absolute, "foreign host");
    let any = config(&["*"], &["*"]);
    assert_eq!(cause(&any, "GET /", "host: evil.example\r\n"), "");
}

/// The same with `host: localhost`.
fn check(config: &Config, start: &str, lines: &str, expected: &str) {
    let lines = format!("host: localhost:13255\r\n{lines}");
    assert_eq!(cause(config, start, &lines), expected, "{start} {lines}");
}

const EVIL: &str = "origin: https://evil.example\r\n";
const APP: &str = "origin: https://app.example\r\n";
const CROSS: &str = "sec-fetch-site: cross-site\r\n";
const JSON: &str = "content-type: application/json\r\n";
const KEY: &str = "x-api-key: any\r\n";

#[test]
fn with_the_star_all_pages_may_call_that_have_asked_first() {
    let all = config(&["*"], &[]);
    check(&all, "GET /health", EVIL, "");
    check(&all, "GET /v1/models", EVIL, "");
    check(&all, "POST /v1/messages", &[EVIL, JSON].concat(), "");
    check(&all, "POST /v1/messages", &[EVIL, KEY].concat(), "");
    check(
        &all,
        "POST /v1/messages",
        &[EVIL, "anthropic-version: 1\r\n"].concat(),
        "",
    );
    check(&all, "POST /v1/messages", EVIL, "no preflight");
    check(&all, "POST /v1/messages", CROSS, "no preflight");
    check(
        &all,
        "POST /v1/messages",
        "sec-fetch-site: same-site\r\n",
        "no preflight",
    );
    for kind in [
        "text/plain",
        "Text/Plain; charset=utf-8",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
    ] {
        let lines = format!("{EVIL}content-type: {kind}\r\n");
        check(&all, "POST /v1/messages", &lines, "no preflight");
    }
}

#[test]
fn a_list_refuses_the_others() {
    let list = config(&["https://app.example"], &[]);
    check(&list, "POST /v1/messages", APP, "");
    check(&list, "GET /health", &[APP, CROSS].concat(), "");
    for lines in [
        EVIL,
        CROSS,
        "origin: null\r\n",
        "origin: https://app.example.evil\r\n",
    ] {
        for start in [
            "GET /health",
            "GET /v1/models",
            "POST /v1/messages",
            "GET /nowhere",
        ] {
            check(&list, start, lines, "foreign origin");
        }
        // Its answer says what the browser must know.
        check(&list, "OPTIONS /v1/messages", lines, "");
    }
    // Who follows a link to the page sees an empty one.
    check(
        &list,
        "GET /",
        &[CROSS, "sec-fetch-mode: navigate\r\n"].concat(),
        "",
    );
    check(
        &list,
        "GET /health",
        &[CROSS, "sec-fetch-mode: navigate\r\n"].concat(),
        "foreign origin",
    );
    let none = config(&[], &[]);
    check(&none, "GET /health", APP, "foreign origin");
}

#[test]
fn this_machines_pages_and_our_own_may_call() {
    let none = config(&[], &["balancer.example"]);
    for origin in [
        "http://localhost:3000",
        "http://127.0.0.1",
        "https://[::1]:8443",
        "http://a.localhost",
    ] {
        let lines = format!("origin: {origin}\r\n{CROSS}");
        check(&none, "POST /v1/messages", &lines, "");
    }
    for evil in [
        "http://localhost.evil",
        "http://127.0.0.1.evil",
        "http://localhost@evil",
        "file://localhost",
    ] {
        let lines = format!("origin: {evil}\r\n");
        check(&none, "POST /v1/messages", &lines, "foreign origin");
    }
    let own = "host: balancer.example\r\norigin: https://balancer.example\r\n";
    assert_eq!(cause(&none, "POST /v1/messages", own), "");
    check(
        &none,
        "POST /v1/messages",
        "sec-fetch-site: same-origin\r\n",
        "",
    );
    check(&none, "GET /", "sec-fetch-site: none\r\n", "");
    // What is no browser.
    check(&none, "POST /v1/messages", "", "");
}

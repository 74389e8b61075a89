//! By which way an endpoint is reached: proxies, authorities, headers.

use crate::common::prelude::*;

#[test]
fn an_endpoint_behind_a_proxy_gets_its_requests() {
    let identity = Identity::new(&["localhost"]);
    let (plain, secure) = (Upstream::always(ok("{}")), Upstream::secure(&identity, []));
    let (http, socks) = (Middle::http(Some("Basic bWU6cEBzcw==")), Middle::socks5());
    for (proxy, middle) in [
        (format!("http://me:p%40ss@{}", http.place()), &http),
        (format!("socks5://{}", socks.place()), &socks),
    ] {
        for up in [&plain, &secure] {
            let setup = balance(&[up]).with("proxy", proxy.as_str());
            let pem = identity.write_pem(setup.folder().path());
            let balancer = setup.env("SSL_CERT_FILE", pem).start();
            let body = "x".repeat(300_000);
            for _ in 0..2 {
                assert_eq!(balancer.post("/v1/messages", &body).status, 200);
            }
            let seen = up.requests();
            let last = seen.last().expect("a request");
            assert_eq!((last.text(), last.target()), (&*body, "/v1/messages"));
            assert!(!last.head.has("proxy-authorization"));
            let asked = middle.asked();
            let url = up.url();
            let place = url.split('/').nth(2).expect("a host").to_owned();
            assert!(asked.last().expect("it was asked").contains(&place));
            assert!(!balancer.log().concat().contains("p@ss"));
        }
        assert_eq!(middle.asked().len(), 2, "a connection each, kept");
    }
}

#[test]
fn a_proxys_fault_is_told_as_the_proxys() {
    let up = Upstream::always(ok("{}"));
    let strict = Middle::http(Some("Basic nobody"));
    let nowhere = Middle::http(None);
    let refusing = Refusing::new();
    let closed = refusing.url();
    let gone = closed.trim_start_matches("http://").trim_end_matches('/');
    let check = |url: &str, proxy: String, place: &str, why: &str| {
        let balancer = Setup::new().endpoint(url).with("proxy", proxy).start();
        let answer = balancer.ask();
        answer.own_error(500, "internal_error");
        let log = balancer.logged(&["an attempt failed"]);
        let text = answer.text().to_owned();
        for words in [&text, &log] {
            assert!(words.contains(&format!("proxy {place}")), "{words}");
            assert!(words.contains(why), "{words}");
            assert!(!words.contains("hush"), "{words}");
        }
        assert_eq!(balancer.state(0), "resting");
    };
    let place = strict.place();
    let proxy = format!("http://me:hush@{place}");
    check(&up.url(), proxy, &place, "refuses user and password");
    let proxy = format!("http://{place}");
    check(&up.url(), proxy, &place, "wants user and password");
    let proxy = format!("http://me:hush@{gone}");
    check(&up.url(), proxy, gone, "refused");
    let place = nowhere.place();
    let proxy = format!("http://{place}");
    check(&closed, proxy, &place, "502");
    let socks = Middle::socks5();
    let place = socks.place();
    let proxy = format!("socks5://{place}");
    check(&closed, proxy, &place, "connection refused");
    assert_eq!(up.count(), 0);
}

#[test]
fn the_environments_proxies_hold_where_the_file_names_none() {
    let up = Upstream::always(ok("{}"));
    let (middle, other) = (Middle::http(None), Middle::http(None));
    let url = |middle: &Middle| format!("http://{}", middle.place());
    let check = |setup: Setup, expected: [usize; 2]| {
        let before = [middle.asked().len(), other.asked().len()];
        assert_eq!(setup.start().ask().status, 200);
        let asked = [middle.asked().len(), other.asked().len()];
        assert_eq!([asked[0] - before[0], asked[1] - before[1]], expected);
    };
    let setup = || balance(&[&up]).env("HTTP_PROXY", url(&middle));
    check(setup(), [1, 0]);
    check(setup().env("https_proxy", url(&other)), [1, 0]);
    check(setup().env("http_proxy", url(&other)), [0, 1]);
    check(setup().env("NO_PROXY", "example.org,127.0.0.0/8"), [0, 0]);
    check(setup().with("proxy", "direct"), [0, 0]);
    check(setup().with("proxy", url(&other)), [0, 1]);
    check(balance(&[&up]).env("all_proxy", url(&other)), [0, 1]);
}

#[test]
fn a_wrong_proxy_in_the_environment_is_a_start_up_error() {
    let up = Upstream::always(ok("{}"));
    let finished = balance(&[&up])
        .env("HTTPS_PROXY", "ftp://me:hush@proxy:1")
        .finish();
    assert_eq!(finished.status, Some(1));
    assert!(
        finished.stderr.contains("HTTPS_PROXY: expected http://"),
        "{finished:?}"
    );
    assert!(!finished.stderr.contains("hush"), "{finished:?}");
}

#[test]
fn authorities_of_an_endpoints_own_count_beside_the_others() {
    let [one, two] = [(); 2].map(|()| Identity::new(&["localhost"]));
    let (a, b) = (Upstream::secure(&one, []), Upstream::secure(&two, []));
    let setup = balance(&[&a]);
    let all = one.write_pem(setup.folder().path());
    let own = setup.folder().path().join("own.pem");
    std::fs::copy(two.write_pem(setup.folder().path()), &own).expect("a copy");
    one.write_pem(setup.folder().path());
    let own = own.to_str().expect("a text").to_owned();
    let balancer = setup
        .with("caFile", own.as_str())
        .endpoint(b.url())
        .with("caFile", own.as_str())
        .endpoint(b.url())
        .env("SSL_CERT_FILE", all)
        .set("affinity", "off")
        .start();
    for _ in 0..3 {
        assert_eq!(balancer.ask().status, 200);
    }
    let states = [0, 1, 2].map(|index| balancer.state(index));
    assert_eq!(
        states,
        ["up", "up", "resting"],
        "the last one trusts `one` only"
    );
    assert!(a.count() > 0 && b.count() > 0);
}

#[test]
fn an_endpoints_own_headers_replace_the_clients() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up])
        .with(
            "headers",
            json!({"anthropic-beta": "ours", "X-Team": "${TEAM}"}),
        )
        .env("TEAM", "blue-team")
        .start();
    let request = Request::message()
        .header("anthropic-beta", "theirs")
        .header("Anthropic-Beta", "theirs too")
        .header("x-other", "stays");
    assert_eq!(balancer.send(&request).status, 200);
    let seen = up.request();
    assert_eq!(seen.head.all("anthropic-beta"), ["ours"]);
    assert_eq!(seen.head.get("x-team"), Some("blue-team"));
    assert_eq!(seen.head.get("x-other"), Some("stays"));
    assert_eq!(seen.head.get("x-api-key"), Some("token-one"));
    assert!(!balancer.log().concat().contains("blue-team"));
}

//! Which proxy the environment names for an endpoint.

use super::*;

fn read(env: &[(&str, &str)]) -> Result<Proxies<String>, String> {
    let env = |name: &str| {
        let found = env.iter().find(|(known, _)| *known == name);
        found.map(|(_, text)| (*text).to_owned())
    };
    let parse = |text: &str| match text.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() && !text.contains("ftp:") => {
            Ok(text.to_owned())
        }
        _ => Err("another scheme, or no port"),
    };
    Proxies::read(&env, &parse)
}

#[test]
fn the_variable_for_the_scheme_comes_first() {
    let check = |env: &[(&str, &str)], https: Option<&str>, http: Option<&str>| {
        let proxies = read(env).expect("they are right");
        let find = |is_tls| proxies.find(is_tls, "api.example").map(String::as_str);
        assert_eq!((find(true), find(false)), (https, http), "{env:?}");
    };
    check(&[], None, None);
    check(&[("HTTPS_PROXY", "http://a:1")], Some("http://a:1"), None);
    check(&[("http_proxy", "http://a:1")], None, Some("http://a:1"));
    check(
        &[("ALL_PROXY", "socks5://a:1"), ("http_proxy", "http://b:2")],
        Some("socks5://a:1"),
        Some("http://b:2"),
    );
    check(
        &[("https_proxy", "a:1"), ("HTTPS_PROXY", "http://b:2")],
        Some("http://a:1"),
        None,
    );
    check(
        &[("https_proxy", ""), ("HTTPS_PROXY", "http://b/")],
        Some("http://b:1080"),
        None,
    );
}

#[test]
fn a_wrong_one_is_named_and_not_shown() {
    let wrong = read(&[("all_proxy", "ftp://user:secret@host:1")]).expect_err("another scheme");
    assert!(wrong.starts_with("ALL_PROXY: expected "), "{wrong}");
    assert!(!wrong.contains("secret"), "{wrong}");
}

#[test]
fn hosts_that_are_reached_directly() {
    let check = |list: &str, host: &str, direct: bool| {
        let proxies = read(&[("ALL_PROXY", "http://a:1"), ("no_proxy", list)]);
        let found = proxies.expect("it is right").find(true, host).is_none();
        assert_eq!(found, direct, "{host} in {list}");
    };
    check("", "api.example", false);
    check("*", "api.example", true);
    check("example", "api.example", true);
    check(".example", "api.example", true);
    check("EXAMPLE", "API.example", true);
    check("other, api.example", "api.example", true);
    check("other api.example", "api.example", true);
    check("i.example", "api.example", false);
    check("api.example.org", "api.example", false);
    check(".", "api.example", false);
    check("127.0.0.1", "127.0.0.1", true);
    check("127.0.0.1", "127.0.0.10", false);
    check("10.0.0.0/8", "10.1.2.3", true);
    check("10.0.0.0/8", "11.1.2.3", false);
    check("0.0.0.0/0", "11.1.2.3", true);
    check("10.1.2.3/32", "10.1.2.3", true);
    check("10.0.0.0/33", "10.0.0.0", false);
    check("::1", "[::1]", true);
    check("[::1]", "[::1]", true);
    check("fe80::/10", "[fe80::1]", true);
    check("fe80::/10", "10.0.0.1", false);
    check("localhost", "localhost", true);
}

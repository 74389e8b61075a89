//! One endpoint's keys: which base URLs are taken, what they become, and what is said of the others.

use super::*;

fn read_all(text: &str) -> Result<Vec<Endpoint>, Error> {
    let outside = Outside {
        env: &|_| None,
        file: &|_| Ok(String::new()),
    };
    let list = Value::document(text, "f")?.named("endpoints");
    Endpoint::read_all(&list, &Listen::default(), &outside, &mut Vec::new())
}

fn complaint(text: &str) -> String {
    let complaint = read_all(text).expect_err(text).to_string();
    assert!(!complaint.contains("s3cr3t"), "{complaint}");
    complaint
}

#[test]
fn base_urls() {
    let check = |text: &str, expected: &str, host: &str| {
        let json = format!(r#"[{{"baseURL": "{text}", "authToken": "t"}}]"#);
        let endpoint = read_all(&json).expect(text).remove(0);
        assert_eq!(
            (endpoint.base_url.to_string(), endpoint.name),
            (expected.to_owned(), host.to_owned())
        );
    };
    check(
        "https://api.example.com",
        "https://api.example.com/",
        "api.example.com",
    );
    check(
        "https://api.example.com/",
        "https://api.example.com/",
        "api.example.com",
    );
    check(
        "HTTPS://api.example.com/a/b",
        "https://api.example.com/a/b/",
        "api.example.com",
    );
    check(
        "http://localhost:8080/a/",
        "http://localhost:8080/a/",
        "localhost",
    );
    check(
        "http://10.0.0.1:65535",
        "http://10.0.0.1:65535/",
        "10.0.0.1",
    );
    check("http://[::1]", "http://[::1]/", "[::1]");
    check(
        "http://[2001:db8::1]:8080/a",
        "http://[2001:db8::1]:8080/a/",
        "[2001:db8::1]",
    );
    check(
        "https://a.example/@scope/%20~x",
        "https://a.example/@scope/%20~x/",
        "a.example",
    );
}

#[test]
fn wrong_base_urls() {
    let check = |text: &str, expected: &str| {
        let json = format!("[\n{{\"baseURL\":\n\"{text}\", \"authToken\": \"t\"}}]");
        assert_eq!(
            complaint(&json),
            format!("f:3: endpoints[0].baseURL: expected {expected}")
        );
    };
    check(
        "api.example.com",
        "http:// or https://, found \"api.example.com\"",
    );
    check(
        "ftp://api.example.com/",
        "http:// or https://, found \"ftp://api.example.com/\"",
    );
    let hidden = "found one that is not shown, as it may hold a secret";
    check(
        "ftp://u:s3cr3t@h/",
        &format!("http:// or https://, {hidden}"),
    );
    check(
        "h.example/?key=s3cr3t",
        &format!("http:// or https://, {hidden}"),
    );
    check("s3cr3t", &format!("http:// or https://, {hidden}"));
    check("sk-ant-s3cr3t.x", "http:// or https://, found \"***\"");
    check("", &format!("http:// or https://, {hidden}"));
    let user = "a URL without user name and password (use authToken), found one with them";
    check("https://u:s3cr3t@h/", user);
    check("https://@h", user);
    check(
        "https://h/?key=s3cr3t",
        "a URL without query and fragment, found a ? or # in it",
    );
    check(
        "https://h?",
        "a URL without query and fragment, found a ? or # in it",
    );
    check(
        "https://h/#s3cr3t",
        "a URL without query and fragment, found a ? or # in it",
    );
    check(
        "https://u:s3cr3t/x@h/",
        &format!("a URL such as https://api.example.com/, {hidden}"),
    );
    for wrong in [
        "https://",
        "https:///a",
        "https://:80/",
        "https://h:/",
        "https://h:0/",
        "https://h:65536/",
        "https://h:x/",
        "https://h:+1/",
        "https://h:080/",
        "https://h:1:2/",
        "https://::1/",
        "https://[::1/",
        "https://[x]/",
        "https://[]/",
        "https://a b/",
        "https://h/a b",
        "https://exämple/",
        "https://h/é",
        "https://${HOST}/",
        "https://h/${PATH}",
        "https://h/\\\\a",
        " ",
    ] {
        let text = format!("[{{\"baseURL\": \"{wrong}\", \"authToken\": \"t\"}}]");
        let complaint = complaint(&text);
        assert!(
            complaint.starts_with("f:1: endpoints[0].baseURL: expected "),
            "{complaint}"
        );
    }
    let text = format!(
        r#"[{{"baseURL": "https://h/{}", "authToken": "t"}}]"#,
        "a".repeat(70_000)
    );
    assert!(complaint(&text).len() < 200);
}

#[test]
fn names() {
    let check = |names: &[&str], expected: &[&str]| {
        let item = |(i, name): (usize, &&str)| {
            let name = if name.is_empty() {
                String::new()
            } else {
                format!(r#", "name": "{name}""#)
            };
            format!(r#"{{"baseURL": "https://h", "authToken": "t{i}"{name}}}"#)
        };
        let items: Vec<_> = names.iter().enumerate().map(item).collect();
        let endpoints = read_all(&format!("[{}]", items.join(","))).expect("good names");
        let names: Vec<_> = endpoints
            .into_iter()
            .map(|endpoint| endpoint.name)
            .collect();
        assert_eq!(names, expected);
    };
    check(&["", "", ""], &["h", "h#2", "h#3"]);
    check(&["", "h"], &["h#2", "h"]);
    check(&["", "", "h#2"], &["h", "h#3", "h#2"]);
    check(&["x", "", "H"], &["x", "h", "H"]);
}

#[test]
fn complaints() {
    let check = |keys: &str, expected: &str| {
        let good = r#"{"baseURL": "https://a.example", "authToken": "s3cr3t", "name": "one"}"#;
        let text = format!("[{good},\n{{{keys}}}]");
        assert_eq!(complaint(&text), format!("f:2: endpoints[1]{expected}"));
    };
    let with =
        |key: &str| format!(r#""baseURL": "https://b.example", "authToken": "s3cr3t", {key}"#);
    check(
        "",
        ".baseURL: expected http:// or https://, found no such key",
    );
    check(
        r#""authToken": "s3cr3t""#,
        ".baseURL: expected http:// or https://, found no such key",
    );
    check(
        r#""baseURL": "https://b.example""#,
        ".authToken: expected a token, found no such key",
    );
    check(
        r#""baseURL": 1"#,
        ".baseURL: expected a string, found a number",
    );
    check(
        r#""authToken": ["s3cr3t"]"#,
        ".authToken: expected a string, found an array",
    );
    check(
        r#""authToken": {"s3cr3t": "s3cr3t"}"#,
        ".authToken: expected a string, found an object",
    );
    check(
        r#""baseURL": "s3cr3t.x", "authToken": "https://b.example""#,
        ".authToken: expected a token, found a URL: are baseURL and authToken exchanged?",
    );
    check(
        r#""baseUrl": "s3cr3t""#,
        ".baseUrl: expected a known key (did you mean baseURL?), found an unknown key",
    );
    check(
        r#""auth-token": "s3cr3t""#,
        ".auth-token: expected a known key (did you mean authToken?), found an unknown key",
    );
    check(
        r#""token": "s3cr3t""#,
        ".token: expected a known key (did you mean authToken?), found an unknown key",
    );
    check(
        r#""authToken": "s3cr3t", "authToken": "s3cr3t""#,
        ".authToken: expected each key once, found it again (first on line 2)",
    );
    check(
        r#""baseURL": "https://b", "apiKey": "s3cr3t""#,
        ".apiKey: expected a known key (did you mean authToken?), found an unknown key",
    );
    check(
        &with(r#""colour": "s3cr3t""#),
        ".colour: expected one of authScheme, authToken, baseURL, name, weight, maxConcurrent, enabled, tier, models, headers, \
         proxy, caFile, found an unknown key",
    );
    check(
        r#""baseURL": "https://b.example", "authToken": "your-first-token""#,
        ".authToken: expected your own token, found the one of the example",
    );
    check(
        r#""baseURL": "https://A.example", "authToken": "s3cr3t""#,
        ": expected a baseURL or an authToken of its own, found both the same as in endpoints[0]",
    );
    check(
        r#""baseURL": "http://localhost:13255/", "authToken": "s3cr3t""#,
        ".baseURL: expected an endpoint of the Claude API, found this program's own address (127.0.0.1:13255)",
    );
    check(
        &with(r#""tier": 0"#),
        ".tier: expected a whole number from 1 to 9, found 0",
    );
    check(
        &with(r#""enabled": "no""#),
        ".enabled: expected true or false, found a string",
    );
    check(
        &with(r#""models": []"#),
        ".models: expected 1 to 1000 patterns, found none",
    );
    let proxy = r#".proxy: expected "direct", "http://[user:password@]host:port" or "socks5://[user:password@]host:port", found"#;
    check(
        &with(r#""proxy": "s3cr3t:1""#),
        &format!("{proxy} no scheme"),
    );
    check(
        &with(r#""proxy": "ftp://s3cr3t:1""#),
        &format!("{proxy} another scheme"),
    );
    let scheme = r#".authScheme: expected "x-api-key" or "bearer", found "#;
    check(
        &with(r#""authScheme": "Bearer""#),
        &format!(r#"{scheme}"Bearer""#),
    );
    check(
        &with(r#""weight": 0"#),
        ".weight: expected a whole number from 1 to 100, found 0",
    );
    check(
        &with(r#""weight": 101"#),
        ".weight: expected a whole number from 1 to 100, found 101",
    );
    check(
        &with(r#""weight": 1.5"#),
        ".weight: expected a whole number from 1 to 100, found 1.5",
    );
    let limit = ".maxConcurrent: expected a whole number from 1 to 4294967295, found ";
    check(&with(r#""maxConcurrent": 0"#), &format!("{limit}0"));
    check(&with(r#""maxConcurrent": null"#), &format!("{limit}null"));
    check(
        &with(r#""maxConcurrent": 4294967296"#),
        &format!("{limit}4294967296"),
    );
    let name = ".name: expected 1 to 64 visible ASCII characters without spaces, found ";
    check(&with(r#""name": """#), &format!(r#"{name}"""#));
    check(&with(r#""name": "a b""#), &format!(r#"{name}"a b""#));
    check(&with(r#""name": "é""#), &format!(r#"{name}"é""#));
    check(&with(r#""name": "a\nb""#), &format!(r#"{name}"a\nb""#));
    let long = "n".repeat(65);
    check(
        &with(&format!(r#""name": "{long}""#)),
        &format!(r#"{name}"{}…""#, &long[..60]),
    );
    check(
        &with(r#""name": "one""#),
        r#".name: expected a name of its own, found "one", as endpoints[0] has"#,
    );
    check(
        &with(r#""name": "\ud800""#),
        ".name: expected text, found a \\u escape that is half a character",
    );
}

#[test]
fn none_is_enabled() {
    assert_eq!(
        complaint(r#"[{"baseURL": "https://h", "authToken": "t", "enabled": false}]"#),
        "f:1: endpoints: expected one endpoint that is enabled, or more, found none"
    );
}

#[test]
fn too_many() {
    let one = |i: usize| format!(r#"{{"baseURL": "https://h", "authToken": "t{i}"}}"#);
    let many = |count: usize| (0..count).map(one).collect::<Vec<_>>().join(",");
    assert_eq!(
        read_all(&format!("[{}]", many(1000))).expect("1000 endpoints")[999].name,
        "h#1000"
    );
    let text = format!("[{}]", many(1001));
    assert_eq!(
        complaint(&text),
        "f:1: endpoints: expected 1 to 1000 endpoints, found 1001"
    );
}

#[test]
fn a_header_tells_accounts_apart() {
    let with =
        |team: &str| format!(r#"{{"baseURL": "https://h", "authToken": "t", "headers": {team}}}"#);
    let both = |one: &str, two: &str| read_all(&format!("[{}, {}]", with(one), with(two)));
    assert!(both(r#"{"x-team": "a"}"#, r#"{"x-team": "b"}"#).is_ok());
    assert!(both("{}", r#"{"x-team": "b"}"#).is_ok());
    assert!(both(r#"{"x-team": "a"}"#, r#"{"X-Team": "a"}"#).is_err());
}

//! One endpoint's keys: which base URLs are taken, what they become, and what is said of the others.

use super::*;

fn read_all(text: &str) -> Result<Vec<Endpoint>, Error> {
    let outside = Outside {
        env: &|_| None,
        first_line: &|_| Ok(String::new()),
    };
    Endpoint::read_all(&Value::document(text, "f")?.named("endpoints"), &outside)
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
        let item = |name: &&str| {
            let name = if name.is_empty() {
                String::new()
            } else {
                format!(r#", "name": "{name}""#)
            };
            format!(r#"{{"baseURL": "https://h", "authToken": "t"{name}}}"#)
        };
        let items: Vec<_> = names.iter().map(item).collect();
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
        ".baseUrl: expected baseURL, found an unknown key",
    );
    check(
        r#""auth-token": "s3cr3t""#,
        ".auth-token: expected authToken, found an unknown key",
    );
    check(
        r#""token": "s3cr3t""#,
        ".token: expected one of baseURL, authToken, name, authScheme, weight, maxConcurrent, found an unknown key",
    );
    check(
        r#""authToken": "s3cr3t", "authToken": "s3cr3t""#,
        ".authToken: expected each key once, found it again (first on line 2)",
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
fn too_many() {
    let one = r#"{"baseURL": "https://h", "authToken": "t"}"#;
    assert_eq!(
        read_all(&format!("[{}]", vec![one; 1000].join(","))).expect("1000 endpoints")[999].name,
        "h#1000"
    );
    let text = format!("[{}]", vec![one; 1001].join(","));
    assert_eq!(
        complaint(&text),
        "f:1: endpoints: expected 1 to 1000 endpoints, found 1001"
    );
}

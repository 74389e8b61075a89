//! What is said of a bad file, and of which line.

use super::*;

fn complaint(text: &str) -> String {
    let complaint = parse(text).expect_err(text).to_string();
    assert!(
        !complaint.contains("s3cr3t") && !complaint.contains('\n'),
        "{complaint}"
    );
    complaint
}

#[test]
fn complaints_about_settings() {
    let check = |settings: &str, expected: &str| {
        assert_eq!(
            complaint(&object(settings)),
            format!("endpoints.json:{expected}")
        );
    };
    check(
        r#""workers": 0"#,
        "3: workers: expected a whole number from 1 to 4096, found 0",
    );
    check(
        r#""workers": 4097"#,
        "3: workers: expected a whole number from 1 to 4096, found 4097",
    );
    check(
        r#""workers": 8.0"#,
        "3: workers: expected a whole number from 1 to 4096, found 8.0",
    );
    check(
        r#""workers": "8""#,
        "3: workers: expected a whole number from 1 to 4096, found a string",
    );
    check(
        r#""workers": null"#,
        "3: workers: expected a whole number from 1 to 4096, found null",
    );
    check(
        "\n\"workers\":\n\n-1",
        "6: workers: expected a whole number from 1 to 4096, found -1",
    );
    check(
        r#""queue": 32769"#,
        "3: queue: expected a whole number from 0 to 32768, found 32769",
    );
    check(
        r#""maxConnections": 0"#,
        "3: maxConnections: expected a whole number from 1 to 32768, found 0",
    );
    check(
        r#""maxBodyMB": 1025"#,
        "3: maxBodyMB: expected a whole number from 1 to 1024, found 1025",
    );
    let huge = "1".repeat(90);
    let shown = format!("{}…", "1".repeat(60));
    check(
        &format!(r#""maxBodyMB": {huge}"#),
        &format!("3: maxBodyMB: expected a whole number from 1 to 1024, found {shown}"),
    );
    check(
        r#""queueSeconds": 0"#,
        "3: queueSeconds: expected seconds from 0.001 to 2000000, found 0",
    );
    check(
        r#""idleSeconds": -1"#,
        "3: idleSeconds: expected seconds from 0.001 to 2000000, found -1",
    );
    check(
        r#""idleSeconds": 1e-9"#,
        "3: idleSeconds: expected seconds from 0.001 to 2000000, found 1e-9",
    );
    check(
        r#""idleSeconds": 1e999"#,
        "3: idleSeconds: expected seconds from 0.001 to 2000000, found 1e999",
    );
    check(
        r#""drainSeconds": 1e19"#,
        "3: drainSeconds: expected seconds from 0 to 2000000, found 1e19",
    );
    check(
        r#""drainSeconds": -0.1"#,
        "3: drainSeconds: expected seconds from 0 to 2000000, found -0.1",
    );
    check(
        r#""drainSeconds": true"#,
        "3: drainSeconds: expected seconds from 0 to 2000000, found true",
    );
    check(
        r#""idleSeconds": NaN"#,
        "3:16: expected JSON, found a mistake: expected value",
    );
    check(
        r#""failover": "no""#,
        "3: failover: expected true or false, found a string",
    );
    check(
        r#""affinity": "on""#,
        r#"3: affinity: expected "session" or "off", found "on""#,
    );
    check(
        r#""affinity": false"#,
        "3: affinity: expected a string, found false",
    );
    let listen = "expected host:port, such as 127.0.0.1:13255 or [::1]:13255";
    check(
        r#""listen": "13255""#,
        &format!(r#"3: listen: {listen}, found "13255""#),
    );
    check(
        r#""listen": 13255"#,
        "3: listen: expected a string, found a number",
    );
    check(
        r#""clientTokens": "s3cr3t""#,
        "3: clientTokens: expected an array, found a string",
    );
    check(
        r#""clientTokens": [{"s3cr3t": 1}]"#,
        "3: clientTokens[0]: expected a string, found an object",
    );
    check(
        "\"clientTokens\": [\"s3cr3t\",\n\"\"]",
        "4: clientTokens[1]: expected a token of printable ASCII characters, found an empty one",
    );
    let origin = r#"expected "*" or an origin such as https://app.example.com, with nothing behind the host and port"#;
    for wrong in [
        "https://a.example/",
        "a.example",
        "https://",
        "https://*.a.example",
        "https://a b",
        "",
        "a,b://c",
    ] {
        check(
            &format!(r#""allowedOrigins": ["*", "{wrong}"]"#),
            &format!(r#"3: allowedOrigins[1]: {origin}, found "{wrong}""#),
        );
    }
    check(
        r#""Workers": 1"#,
        "3: Workers: expected workers, found an unknown key",
    );
    check(
        r#""max_body_mb": 1"#,
        "3: max_body_mb: expected maxBodyMB, found an unknown key",
    );
    let keys = KEYS.join(", ");
    check(
        "\n\"threads\":\n1",
        &format!("4: threads: expected one of {keys}, found an unknown key"),
    );
    check(
        r#""sk-s3cr3t": 1"#,
        &format!("3: ***: expected one of {keys}, found an unknown key"),
    );
    check(
        r#""a\nb": 1"#,
        &format!(r"3: a\nb: expected one of {keys}, found an unknown key"),
    );
    check(
        r#""\ud800": 1"#,
        &format!(r#"3: \"\\ud800\": expected one of {keys}, found an unknown key"#),
    );
    check(
        "\"queue\": 1,\n\"queue\": 1",
        "4: queue: expected each key once, found it again (first on line 3)",
    );
    check(
        r#""endpoints": []"#,
        "3: endpoints: expected each key once, found it again (first on line 2)",
    );
}

#[test]
fn complaints_about_the_whole() {
    let check = |text: &str, expected: &str| {
        assert_eq!(complaint(text), format!("endpoints.json{expected}"))
    };
    check("", ": expected JSON, found an empty file");
    check(" \n\t", ": expected JSON, found an empty file");
    check(
        "\u{feff}[]",
        ":1: expected JSON, found a byte order mark: save the file as UTF-8 without one",
    );
    check(
        "[\n{ \"s3cr3t\" ]",
        ":2:12: expected JSON, found a mistake: expected `:`",
    );
    check(
        "[{}\n,]",
        ":2:2: expected JSON, found a mistake: trailing comma",
    );
    check(
        "[] // no",
        ":1:4: expected JSON, found a mistake: trailing characters",
    );
    check(
        "{\n",
        ":2:0: expected JSON, found a mistake: EOF while parsing an object",
    );
    check(
        "\"s3cr3t\"",
        ":1: expected an array of endpoints or an object, found a string",
    );
    check(
        "7",
        ":1: expected an array of endpoints or an object, found a number",
    );
    check(
        "\n{}",
        ":2: endpoints: expected an array of endpoints, found no such key",
    );
    check(
        "[]",
        ":1: endpoints: expected 1 to 1000 endpoints, found none",
    );
    check(
        "{\"endpoints\": {}}",
        ":1: endpoints: expected an array, found an object",
    );
    let deep = "[".repeat(100_000);
    check(
        &deep,
        ":1:128: expected JSON, found a mistake: recursion limit exceeded",
    );
    check(
        &format!("{deep}{}", "]".repeat(100_000)),
        ":1: endpoints[0]: expected an object, found an array",
    );
}

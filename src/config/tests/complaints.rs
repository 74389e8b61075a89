//! What is said of a bad file, and of which line.

use super::*;

pub(super) fn complaint(text: &str) -> String {
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
        "3:16: expected JSON, found a word without double quotes: JSON's own words are true, false and null",
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
        r#""affinity": "s3cr3t""#,
        r#"3: affinity: expected "session" or "off", found another"#,
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
        r#""clientTokens": [{"sk-s3cr3t": 1}]"#,
        "3: clientTokens[0].***: expected one of token, name, maxConcurrent, scope, found an unknown key",
    );
    check(
        r#""clientTokens": [7]"#,
        "3: clientTokens[0]: expected a token or an object with token, name, maxConcurrent and scope, found a number",
    );
    check(
        r#""clientTokens": [{"name": "a"}]"#,
        "3: clientTokens[0].token: expected a token, found no such key",
    );
    check(
        r#""clientTokens": ["s3cr3t", {"token": "s3cr3t"}]"#,
        "3: clientTokens[1]: expected a token of its own, found the same as clientTokens[0] has",
    );
    check(
        r#""clientTokens": [{"token": "s3cr3t-1", "name": "client-2"}, "s3cr3t-2"]"#,
        "3: clientTokens[1]: expected a name of its own, found \"client-2\", as clientTokens[0] has",
    );
    check(
        r#""clientTokens": ["Bearer s3cr3t"]"#,
        "3: clientTokens[0]: expected the token alone (\"authScheme\": \"bearer\" puts the word before an endpoint's), found \
         the word Bearer before it",
    );
    check(
        r#""allowedHosts": ["http://a.example"]"#,
        "3: allowedHosts[0]: expected \"*\" or a host name such as balancer.example.com, without scheme and port, found \
         \"http://a.example\"",
    );
    check(
        r#""failures": 0"#,
        "3: failures: expected a whole number from 1 to 1000, found 0",
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
    let near =
        |key: &str| format!("expected a known key (did you mean {key}?), found an unknown key");
    check(
        r#""Workers": 1"#,
        &format!("3: Workers: {}", near("workers")),
    );
    check(r#""wrkers": 1"#, &format!("3: wrkers: {}", near("workers")));
    check(
        r#""max_body_mb": 1"#,
        &format!("3: max_body_mb: {}", near("maxBodyMB")),
    );
    check(
        r#""port": "s3cr3t""#,
        &format!("3: port: {}", near("listen, as \"127.0.0.1:PORT\"")),
    );
    for (key, meant) in [
        ("timeout", "responseSeconds"),
        ("timeoutSeconds", "responseSeconds"),
        ("authTokens", "clientTokens"),
        ("retries", "failover"),
        ("strategy", "affinity"),
    ] {
        check(
            &format!(r#""{key}": 1"#),
            &format!("3: {key}: {}", near(meant)),
        );
    }
    check(
        r#""logLevel": "debug""#,
        "3: logLevel: expected LOG_LEVEL in the environment, found an unknown key",
    );
    let keys = "listen, endpoints, clientTokens, allowAnonymous, allowedOrigins, allowedHosts, workers, queue, \
        queueSeconds, maxConnections, affinity, failover, failures, check, cooldownSeconds, maxCooldownSeconds, \
        connectSeconds, responseSeconds, idleSeconds, clientSeconds, requestSeconds, drainSeconds, maxBodyMB";
    let unknown = format!("expected one of {keys}, found an unknown key");
    check("\n\"colour\":\n1", &format!("4: colour: {unknown}"));
    for key in ["sk-s3cr3t", "s3cr3t0", r"a\nb", r"\ud800"] {
        check(&format!(r#""{key}": 1"#), &format!("3: ***: {unknown}"));
    }
    check(
        "\"queue\": 1,\n\"queue\": 1",
        "4: queue: expected each key once, found it again (first on line 3)",
    );
    check(
        r#""endpoints": []"#,
        "3: endpoints: expected each key once, found it again (first on line 2)",
    );
}

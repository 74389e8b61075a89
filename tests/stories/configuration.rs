//! The configuration from outside: both forms, a complaint for every mistake, tokens from elsewhere.

use std::collections::HashSet;

use crate::common::prelude::*;

fn check_file(text: &str, env: &[(&str, &str)]) -> Finished {
    let folder = Folder::new();
    let mut command = command(&folder);
    command
        .arg("--check")
        .arg("-c")
        .arg(folder.write("my.json", text))
        .envs(env.iter().copied());
    finish(command)
}

/// A file with one endpoint and these settings beside it.
fn settings(more: &str) -> String {
    format!(
        "{{\"endpoints\": [{{\"baseURL\": \"http://one.test/\", \"authToken\": \"t-1\"}}],\n{more}}}"
    )
}

/// A file with one endpoint that has these properties.
fn endpoint(properties: &str) -> String {
    format!("[\n{{{properties}}}]")
}

#[test]
fn every_mistake_is_named_with_file_and_key() {
    let check = |text: &str, parts: &[&str]| {
        let done = check_file(text, &[]);
        assert_eq!(done.status, Some(1), "{text}: {done:?}");
        assert_eq!(
            done.stderr.trim_end().lines().count(),
            1,
            "one line for {text}: {}",
            done.stderr
        );
        for part in parts.iter().chain(&["my.json"]) {
            assert!(
                done.stderr.contains(part),
                "{part:?} for {text}: {}",
                done.stderr
            );
        }
        assert!(!done.stderr.contains("t-1"), "no token: {}", done.stderr);
    };
    check("", &[]);
    check("{", &[]);
    check("7", &[]);
    check("[]", &["endpoints"]);
    check(r#"{"workers": 3}"#, &["endpoints"]);
    check(r#"{"endpoints": []}"#, &["endpoints"]);
    check(&settings(r#""wrkers": 3"#), &["wrkers", "2"]);
    check(
        &settings("\"workers\": 3,\n\"workers\": 4"),
        &["workers", "3"],
    );
    check(&settings(r#""workers": "3""#), &["workers", "2"]);
    for (key, values) in [
        ("workers", "0 4097 -1 1.5"),
        ("queue", "-1 0.5"),
        ("maxConnections", "0 -1"),
        ("maxBodyMB", "0 -1"),
        ("queueSeconds", "0 -1 \"3\""),
        ("cooldownSeconds", "-1"),
        ("maxCooldownSeconds", "0 -1"),
        ("connectSeconds", "0 -1"),
        ("responseSeconds", "0 -1"),
        ("idleSeconds", "0 -1"),
        ("clientSeconds", "0 -1"),
        ("requestSeconds", "0 -1"),
        ("drainSeconds", "-1"),
        (
            "listen",
            "13255 \"localhost\" \"127.0.0.1:http\" \"127.0.0.1:65536\"",
        ),
        ("affinity", "\"sticky\" true"),
        ("failover", "\"yes\" 1"),
        ("allowAnonymous", "1"),
        ("clientTokens", "\"t\" [\"\"] [1]"),
        ("allowedOrigins", "\"*\" [1]"),
        ("allowedHosts", "\"*\" [1] [\"http://a\"]"),
        ("failures", "0 -1 1.5"),
        ("check", "1"),
    ] {
        for value in values.split(' ') {
            check(&settings(&format!("\"{key}\": {value}")), &[key]);
        }
    }
    let token = r#""authToken": "t-1""#;
    for (url, _) in [
        ("ftp://a.test/", 0),
        ("a.test", 0),
        ("http://", 0),
        ("http://a.test/?q=1", 0),
        ("http://a.test/#f", 0),
        ("http://u:p@a.test/", 0),
        ("", 0),
    ] {
        check(
            &endpoint(&format!(r#""baseURL": "{url}", {token}"#)),
            &["baseURL"],
        );
    }
    check(&endpoint(r#""baseURL": "http://a.test/""#), &["authToken"]);
    check(&endpoint(token), &["baseURL"]);
    let url = r#""baseURL": "http://a.test/""#;
    check(
        &endpoint(&format!(r#"{url}, "authToken": """#)),
        &["authToken"],
    );
    check(
        &endpoint(&format!(r#"{url}, "authToken": "${{STORY_IS_NOT_SET}}""#)),
        &["STORY_IS_NOT_SET"],
    );
    check(
        &endpoint(&format!(
            r#"{url}, "authToken": "${{file:/nowhere/token}}""#
        )),
        &["/nowhere/token"],
    );
    check(
        &endpoint(&format!(r#"{url}, {token}, "token": "x""#)),
        &["token", "2"],
    );
    for (key, values) in [
        ("weight", "0 101 1.5 \"2\""),
        ("maxConcurrent", "0 -1 \"2\""),
        ("authScheme", "\"basic\""),
        ("name", "\"\" \"é\" 7"),
        ("enabled", "1 false"),
        ("tier", "0 10"),
        ("models", "[] {} [\"a**\"] [\"a\",\"a\"] \"*\""),
        ("headers", "[] {\"host\":\"a\"} {\"x-api-key\":\"a\"}"),
        ("proxy", "\"h:1\" \"https://h:1\" \"http://h\" 1"),
        ("caFile", "\"/nowhere.pem\" \"/\" 1"),
    ] {
        for value in values.split(' ') {
            check(
                &endpoint(&format!("{url}, {token}, \"{key}\": {value}")),
                &[key],
            );
        }
    }
    check(
        &endpoint(&format!(r#"{url}, {token}, "name": "a b""#)),
        &["name"],
    );
    let twice =
        format!(r#"[{{{url}, {token}, "name": "same"}}, {{{url}, {token}, "name": "same"}}]"#);
    check(&twice, &["name", "same"]);
}

#[test]
fn what_the_table_allows_is_allowed() {
    let all = r#""listen": "127.0.0.1:0", "workers": 4096, "queue": 0, "queueSeconds": 0.5, "maxConnections": 1,
        "clientTokens": ["a"], "allowAnonymous": true, "allowedOrigins": ["https://a.test"], "affinity": "off",
        "allowedHosts": ["a.test"], "failures": 1, "check": false,
        "failover": false, "cooldownSeconds": 0, "maxCooldownSeconds": 0.25, "connectSeconds": 0.5,
        "responseSeconds": 1.5, "idleSeconds": 2.5, "clientSeconds": 3.5, "requestSeconds": 4.5, "drainSeconds": 0,
        "maxBodyMB": 1"#;
    let done = check_file(&settings(all), &[]);
    assert_eq!(done.status, Some(0), "{done:?}");
    let endpoint = endpoint(
        r#""baseURL": "https://a.test:8443/api", "authToken": "t-1", "name": "a#1", "authScheme": "bearer",
        "weight": 100, "maxConcurrent": 1, "enabled": true, "tier": 9, "models": {"a-*": "b"}, "_why": "because",
        "headers": {"x-team": "t-1"}, "proxy": "socks5://t-1:t-1@p.test:1080""#,
    );
    let done = check_file(&endpoint, &[]);
    assert_eq!(done.status, Some(0), "{done:?}");
    assert!(
        done.stdout.contains("https://a.test:8443/api/v1/messages"),
        "a slash is added: {}",
        done.stdout
    );
}

#[test]
fn what_was_meant_is_told() {
    let check = |text: &str, part: &str| {
        let done = check_file(text, &[]);
        assert_eq!(done.status, Some(1), "{text}: {done:?}");
        assert!(done.stderr.contains(part), "{part:?}: {}", done.stderr);
        assert!(!done.stderr.contains("t-1"), "no token: {}", done.stderr);
    };
    let url = r#""baseURL": "http://a.test/""#;
    check("endpoints:\n  - baseURL: http://a.test", "YAML");
    check("[ // mine\n]", "a comment");
    check(
        &format!("{{{url}, \"authToken\": \"t-1\"}}"),
        "square brackets",
    );
    check(
        &endpoint(&format!("{url}, \"apiKey\": \"t-1\"")),
        "did you mean authToken",
    );
    check(&settings(r#""port": 80"#), "did you mean listen");
    check(
        &endpoint(&format!("{url}, \"authToken\": \"Bearer t-1\"")),
        "authScheme",
    );
    check(
        &endpoint(&format!("{url}, \"authToken\": \"$T_1\"")),
        "${NAME}",
    );
    let ourselves = endpoint(r#""baseURL": "http://localhost:4321", "authToken": "t-1""#);
    let done = check_file(&ourselves, &[("PORT", "4321")]);
    assert!(done.stderr.contains("own address"), "{done:?}");
    let twin = format!("{{{url}, \"authToken\": \"t-1\"}}");
    check(
        &format!("[{twin},\n{twin}]"),
        "my.json:2: endpoints[1]: expected",
    );
}

#[test]
fn a_fifo_is_no_file_and_holds_nobody_up() {
    let folder = Folder::new();
    let fifo = folder.path().join("fifo");
    nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).expect("a FIFO");
    let mut asked = command(&folder);
    asked.arg("--check").arg("-c").arg(&fifo);
    let done = finish(asked);
    assert_eq!(done.status, Some(1), "{done:?}");
    assert!(done.stderr.contains("a FIFO"), "{}", done.stderr);
    let token = format!("${{file:{}}}", fifo.display());
    let file = endpoint(&format!(
        r#""baseURL": "http://a.test/", "authToken": "{token}""#
    ));
    let done = check_file(&file, &[]);
    assert_eq!(done.status, Some(1), "{done:?}");
    assert!(done.stderr.contains("a FIFO"), "{}", done.stderr);
    let file = endpoint(r#""baseURL": "http://a.test/", "authToken": "t""#);
    for path in [fifo.as_path(), "/dev/zero".as_ref()] {
        let path = path.to_str().expect("a path in UTF-8");
        let done = check_file(&file, &[("SSL_CERT_FILE", path)]);
        assert_eq!(done.status, Some(1), "{done:?}");
        assert!(done.stderr.contains("not a regular file"), "{done:?}");
    }
}

#[test]
fn an_array_of_endpoints_alone_is_enough() {
    let (a, b) = (Upstream::always(ok("{}")), Upstream::always(ok("{}")));
    let folder = Folder::new();
    let file =
        json!([{"baseURL": a.url(), "authToken": "t-a"}, {"baseURL": b.url(), "authToken": "t-b"}]);
    let mut command = command(&folder);
    command
        .arg("-c")
        .arg(folder.write("endpoints.json", &file.to_string()));
    let balancer = Balancer::run(command, folder);
    assert_eq!((balancer.ask().status, balancer.ask().status), (200, 200));
    assert_eq!((a.count(), b.count()), (1, 1));
}

#[test]
fn a_name_is_the_host_made_unique() {
    let (a, b) = (Upstream::always(ok("{}")), Upstream::always(ok("{}")));
    let balancer = Setup::new()
        .endpoint(a.url())
        .with("name", Value::Null)
        .endpoint(b.url())
        .with("name", Value::Null)
        .start();
    let names: Vec<String> = (0..2)
        .map(|_| balancer.ask().served_by().to_owned())
        .collect();
    assert_eq!(names, ["127.0.0.1", "127.0.0.1#2"]);
    let listed: HashSet<String> = (0..2)
        .map(|i| {
            balancer.endpoint(i)["name"]
                .as_str()
                .expect("a name")
                .to_owned()
        })
        .collect();
    assert_eq!(listed, names.into_iter().collect());
}

#[test]
fn tokens_come_from_the_environment_and_from_files() {
    let (a, b) = (Upstream::always(ok("{}")), Upstream::always(ok("{}")));
    let setup = balance(&[&a])
        .with("authToken", "${STORY_TOKEN}")
        .endpoint(b.url());
    let file = setup.folder().write("token", "from-file\nsecond line\n");
    let client = setup.folder().write("client", "client-from-file");
    let balancer = setup
        .with("authToken", format!("pre-${{file:{}}}", file.display()))
        .set(
            "clientTokens",
            json!([format!("${{file:{}}}", client.display())]),
        )
        .env("STORY_TOKEN", "from-env")
        .start();
    for _ in 0..2 {
        assert_eq!(
            balancer
                .send(&Request::message().header("x-api-key", "client-from-file"))
                .status,
            200
        );
    }
    assert_eq!(a.request().head.get("x-api-key"), Some("from-env"));
    assert_eq!(b.request().head.get("x-api-key"), Some("pre-from-file"));
    assert_eq!(balancer.ask().status, 401);
}

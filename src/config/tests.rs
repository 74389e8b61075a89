//! Every setting and its default, what depends on another, and mangled text.

mod complaints;
mod files;
mod syntax;

use super::*;

const ENDPOINT: &str = r#"{ "baseURL": "https://one.example", "authToken": "s3cr3t" }"#;

fn parse_with(text: &str, env: &[(&str, &str)]) -> Result<Config, Error> {
    let env = |name: &str| {
        env.iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned())
    };
    let no_file = |_: &str| Err(io::ErrorKind::NotFound.into());
    Config::parse(text, "endpoints.json", &env, &no_file)
}

fn parse(text: &str) -> Result<Config, Error> {
    parse_with(text, &[])
}

/// An object with one good endpoint on line 2 and `settings` from line 3 on.
fn object(settings: &str) -> String {
    format!("{{\n\"endpoints\": [{ENDPOINT}],\n{settings} }}")
}

#[test]
fn defaults() {
    let config = parse(&format!("[{ENDPOINT}]")).expect("the array alone");
    assert_eq!(
        parse(&format!("{{\"endpoints\":[{ENDPOINT}]}}")),
        Ok(config.clone())
    );
    let seconds = Duration::from_secs;
    let expected = Config {
        endpoints: vec![Endpoint {
            shown: config.endpoints[0].shown.clone(),
            ..Endpoint::new(
                "one.example",
                "https://one.example/".parse().expect("a URL"),
                Secret::new("s3cr3t".to_owned()),
            )
        }],
        listen: Listen {
            host: "127.0.0.1".to_owned(),
            port: 13255,
        },
        workers: 256,
        queue: 256,
        queue_wait: seconds(30),
        max_connections: 8192,
        clients: vec![],
        allow_anonymous: false,
        allowed_origins: vec!["*".to_owned()],
        allowed_hosts: vec![],
        affinity: Affinity::Session,
        failover: true,
        failures: 3,
        check: true,
        cooldown: seconds(10),
        max_cooldown: seconds(3600),
        connect_timeout: seconds(5),
        response_timeout: seconds(600),
        idle_timeout: seconds(300),
        client_timeout: seconds(75),
        request_timeout: seconds(300),
        drain: seconds(30),
        max_body: 32 << 20,
        warnings: vec![],
        shown: config.shown.clone(),
    };
    assert_eq!(config, expected);
}

#[test]
fn every_setting_is_read() {
    let text = object(
        r#""_comment": ["of any kind"], "_comment": 2,
            "listen": "localhost:1", "workers": 2, "queue": 3, "queueSeconds": 4.5, "maxConnections": 5,
            "clientTokens": ["s3cr3t-1", {"token": "s3cr3t-2", "name": "ci", "maxConcurrent": 4, "scope": "status"}],
            "allowAnonymous": true, "allowedOrigins": ["https://A.example:8443", "null"], "allowedHosts": ["Box.lan"],
            "affinity": "off", "failover": false, "failures": 5, "check": false, "cooldownSeconds": 6,
            "maxCooldownSeconds": 7, "connectSeconds": 8, "responseSeconds": 9, "idleSeconds": 10,
            "clientSeconds": 11, "requestSeconds": 12, "drainSeconds": 0, "maxBodyMB": 13"#,
    );
    let shown = parse(&text).expect("good settings").to_string();
    let (endpoints, settings) = shown.rsplit_once("\n\n").expect("two parts");
    let values: Vec<_> = settings
        .lines()
        .map(|line| line.split_once(' ').expect("key and value"))
        .map(|(key, value)| format!("{key} {}", value.trim()))
        .collect();
    let expected = "listen localhost:1|clientTokens client-1 ***, ci *** (status only) (at most 4 at once)|\
        allowAnonymous true|allowedOrigins https://a.example:8443, null|allowedHosts box.lan|workers 2|queue 3|\
        queueSeconds 4.5|maxConnections 5|affinity off|failover false|failures 5|check false|\
        cooldownSeconds 6|maxCooldownSeconds 7|connectSeconds 8|responseSeconds 9|idleSeconds 10|clientSeconds 11|\
        requestSeconds 12|drainSeconds 0|maxBodyMB 13";
    assert_eq!(values.join("|"), expected);
    assert!(endpoints.contains("https://one.example/v1/messages"));
}

#[test]
fn check_shows_every_endpoint_and_no_token() {
    let env = [("S", "s3cr3t")];
    let config = parse_with(
        r#"[{ "baseURL": "https://one.example/api", "authToken": "${S}", "enabled": false },
                { "baseURL": "http://[::1]:8080/", "authToken": "s3cr3t", "authScheme": "bearer",
                  "name": "two", "weight": 3, "maxConcurrent": 4, "tier": 2, "models": {"claude-*": "glm"},
                  "headers": {"x-team": "${S}"}, "proxy": "http://s3cr3t:${S}@proxy:3128" }]"#,
        &env,
    )
    .expect("two endpoints");
    let shown = config.to_string();
    let endpoints = shown.rsplit_once("\n\n").expect("two parts").0;
    let expected = "\
endpoint 1 one.example
  url               https://one.example/api/v1/messages
  authToken         x-api-key: ***
  weight            1
  maxConcurrent     no limit
  enabled           false
  tier              1
  models            all
  headers           none
  proxy             as the environment says
  caFile            none

endpoint 2 two (/v1/files and /v1/messages/batches always go here)
  url               http://[::1]:8080/v1/messages
  authToken         authorization: Bearer ***
  weight            3
  maxConcurrent     4
  enabled           true
  tier              2
  models            claude-* as glm
  headers           x-team: ***
  proxy             http://***@proxy:3128
  caFile            none";
    assert_eq!(endpoints, expected);
    assert!(!format!("{shown}{config:?}").contains("s3cr3t"));
}

#[test]
fn warnings() {
    let check = |url: &str, shorter: &str, left_out: &str| {
        let text = format!("[\n{{\"authToken\": \"t\",\n\"baseURL\": \"{url}\"}}]");
        let config = parse(&text).expect("a good file");
        assert_eq!(config.endpoints[0].base_url, shorter, "{url}");
        let warning = format!(
            "endpoints.json:3: endpoints[0].baseURL: {left_out} at its end is left out, as it is added to each request: \
             {shorter} is used"
        );
        assert_eq!(config.warnings, [warning]);
    };
    check("https://a.example/v1", "https://a.example/", "v1");
    check("https://a.example/v1/", "https://a.example/", "v1");
    check(
        "https://a.example/x/v1/messages",
        "https://a.example/x/",
        "v1/messages",
    );
    check("https://a.example/v1/v1", "https://a.example/", "v1/v1");
    check(
        "https://a.example/x/v1/v1/messages/",
        "https://a.example/x/",
        "v1/v1/messages",
    );
    let text = r#"[{"authToken": "t", "baseURL": "https://a.example/xv1/"}]"#;
    assert_eq!(parse(text).expect("a good file").warnings, [""; 0]);
    let text = r#"[{"authToken": "t", "baseURL": "https://v1/"}]"#;
    assert_eq!(parse(text).expect("a good file").warnings, [""; 0]);
}

#[test]
fn what_is_open_is_told() {
    let check = |settings: &str, expected: &[&str]| {
        let lines = parse(&object(settings)).expect(settings).exposure();
        assert_eq!(lines.len(), expected.len(), "{lines:?}");
        for (line, part) in lines.iter().zip(expected) {
            assert!(line.contains(part), "{line}");
        }
    };
    check(r#""queue": 1"#, &["any web page"]);
    check(r#""allowedOrigins": []"#, &[]);
    check(r#""clientTokens": ["s3cr3t"]"#, &[]);
    check(
        r#""clientTokens": ["s3cr3t"], "listen": "0.0.0.0:1""#,
        &["unencrypted"],
    );
    let open = r#""allowAnonymous": true, "listen": "0.0.0.0:1""#;
    check(open, &["everybody who can reach 0.0.0.0:1", "any web page"]);
}

#[test]
fn hosts_by_default() {
    let check = |settings: &str, expected: &[&str]| {
        assert_eq!(
            parse(&object(settings)).expect(settings).allowed_hosts,
            expected
        );
    };
    check(r#""queue": 1"#, &[]);
    check(r#""allowAnonymous": true"#, &["*"]);
    check(r#""allowAnonymous": true, "allowedHosts": ["A"]"#, &["a"]);
    check(r#""allowedHosts": ["a", "*"]"#, &["*"]);
}

#[test]
fn clients_have_names() {
    let config = parse(&object(
        r#""clientTokens": ["s3cr3t-1", {"token": "s3cr3t-2", "name": "ci", "scope": "status"}, {"token": "s3cr3t-3"}]"#,
    ));
    let clients = config.expect("three clients").clients;
    let names: Vec<_> = clients
        .iter()
        .map(|client| (&*client.name, client.scope))
        .collect();
    assert_eq!(
        names,
        [
            ("client-1", Scope::All),
            ("ci", Scope::Status),
            ("client-3", Scope::All)
        ]
    );
}

#[test]
fn a_star_lets_in_all_origins() {
    let config =
        parse(&object(r#""allowedOrigins": ["https://a.example", "*"]"#)).expect("good origins");
    assert_eq!(config.allowed_origins, ["*"]);
    let config = parse(&object(r#""allowedOrigins": []"#)).expect("no origin at all");
    assert!(config.allowed_origins.is_empty());
}

#[test]
fn a_public_bind_needs_tokens_or_permission() {
    let check = |settings: &str, host: &str, is_refused: bool| {
        let config = parse_with(&object(settings), &[("HOST", host)]);
        match config {
            Err(err) => {
                assert!(is_refused, "{err}");
                assert!(
                    err.to_string().starts_with(
                        "endpoints.json: clientTokens: expected one or more, as other"
                    ),
                    "{err}"
                );
            }
            Ok(_) => assert!(!is_refused, "{settings} {host}"),
        }
    };
    check(r#""queue": 1"#, "", false);
    check(r#""queue": 1"#, "0.0.0.0", true);
    check(r#""queue": 1"#, "::", true);
    check(r#""queue": 1"#, "vps.example", true);
    check(r#""queue": 1"#, "127.0.0.2", false);
    check(r#""allowAnonymous": true"#, "0.0.0.0", false);
    check(r#""allowAnonymous": false"#, "0.0.0.0", true);
    check(r#""clientTokens": ["s3cr3t"]"#, "0.0.0.0", false);
    check(r#""clientTokens": []"#, "0.0.0.0", true);
    check(r#""listen": "0.0.0.0:80""#, "", true);
    check(r#""listen": "0.0.0.0:80""#, "localhost", false);
}

#[test]
fn the_example_is_a_good_file_but_for_its_tokens() {
    let example = include_str!("../../endpoints.json.example");
    let complaint = parse(example)
        .expect_err("the example's tokens")
        .to_string();
    assert!(
        complaint.ends_with("authToken: expected your own token, found the one of the example"),
        "{complaint}"
    );
    let own = example.replace("your-", "my-");
    let config = parse(&own).expect("the example");
    assert_eq!(config.endpoints.len(), 2);
}

proptest::proptest! {
    /// Whatever an editor leaves behind: a configuration or a complaint of one line, never a panic.
    #[test]
    fn mangled_text_does_no_harm(edits in proptest::collection::vec((0..900usize, 0..12usize, 0..23usize), 1..6)) {
        const PIECES: [&str; 23] = [
            "", "\"", "\\", "{", "}", "[", "]", ",", ":", "null", "-1", "0", "1e999", "\n", "${", "file:",
            "\\ud800", "é", "\u{0}", "@", "?", "[::", "://",
        ];
        let text = object(
            r#""listen": "[::1]:80", "workers": 2, "queueSeconds": 4.5, "clientTokens": ["${A}", "${file:b}x"],
            "allowedOrigins": ["https://a.example:8443"], "affinity": "off", "failover": false, "maxBodyMB": 13"#,
        );
        let mut text: Vec<char> = text.chars().collect();
        for (at, length, piece) in edits {
            let at = at.min(text.len());
            let end = (at + length).min(text.len());
            text.splice(at..end, PIECES[piece].chars());
        }
        let text: String = text.into_iter().collect();
        let env = |name: &str| (name != "PORT" && name != "HOST").then(|| format!("e{name}"));
        match Config::parse(&text, "f", &env, &|path| Ok(format!("f{path}"))) {
            Ok(config) => assert!(!config.to_string().is_empty()),
            Err(err) => assert!(err.to_string().starts_with("f:") && !err.to_string().contains('\n')),
        }
    }
}

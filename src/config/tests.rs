//! Every setting, its default and its complaint; files, tokens in files, and mangled text.

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

fn complaint(text: &str) -> String {
    let complaint = parse(text).expect_err(text).to_string();
    assert!(
        !complaint.contains("s3cr3t") && !complaint.contains('\n'),
        "{complaint}"
    );
    complaint
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
            name: "one.example".to_owned(),
            base_url: "https://one.example/".parse().expect("a URL"),
            auth_token: Secret::new("s3cr3t".to_owned()),
            auth_scheme: AuthScheme::ApiKey,
            weight: 1,
            max_concurrent: None,
        }],
        listen: Listen {
            host: "127.0.0.1".to_owned(),
            port: 13255,
        },
        workers: 256,
        queue: 256,
        queue_wait: seconds(30),
        max_connections: 1024,
        client_tokens: vec![],
        allow_anonymous: false,
        allowed_origins: vec!["*".to_owned()],
        affinity: Affinity::Session,
        failover: true,
        cooldown: seconds(10),
        max_cooldown: seconds(3600),
        connect_timeout: seconds(5),
        response_timeout: seconds(600),
        idle_timeout: seconds(300),
        client_timeout: seconds(75),
        request_timeout: seconds(300),
        drain: seconds(30),
        max_body: 32 << 20,
    };
    assert_eq!(config, expected);
}

#[test]
fn every_setting_is_read() {
    let text = object(
        r#""listen": "localhost:1", "workers": 2, "queue": 3, "queueSeconds": 4.5, "maxConnections": 5,
            "clientTokens": ["s3cr3t-1", "s3cr3t-2"], "allowAnonymous": true,
            "allowedOrigins": ["https://A.example:8443", "null"],
            "affinity": "off", "failover": false, "cooldownSeconds": 6, "maxCooldownSeconds": 7, "connectSeconds": 8,
            "responseSeconds": 9, "idleSeconds": 10, "clientSeconds": 11, "requestSeconds": 12, "drainSeconds": 0,
            "maxBodyMB": 13"#,
    );
    let shown = parse(&text).expect("good settings").to_string();
    let (settings, endpoints) = shown.split_once("\n\n").expect("two parts");
    let values: Vec<_> = settings
        .lines()
        .map(|line| line.split_once(' ').expect("key and value"))
        .collect();
    let keys: Vec<_> = values.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, KEYS[1..]); // `--check` shows every key of the file.
    let values: Vec<_> = values.iter().map(|(_, value)| value.trim()).collect();
    let expected = "localhost:1|2|3|4.5|5|***, ***|true|https://a.example:8443, null|off|false|6|7|8|9|10|11|12|0|13";
    assert_eq!(values.join("|"), expected);
    assert!(endpoints.contains("https://one.example/v1/messages"));
}

#[test]
fn check_shows_every_endpoint_and_no_token() {
    let config = parse(
        r#"[{ "baseURL": "https://one.example/api", "authToken": "s3cr3t" },
                { "baseURL": "http://[::1]:8080/", "authToken": "s3cr3t", "authScheme": "bearer",
                  "name": "two", "weight": 3, "maxConcurrent": 4 }]"#,
    )
    .expect("two endpoints");
    let shown = config.to_string();
    let endpoints = shown.split_once("\n\n").expect("two parts").1;
    let expected = "\
endpoint 1 one.example (/v1/files and /v1/messages/batches always go here)
  url               https://one.example/api/v1/messages
  authToken         x-api-key: ***
  weight            1
  maxConcurrent     no limit

endpoint 2 two
  url               http://[::1]:8080/v1/messages
  authToken         authorization: Bearer ***
  weight            3
  maxConcurrent     4
";
    assert_eq!(endpoints, expected);
    assert!(!format!("{shown}{config:?}").contains("s3cr3t"));
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
fn the_example_is_a_good_file() {
    let config = parse(include_str!("../../endpoints.json.example")).expect("the example");
    assert_eq!(config.endpoints.len(), 2);
}

/// A folder of this test's own, removed at its end.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = env::temp_dir().join(format!("config-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, bytes).expect("a file");
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn a_token_file_lies_next_to_the_configuration() {
    let folder = Folder::new("token");
    let absolute = folder.write("absolute", b"s3cr3t-2\r\n");
    folder.write("token", b"s3cr3t-1\nmore\n");
    let text = format!(
        r#"[{{ "baseURL": "https://a", "authToken": "${{file:token}}" }},
                {{ "baseURL": "https://a", "authToken": "${{file:{}}}" }}]"#,
        absolute.display()
    );
    let config =
        Config::load(&folder.write("endpoints.json", text.as_bytes())).expect("a good file");
    let tokens: Vec<_> = config
        .endpoints
        .iter()
        .map(|endpoint| endpoint.auth_token.expose())
        .collect();
    assert_eq!(tokens, ["s3cr3t-1", "s3cr3t-2"]);
    folder.write("token", &vec![b'x'; 70_000]);
    let err = Config::load(&folder.0.join("endpoints.json"))
        .expect_err("an endless token")
        .to_string();
    assert!(
        err.ends_with(
            "expected a token in the first line of token, found a line of more than 64 KiB"
        ),
        "{err}"
    );
}

#[test]
fn files_that_cannot_be_read() {
    let folder = Folder::new("unreadable");
    let check = |path: &Path, expected: &str| {
        let complaint = Config::load(path).expect_err(expected).to_string();
        assert_eq!(complaint, format!("{}{expected}", path.display()));
    };
    check(
        &folder.0.join("none.json"),
        ": expected a configuration file, found no such file",
    );
    check(
        &folder.0,
        ": expected a configuration file, found a directory",
    );
    check(
        Path::new("/dev/zero"),
        ": expected a configuration file, found more than 4 MiB",
    );
    check(
        &folder.write("empty", b""),
        ": expected JSON, found an empty file",
    );
    let none = ":2: expected UTF-8, found a byte that is none: save the file as UTF-8";
    check(&folder.write("latin-1", b"[\n\"\xe9\"]"), none);
    check(
        &folder.write("utf-16", b"\xff\xfe[\0"),
        ":1: expected UTF-8, found UTF-16: save the file as UTF-8",
    );
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

//! Options, exit codes, the search for the file, and where it listens.

use std::fs;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use crate::common::balancer::BINARY;
use crate::common::prelude::*;

const ONE: &str = r#"[{"baseURL": "http://one.test/", "authToken": "token-one"}]"#;
const TWO: &str = r#"[{"baseURL": "http://two.test/", "authToken": "token-two"}]"#;

fn run(arguments: &[&str]) -> Finished {
    let folder = Folder::new();
    let mut command = command(&folder);
    command.args(arguments);
    finish(command)
}

/// A loopback address that no other story of this machine listens on, so that a fixed port is free there.
fn loopback() -> Ipv4Addr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let n = std::process::id() * 16 + NEXT.fetch_add(1, Ordering::Relaxed) % 16;
    let [_, a, b, c] = n.to_be_bytes();
    Ipv4Addr::new(127, a | 128, b, c)
}

fn one_line(text: &str) -> &str {
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 1, "one line: {text:?}");
    lines[0]
}

#[test]
fn help_goes_to_stdout_and_names_every_option() {
    for option in ["-h", "--help"] {
        let done = run(&[option]);
        assert_eq!((done.status, done.stderr.as_str()), (Some(0), ""));
        for named in [
            "--config",
            "-c",
            "--check",
            "--probe",
            "--demo",
            "--example",
            "--help",
            "--version",
        ] {
            assert!(done.stdout.contains(named), "{named} in {}", done.stdout);
        }
    }
}

#[test]
fn the_version_is_printed() {
    for option in ["-V", "--version"] {
        let done = run(&[option]);
        assert_eq!((done.status, done.stderr.as_str()), (Some(0), ""));
        let version = concat!("claude-loadbalancer ", env!("CARGO_PKG_VERSION"));
        let said = one_line(&done.stdout);
        match commit() {
            Some(commit) => assert_eq!(said, format!("{version} ({commit})")),
            None => assert_eq!(said, version),
        }
    }
}

/// The commit that is checked out here; `None` where this is no repository, or git is not installed.
fn commit() -> Option<String> {
    let root = env!("CARGO_MANIFEST_DIR");
    let told = Command::new("git")
        .args([
            "-C",
            root,
            "rev-parse",
            "--show-prefix",
            "--short=10",
            "HEAD",
        ])
        .output()
        .ok()?;
    // An empty line first: the folder is the repository's own.
    let text = String::from_utf8(told.stdout).expect("text");
    let commit = text.strip_prefix('\n')?.trim_end();
    told.status.success().then(|| commit.to_owned())
}

#[test]
fn wrong_usage_ends_with_2() {
    let wrong: [&[&str]; 9] = [
        &["--wrong"],
        &["-x"],
        &["endpoints.json"],
        &["--config"],
        &["--check", "--demo"],
        &["--check=yes"],
        &["--example", "--check"],
        &["--example", "-c", "endpoints.json"],
        &["--check", "--check"],
    ];
    for arguments in wrong {
        let done = run(arguments);
        assert_eq!(done.status, Some(2), "{arguments:?}: {done:?}");
        let lines: Vec<&str> = done.stderr.lines().collect();
        assert_eq!(lines.len(), 2, "one line and a hint: {lines:?}");
        assert_eq!(lines[1], "Try --help.");
        assert_eq!(done.stdout, "", "{arguments:?}");
    }
}

#[test]
fn the_example_is_a_file_to_begin_with() {
    let done = run(&["--example"]);
    assert_eq!((done.status, done.stderr.as_str()), (Some(0), ""));
    let check = |text: &str| {
        let folder = Folder::new();
        let mut command = command(&folder);
        command
            .args(["--check", "-c"])
            .arg(folder.write("my.json", text));
        finish(command)
    };
    let untouched = check(&done.stdout);
    assert_eq!(untouched.status, Some(1));
    let line = one_line(&untouched.stderr);
    assert!(
        line.contains("authToken") && line.contains("example"),
        "{line}"
    );
    let edited = check(&done.stdout.replace("your-", "my-"));
    assert_eq!((edited.status, edited.stderr.as_str()), (Some(0), ""));
    assert_eq!(edited.stdout.lines().last(), Some("ok: 2 endpoints"));
}

#[test]
fn check_looks_at_the_environment_too() {
    let check = |name: &str, value: &str| {
        let setup = Setup::new().endpoint("http://one.test/");
        let folder = Folder::new();
        let mut command = command(&folder);
        command
            .args(["--check", "-c"])
            .arg(folder.write("my.json", &setup.json().to_string()))
            .env(name, value);
        finish(command)
    };
    for (name, value) in [
        ("LOG_LEVEL", "loud"),
        ("LOG_FORMAT", "xml"),
        ("SSL_CERT_FILE", "/nowhere.pem"),
        ("PORT", "http"),
    ] {
        let done = check(name, value);
        assert_eq!(done.status, Some(1), "{done:?}");
        assert!(one_line(&done.stderr).contains(name), "{done:?}");
    }
    let done = check("LOG_LEVEL", "Debug");
    assert_eq!(
        done.stdout.lines().last(),
        Some("ok: 1 endpoint"),
        "{done:?}"
    );
}

#[test]
fn a_v1_too_much_is_left_out_with_a_warning() {
    let up = Upstream::always(ok("{}"));
    let setup = Setup::new().endpoint(format!("{}/v1/messages", up.url().trim_end_matches('/')));
    let folder = Folder::new();
    let mut command = command(&folder);
    command
        .args(["--check", "-c"])
        .arg(folder.write("my.json", &setup.json().to_string()));
    let done = finish(command);
    assert_eq!(done.status, Some(0), "{done:?}");
    let last = done.stdout.lines().last().expect("a verdict");
    assert!(
        last.starts_with("warning: ") && last.contains("baseURL"),
        "{last}"
    );
    assert!(!done.stdout.contains("v1/v1"), "{}", done.stdout);
    let balancer = setup.start();
    assert!(balancer.logged(&["baseURL", "left out"]).contains("WARN"));
    assert_eq!(balancer.ask().status, 200);
    assert!(up.request().head.line.starts_with("POST /v1/messages HTTP"));
}

#[test]
fn what_web_pages_may_do_is_told_at_the_start() {
    let up = Upstream::always(ok("{}"));
    let line = balance(&[&up]).start().logged(&["any web page"]);
    assert!(
        line.contains("WARN") && line.contains("allowedOrigins"),
        "{line}"
    );
    let open = balance(&[&up])
        .env("HOST", "0.0.0.0")
        .set("allowAnonymous", true)
        .start();
    assert!(open.logged(&["everybody who can reach"]).contains("WARN"));
}

#[test]
fn a_missing_file_ends_with_1_and_one_line_that_names_it() {
    for arguments in [
        vec!["-c", "nowhere.json"],
        vec!["--config=nowhere.json", "--check"],
    ] {
        let done = run(&arguments);
        assert_eq!(done.status, Some(1), "{done:?}");
        assert!(one_line(&done.stderr).contains("nowhere.json"), "{done:?}");
    }
}

#[test]
fn without_a_file_the_line_names_the_one_it_looked_for() {
    if Path::new("/etc/claude-loadbalancer/endpoints.json").exists() {
        return; // It is installed here, and found.
    }
    let done = run(&[]);
    assert_eq!(done.status, Some(1), "{done:?}");
    assert!(
        one_line(&done.stderr).contains("endpoints.json")
            && done.stderr.contains("/etc/claude-loadbalancer"),
        "{done:?}"
    );
}

#[test]
fn check_prints_every_setting_and_effective_url_but_no_token() {
    let file = r#"{"endpoints": [{"baseURL": "https://one.test/api", "authToken": "token-one"},
        {"baseURL": "http://two.test", "authToken": "token-two", "name": "second", "weight": 7, "maxConcurrent": 11}],
        "clientTokens": ["token-client"], "cooldownSeconds": 12.5}"#;
    let folder = Folder::new();
    let mut command = command(&folder);
    command
        .arg("--check")
        .arg("-c")
        .arg(folder.write("my.json", file));
    let done = finish(command);
    assert_eq!((done.status, done.stderr.as_str()), (Some(0), ""));
    let keys = "listen workers queue queueSeconds maxConnections clientTokens allowAnonymous allowedOrigins \
        affinity failover cooldownSeconds maxCooldownSeconds connectSeconds responseSeconds idleSeconds clientSeconds \
        requestSeconds drainSeconds maxBodyMB authToken weight maxConcurrent";
    let facts = "https://one.test/api/v1/messages http://two.test/v1/messages second 12.5 3600 8192 x-api-key session";
    for part in keys.split_whitespace().chain(facts.split_whitespace()) {
        assert!(done.stdout.contains(part), "{part} in {}", done.stdout);
    }
    for token in ["token-one", "token-two", "token-client"] {
        assert!(!done.stdout.contains(token), "{}", done.stdout);
    }
}

#[test]
fn check_says_what_is_wrong_and_ends_with_1() {
    let folder = Folder::new();
    let mut command = command(&folder);
    command
        .arg("--check")
        .arg("--config")
        .arg(folder.write("my.json", "[]"));
    let done = finish(command);
    assert_eq!(done.status, Some(1), "{done:?}");
    assert!(one_line(&done.stderr).contains("my.json"), "{done:?}");
}

#[test]
fn the_file_next_to_the_executable_comes_before_the_one_in_the_current_directory() {
    let (home, current) = (Folder::new(), Folder::new());
    let binary = home.path().join("balancer");
    // A link, not a copy: a file that was just written may be busy when another story starts a process.
    fs::hard_link(BINARY, &binary).expect("both are in the target folder");
    let check = || {
        let mut command = program(&binary, &current);
        command.arg("--check");
        finish(command)
    };
    current.write("endpoints.json", TWO);
    assert!(
        check().stdout.contains("http://two.test/v1/messages"),
        "{:?}",
        check()
    );
    home.write("endpoints.json", ONE);
    assert!(
        check().stdout.contains("http://one.test/v1/messages"),
        "{:?}",
        check()
    );
}

#[test]
fn the_environment_beats_listen() {
    let (ours, files) = (loopback(), loopback());
    let up = Upstream::always(ok("{}"));
    let listen = format!("{files}:13255");
    let moved = balance(&[&up])
        .set("listen", listen.clone())
        .env("HOST", ours.to_string())
        .start();
    assert_eq!(moved.address.ip(), ours);
    assert_ne!(moved.address.port(), 13255, "PORT=0 picks a free one");
    let half = balance(&[&up]).set("listen", listen).start();
    assert_eq!(half.address.ip(), files);
    assert_eq!(half.ask().status, 200);
}

#[test]
fn the_default_port_is_13255_and_listen_is_obeyed() {
    let up = Upstream::always(ok("{}"));
    let start = |listen: Option<String>, host: Option<String>| {
        let setup = balance(&[&up]);
        let setup = match listen {
            Some(listen) => setup.set("listen", listen),
            None => setup,
        };
        let folder = Folder::new();
        let mut command = command(&folder);
        command
            .env_remove("PORT")
            .arg("-c")
            .arg(folder.write("endpoints.json", &setup.json().to_string()));
        command.envs(host.map(|h| ("HOST", h)));
        Balancer::run(command, folder)
    };
    let host = loopback();
    assert_eq!(
        start(None, Some(host.to_string())).address.to_string(),
        format!("{host}:13255")
    );
    let host = loopback();
    assert_eq!(
        start(Some(format!("{host}:4321")), None)
            .address
            .to_string(),
        format!("{host}:4321")
    );
}

#[test]
fn a_port_that_is_taken_or_none_ends_with_1() {
    let taken = TcpListener::bind("127.0.0.1:0")
        .expect("a port")
        .local_addr()
        .map(|a| a.port())
        .expect("its number");
    let held = TcpListener::bind(("127.0.0.1", taken)).expect("still free");
    for (port, part) in [
        (taken.to_string(), taken.to_string()),
        ("http".into(), "PORT".into()),
        ("65536".into(), "PORT".into()),
    ] {
        let done = Setup::new()
            .endpoint("http://one.test/")
            .env("PORT", port)
            .finish();
        assert_eq!(done.status, Some(1), "{done:?}");
        let last = done.stderr.lines().last().expect("a line on stderr");
        assert!(last.contains(&part), "{last:?} names {part}");
    }
    drop(held);
}

#[test]
fn an_open_public_bind_is_refused_with_the_way_out() {
    for setup in [
        Setup::new()
            .endpoint("http://one.test/")
            .env("HOST", "0.0.0.0"),
        Setup::new()
            .endpoint("http://one.test/")
            .set("listen", "0.0.0.0:0"),
        Setup::new()
            .endpoint("http://one.test/")
            .env("HOST", "0.0.0.0")
            .set("allowAnonymous", false),
    ] {
        let done = setup.finish();
        assert_eq!(done.status, Some(1), "{done:?}");
        let line = done.stderr.lines().last().expect("a line on stderr");
        assert!(
            line.contains("clientTokens") && line.contains("allowAnonymous"),
            "{line}"
        );
    }
}

#[test]
fn a_public_bind_with_tokens_is_done_with_a_warning() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up])
        .env("HOST", "0.0.0.0")
        .set("clientTokens", json!(["secret"]))
        .start();
    let line = balancer.logged(&["unencrypted"]);
    assert!(line.contains("WARN"), "{line}");
    assert!(line.contains("TLS"), "{line}");
}

#[test]
fn a_public_bind_may_be_anonymous_where_the_file_says_so() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up])
        .env("HOST", "0.0.0.0")
        .set("allowAnonymous", true)
        .start();
    let port = balancer.address.port();
    let local = ([127, 0, 0, 1], port).into();
    assert_eq!(Client::connect(local).ask(&Request::message()).status, 200);
}

#[test]
fn the_log_level_comes_from_the_environment() {
    let up = Upstream::always(ok("{}"));
    let lines = |level: &str| {
        let host = loopback();
        let folder = Folder::new();
        let mut command = command(&folder);
        // Which web pages may call is said, so there is nothing to warn of.
        let setup = balance(&[&up]).set("allowedOrigins", json!([]));
        let file = folder.write("endpoints.json", &setup.json().to_string());
        command
            .env("LOG_LEVEL", level)
            .env("HOST", host.to_string())
            .env("PORT", "13255")
            .arg("-c")
            .arg(file);
        let mut balancer = Balancer::launch(command, folder);
        balancer.address = (host, 13255).into();
        eventually("it listens", || TcpStream::connect(balancer.address).ok());
        assert_eq!(balancer.ask().status, 200);
        balancer.signal(Signal::SIGTERM);
        assert_eq!(balancer.exit().code(), Some(0));
        balancer.log()
    };
    for level in ["error", "warn"] {
        assert_eq!(
            lines(level),
            Vec::<String>::new(),
            "nothing to say at {level}"
        );
    }
    let info = lines("info");
    assert!(
        info.iter().any(|l| l.contains("listening on http://")),
        "{info:?}"
    );
    assert!(info.iter().all(|l| !l.contains(" DEBUG ")), "{info:?}");
    let debug = lines("debug");
    assert!(debug.len() >= info.len(), "{debug:?}");
}

#[test]
fn the_demo_needs_nothing_but_the_binary() {
    let folder = Folder::new();
    let mut command = command(&folder);
    command.arg("--demo");
    let demo = Balancer::run(command, folder);
    let message =
        r#"{"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}"#;
    let names: Vec<String> = (0..2)
        .map(|_| demo.post("/v1/messages", message).served_by().to_owned())
        .collect();
    assert_ne!(names[0], names[1], "it balances over two endpoints");
    let answer = demo.post("/v1/messages", message);
    assert_eq!(
        (answer.status, answer.json()["type"].clone()),
        (200, json!("message"))
    );
    assert!(
        answer.json()["content"][0]["text"].is_string(),
        "{}",
        answer.text()
    );
    assert!(demo.post("/v1/messages/count_tokens", message).json()["input_tokens"].is_u64());
    assert!(demo.get("/v1/models").json()["data"].is_array());
    let curls = || {
        demo.printed()
            .iter()
            .chain(&demo.log())
            .filter(|l| l.contains("curl "))
            .count()
    };
    eventually("four curl lines to try", || (curls() == 4).then_some(()));
}

#[test]
fn the_demo_shows_failover_to_who_asks_for_it() {
    let folder = Folder::new();
    let mut command = command(&folder);
    command.arg("--demo");
    let demo = Balancer::run(command, folder);
    let line = eventually("a line that makes one fail", || {
        demo.printed()
            .into_iter()
            .find(|line| line.ends_with("/fail"))
    });
    let fake = line
        .split("http://")
        .nth(1)
        .and_then(|rest| rest.strip_suffix("/fail"));
    let fake = fake.expect("an address").parse().expect("an address");
    let told = Client::connect(fake).ask(&Request::new("POST", "/fail"));
    assert_eq!(told.json()["endpoint"], "demo-1");
    let message =
        r#"{"model": "claude", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]}"#;
    for _ in 0..4 {
        let answer = demo.post("/v1/messages", message);
        assert_eq!((answer.status, answer.served_by()), (200, "demo-2"));
    }
    assert_ne!(demo.endpoint(0)["failures"], 0);
}

#[test]
fn the_demo_streams_the_documented_events() {
    let folder = Folder::new();
    let mut command = command(&folder);
    command.arg("--demo");
    let demo = Balancer::run(command, folder);
    let body = r#"{"model": "claude", "max_tokens": 9, "stream": true, "messages": [{"role": "user", "content": "hi"}]}"#;
    let answer = demo.post("/v1/messages", body);
    let all = answer.events().join("");
    for kind in [
        "message_start",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
    ] {
        assert!(all.contains(&format!("event: {kind}\n")), "{kind} in {all}");
    }
    assert!(
        answer
            .events()
            .last()
            .expect("an event")
            .starts_with("event: message_stop\n"),
        "{all}"
    );
}

#[test]
fn a_probe_says_how_each_endpoint_is() {
    let well = Upstream::always(ok(r#"{"data":[]}"#));
    let refusing = Upstream::always(api_error(401, "authentication_error", "no"));
    let gone = Refusing::new();
    let page = Upstream::always(ok("<html>hello</html>"));
    let endpoint = |name: &str, url: String| json!({ "name": name, "baseURL": url, "authToken": "token-secret" });
    let all = json!([
        endpoint("well", well.url()),
        endpoint("refusing", refusing.url()),
        endpoint("gone", gone.url()),
        endpoint("page", page.url()),
        endpoint("slip", well.url().replace("http://", "https://"))
    ]);
    let folder = Folder::new();
    let probe = |file: &Value| {
        let mut command = command(&folder);
        command
            .args(["--check", "--probe", "-c"])
            .arg(folder.write("my.json", &file.to_string()));
        finish(command)
    };
    let done = probe(&all);
    assert_eq!(done.status, Some(1), "{done:?}");
    for line in [
        "ok     well: ",
        "FAILED refusing: GET v1/models: 401",
        "FAILED gone: 127.0.0.1:",
        "FAILED page: GET v1/models: 200 OK, but HTML instead of a list of models",
        "FAILED slip: ",
        &format!("but {} works", well.url()),
    ] {
        assert!(done.stdout.contains(line), "{line} in {}", done.stdout);
    }
    assert!(!done.stdout.contains("token-secret") && !done.stderr.contains("token-secret"));
    let mut tokens: Vec<_> = well
        .requests()
        .iter()
        .filter_map(|request| request.head.get("x-api-key").map(str::to_owned))
        .collect();
    tokens.sort();
    // What was meant to be encrypted is not sent in the clear.
    assert_eq!(tokens, ["probe", "token-secret"]);
    let done = probe(&json!([endpoint("well", well.url())]));
    assert_eq!(done.status, Some(0), "{done:?}");
    assert_eq!(run(&["--probe"]).status, Some(2));
}

/// Whether it ends by itself with so many descriptors; then it must say why.
fn ends_with(descriptors: u32) -> bool {
    let folder = Folder::new();
    let file = folder.write("endpoints.json", ONE);
    let mut shell = program(Path::new("sh"), &folder);
    let script = "ulimit -n $0 && exec \"$@\"";
    let number = descriptors.to_string();
    shell.args(["-c", script, &number, BINARY, "-c"]).arg(&file);
    let mut balancer = Balancer::launch(shell, folder);
    let ends = eventually("it listens or ends", || {
        let is_running = balancer.is_running();
        let log = balancer.log();
        let listens = log.iter().any(|line| line.contains("listening on"));
        (listens || !is_running).then_some(!listens)
    });
    if ends {
        assert_eq!(balancer.exit().code(), Some(1), "{descriptors} descriptors");
        balancer.logged(&["claude-loadbalancer: "]);
    }
    ends
}

/// What cannot be had at the start is said, and never waited for.
#[test]
fn with_too_few_descriptors_it_says_so() {
    let ends: Vec<bool> = thread::scope(|scope| {
        let runs: Vec<_> = (6..24).map(|n| scope.spawn(move || ends_with(n))).collect();
        let ends = runs.into_iter().map(|run| run.join().expect("an end"));
        ends.collect()
    });
    assert!(ends[0], "six are too few");
    assert!(!ends[ends.len() - 1], "these are enough");
}

#[test]
fn an_output_that_is_full_or_gone_is_no_panic() {
    let folder = Folder::new();
    let file = folder.write("endpoints.json", ONE);
    let file = file.to_str().expect("text");
    let run = |redirected: &str, arguments: &[&str]| {
        let mut shell = program(Path::new("sh"), &folder);
        let script = format!("\"$0\" \"$@\" {redirected}");
        shell.args(["-c", &script, BINARY]).args(arguments);
        finish(shell)
    };
    for arguments in [&["--help"][..], &["--version"], &["-c", file, "--check"]] {
        let full = run(">/dev/full", arguments);
        assert_eq!(full.status, Some(1), "{arguments:?}: {full:?}");
        assert!(
            one_line(&full.stderr).contains("standard output"),
            "{full:?}"
        );
        // The reader ends before anything is written.
        let gone = run("| true; exit 0", arguments);
        assert_eq!(gone.stderr, "", "{arguments:?}");
    }
    assert_eq!(run("2>/dev/full", &["-c", "nowhere.json"]).status, Some(1));
    assert_eq!(run("2>/dev/full", &["--nonsense"]).status, Some(2));
}

#[test]
fn the_demo_serves_where_its_hints_cannot_be_printed() {
    let folder = Folder::new();
    let mut shell = program(Path::new("sh"), &folder);
    shell.args(["-c", "exec \"$0\" --demo >/dev/full", BINARY]);
    let demo = Balancer::run(shell, folder);
    assert_eq!(demo.get("/v1/models").status, 200);
}

#[test]
fn a_probe_asks_all_at_once() {
    let (slow, quick) = (Upstream::by_hand(), Upstream::by_hand());
    let setup = balance(&[&slow, &quick]);
    let folder = Folder::new();
    let mut command = command(&folder);
    command
        .args(["--check", "--probe", "-c"])
        .arg(folder.write("my.json", &setup.json().to_string()));
    let probe = thread::spawn(move || finish(command));
    // Both are asked before either has answered.
    let (first, second) = (slow.call(), quick.call());
    second.answer(ok(r#"{"data":[]}"#));
    first.answer(ok(r#"{"data":[]}"#));
    let done = probe.join().expect("the probe ends");
    assert_eq!(done.status, Some(0), "{done:?}");
    for name in ["one", "two"] {
        let line = format!("ok     {name}: GET v1/models: 200 OK");
        assert!(done.stdout.contains(&line), "{}", done.stdout);
    }
}

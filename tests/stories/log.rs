//! The log: one line an event, the same fields in the same order, and never in the way of serving.

use std::process::Stdio;

use crate::common::balancer::BINARY;
use crate::common::prelude::*;

const FIELDS: [&str; 15] = [
    "method",
    "path",
    "status",
    "endpoint",
    "tokens_in",
    "tokens_out",
    "tokens_cache_read",
    "attempts",
    "why",
    "first_byte_ms",
    "total_ms",
    "bytes_out",
    "stream",
    "request_id",
    "upstream_request_id",
];

fn keys(line: &str) -> Vec<&str> {
    let known = |word: &&str| FIELDS.contains(word);
    line.split_whitespace()
        .filter_map(|word| word.split_once('='))
        .map(|(key, _)| key)
        .filter(known)
        .collect()
}

fn requests(balancer: &Balancer, n: usize) -> Vec<String> {
    let is_request = |line: &&String| line.contains(" request ") && line.contains("method=");
    eventually(&format!("{n} request lines"), || {
        let lines: Vec<String> = balancer.log().iter().filter(is_request).cloned().collect();
        (lines.len() >= n).then_some(lines)
    })
}

#[test]
fn a_request_is_one_line_with_its_facts() {
    let up = Upstream::script([
        ok("12345").header("request-id", "req_up_1"),
        stream(&events::message("x")),
    ]);
    let balancer = balance(&[&up]).start();
    balancer.post("/v1/messages?beta=true", "{}");
    // A line is written when its answer has ended, which the client may know a moment before.
    requests(&balancer, 1);
    balancer.ask();
    let lines = requests(&balancer, 2);
    for fact in [
        "method=POST",
        "path=/v1/messages",
        "status=200",
        "endpoint=one",
        "attempts=1",
        "stream=false",
        "upstream_request_id=req_up_1",
    ] {
        assert!(lines[0].contains(fact), "{fact} in {}", lines[0]);
    }
    assert!(lines[1].contains("stream=true"), "{}", lines[1]);
    assert_eq!(keys(&lines[1]), FIELDS);
    let without_tokens = |key: &&&str| !key.starts_with("tokens");
    let expected: Vec<&str> = FIELDS.iter().filter(without_tokens).copied().collect();
    assert_eq!(keys(&lines[0]), expected, "it names no tokens");
    let (time, rest) = lines[0].split_once(' ').expect("a time first");
    assert!(
        time.len() == 24 && time.ends_with('Z') && &time[10..11] == "T",
        "{time}"
    );
    assert!(rest.trim_start().starts_with("INFO"), "{rest}");
}

#[test]
fn an_error_of_ours_is_logged_with_the_id_that_the_client_got() {
    let up = Upstream::always(hang_up());
    let balancer = balance(&[&up]).start();
    let id = balancer
        .ask()
        .header("request-id")
        .expect("an id")
        .to_owned();
    let line = balancer.logged(&["method=POST", &id]);
    assert!(line.contains("status=500"), "{line}");
}

#[test]
fn a_failover_and_a_rest_are_logged_with_their_cause() {
    let (a, b) = (
        Upstream::script([status(429).header("retry-after", "60")]),
        Upstream::always(ok("{}")),
    );
    let balancer = balance(&[&a, &b]).start();
    balancer.ask();
    let line = requests(&balancer, 1).remove(0);
    assert!(
        line.contains("endpoint=two") && line.contains("attempts=2"),
        "{line}"
    );
    let cause = balancer
        .log()
        .into_iter()
        .filter(|l| l.contains("429") && l.contains("one") && !l.contains("method="))
        .count();
    assert!(cause >= 1, "{:?}", balancer.log());
}

#[test]
fn a_refused_credential_is_an_error_line() {
    for code in [401, 403] {
        let (a, b) = (Upstream::script([status(code)]), Upstream::always(ok("{}")));
        let balancer = balance(&[&a, &b]).start();
        balancer.ask();
        let line = balancer.logged(&["ERROR", "one", &code.to_string()]);
        assert!(!line.contains("token-one"), "{line}");
    }
}

#[test]
fn no_body_is_logged() {
    let up = Upstream::script([
        ok("the answer's words"),
        api_error(400, "invalid_request_error", "the answer's words"),
    ]);
    let balancer = balance(&[&up]).env("LOG_LEVEL", "debug").start();
    for _ in 0..2 {
        balancer.post("/v1/messages", "the question's words");
    }
    requests(&balancer, 2);
    assert!(
        balancer.log().iter().all(|l| !l.contains("words")),
        "{:?}",
        balancer.log()
    );
}

#[test]
fn a_path_cannot_forge_a_line() {
    let up = Upstream::always(status(400).header("request-id", "a b=c\u{e9}"));
    let balancer = balance(&[&up]).start();
    balancer.get("/v1/x%0astatus=200%20forged");
    balancer.get("/v1/x\"y=z");
    let lines = requests(&balancer, 1);
    assert_eq!(
        keys(&lines[0])[..3],
        ["method", "path", "status"],
        "{}",
        lines[0]
    );
    assert!(
        balancer.log().iter().all(|l| l.starts_with("20")),
        "every line begins with its time: {:?}",
        balancer.log()
    );
}

#[test]
fn json_lines_hold_the_same_fields() {
    let up = Upstream::always(ok("12345"));
    let balancer = balance(&[&up]).env("LOG_FORMAT", "json").start();
    balancer.ask();
    let line = balancer.logged(&["\"method\""]);
    let json: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!(
        (&json["level"], &json["message"], &json["method"]),
        (&json!("info"), &json!("request"), &json!("POST"))
    );
    assert_eq!(
        (&json["status"], &json["endpoint"], &json["stream"]),
        (&json!(200), &json!("one"), &json!(false))
    );
    assert!(json["time"].as_str().expect("a time").ends_with('Z'));
    for line in balancer.log() {
        assert!(serde_json::from_str::<Value>(&line).is_ok(), "{line}");
    }
}

#[test]
fn a_closed_pipe_under_stderr_stops_nothing() {
    let up = Upstream::always(ok("{}"));
    // Nothing to warn of, so that the first line is the ready one.
    let setup = balance(&[&up]).set("allowedOrigins", json!([]));
    let folder = Folder::new();
    let file = folder.write("endpoints.json", &setup.json().to_string());
    // A shell whose stderr is a reader that ends when we are ready.
    let script = r#"exec "$0" -c "$1" 2> >(while read -r line && echo "$line" >&3 && [[ $line != *listening* ]]; do :; done; exec 3>&-) 3>&1"#;
    let mut command = std::process::Command::new("bash");
    command
        .args(["-c", &format!("exec 3>&1; {script}"), BINARY])
        .arg(file)
        .env("PORT", "0")
        .stdin(Stdio::null());
    let mut balancer = Balancer::launch(command, folder);
    let line = eventually("the ready line", || {
        balancer
            .printed()
            .into_iter()
            .find(|l| l.contains("listening on"))
    });
    balancer.address = line
        .split_once("http://")
        .expect("an address")
        .1
        .trim()
        .parse()
        .expect("an address");
    for _ in 0..50 {
        assert_eq!(balancer.ask().status, 200);
    }
    assert!(balancer.is_running());
}

#[test]
fn the_endpoint_is_named_where_it_kept_the_client_waiting() {
    let up = Upstream::script([by_hand(), by_hand()]);
    let balancer = balance(&[&up]).set("responseSeconds", 1).start();
    let (mut client, _call, _) = balancer.reach(&up);
    assert_eq!(client.answer().status, 408);
    let line = balancer.logged(&["method=POST", "status=408"]);
    assert!(line.contains("endpoint=one"), "{line}");

    let (client, _call, _) = balancer.reach(&up);
    drop(client);
    let line = balancer.logged(&["method=POST", "status=499"]);
    assert!(!line.contains("first_byte_ms"), "none came: {line}");
    assert!(line.contains("endpoint=one"), "{line}");
}

#[test]
fn an_attempt_that_failed_names_its_request() {
    let (a, b) = (Upstream::script([status(503)]), Upstream::always(ok("{}")));
    let balancer = balance(&[&a, &b]).start();
    balancer.ask();
    let line = balancer.logged(&["an attempt failed"]);
    let (_, id) = line.split_once("request_id=").expect("an id");
    let id = id.split(' ').next().expect("an id");
    balancer.logged(&["method=POST", "attempts=2", id]);
}

#[test]
fn a_line_says_why_its_endpoint_was_asked() {
    let (a, b) = (Upstream::always(ok("{}")), Upstream::script([status(503)]));
    let balancer = balance(&[&a, &b]).set("failures", 1).start();
    let mut count = 0;
    let mut told = |request: &Request, why: &str| {
        balancer.send(request);
        count += 1;
        let line = requests(&balancer, count).remove(count - 1);
        assert!(line.contains(&format!(" why={why} ")), "{why}: {line}");
    };
    let message = Request::message();
    told(&message, "turn");
    told(&message, "failover");
    let session = message.clone().header("x-claude-code-session-id", "s");
    told(&session, "conversation");
    told(&Request::new("GET", "/v1/files"), "account");
    // Now both are on cooldown.
    a.then(status(503));
    told(&message, "last_resort");
}

#[test]
fn who_looks_at_us_is_no_line_but_for_who_looks_closely() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up]).start();
    let closely = balance(&[&up]).env("LOG_LEVEL", "debug").start();
    for balancer in [&balancer, &closely] {
        for path in ["/", "/health", "/metrics"] {
            assert_eq!(balancer.get(path).status, 200);
        }
        assert_eq!(balancer.send(&Request::new("HEAD", "/")).status, 200);
        balancer.get("/nowhere");
        balancer.logged(&["method=GET", "path=/nowhere", "status=404"]);
    }
    assert_eq!(requests(&balancer, 1).len(), 1, "{:?}", balancer.log());
    let lines = requests(&closely, 5);
    assert!(lines[..4].iter().all(|line| line.contains(" DEBUG ")));
    assert!(lines[3].contains("bytes_out=0 "), "{}", lines[3]);
}

#[test]
fn strangers_cannot_fill_the_log() {
    let up = Upstream::always(ok("{}"));
    let balancer = balance(&[&up])
        .set("clientTokens", json!(["secret"]))
        .start();
    let path = format!("/v1/{}", "x".repeat(20_000));
    for _ in 0..100 {
        assert_eq!(balancer.get(&path).status, 401);
    }
    let told = balancer.logged(&["lines of refused requests were left out", "lines="]);
    assert!(told.contains("WARN"), "{told}");
    let lines = requests(&balancer, 20);
    assert!(lines.len() < 60, "{} lines", lines.len());
    assert!(
        lines
            .iter()
            .all(|line| line.len() <= 4096 && line.contains("status=401"))
    );
}

#[test]
fn the_journal_gets_a_priority_and_no_time() {
    use std::os::unix::fs::MetadataExt;
    let up = Upstream::always(ok("{}"));
    let folder = Folder::new();
    let config = folder.write("endpoints.json", &balance(&[&up]).json().to_string());
    let path = folder.write("log", "");
    let file = std::fs::File::create(&path).expect("a file");
    let found = file.metadata().expect("its facts");
    let mut command = crate::common::balancer::command(&folder);
    command
        .arg("-c")
        .arg(config)
        .env("JOURNAL_STREAM", format!("{}:{}", found.dev(), found.ino()))
        .stderr(file);
    let mut child = command.spawn().expect("the binary");
    let text = eventually("the ready line", || {
        let text = std::fs::read_to_string(&path).expect("the log");
        text.contains("listening on").then_some(text)
    });
    child.kill().expect("it runs");
    let _ = child.wait();
    assert!(text.contains("<6>INFO  listening on"), "{text}");
    assert!(
        text.lines().all(|line| {
            ["<6>INFO  ", "<4>WARN  "]
                .iter()
                .any(|head| line.starts_with(head))
        }),
        "{text}"
    );
}

#[test]
fn an_outage_is_a_line_for_each_cause_and_not_one_for_each_attempt() {
    let answers = [
        status(529),
        status(529),
        status(529),
        status(503),
        status(529),
        ok("{}"),
    ];
    let (a, b) = (Upstream::script(answers), Upstream::always(ok("{}")));
    let balancer = balance(&[&a, &b]).set("cooldownSeconds", 0).start();
    (0..12).for_each(|_| assert_eq!(balancer.ask().status, 200));
    requests(&balancer, 12);
    let is_told = |line: &&String| line.contains("fail") && line.contains("endpoint=one");
    let lines: Vec<String> = balancer.log().iter().filter(is_told).cloned().collect();
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(lines[0].contains("cause=overloaded"), "{lines:?}");
    assert!(lines[1].contains("cause=\"server error\""), "{lines:?}");
}

#[test]
fn an_endpoints_words_are_short_and_hold_no_token_of_it() {
    let id = format!("req_token-one_{}", "x".repeat(1000));
    let error = api_error(
        529,
        "overloaded_error",
        &format!("token-two {}", "y".repeat(1000)),
    );
    let ups = [
        Upstream::always(ok("{}").header("request-id", &id)),
        Upstream::always(error),
    ];
    let balancer = balance(&[&ups[0], &ups[1]]).start();
    balancer.ask();
    balancer.ask();
    let line = requests(&balancer, 1).remove(0);
    assert!(line.contains("upstream_request_id=\"req_***_xxx"), "{line}");
    let failed = balancer.logged(&["an attempt failed", "overloaded"]);
    for line in [line, failed] {
        assert!(!line.contains("token-") && line.len() < 600, "{line}");
    }
    let request = Request::new("GET", "/").header("accept", "application/json");
    let events = balancer.send(&request).json()["events"].to_string();
    assert!(events.contains("yyy") && events.len() < 600, "{events}");
}

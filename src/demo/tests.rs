//! The demo's endpoints, over their sockets: what they answer, and to whom.

use super::message::PACE;
use super::*;

const HELLO: &str =
    r#"{"model":"claude-x","max_tokens":100,"messages":[{"role":"user","content":"Hi there"}]}"#;

/// Sends a request on a connection that is kept, and reads the answer to its end: head and body.
fn ask(client: &mut TcpStream, line: &str, token: &str, body: &str) -> (String, String) {
    let length = body.len();
    let head = format!(
        "{line} HTTP/1.1\r\nhost: x\r\nx-api-key: {token}\r\ncontent-length: {length}\r\n\r\n"
    );
    client
        .write_all(format!("{head}{body}").as_bytes())
        .expect("sent");
    client
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("a limit");
    let mut answer = String::new();
    loop {
        let mut piece = [0; 4096];
        let size = client.read(&mut piece).expect("an answer");
        assert!(size > 0, "closed after {answer:?}");
        answer.push_str(std::str::from_utf8(&piece[..size]).expect("text"));
        let Some((head, body)) = answer.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let is_whole = match length {
            Some(length) => line.starts_with("HEAD") || length.parse() == Ok(body.len()),
            None => body.ends_with("\r\n0\r\n\r\n"),
        };
        if is_whole {
            return (head.to_owned(), body.to_owned());
        }
    }
}

fn connect(demo: &Demo, index: usize) -> TcpStream {
    TcpStream::connect(demo.addresses[index]).expect("a connection")
}

#[test]
fn answers() {
    let demo = Demo::start().expect("a demo");
    let mut client = connect(&demo, 0);
    let mut check = |line: &str, body: &str, status: &str, place: &str, expected: Value| {
        let (head, answer) = ask(&mut client, line, "demo-token-1", body);
        assert!(
            head.starts_with(&format!("HTTP/1.1 {status} ")),
            "{line}: {head}"
        );
        assert!(
            head.contains("request-id: req_demo-1_") && head.contains("x-demo-endpoint: demo-1"),
            "{head}"
        );
        let answer: Value = serde_json::from_str(&answer).expect("JSON");
        assert_eq!(answer.pointer(place), Some(&expected), "{line}: {answer}");
    };
    let short = HELLO.replace("100", "2");
    let blocks = HELLO.replace(
        "\"Hi there\"",
        r#"[{"type":"text","text":"a  b"},{"type":"image"}]"#,
    );
    let echo = |words: &str| {
        json!(format!(
            "Hello from demo-1. You wrote: \"{words}\". Nobody thought about it: this endpoint is part of the load \
                 balancer's demo, and no token was spent."
        ))
    };
    check(
        "POST /v1/messages?beta=true",
        HELLO,
        "200",
        "/content/0/text",
        echo("Hi there"),
    );
    check(
        "POST /v1/messages",
        &blocks,
        "200",
        "/content/0/text",
        echo("a b"),
    );
    check(
        "POST /v1/messages",
        HELLO,
        "200",
        "/model",
        json!("claude-x"),
    );
    check(
        "POST /v1/messages",
        HELLO,
        "200",
        "/stop_reason",
        json!("end_turn"),
    );
    check(
        "POST /v1/messages",
        &short,
        "200",
        "/content/0/text",
        json!("Hello from "),
    );
    check(
        "POST /v1/messages",
        &short,
        "200",
        "/stop_reason",
        json!("max_tokens"),
    );
    check(
        "POST /v1/messages",
        &short,
        "200",
        "/usage/output_tokens",
        json!(2),
    );
    check(
        "POST /v1/messages",
        "{",
        "400",
        "/error/type",
        json!("invalid_request_error"),
    );
    check(
        "POST /v1/messages",
        "{}",
        "400",
        "/error/message",
        json!("model: Field required"),
    );
    check(
        "POST /v1/messages",
        "[]",
        "400",
        "/error/message",
        json!("model: Field required"),
    );
    check(
        "POST /v1/messages/count_tokens",
        HELLO,
        "200",
        "/input_tokens",
        json!(HELLO.len().div_ceil(4)),
    );
    check(
        "POST /v1/messages/count_tokens",
        "{}",
        "400",
        "/type",
        json!("error"),
    );
    check(
        "GET /v1/models",
        "",
        "200",
        "/data/1/id",
        json!("claude-demo-small"),
    );
    check(
        "GET /v1/models/claude-demo-small",
        "",
        "200",
        "/display_name",
        json!("Claude Demo Small"),
    );
    check(
        "GET /v1/models/x",
        "",
        "404",
        "/error/type",
        json!("not_found_error"),
    );
    check(
        "GET /v1/messages",
        "",
        "404",
        "/error/type",
        json!("not_found_error"),
    );
    let (_, body) = ask(&mut client, "HEAD /v1/models", "demo-token-1", "");
    assert_eq!(body, "");
}

#[test]
fn a_stream_tells_the_same_word_by_word() {
    let demo = Demo::start().expect("a demo");
    let mut client = connect(&demo, 1);
    let start = Instant::now();
    let body =
        HELLO
            .replace('{', "{\"stream\":true,")
            .replacen("{\"stream\":true,\"role", "{\"role", 1);
    let (head, stream) = ask(&mut client, "POST /v1/messages", "demo-token-2", &body);
    assert!(head.contains("content-type: text/event-stream"), "{head}");
    let names: Vec<_> = stream
        .lines()
        .filter_map(|line| line.strip_prefix("event: "))
        .collect();
    let data = stream
        .lines()
        .filter_map(|line| line.strip_prefix("data: "));
    let data: Vec<Value> = data
        .map(|data| serde_json::from_str(data).expect("JSON"))
        .collect();
    assert!(stream.contains("data: {\"type\":\"ping\"}\n\n"), "{stream}");
    assert!(
        names
            .iter()
            .zip(&data)
            .all(|(name, data)| data["type"] == **name)
    );
    assert_eq!(
        names[..4],
        [
            "message_start",
            "content_block_start",
            "ping",
            "content_block_delta"
        ]
    );
    assert_eq!(
        names[names.len() - 3..],
        ["content_block_stop", "message_delta", "message_stop"]
    );
    let text: String = data
        .iter()
        .filter_map(|data| data["delta"]["text"].as_str())
        .collect();
    assert!(
        text.starts_with("Hello from demo-2. You wrote: \"Hi there\"."),
        "{text}"
    );
    let words = names.len() - 6;
    assert_eq!(data[data.len() - 2]["usage"]["output_tokens"], words);
    assert!(start.elapsed() >= PACE * u32::try_from(words).expect("few"));
    // The connection serves on.
    assert!(
        ask(&mut client, "GET /v1/models", "demo-token-2", "")
            .0
            .contains(" 200 ")
    );
}

#[test]
fn each_wants_its_own_token() {
    let demo = Demo::start().expect("a demo");
    for (index, endpoint) in demo.endpoints().iter().enumerate() {
        assert_eq!(
            endpoint.base_url,
            format!("http://{}/", demo.addresses[index]).as_str()
        );
        let mut client = connect(&demo, index);
        let (head, body) = ask(&mut client, "GET /v1/models", "client-token", "");
        assert!(
            head.contains(" 401 ") && body.contains("authentication_error"),
            "{head}{body}"
        );
        let (head, _) = ask(
            &mut client,
            "GET /v1/models",
            endpoint.auth_token.expose(),
            "",
        );
        assert!(head.contains(" 200 "), "{head}");
    }
}

#[test]
fn one_that_is_told_to_fails_and_the_other_does_not() {
    let demo = Demo::start().expect("a demo");
    let status = |index: usize, line: &str| {
        let token = FAKES[index].1;
        ask(&mut connect(&demo, index), line, token, HELLO).0[9..12].to_owned()
    };
    assert_eq!(status(0, "POST /v1/messages"), "200");
    assert_eq!(
        status(0, "GET /fail"),
        "404",
        "a page that is looked at changes nothing"
    );
    assert_eq!(status(0, "POST /fail"), "200");
    for line in ["POST /v1/messages", "GET /v1/models"] {
        assert_eq!(
            (status(0, line), status(1, line)),
            ("500".into(), "200".into())
        );
    }
}

#[test]
fn hints_are_the_page_and_four_commands() {
    let demo = Demo::start().expect("a demo");
    let hints = demo.hints("127.0.0.1:1");
    assert!(hints.contains(" http://127.0.0.1:1/\n"), "{hints}");
    let commands: Vec<_> = hints
        .lines()
        .filter(|line| line.starts_with("  curl "))
        .collect();
    assert_eq!(commands.len(), 4);
    for command in &commands[..2] {
        let body = command.split('\'').nth(1).expect("a body");
        assert!(question(body.as_bytes()).is_ok(), "{body}");
    }
}

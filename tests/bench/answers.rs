//! What the fake Claude API says, ready to be sent: a message, and an event stream piece by piece.

use std::rc::Rc;

/// A message whose JSON is this long.
pub fn message(bytes: usize) -> Rc<[u8]> {
    let before = r#"{"id":"msg_01","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[{"type":"text","text":""#;
    let after = r#""}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":18,"output_tokens":42}}"#;
    let text = "A few words. ".repeat(
        bytes
            .saturating_sub(before.len() + after.len())
            .div_ceil(13),
    );
    let text = &text[..bytes.saturating_sub(before.len() + after.len())];
    let head = format!(
        "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\ncontent-type: application/json\r\n\
         content-length: {}\r\nrequest-id: req_011CUbench\r\n\r\n",
        before.len() + text.len() + after.len()
    );
    format!("{head}{before}{text}{after}").into_bytes().into()
}

/// What comes before the first word, head included.
pub fn stream_begins() -> String {
    let events = concat!(
        "event: message_start\n",
        r#"data: {"type":"message_start","message":{"id":"msg_01","type":"message","role":"assistant","#,
        r#""model":"claude-sonnet-4-5","content":[],"stop_reason":null,"usage":{"input_tokens":18,"output_tokens":1}}}"#,
        "\n\nevent: content_block_start\n",
        r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        "\n\nevent: ping\ndata: {\"type\":\"ping\"}\n\n",
    );
    let head = "HTTP/1.1 200 OK\r\ndate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
                content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache\r\n\
                request-id: req_011CUbench\r\ntransfer-encoding: chunked\r\n\r\n";
    format!("{head}{}", chunk(events))
}

/// What comes after the last word.
pub fn stream_ends() -> String {
    let events = concat!(
        "event: content_block_stop\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n",
        "event: message_delta\n",
        r#"data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":42}}"#,
        "\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
    );
    format!("{}0\r\n\r\n", chunk(events))
}

/// An event of the usual size with the moment of its sending in it.
pub fn event(sent: u64) -> String {
    format!(
        "event: content_block_delta\ndata: {{\"type\":\"content_block_delta\",\"index\":0,\
         \"delta\":{{\"type\":\"text_delta\",\"text\":\"@{sent}@ and a few words more\"}}}}\n\n"
    )
}

pub fn chunk(text: &str) -> String {
    format!("{:x}\r\n{text}\r\n", text.len())
}

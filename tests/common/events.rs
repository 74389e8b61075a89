//! The events of a message stream, as the Claude API documents them.

use serde_json::{Value, json};

/// One event as it stands on the wire, up to its empty line.
pub fn event(data: &Value) -> String {
    let kind = data["type"].as_str().expect("an event has a type");
    format!("event: {kind}\ndata: {data}\n\n")
}

pub fn message_start() -> String {
    event(
        &json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant",
        "content": [], "model": "claude", "stop_reason": null, "usage": {"input_tokens": 7, "output_tokens": 1}}}),
    )
}

pub fn block_start() -> String {
    event(
        &json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
    )
}

pub fn ping() -> String {
    event(&json!({"type": "ping"}))
}

pub fn delta(text: &str) -> String {
    event(
        &json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}}),
    )
}

pub fn message_stop() -> String {
    event(&json!({"type": "message_stop"}))
}

pub fn overloaded() -> String {
    event(&json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}))
}

/// A whole message stream that says `text`.
pub fn message(text: &str) -> Vec<String> {
    let block_stop = event(&json!({"type": "content_block_stop", "index": 0}));
    let message_delta = event(
        &json!({"type": "message_delta", "delta": {"stop_reason": "end_turn"},
        "usage": {"output_tokens": 9}}),
    );
    vec![
        message_start(),
        block_start(),
        ping(),
        delta(text),
        block_stop,
        message_delta,
        message_stop(),
    ]
}

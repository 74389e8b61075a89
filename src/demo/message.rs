//! What the fakes say: the answer to a question, whole or word by word.

use std::io::{self, Write};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

/// Between two words of a stream: about as fast as a model writes.
pub const PACE: Duration = Duration::from_millis(30);

/// Words of the question that come back in the answer.
const MAX_ECHO: usize = 20;

/// An answer to a question, with what it takes to tell it in either way.
pub struct Message {
    id: String,
    model: String,
    words: Vec<String>,
    input_tokens: usize,
    stop_reason: &'static str,
    pub is_stream: bool,
}

impl Message {
    /// The answer to a request's body, or what is wrong with that.
    pub fn new(name: &str, body: &[u8], number: u64) -> Result<Message, String> {
        let asked = question(body)?;
        let Some(max_tokens) = asked["max_tokens"].as_u64().filter(|max| *max > 0) else {
            return Err("max_tokens: Field required".into());
        };
        let text = last_text(&asked);
        let echo: Vec<_> = text.split_whitespace().take(MAX_ECHO).collect();
        let text = format!(
            "Hello from {name}. You wrote: \"{}\". Nobody thought about it: this endpoint is part of the load balancer's \
             demo, and no token was spent.",
            echo.join(" ")
        );
        let mut words: Vec<_> = text.split_inclusive(' ').map(str::to_owned).collect();
        let is_cut = words.len() as u64 > max_tokens;
        words.truncate(max_tokens.try_into().unwrap_or(usize::MAX));
        Ok(Message {
            id: format!("msg_{name}_{number}"),
            model: asked["model"].as_str().unwrap_or_default().to_owned(),
            words,
            input_tokens: tokens(body),
            stop_reason: if is_cut { "max_tokens" } else { "end_turn" },
            is_stream: asked["stream"] == true,
        })
    }

    /// As one JSON object.
    pub fn whole(&self) -> Value {
        let text = self.words.concat();
        self.object(
            json!([{ "type": "text", "text": text }]),
            json!(self.stop_reason),
            self.words.len(),
        )
    }

    fn object(&self, content: Value, stop_reason: Value, output_tokens: usize) -> Value {
        json!({
            "id": self.id,
            "type": "message",
            "role": "assistant",
            "model": self.model,
            "content": content,
            "stop_reason": stop_reason,
            "stop_sequence": null,
            "usage": {
                "input_tokens": self.input_tokens,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 0,
                "output_tokens": output_tokens,
                "service_tier": "standard",
            },
        })
    }

    /// As events, a word each, at a human pace.
    pub fn stream(&self, client: &mut TcpStream) -> io::Result<()> {
        let mut send = |name: &str, fields: Value| {
            let event = event(name, &fields);
            client.write_all(format!("{:x}\r\n{event}\r\n", event.len()).as_bytes())
        };
        send(
            "message_start",
            json!({ "message": self.object(json!([]), Value::Null, 1) }),
        )?;
        send(
            "content_block_start",
            json!({ "index": 0, "content_block": { "type": "text", "text": "" } }),
        )?;
        send("ping", json!({}))?;
        for word in &self.words {
            thread::sleep(PACE);
            send(
                "content_block_delta",
                json!({ "index": 0, "delta": { "type": "text_delta", "text": word } }),
            )?;
        }
        send("content_block_stop", json!({ "index": 0 }))?;
        let delta = json!({ "stop_reason": self.stop_reason, "stop_sequence": null });
        send(
            "message_delta",
            json!({ "delta": delta, "usage": { "output_tokens": self.words.len() } }),
        )?;
        send("message_stop", json!({}))?;
        client.write_all(b"0\r\n\r\n")
    }
}

/// An event with its type first in its data, as the API writes it.
fn event(name: &str, fields: &Value) -> String {
    let fields = fields.to_string();
    let rest = if fields == "{}" {
        "}".to_owned()
    } else {
        format!(",{}", &fields[1..])
    };
    format!("event: {name}\ndata: {{\"type\":\"{name}\"{rest}\n\n")
}

/// The object that a request asks with, or the API's words for what it lacks.
pub fn question(body: &[u8]) -> Result<Value, String> {
    let asked: Value = serde_json::from_slice(body)
        .map_err(|err| format!("The request body is not valid JSON: {err}"))?;
    if !asked["model"].is_string() {
        return Err("model: Field required".into());
    }
    match asked["messages"].as_array() {
        None => Err("messages: Field required".into()),
        Some(messages) if messages.is_empty() => {
            Err("messages: at least one message is required".into())
        }
        Some(_) => Ok(asked),
    }
}

/// The text that the question ends with.
fn last_text(asked: &Value) -> String {
    let content = asked["messages"]
        .as_array()
        .and_then(|messages| messages.last())
        .map(|last| &last["content"]);
    match content {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Array(blocks)) => blocks
            .iter()
            .rev()
            .find_map(|block| block["text"].as_str())
            .unwrap_or_default()
            .into(),
        _ => String::new(),
    }
}

/// A rule of thumb: a token is four bytes.
pub fn tokens(body: &[u8]) -> usize {
    body.len().div_ceil(4)
}

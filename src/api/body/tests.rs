//! What bodies say, beside what serde_json reads in them.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const ALL: Wants = Wants {
    model: true,
    conversation: true,
    files: true,
};

fn seen(body: &str) -> Seen {
    look(body.as_bytes(), ALL, "client-1")
}

fn conversation(body: &Value) -> Option<u64> {
    seen(&body.to_string()).conversation
}

#[track_caller]
fn check_model(body: &str, expected: Option<&str>) {
    let model = seen(body).model;
    assert_eq!(model.as_ref().map(|model| &*model.name), expected, "{body}");
    if let Some(model) = model {
        let other = with_model(body.as_bytes(), &model.at, "other \"one\"");
        let mut value: Value = serde_json::from_slice(&other).expect("still JSON");
        assert_eq!(value["model"], "other \"one\"");
        value["model"] = json!(model.name);
        assert_eq!(value, serde_json::from_str::<Value>(body).expect("JSON"));
    }
}

#[test]
fn models() {
    check_model(r#"{"model":"claude-x","messages":[]}"#, Some("claude-x"));
    check_model("{ \"max_tokens\" : 1 ,\n\"model\" :\t\"a\" }", Some("a"));
    check_model(
        r#"{"messages":[{"role":"user","content":"\"model\":\"no\"","model":"no"}],"model":"yes"}"#,
        Some("yes"),
    );
    check_model(r#"{"m\u006fdel":"a\u002db"}"#, Some("a-b"));
    check_model(r#"{"model":7}"#, None);
    check_model(r#"{"messages":[]}"#, None);
    check_model(r#"{}"#, None);
    check_model(r#"["model","a"]"#, None);
    for no_json in ["", "model=a", "{\"model\"", "{\"model\":\"a", "<model>"] {
        assert_eq!(seen(no_json).model, None, "{no_json}");
    }
    // What comes behind it is not looked at.
    let model = seen(r#"{"model":"a",###"#).model;
    assert_eq!(model.map(|model| model.name).as_deref(), Some("a"));
}

#[test]
fn files() {
    for (body, expected) in [
        (r#"{"source":{"type":"file","file_id":"file_011"}}"#, true),
        ("{\"file_id\" :\n \"file_011\"}", true),
        (r#"{"file_id":"other"}"#, false),
        (r#"{"text":"\"file_id\":\"file_011\""}"#, false),
        ("{}", false),
    ] {
        assert_eq!(seen(body).names_file, expected, "{body}");
    }
}

/// A conversation's body with so many turns, the mark at the last of them.
fn body(system: Value, first: &str, turns: usize) -> Value {
    let mut messages = vec![json!({"role": "user", "content": first})];
    for turn in 0..turns {
        messages.push(json!({"role": "assistant", "content": format!("answer {turn}")}));
        messages.push(
            json!({"role": "user", "content": [{"type": "text", "text": format!("turn {turn}")}]}),
        );
    }
    let last = messages.len() - 1;
    let text = match &messages[last]["content"] {
        Value::String(text) => text.clone(),
        blocks => blocks[0]["text"].as_str().expect("a text").to_owned(),
    };
    messages[last]["content"] =
        json!([{"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}]);
    json!({"model": "m", "system": system, "messages": messages})
}

#[test]
fn a_conversation_keeps_its_name_while_it_grows() {
    let name = conversation(&body(json!("Be kind."), "Hello", 0));
    assert!(name.is_some());
    for turns in 1..5 {
        assert_eq!(conversation(&body(json!("Be kind."), "Hello", turns)), name);
    }
    let blocks =
        json!([{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}]);
    assert_eq!(conversation(&body(blocks, "Hello", 2)), name);
    assert_ne!(conversation(&body(json!("Be kind."), "Hello!", 0)), name);
    assert_ne!(conversation(&body(json!("Be rude."), "Hello", 0)), name);
    let other_client = look(
        body(json!("Be kind."), "Hello", 0).to_string().as_bytes(),
        ALL,
        "client-2",
    );
    assert_ne!(other_client.conversation, name);
}

#[test]
fn the_order_of_keys_and_the_spelling_do_not_matter() {
    let one = r#"{"system":"a","messages":[{"role":"assistant","content":"x"},{"role":"user","content":"caf\u00e9 \ud83d\ude00\n"}],"x":{"cache_control":{}}}"#;
    let two = "{\"x\" : {\"cache_control\":{}}, \"messages\": [{\"content\":\"x\",\"role\":\"assistant\"},\
               {\"content\":[{\"text\":\"café 😀\\u000a\",\"type\":\"text\"}],\"role\":\"user\"}],\"system\":[{\"text\":\"a\"}]}";
    let name = seen(one).conversation;
    assert!(name.is_some());
    assert_eq!(seen(two).conversation, name);
}

#[test]
fn sessions() {
    let with = |user_id: &str| {
        let mut body = body(json!("s"), "first", 0);
        body["metadata"] = json!({ "user_id": user_id });
        conversation(&body)
    };
    let uuid = "6e1a7a3e-5d54-4d3a-8f1e-2f4c7f0f6f11";
    let new = json!({"device_id": "d", "account_uuid": "a", "session_id": uuid}).to_string();
    let old = format!("user_{}_account_{uuid}_session_{uuid}", "0".repeat(64));
    assert_eq!(with(&new), Some(hash(uuid.as_bytes())));
    assert_eq!(with(&old), with(&new));
    // A user's name is no conversation.
    for name in ["user-17", "acme_session_prod"] {
        assert_eq!(with(name), conversation(&body(json!("s"), "first", 0)));
    }
}

#[test]
fn without_prompt_caching_there_is_nothing_to_lose() {
    assert_eq!(
        seen(r#"{"system":"a","messages":[{"role":"user","content":"x"}]}"#).conversation,
        None
    );
    assert_eq!(
        seen(r#"{"cache_control":{},"messages":[{"role":"user","content":"x"}"#).conversation,
        None,
        "it is no JSON"
    );
    assert_eq!(
        seen(r#"{"cache_control":{},"messages":[{"role":"assistant","content":"x"}]}"#)
            .conversation,
        None,
        "nobody has said anything"
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-z\"\\\\\n é😀{}\\[\\],:]{0,12}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        let key = prop_oneof![
            Just("model".to_owned()),
            Just("text".to_owned()),
            Just("cache_control".to_owned()),
            "[a-z\"\\\\é]{0,4}"
        ];
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::btree_map(key, inner, 0..5)
                .prop_map(|map| Value::from_iter(map.into_iter().collect::<Vec<_>>())),
        ]
    })
}

proptest! {
    #[test]
    fn as_serde_json_reads_it(value in any_json(), pretty: bool) {
        let text = if pretty {
            serde_json::to_string_pretty(&value).expect("JSON")
        } else {
            value.to_string()
        };
        let mut scan = Scan::new(text.as_bytes());
        prop_assert_eq!(scan.skip(), Some(0..text.len()));
        let model = seen(&text).model.map(|model| model.name);
        prop_assert_eq!(model.as_deref(), value["model"].as_str());
    }

    #[test]
    fn any_bytes_are_looked_at(bytes: Vec<u8>) {
        let _ = look(&bytes, ALL, "");
        let mut object = b"{\"cache_control\":".to_vec();
        object.extend(bytes);
        let _ = look(&object, ALL, "");
    }

    #[test]
    fn a_texts_pieces_do_not_matter(text in prop::collection::vec(any::<u8>(), 0..80), cut in 0_usize..80) {
        let cut = cut.min(text.len());
        let (mut whole, mut pieces) = (Text::default(), Text::default());
        whole.bytes(&text);
        pieces.bytes(&text[..cut]);
        pieces.bytes(&text[cut..]);
        prop_assert_eq!(whole.finish(), pieces.finish());
    }
}

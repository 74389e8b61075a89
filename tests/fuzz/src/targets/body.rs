//! Input: a byte that says how to change the spelling, then a request's body.

use serde_json::Value;

use crate::api::body::{Seen, Wants, look, with_model};

const ALL: Wants = Wants {
    model: true,
    conversation: true,
    files: true,
};

pub fn body(data: &[u8]) {
    let Some((spelling, body)) = data.split_first() else {
        return;
    };
    let seen = look(body, ALL, "client");
    let Ok(value) = serde_json::from_slice::<Value>(body) else {
        return;
    };
    if !value.is_object() {
        assert_eq!(seen.model, None);
        assert_eq!(seen.conversation, None);
        return;
    }
    check_model(body, &value, &seen);
    // The same body in other words is the same conversation. What stands twice is read differently.
    if is_plain(body, &value) {
        let other = match spelling % 2 {
            0 => serde_json::to_vec_pretty(&value),
            _ => serde_json::to_vec(&value),
        };
        let again = look(&other.expect("JSON"), ALL, "client");
        assert_eq!(seen.conversation, again.conversation);
    }
}

fn check_model(body: &[u8], value: &Value, seen: &Seen) {
    let Some(model) = &seen.model else {
        return;
    };
    let changed = with_model(body, &model.at, "other");
    let changed: Value = serde_json::from_slice(&changed).expect("still JSON");
    let once = body.windows(7).filter(|window| *window == b"\"model\"").count() == 1;
    if once && value.get("model").is_some() {
        assert_eq!(value["model"], model.name.as_str());
        assert_eq!(changed["model"], "other");
        let mut back = changed;
        back["model"] = model.name.as_str().into();
        assert_eq!(&back, value);
    }
}

/// Whether no key stands twice in one object: as many keys as quotes and colons could make are left when it is read.
fn is_plain(body: &[u8], value: &Value) -> bool {
    fn keys(value: &Value) -> usize {
        match value {
            Value::Object(map) => map.len() + map.values().map(keys).sum::<usize>(),
            Value::Array(items) => items.iter().map(keys).sum(),
            _ => 0,
        }
    }
    // Escapes make one text of two spellings, and numbers out of range are written otherwise.
    let is_simple = !body.contains(&b'\\');
    let mut inside = false;
    let mut colons = 0;
    for &byte in body {
        match byte {
            b'"' => inside = !inside,
            b':' if !inside => colons += 1,
            _ => {}
        }
    }
    is_simple && colons == keys(value)
}

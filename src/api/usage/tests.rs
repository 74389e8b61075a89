//! Tokens found wherever the answer was cut, and none where there are none.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","content":[{"type":"text",
        "text":"a \"usage\": {\"input_tokens\": 1} \\"}, {"usage":{"input_tokens":2}}],
        "usage" : {"input_tokens":2095, "cache_creation_input_tokens":7,"cache_read_input_tokens":null,
        "cache_creation":{"ephemeral_5m_input_tokens":7}, "output_tokens":503,"service_tier":"}\""},
        "stop_reason":"end_turn"}"#;

fn usage(input: u64, output: u64, cache_read: u64, cache_write: u64) -> Option<Usage> {
    Some(Usage {
        input,
        output,
        cache_read,
        cache_write,
    })
}

fn read(pieces: &[&[u8]]) -> Option<Usage> {
    let mut body = BodyUsage::default();
    for piece in pieces {
        body.piece(piece);
        assert!(body.held.capacity() <= 2 * MAX_OBJECT, "memory is bounded");
    }
    body.usage()
}

#[test]
fn a_message_is_read_at_every_cut() {
    let body = MESSAGE.as_bytes();
    serde_json::from_slice::<Value>(body).expect("the sample is JSON");
    for cut in 0..=body.len() {
        let (one, two) = body.split_at(cut);
        assert_eq!(read(&[one, two]), usage(2095, 503, 0, 7), "cut at {cut}");
    }
    let bytes: Vec<_> = body.chunks(1).collect();
    assert_eq!(read(&bytes), usage(2095, 503, 0, 7));
}

#[test]
fn a_truncated_body_gives_nothing() {
    let body = MESSAGE.as_bytes();
    for end in 0..body.len() {
        assert_eq!(read(&[&body[..end]]), None, "cut at {end}");
    }
}

#[test]
fn bodies() {
    fn check(body: &str, expected: Option<Usage>) {
        assert_eq!(read(&[body.as_bytes()]), expected, "{body}");
    }
    check(r#"{"usage":{"output_tokens":3}}"#, usage(0, 3, 0, 0));
    check(r#" {"usage":{}} "#, usage(0, 0, 0, 0));
    check(r#"{"a":"usage","b":{"usage":{"output_tokens":3}}}"#, None);
    check(r#"{"xusage":{"output_tokens":3}}"#, None);
    check(r#"{"usagex":{"output_tokens":3}}"#, None);
    check(r#"{"usag\"e":{"output_tokens":3}}"#, None);
    check(r#"{"usage":"{","b":{"output_tokens":3}}"#, None);
    check(r#"{"usage":[{"output_tokens":3}]}"#, None);
    check(r#"{"usage":null,"b":{"output_tokens":3}}"#, None);
    check(r#"{"usage":{"output_tokens":"three"}}"#, None);
    check(r#"{"usage":{"output_tokens":-3}}"#, None);
    check(r#"[{"usage":{"output_tokens":3}}]"#, None);
    check(r#"["usage",{"output_tokens":3}]"#, None);
    check(r#""usage":{"output_tokens":3}"#, None);
    check(r#"{"input_tokens":14}"#, None); // What count_tokens answers: nothing was used.
    check(r#"}]{"usage":{"output_tokens":3}}"#, None);
    check("\u{1f}\u{8b}\u{8}", None); // Compressed.
    check("", None);
    let padding = "x".repeat(MAX_OBJECT);
    let long = format!(r#"{{"usage":{{"a":"{padding}","output_tokens":3}}}}"#);
    check(&long, None);
    assert_eq!(read(&long.as_bytes().chunks(100).collect::<Vec<_>>()), None);
}

#[test]
fn streams() {
    fn check(events: &[(Kind, Value)], expected: Option<Usage>) {
        let mut stream = StreamUsage::default();
        for (kind, data) in events {
            stream.event(*kind, data.to_string().as_bytes());
        }
        assert_eq!(stream.usage(), expected, "{events:?}");
    }
    let counts = json!({"input_tokens": 25, "cache_read_input_tokens": 9,
            "cache_creation_input_tokens": 4, "output_tokens": 1});
    let start = (Kind::MessageStart, json!({"message": {"usage": counts}}));
    let delta = |usage: Value| (Kind::MessageDelta, json!({"delta": {}, "usage": usage}));
    let first = delta(json!({"output_tokens": 15}));
    let last = delta(json!({"output_tokens": 40, "input_tokens": 30,
            "cache_read_input_tokens": null}));
    check(&[], None);
    check(&[(Kind::Other, json!({"usage": counts}))], None);
    check(&[(Kind::MessageStart, json!({"usage": counts}))], None);
    check(std::slice::from_ref(&start), usage(25, 1, 9, 4));
    check(&[start.clone(), first.clone()], usage(25, 15, 9, 4));
    // Counts are cumulative, so the last one holds; a null says nothing.
    check(&[start.clone(), first.clone(), last], usage(30, 40, 9, 4));
    check(&[start.clone(), delta(Value::Null)], usage(25, 1, 9, 4));
    check(
        &[start, (Kind::MessageDelta, json!([1]))],
        usage(25, 1, 9, 4),
    );
    check(&[first], usage(0, 15, 0, 0));
}

/// Any JSON, with keys and texts that look like what is searched.
fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just("usage".to_owned()),
        Just("\\\"usage\":{\"output_tokens\":1}".to_owned()),
        Just("é\n\u{1}".to_owned()),
        "[ -~]{0,9}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<u32>().prop_map(Value::from),
        text.clone().prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, move |inner| {
        let object = prop::collection::vec((text.clone(), inner.clone()), 0..5);
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(Value::from),
            object.prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn the_top_level_usage_is_found_wherever_it_stands(
        others in prop::collection::vec(("[a-z\"\\\\]{0,6}", any_json()), 0..5),
        found in prop::option::of((any::<u32>(), any::<u32>(), any_json())),
        place in any::<prop::sample::Index>(),
        pretty in any::<bool>(),
    ) {
        let mut fields: Vec<_> = others.into_iter().filter(|(key, _)| key != "usage").collect();
        if let Some((input, output, other)) = &found {
            let object = json!({"input_tokens": input, "output_tokens": output, "x": other});
            fields.insert(place.index(fields.len() + 1), ("usage".to_owned(), object));
        }
        let fields: Vec<_> = fields.iter().map(|(key, value)| {
            if pretty { format!("{} : {value:#}", json!(key)) } else { format!("{}:{value}", json!(key)) }
        }).collect();
        let body = format!("{{{}}}", fields.join(if pretty { " ,\n" } else { "," }));
        let body = body.as_bytes();
        let expected = found.and_then(|(input, output, _)| usage(input.into(), output.into(), 0, 0));
        for cut in 0..=body.len() {
            let (one, two) = body.split_at(cut);
            prop_assert_eq!(read(&[one, two]), expected, "cut at {}", cut);
        }
        prop_assert_eq!(read(&body.chunks(1).collect::<Vec<_>>()), expected);
        prop_assert_eq!(read(&[&body[..body.len() - 1]]), None);
    }

    #[test]
    fn any_bytes_are_taken(pieces in prop::collection::vec("[{}\\[\\]\",:\\\\usage\u{0}]{0,40}", 0..5)) {
        read(&pieces.iter().map(String::as_bytes).collect::<Vec<_>>());
    }
}

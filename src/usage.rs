//! How many tokens an answer cost, read as it passes.
//!
//! `StreamUsage` takes the events of a message stream, `BodyUsage` the pieces of a JSON message. Both only look: no byte
//! is held back, delayed or changed. What they cannot read (a compressed answer, another shape, an answer that was cut)
//! counts as nothing; it is never an error. No I/O and no clock in here.

use memchr::memchr;
use serde::Deserialize;

use crate::events::Kind;

/// Tokens of one answer, by kind. What the answer does not name is 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub input: u64,
    pub output: u64,
    pub cache_read: u64,
    pub cache_write: u64,
}

impl Usage {
    fn take(&mut self, counts: &Counts) {
        let fields = [
            (&mut self.input, counts.input_tokens),
            (&mut self.output, counts.output_tokens),
            (&mut self.cache_read, counts.cache_read_input_tokens),
            (&mut self.cache_write, counts.cache_creation_input_tokens),
        ];
        for (field, count) in fields {
            *field = count.unwrap_or(*field);
        }
    }
}

/// A `usage` object as the API writes it; everything else in it is of no interest here.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Counts {
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
}

/// Reads the usage out of a message stream's events.
#[derive(Debug, Default)]
pub struct StreamUsage {
    usage: Option<Usage>,
}

impl StreamUsage {
    /// Looks at one whole event. All but two kinds cost a comparison.
    pub fn event(&mut self, kind: Kind, data: &[u8]) {
        let counts = match kind {
            Kind::MessageStart => serde_json::from_slice::<Start>(data)
                .ok()
                .and_then(|start| start.message.usage),
            // Its counts are cumulative: a later one replaces an earlier one, where it is there.
            Kind::MessageDelta => serde_json::from_slice::<Message>(data)
                .ok()
                .and_then(|delta| delta.usage),
            _ => return,
        };
        if let Some(counts) = counts {
            self.usage.get_or_insert_default().take(&counts);
        }
    }

    /// What was seen so far. A stream that breaks has cost what it said until then.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
    }
}

#[derive(Deserialize)]
struct Start {
    message: Message,
}

#[derive(Deserialize)]
struct Message {
    usage: Option<Counts>,
}

/// Longest `usage` object that is read, in bytes. The API's own are under 500; a longer one counts as none.
const MAX_OBJECT: usize = 4 << 10;

const KEY: &[u8] = b"usage";

/// Finds the `usage` object at the top level of a JSON object that comes in pieces of any size.
///
/// It follows strings and brackets and nothing else, so it takes what is not JSON without complaint. A key that is
/// written with escapes (`"us\u0061ge"`) is not recognised: nobody writes one.
#[derive(Debug, Default)]
pub struct BodyUsage {
    place: Place,
    /// Open brackets, of both kinds.
    depth: u32,
    in_string: bool,
    /// The piece before ended in a string, on a backslash that escapes the next byte.
    escaped: bool,
    /// The beginning of a `usage` object that is spread over several pieces.
    held: Vec<u8>,
    usage: Option<Usage>,
}

/// Where in the top-level object the scanner is.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Place {
    /// Before its opening brace.
    #[default]
    Before,
    /// At a place where a key comes next.
    BeforeKey,
    /// In a key whose first bytes are that many of `KEY`; `None`: it is another one.
    Key(Option<usize>),
    /// After the key `usage`.
    BeforeUsage,
    /// In the `usage` object.
    Usage,
    /// In or after any other value.
    Value,
    /// After its closing brace, or in something that is not an object.
    Over,
}

impl BodyUsage {
    /// Looks at the next piece of the body.
    pub fn piece(&mut self, piece: &[u8]) {
        let mut at = 0;
        // Where the part of the `usage` object that lies in this piece begins.
        let mut from = 0;
        while at < piece.len() && self.place != Place::Over {
            if self.in_string {
                at = self.pass_string(piece, at);
                continue;
            }
            let byte = piece[at];
            at += 1;
            match byte {
                b'"' => {
                    self.in_string = true;
                    match self.place {
                        Place::BeforeKey => self.place = Place::Key(Some(0)),
                        Place::BeforeUsage => self.place = Place::Value,
                        Place::Before => self.place = Place::Over,
                        _ => {}
                    }
                }
                b'{' | b'[' => {
                    self.depth = self.depth.saturating_add(1);
                    match (self.place, byte) {
                        (Place::Before, b'{') => self.place = Place::BeforeKey,
                        (Place::Before, _) => self.place = Place::Over,
                        (Place::BeforeUsage, b'{') => {
                            self.place = Place::Usage;
                            self.held.clear();
                            from = at - 1;
                        }
                        (Place::Usage, _) => {}
                        _ => self.place = Place::Value,
                    }
                }
                b'}' | b']' => {
                    self.depth = self.depth.saturating_sub(1);
                    if self.depth == 0 {
                        self.place = Place::Over;
                    } else if self.depth == 1 && self.place == Place::Usage {
                        self.hold(&piece[from..at]);
                        self.read_held();
                        self.place = Place::Value;
                    }
                }
                b',' if self.depth == 1 => self.place = Place::BeforeKey,
                _ => {}
            }
        }
        if self.place == Place::Usage {
            self.hold(&piece[from..]);
        }
    }

    /// The usage, once the body has come whole; a body that was cut has none.
    pub fn usage(&self) -> Option<Usage> {
        self.usage
            .filter(|_| self.place == Place::Over && self.depth == 0)
    }

    /// From `start` in a string to behind its end, or to the end of the piece.
    ///
    /// Only quotes are looked for, since texts are full of other escapes: a quote belongs to the text when an odd number
    /// of backslashes stands before it.
    fn pass_string(&mut self, piece: &[u8], start: usize) -> usize {
        let mut at = start;
        loop {
            let stop = memchr(b'"', &piece[at..]).map_or(piece.len(), |found| at + found);
            if let Place::Key(Some(matched)) = self.place {
                let same = KEY[matched..].starts_with(&piece[at..stop]);
                self.place = Place::Key(same.then_some(matched + stop - at));
            }
            let before = &piece[start..stop];
            let backslashes = before
                .iter()
                .rev()
                .take_while(|byte| **byte == b'\\')
                .count();
            let carried = self.escaped && backslashes == before.len();
            let escaped = (backslashes % 2 == 1) != carried;
            if stop == piece.len() {
                self.escaped = escaped;
                return stop;
            }
            at = stop + 1;
            if !escaped {
                self.escaped = false;
                self.in_string = false;
                if let Place::Key(matched) = self.place {
                    let found = matched == Some(KEY.len());
                    self.place = if found {
                        Place::BeforeUsage
                    } else {
                        Place::Value
                    };
                }
                return at;
            }
        }
    }

    /// Keeps a part of the `usage` object, or gives the object up when it is too long.
    fn hold(&mut self, part: &[u8]) {
        if self.held.len() + part.len() > MAX_OBJECT {
            self.held = Vec::new();
            self.place = Place::Value;
            return;
        }
        self.held.extend_from_slice(part);
    }

    fn read_held(&mut self) {
        if let Ok(counts) = serde_json::from_slice::<Counts>(&self.held) {
            self.usage.get_or_insert_default().take(&counts);
        }
    }
}

#[cfg(test)]
mod tests {
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
}

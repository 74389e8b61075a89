//! The body of an error, as the API writes it and as others do: `{"type":"error","error":{"type":"…","message":"…"}}`.

use serde_json::Value;

use super::scan::Scan;

/// How much of a body is looked at, in bytes: errors have some hundred.
pub const MAX_LOOK: usize = 8 << 10;

/// What an error's body says.
#[derive(Debug, Default)]
pub struct ErrorBody {
    /// `error.type`, `error.code` and `error.message`, or the same at the top level.
    pub kind: Value,
    pub code: Value,
    pub message: Option<String>,
}

/// Reads a body that is whole; `None` where it is no JSON object.
pub fn parse(body: &[u8]) -> Option<ErrorBody> {
    let Ok(Value::Object(mut top)) = serde_json::from_slice(body) else {
        return None;
    };
    let error = match top.remove("error") {
        Some(Value::Object(error)) => error,
        Some(Value::String(message)) => {
            return Some(ErrorBody {
                message: Some(message),
                ..ErrorBody::default()
            });
        }
        _ => top,
    };
    let get = |name: &str| error.get(name).cloned().unwrap_or_default();
    let message = match (get("message"), get("msg")) {
        (Value::String(message), _) | (_, Value::String(message)) => Some(message),
        _ => None,
    };
    Some(ErrorBody {
        kind: get("type"),
        code: get("code"),
        message,
    })
}

/// Whether a body is an error in the API's shape, or begins like one: there is an `error` at its top level. A web server's 404 is none.
///
/// Asked of every good answer, too, so it builds nothing.
pub fn is_api_error(start: &[u8]) -> bool {
    let mut is_error = false;
    let mut has_error = None;
    // Where it is the beginning of something longer, what was seen counts.
    let _ = Scan::new(start).object(|key, scan| {
        let first = scan.peek()?;
        if key.is("error") && first == b'{' {
            has_error = Some(true);
            return Some(false);
        }
        let value = if first == b'"' {
            Some(scan.string()?)
        } else {
            scan.skip()?;
            None
        };
        if key.is("error") {
            has_error = Some(value.is_some_and(|text| !text.is("")));
        } else if key.is("type") {
            is_error = value.is_some_and(|kind| kind.is("error"));
        }
        Some(true)
    });
    has_error.unwrap_or(is_error)
}

/// The error's message, if there is one.
pub fn message(body: &[u8]) -> Option<String> {
    parse(body)?.message.filter(|message| !message.is_empty())
}

/// Whether an error's message names this model: `model: claude-x`, say.
pub fn names_model(body: &[u8], model: &str) -> bool {
    let Some(message) = message(body).filter(|_| !model.is_empty()) else {
        return false;
    };
    let is_part = |c: char| c.is_alphanumeric() || matches!(c, '-' | '_' | '.' | '/' | ':' | '@');
    let mut found = message.match_indices(model);
    found.any(|(at, _)| {
        let (before, after) = (&message[..at], &message[at + model.len()..]);
        let after = after.trim_start_matches(['.', ':']);
        !before.ends_with(|c: char| is_part(c) && c != ':') && !after.starts_with(is_part)
    })
}

/// Whether the beginning of a 200 shows that it is no answer: a web page, or an error object. What cannot be told yet is taken for an
/// answer.
pub fn is_no_answer(content_type: &str, start: &[u8]) -> bool {
    let is_html = content_type
        .get(..9)
        .is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
    let start = start.trim_ascii_start();
    if is_html || start.starts_with(b"<!") || start.starts_with(b"<html") {
        return true;
    }
    start.starts_with(b"{") && is_api_error(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes() {
        let api =
            br#"{"type":"error","error":{"type":"not_found_error","message":"model: claude-9"}}"#;
        for (body, expected) in [
            (&api[..], true),
            (br#"{"error":{"message":"x"}}"#, true),
            (br#"{"error":"x"}"#, true),
            (br#"{"detail":"Not Found"}"#, false),
            (br#"{"error":null}"#, false),
            (br#"{"id":"msg_1","error":false}"#, false),
            (br#"{"request_id":"r","error":{"mess"#, true),
            (br#"{"id":"msg_1","content":[{"error":{"#, false),
            (b"<html>", false),
            (b"", false),
            (b"[]", false),
        ] {
            assert_eq!(is_api_error(body), expected, "{}", body.escape_ascii());
        }
        assert_eq!(message(api).as_deref(), Some("model: claude-9"));
    }

    #[test]
    fn named_models() {
        let names = |message: &str, model| {
            let body = serde_json::json!({"type": "error", "error": {"type": "not_found_error", "message": message}});
            names_model(body.to_string().as_bytes(), model)
        };
        assert!(names("model: claude-9", "claude-9"));
        assert!(names("The model `claude-9` does not exist.", "claude-9"));
        assert!(names("no model claude-9.", "claude-9"));
        assert!(!names("model: claude-90", "claude-9"));
        assert!(!names("model: my-claude-9", "claude-9"));
        assert!(!names("Not found", "claude-9"));
        assert!(!names("Not found", ""));
    }

    #[test]
    fn what_is_no_answer() {
        for (kind, start, expected) in [
            ("text/html; charset=utf-8", "hello", true),
            ("application/json", "<!DOCTYPE html>", true),
            ("application/json", r#"{"error":{"message":"x"}}"#, true),
            ("application/json", r#" { "type": "error", "err"#, true),
            (
                "application/json",
                r#"{"id":"msg","type":"message","error":null}"#,
                false,
            ),
            ("application/json", r#"{"id":"msg_1","type":"mess"#, false),
            ("application/json", "{", false),
            ("text/plain", "ok", false),
        ] {
            assert_eq!(is_no_answer(kind, start.as_bytes()), expected, "{start}");
        }
    }
}

//! What an answer says, read as far as it must be judged: its head, and the beginning of its body.

use std::borrow::Cow;
use std::time::SystemTime;

use http::{HeaderName, StatusCode, header};

use super::attempt::Attempt;
use super::delivery::Parts;
use super::failover::{Outcome, Signs};
use super::looked::Looked;
use super::relay;
use super::subject::Subject;
use crate::api::decoded::decoded;
use crate::api::error_body::MAX_LOOK;
use crate::api::{account, error_body, rate_limits};

/// What an answer's head says, and its body where that matters.
pub fn signs(parts: &Parts, body: &mut Looked, subject: &Subject) -> Signs {
    let (status, now) = (parts.status.as_u16(), SystemTime::now());
    if status < 400 {
        return Signs {
            status,
            ..Signs::default()
        };
    }
    let told = rate_limits::retry_in(&parts.headers, now);
    let mut signs = Signs {
        status,
        told,
        ..Signs::default()
    };
    if !matches!(status, 400 | 402 | 403 | 404 | 429) {
        return signs;
    }
    let Some(start) = beginning(parts, body) else {
        // Nobody here can read it: it is believed to be what its type says.
        signs.is_api_error = relay::is_json(&parts.headers);
        signs.exhausted = account::exhausted(status, b"", now);
        return signs;
    };
    signs.exhausted = account::exhausted(status, &start, now);
    signs.is_api_error = error_body::is_api_error(&start);
    let named = |model| error_body::names_model(&start, model);
    signs.names_model = status == 404 && subject.model().is_some_and(named);
    signs
}

/// Whether a 200 to a message is no answer at all.
pub fn is_no_answer(parts: &Parts, body: &mut Looked, subject: &Subject) -> bool {
    if !subject.is_message || parts.status != StatusCode::OK {
        return false;
    }
    let kind = text(parts, header::CONTENT_TYPE);
    let coding = text(parts, header::CONTENT_ENCODING);
    let start = decoded(coding, body.first(MAX_LOOK)).unwrap_or_default();
    let is_no_answer = !start.is_empty() && error_body::is_no_answer(kind, &start);
    is_no_answer || body.is_empty()
}

/// An answer's status and first words, for the log and for our own errors.
pub fn told(parts: &Parts, outcome: &Outcome, body: &mut Looked, attempt: &Attempt) -> String {
    let start = beginning(parts, body).unwrap_or_default();
    let words = match error_body::message(&start) {
        Some(message) => attempt.target().upstream.quote(&message),
        None if *outcome == Outcome::NoAnswer => "no answer of the API's".into(),
        None => return status_words(parts.status),
    };
    format!("{}: {words}", status_words(parts.status))
}

/// The beginning of a body, as it is meant; `None` where it is compressed in a way that is not known.
fn beginning<'a>(parts: &Parts, body: &'a mut Looked) -> Option<Cow<'a, [u8]>> {
    let start = body.beginning(MAX_LOOK);
    decoded(text(parts, header::CONTENT_ENCODING), start)
}

fn text(parts: &Parts, name: HeaderName) -> &str {
    let value = parts.headers.get(name);
    value.and_then(|value| value.to_str().ok()).unwrap_or("")
}

/// A status with its name, where it has one: 529 has none.
fn status_words(status: StatusCode) -> String {
    match status.canonical_reason() {
        Some(reason) => format!("{} {reason}", status.as_u16()),
        None => status.as_str().to_owned(),
    }
}

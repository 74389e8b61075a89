//! What an endpoint's answer to `GET v1/models` tells about it.

use http::StatusCode;
use serde_json::Value;

use crate::config::Endpoint;

/// What was found, in words.
#[derive(Debug, PartialEq, Eq)]
pub enum Finding {
    Well(String),
    /// It is the Claude API, or speaks like it, and says no.
    Refused(String),
    /// Nothing that speaks like it: the URL's path may be wrong.
    Wrong(String),
    /// Nobody who speaks HTTP with us at all, or who wants to be spoken to otherwise: the scheme may be wrong too.
    Lost(String),
}

/// Characters of an endpoint's own words that are shown.
const SHOWN: usize = 200;

impl Finding {
    /// What `endpoint` says is cut, and its secrets are masked in it.
    pub fn of(status: StatusCode, body: &[u8], endpoint: &Endpoint) -> Finding {
        let json: Option<Value> = serde_json::from_slice(body).ok();
        let head = format!("GET v1/models: {status}");
        if status.is_success() {
            return match json
                .as_ref()
                .and_then(|json| json["data"].as_array())
                .map(Vec::as_slice)
            {
                Some([_]) => Finding::Well(format!("{head}, 1 model")),
                Some(models) => Finding::Well(format!("{head}, {} models", models.len())),
                None => Finding::Wrong(format!(
                    "{head}, but {} instead of a list of models: check baseURL",
                    kind(body, json.as_ref())
                )),
            };
        }
        let hint = hint(status);
        let error = json.as_ref().map(|json| &json["error"]);
        match error.and_then(|error| error["message"].as_str()) {
            Some(message) => {
                let words = shown(&endpoint.masked(message));
                Finding::Refused(format!("{head}; {hint}; it says: {words}"))
            }
            None => {
                let kind = kind(body, json.as_ref());
                let why = format!("{head}; {hint} (it answered with {kind})");
                // So do servers answer plain HTTP on a port for TLS, or send away from it.
                match status.as_u16() {
                    300..=400 => Finding::Lost(why),
                    _ => Finding::Wrong(why),
                }
            }
        }
    }
}

fn hint(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 | 403 => "the endpoint refuses the token: check authToken and authScheme",
        404 => {
            "the endpoint has no v1/models there: check baseURL (some gateways have none at all)"
        }
        300..=399 => "a redirect, which is not followed: put the address it names into baseURL",
        429 | 529 => "the endpoint is there, and busy",
        _ => "the endpoint is there, and not well",
    }
}

fn kind(body: &[u8], json: Option<&Value>) -> &'static str {
    let start = body.trim_ascii_start();
    if body.is_empty() {
        "an empty body"
    } else if json.is_some() {
        "JSON of another shape"
    } else if start.starts_with(b"<") {
        "HTML"
    } else {
        "something that is no JSON"
    }
}

fn shown(words: &str) -> String {
    let short = words.chars().take(SHOWN);
    short
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    #[test]
    fn what_an_answer_tells() {
        let url = "https://a.example/".parse().expect("a URL");
        let mut endpoint = Endpoint::new("a", url, Secret::new("s3cr3t".into()));
        let (name, value) = ("x-team".parse(), "Bearer s3cr3t-of-the-team".parse());
        let header = (name.expect("a name"), value.expect("a value"));
        endpoint.headers.push(header);
        let of = |status: u16, body: &str| {
            let status = StatusCode::from_u16(status).expect("a status");
            Finding::of(status, body.as_bytes(), &endpoint)
        };
        let wrong = |status: u16, body: &str, part: &str| match of(status, body) {
            Finding::Wrong(why) => assert!(why.contains(part), "{why}"),
            other => panic!("{other:?}"),
        };
        let well = of(200, r#"{"data":[{}, {}]}"#);
        assert_eq!(
            well,
            Finding::Well("GET v1/models: 200 OK, 2 models".into())
        );
        let well = of(200, r#"{"data":[{}]}"#);
        assert_eq!(well, Finding::Well("GET v1/models: 200 OK, 1 model".into()));
        wrong(200, "<html>", "but HTML instead of a list of models");
        wrong(200, "", "an empty body");
        wrong(200, "{}", "JSON of another shape");
        wrong(
            200,
            r#"{"error":{"message":"no"}}"#,
            "JSON of another shape",
        );
        wrong(404, "<html>", "check baseURL");
        wrong(502, "bad", "something that is no JSON");
        let error = r#"{"type":"error","error":{"type":"a","message":"key s3cr3t\nof s3cr3t-of-the-team is wrong"}}"#;
        let Finding::Refused(why) = of(401, error) else {
            panic!("it is the API");
        };
        assert!(
            why.ends_with("check authToken and authScheme; it says: key *** of *** is wrong"),
            "{why}"
        );
    }
}

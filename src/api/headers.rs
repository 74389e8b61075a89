//! Which headers cross, in which direction.
//!
//! Everything passes, known or not, but for what belongs to one connection (RFC 9110 §7.6.1), what we write ourselves,
//! and the client's own credentials. No I/O in here.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::config::{AuthScheme, Secret};

/// Sent where the client named none; the API refuses a request without one.
/// <https://platform.claude.com/docs/en/api/versioning>
const DEFAULT_API_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");
const API_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
const API_KEY: HeaderName = HeaderName::from_static("x-api-key");

/// The name of the endpoint that gave the answer.
pub const SERVED_BY: HeaderName = HeaderName::from_static("x-served-by");
/// Tells nginx, where it stands in front of us, to pass events on as they come.
pub const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// What every answer of our own has: no browser is to guess at a type that it was not told.
pub const NOSNIFF: (HeaderName, HeaderValue) = (
    header::X_CONTENT_TYPE_OPTIONS,
    HeaderValue::from_static("nosniff"),
);
/// The API's name for its request number; our own errors carry ours in it.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// What goes to an endpoint of a request's headers, with room for `more`: the credential is not yet among them.
pub fn to_upstream(client: &HeaderMap, more: usize) -> HeaderMap {
    let mut out = HeaderMap::with_capacity(client.len() + 1 + more);
    let named = named_by_connection(client);
    for (name, value) in client {
        if !is_named(name, &named) && !is_dropped(name) {
            out.append(name.clone(), value.clone());
        }
    }
    out.entry(API_VERSION).or_insert(DEFAULT_API_VERSION);
    out
}

/// The header that lets a request in at an endpoint.
pub fn credential(scheme: AuthScheme, token: &Secret) -> (HeaderName, HeaderValue) {
    let (name, text) = match scheme {
        AuthScheme::ApiKey => (API_KEY, token.expose().to_owned()),
        AuthScheme::Bearer => (header::AUTHORIZATION, format!("Bearer {}", token.expose())),
    };
    let mut value =
        HeaderValue::try_from(text).expect("the configuration checks that a token fits a header");
    value.set_sensitive(true);
    (name, value)
}

/// What goes to the client of an answer's headers, in their order. Headers that we set ourselves are left out: the
/// client must not find two of them.
pub fn to_client(answer: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &HeaderValue)> {
    let named = named_by_connection(answer);
    let passes =
        move |name: &HeaderName| !is_hop_by_hop(name) && !is_named(name, &named) && !is_ours(name);
    answer.iter().filter(move |(name, _)| passes(name))
}

/// RFC 9110 §7.6.1, and `proxy-*`.
fn is_hop_by_hop(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONNECTION
            | header::TE
            | header::TRAILER
            | header::TRANSFER_ENCODING
            | header::UPGRADE
    ) || name == "keep-alive"
        || name.as_str().starts_with("proxy-")
}

/// Most names in `connection` that are looked at; a request with more is refused.
const MAX_NAMED: usize = 128;

/// Other headers that belong to this connection only. None, mostly, and then nothing is allocated.
fn named_by_connection(headers: &HeaderMap) -> Vec<&[u8]> {
    let values = headers.get_all(header::CONNECTION).into_iter();
    let names = values.flat_map(|value| value.as_bytes().split(|&b| b == b','));
    let is_a_headers = |name: &&[u8]| {
        !name.is_empty()
            && !name.eq_ignore_ascii_case(b"keep-alive")
            && !name.eq_ignore_ascii_case(b"close")
    };
    let names = names.map(<[u8]>::trim_ascii).filter(is_a_headers);
    names.take(MAX_NAMED).collect()
}

fn is_named(name: &HeaderName, named: &[&[u8]]) -> bool {
    let name = name.as_str().as_bytes();
    named.iter().any(|named| named.eq_ignore_ascii_case(name))
}

/// Whether a comma-separated header value names `token`, in any case.
pub fn lists(value: &HeaderValue, token: &str) -> bool {
    value
        .as_bytes()
        .split(|&b| b == b',')
        .any(|item| item.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
}

/// Headers of a request that end here. Some servers take `_` for `-`: `x_api_key` is a credential to them.
fn is_dropped(name: &HeaderName) -> bool {
    if is_hop_by_hop(name) || stays_with_us(name) {
        return true;
    }
    let text = name.as_str();
    text.contains('_')
        && HeaderName::try_from(text.replace('_', "-"))
            .is_ok_and(|name| is_hop_by_hop(&name) || stays_with_us(&name))
}

/// Those that the HTTP client writes, the client's credentials, what tells of a browser (the API refuses some requests that carry an
/// origin), and what proxies on the way to us wrote: an endpoint behind a CDN refuses those, and they tell who the client is.
fn stays_with_us(name: &HeaderName) -> bool {
    if matches!(
        *name,
        header::HOST
            | header::CONTENT_LENGTH
            | header::EXPECT
            | header::AUTHORIZATION
            | header::COOKIE
            | header::ORIGIN
            | header::REFERER
            | header::FORWARDED
            | header::VIA
    ) || *name == API_KEY
    {
        return true;
    }
    let text = name.as_str();
    matches!(text, "x-real-ip" | "true-client-ip" | "cdn-loop")
        || text.starts_with("x-forwarded-")
        || text.starts_with("cf-")
}

/// Headers of an answer that we write: framing, CORS, who served it.
fn is_ours(name: &HeaderName) -> bool {
    matches!(
        *name,
        header::CONTENT_LENGTH
            | header::ACCESS_CONTROL_ALLOW_ORIGIN
            | header::ACCESS_CONTROL_EXPOSE_HEADERS
            | header::ACCESS_CONTROL_ALLOW_CREDENTIALS
    ) || *name == SERVED_BY
        || *name == ACCEL_BUFFERING
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(lines: &[(&str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in lines {
            map.append(
                name.parse::<HeaderName>().expect("a header name"),
                HeaderValue::from_bytes(value.as_bytes()).expect("a header value"),
            );
        }
        map
    }

    fn pairs(map: &HeaderMap) -> Vec<(String, String)> {
        map.iter()
            .map(|(n, v)| {
                (
                    n.to_string(),
                    String::from_utf8_lossy(v.as_bytes()).into_owned(),
                )
            })
            .collect()
    }

    #[test]
    fn a_request_leaves_its_credentials_and_its_connection_behind() {
        let client = map(&[
            ("x-api-key", "mine"),
            ("authorization", "Bearer mine"),
            ("cookie", "a=b"),
            ("host", "localhost"),
            ("content-length", "3"),
            ("expect", "100-continue"),
            ("origin", "http://localhost"),
            ("referer", "http://localhost/"),
            ("connection", "keep-alive, X-Private"),
            ("x-private", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("trailer", "x"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("proxy-authorization", "Basic x"),
            ("x_api_key", "mine"),
            ("transfer_encoding", "chunked"),
            ("x_forwarded_for", "10.0.0.1"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-host", "balancer"),
            ("forwarded", "for=10.0.0.1"),
            ("via", "1.1 proxy"),
            ("x-real-ip", "10.0.0.1"),
            ("true-client-ip", "10.0.0.1"),
            ("cdn-loop", "cloudflare"),
            ("cf-ray", "1"),
            ("cf-connecting-ip", "10.0.0.1"),
            ("anthropic-version", "2024-10-22"),
        ]);
        let out = to_upstream(&client, 0);
        assert_eq!(
            pairs(&out),
            [("anthropic-version".into(), "2024-10-22".into())]
        );
    }

    #[test]
    fn what_nobody_knows_yet_passes_in_order() {
        let client = map(&[
            ("x-new", "1"),
            ("anthropic-beta", "a"),
            ("x-new", "2"),
            ("x-utf", "caf\u{e9}"),
        ]);
        let out = to_upstream(&client, 0);
        let expected = [
            ("x-new", "1"),
            ("x-new", "2"),
            ("anthropic-beta", "a"),
            ("x-utf", "caf\u{e9}"),
        ];
        for (name, value) in expected {
            assert!(
                pairs(&out).contains(&(name.into(), value.into())),
                "{name}: {value}"
            );
        }
        assert_eq!(out.get_all("x-new").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(out["anthropic-version"], "2023-06-01");
    }

    #[test]
    fn an_answer_keeps_all_but_its_connection() {
        let answer = map(&[
            ("content-type", "application/json"),
            ("set-cookie", "a=1"),
            ("set-cookie", "b=2"),
            ("connection", "close"),
            ("transfer-encoding", "chunked"),
            ("access-control-allow-origin", "https://elsewhere.example"),
            ("content-encoding", "gzip"),
        ]);
        let names: Vec<_> = to_client(&answer).map(|(name, _)| name.as_str()).collect();
        assert_eq!(
            names,
            [
                "content-type",
                "set-cookie",
                "set-cookie",
                "content-encoding"
            ]
        );
    }

    #[test]
    fn the_credential_takes_the_endpoints_scheme() {
        let token = Secret::new("t".into());
        assert_eq!(
            credential(AuthScheme::ApiKey, &token),
            (API_KEY, HeaderValue::from_static("t"))
        );
        assert_eq!(credential(AuthScheme::Bearer, &token).1, "Bearer t");
    }
}

//! May this caller come in: client tokens, and the origins that browsers may call from (CORS).
//!
//! No I/O in here. Tokens are compared in constant time.

use http::HeaderMap;
use http::header::{self, HeaderName, HeaderValue};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::browsers;
use crate::config::{Client, Config};

/// How long a browser may keep a preflight's answer, in seconds. Browsers cap it themselves (Chromium: 7200).
const PREFLIGHT_MAX_AGE: &str = "7200";
const METHODS: HeaderValue = HeaderValue::from_static("GET,HEAD,PUT,PATCH,POST,DELETE");
/// What a page may read of every answer, beside the headers that all pages may.
const EXPOSED: &str = "request-id,retry-after,x-served-by";

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    /// There are no `clientTokens`: everybody is let in.
    Anybody,
    /// One of them, by its place in `config.clients`.
    Client(usize),
    /// It has none of them.
    Stranger,
}

impl Caller {
    /// Its place in `config.clients`, where it has one.
    pub fn client(self) -> Option<usize> {
        match self {
            Caller::Client(at) => Some(at),
            Caller::Anybody | Caller::Stranger => None,
        }
    }
}

/// Who calls, by the token in `x-api-key` or `Authorization: Bearer`.
pub fn caller(config: &Config, headers: &HeaderMap) -> Caller {
    if config.clients.is_empty() {
        return Caller::Anybody;
    }
    let mut known = presented(headers).filter_map(|token| find(&config.clients, token));
    known.next().map_or(Caller::Stranger, Caller::Client)
}

fn presented(headers: &HeaderMap) -> impl Iterator<Item = &[u8]> {
    let keys = headers
        .get_all("x-api-key")
        .iter()
        .map(HeaderValue::as_bytes);
    let bearers = headers
        .get_all(header::AUTHORIZATION)
        .iter()
        .filter_map(|value| {
            let (scheme, token) = value.as_bytes().split_at_checked("bearer ".len())?;
            scheme
                .eq_ignore_ascii_case(b"bearer ")
                .then(|| token.trim_ascii())
        });
    keys.chain(bearers)
}

/// Looks at every token whatever the outcome: the time taken tells nothing of which one was near.
fn find(clients: &[Client], presented: &[u8]) -> Option<usize> {
    const NONE: u64 = u64::MAX;
    let found = (0..).zip(clients).fold(NONE, |found, (at, client)| {
        let is_it = client.token.expose().as_bytes().ct_eq(presented);
        u64::conditional_select(&found, &at, is_it)
    });
    usize::try_from(found).ok().filter(|_| found != NONE)
}

/// What CORS lets this caller read of an answer.
#[derive(Clone, Debug, Default)]
pub struct Cors {
    allow: Option<HeaderValue>,
    /// The answer differs from one origin to the next, so caches must keep them apart.
    varies: bool,
}

impl Cors {
    pub fn of(config: &Config, headers: &HeaderMap) -> Cors {
        if browsers::allows_all(config) {
            return Cors {
                allow: Some(HeaderValue::from_static("*")),
                varies: false,
            };
        }
        let origin = headers.get(header::ORIGIN);
        let allowed = origin.filter(|origin| browsers::is_named(config, origin.as_bytes()));
        // A copy: the value that came is a part of the whole head, which would stay for as long as the answer takes.
        let allow = allowed.and_then(|origin| HeaderValue::from_bytes(origin.as_bytes()).ok());
        Cors {
            allow,
            varies: true,
        }
    }

    /// For a caller of whom nothing is known.
    pub fn of_nobody(config: &Config) -> Cors {
        Cors::of(config, &HeaderMap::new())
    }

    /// Adds the CORS headers of an ordinary answer to those that we write. `theirs`: the endpoint's, where it is its answer.
    pub fn mark(&self, ours: &mut HeaderMap, theirs: Option<&HeaderMap>) {
        self.allow_into(ours);
        if self.allow.is_none() {
            return;
        }
        let names = theirs.into_iter().flat_map(HeaderMap::keys);
        let ratelimits: String = names
            .map(HeaderName::as_str)
            .filter(|name| name.starts_with("anthropic-ratelimit-"))
            .flat_map(|name| [",", name])
            .collect();
        let exposed = match ratelimits.is_empty() {
            true => HeaderValue::from_static(EXPOSED),
            false => HeaderValue::try_from(EXPOSED.to_owned() + &ratelimits)
                .expect("header names fit a header value"),
        };
        ours.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }

    /// The headers of a preflight's answer.
    pub fn preflight(&self, asked: &HeaderMap) -> HeaderMap {
        let mut out = HeaderMap::new();
        self.allow_into(&mut out);
        if self.allow.is_none() {
            return out;
        }
        out.insert(header::ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        out.insert(
            header::ACCESS_CONTROL_MAX_AGE,
            HeaderValue::from_static(PREFLIGHT_MAX_AGE),
        );
        if let Some(names) = asked.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
            out.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, names.clone());
            out.append(
                header::VARY,
                HeaderValue::from_static("access-control-request-headers"),
            );
        }
        out
    }

    fn allow_into(&self, headers: &mut HeaderMap) {
        if let Some(origin) = &self.allow {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
        }
        if self.varies {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
    }
}

//! Which requests of browsers are let in. A page of any web site can have its reader's browser call us, with the reader's network and without
//! the reader's knowledge: by a form, by a request that it may not read the answer of, or under a name of its own that it lets lead here.
//!
//! A pure rule over a request's head. What a program sends that is no browser has none of these headers, and passes.

use http::header::{self, HeaderMap, HeaderName};
use http::{Method, StatusCode};

use super::head::Head;
use super::host;
use super::refusal::Refusal;
use super::routes::Route;
use crate::config::Config;

/// Who a browser sends a request for: `same-origin`, `same-site`, `cross-site` or `none` (<https://www.w3.org/TR/fetch-metadata/>).
const FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

const FOREIGN_HOST: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    cause: "foreign host",
    message: std::borrow::Cow::Borrowed(
        "this balancer is not called by that name: it may be a web site's that leads here; its own names belong into allowedHosts",
    ),
};
const FOREIGN_ORIGIN: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    cause: "foreign origin",
    message: std::borrow::Cow::Borrowed(
        "web pages from there may not call this balancer; those that may belong into allowedOrigins",
    ),
};
const NO_PREFLIGHT: Refusal = Refusal {
    status: StatusCode::FORBIDDEN,
    cause: "no preflight",
    message: std::borrow::Cow::Borrowed(
        "a web page sent this as forms do, without asking first: send it as application/json, or with an x-api-key",
    ),
};

/// Why a request gets a 403 before anything else looks at it, if it does.
pub fn refusal(config: &Config, head: &Head, route: Route) -> Option<Refusal> {
    if config.clients.is_empty() && !is_our_name(config, head.authority.as_bytes()) {
        return Some(FOREIGN_HOST);
    }
    // A preflight's answer tells the browser: without allow headers it goes no further.
    if route == Route::Preflight || !is_from_elsewhere(head) || is_visit(head, route) {
        return None;
    }
    let origin = head.headers.get(header::ORIGIN);
    if origin.is_some_and(|origin| is_named(config, origin.as_bytes())) {
        return None;
    }
    if !allows_all(config) {
        return Some(FOREIGN_ORIGIN);
    }
    let is_read = matches!(head.method, Method::GET | Method::HEAD);
    let is_forwarded = matches!(route, Route::Forward(_));
    (is_forwarded && !is_read && !had_preflight(&head.headers)).then_some(NO_PREFLIGHT)
}

/// Whether pages of an origin may call because they are named, or are this machine's own.
pub fn is_named(config: &Config, origin: &[u8]) -> bool {
    let is_known = |known: &String| known.as_bytes().eq_ignore_ascii_case(origin);
    is_of_this_machine(origin) || config.allowed_origins.iter().any(is_known)
}

/// `allowedOrigins` has the star.
pub fn allows_all(config: &Config) -> bool {
    config.allowed_origins.iter().any(|origin| origin == "*")
}

fn is_of_this_machine(origin: &[u8]) -> bool {
    let authority = origin
        .strip_prefix(b"http://")
        .or_else(|| origin.strip_prefix(b"https://"));
    authority.is_some_and(|authority| {
        host::is_authority(authority) && host::is_loopback(host::host(authority))
    })
}

fn is_our_name(config: &Config, authority: &[u8]) -> bool {
    let name = host::host(authority);
    let is = |known: &str| {
        let known = known.trim_matches(['[', ']']).as_bytes();
        name.eq_ignore_ascii_case(known)
    };
    // HTTP/1.0 needs none, and no browser speaks it.
    name.is_empty()
        || host::is_localhost(name)
        || host::is_address(name)
        || is(&config.listen.host)
        || config
            .allowed_hosts
            .iter()
            .any(|known| known == "*" || is(known))
}

/// A browser sends it for a page that is not ours.
fn is_from_elsewhere(head: &Head) -> bool {
    match head.headers.get(FETCH_SITE).map(|site| site.as_bytes()) {
        Some(site) => site == b"cross-site" || site == b"same-site",
        // Browsers of before 2023, and what is no browser.
        None => head
            .headers
            .get(header::ORIGIN)
            .is_some_and(|origin| !is_own_origin(origin.as_bytes(), head.authority.as_bytes())),
    }
}

fn is_own_origin(origin: &[u8], authority: &[u8]) -> bool {
    let origin = origin
        .strip_prefix(b"http://")
        .or_else(|| origin.strip_prefix(b"https://"));
    !authority.is_empty() && origin.is_some_and(|origin| origin.eq_ignore_ascii_case(authority))
}

/// Somebody follows a link to the status page, which is the same for everybody and holds nothing.
fn is_visit(head: &Head, route: Route) -> bool {
    let mode = head.headers.get(FETCH_MODE);
    route == Route::Page && mode.is_some_and(|mode| mode.as_bytes() == b"navigate")
}

/// A browser sends these for a page of another origin only when we have said that it may.
fn had_preflight(headers: &HeaderMap) -> bool {
    const OF_FORMS: [&[u8]; 3] = [
        b"text/plain",
        b"application/x-www-form-urlencoded",
        b"multipart/form-data",
    ];
    let kind = headers.get(header::CONTENT_TYPE).map(|kind| {
        let kind = kind.as_bytes();
        let end = kind.iter().position(|&b| b == b';').unwrap_or(kind.len());
        kind[..end].trim_ascii()
    });
    let is_a_forms = kind.is_none_or(|kind| {
        kind.is_empty() || OF_FORMS.iter().any(|form| form.eq_ignore_ascii_case(kind))
    });
    !is_a_forms
        || headers.keys().any(|name| {
            *name == header::AUTHORIZATION
                || name == "x-api-key"
                || name.as_str().starts_with("anthropic-")
        })
}

#[cfg(test)]
mod tests;

//! Where an endpoint is: which URLs are taken, and what they become.

use std::net::Ipv6Addr;

use http::Uri;

use super::complaint::{Error, quoted};
use super::document::Value;
use super::listen::Listen;

/// A URL that is complete without these: we add them ourselves.
const TOO_MUCH: [&str; 2] = ["/v1/messages/", "/v1/"];

/// `value` as an endpoint's base URL, ending in a slash. What is changed in it is told in `warnings`.
pub fn read(value: &Value, listen: &Listen, warnings: &mut Vec<String>) -> Result<Uri, Error> {
    let url = base_url(value)?;
    let host = url.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_u16().unwrap_or(match url.scheme_str() {
        Some("https") => 443,
        _ => 80,
    });
    if listen.is_reached_by(host, port) {
        let expected = "an endpoint of the Claude API";
        let found = format_args!("this program's own address ({listen})");
        return Err(value.expected(expected, found));
    }
    let whole = url.to_string();
    // Of the path alone: a host may be called `v1`.
    let mut path = url.path();
    while let Some(shorter) = TOO_MUCH.iter().find_map(|end| path.strip_suffix(end)) {
        // The slash before `v1` is the one that a base URL ends in.
        path = &path[..=shorter.len()];
    }
    if path == url.path() {
        return Ok(url);
    }
    let left_out = url.path()[path.len()..].trim_matches('/');
    let shorter = &whole[..whole.len() - url.path().len() + path.len()];
    warnings.push(format!(
        "{} {left_out} at its end is left out, as it is added to each request: {shorter} is used",
        value.place()
    ));
    shorter
        .parse()
        .map_err(|_| value.expected("a URL such as https://api.example.com/", "another"))
}

/// What stands behind `http://` or `https://`, if the text begins so.
pub fn without_scheme(text: &str) -> Option<&str> {
    ["http://", "https://"].iter().find_map(|scheme| {
        let (start, rest) = text.split_at_checked(scheme.len())?;
        start.eq_ignore_ascii_case(scheme).then_some(rest)
    })
}

fn base_url(value: &Value) -> Result<Uri, Error> {
    let text = value.string()?;
    // A password comes before an `@`, a key may come after a `?`, and what has neither dot nor colon
    // may be a token that went astray: then nothing is quoted.
    let is_secret = text.contains(['@', '?', '#']) || !text.contains(['.', ':']);
    let found = if is_secret {
        "one that is not shown, as it may hold a secret".to_owned()
    } else {
        quoted(&text)
    };
    let rest =
        without_scheme(&text).ok_or_else(|| value.expected("http:// or https://", &found))?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    if authority.contains('@') {
        return Err(value.expected(
            "a URL without user name and password (use authToken)",
            "one with them",
        ));
    }
    if rest.contains(['?', '#']) {
        return Err(value.expected("a URL without query and fragment", "a ? or # in it"));
    }
    // `Uri` lets some of these pass in a path; and nobody replaces a `${NAME}` in here.
    let is_wrong = |c: char| !c.is_ascii_graphic() || "\"<>\\^`{|}".contains(c);
    let slash = if rest.ends_with('/') { "" } else { "/" };
    let url = Uri::try_from(format!("{text}{slash}"))
        .ok()
        .filter(|url| has_host(url) && !text.contains(is_wrong));
    url.ok_or_else(|| value.expected("a URL such as https://api.example.com/", found))
}

/// A host that may exist and a port that can be connected to, or none. `Uri` itself takes `https://:0/`.
fn has_host(url: &Uri) -> bool {
    let Some(authority) = url.authority() else {
        return false;
    };
    let host = authority.host();
    let brackets = host
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let host_is_right = brackets.map_or(!host.is_empty(), |address| {
        address.parse::<Ipv6Addr>().is_ok()
    });
    let port_is_right = match authority.as_str().strip_prefix(host) {
        Some("") => true,
        Some(port) => authority
            .port_u16()
            .is_some_and(|number| number > 0 && port == format!(":{number}")),
        None => false,
    };
    host_is_right && port_is_right
}

//! One Claude API base URL with its token.

use std::collections::HashSet;
use std::fmt;
use std::net::Ipv6Addr;

use http::Uri;

use super::document::{Error, Value, quoted};
use super::secret::{Outside, Secret};

/// One Claude API, checked, defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Visible ASCII, unlike every other endpoint's. Default: the host, made unique with `#2`…
    pub name: String,
    /// http or https, with a host, without query; ends in a slash, so that a path can be put behind it.
    pub base_url: Uri,
    pub auth_token: Secret,
    pub auth_scheme: AuthScheme,
    /// Its share beside the others', 1 to 100. Default 1.
    pub weight: u32,
    /// Requests that it may serve at the same time. Default: no limit.
    pub max_concurrent: Option<u32>,
}

/// The header that carries the token to the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthScheme {
    /// `x-api-key: TOKEN`, the default.
    ApiKey,
    /// `authorization: Bearer TOKEN`.
    Bearer,
}

const KEYS: [&str; 6] = [
    "baseURL",
    "authToken",
    "name",
    "authScheme",
    "weight",
    "maxConcurrent",
];

/// Each pick looks at every endpoint under the balancer's lock: with more of them it would show.
const MAX_ENDPOINTS: usize = 1000;

/// Characters of a name: it stands in every line of the log, in a header and in the labels of metrics.
const MAX_NAME: usize = 64;

impl Endpoint {
    /// All endpoints of the file, named.
    pub(super) fn read_all(list: &Value, outside: &Outside) -> Result<Vec<Endpoint>, Error> {
        let items = list.array()?;
        if items.is_empty() || items.len() > MAX_ENDPOINTS {
            let found = if items.is_empty() {
                "none".to_owned()
            } else {
                items.len().to_string()
            };
            return Err(list.expected(format_args!("1 to {MAX_ENDPOINTS} endpoints"), found));
        }
        let mut endpoints = Vec::with_capacity(items.len());
        for item in &items {
            endpoints.push(read(item, &endpoints, outside)?);
        }
        name_by_host(&mut endpoints);
        Ok(endpoints)
    }
}

impl fmt::Display for Endpoint {
    /// Several lines, for `--check`: where a message goes, and how. The token is masked.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "  {:18}{}v1/messages", "url", self.base_url)?;
        match self.auth_scheme {
            AuthScheme::ApiKey => writeln!(f, "  {:18}x-api-key: ***", "authToken")?,
            AuthScheme::Bearer => writeln!(f, "  {:18}authorization: Bearer ***", "authToken")?,
        }
        writeln!(f, "  {:18}{}", "weight", self.weight)?;
        match self.max_concurrent {
            Some(limit) => writeln!(f, "  {:18}{limit}", "maxConcurrent"),
            None => writeln!(f, "  {:18}no limit", "maxConcurrent"),
        }
    }
}

/// One endpoint; its name stays empty where the file gives none. `earlier` are those before it in the file.
fn read(item: &Value, earlier: &[Endpoint], outside: &Outside) -> Result<Endpoint, Error> {
    let object = item.object(&KEYS)?;
    // Before the URL: where the two are exchanged, the URL's complaint would quote the token.
    object.get("authToken", refuse_url)?;
    Ok(Endpoint {
        base_url: object
            .get("baseURL", base_url)?
            .ok_or_else(|| item.missing("baseURL", "http:// or https://"))?,
        auth_token: object
            .get("authToken", |value| Secret::read(value, outside))?
            .ok_or_else(|| item.missing("authToken", "a token"))?,
        name: object
            .get("name", |value| name(value, earlier))?
            .unwrap_or_default(),
        auth_scheme: object
            .get("authScheme", |value| {
                value.one_of(&[
                    ("x-api-key", AuthScheme::ApiKey),
                    ("bearer", AuthScheme::Bearer),
                ])
            })?
            .unwrap_or(AuthScheme::ApiKey),
        weight: object
            .get("weight", |value| value.whole(1..=100))?
            .unwrap_or(1),
        max_concurrent: object.get("maxConcurrent", |value| value.whole(1..=u32::MAX.into()))?,
    })
}

fn refuse_url(token: &Value) -> Result<(), Error> {
    match without_scheme(&token.string()?) {
        Some(_) => Err(token.expected("a token", "a URL: are baseURL and authToken exchanged?")),
        None => Ok(()),
    }
}

fn without_scheme(text: &str) -> Option<&str> {
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

fn name(value: &Value, earlier: &[Endpoint]) -> Result<String, Error> {
    let name = value.string()?;
    if !(1..=MAX_NAME).contains(&name.len()) || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        let expected = format!("1 to {MAX_NAME} visible ASCII characters without spaces");
        return Err(value.expected(expected, quoted(&name)));
    }
    match earlier.iter().position(|endpoint| endpoint.name == name) {
        Some(i) => Err(value.expected(
            "a name of its own",
            format_args!("{}, as endpoints[{i}] has", quoted(&name)),
        )),
        None => Ok(name),
    }
}

/// Names those that have none yet after their host. A name that a person gave is never taken from its endpoint.
fn name_by_host(endpoints: &mut [Endpoint]) {
    let mut taken: HashSet<String> = endpoints
        .iter()
        .map(|endpoint| endpoint.name.clone())
        .collect();
    for endpoint in endpoints
        .iter_mut()
        .filter(|endpoint| endpoint.name.is_empty())
    {
        let host = endpoint.base_url.host().unwrap_or_default();
        let mut name = host.to_owned();
        let mut number = 1;
        while !taken.insert(name.clone()) {
            number += 1;
            name = format!("{host}#{number}");
        }
        endpoint.name = name;
    }
}

#[cfg(test)]
mod tests;

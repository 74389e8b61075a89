//! One Claude API base URL with its token.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::fmt;

use http::{HeaderName, HeaderValue, Uri};

use super::base_url::{self, without_scheme};
use super::ca_file::CaFile;
use super::client::read_name;
use super::complaint::Error;
use super::document::Value;
use super::listen::Listen;
use super::models::Models;
use super::object::{Object, Shown};
use super::proxy::Proxy;
use super::request_headers;
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
    /// False: it gets nothing, and keeps its counters. Default true.
    pub enabled: bool,
    /// A higher one is used while no endpoint of a lower one is available. 1 to 9, default 1.
    pub tier: u8,
    /// What it serves. `None`: everything, unchanged.
    pub models: Option<Models>,
    /// Further request headers, which replace the client's of that name. Marked sensitive.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    pub proxy: Proxy,
    /// Authorities that count beside the others.
    pub ca_file: Option<CaFile>,
    /// What `--check` shows of the keys, secrets masked.
    pub shown: Shown,
}

/// The header that carries the token to the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthScheme {
    /// `x-api-key: TOKEN`, the default.
    ApiKey,
    /// `authorization: Bearer TOKEN`.
    Bearer,
}

/// Each pick looks at every endpoint under the balancer's lock: with more of them it would show.
const MAX_ENDPOINTS: usize = 1000;

/// The tokens of endpoints.json.example and of the README: whoever meets them has not put in an own one yet.
const EXAMPLES: [&str; 2] = ["your-first-token", "your-second-token"];

impl Endpoint {
    /// All endpoints of the file, named.
    pub(super) fn read_all(
        list: &Value,
        listen: &Listen,
        outside: &Outside,
        warnings: &mut Vec<String>,
    ) -> Result<Vec<Endpoint>, Error> {
        if list.is_object() {
            let expected =
                "an array of endpoints, such as [ { \"baseURL\": …, \"authToken\": … } ]";
            return Err(list.expected(expected, "an object: put it in square brackets"));
        }
        let items = list.array()?;
        if items.is_empty() || items.len() > MAX_ENDPOINTS {
            let found = if items.is_empty() {
                "none".to_owned()
            } else {
                items.len().to_string()
            };
            return Err(list.expected(format_args!("1 to {MAX_ENDPOINTS} endpoints"), found));
        }
        let mut endpoints: Vec<Endpoint> = Vec::with_capacity(items.len());
        // Their places in the list.
        let mut names: HashMap<String, usize> = HashMap::new();
        let mut accounts: HashMap<Account, usize> = HashMap::new();
        for item in &items {
            let endpoint = read(item, listen, outside, warnings, &names)?;
            let i = endpoints.len();
            if !endpoint.name.is_empty() {
                names.insert(endpoint.name.clone(), i);
            }
            if let Some(earlier) = accounts.insert(account(&endpoint), i) {
                let found = format!("both the same as in endpoints[{earlier}]");
                return Err(item.expected("a baseURL or an authToken of its own", found));
            }
            endpoints.push(endpoint);
        }
        if !endpoints.iter().any(|endpoint| endpoint.enabled) {
            return Err(list.expected("one endpoint that is enabled, or more", "none"));
        }
        name_by_host(&mut endpoints);
        Ok(endpoints)
    }

    /// One with these, and defaults for all else.
    pub fn new(name: &str, base_url: Uri, auth_token: Secret) -> Endpoint {
        Endpoint {
            name: name.to_owned(),
            base_url,
            auth_token,
            auth_scheme: AuthScheme::ApiKey,
            weight: 1,
            max_concurrent: None,
            enabled: true,
            tier: 1,
            models: None,
            headers: Vec::new(),
            proxy: Proxy::Environment,
            ca_file: None,
            shown: Shown::new(),
        }
    }

    /// `text`, which is the endpoint's own and may repeat what only we and it should know, with that masked.
    pub fn masked<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.headers.is_empty() {
            return self.auth_token.masked(text);
        }
        // A word of a header's value that is shorter is no secret, and may be part of any word.
        const SHORTEST: usize = 8;
        // Also without `Bearer` and the like.
        let words = self
            .headers
            .iter()
            .filter_map(|(_, value)| value.to_str().ok())
            .flat_map(|value| std::iter::once(value).chain(value.split(' ')))
            .filter(|word| word.len() >= SHORTEST)
            .map(|word| Secret::new(word.to_owned()));
        let mut secrets: Vec<Secret> = words.chain([self.auth_token.clone()]).collect();
        // The longest first: another may be a piece of it.
        secrets.sort_by_key(|secret| std::cmp::Reverse(secret.expose().len()));
        let mut masked = Cow::Borrowed(text);
        for secret in secrets {
            if let Cow::Owned(shorter) = secret.masked(&masked) {
                masked = Cow::Owned(shorter);
            }
        }
        masked
    }
}

impl fmt::Display for Endpoint {
    /// Several lines, for `--check`: where a message goes, and how. The token is masked.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        writeln!(f, "  {:18}{}v1/messages", "url", self.base_url)?;
        for (key, value) in &self.shown {
            writeln!(f, "  {key:18}{value}")?;
        }
        Ok(())
    }
}

/// One endpoint; its name stays empty where the file gives none. `names` are those of the endpoints before it.
fn read(
    item: &Value,
    listen: &Listen,
    outside: &Outside,
    warnings: &mut Vec<String>,
    names: &HashMap<String, usize>,
) -> Result<Endpoint, Error> {
    let keys = item.object()?;
    let auth_scheme = keys
        .get("authScheme", |value| {
            value.one_of(&[
                ("x-api-key", AuthScheme::ApiKey),
                ("bearer", AuthScheme::Bearer),
            ])
        })?
        .unwrap_or(AuthScheme::ApiKey);
    // Before the URL: where the two are exchanged, the URL's complaint would quote the token.
    let auth_token = keys.noted(
        "authToken",
        |value| value.map(|value| auth_token(value, outside)).transpose(),
        |_| auth_scheme.masked().to_owned(),
    )?;
    let base_url = keys.get("baseURL", |value| base_url::read(value, listen, warnings))?;
    let name = keys.get("name", |value| own_name(value, names))?;
    let weight = keys.whole("weight", 1..=100, 1)?;
    let max_concurrent = max_concurrent(&keys)?;
    let enabled = keys.boolean("enabled", true)?;
    let tier = keys.whole("tier", 1..=9, 1)?;
    let models = models(&keys)?;
    let headers = keys.noted(
        "headers",
        |value| {
            let read = |value| request_headers::read(value, auth_scheme, outside);
            value.map_or(Ok(Vec::new()), read)
        },
        |headers| request_headers::shown(headers),
    )?;
    let proxy = keys.noted(
        "proxy",
        |value| value.map_or(Ok(Proxy::default()), |value| Proxy::read(value, outside)),
        Proxy::to_string,
    )?;
    let ca_file = ca_file(&keys, outside)?;
    let shown = keys.finish()?;
    Ok(Endpoint {
        name: name.unwrap_or_default(),
        base_url: keys.needed("baseURL", base_url, "http:// or https://")?,
        auth_token: keys.needed("authToken", auth_token, "a token")?,
        auth_scheme,
        weight,
        max_concurrent,
        enabled,
        tier,
        models,
        headers,
        proxy,
        ca_file,
        shown,
    })
}

/// Who pays for what an endpoint serves: of two that have all of it in common, the second would only share what the first may
/// spend. A gateway may tell accounts apart by a header.
type Account = (Uri, String, Vec<(HeaderName, HeaderValue)>);

fn account(endpoint: &Endpoint) -> Account {
    (
        endpoint.base_url.clone(),
        endpoint.auth_token.expose().to_owned(),
        endpoint.headers.clone(),
    )
}

fn max_concurrent(keys: &Object) -> Result<Option<u32>, Error> {
    let limit = |value: &Value| value.whole(1..=u32::MAX.into());
    keys.noted(
        "maxConcurrent",
        |value| value.map(limit).transpose(),
        |limit| limit.map_or("no limit".to_owned(), |limit: u32| limit.to_string()),
    )
}

fn models(keys: &Object) -> Result<Option<Models>, Error> {
    keys.noted(
        "models",
        |value| value.map(Models::read).transpose(),
        |models| models.as_ref().map_or("all".to_owned(), Models::to_string),
    )
}

fn ca_file(keys: &Object, outside: &Outside) -> Result<Option<CaFile>, Error> {
    let read = |value: &Value| CaFile::read(value, outside);
    keys.noted(
        "caFile",
        |value| value.map(read).transpose(),
        |file| {
            file.as_ref()
                .map_or("none".to_owned(), |file| file.path.clone())
        },
    )
}

impl AuthScheme {
    fn masked(self) -> &'static str {
        match self {
            AuthScheme::ApiKey => "x-api-key: ***",
            AuthScheme::Bearer => "authorization: Bearer ***",
        }
    }
}

fn own_name(value: &Value, names: &HashMap<String, usize>) -> Result<String, Error> {
    let name = read_name(value)?;
    match names.get(&name) {
        Some(i) => {
            let found = format!("\"{name}\", as endpoints[{i}] has");
            Err(value.expected("a name of its own", found))
        }
        None => Ok(name),
    }
}

fn auth_token(value: &Value, outside: &Outside) -> Result<Secret, Error> {
    if without_scheme(&value.string()?).is_some() {
        return Err(value.expected("a token", "a URL: are baseURL and authToken exchanged?"));
    }
    let token = Secret::read_token(value, outside)?;
    if EXAMPLES.contains(&token.expose()) {
        return Err(value.expected("your own token", "the one of the example"));
    }
    Ok(token)
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

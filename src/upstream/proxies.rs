//! The proxies that the environment names, taken as curl takes them.
//!
//! `HTTPS_PROXY` or `HTTP_PROXY` by the endpoint's scheme, else `ALL_PROXY`; small letters before capitals; an empty one is as if it were
//! not there. `NO_PROXY` names hosts that are reached directly: `*`, or a list of names (with everything below them), addresses and
//! networks. <https://curl.se/docs/manpage.html#ENVIRONMENT>

use std::net::IpAddr;

/// What the environment says.
#[derive(Clone, Debug)]
pub struct Proxies<P> {
    https: Option<P>,
    http: Option<P>,
    direct: Vec<String>,
}

impl<P> Proxies<P> {
    pub fn none() -> Proxies<P> {
        Proxies {
            https: None,
            http: None,
            direct: Vec::new(),
        }
    }

    /// `env` knows variables by their name; `parse` makes a proxy of a text that begins with a scheme.
    ///
    /// # Errors
    /// The name of the variable and what is wrong with it; the text itself may hold a password, and is not told.
    pub fn read(
        env: &dyn Fn(&str) -> Option<String>,
        parse: &dyn Fn(&str) -> Result<P, &'static str>,
    ) -> Result<Proxies<P>, String> {
        let variable = |name: &'static str| {
            let set = |name: &str| env(name).filter(|text| !text.is_empty());
            set(&name.to_lowercase()).or_else(|| set(name))
        };
        let proxy = |names: [&'static str; 2]| {
            let found = names
                .into_iter()
                .find_map(|name| Some((name, variable(name)?)));
            let Some((name, text)) = found else {
                return Ok(None);
            };
            let text = match text.contains("://") {
                true => text,
                false => format!("http://{text}"),
            };
            // curl's own default port for proxies.
            let with_port = format!("{}:1080", text.trim_end_matches('/'));
            match parse(&text).or_else(|err| parse(&with_port).map_err(|_| err)) {
                Ok(proxy) => Ok(Some(proxy)),
                Err(found) => Err(format!(
                    "{name}: expected http://[user:password@]host:port or socks5://…, found {found}"
                )),
            }
        };
        Ok(Proxies {
            https: proxy(["HTTPS_PROXY", "ALL_PROXY"])?,
            http: proxy(["HTTP_PROXY", "ALL_PROXY"])?,
            direct: variable("NO_PROXY")
                .unwrap_or_default()
                .split([',', ' '])
                .filter(|item| !item.is_empty())
                .map(str::to_lowercase)
                .collect(),
        })
    }

    /// The proxy for an endpoint; `host` as it stands in a URL.
    pub fn find(&self, is_tls: bool, host: &str) -> Option<&P> {
        let proxy = if is_tls { &self.https } else { &self.http };
        let host = host.to_lowercase();
        let is_direct = self.direct.iter().any(|item| covers(item, &host));
        proxy.as_ref().filter(|_| !is_direct)
    }
}

/// Whether an item of `NO_PROXY` means this host; both in small letters.
fn covers(item: &str, host: &str) -> bool {
    let bare = |text: &str| text.trim_matches(['[', ']']).parse::<IpAddr>().ok();
    if item == "*" {
        return true;
    }
    if let Some(address) = bare(host) {
        return match item.split_once('/') {
            None => bare(item) == Some(address),
            Some((network, bits)) => match (bare(network), bits.parse()) {
                (Some(network), Ok(bits)) => is_in(address, network, bits),
                _ => false,
            },
        };
    }
    let (host, item) = (host.trim_end_matches('.'), item.trim_matches('.'));
    match host.strip_suffix(item) {
        Some(before) => !item.is_empty() && (before.is_empty() || before.ends_with('.')),
        None => false,
    }
}

/// Whether the first `bits` of both are the same.
fn is_in(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let (one, two, length) = match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(two)) => {
            (u128::from(one.to_bits()), u128::from(two.to_bits()), 32)
        }
        (IpAddr::V6(one), IpAddr::V6(two)) => (one.to_bits(), two.to_bits(), 128),
        _ => return false,
    };
    bits <= length && (one ^ two).checked_shr(length - bits).unwrap_or(0) == 0
}

#[cfg(test)]
mod tests;

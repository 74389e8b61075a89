//! By which way an endpoint is reached.

use std::fmt;
use std::net::Ipv6Addr;

use super::complaint::Error;
use super::document::Value;
use super::listen;
use super::secret::{Outside, Secret};

/// The way out to one endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Proxy {
    /// As `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say. The default.
    #[default]
    Environment,
    /// Through none, whatever the environment says.
    Direct,
    Via(ProxyAddress),
}

/// A proxy, and what it must be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyAddress {
    pub kind: ProxyKind,
    /// Without percent-encoding. `None`: it asks for none.
    pub user: Option<Secret>,
    /// Without percent-encoding; only where there is a user.
    pub password: Option<Secret>,
    /// A name, an IPv4 address, or an IPv6 address without its brackets.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

/// What a proxy speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyKind {
    /// HTTP CONNECT (RFC 9110 §9.3.6).
    Http,
    /// RFC 1928; the proxy looks the endpoint's name up.
    Socks5,
}

impl Proxy {
    pub(super) fn read(value: &Value, outside: &Outside) -> Result<Proxy, Error> {
        let text = Secret::read(value, outside)?;
        if text.expose() == "direct" {
            return Ok(Proxy::Direct);
        }
        let address = ProxyAddress::parse(text.expose());
        // It may hold a password, so nothing of it is shown.
        let expected = "\"direct\", \"http://[user:password@]host:port\" or \"socks5://[user:password@]host:port\"";
        address
            .map(Proxy::Via)
            .map_err(|found| value.expected(expected, found))
    }
}

impl ProxyAddress {
    /// `http://[user[:password]@]host:port` or `socks5://…`; user and password may be percent-encoded.
    ///
    /// # Errors
    /// What was found instead; it holds nothing of `text`.
    pub fn parse(text: &str) -> Result<ProxyAddress, &'static str> {
        let (scheme, rest) = text.split_once("://").ok_or("no scheme")?;
        let kind = match &*scheme.to_ascii_lowercase() {
            "http" => ProxyKind::Http,
            "socks5" | "socks5h" => ProxyKind::Socks5,
            "https" => return Err("https: to a proxy, the connection is plain (http)"),
            _ => return Err("another scheme"),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, place) = match rest.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, rest),
        };
        if place.contains(['/', '?', '#']) {
            return Err("something behind the host and port");
        }
        let listen::Listen { host, port } = listen::parse(place)
            .filter(|place| place.port > 0)
            .ok_or("no host:port (an IPv6 address stands in brackets)")?;
        let (user, password) = match login.map(|login| login.split_once(':').unwrap_or((login, "")))
        {
            None => (None, None),
            Some(("", _)) => return Err("an empty user"),
            Some((user, password)) => (Some(decoded(user)?), Some(decoded(password)?)),
        };
        Ok(ProxyAddress {
            kind,
            user,
            password: password.filter(|password| !password.expose().is_empty()),
            host,
            port,
        })
    }
}

impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Proxy::Environment => f.write_str("as the environment says"),
            Proxy::Direct => f.write_str("direct"),
            Proxy::Via(address) => address.fmt(f),
        }
    }
}

impl fmt::Display for ProxyAddress {
    /// User and password are masked.
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Http => "http",
            ProxyKind::Socks5 => "socks5",
        };
        let login = if self.user.is_some() { "***@" } else { "" };
        if self.host.parse::<Ipv6Addr>().is_ok() {
            write!(f, "{scheme}://{login}[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{login}{}:{}", self.host, self.port)
        }
    }
}

/// `%40` and the like as what they stand for.
fn decoded(text: &str) -> Result<Secret, &'static str> {
    const BROKEN: &str = "a broken %-sequence in user or password";
    let mut pieces = text.split('%');
    let mut bytes = pieces.next().unwrap_or_default().as_bytes().to_vec();
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2).ok_or(BROKEN)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(BROKEN);
        }
        bytes.push(u8::from_str_radix(digits, 16).map_err(|_| BROKEN)?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    let text = String::from_utf8(bytes).map_err(|_| BROKEN)?;
    // Both have a length of one byte in RFC 1929.
    if text.len() > 255 || text.contains(char::is_control) {
        return Err("a user or password of more than 255 bytes or with a control character");
    }
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text: &str, expected: &str, login: Option<(&str, Option<&str>)>| {
            let address = ProxyAddress::parse(text).expect(text);
            assert_eq!(address.to_string(), expected);
            let found = address
                .user
                .as_ref()
                .map(|user| (user.expose(), address.password.as_ref().map(Secret::expose)));
            assert_eq!(found, login, "{text}");
        };
        check("http://proxy:3128", "http://proxy:3128", None);
        check("HTTP://10.0.0.1:3128/", "http://10.0.0.1:3128", None);
        check("socks5://[::1]:1080", "socks5://[::1]:1080", None);
        check("http://u:p@h:1", "http://***@h:1", Some(("u", Some("p"))));
        check("http://u@h:1", "http://***@h:1", Some(("u", None)));
        check(
            "http://u%40x:p%3Aq@r@h:1",
            "http://***@h:1",
            Some(("u@x", Some("p:q@r"))),
        );
    }

    #[test]
    fn what_is_no_proxy() {
        for wrong in [
            "",
            "proxy:3128",
            "https://h:1",
            "socks4://h:1",
            "http://h",
            "http://h:0",
            "http://:1",
            "http://h:x",
            "http://h:1/path",
            "http://h:1?q",
            "http://::1:80",
            "http://@h:1",
            "http://:p@h:1",
            "http://u:%4@h:1",
            "http://u:%zz@h:1",
            "http://u:%ff@h:1",
            "http://u:%0a@h:1",
            "http://u:%+1@h:1",
            "direct",
        ] {
            assert!(ProxyAddress::parse(wrong).is_err(), "{wrong}");
        }
    }
}

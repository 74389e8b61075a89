//! The address that clients connect to.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr};

use super::complaint::{Error, quoted};
use super::document::Value;

/// Host and port of the public listener. A change needs a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listen {
    /// A name, an IPv4 address, or an IPv6 address without its brackets.
    pub host: String,
    /// 0: the system picks a free one.
    pub port: u16,
}

impl Default for Listen {
    /// The Node original's port; loopback, as nobody has set a client token yet.
    fn default() -> Listen {
        Listen {
            host: "127.0.0.1".to_owned(),
            port: 13255,
        }
    }
}

impl Listen {
    /// Whether only this machine reaches it. A name other than `localhost` may mean any address: it counts as public.
    pub fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host.eq_ignore_ascii_case("localhost")
            || address.is_ok_and(|address| address.is_loopback())
    }

    /// Whether a connection to `host` (an IPv6 address without brackets) and `port` would come to ourselves, as far as that can be told
    /// without a look-up.
    pub(super) fn is_reached_by(&self, host: &str, port: u16) -> bool {
        // One that is any address is connected to as loopback (Linux).
        let loopback = |address: IpAddr| address.is_loopback() || address.is_unspecified();
        let is_here = |host: &str| {
            host.eq_ignore_ascii_case("localhost")
                || matches!(host, "127.0.0.1" | "::1" | "0.0.0.0" | "::")
        };
        let same = match (self.host.parse::<IpAddr>(), host.parse::<IpAddr>()) {
            (Ok(ours), _) if ours.is_unspecified() => {
                is_here(host) || host.parse().is_ok_and(loopback)
            }
            (Ok(ours), Ok(theirs)) if ours == theirs => true,
            _ => self.host.eq_ignore_ascii_case(host) || is_here(&self.host) && is_here(host),
        };
        same && self.port == port && port != 0
    }

    /// `host:port`, an IPv6 address in brackets.
    pub(super) fn read(value: &Value) -> Result<Listen, Error> {
        let text = value.string()?;
        parse(&text).ok_or_else(|| {
            let expected = "host:port, such as 127.0.0.1:13255 or [::1]:13255";
            value.expected(expected, quoted(&text))
        })
    }

    /// With what `PORT` and `HOST` say instead. An empty variable counts as unset, as in `${PORT:-13255}`.
    pub(super) fn with_env(
        mut self,
        env: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Listen, Error> {
        let set = |name| env(name).filter(|text| !text.is_empty());
        if let Some(text) = set("PORT") {
            self.port = port(&text).ok_or_else(|| {
                Error::new(format_args!(
                    "PORT in the environment: expected 0 to 65535, found {}",
                    quoted(&text)
                ))
            })?;
        }
        if let Some(text) = set("HOST") {
            self.host = host(&text).ok_or_else(|| {
                let expected = "a host name or an IP address without a port";
                Error::new(format_args!(
                    "HOST in the environment: expected {expected}, found {}",
                    quoted(&text)
                ))
            })?;
        }
        Ok(self)
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let Listen { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

/// Also for a proxy's address.
pub(super) fn parse(text: &str) -> Option<Listen> {
    let (name, number) = text.rsplit_once(':')?;
    // `::1:80` is an address itself: without brackets nobody knows where its port begins.
    if name.contains(':') && !name.starts_with('[') {
        return None;
    }
    Some(Listen {
        host: host(name)?,
        port: port(number)?,
    })
}

/// Without brackets, if it is a name or an address at all.
pub(super) fn host(text: &str) -> Option<String> {
    let inner = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    if text.contains([':', '[']) {
        let address = inner.unwrap_or(text);
        return address.parse::<Ipv6Addr>().ok().map(|_| address.to_owned());
    }
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    // 253 is the longest name that DNS knows.
    ((1..=253).contains(&text.len()) && text.chars().all(is_name)).then(|| text.to_owned())
}

/// Digits only: `parse` alone would take a sign.
fn port(text: &str) -> Option<u16> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    if digits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text: &str, host: &str, port: u16, loopback: bool| {
            let listen = parse(text).expect(text);
            assert_eq!(
                (&*listen.host, listen.port, listen.is_loopback()),
                (host, port, loopback),
                "{text}"
            );
            assert_eq!(parse(&listen.to_string()), Some(listen));
        };
        check("127.0.0.1:13255", "127.0.0.1", 13255, true);
        check("127.9.9.9:0", "127.9.9.9", 0, true);
        check("[::1]:80", "::1", 80, true);
        check("localhost:80", "localhost", 80, true);
        check("LocalHost:80", "LocalHost", 80, true);
        check("0.0.0.0:80", "0.0.0.0", 80, false);
        check("[::]:80", "::", 80, false);
        check("[::ffff:127.0.0.1]:80", "::ffff:127.0.0.1", 80, false);
        check("10.0.0.1:65535", "10.0.0.1", 65535, false);
        check("my-host.example:80", "my-host.example", 80, false);
        check("localhost.example:80", "localhost.example", 80, false);
        for wrong in [
            "",
            ":",
            "80",
            ":80",
            "host",
            "host:",
            "host:x",
            "host:65536",
            "host:-1",
            "host:+1",
            "::1:80",
            "::1",
            "[::1]",
            "[::1:80",
            "[]:80",
            "[host]:80",
            "[127.0.0.1]:80",
            "*:80",
            "a b:80",
            "http://host:80",
            "host:80/",
            "a]:80",
        ] {
            assert_eq!(parse(wrong), None, "{wrong}");
        }
        assert_eq!(parse(&format!("{}:80", "a".repeat(254))), None);
    }

    #[test]
    fn ourselves() {
        let check = |listen: &str, host: &str, port: u16, expected: bool| {
            let listen = parse(listen).expect(listen);
            assert_eq!(
                listen.is_reached_by(host, port),
                expected,
                "{listen} {host}"
            );
        };
        check("127.0.0.1:7", "127.0.0.1", 7, true);
        check("127.0.0.1:7", "localhost", 7, true);
        check("127.0.0.1:7", "0.0.0.0", 7, true);
        check("localhost:7", "LOCALHOST", 7, true);
        check("0.0.0.0:7", "127.0.0.9", 7, true);
        check("[::]:7", "::1", 7, true);
        check("box.example:7", "Box.example", 7, true);
        check("10.0.0.1:7", "10.0.0.1", 7, true);
        check("127.0.0.1:7", "127.0.0.1", 8, false);
        check("127.0.0.1:7", "127.0.0.2", 7, false);
        check("127.0.0.1:0", "127.0.0.1", 0, false);
        check("0.0.0.0:7", "10.0.0.1", 7, false);
        check("10.0.0.1:7", "localhost", 7, false);
    }

    #[test]
    fn the_environment_beats_the_file() {
        let check = |port: Option<&str>, host: Option<&str>, expected: &str| {
            let env = |name: &str| if name == "PORT" { port } else { host }.map(str::to_owned);
            let listen = Listen {
                host: "localhost".to_owned(),
                port: 7,
            }
            .with_env(&env);
            assert_eq!(
                listen.map_or_else(|err| err.to_string(), |listen| listen.to_string()),
                expected
            );
        };
        check(None, None, "localhost:7");
        check(Some(""), Some(""), "localhost:7");
        check(Some("0"), None, "localhost:0");
        check(None, Some("0.0.0.0"), "0.0.0.0:7");
        check(Some("80"), Some("::1"), "[::1]:80");
        check(Some("80"), Some("[::1]"), "[::1]:80");
        let place = "in the environment: expected";
        check(
            Some("http"),
            None,
            &format!("PORT {place} 0 to 65535, found \"http\""),
        );
        check(
            Some("65536"),
            None,
            &format!("PORT {place} 0 to 65535, found \"65536\""),
        );
        check(
            Some("+80"),
            None,
            &format!("PORT {place} 0 to 65535, found \"+80\""),
        );
        let expected = "a host name or an IP address without a port";
        check(
            None,
            Some("a:80"),
            &format!("HOST {place} {expected}, found \"a:80\""),
        );
        check(
            None,
            Some("a\nb"),
            &format!("HOST {place} {expected}, found \"a\\nb\""),
        );
    }
}

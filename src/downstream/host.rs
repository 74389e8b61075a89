//! Which name a request calls us by, and whether that is one.

/// A host with an optional port, as `Host` and an absolute target carry it (RFC 9110 §7.2, RFC 3986 §3.2.2). Empty is allowed there; a user
/// before an `@` is not.
pub fn is_authority(text: &[u8]) -> bool {
    let Some((host, port)) = split_port(text) else {
        return false;
    };
    let is_port = port.is_none_or(|port| port.len() <= 5 && port.iter().all(u8::is_ascii_digit));
    let is_name = |b: &u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=%".contains(b);
    let is_address = |b: &u8| b.is_ascii_hexdigit() || matches!(b, b':' | b'.');
    let is_host = match host
        .strip_prefix(b"[")
        .and_then(|host| host.strip_suffix(b"]"))
    {
        Some(address) => address.len() > 1 && address.iter().all(is_address),
        None => host.iter().all(is_name),
    };
    is_host && is_port
}

/// The host of an authority, without its port.
pub fn host(authority: &[u8]) -> &[u8] {
    split_port(authority).map_or(authority, |(host, _)| host)
}

/// `None` where a bracket is not closed, or something other than a port follows it.
fn split_port(text: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    if text.starts_with(b"[") {
        let end = text.iter().position(|&b| b == b']')? + 1;
        return match text.get(end) {
            None => Some((text, None)),
            Some(b':') => Some((&text[..end], Some(&text[end + 1..]))),
            Some(_) => None,
        };
    }
    match text.iter().position(|&b| b == b':') {
        Some(at) => Some((&text[..at], Some(&text[at + 1..]))),
        None => Some((text, None)),
    }
}

/// A machine's own names for itself: its pages may always call.
pub fn is_loopback(host: &[u8]) -> bool {
    is_localhost(host) || host == b"127.0.0.1" || host == b"[::1]"
}

/// `localhost`, and what is below it: no name server is asked for those (RFC 6761 §6.3).
pub fn is_localhost(host: &[u8]) -> bool {
    const NAME: &[u8] = b"localhost";
    let Some(before) = host.len().checked_sub(NAME.len()) else {
        return false;
    };
    let (before, name) = host.split_at(before);
    name.eq_ignore_ascii_case(NAME) && (before.is_empty() || before.ends_with(b"."))
}

/// An address and no name: nobody else can make it lead here.
pub fn is_address(host: &[u8]) -> bool {
    let text = str::from_utf8(host).unwrap_or_default();
    let text = text
        .strip_prefix('[')
        .and_then(|text| text.strip_suffix(']'))
        .unwrap_or(text);
    text.parse::<std::net::IpAddr>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities() {
        for good in [
            "",
            "a",
            "a.b",
            "a:80",
            "a:",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:80",
            "a_b",
            "xn--e1a",
        ] {
            assert!(is_authority(good.as_bytes()), "{good}");
        }
        for bad in [
            "a b", "a@b", "[::1", "[::1]x", "[]", "a:b", "a:123456", "a/b", "a?b", "a\\b", "é",
            "::1", "a#b",
        ] {
            assert!(!is_authority(bad.as_bytes()), "{bad}");
        }
        assert!(!is_authority(b"\xff"));
    }

    #[test]
    fn hosts() {
        assert_eq!(host(b"a:80"), b"a");
        assert_eq!(host(b"[::1]:80"), b"[::1]");
        assert_eq!(host(b"a"), b"a");
        for own in ["localhost", "LocalHost", "a.localhost"] {
            assert!(is_localhost(own.as_bytes()), "{own}");
        }
        for other in ["alocalhost", "localhost.evil", "local", ""] {
            assert!(!is_localhost(other.as_bytes()), "{other}");
        }
        assert!(is_address(b"10.0.0.1") && is_address(b"[fe80::1]") && !is_address(b"a.b"));
        // Names of one number are addresses to some, and names to us.
        assert!(!is_address(b"2130706433") && !is_address(b"0x7f.1"));
    }
}

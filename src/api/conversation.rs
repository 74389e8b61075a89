//! The name of a conversation, as far as a request's headers tell it. What a body tells is in [`super::body`].

use http::{HeaderMap, HeaderName};

/// Headers that name a conversation, the surest first: Claude Code's, then those of other clients and gateways.
const HEADERS: [HeaderName; 6] = [
    HeaderName::from_static("x-claude-code-session-id"),
    HeaderName::from_static("x-session-affinity"),
    HeaderName::from_static("x-session-id"),
    HeaderName::from_static("x-opencode-session"),
    HeaderName::from_static("x-kilocode-taskid"),
    HeaderName::from_static("x-client-session-id"),
];

/// The conversation that the headers name, as a number.
pub fn of_headers(headers: &HeaderMap) -> Option<u64> {
    let mut named = HEADERS.into_iter().filter_map(|name| headers.get(name));
    let name = named.find(|value| !value.is_empty())?;
    Some(hash(name.as_bytes()))
}

/// FNV-1a, 64 bits: written out, since std's hashes may change from one release to the next, and with them every conversation's place.
pub fn hash(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_surest_header_counts() {
        let mut headers = HeaderMap::new();
        assert_eq!(of_headers(&headers), None);
        headers.insert("x-client-session-id", "a".parse().expect("a value"));
        assert_eq!(of_headers(&headers), Some(hash(b"a")));
        headers.insert("x-session-id", "b".parse().expect("a value"));
        assert_eq!(of_headers(&headers), Some(hash(b"b")));
        headers.insert("x-claude-code-session-id", "".parse().expect("a value"));
        assert_eq!(
            of_headers(&headers),
            Some(hash(b"b")),
            "an empty one names nothing"
        );
    }

    #[test]
    fn the_hash_never_changes() {
        assert_eq!(hash(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(hash(b"a"), 0xaf63_dc4c_8601_ec8c);
    }
}

//! What a request's head says, and whether it may.
//!
//! Stricter than the grammar where leniency has let requests be smuggled: one length or one `chunked`, never both; CR LF
//! only; no folded lines.

use std::mem::MaybeUninit;

use bytes::Bytes;
use http::Method;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use memchr::memchr_iter;

use super::host::is_authority;
use super::refusal::{HEAD_TOO_LARGE, Refusal, UNKNOWN_EXPECTATION, UNKNOWN_VERSION, malformed};
use crate::api::headers::lists;

/// Largest head, in bytes, and most header lines in it.
pub const MAX_HEAD: usize = 64 << 10;
const MAX_LINES: usize = 128;
/// Longest method, in bytes: the longest that is registered has 17 (IANA's "Hypertext Transfer Protocol (HTTP) Method Registry").
const MAX_METHOD: usize = 32;
/// Most names in `connection`: there are no more header lines to name.
const MAX_NAMED: usize = MAX_LINES;

/// A request's head.
#[derive(Debug)]
pub struct Head {
    pub method: Method,
    pub target: PathAndQuery,
    /// The host and port that the request is for: the target's where it names one, else those of `host`. Empty where an HTTP/1.0 request
    /// has none.
    pub authority: HeaderValue,
    pub headers: HeaderMap,
    pub body: Framing,
    /// The client asks for a word before it sends the body.
    pub expects_continue: bool,
    /// The connection may serve another request after this one.
    pub keep_alive: bool,
    /// HTTP/1.0 knows no chunks.
    pub is_http10: bool,
}

/// How a request's body is told from what follows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    Length(u64),
    Chunked,
}

impl Head {
    pub fn has_body(&self) -> bool {
        self.body != Framing::Length(0)
    }
}

/// How far a head has been looked through. Faults are found at the line that holds them, not at the head's end: a
/// greeting in another protocol has none.
#[derive(Default)]
pub struct Scan {
    looked: usize,
    line_start: usize,
    lines: usize,
}

impl Scan {
    /// Where the head ends, if it is whole.
    pub fn find_end(&mut self, head: &[u8]) -> Result<Option<usize>, Refusal> {
        // Empty lines before a request are passed over (RFC 9112 §2.2).
        if let Some(&first) = head.first()
            && !(is_token(first) || first == b'\r' || first == b'\n')
        {
            return Err(malformed("this is not HTTP/1.1"));
        }
        for at in memchr_iter(b'\n', &head[self.looked..]).map(|at| at + self.looked) {
            // What is behind the limit is not looked at, so that it does not matter in which pieces the head comes.
            if at >= MAX_HEAD {
                return Err(HEAD_TOO_LARGE);
            }
            if at == 0 || head[at - 1] != b'\r' {
                return Err(malformed("a line of the head ends without CR LF"));
            }
            let line = &head[self.line_start..at - 1];
            self.line_start = at + 1;
            match (self.lines, line) {
                (0, []) => continue,
                (0, line) => check_version(line)?,
                (_, []) => return Ok(Some(at + 1)),
                (lines, _) if lines > MAX_LINES => return Err(HEAD_TOO_LARGE),
                _ => {}
            }
            self.lines += 1;
        }
        self.looked = head.len();
        if head.len() > MAX_HEAD {
            Err(HEAD_TOO_LARGE)
        } else {
            Ok(None)
        }
    }
}

fn check_version(request_line: &[u8]) -> Result<(), Refusal> {
    let version = request_line
        .rsplit(|&b| b == b' ')
        .next()
        .unwrap_or_default();
    match version {
        b"HTTP/1.1" | b"HTTP/1.0" => Ok(()),
        [b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] => Err(UNKNOWN_VERSION),
        _ => Err(malformed("malformed request line")),
    }
}

fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Reads a head that is whole. The values of its headers are parts of one copy of it.
pub fn parse(head: &[u8]) -> Result<Head, Refusal> {
    if head.len() > MAX_HEAD {
        return Err(HEAD_TOO_LARGE);
    }
    let head = Bytes::copy_from_slice(head);
    let mut lines = [const { MaybeUninit::uninit() }; MAX_LINES];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(&head, &mut lines) {
        Ok(httparse::Status::Complete(_)) => {}
        Ok(httparse::Status::Partial) => return Err(malformed("malformed head")),
        Err(httparse::Error::TooManyHeaders) => return Err(HEAD_TOO_LARGE),
        Err(_) => return Err(malformed("malformed head")),
    }
    let (Some(method), Some(target), Some(minor)) = (request.method, request.path, request.version)
    else {
        return Err(malformed("malformed request line"));
    };
    let mut headers = HeaderMap::with_capacity(request.headers.len());
    for line in request.headers.iter() {
        let name = name(line.name.as_bytes()).ok_or(malformed("malformed header name"))?;
        let value = HeaderValue::from_maybe_shared(head.slice_ref(line.value))
            .map_err(|_| malformed("malformed header value"))?;
        headers.append(name, value);
    }
    if method.len() > MAX_METHOD {
        return Err(malformed("no method is longer than 32 bytes"));
    }
    let method =
        Method::from_bytes(method.as_bytes()).map_err(|_| malformed("malformed method"))?;
    let is_http10 = minor == 0;
    let host = host(&headers, is_http10)?;
    let (target, authority) = target_of(&method, target)?;
    let named = headers.get_all(header::CONNECTION).iter();
    if named
        .map(|value| memchr_iter(b',', value.as_bytes()).count() + 1)
        .sum::<usize>()
        > MAX_NAMED
    {
        return Err(malformed("connection names more headers than there can be"));
    }
    let body = framing(&headers, is_http10)?;
    let close = headers
        .get_all(header::CONNECTION)
        .iter()
        .any(|value| lists(value, "close"));
    Ok(Head {
        method,
        target,
        authority: authority.unwrap_or(host),
        body,
        expects_continue: expects_continue(&headers)? && !is_http10 && body != Framing::Length(0),
        keep_alive: !is_http10 && !close,
        is_http10,
        headers,
    })
}

/// What Claude Code and the SDKs send with each request, beside the names that the `http` crate knows: these need no copy.
static USUAL: [HeaderName; 15] = [
    HeaderName::from_static("anthropic-version"),
    HeaderName::from_static("anthropic-beta"),
    HeaderName::from_static("anthropic-dangerous-direct-browser-access"),
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("x-app"),
    HeaderName::from_static("x-claude-code-session-id"),
    HeaderName::from_static("x-stainless-arch"),
    HeaderName::from_static("x-stainless-helper-method"),
    HeaderName::from_static("x-stainless-lang"),
    HeaderName::from_static("x-stainless-os"),
    HeaderName::from_static("x-stainless-package-version"),
    HeaderName::from_static("x-stainless-retry-count"),
    HeaderName::from_static("x-stainless-runtime"),
    HeaderName::from_static("x-stainless-runtime-version"),
    HeaderName::from_static("x-stainless-timeout"),
];

fn name(bytes: &[u8]) -> Option<HeaderName> {
    let mut usual = USUAL.iter();
    match usual.find(|name| name.as_str().as_bytes().eq_ignore_ascii_case(bytes)) {
        Some(name) => Some(name.clone()),
        None => HeaderName::from_bytes(bytes).ok(),
    }
}

/// The one `host`; empty where HTTP/1.0 has none (RFC 9112 §3.2).
fn host(headers: &HeaderMap, is_http10: bool) -> Result<HeaderValue, Refusal> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) if is_authority(host.as_bytes()) => Ok(host.clone()),
        (Some(_), None) => Err(malformed("host is no host and port")),
        (None, _) if is_http10 => Ok(HeaderValue::from_static("")),
        _ => Err(malformed("a request names its host once")),
    }
}

/// `GET http://host/path` is the same request as `GET /path` with that host (RFC 9112 §3.2.2).
fn target_of(
    method: &Method,
    target: &str,
) -> Result<(PathAndQuery, Option<HeaderValue>), Refusal> {
    const MALFORMED: Refusal = malformed("malformed request target");
    // Its target is a host and port. Nobody is let through to one.
    if *method == Method::CONNECT {
        return Ok((PathAndQuery::from_static("/"), None));
    }
    let (path, authority) = match target.split_once("://") {
        Some((scheme, rest))
            if scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https") =>
        {
            let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            if authority.is_empty() || !is_authority(authority.as_bytes()) {
                return Err(MALFORMED);
            }
            let authority = HeaderValue::from_str(authority).map_err(|_| MALFORMED)?;
            (path, Some(authority))
        }
        _ => (target, None),
    };
    let is_path = path.starts_with('/') || (authority.is_none() && path == "*");
    let path = match path.strip_prefix('?') {
        Some(query) if authority.is_some() => PathAndQuery::try_from(format!("/?{query}")),
        None if path.is_empty() && authority.is_some() => PathAndQuery::try_from("/"),
        _ if !is_path || path.contains('#') => return Err(MALFORMED),
        _ => PathAndQuery::try_from(path),
    };
    Ok((path.map_err(|_| MALFORMED)?, authority))
}

fn framing(headers: &HeaderMap, is_http10: bool) -> Result<Framing, Refusal> {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let mut lengths = headers.get_all(header::CONTENT_LENGTH).iter();
    match (codings.next(), lengths.next()) {
        (None, None) => Ok(Framing::Length(0)),
        (Some(_), Some(_)) => Err(malformed("both content-length and transfer-encoding")),
        (Some(coding), None) => {
            if is_http10
                || codings.next().is_some()
                || !coding.as_bytes().eq_ignore_ascii_case(b"chunked")
            {
                return Err(malformed(
                    "unknown transfer-encoding; this balancer takes chunked",
                ));
            }
            Ok(Framing::Chunked)
        }
        (None, Some(length)) => {
            let digits = length.as_bytes();
            if lengths.next().is_some() {
                return Err(malformed("more than one content-length"));
            }
            if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
                return Err(malformed("content-length is not a number"));
            }
            // More digits than fit are a number all the same, and more than anybody takes.
            let length = length.to_str().ok().and_then(|digits| digits.parse().ok());
            Ok(Framing::Length(length.unwrap_or(u64::MAX)))
        }
    }
}

fn expects_continue(headers: &HeaderMap) -> Result<bool, Refusal> {
    let mut expected = headers.get_all(header::EXPECT).iter();
    match (expected.next(), expected.next()) {
        (None, _) => Ok(false),
        (Some(value), None) if value.as_bytes().eq_ignore_ascii_case(b"100-continue") => Ok(true),
        _ => Err(UNKNOWN_EXPECTATION),
    }
}

#[cfg(test)]
mod tests;

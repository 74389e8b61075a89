//! What a head says, row by row, and what is refused.

use super::*;

fn head(start: &str, lines: &str) -> Result<Head, Refusal> {
    parse(format!("{start} HTTP/1.1\r\n{lines}\r\n").as_bytes())
}

/// Method and target of a request with a host.
fn target(start: &str) -> Result<(String, String), u16> {
    let head = head(start, "host: own\r\n").map_err(|refusal| refusal.status.as_u16())?;
    let authority = head.authority.to_str().expect("text").to_owned();
    Ok((head.target.to_string(), authority))
}

#[test]
fn targets() {
    let is = |path: &str, host: &str| Ok((path.to_owned(), host.to_owned()));
    assert_eq!(target("GET /v1/models?a=b"), is("/v1/models?a=b", "own"));
    assert_eq!(target("OPTIONS *"), is("*", "own"));
    assert_eq!(target("GET http://other/"), is("/", "other"));
    assert_eq!(target("GET HTTP://other:80/a?b"), is("/a?b", "other:80"));
    assert_eq!(target("GET http://other?x"), is("/?x", "other"));
    assert_eq!(target("GET http://other"), is("/", "other"));
    assert_eq!(target("CONNECT other:443"), is("/", "own"));
    for bad in [
        "GET http:///v1/",
        "GET http://a@b/",
        "GET http://[::1/",
        "GET ftp://a/",
        "GET a/b",
        "GET /a#b",
    ] {
        assert_eq!(target(bad), Err(400), "{bad}");
    }
}

#[test]
fn hosts() {
    for good in ["a", "a:80", "[::1]:80", "127.0.0.1", ""] {
        let head = head("GET /", &format!("host: {good}\r\n"));
        assert_eq!(head.expect("a request").authority, good);
    }
    for bad in ["a b", "a@b", "[::1", "a/b", "a:b"] {
        assert!(head("GET /", &format!("host: {bad}\r\n")).is_err(), "{bad}");
    }
    assert!(head("GET /", "host: a\r\nhost: a\r\n").is_err());
    assert!(head("GET /", "").is_err());
    let old = parse(b"GET / HTTP/1.0\r\n\r\n").expect("a request");
    assert_eq!(old.authority, "");
}

#[test]
fn methods_and_connection() {
    let method = |length| head(&format!("{} /", "M".repeat(length)), "host: a\r\n");
    assert!(method(32).is_ok());
    assert!(method(33).is_err());
    let names = |many| {
        head(
            "GET /",
            &format!("host: a\r\nconnection: {}\r\n", vec!["x"; many].join(",")),
        )
    };
    assert!(names(128).is_ok());
    assert!(names(129).is_err());
}

#[test]
fn a_head_over_the_limit_is_too_large_in_whatever_pieces_it_comes() {
    let start = format!("GET / HTTP/1.1\r\na: {}", "b".repeat(MAX_HEAD));
    let whole = format!("{start}\nc");
    for pieces in [vec![whole.as_str()], vec![start.as_str(), whole.as_str()]] {
        let mut scan = Scan::default();
        let found = pieces
            .iter()
            .map(|piece| scan.find_end(piece.as_bytes()))
            .find(Result::is_err);
        assert_eq!(found, Some(Err(HEAD_TOO_LARGE)));
    }
}

//! Further request headers of an endpoint.

use http::{HeaderName, HeaderValue, header};

use super::complaint::Error;
use super::document::Value;
use super::endpoint::AuthScheme;
use super::secret::{Outside, Secret};

/// They belong to one connection, or say where a message ends: ours to write (RFC 9110 §7.6.1).
const OURS: [&str; 11] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Header lines of one endpoint. A request has room for 128 in all.
const MOST: usize = 32;

/// `{ "NAME": "VALUE", … }`, marked sensitive, each name once.
pub fn read(
    value: &Value,
    scheme: AuthScheme,
    outside: &Outside,
) -> Result<Vec<(HeaderName, HeaderValue)>, Error> {
    let credential = match scheme {
        AuthScheme::ApiKey => HeaderName::from_static("x-api-key"),
        AuthScheme::Bearer => header::AUTHORIZATION,
    };
    let mut headers: Vec<(HeaderName, HeaderValue)> = Vec::new();
    for entry in value.entries()? {
        let name = HeaderName::try_from(&*entry.name);
        let name = name.map_err(|_| entry.key.expected("the name of a header", "another"))?;
        if OURS.contains(&name.as_str()) {
            let expected = "a header that is not the connection's own";
            return Err(entry.key.expected(expected, name));
        }
        if name == credential {
            let expected = "authToken to carry the endpoint's credential";
            return Err(entry.key.expected(expected, name));
        }
        if headers.iter().any(|(other, _)| *other == name) {
            return Err(entry.key.expected("each header once", "it again"));
        }
        let secret = Secret::read(&entry.value, outside)?;
        let mut value = HeaderValue::from_str(secret.expose())
            .map_err(|_| entry.value.expected("the value of a header", "another"))?;
        value.set_sensitive(true);
        headers.push((name, value));
    }
    if headers.len() > MOST {
        return Err(value.expected(format_args!("{MOST} headers at most"), headers.len()));
    }
    Ok(headers)
}

/// The names, for `--check`.
pub fn shown(headers: &[(HeaderName, HeaderValue)]) -> String {
    let lines: Vec<_> = headers
        .iter()
        .map(|(name, _)| format!("{name}: ***"))
        .collect();
    match &*lines {
        [] => "none".to_owned(),
        lines => lines.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_as(text: &str, scheme: AuthScheme) -> Result<String, String> {
        let outside = Outside {
            env: &|name| (name == "A").then(|| "s3cr3t".to_owned()),
            file: &|_| Ok(String::new()),
        };
        let value = Value::document(text, "f").expect(text).named("headers");
        let headers = read(&value, scheme, &outside).map_err(|err| err.to_string())?;
        assert!(!format!("{headers:?}").contains("s3cr3t"));
        assert!(headers.iter().all(|(_, value)| value.is_sensitive()));
        Ok(shown(&headers))
    }

    #[test]
    fn headers() {
        let check = |text: &str, expected: &str| {
            assert_eq!(read_as(text, AuthScheme::ApiKey).as_deref(), Ok(expected));
        };
        check("{}", "none");
        check(
            r#"{"X-Team": "${A}", "_": 1, "cf-aig": "b c"}"#,
            "x-team: ***, cf-aig: ***",
        );
        check(r#"{"Authorization": "Bearer ${A}"}"#, "authorization: ***");
    }

    #[test]
    fn complaints() {
        let check = |text: &str, expected: &str| {
            let complaint = read_as(text, AuthScheme::Bearer).expect_err(text);
            assert_eq!(complaint, format!("f:1: headers{expected}"));
        };
        check("[]", ": expected an object, found an array");
        check(
            r#"{"a b": "s3cr3t"}"#,
            ".a b: expected the name of a header, found another",
        );
        check(
            r#"{"Host": "s3cr3t"}"#,
            ".Host: expected a header that is not the connection's own, found host",
        );
        check(
            r#"{"authorization": "s3cr3t"}"#,
            ".authorization: expected authToken to carry the endpoint's credential, found authorization",
        );
        check(
            r#"{"x": "1", "X": "2"}"#,
            ".X: expected each header once, found it again",
        );
        check(
            r#"{"x": "s3cr3t\r\ny: 1"}"#,
            ".x: expected a token of printable ASCII characters, found a control character or a line break in it",
        );
        check(r#"{"x": 1}"#, ".x: expected a string, found a number");
    }
}

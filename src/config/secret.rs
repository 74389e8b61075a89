//! A token, and how one is read: as written, from the environment, or from a file.

use std::{fmt, io};

use super::document::{Error, Value};

/// A token. It has no `Display`, and `Debug` masks it, so that it gets into no log by accident.
///
/// `PartialEq` is for telling what a new configuration changed. It takes more time the more is right,
/// so it is not for judging what a stranger presents.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(token: String) -> Secret {
        Secret(token)
    }

    /// The token itself: for a header, or for a comparison in constant time.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("***")
    }
}

/// What a configuration may refer to outside of itself. Arguments, so that `Config::parse` touches nothing.
pub struct Outside<'a> {
    pub env: &'a dyn Fn(&str) -> Option<String>,
    pub first_line: &'a dyn Fn(&str) -> io::Result<String>,
}

impl Secret {
    /// Replaces each `${NAME}` and `${file:PATH}`; what they bring is not searched for more of them.
    pub(super) fn read(value: &Value, outside: &Outside) -> Result<Secret, Error> {
        let text = value.string()?;
        let mut token = String::new();
        let mut rest = text.as_str();
        while let Some((before, after)) = rest.split_once("${") {
            let Some((name, tail)) = after.split_once('}') else {
                return Err(value.expected("} after ${", "none"));
            };
            token.push_str(before);
            token.push_str(&look_up(value, name, outside)?);
            rest = tail;
        }
        token.push_str(rest);
        match flaw(&token) {
            Some(flaw) => Err(value.expected("a token of printable ASCII characters", flaw)),
            None => Ok(Secret(token)),
        }
    }
}

fn look_up(value: &Value, name: &str, outside: &Outside) -> Result<String, Error> {
    if let Some(path) = name.strip_prefix("file:") {
        let expected = format!("a token in the first line of {path}");
        return match (outside.first_line)(path) {
            Ok(line) if line.is_empty() => Err(value.expected(expected, "an empty line")),
            Ok(line) => Ok(line),
            Err(err) => Err(value.expected(expected, err)),
        };
    }
    // Anything else between the braces might be a piece of a token, so it is not quoted.
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(value.expected("${NAME} or ${file:PATH}", "neither"));
    }
    let expected = format!("a token in the environment variable {name}");
    match (outside.env)(name) {
        None => Err(value.expected(expected, "it unset")),
        Some(token) if token.is_empty() => Err(value.expected(expected, "it empty")),
        Some(token) => Ok(token),
    }
}

/// Why the token could not travel in a header unchanged.
fn flaw(token: &str) -> Option<&'static str> {
    if token.is_empty() {
        Some("an empty one")
    } else if token.chars().any(char::is_control) {
        Some("a control character or a line break in it")
    } else if !token.is_ascii() {
        Some("a character in it that is not ASCII")
    } else if token.trim() != token {
        Some("a space at its beginning or end")
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Secret, Error> {
        let env = |name: &str| match name {
            "A" => Some("s3cr3t-a".to_owned()),
            "EMPTY" => Some(String::new()),
            "NESTED" => Some("${A}".to_owned()),
            "LINES" => Some("s3cr3t\n".to_owned()),
            _ => None,
        };
        let first_line = |path: &str| match path {
            "/run/token" => Ok("s3cr3t-file".to_owned()),
            "empty" => Ok(String::new()),
            _ => Err(io::Error::other("no such file")),
        };
        let json = serde_json::to_string(text).expect("a string");
        Secret::read(
            &Value::document(&json, "f")?.named("t"),
            &Outside {
                env: &env,
                first_line: &first_line,
            },
        )
    }

    #[test]
    fn tokens() {
        let check = |text: &str, token: &str| assert_eq!(read(text).expect(text).expose(), token);
        check("plain", "plain");
        check("$A {A} $", "$A {A} $");
        check("${A}", "s3cr3t-a");
        check("x${A}-${file:/run/token}}", "xs3cr3t-a-s3cr3t-file}");
        check("${NESTED}", "${A}");
        assert_eq!(format!("{:?}", read("plain")), "Ok(***)");
    }

    #[test]
    fn complaints_never_hold_the_token() {
        let check = |text: &str, expected: &str| {
            assert_eq!(
                read(text).expect_err(text).to_string(),
                format!("f:1: t: expected {expected}")
            );
        };
        check(
            "${NONE}",
            "a token in the environment variable NONE, found it unset",
        );
        check(
            "s3cr3t${EMPTY}",
            "a token in the environment variable EMPTY, found it empty",
        );
        check(
            "${file:none}",
            "a token in the first line of none, found no such file",
        );
        check(
            "${file:empty}",
            "a token in the first line of empty, found an empty line",
        );
        check("s3cr3t${A", "} after ${, found none");
        check("${s3cr3t!}", "${NAME} or ${file:PATH}, found neither");
        check("${}", "${NAME} or ${file:PATH}, found neither");
        let printable = "a token of printable ASCII characters, found";
        check("", &format!("{printable} an empty one"));
        check(
            "${LINES}",
            &format!("{printable} a control character or a line break in it"),
        );
        check(
            "s3cr3t\u{7f}",
            &format!("{printable} a control character or a line break in it"),
        );
        check(
            "s3cr3t\u{85}",
            &format!("{printable} a control character or a line break in it"),
        );
        check(
            "s3cr3t…",
            &format!("{printable} a character in it that is not ASCII"),
        );
        check(
            " s3cr3t",
            &format!("{printable} a space at its beginning or end"),
        );
        check(
            "s3cr3t ",
            &format!("{printable} a space at its beginning or end"),
        );
    }
}

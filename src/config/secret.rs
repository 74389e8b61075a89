//! A token, and how one is read: as written, from the environment, or from a file.

use std::borrow::Cow;
use std::{fmt, io};

use super::complaint::Error;
use super::document::Value;

/// A token. It has no `Display`, and `Debug` masks it, so that it gets into no log by accident.
///
/// `PartialEq` is for telling what a new configuration changed. It takes more time the more is right,
/// so it is not for judging what a stranger presents.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

/// What stands for a secret wherever it could be read.
const MASK: &str = "***";

impl Secret {
    pub fn new(token: String) -> Secret {
        Secret(token)
    }

    /// The token itself: for a header, or for a comparison in constant time.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `text`, which is somebody else's and may repeat the secret, with a mask in each place where it does; also where
    /// it stands as JSON writes it.
    pub fn masked<'a>(&self, text: &'a str) -> Cow<'a, str> {
        // Asked of every answer's request id, which is shorter than any token.
        if self.0.is_empty() || text.len() < self.0.len() {
            return Cow::Borrowed(text);
        }
        let escaped = self.0.replace('\\', "\\\\").replace('"', "\\\"");
        // The longer one first: the other may be a piece of it.
        let mut masked = Cow::Borrowed(text);
        for secret in [&escaped, &self.0] {
            if masked.contains(&**secret) {
                masked = Cow::Owned(masked.replace(&**secret, MASK));
            }
        }
        masked
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(MASK)
    }
}

/// What a configuration may refer to outside of itself. Arguments, so that `Config::parse` touches nothing.
pub struct Outside<'a> {
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// A file's whole text.
    pub file: &'a dyn Fn(&str) -> io::Result<String>,
}

/// Bytes of a secret, more than any server takes in a header line.
const LONGEST: usize = 8192;

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

    /// The same, and what people write where a token belongs is told from one.
    pub(super) fn read_token(value: &Value, outside: &Outside) -> Result<Secret, Error> {
        if is_bare_variable(&value.string()?) {
            let expected = "a token, or ${NAME} for one from the environment";
            return Err(value.expected(expected, "a $NAME without braces"));
        }
        let secret = Secret::read(value, outside)?;
        let first = secret.0.split(' ').next().unwrap_or_default();
        if first.eq_ignore_ascii_case("bearer") {
            let expected =
                "the token alone (\"authScheme\": \"bearer\" puts the word before an endpoint's)";
            return Err(value.expected(expected, "the word Bearer before it"));
        }
        Ok(secret)
    }
}

/// `$NAME`, as shells take it.
fn is_bare_variable(text: &str) -> bool {
    let name = text.strip_prefix('$').unwrap_or_default();
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(is_of_a_name)
}

fn is_of_a_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn look_up(value: &Value, name: &str, outside: &Outside) -> Result<String, Error> {
    if let Some(path) = name.strip_prefix("file:") {
        return first_line(value, path, outside);
    }
    // Anything else between the braces might be a piece of a token, so it is not quoted.
    if name.is_empty() || !name.chars().all(is_of_a_name) {
        return Err(value.expected("${NAME} or ${file:PATH}", "neither"));
    }
    let expected = format!("a token in the environment variable {name}");
    match (outside.env)(name) {
        None => Err(value.expected(expected, "it unset")),
        Some(token) if token.is_empty() => Err(value.expected(expected, "it empty")),
        Some(token) => Ok(token),
    }
}

fn first_line(value: &Value, path: &str, outside: &Outside) -> Result<String, Error> {
    let expected = format!("a token in the first line of {path}");
    let text = (outside.file)(path).map_err(|err| value.expected(&expected, err))?;
    let line = text.split('\n').next().unwrap_or_default();
    let line = line.trim_end_matches('\r');
    let flaw = if line.is_empty() {
        Some("an empty line")
    } else if line.starts_with('#') || line.starts_with("//") {
        Some("a comment")
    } else if line.trim() != line {
        Some("a space at its beginning or end")
    } else {
        None
    };
    match flaw {
        Some(flaw) => Err(value.expected(expected, flaw)),
        None => Ok(line.to_owned()),
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
    } else if token.len() > LONGEST {
        Some("one of more than 8 KiB")
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
        let file = |path: &str| match path {
            "/run/token" => Ok("s3cr3t-file\r\nmore\n".to_owned()),
            "empty" => Ok("\ns3cr3t".to_owned()),
            "comment" => Ok("# my key\ns3cr3t\n".to_owned()),
            "spaces" => Ok("s3cr3t  \n".to_owned()),
            "long" => Ok("x".repeat(70_000)),
            _ => Err(io::Error::other("no such file")),
        };
        let json = serde_json::to_string(text).expect("a string");
        Secret::read_token(
            &Value::document(&json, "f")?.named("t"),
            &Outside {
                env: &env,
                file: &file,
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
    fn a_foreign_text_is_masked() {
        let check = |secret: &str, text: &str, expected: &str| {
            assert_eq!(Secret::new(secret.to_owned()).masked(text), expected);
        };
        check("s3cr3t", "nothing", "nothing");
        check("s3cr3t", "key s3cr3t, s3cr3t!", "key ***, ***!");
        check(
            "a\"b\\c",
            r#"{"key":"a\"b\\c"} a"b\c"#,
            r#"{"key":"***"} ***"#,
        );
        check("", "nothing", "nothing");
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
        let file = "a token in the first line of";
        check(
            "${file:comment}",
            &format!("{file} comment, found a comment"),
        );
        check(
            "${file:spaces}",
            &format!("{file} spaces, found a space at its beginning or end"),
        );
        let braces =
            "a token, or ${NAME} for one from the environment, found a $NAME without braces";
        check("$S3CR3T", braces);
        let bearer = "the token alone (\"authScheme\": \"bearer\" puts the word before an endpoint's), found the word Bearer before it";
        check("Bearer s3cr3t", bearer);
        check("bearer ${A}", bearer);
        check("s3cr3t${A", "} after ${, found none");
        check("${s3cr3t!}", "${NAME} or ${file:PATH}, found neither");
        check("${}", "${NAME} or ${file:PATH}, found neither");
        let printable = "a token of printable ASCII characters, found";
        check("", &format!("{printable} an empty one"));
        check(
            "${file:long}",
            &format!("{printable} one of more than 8 KiB"),
        );
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

//! Text that is no JSON: where the mistake is, and what the writer may have taken it for.

use super::complaint::Error;

/// The complaint about `text`, which serde_json refused with `err`.
pub fn complain(text: &str, file: &str, err: serde_json::Error) -> Error {
    // The slower parser knows a comma too many when it sees one.
    let err = serde_json::from_str::<serde_json::Value>(text)
        .err()
        .unwrap_or(err);
    let (line, column) = (err.line(), err.column());
    let message = err.to_string();
    let what = message
        .rsplit_once(" at line ")
        .map_or(&*message, |(what, _)| what);
    let found =
        hint(text, line, column).map_or_else(|| plain(what, text, line, column), str::to_owned);
    Error::new(format_args!(
        "{file}:{line}:{column}: expected JSON, found {found}"
    ))
}

/// What other formats allow and JSON does not, where it can be told from what stands at the mistake.
fn hint(text: &str, line: usize, column: usize) -> Option<&'static str> {
    let there = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let before = there.get(..column.saturating_sub(1)).unwrap_or_default();
    let rest = there.get(before.len()..).unwrap_or_default().trim_start();
    if ["//", "/*", "#"].iter().any(|mark| rest.starts_with(mark)) {
        return Some("a comment: JSON has none, but a key that begins with _ is one here");
    }
    if looks_like_yaml(text) {
        return Some("what looks like YAML: --example prints the same as JSON");
    }
    if looks_like_toml(text) {
        return Some(
            "what looks like TOML or a list of variables: --example prints the same as JSON",
        );
    }
    match rest.chars().next() {
        Some('\'') => Some("a single quote: JSON's strings and keys stand in double quotes"),
        Some('”' | '“' | '„') => Some("a typographic quote: JSON's are plain (\")"),
        _ => None,
    }
}

/// What serde_json calls `what`, as somebody reads it who writes JSON twice a year.
fn plain(what: &str, text: &str, line: usize, column: usize) -> String {
    let there = text.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let first = there.as_bytes().get(column.saturating_sub(1));
    let is_word = first.is_some_and(u8::is_ascii_alphabetic);
    match what {
        "trailing comma" => "a comma with nothing behind it: take it away",
        "key must be a string" => "a key without double quotes",
        "expected `:`" => "a key with no colon behind it",
        "expected `,` or `}`" | "expected `,` or `]`" => {
            "no comma between this and what is before it"
        }
        "trailing characters" => {
            "more behind the last bracket: the file is one array or one object"
        }
        "EOF while parsing a list" => "the end of the file, where a ] is missing",
        "EOF while parsing an object" => "the end of the file, where a } is missing",
        "EOF while parsing a string" => "the end of the file, where a \" is missing",
        "EOF while parsing a value" => "the end of the file, where a value is missing",
        "invalid escape" => "a backslash that begins no escape: two of them are one",
        "invalid number" => "a number that JSON has no such form for",
        "recursion limit exceeded" => "more brackets within each other than are of use",
        "expected ident" => BARE_WORD,
        "expected value" if is_word => BARE_WORD,
        "expected value" => "no value where one belongs",
        _ if what.starts_with("control character") => {
            "a line break or another control character in a string"
        }
        _ => return format!("a mistake: {what}"),
    }
    .to_owned()
}

const BARE_WORD: &str = "a word without double quotes: JSON's own words are true, false and null";

/// The first line that says something, and is no comment.
fn first_line(text: &str) -> &str {
    let mut lines = text.lines().map(str::trim_end);
    lines
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .unwrap_or_default()
}

/// A section's head, or a name with an equals sign, where the text begins.
fn looks_like_toml(text: &str) -> bool {
    let first = first_line(text);
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic())
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
    };
    let section = first.trim_start_matches('[').trim_end_matches(']');
    let key = first.strip_prefix("export ").unwrap_or(first);
    let key = key.split_once('=').map(|(key, _)| key.trim_end());
    (first.starts_with('[') && first.ends_with(']') && is_name(section)) || key.is_some_and(is_name)
}

/// A document mark, a list's dash, or a bare key with a colon where the text begins.
fn looks_like_yaml(text: &str) -> bool {
    let first = first_line(text);
    let key = first.split_once(':').map(|(key, _)| key);
    let is_key = |key: &str| {
        !key.is_empty()
            && key
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
    };
    first.starts_with("---") || first.trim_start().starts_with("- ") || key.is_some_and(is_key)
}

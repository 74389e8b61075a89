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
    let found = match hint(text, line, column) {
        Some(hint) => hint.to_owned(),
        None => format!("a mistake: {what}"),
    };
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
    match rest.chars().next() {
        Some('\'') => Some("a single quote: JSON's strings and keys stand in double quotes"),
        Some('”' | '“' | '„') => Some("a typographic quote: JSON's are plain (\")"),
        _ => None,
    }
}

/// A document mark, a list's dash, or a bare key with a colon where the text begins.
fn looks_like_yaml(text: &str) -> bool {
    let mut lines = text.lines().map(str::trim_end);
    let first = lines
        .find(|line| !line.is_empty() && !line.starts_with('#'))
        .unwrap_or_default();
    let key = first.split_once(':').map(|(key, _)| key);
    let is_key = |key: &str| {
        !key.is_empty()
            && key
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
    };
    first.starts_with("---") || first.trim_start().starts_with("- ") || key.is_some_and(is_key)
}

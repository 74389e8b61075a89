//! What is wrong with a configuration, in one line, and how much of a finding may be shown in it.

use std::fmt;

/// What is wrong, in one line: place, expectation, finding. Never holds a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// A file's name may hold any character: the line stays one line all the same.
    pub fn new(message: impl fmt::Display) -> Error {
        let mut line = String::new();
        for c in message.to_string().chars() {
            if c.is_control() {
                line.extend(c.escape_default());
            } else {
                line.push(c);
            }
        }
        Error(line)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Error {}

/// A finding between quotes, short and without surprises.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text))
}

/// A finding, unless it may be a token that went astray: that stays as secret as any.
pub fn shown(text: &str) -> String {
    // Characters of a finding that are shown: enough to know it again.
    const SHOWN: usize = 60;
    if may_be_token(text) {
        return "***".to_owned();
    }
    let mut short: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    if text.chars().nth(SHOWN).is_some() {
        short.push('…');
    }
    short
}

/// A key that nobody knows. A token may stand where a key belongs, so only what looks like a word is shown.
pub fn shown_key(name: &str) -> &str {
    // Our longest key has 18 characters, and one with a slip of the pen a few more.
    const LONGEST: usize = 24;
    let is_word = |c: char| c.is_ascii_alphabetic() || matches!(c, '_' | '-' | '.' | ' ');
    let digits = name.chars().filter(char::is_ascii_digit).count();
    let is_shown = name.len() <= LONGEST
        && digits <= 2
        && name.chars().all(|c| is_word(c) || c.is_ascii_digit())
        && !may_be_token(name);
    if is_shown { name } else { "***" }
}

/// So begin Anthropic's tokens and JSON web tokens; those of others are words that nobody would write by hand.
fn may_be_token(text: &str) -> bool {
    // Characters of a word of letters and digits, and of one of large and small letters: longer ones are not shown.
    const MIXED: usize = 12;
    const LETTERS: usize = 24;
    let text = text.trim();
    let is_one_word = !text.contains([' ', '.', '/', ':', '\n']);
    let has = |kind: fn(&char) -> bool| text.chars().any(|c| kind(&c));
    let is_mixed = has(char::is_ascii_digit) && has(char::is_ascii_alphabetic);
    let is_spongy = has(char::is_ascii_uppercase) && has(char::is_ascii_lowercase);
    let starts = ["sk-", "eyJ"];
    starts.iter().any(|start| text.starts_with(start))
        || is_one_word && is_mixed && text.len() >= MIXED
        || is_one_word && is_spongy && text.len() >= LETTERS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_token_is_not_shown() {
        let check = |text: &str, expected: &str| assert_eq!(shown(text), expected);
        check("sticky", "sticky");
        check("a\nb", "a\\nb");
        check("127.0.0.1:http", "127.0.0.1:http");
        check(
            "https://a0.example/with/a/path",
            "https://a0.example/with/a/path",
        );
        check("sk-ant-1", "***");
        check("  eyJhbGciOi", "***");
        check("0123456789ab", "***");
        check("AbCdEfGhIjKlMnOpQrStUvWx", "***");
        check("tier1", "tier1");
        check(&"1".repeat(61), &format!("{}…", "1".repeat(60)));
    }

    #[test]
    fn only_words_are_shown_as_keys() {
        for key in ["wrkers", "max_body_mb", "auth-token", "tier2"] {
            assert_eq!(shown_key(key), key);
        }
        for key in ["sk-1", "a1b2c3d4", "a\nb", "é", &"k".repeat(25), "a$b"] {
            assert_eq!(shown_key(key), "***");
        }
    }
}

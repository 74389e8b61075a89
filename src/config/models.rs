//! Which models an endpoint serves, and what it calls them.

use std::collections::HashSet;

use super::complaint::{Error, quoted};
use super::document::Value;

/// The patterns of one endpoint's `models`, one or more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Models(Vec<Pattern>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    /// A model's name, or one with a single `*` in it.
    text: String,
    /// The endpoint's own name for it. `None`: the same.
    name: Option<String>,
}

/// How a model is served.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Served {
    /// The endpoint's own name for the model. `None`: the name that was asked for.
    pub name: Option<String>,
}

/// Characters of a name: the longest seen have 60.
const MAX_NAME: usize = 200;

/// Patterns of one endpoint. Each request that names a model looks at all of them.
const MAX_PATTERNS: usize = 1000;

impl Models {
    /// Whether and how `model` is served. Exact beats wildcard, and the longest pattern wins; of two as long, the first.
    pub fn serves(&self, model: &str) -> Option<Served> {
        let exact = self.0.iter().find(|pattern| pattern.text == model);
        let fitting = || self.0.iter().filter(|pattern| pattern.fits(model));
        // `max_by_key` takes the last of equals.
        let pattern = exact.or_else(|| fitting().rev().max_by_key(|pattern| pattern.text.len()));
        pattern.map(|pattern| Served {
            name: pattern.name.clone(),
        })
    }

    /// The names among the patterns that are whole, as a client writes them: what `GET /v1/models` can tell of models that the endpoint
    /// calls otherwise.
    pub fn literal_names(&self) -> impl Iterator<Item = &str> {
        let names = self.0.iter().map(|pattern| &*pattern.text);
        names.filter(|text| !text.contains('*'))
    }

    /// `["claude-*", …]`, or `{"claude-opus-*": "glm-5.3", …}`.
    pub(super) fn read(value: &Value) -> Result<Models, Error> {
        let mut patterns = Vec::new();
        if value.is_array() {
            for item in value.array()? {
                patterns.push((pattern(&item.string()?, &item)?, None, item));
            }
        } else if value.is_object() {
            for entry in value.entries()? {
                let text = pattern(&entry.name, &entry.key)?;
                patterns.push((text, Some(own_name(&entry.value)?), entry.key));
            }
        } else {
            let expected = "an array of patterns, such as [\"claude-*\"], or an object of patterns and the endpoint's names";
            return Err(value.expected(expected, value.kind()));
        }
        if !(1..=MAX_PATTERNS).contains(&patterns.len()) {
            let found = match patterns.len() {
                0 => "none".to_owned(),
                many => many.to_string(),
            };
            return Err(value.expected(format_args!("1 to {MAX_PATTERNS} patterns"), found));
        }
        let mut seen = HashSet::new();
        for (text, _, place) in &patterns {
            if !seen.insert(text) {
                let found = format_args!("{} twice", quoted(text));
                return Err(place.expected("each pattern once", found));
            }
        }
        let patterns = patterns.into_iter();
        Ok(Models(
            patterns
                .map(|(text, name, _)| Pattern { text, name })
                .collect(),
        ))
    }
}

impl std::fmt::Display for Models {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        for (i, pattern) in self.0.iter().enumerate() {
            let comma = if i == 0 { "" } else { ", " };
            write!(f, "{comma}{}", pattern.text)?;
            if let Some(name) = &pattern.name {
                write!(f, " as {name}")?;
            }
        }
        Ok(())
    }
}

impl Pattern {
    fn fits(&self, model: &str) -> bool {
        match self.text.split_once('*') {
            Some((start, end)) => {
                model.len() >= start.len() + end.len()
                    && model.starts_with(start)
                    && model.ends_with(end)
            }
            None => self.text == model,
        }
    }
}

fn pattern(text: &str, place: &Value) -> Result<String, Error> {
    let expected = "a model's name, or one with a single * in it";
    if text.matches('*').count() > 1 {
        return Err(place.expected(expected, "more than one *"));
    }
    checked(text, place, expected)
}

fn own_name(value: &Value) -> Result<String, Error> {
    let expected = "the endpoint's own name for the model";
    let text = value.string()?;
    if text.contains('*') {
        return Err(value.expected(expected, "a * in it"));
    }
    checked(&text, value, expected)
}

fn checked(text: &str, place: &Value, expected: &str) -> Result<String, Error> {
    let flaw = if text.is_empty() {
        Some("an empty one")
    } else if text.chars().count() > MAX_NAME {
        Some("one of more than 200 characters")
    } else if text.trim() != text || text.contains(char::is_control) {
        Some("one with a space at an end or a control character in it")
    } else {
        None
    };
    match flaw {
        Some(flaw) => Err(place.expected(expected, flaw)),
        None => Ok(text.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Models, Error> {
        Models::read(&Value::document(text, "f")?.named("models"))
    }

    #[test]
    fn who_serves_what() {
        let check = |text: &str, model: &str, expected: Option<Option<&str>>| {
            let served = read(text).expect(text).serves(model);
            let name = served.as_ref().map(|served| served.name.as_deref());
            assert_eq!(name, expected, "{text} {model}");
        };
        let list = r#"["claude-opus-5", "claude-*", "*-mini"]"#;
        check(list, "claude-opus-5", Some(None));
        check(list, "claude-x", Some(None));
        check(list, "claude-", Some(None));
        check(list, "gpt-mini", Some(None));
        check(list, "Claude-x", None);
        check(list, "gpt", None);
        let map = r#"{"_": 1, "*": "any", "claude-*": "c", "claude-opus-*": "o", "claude-opus-5": "five", "*-5": "z"}"#;
        check(map, "claude-opus-5", Some(Some("five")));
        check(map, "claude-opus-4", Some(Some("o")));
        check(map, "claude-haiku-5", Some(Some("c")));
        check(map, "gpt-5", Some(Some("z")));
        check(map, "", Some(Some("any")));
        // The star stands for something of its own: the two ends do not overlap.
        check(r#"["aba*aba"]"#, "aba", None);
        check(r#"["aba*aba"]"#, "abaaba", Some(None));
        check(
            r#"{"ab*": "first", "*ab": "second"}"#,
            "abab",
            Some(Some("first")),
        );
    }

    #[test]
    fn whole_names() {
        let names = |text: &str| -> Vec<String> {
            let models = read(text).expect(text);
            models.literal_names().map(str::to_owned).collect()
        };
        assert_eq!(names(r#"["a", "b-*", "c"]"#), ["a", "c"]);
        assert_eq!(names(r#"{"*": "a"}"#), Vec::<String>::new());
    }

    #[test]
    fn complaints() {
        let check = |text: &str, expected: &str| {
            let complaint = read(text).expect_err(text).to_string();
            assert_eq!(complaint, format!("f:1: models{expected}"));
        };
        check("[]", ": expected 1 to 1000 patterns, found none");
        check("{}", ": expected 1 to 1000 patterns, found none");
        check(r#"{"_a": 1}"#, ": expected 1 to 1000 patterns, found none");
        let pattern = "expected a model's name, or one with a single * in it, found";
        check(r#"["a*b*"]"#, &format!("[0]: {pattern} more than one *"));
        check(r#"["a", ""]"#, &format!("[1]: {pattern} an empty one"));
        check(
            r#"["a", "a"]"#,
            "[1]: expected each pattern once, found \"a\" twice",
        );
        check(
            r#"{"a": "x", "a": "y"}"#,
            ".a: expected each key once, found it again (first on line 1)",
        );
        let name = ".a: expected the endpoint's own name for the model, found";
        check(r#"{"a": "x*"}"#, &format!("{name} a * in it"));
        check(r#"{"a": ""}"#, &format!("{name} an empty one"));
        check(r#"{"a": null}"#, ".a: expected a string, found null");
        check(
            r#""claude-*""#,
            ": expected an array of patterns, such as [\"claude-*\"], or an object of patterns and the endpoint's names, found a string",
        );
    }
}

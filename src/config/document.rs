//! The text of a configuration file as values that know their place, and the complaints about them.
//!
//! serde_json checks the syntax and finds where each value begins and ends (`RawValue`); what a value
//! has to be is asked of it afterwards. So a complaint can name file, line and key, and holds only
//! words of ours: serde's own messages quote the value, which may be a token.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

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

/// One JSON value of the file, syntax checked.
pub struct Value<'a> {
    file: &'a str,
    text: &'a str,
    /// The value as written: a piece of `text`, so that its line can be counted when somebody asks.
    raw: &'a str,
    /// `endpoints[0].weight`; empty for the whole document. Counts from 0, as JSON tools do.
    path: String,
}

impl<'a> Value<'a> {
    /// The whole document. `file` is what complaints call it.
    pub fn document(text: &'a str, file: &'a str) -> Result<Value<'a>, Error> {
        if text.starts_with('\u{feff}') {
            return Err(Error::new(format_args!(
                "{file}:1: expected JSON, found a byte order mark: save the file as UTF-8 without one"
            )));
        }
        if text.trim().is_empty() {
            return Err(Error::new(format_args!(
                "{file}: expected JSON, found an empty file"
            )));
        }
        match serde_json::from_str::<&RawValue>(text) {
            Ok(raw) => Ok(Value {
                file,
                text,
                raw: raw.get(),
                path: String::new(),
            }),
            Err(err) => {
                // The slower parser knows a comma too many when it sees one.
                let err = serde_json::from_str::<serde_json::Value>(text)
                    .err()
                    .unwrap_or(err);
                let (line, column, message) = (err.line(), err.column(), err.to_string());
                let what = message
                    .rsplit_once(" at line ")
                    .map_or(&*message, |(what, _)| what);
                Err(Error::new(format_args!(
                    "{file}:{line}:{column}: expected JSON, found a mistake: {what}"
                )))
            }
        }
    }

    /// The same value, called by another name in complaints.
    pub fn named(&self, path: &str) -> Value<'a> {
        self.child_at(self.raw, path.to_owned())
    }

    pub fn is_array(&self) -> bool {
        self.raw.starts_with('[')
    }

    pub fn is_object(&self) -> bool {
        self.raw.starts_with('{')
    }

    pub fn string(&self) -> Result<String, Error> {
        if !self.raw.starts_with('"') {
            return Err(self.expected("a string", self.kind()));
        }
        // The syntax is known to be right, so this is all that can be wrong with it.
        serde_json::from_str(self.raw)
            .map_err(|_| self.expected("text", "a \\u escape that is half a character"))
    }

    pub fn boolean(&self) -> Result<bool, Error> {
        match self.raw {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.expected("true or false", self.kind())),
        }
    }

    /// One of the given words, and what it stands for.
    pub fn one_of<T: Copy>(&self, choices: &[(&str, T)]) -> Result<T, Error> {
        let word = self.string()?;
        let choice = choices.iter().find(|(name, _)| *name == word);
        choice.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let names: Vec<_> = choices.iter().map(|(name, _)| quoted(name)).collect();
            self.expected(names.join(" or "), quoted(&word))
        })
    }

    /// A number without fraction or exponent, within `range` (which has to fit `T`).
    pub fn whole<T: TryFrom<u64>>(&self, range: RangeInclusive<u64>) -> Result<T, Error> {
        let number = self
            .raw
            .parse::<u64>()
            .ok()
            .filter(|number| range.contains(number));
        number
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| {
                let expected = format!("a whole number from {} to {}", range.start(), range.end());
                self.expected(expected, self.number_or_kind())
            })
    }

    /// A number of seconds that may have a fraction. `range` ends where `Duration` is still safe.
    pub fn seconds(&self, range: RangeInclusive<f64>) -> Result<Duration, Error> {
        let number = self
            .raw
            .parse::<f64>()
            .ok()
            .filter(|number| range.contains(number));
        number
            .and_then(|number| Duration::try_from_secs_f64(number).ok())
            .ok_or_else(|| {
                let expected = format!("seconds from {} to {}", range.start(), range.end());
                self.expected(expected, self.number_or_kind())
            })
    }

    pub fn array(&self) -> Result<Vec<Value<'a>>, Error> {
        if !self.is_array() {
            return Err(self.expected("an array", self.kind()));
        }
        let broken = |_| self.expected("an array", "a broken one");
        let items: Vec<&'a RawValue> = serde_json::from_str(self.raw).map_err(broken)?;
        let child =
            |(i, raw): (usize, &'a RawValue)| self.child(raw, format!("{}[{i}]", self.path));
        Ok(items.into_iter().enumerate().map(child).collect())
    }

    /// Refuses every key that is not in `keys`, and a key that comes twice.
    pub fn object(&self, keys: &[&'static str]) -> Result<Object<'a>, Error> {
        if !self.is_object() {
            return Err(self.expected("an object", self.kind()));
        }
        let broken = |_| self.expected("an object", "a broken one");
        let Entries(raw) = serde_json::from_str(self.raw).map_err(broken)?;
        let mut object = Object::default();
        let mut seen: Vec<(&str, usize)> = Vec::new();
        for (key, value) in raw {
            // A key that is half a character is no key of ours either.
            let name: String =
                serde_json::from_str(key.get()).unwrap_or_else(|_| key.get().to_owned());
            let place = self.child(key, self.join(&shown(&name)));
            let Some(known) = keys.iter().find(|known| **known == name) else {
                return Err(place.unknown(&name, keys));
            };
            if let Some((_, line)) = seen.iter().find(|(other, _)| other == known) {
                let found = format_args!("it again (first on line {line})");
                return Err(place.expected("each key once", found));
            }
            seen.push((known, place.line()));
            object
                .entries
                .push((known, self.child(value, self.join(known))));
        }
        Ok(object)
    }

    /// The complaint about a key that is not there. Its line is the object's first.
    pub fn missing(&self, key: &str, expectation: &str) -> Error {
        self.child_at(self.raw, self.join(key))
            .expected(expectation, "no such key")
    }

    /// A complaint about this value. `finding` must hold no token.
    pub fn expected(&self, expectation: impl fmt::Display, finding: impl fmt::Display) -> Error {
        let (file, line) = (self.file, self.line());
        let place = if self.path.is_empty() {
            String::new()
        } else {
            format!(" {}:", self.path)
        };
        Error::new(format_args!(
            "{file}:{line}:{place} expected {expectation}, found {finding}"
        ))
    }

    fn unknown(&self, name: &str, keys: &[&str]) -> Error {
        let plain = |key: &str| key.replace(['_', '-', ' '], "").to_lowercase();
        match keys.iter().find(|key| plain(key) == plain(name)) {
            Some(key) => self.expected(key, "an unknown key"),
            None => self.expected(format_args!("one of {}", keys.join(", ")), "an unknown key"),
        }
    }

    fn line(&self) -> usize {
        let offset = (self.raw.as_ptr() as usize).saturating_sub(self.text.as_ptr() as usize);
        let before = self.text.as_bytes().iter().take(offset);
        1 + before.filter(|byte| **byte == b'\n').count()
    }

    /// What is shown of a value of the wrong type. It is never quoted: it may be a token.
    pub fn kind(&self) -> &'static str {
        match self.raw.as_bytes().first() {
            Some(b'"') => "a string",
            Some(b'[') => "an array",
            Some(b'{') => "an object",
            Some(b't') => "true",
            Some(b'f') => "false",
            Some(b'n') => "null",
            _ => "a number",
        }
    }

    fn number_or_kind(&self) -> String {
        match self.kind() {
            "a number" => shown(self.raw),
            kind => kind.to_owned(),
        }
    }

    fn join(&self, key: &str) -> String {
        if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        }
    }

    fn child(&self, raw: &'a RawValue, path: String) -> Value<'a> {
        self.child_at(raw.get(), path)
    }

    fn child_at(&self, raw: &'a str, path: String) -> Value<'a> {
        Value {
            file: self.file,
            text: self.text,
            raw,
            path,
        }
    }
}

/// An object's values by their keys, each of them known.
#[derive(Default)]
pub struct Object<'a> {
    entries: Vec<(&'static str, Value<'a>)>,
}

impl<'a> Object<'a> {
    /// What `read` makes of the key's value, if the key is there.
    pub fn get<T>(
        &self,
        key: &str,
        read: impl FnOnce(&Value<'a>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        let entry = self.entries.iter().find(|(name, _)| *name == key);
        entry.map(|(_, value)| read(value)).transpose()
    }
}

/// A finding between quotes, short and without surprises.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", shown(text))
}

fn shown(text: &str) -> String {
    // Characters of a finding that are shown: enough to know it again.
    const SHOWN: usize = 60;
    // So begin Anthropic's tokens and JSON web tokens. One that went astray stays as secret as any.
    if ["sk-", "eyJ"]
        .iter()
        .any(|start| text.trim_start().starts_with(start))
    {
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

/// An object as it is written: in order, with repeated keys, keys and values with their place.
struct Entries<'a>(Vec<(&'a RawValue, &'a RawValue)>);

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

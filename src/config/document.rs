//! The text of a configuration file as values that know their place, and the complaints about them.
//!
//! serde_json checks the syntax and finds where each value begins and ends (`RawValue`); what a value
//! has to be is asked of it afterwards. So a complaint can name file, line and key, and holds only
//! words of ours: serde's own messages quote the value, which may be a token.

use std::collections::HashMap;
use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use super::complaint::{Error, quoted, shown, shown_key};
use super::object::Object;
use super::syntax;

/// One key of an object, with its value.
pub struct Entry<'a> {
    pub name: String,
    /// Where the key stands: for complaints about it, which never hold its value.
    pub key: Value<'a>,
    pub value: Value<'a>,
}

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
            Err(err) => Err(syntax::complain(text, file, err)),
        }
    }

    /// The same value, called by another name in complaints.
    pub fn named(&self, path: &str) -> Value<'a> {
        self.child_at(self.raw, path.to_owned())
    }

    pub fn is_string(&self) -> bool {
        self.raw.starts_with('"')
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
            // A word of another kind may be a token that went astray.
            let is_plain = word.len() <= 12 && word.chars().all(|c| c.is_ascii_alphabetic());
            let found = if is_plain {
                quoted(&word)
            } else {
                "another".to_owned()
            };
            self.expected(names.join(" or "), found)
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

    /// The object's keys and values in the file's order, without comments. A key that comes twice is a complaint.
    pub fn entries(&self) -> Result<Vec<Entry<'a>>, Error> {
        if !self.is_object() {
            return Err(self.expected("an object", self.kind()));
        }
        let broken = |_| self.expected("an object", "a broken one");
        let Entries(raw) = serde_json::from_str(self.raw).map_err(broken)?;
        let mut entries = Vec::with_capacity(raw.len());
        // A line costs a look through the text before it, so it is counted for a complaint only.
        let mut seen: HashMap<String, &RawValue> = HashMap::new();
        for (key, value) in raw {
            // A key that is half a character is no key of ours either.
            let name: String =
                serde_json::from_str(key.get()).unwrap_or_else(|_| key.get().to_owned());
            if name.starts_with('_') {
                continue;
            }
            let earlier = seen.insert(name.clone(), key);
            let key = self.child(key, self.join(shown_key(&name)));
            if let Some(earlier) = earlier {
                let line = self.child(earlier, String::new()).line();
                let found = format_args!("it again (first on line {line})");
                return Err(key.expected("each key once", found));
            }
            let value = self.child(value, key.path.clone());
            entries.push(Entry { name, key, value });
        }
        Ok(entries)
    }

    /// An object whose keys are asked for one by one.
    pub fn object(&self) -> Result<Object<'a>, Error> {
        let entries = self.entries()?;
        Ok(Object::new(
            Some(self.child_at(self.raw, self.path.clone())),
            entries,
        ))
    }

    /// The complaint about a key that is not there. Its line is the object's first.
    pub fn missing(&self, key: &str, expectation: &str) -> Error {
        self.child_at(self.raw, self.join(key))
            .expected(expectation, "no such key")
    }

    /// A complaint about this value. `finding` must hold no token.
    pub fn expected(&self, expectation: impl fmt::Display, finding: impl fmt::Display) -> Error {
        Error::new(format_args!(
            "{} expected {expectation}, found {finding}",
            self.place()
        ))
    }

    /// `endpoints.json:3: endpoints[0].baseURL:`, for warnings too.
    pub fn place(&self) -> String {
        let (file, line) = (self.file, self.line());
        match &*self.path {
            "" => format!("{file}:{line}:"),
            path => format!("{file}:{line}: {path}:"),
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

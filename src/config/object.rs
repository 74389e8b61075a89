//! An object of the file that remembers which keys it was asked for, and complains about the others.
//!
//! So each key stands in one place: where it is read. What was read is noted there too, as `--check` shows it.

use std::cell::RefCell;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::complaint::{Error, shown_key};
use super::document::{Entry, Value};

/// Keys and what is in force for each of them, in the order of reading; secrets masked.
pub type Shown = Vec<(&'static str, String)>;

/// An object's values by their keys.
#[derive(Default)]
pub struct Object<'a> {
    /// `None`: the file has no such object, and each key has its default.
    place: Option<Value<'a>>,
    entries: Vec<Entry<'a>>,
    asked: RefCell<Vec<&'static str>>,
    shown: RefCell<Shown>,
}

/// Words that other programs use, and what they are called here. The second must be a key that was asked for.
const ELSEWHERE: [(&str, &str, &str); 24] = [
    ("apikey", "authToken", ""),
    ("key", "authToken", ""),
    ("token", "authToken", ""),
    ("secret", "authToken", ""),
    ("url", "baseURL", ""),
    ("endpoint", "baseURL", ""),
    ("endpoint", "endpoints", ""),
    ("servers", "endpoints", ""),
    ("upstreams", "endpoints", ""),
    ("port", "listen", ", as \"127.0.0.1:PORT\""),
    ("host", "listen", ", as \"HOST:13255\""),
    ("bind", "listen", ", as \"HOST:PORT\""),
    ("apikeys", "clientTokens", ""),
    ("tokens", "clientTokens", ""),
    ("authtoken", "clientTokens", ""),
    ("authtokens", "clientTokens", ""),
    ("timeout", "responseSeconds", ""),
    ("timeoutseconds", "responseSeconds", ""),
    ("retries", "failover", ""),
    ("retry", "failover", ""),
    ("strategy", "affinity", ""),
    ("threads", "workers", ""),
    ("priority", "tier", ""),
    ("disabled", "enabled", ""),
];

/// What other programs have in their files, and this one in the environment.
const ENVIRONMENT: [(&str, &str); 2] = [("loglevel", "LOG_LEVEL"), ("logformat", "LOG_FORMAT")];

impl<'a> Object<'a> {
    pub(super) fn new(place: Option<Value<'a>>, entries: Vec<Entry<'a>>) -> Object<'a> {
        Object {
            place,
            entries,
            ..Object::default()
        }
    }

    /// What `read` makes of the key's value, if the key is there.
    pub fn get<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Value<'a>) -> Result<T, Error>,
    ) -> Result<Option<T>, Error> {
        self.ask(key);
        self.find(key).map(read).transpose()
    }

    /// The same; and what came of it, or of there being none, is noted as `show` has it.
    pub fn noted<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(Option<&Value<'a>>) -> Result<T, Error>,
        show: impl FnOnce(&T) -> String,
    ) -> Result<T, Error> {
        self.ask(key);
        let value = read(self.find(key))?;
        self.shown.borrow_mut().push((key, show(&value)));
        Ok(value)
    }

    pub fn whole<T>(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: T,
    ) -> Result<T, Error>
    where
        T: TryFrom<u64> + ToString,
    {
        let read = |value: Option<&Value>| value.map_or(Ok(default), |value| value.whole(range));
        self.noted(key, read, T::to_string)
    }

    /// `default` in whole seconds.
    pub fn seconds(
        &self,
        key: &'static str,
        range: RangeInclusive<f64>,
        default: u64,
    ) -> Result<Duration, Error> {
        let default = Duration::from_secs(default);
        let read = |value: Option<&Value>| value.map_or(Ok(default), |value| value.seconds(range));
        self.noted(key, read, |seconds| seconds.as_secs_f64().to_string())
    }

    pub fn boolean(&self, key: &'static str, default: bool) -> Result<bool, Error> {
        let read = |value: Option<&Value>| value.map_or(Ok(default), Value::boolean);
        self.noted(key, read, bool::to_string)
    }

    /// One of `choices`, the first of which is the default.
    pub fn choice<T: Copy + PartialEq>(
        &self,
        key: &'static str,
        choices: &[(&'static str, T)],
    ) -> Result<T, Error> {
        let read =
            |value: Option<&Value>| value.map_or(Ok(choices[0].1), |value| value.one_of(choices));
        let word = |choice: &T| {
            let (word, _) = choices.iter().find(|(_, other)| other == choice)?;
            Some((*word).to_owned())
        };
        self.noted(key, read, |choice| word(choice).unwrap_or_default())
    }

    fn ask(&self, key: &'static str) {
        self.asked.borrow_mut().push(key);
    }

    /// Whether the key is there; this does not count as asking for it.
    pub fn has(&self, key: &str) -> bool {
        self.find(key).is_some()
    }

    fn find(&self, key: &str) -> Option<&Value<'a>> {
        let entry = self.entries.iter().find(|entry| entry.name == key);
        entry.map(|entry| &entry.value)
    }

    /// To be called when all keys have been asked for: complains about those that nobody asked for, and returns what was noted.
    pub fn finish(&self) -> Result<Shown, Error> {
        let asked = self.asked.borrow();
        let unasked = |entry: &&Entry| !asked.contains(&&*entry.name);
        if let Some(entry) = self.entries.iter().find(unasked) {
            return Err(unknown(entry, &asked));
        }
        Ok(self.shown.take())
    }

    /// The value of a key that must be there. To be called behind [`Object::finish`]: a key that was misspelt is not called missing.
    pub fn needed<T>(&self, key: &str, value: Option<T>, expectation: &str) -> Result<T, Error> {
        value.ok_or_else(|| match &self.place {
            Some(place) => place.missing(key, expectation),
            None => Error::new(format_args!("{key}: expected {expectation}, found none")),
        })
    }
}

/// Nothing of the value is shown: behind a misspelt key there may be a token.
fn unknown(entry: &Entry, known: &[&'static str]) -> Error {
    let variable = ENVIRONMENT
        .iter()
        .find(|(word, _)| *word == plain(&entry.name));
    if let Some((_, variable)) = variable {
        let expected = format!("{variable} in the environment");
        return entry.key.expected(expected, "an unknown key");
    }
    let expected = match nearest(&entry.name, known) {
        Some((key, how)) => format!("a known key (did you mean {key}{how}?)"),
        None => format!("one of {}", known.join(", ")),
    };
    entry.key.expected(expected, "an unknown key")
}

/// A key's letters, however its words are joined.
fn plain(key: &str) -> String {
    key.replace(['_', '-', ' ', '.'], "").to_lowercase()
}

fn nearest(name: &str, known: &[&'static str]) -> Option<(&'static str, &'static str)> {
    let name = plain(shown_key(name));
    let same = known.iter().find(|key| plain(key) == name);
    if let Some(key) = same {
        return Some((key, ""));
    }
    let is_known = |(word, key, _): &&(&str, &str, &str)| *word == name && known.contains(key);
    if let Some((_, key, how)) = ELSEWHERE.iter().find(is_known) {
        return Some((key, how));
    }
    let distances = known.iter().map(|key| (distance(&plain(key), &name), key));
    let (distance, key) = distances.min_by_key(|(distance, _)| *distance)?;
    // A slip or two, and never more than a third of the word.
    (distance <= 2 && distance * 3 <= name.len()).then_some((*key, ""))
}

/// How many letters must be put in, taken out, exchanged or swapped with their neighbour.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![vec![0; b.len() + 1]; a.len() + 1];
    for i in 0..=a.len() {
        for j in 0..=b.len() {
            rows[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let exchanged = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
                let is_swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
                let swapped = if is_swapped {
                    rows[i - 2][j - 2] + 1
                } else {
                    usize::MAX
                };
                (rows[i - 1][j] + 1)
                    .min(rows[i][j - 1] + 1)
                    .min(exchanged)
                    .min(swapped)
            };
        }
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_keys() {
        const KNOWN: [&str; 6] = [
            "baseURL",
            "authToken",
            "name",
            "weight",
            "workers",
            "listen",
        ];
        let check = |name: &str, expected: Option<&str>| {
            assert_eq!(
                nearest(name, &KNOWN).map(|(key, _)| key),
                expected,
                "{name}"
            );
        };
        check("wrkers", Some("workers"));
        check("wieght", Some("weight"));
        check("base_url", Some("baseURL"));
        check("Auth-Token", Some("authToken"));
        check("apiKey", Some("authToken"));
        check("port", Some("listen"));
        check("priority", None); // Its word here is not a key of this object.
        check("colour", None);
        check("", None);
        check("x", None);
    }
}

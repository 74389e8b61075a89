//! How the director and the programs that it starts talk: `key=value` arguments in, `key value` lines out.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use crate::Failure;

/// What one run measured, by name.
pub type Figures = BTreeMap<String, f64>;

#[derive(Clone, Default)]
pub struct Params(BTreeMap<String, String>);

impl Params {
    pub fn parse(arguments: impl Iterator<Item = String>) -> Params {
        let pair = |argument: String| {
            argument
                .split_once('=')
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
        };
        Params(arguments.filter_map(pair).collect())
    }

    pub fn with(mut self, key: &str, value: impl Display) -> Params {
        self.0.insert(key.to_owned(), value.to_string());
        self
    }

    pub fn get<T: FromStr>(&self, key: &str) -> Result<T, Failure> {
        let text = self.0.get(key).ok_or_else(|| format!("{key} is missing"))?;
        text.parse()
            .map_err(|_| format!("{key}={text} can't be used").into())
    }

    /// The default where the key is not there.
    pub fn get_or<T: FromStr>(&self, key: &str, default: T) -> Result<T, Failure> {
        if self.0.contains_key(key) {
            self.get(key)
        } else {
            Ok(default)
        }
    }

    pub fn arguments(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|(key, value)| format!("{key}={value}"))
    }
}

pub fn print(figures: &Figures) {
    for (key, value) in figures {
        println!("{key} {value}");
    }
}

pub fn read(text: &str) -> Figures {
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), value.parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

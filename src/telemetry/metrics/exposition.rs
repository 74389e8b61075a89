//! Prometheus's text format, version 0.0.4
//! (<https://prometheus.io/docs/instrumenting/exposition_formats/>): families, their series and labels.
//!
//! Forty lines instead of a library: those that there are keep counters of their own, which ours would have to be copied into.

use std::fmt::Write;

/// A label's name and value.
pub type Label<'a> = (&'static str, &'a str);

/// A text that grows by families.
#[derive(Default)]
pub struct Exposition(String);

impl Exposition {
    /// Begins a family. `kind`: `counter`, `gauge` or `histogram`.
    pub fn family(&mut self, name: &'static str, kind: &str, help: &str) -> Family<'_> {
        let text = &mut self.0;
        push(
            text,
            format_args!("# HELP {name} {help}.\n# TYPE {name} {kind}\n"),
        );
        Family { text, name }
    }

    pub fn finish(self) -> String {
        self.0
    }
}

/// A family under way.
pub struct Family<'a> {
    text: &'a mut String,
    name: &'static str,
}

impl Family<'_> {
    /// A count.
    pub fn count(&mut self, labels: &[Label], value: u64) {
        self.sample("", labels, format_args!("{value}"));
    }

    /// A number that may have a fraction, and shows it.
    pub fn number(&mut self, labels: &[Label], value: f64) {
        self.sample("", labels, format_args!("{value:?}"));
    }

    /// `suffix`: what a histogram's series add to its name.
    pub fn sample(&mut self, suffix: &str, labels: &[Label], value: std::fmt::Arguments) {
        push(self.text, format_args!("{}{suffix}", self.name));
        for (at, (name, value)) in labels.iter().enumerate() {
            let before = if at == 0 { '{' } else { ',' };
            push(self.text, format_args!("{before}{name}=\""));
            for c in value.chars() {
                match c {
                    '\\' | '"' => self.text.extend(['\\', c]),
                    '\n' => self.text.push_str("\\n"),
                    c => self.text.push(c),
                }
            }
            self.text.push('"');
        }
        let after = if labels.is_empty() { "" } else { "}" };
        push(self.text, format_args!("{after} {value}\n"));
    }
}

fn push(text: &mut String, what: std::fmt::Arguments) {
    text.write_fmt(what).expect("a String takes everything");
}

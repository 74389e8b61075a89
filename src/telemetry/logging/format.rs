//! What a line of the log looks like: `key=value` behind the message, or one JSON object.

use std::fmt::{self, Write};
use std::time::SystemTime;

use humantime::format_rfc3339_millis;
use log::Record;
use log::kv::{self, Key, Value, VisitSource, VisitValue};

use super::is_ours;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

impl Format {
    /// A whole line: time, level, message, fields; of a library's record, first where it comes from.
    pub fn line(self, time: SystemTime, record: &Record) -> String {
        let mut line = String::with_capacity(512);
        let time = format_rfc3339_millis(time);
        // Writing to a `String` fails only where somebody's `Display` does: the line is what there was until then.
        let _ = match self {
            Format::Text => self.fill_text(&mut line, &time, record),
            Format::Json => self.fill_json(&mut line, &time, record),
        };
        line.push('\n');
        line
    }

    fn fill_text(self, line: &mut String, time: &dyn fmt::Display, record: &Record) -> fmt::Result {
        write!(line, "{time} {:<5} ", record.level())?;
        write!(
            Escaped {
                line,
                is_quoted: false
            },
            "{}",
            record.args()
        )?;
        self.fill_fields(line, record)
    }

    fn fill_json(self, line: &mut String, time: &dyn fmt::Display, record: &Record) -> fmt::Result {
        let level = record.level().as_str().to_ascii_lowercase();
        write!(
            line,
            "{{\"time\":\"{time}\",\"level\":\"{level}\",\"message\":"
        )?;
        push_json(line, &record.args().to_string())?;
        self.fill_fields(line, record)?;
        line.write_char('}')
    }

    fn fill_fields(self, line: &mut String, record: &Record) -> fmt::Result {
        let mut fields = Fields { line, format: self };
        if !is_ours(record.target()) {
            fields
                .visit_pair(Key::from("module"), Value::from(record.target()))
                .map_err(|_| fmt::Error)?;
        }
        record
            .key_values()
            .visit(&mut fields)
            .map_err(|_| fmt::Error)
    }
}

/// Adds fields to a line: ` key=value` or `,"key":value`.
struct Fields<'a> {
    line: &'a mut String,
    format: Format,
}

impl<'v> VisitSource<'v> for Fields<'_> {
    fn visit_pair(&mut self, key: Key<'v>, value: Value<'v>) -> Result<(), kv::Error> {
        let (before, after) = match self.format {
            Format::Text => (" ", "="),
            Format::Json => (",\"", "\":"),
        };
        for part in [before, key.as_str(), after] {
            self.line.push_str(part);
        }
        value.visit(self)
    }
}

impl<'v> VisitValue<'v> for Fields<'_> {
    fn visit_any(&mut self, value: Value) -> Result<(), kv::Error> {
        self.visit_str(&value.to_string())
    }

    fn visit_str(&mut self, value: &str) -> Result<(), kv::Error> {
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\=".contains(&byte);
        match self.format {
            Format::Json => push_json(self.line, value)?,
            Format::Text if !value.is_empty() && value.bytes().all(is_plain) => {
                self.line.push_str(value)
            }
            Format::Text => {
                self.line.push('"');
                Escaped {
                    line: self.line,
                    is_quoted: true,
                }
                .write_str(value)?;
                self.line.push('"');
            }
        }
        Ok(())
    }

    fn visit_u64(&mut self, value: u64) -> Result<(), kv::Error> {
        Ok(write!(self.line, "{value}")?)
    }

    fn visit_i64(&mut self, value: i64) -> Result<(), kv::Error> {
        Ok(write!(self.line, "{value}")?)
    }

    fn visit_f64(&mut self, value: f64) -> Result<(), kv::Error> {
        // JSON has no word for infinity and the like.
        if value.is_finite() {
            Ok(write!(self.line, "{value}")?)
        } else {
            self.visit_str(&value.to_string())
        }
    }

    fn visit_bool(&mut self, value: bool) -> Result<(), kv::Error> {
        Ok(write!(self.line, "{value}")?)
    }
}

/// Takes visible ASCII and spaces as they are, and all else as an escape: `\n`, `\u{e9}`.
struct Escaped<'a> {
    line: &'a mut String,
    /// Between quotes the quote and the backslash are escaped, too.
    is_quoted: bool,
}

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        let is_special =
            |c: char| !(' '..='~').contains(&c) || (self.is_quoted && (c == '"' || c == '\\'));
        while let Some(at) = text.find(is_special) {
            let (plain, rest) = text.split_at(at);
            self.line.push_str(plain);
            let mut rest = rest.chars();
            self.line
                .extend(rest.next().into_iter().flat_map(char::escape_default));
            text = rest.as_str();
        }
        self.line.push_str(text);
        Ok(())
    }
}

fn push_json(line: &mut String, text: &str) -> fmt::Result {
    line.push_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?);
    Ok(())
}

#[cfg(test)]
mod tests;

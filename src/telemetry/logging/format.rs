//! What a line of the log looks like: `key=value` behind the message, or one JSON object.
//!
//! A line has a time in front, or, for the journal, which keeps the time itself, a priority. It is one line and at most
//! [`MAX_LINE`] bytes, whatever a stranger put into it: what is too long is cut, and says so.

mod escape;

use std::fmt::{self, Write};
use std::time::SystemTime;

use humantime::format_rfc3339_millis;
use log::kv::{self, Key, Value, VisitSource, VisitValue};
use log::{Level, Record};

use super::is_ours;
use escape::{Escaped, Form, TOO_LONG};

/// The longest line, in bytes, with its end. Pipes take so much at once, so that lines of several writers do not mix.
const MAX_LINE: usize = 4 << 10;
/// Room that the end of a line needs: a mark, quotes, the brace, the newline.
const TAIL: usize = 16;
/// Room for a field that is no text: a number, true or false.
const NUMBER: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    Text,
    Json,
}

/// How lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    pub format: Format,
    /// For the systemd journal: `<N>`, the priority, stands in front, and no time (`sd-daemon(3)`).
    pub for_journal: bool,
}

impl Style {
    /// A whole line: time or priority, level, message, fields; of a library's record, first where it comes from.
    pub fn line(self, time: SystemTime, record: &Record) -> String {
        let mut line = String::with_capacity(512);
        // Writing to a `String` fails only where somebody's `Display` does: the line is what there was until then.
        let _ = self.fill(&mut line, time, record);
        line.push('\n');
        line
    }

    fn fill(self, line: &mut String, time: SystemTime, record: &Record) -> fmt::Result {
        let time = format_rfc3339_millis(time);
        if self.for_journal {
            write!(line, "<{}>", priority(record.level()))?;
        }
        match self.format {
            Format::Text => {
                if !self.for_journal {
                    write!(line, "{time} ")?;
                }
                write!(line, "{:<5} ", record.level())?;
                Escaped::new(line, Form::Plain, share(line)).whole(record.args())?;
                self.fill_fields(line, record)
            }
            Format::Json => {
                line.push('{');
                if !self.for_journal {
                    write!(line, "\"time\":\"{time}\",")?;
                }
                let level = record.level().as_str().to_ascii_lowercase();
                write!(line, "\"level\":\"{level}\",\"message\":\"")?;
                let told = Escaped::new(line, Form::Json, share(line)).whole(record.args());
                line.push('"');
                let told = told.and_then(|()| self.fill_fields(line, record));
                line.push('}');
                told
            }
        }
    }

    fn fill_fields(self, line: &mut String, record: &Record) -> fmt::Result {
        let format = self.format;
        let mut fields = Fields { line, format };
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

/// The journal's priority, as `syslog(3)` numbers them.
fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Where a text that begins at the line's end has to end: it gets half of the room that is left, so that all fields behind it
/// find some, too.
fn share(line: &str) -> usize {
    line.len() + (MAX_LINE - TAIL).saturating_sub(line.len()) / 2
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
        let least = self.line.len() + before.len() + key.as_str().len() + after.len();
        if least + NUMBER + TAIL > MAX_LINE {
            return Ok(());
        }
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
        let end = share(self.line);
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"\\=".contains(&byte);
        if self.format == Format::Text && !value.is_empty() && value.bytes().all(is_plain) {
            let is_cut = self.line.len() + value.len() > end;
            let room = end.saturating_sub(self.line.len());
            self.line
                .push_str(if is_cut { &value[..room] } else { value });
            self.line.push_str(if is_cut { TOO_LONG } else { "" });
            return Ok(());
        }
        let form = match self.format {
            Format::Text => Form::Quoted,
            Format::Json => Form::Json,
        };
        self.line.push('"');
        Escaped::new(self.line, form, end).whole(value)?;
        self.line.push('"');
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

#[cfg(test)]
mod tests;

//! Text as it may stand in a line: no control character, nothing that changes how a terminal or a browser shows it, and not
//! longer than there is room.

use std::fmt::{self, Display, Write};

/// Stands behind a text that was too long.
pub const TOO_LONG: &str = "[cut]";

/// Where a text stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// In a text line: visible ASCII and spaces as they are, all else as an escape: `\n`, `\u{e9}`.
    Plain,
    /// The same between quotes, so that quote and backslash are escaped, too.
    Quoted,
    /// In a JSON string: letters of all scripts as they are.
    Json,
}

impl Form {
    fn is_special(self, c: char) -> bool {
        match self {
            Form::Plain => !(' '..='~').contains(&c),
            Form::Quoted => !(' '..='~').contains(&c) || c == '"' || c == '\\',
            Form::Json => c == '"' || c == '\\' || c.is_control() || misleads(c),
        }
    }

    fn push_escape(self, escape: &mut String, c: char) {
        let mut units = [0; 2];
        match (self, c) {
            (Form::Json, '"' | '\\' | '\n' | '\r' | '\t') | (Form::Plain | Form::Quoted, _) => {
                escape.extend(c.escape_default());
            }
            (Form::Json, _) => {
                for unit in c.encode_utf16(&mut units) {
                    write!(escape, "\\u{unit:04x}").expect("a String takes everything");
                }
            }
        }
    }
}

/// Line ends that are no control characters, and marks that turn the direction of the text behind them: with those a line
/// can be made to look like another one.
fn misleads(c: char) -> bool {
    matches!(
        c,
        '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}'
    )
}

/// Writes text to a line, escaped, up to an end.
pub struct Escaped<'a> {
    line: &'a mut String,
    form: Form,
    /// The line's length that is not to be passed.
    end: usize,
    is_cut: bool,
}

impl<'a> Escaped<'a> {
    pub fn new(line: &'a mut String, form: Form, end: usize) -> Escaped<'a> {
        Escaped {
            line,
            form,
            end,
            is_cut: false,
        }
    }

    /// Writes `value`, and a mark behind it where it was cut. The mark may pass the end.
    ///
    /// # Errors
    /// Those of the value's own `Display`.
    pub fn whole(mut self, value: impl Display) -> fmt::Result {
        let written = write!(self, "{value}");
        if self.is_cut {
            self.line.push_str(TOO_LONG);
            return Ok(());
        }
        written
    }

    /// False where there was no room for it.
    fn push(&mut self, part: &str) -> bool {
        self.is_cut |= self.line.len() + part.len() > self.end;
        if !self.is_cut {
            self.line.push_str(part);
        }
        !self.is_cut
    }

    fn push_plain(&mut self, text: &str) -> bool {
        if self.push(text) {
            return true;
        }
        let room = self.end.saturating_sub(self.line.len());
        let room = text.floor_char_boundary(room.min(text.len()));
        self.line.push_str(&text[..room]);
        false
    }
}

impl Write for Escaped<'_> {
    fn write_str(&mut self, mut text: &str) -> fmt::Result {
        if self.is_cut {
            // Whoever formats need not go on.
            return Err(fmt::Error);
        }
        let mut escape = String::new();
        while let Some(at) = text.find(|c| self.form.is_special(c)) {
            let (plain, rest) = text.split_at(at);
            let mut rest = rest.chars();
            escape.clear();
            self.form.push_escape(
                &mut escape,
                rest.next().expect("the special one was found there"),
            );
            if !self.push_plain(plain) || !self.push(&escape) {
                return Err(fmt::Error);
            }
            text = rest.as_str();
        }
        if self.push_plain(text) {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

//! The command line: what was asked for, and what it asks for beside serving.

mod answer;
pub mod arguments;
pub mod check;
pub mod probe;

use std::fmt;
use std::io::{self, Write};

/// Writes to stdout. Whoever reads it may have heard enough (`| head`).
///
/// # Errors
/// A disk that is full, or the like.
pub fn print(text: impl fmt::Display) -> Result<(), String> {
    match writeln!(io::stdout(), "{text}") {
        Err(err) if err.kind() != io::ErrorKind::BrokenPipe => Err(format!("cannot print: {err}")),
        _ => Ok(()),
    }
}

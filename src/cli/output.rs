//! Standard output and error, which may be full, closed, or a pipe whose reader has gone.
//!
//! `println!` panics there, which would end a program that serves.

use std::fmt;
use std::io::{self, ErrorKind, Write};

/// Prints `text` and a line's end. A reader that has seen enough (`… --check | head -1`) is no error.
///
/// # Errors
/// It cannot be written: a full disk.
pub fn print(text: impl fmt::Display) -> Result<(), String> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(err) if err.kind() != ErrorKind::BrokenPipe => {
            Err(format!("cannot write to standard output: {err}"))
        }
        _ => Ok(()),
    }
}

/// Says on standard error why the program ends. Where that cannot be written, the exit status alone has to say it.
pub fn complain(text: impl fmt::Display) {
    let _ = writeln!(io::stderr(), "claude-loadbalancer: {text}");
}

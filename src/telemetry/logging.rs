//! The log: one line an event, to stderr, as text or as JSON.
//!
//! Lines gather in a bounded buffer that one thread writes out, so that a stderr which is full, blocked or closed holds
//! nobody up: what finds no room is dropped, counted, and told when it goes again. A line is always one line, whatever a
//! stranger put into it. Our own records come at the chosen level, the libraries' only at `debug`: ureq shows neither
//! paths nor credentials there, and its `trace`, which does, is never let in.

mod format;
mod lines;

use std::fs::File;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::panic::{self, PanicHookInfo};
use std::time::{Duration, SystemTime};
use std::{env, fmt, io, thread};

use log::{LevelFilter, Log, Metadata, Record};

use format::{Format, Style};
use lines::Lines;

/// Bytes of lines that may wait; as many again may be on their way out. Some 3,000 requests: a burst that a busy
/// terminal or journal has taken a moment later.
const MAX_WAITING: usize = 1 << 20;

/// The longest that a thread which panics waits for its line to be out: it may be the program's last one.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// The writer calls little more than `write`.
const STACK: usize = 64 << 10;

/// The lines of this process. Its thread ends with it.
static LINES: Lines = Lines::new(MAX_WAITING);

/// Starts the log, as `LOG_LEVEL` (error, warn, info, debug, in any case; default info) and `LOG_FORMAT` (text, json; default text)
/// say. From then on a panic is one line of it, too.
///
/// # Errors
/// A variable that says something else; no thread or descriptor left; started already.
pub fn init() -> Result<(), String> {
    let (level, format) = settings(&variable)?;
    let failed = |err: &dyn fmt::Display| format!("cannot start the log: {err}");
    // A descriptor of its own: whoever writes to `io::stderr()` meanwhile does not wait for a writer that is stuck.
    let stderr = io::stderr()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|err| failed(&err))?;
    let mut stderr = File::from(stderr);
    let style = Style {
        format,
        for_journal: is_journal(&stderr, env::var("JOURNAL_STREAM").ok()),
    };
    log::set_boxed_logger(Box::new(Logger { level, style })).map_err(|err| failed(&err))?;
    log::set_max_level(level);
    thread::Builder::new()
        .name("log".into())
        .stack_size(STACK)
        .spawn(move || LINES.write_to(&mut stderr, style))
        .map_err(|err| failed(&err))?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Whether [`init`] would take what the environment says.
///
/// # Errors
/// A variable that says something else.
pub fn check_environment() -> Result<(), String> {
    settings(&variable).map(|_| ())
}

fn variable(name: &str) -> Option<String> {
    env::var_os(name).map(|value| value.to_string_lossy().into_owned())
}

/// Waits until what was logged so far is out, but not longer than `limit`: for the end of the program.
pub fn flush(limit: Duration) {
    LINES.flush(limit);
}

fn settings(env: &dyn Fn(&str) -> Option<String>) -> Result<(LevelFilter, Format), String> {
    // An empty variable counts as unset, as in `${PORT:-13255}`.
    let set = |name| env(name).filter(|value| !value.is_empty());
    let written = set("LOG_LEVEL").unwrap_or_else(|| "info".to_owned());
    let level = match &*written.to_ascii_lowercase() {
        "error" => LevelFilter::Error,
        "warn" => LevelFilter::Warn,
        "info" => LevelFilter::Info,
        "debug" => LevelFilter::Debug,
        _ => {
            return Err(format!(
                "LOG_LEVEL in the environment: expected error, warn, info or debug, found {written:?}"
            ));
        }
    };
    let format = match set("LOG_FORMAT").as_deref() {
        None | Some("text") => Format::Text,
        Some("json") => Format::Json,
        Some(other) => {
            return Err(format!(
                "LOG_FORMAT in the environment: expected text or json, found {other:?}"
            ));
        }
    };
    Ok((level, format))
}

fn log_panic(panic: &PanicHookInfo) {
    let payload = panic.payload();
    let text = payload.downcast_ref::<&str>().copied();
    let text = text
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("(no message)");
    let place = panic
        .location()
        .map(ToString::to_string)
        .unwrap_or_default();
    let thread = thread::current();
    log::error!(thread = thread.name().unwrap_or("-"), place = place.as_str(); "panic: {text}");
    flush(LAST_WORDS);
}

/// Whether `stderr` is the journal: systemd names the file that it connected (`systemd.exec(5)`), and who redirected it since
/// has another one.
fn is_journal(stderr: &File, journal_stream: Option<String>) -> bool {
    let Some(stream) = journal_stream else {
        return false;
    };
    stderr
        .metadata()
        .is_ok_and(|file| stream == format!("{}:{}", file.dev(), file.ino()))
}

struct Logger {
    level: LevelFilter,
    style: Style,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= self.level
            && (is_ours(metadata.target()) || self.level == LevelFilter::Debug)
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            LINES.push(&self.style.line(SystemTime::now(), record));
        }
    }

    fn flush(&self) {}
}

fn is_ours(target: &str) -> bool {
    target
        .strip_prefix(env!("CARGO_CRATE_NAME"))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests;

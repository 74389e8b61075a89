//! The log: one line an event, to stderr, as text or as JSON.
//!
//! Lines gather in a bounded buffer that one thread writes out, so that a stderr which is full, blocked or closed holds
//! nobody up: what finds no room is dropped, counted, and told when it goes again. A line is always one line, whatever a
//! stranger put into it. Our own records come at the chosen level, the libraries' only at `debug`: ureq shows neither
//! paths nor credentials there, and its `trace`, which does, is never let in.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::panic::{self, PanicHookInfo};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};
use std::{env, mem, thread};

use humantime::format_rfc3339_millis;
use log::kv::{self, Key, Value, VisitSource, VisitValue};
use log::{Level, LevelFilter, Log, Metadata, Record};
use memchr::memchr_iter;

/// Bytes of lines that may wait; as many again may be on their way out. Some 3,000 requests: a burst that a busy
/// terminal or journal has taken a moment later.
const MAX_WAITING: usize = 1 << 20;

/// How long lines gather after some were written. The first one after a silence goes at once; under load this makes one
/// system call out of many, and no thread that logs has to wake another.
const GATHER: Duration = Duration::from_millis(20);

/// Bytes of a buffer that are kept for the next lines. What a burst took beyond that is given back.
const KEPT: usize = 128 << 10;

/// The longest that a thread which panics waits for its line to be out: it may be the program's last one.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// The writer calls little more than `write`.
const STACK: usize = 64 << 10;

/// The lines of this process. Its thread ends with it.
static LINES: Lines = Lines::new(MAX_WAITING);

/// Starts the log, as `LOG_LEVEL` (error, warn, info, debug; default info) and `LOG_FORMAT` (text, json; default text)
/// say. From then on a panic is one line of it, too.
///
/// # Errors
/// A variable that says something else; no thread or descriptor left; started already.
pub fn init() -> Result<(), String> {
    let env = |name: &str| env::var_os(name).map(|value| value.to_string_lossy().into_owned());
    let (level, format) = settings(&env)?;
    let failed = |err: &dyn fmt::Display| format!("cannot start the log: {err}");
    // A descriptor of its own: whoever writes to `io::stderr()` meanwhile does not wait for a writer that is stuck.
    let stderr = io::stderr()
        .as_fd()
        .try_clone_to_owned()
        .map_err(|err| failed(&err))?;
    log::set_boxed_logger(Box::new(Logger { level, format })).map_err(|err| failed(&err))?;
    log::set_max_level(level);
    thread::Builder::new()
        .name("log".into())
        .stack_size(STACK)
        .spawn(move || LINES.write_to(&mut File::from(stderr), format))
        .map_err(|err| failed(&err))?;
    panic::set_hook(Box::new(log_panic));
    Ok(())
}

/// Waits until what was logged so far is out, but not longer than `limit`: for the end of the program.
pub fn flush(limit: Duration) {
    LINES.flush(limit);
}

fn settings(env: &dyn Fn(&str) -> Option<String>) -> Result<(LevelFilter, Format), String> {
    // An empty variable counts as unset, as in `${PORT:-13255}`.
    let set = |name| env(name).filter(|value| !value.is_empty());
    let level = match set("LOG_LEVEL").as_deref() {
        Some("error") => LevelFilter::Error,
        Some("warn") => LevelFilter::Warn,
        None | Some("info") => LevelFilter::Info,
        Some("debug") => LevelFilter::Debug,
        Some(other) => {
            return Err(format!(
                "LOG_LEVEL in the environment: expected error, warn, info or debug, found {other:?}"
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

struct Logger {
    level: LevelFilter,
    format: Format,
}

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata) -> bool {
        metadata.level() <= self.level
            && (is_ours(metadata.target()) || self.level == LevelFilter::Debug)
    }

    fn log(&self, record: &Record) {
        if self.enabled(record.metadata()) {
            LINES.push(&self.format.line(SystemTime::now(), record));
        }
    }

    fn flush(&self) {}
}

fn is_ours(target: &str) -> bool {
    target
        .strip_prefix(env!("CARGO_CRATE_NAME"))
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Json,
}

impl Format {
    /// A whole line: time, level, message, fields; of a library's record, first where it comes from.
    fn line(self, time: SystemTime, record: &Record) -> String {
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

/// Lines on their way from the threads that log to the one that writes.
struct Lines {
    limit: usize,
    state: Mutex<State>,
    /// Tells the writer: there is something, or somebody waits for it.
    more: Condvar,
    /// Tells those who wait: something was settled.
    done: Condvar,
}

struct State {
    waiting: Vec<u8>,
    /// Lines that found no room or could not be written, and of which nobody was told yet.
    dropped: u64,
    /// The writer sleeps until it is woken.
    is_idle: bool,
    /// Bytes that ever came in; of those, written or given up; and how far somebody wants that to come.
    taken: u64,
    settled: u64,
    wanted: u64,
}

impl Lines {
    const fn new(limit: usize) -> Lines {
        let (taken, settled, wanted) = (0, 0, 0);
        let state = State {
            waiting: Vec::new(),
            dropped: 0,
            is_idle: false,
            taken,
            settled,
            wanted,
        };
        Lines {
            limit,
            state: Mutex::new(state),
            more: Condvar::new(),
            done: Condvar::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Never waits for the writer.
    fn push(&self, line: &str) {
        let mut state = self.lock();
        if state.waiting.len() + line.len() > self.limit {
            state.dropped += 1;
            return;
        }
        state.waiting.extend_from_slice(line.as_bytes());
        state.taken += line.len() as u64;
        if mem::take(&mut state.is_idle) {
            drop(state);
            self.more.notify_one();
        }
    }

    fn flush(&self, limit: Duration) {
        let mut state = self.lock();
        let goal = state.taken;
        state.wanted = state.wanted.max(goal);
        self.more.notify_one();
        let _ = self
            .done
            .wait_timeout_while(state, limit, |state| state.settled < goal);
    }

    /// The writer's life.
    fn write_to(&self, out: &mut impl Write, format: Format) {
        let mut batch = Vec::new();
        let mut is_torn = false;
        loop {
            let mut state = self.lock();
            while state.waiting.is_empty() {
                state.is_idle = true;
                state = self
                    .more
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner);
            }
            state.is_idle = false;
            mem::swap(&mut batch, &mut state.waiting);
            let dropped = mem::take(&mut state.dropped);
            drop(state);

            let size = batch.len() as u64;
            let lost = write_batch(out, &mut batch, &mut is_torn, dropped, format);
            batch.clear();
            batch.shrink_to(KEPT);

            let mut state = self.lock();
            state.dropped += lost;
            state.settled += size;
            self.done.notify_all();
            let _ = self
                .more
                .wait_timeout_while(state, GATHER, |state| state.wanted <= state.settled);
        }
    }
}

/// Writes lines and, behind them, how many were dropped. Answers how many were lost now, with those that nobody was told
/// of. `is_torn`: the last line that went out is not whole.
fn write_batch(
    out: &mut impl Write,
    batch: &mut Vec<u8>,
    is_torn: &mut bool,
    dropped: u64,
    format: Format,
) -> u64 {
    if *is_torn && write_all(out, b"\n") == 0 {
        return newlines(batch) + dropped;
    }
    let lines = batch.len();
    if dropped > 0 {
        let mut note = Record::builder();
        note.level(Level::Warn).target(env!("CARGO_CRATE_NAME"));
        let note = format.line(
            SystemTime::now(),
            &note
                .args(format_args!("{dropped} log lines were dropped"))
                .build(),
        );
        batch.extend_from_slice(note.as_bytes());
    }
    let written = write_all(out, batch);
    *is_torn = !batch[..written].ends_with(b"\n") && written > 0;
    if written == batch.len() {
        0
    } else {
        newlines(&batch[written.min(lines)..lines]) + dropped
    }
}

fn newlines(text: &[u8]) -> u64 {
    memchr_iter(b'\n', text).count() as u64
}

/// Writes as much as goes; answers how much that was. A full pipe is waited for, anything worse is not.
fn write_all(out: &mut impl Write, text: &[u8]) -> usize {
    let mut written = 0;
    while written < text.len() {
        match out.write(&text[written..]) {
            Ok(0) => break,
            Ok(more) => written += more,
            Err(err) if err.kind() == ErrorKind::Interrupted => {}
            // Whoever shares our stderr made it non-blocking.
            Err(err) if err.kind() == ErrorKind::WouldBlock => thread::sleep(GATHER),
            Err(_) => break,
        }
    }
    written
}

#[cfg(test)]
mod tests;

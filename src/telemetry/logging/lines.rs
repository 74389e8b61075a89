//! Lines on their way to stderr: a bounded buffer between the threads that log and the one that writes.

use std::io::{ErrorKind, Write};
use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use log::{Level, Record};
use memchr::memchr_iter;

use super::format::Style;

/// How long lines gather after some were written. The first one after a silence goes at once; under load this makes one
/// system call out of many, and no thread that logs has to wake another.
const GATHER: Duration = Duration::from_millis(20);

/// Bytes of a buffer that are kept for the next lines. What a burst took beyond that is given back.
const KEPT: usize = 128 << 10;

/// Lines on their way from the threads that log to the one that writes.
pub struct Lines {
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
    pub const fn new(limit: usize) -> Lines {
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
    pub fn push(&self, line: &str) {
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

    pub fn flush(&self, limit: Duration) {
        let mut state = self.lock();
        let goal = state.taken;
        state.wanted = state.wanted.max(goal);
        self.more.notify_one();
        let _ = self
            .done
            .wait_timeout_while(state, limit, |state| state.settled < goal);
    }

    /// The writer's life.
    pub fn write_to(&self, out: &mut impl Write, style: Style) {
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
            let lost = write_batch(out, &mut batch, &mut is_torn, dropped, style);
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
    style: Style,
) -> u64 {
    if *is_torn && write_all(out, b"\n") == 0 {
        return newlines(batch) + dropped;
    }
    let lines = batch.len();
    if dropped > 0 {
        let mut note = Record::builder();
        note.level(Level::Warn).target(env!("CARGO_CRATE_NAME"));
        let note = style.line(
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

//! How workers and the main thread wake the listener's thread, and what they tell it.

use std::io;
use std::mem;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nix::sys::eventfd::{EfdFlags, EventFd};

/// What the listener's thread is told.
#[derive(Debug, Default)]
pub struct Notes {
    /// Connections that are back from their workers and need a look now.
    pub back: Vec<u64>,
    /// An attempt needs a descriptor: idle connections are to be closed.
    pub make_room: bool,
    /// No new connections from now on.
    pub stop: bool,
    /// Every attempt is to end.
    pub abort_all: bool,
    /// The thread is to end.
    pub end: bool,
}

/// Notes for the thread, and an event that it waits for among others.
#[derive(Debug)]
pub struct Bell {
    event: EventFd,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    notes: Notes,
    /// It was rung since the thread last came.
    is_rung: bool,
}

impl Bell {
    /// # Errors
    /// No descriptor is left.
    pub fn new() -> io::Result<Bell> {
        let flags = EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC;
        Ok(Bell {
            event: EventFd::from_flags(flags)?,
            state: Mutex::default(),
        })
    }

    /// Leaves a note, and wakes the thread if nobody has.
    pub fn ring(&self, note: impl FnOnce(&mut Notes)) {
        let mut state = self.lock();
        note(&mut state.notes);
        let is_rung = mem::replace(&mut state.is_rung, true);
        drop(state);
        if !is_rung {
            // It fails only where the counter is full: then the thread is awake.
            let _ = self.event.write(1);
        }
    }

    /// What the thread was told since it last came.
    pub fn answer(&self) -> Notes {
        // Before the notes are taken: a ring after this one wakes anew.
        let _ = self.event.read();
        let mut state = self.lock();
        state.is_rung = false;
        mem::take(&mut state.notes)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.event.as_fd()
    }
}

//! A call that is being made, as the connection under it and other threads see it.

use std::cell::RefCell;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

/// Ends an attempt from another thread.
#[derive(Debug, Default)]
pub struct Abort(Mutex<Aborting>);

/// Why an attempt is ended that is no endpoint's fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    ClientGone,
    ShuttingDown,
}

#[derive(Debug, Default)]
struct Aborting {
    reason: Option<Reason>,
    socket: Weak<TcpStream>,
}

impl Abort {
    /// The attempt that runs, and any that would follow, fails at once with [`super::Error::Aborted`].
    /// The first reason stays.
    pub fn abort(&self, reason: Reason) {
        let mut state = self.lock();
        state.reason.get_or_insert(reason);
        if let Some(socket) = state.socket.upgrade() {
            // An error means that it is closed already.
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    pub fn is_aborted(&self) -> bool {
        self.reason().is_some()
    }

    pub fn reason(&self) -> Option<Reason> {
        self.lock().reason
    }

    /// The attempt has ended: its socket serves others from now on.
    pub fn detach(&self) {
        self.lock().socket = Weak::new();
    }

    pub fn attach(&self, socket: &Arc<TcpStream>) {
        let mut state = self.lock();
        state.socket = Arc::downgrade(socket);
        if state.reason.is_some() {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Aborting> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

thread_local! {
    static CALL: RefCell<Option<Call>> = const { RefCell::new(None) };
}

/// What the transport must know of the call that this thread makes, and what it learns.
pub struct Call {
    pub abort: Arc<Abort>,
    /// Take no kept connection.
    pub fresh: bool,
    /// It went out on a kept one.
    pub reused: bool,
    /// A byte of the answer has come.
    pub answered: bool,
    /// When the last byte of the request went out.
    pub sent: Instant,
    /// Bytes of the head and the body that go out, or a few more.
    pub size: usize,
    /// Until when the next piece of a body must be here; ureq has no limit for one piece, only for all.
    pub piece_by: Instant,
    /// The answer's framing is such that nothing behind it can be trusted.
    pub spoiled: bool,
}

/// While it lives, this thread makes the call; then the one that it made before, if any.
pub struct Entered<'a> {
    place: &'a mut Option<Call>,
    before: Option<Call>,
}

impl Call {
    /// `size`: bytes of head and body together, at least. `fresh`: on a new connection.
    pub fn new(abort: &Arc<Abort>, size: usize, fresh: bool) -> Call {
        let now = Instant::now();
        Call {
            abort: abort.clone(),
            fresh,
            reused: false,
            answered: false,
            sent: now,
            size,
            piece_by: now,
            spoiled: false,
        }
    }

    /// Takes the call out of its place, and puts it back at the end.
    pub fn enter(place: &mut Option<Call>) -> Entered<'_> {
        let before = CALL.replace(place.take());
        Entered { place, before }
    }

    /// Looks at the call that this thread makes.
    pub fn with<R>(look: impl FnOnce(&mut Call) -> R) -> R {
        CALL.with_borrow_mut(|call| {
            look(call.as_mut().expect("a transport is used by a call only"))
        })
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        *self.place = CALL.replace(self.before.take());
    }
}

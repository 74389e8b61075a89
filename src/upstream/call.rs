//! A call that is being made, as the connection under it and other threads see it.

use std::cell::RefCell;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

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

/// What the transport must know of the call that this thread makes.
pub struct Call {
    pub abort: Arc<Abort>,
    /// Take no kept connection.
    pub fresh: bool,
    /// It went out on a kept one.
    pub reused: bool,
    /// A byte of the answer has come.
    pub answered: bool,
    pub sent: Instant,
    /// Bytes of the head and the body that go out, or a few more.
    pub size: usize,
    /// How long the next read may wait where ureq sets no limit itself.
    pub patience: Duration,
}

impl Call {
    /// `size`: bytes of head and body together, at least.
    pub fn new(abort: &Arc<Abort>, size: usize) -> Call {
        Call {
            abort: abort.clone(),
            fresh: false,
            reused: false,
            answered: false,
            sent: Instant::now(),
            size,
            patience: Duration::MAX,
        }
    }

    pub fn on_a_fresh_connection(abort: &Arc<Abort>, size: usize) -> Call {
        Call {
            fresh: true,
            ..Call::new(abort, size)
        }
    }

    pub fn enter(self) {
        CALL.set(Some(self));
    }

    pub fn met_a_stale_connection() -> bool {
        Call::with(|call| call.reused && !call.answered)
    }

    pub fn sent_at() -> Instant {
        Call::with(|call| call.sent)
    }

    pub fn set_patience(patience: Duration) {
        Call::with(|call| call.patience = patience);
    }

    pub fn with<R>(look: impl FnOnce(&mut Call) -> R) -> R {
        CALL.with_borrow_mut(|call| {
            look(call.as_mut().expect("a transport is used by a call only"))
        })
    }
}

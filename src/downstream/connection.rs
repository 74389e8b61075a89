//! What a client connection's own thread, the worker that answers and the front share.

use std::io;
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::upstream::Abort;

/// One client connection.
pub struct Connection {
    stream: TcpStream,
    state: Mutex<State>,
    /// Signalled when an answer ends while the connection's thread waits for it.
    ended: Condvar,
}

struct State {
    phase: Phase,
    since: Instant,
    abort: Option<Arc<Abort>>,
    /// The connection's thread waits for the answer's end.
    awaited: bool,
    /// The client hung up while its request was served.
    gone: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Nothing has come yet.
    Fresh,
    /// Between two requests.
    Idle,
    /// A head has begun.
    Head,
    /// A body comes.
    Body,
    /// A request waits for a worker.
    Queued,
    /// A worker is at it.
    Served,
    /// The answer has ended; the connection may serve another request, or not.
    Answered { keep: bool },
    /// It was refused while it may be sending, and gets the time to read why.
    Refused,
}

impl Connection {
    /// # Errors
    /// The client has gone already.
    pub fn new(stream: TcpStream, client_timeout: Duration) -> io::Result<Connection> {
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(client_timeout))?;
        let state = State {
            phase: Phase::Fresh,
            since: Instant::now(),
            abort: None,
            awaited: false,
            gone: false,
        };
        Ok(Connection {
            stream,
            state: Mutex::new(state),
            ended: Condvar::new(),
        })
    }

    /// Where the answer goes.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// A worker has begun with the request.
    pub fn begin(&self) {
        self.enter(Phase::Served);
    }

    /// The answer has ended. `keep`: another request may follow; else the client is told that none may.
    pub fn finish(&self, keep: bool) {
        let mut state = self.lock();
        state.phase = Phase::Answered { keep };
        state.since = Instant::now();
        state.abort = None;
        let awaited = state.awaited;
        drop(state);
        if awaited {
            self.ended.notify_all();
        }
        if !keep {
            self.shut(Shutdown::Both);
        }
    }

    /// Since when nobody uses the connection; `None` while somebody does. A client gets the time `fresh` to begin its
    /// first request and `slow` to go on with a head or to read why it was refused.
    pub fn idle_since(&self, now: Instant, fresh: Duration, slow: Duration) -> Option<Instant> {
        let state = self.lock();
        let grace = match state.phase {
            Phase::Fresh => fresh,
            Phase::Idle | Phase::Answered { .. } => Duration::ZERO,
            Phase::Head | Phase::Refused => slow,
            Phase::Body | Phase::Queued | Phase::Served => return None,
        };
        (now.saturating_duration_since(state.since) >= grace).then_some(state.since)
    }

    /// The client hung up before its answer had ended.
    pub fn is_gone(&self) -> bool {
        self.lock().gone
    }

    /// Ends the attempt that runs for this client, if one does.
    pub fn abort(&self) {
        let abort = self.lock().abort.clone();
        if let Some(abort) = abort {
            abort.abort();
        }
    }

    pub fn shut(&self, how: Shutdown) {
        // An error means that it is closed already.
        let _ = self.stream.shutdown(how);
    }

    /// The client has hung up: ends what runs for it.
    pub(super) fn leave(&self) {
        self.lock().gone = true;
        self.abort();
        self.shut(Shutdown::Both);
    }

    pub(super) fn phase(&self) -> Phase {
        self.lock().phase
    }

    pub(super) fn since(&self) -> Instant {
        self.lock().since
    }

    pub(super) fn queue(&self, abort: &Arc<Abort>) {
        self.enter(Phase::Queued);
        self.lock().abort = Some(abort.clone());
    }

    pub(super) fn enter(&self, phase: Phase) {
        let mut state = self.lock();
        state.phase = phase;
        state.since = Instant::now();
    }

    /// Waits until the answer has ended, `limit` at most.
    pub(super) fn await_end(&self, limit: Duration) -> Phase {
        let mut state = self.lock();
        state.awaited = true;
        if matches!(state.phase, Phase::Queued | Phase::Served) {
            state = self
                .ended
                .wait_timeout(state, limit)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.awaited = false;
        state.phase
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

//! The public listener, as the main thread holds it.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::bell::Bell;
use super::exchange::Host;
use super::reactor::Reactor;
use super::socket;

/// The thread's stack: it reads, parses and formats, and calls nothing deep. JSON and the text of the metrics are its deepest calls.
const STACK: usize = 256 << 10;
/// The longest that the thread may take to close the port: it is never away for long.
const STOP_LIMIT: Duration = Duration::from_secs(2);

/// The listener's thread, and what it tells while it drains.
pub struct Listener {
    address: SocketAddr,
    bell: Arc<Bell>,
    drain: Arc<Drain>,
    thread: JoinHandle<()>,
}

/// How far the end has come.
#[derive(Default)]
pub struct Drain {
    state: Mutex<Draining>,
    changed: Condvar,
}

#[derive(Clone, Copy, Default)]
struct Draining {
    /// The port is closed.
    has_stopped: bool,
    /// Clients with a request that is being read or served, or may just be on its way.
    busy: usize,
}

impl Listener {
    /// Takes connections from now on, and has `host` serve what they ask.
    ///
    /// # Errors
    /// The socket cannot be listened on; no descriptor or thread is left.
    pub fn start(socket: TcpListener, host: Arc<dyn Host>) -> io::Result<Listener> {
        socket::prepare(&socket)?;
        let address = socket.local_addr()?;
        let (bell, drain) = (Arc::new(Bell::new()?), Arc::new(Drain::default()));
        let mut reactor = Reactor::new(socket, host, bell.clone(), drain.clone())?;
        let thread = thread::Builder::new()
            .name("listener".into())
            .stack_size(STACK)
            .spawn(move || reactor.run())?;
        Ok(Listener {
            address,
            bell,
            drain,
            thread,
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// New connections are refused from now on; those that are open go on. Those that the kernel has taken and we have not are open to
    /// their clients, which may have sent a request: they are taken, as far as there is room. Answers how many clients are busy.
    pub fn stop(&self) -> usize {
        self.bell.ring(|notes| notes.stop = true);
        self.drain.wait(STOP_LIMIT, |state| state.has_stopped)
    }

    /// Waits until no client has a request, `limit` at most. Answers how many still have one.
    pub fn drain(&self, limit: Duration) -> usize {
        self.drain.wait(limit, |state| state.busy == 0)
    }

    /// Ends every attempt: what is still streaming is ended as if its endpoint had broken off.
    pub fn abort_all(&self) {
        self.bell.ring(|notes| notes.abort_all = true);
    }

    /// Closes what is still open, and ends the thread.
    pub fn end(self) {
        self.bell.ring(|notes| notes.end = true);
        // A panic of it was logged as it happened.
        let _ = self.thread.join();
    }
}

impl Drain {
    /// The port is closed, and so many clients are busy.
    pub fn tell(&self, busy: usize) {
        *self.lock() = Draining {
            has_stopped: true,
            busy,
        };
        self.changed.notify_all();
    }

    fn wait(&self, limit: Duration, is_enough: impl Fn(Draining) -> bool) -> usize {
        let deadline = Instant::now() + limit;
        let mut state = self.lock();
        while !is_enough(*state) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state.busy
    }

    fn lock(&self) -> MutexGuard<'_, Draining> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

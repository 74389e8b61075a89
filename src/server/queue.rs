//! The hand-over of whole requests to the workers, through tiny_http.
//!
//! The workers wait in tiny_http's queue, as the program's shape wants it; but tiny_http never meets a stranger, and reads nothing: what
//! it would have to queue is here, and its `unblock` wakes one of those that wait. Its door is closed for good at the start.
//!
//! This is the only file that names tiny_http.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::crew::{Call, Crew, Idle, PERIOD};
use super::shares::{Shares, Turn};
use super::workers::{STACK, Workers};
use crate::api::errors::request_id;
use crate::downstream::{CLIENT_BUSY, Crowd, Exchange, Permit, QUEUE_FULL, Refusal, Ticket};
use crate::memory;

/// Requests on their way from the listener to the workers.
pub struct Queue {
    tiny_http: tiny_http::Server,
    workers: Workers,
    serve: Box<dyn Fn(Exchange) + Send + Sync>,
    state: Mutex<State>,
    /// Requests that wait for a worker or have one.
    admitted: Arc<AtomicUsize>,
    /// How many that may be.
    most: usize,
    /// How many of one client's may wait for others of its own: half of those that may wait at all.
    most_of_one: usize,
    /// Requests that found no place since that was last asked.
    turned_away: AtomicUsize,
}

/// Who waits for whom.
struct State {
    last: Ticket,
    /// Requests that any worker may take, the oldest first.
    ready: BTreeMap<Ticket, Box<Exchange>>,
    /// Requests that wait for another one of their client's.
    held: HashMap<Ticket, Box<Exchange>>,
    shares: Shares,
    crew: Crew,
}

impl Queue {
    /// With one worker that waits. `workers`: requests that may have one, to be served by `serve`. `queued`: how many more may wait.
    ///
    /// # Errors
    /// The system has no socket or thread left.
    pub fn start(
        workers: usize,
        queued: usize,
        serve: impl Fn(Exchange) + Send + Sync + 'static,
    ) -> io::Result<Arc<Queue>> {
        let mut crew = Crew::new(workers, Instant::now());
        let first = crew.call();
        let queue = Arc::new(Queue {
            tiny_http: open_tiny_http()?,
            workers: Workers::new(),
            serve: Box::new(serve),
            state: Mutex::new(State {
                last: Ticket(0),
                ready: BTreeMap::new(),
                held: HashMap::new(),
                shares: Shares::default(),
                crew,
            }),
            admitted: Arc::default(),
            most: workers + queued,
            most_of_one: queued.div_ceil(2),
            turned_away: AtomicUsize::new(0),
        });
        queue.call(first)?;
        Ok(queue)
    }

    /// Hands a request over, at once or when its client has a place for it.
    ///
    /// # Errors
    /// It comes back, with the reason, where too many are served or wait already.
    pub fn submit(
        self: &Arc<Queue>,
        exchange: Exchange,
    ) -> Result<Ticket, (Box<Exchange>, Refusal)> {
        let mut exchange = Box::new(exchange);
        let Some(permit) = Permit::take(&self.admitted, self.most) else {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            return Err((exchange, QUEUE_FULL));
        };
        let permit = exchange.permit.insert(permit);
        let mut state = lock(&self.state);
        state.last.0 += 1;
        let ticket = state.last;
        if let Some(client) = exchange.admission.client()
            && let Some(most) = client.max_concurrent
        {
            match state
                .shares
                .came(&client.name, ticket, most, self.most_of_one)
            {
                Turn::Never => return Err((exchange, CLIENT_BUSY)),
                Turn::Later => {
                    exchange.waits_for_its_client = true;
                    state.held.insert(ticket, exchange);
                    return Ok(ticket);
                }
                Turn::Now => permit.place = Some(self.place(client.name.clone())),
            }
        }
        state.ready.insert(ticket, exchange);
        self.announce(state);
        Ok(ticket)
    }

    /// A client's place among those of its own, until it is dropped.
    fn place(self: &Arc<Queue>, client: String) -> Box<dyn Send> {
        Box::new(Place {
            queue: self.clone(),
            client,
        })
    }

    /// One of a client's requests has ended: the next one goes on.
    fn left(self: &Arc<Queue>, client: String) {
        let mut state = lock(&self.state);
        let State { held, shares, .. } = &mut *state;
        let next = shares.left(&client, |ticket| held.contains_key(&ticket));
        let Some((ticket, mut exchange)) = next.and_then(|next| held.remove_entry(&next)) else {
            return;
        };
        exchange.waits_for_its_client = false;
        if let Some(permit) = &mut exchange.permit {
            permit.place = Some(self.place(client));
        }
        state.ready.insert(ticket, exchange);
        self.announce(state);
    }

    /// Something is ready: has a worker come that takes it.
    fn announce(self: &Arc<Queue>, mut state: MutexGuard<State>) {
        let call = state.crew.call();
        drop(state);
        if let Err(err) = self.call(call) {
            // Who is at work now takes the request after its own.
            log::warn!("{err}");
        }
    }

    /// # Errors
    /// No thread can be had for a new worker.
    fn call(self: &Arc<Queue>, call: Call) -> io::Result<()> {
        match call {
            Call::Nobody => Ok(()),
            Call::Waiting => {
                self.tiny_http.unblock();
                Ok(())
            }
            Call::New => {
                let queue = self.clone();
                let started = self.workers.start(move || queue.work());
                started.inspect_err(|_| lock(&self.state).crew.did_not_start())
            }
        }
    }

    /// What a worker does all its life.
    fn work(self: Arc<Queue>) {
        memory::note_stack(STACK);
        lock(&self.state).crew.comes();
        let is_last = loop {
            match self.next() {
                Ok(exchange) => (self.serve)(exchange),
                Err(End { is_last }) => break is_last,
            }
        };
        self.workers.end();
        memory::give_stack_back();
        if is_last {
            // Not before the others that end now have.
            thread::sleep(ENDING);
            memory::give_back();
        }
    }

    /// The oldest request that is ready, as soon as there is one.
    ///
    /// # Errors
    /// The worker that asks is not needed any more.
    fn next(self: &Arc<Queue>) -> Result<Exchange, End> {
        let mut state = lock(&self.state);
        loop {
            if let Some((_, exchange)) = state.ready.pop_first() {
                state.crew.takes();
                if !state.ready.is_empty() {
                    self.announce(state);
                }
                return Ok(*exchange);
            }
            if let Idle::Ends { is_last } = state.crew.finds_none(Instant::now()) {
                return Err(End { is_last });
            }
            drop(state);
            // Woken or not: it looks again.
            let _ = self.tiny_http.recv_timeout(PERIOD);
            state = lock(&self.state);
            state.crew.comes();
        }
    }

    /// Takes a request back that nobody has begun with; `None` once somebody has.
    pub fn withdraw(&self, ticket: Ticket) -> Option<Exchange> {
        let mut state = lock(&self.state);
        if let Some(exchange) = state.ready.remove(&ticket) {
            return Some(*exchange);
        }
        let exchange = state.held.remove(&ticket)?;
        if let Some(client) = exchange.admission.client() {
            state.shares.withdrawn(&client.name, ticket);
        }
        Some(*exchange)
    }

    /// See [`crate::downstream::Host::crowd`].
    pub fn crowd(&self, now: Instant) -> Crowd {
        let state = lock(&self.state);
        // Who waits for another one of its own lacks no worker.
        let lack = state
            .ready
            .values()
            .filter(|exchange| now.saturating_duration_since(exchange.arrived) >= WAKING)
            .count();
        Crowd {
            waiting: state.ready.len(),
            lack: lack + self.turned_away.swap(0, Ordering::Relaxed),
        }
    }

    /// Requests that wait, and requests that are served.
    pub fn load(&self) -> (usize, usize) {
        let state = lock(&self.state);
        let queued = state.ready.len() + state.held.len();
        drop(state);
        let admitted = self.admitted.load(Ordering::Acquire);
        (queued, admitted.saturating_sub(queued))
    }
}

/// A worker that is free has taken a request after that.
const WAKING: Duration = Duration::from_millis(100);
/// Workers that end at the same time are gone after this.
const ENDING: Duration = Duration::from_secs(1);

/// A worker is to end. `is_last`: nobody else is to, now.
struct End {
    is_last: bool,
}

/// See [`Queue::place`].
struct Place {
    queue: Arc<Queue>,
    client: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.left(std::mem::take(&mut self.client));
    }
}

/// How long tiny_http may take to close its door. It is a matter of milliseconds.
const LONGEST_START: Duration = Duration::from_secs(5);

/// tiny_http with its door closed: only [`tiny_http::Server::unblock`] ends a wait for it.
///
/// The socket has no place in the file system: it needs no writable folder, and nothing is left behind. Its name lives
/// for the moment between the two calls.
fn open_tiny_http() -> io::Result<tiny_http::Server> {
    let address = SocketAddr::from_abstract_name(request_id())?;
    let listener = UnixListener::bind_addr(&address)?;
    let door = listener.try_clone()?;
    // Where no thread or descriptor is left it panics.
    let server = catch_unwind(|| tiny_http::Server::from_listener(listener, None));
    let server = server.map_err(|_| exhausted())?.map_err(io::Error::other)?;
    nix::sys::socket::shutdown(door.as_raw_fd(), nix::sys::socket::Shutdown::Both)?;
    // The accept thread ends, and says so.
    match server.recv_timeout(LONGEST_START) {
        Err(_) => Ok(server),
        Ok(_) => Err(exhausted()),
    }
}

fn exhausted() -> io::Error {
    io::Error::other("the system has no thread or descriptor left for tiny_http")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

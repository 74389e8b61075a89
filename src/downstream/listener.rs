//! The public listener: connections and the requests on them.
//!
//! tiny_http must not meet strangers (it stalls connections, grows without bound, and one header ends it), so this
//! stands before it. One thread a connection reads one whole, well-formed, bounded request at a time and hands it to
//! the [`Host`]; a worker writes the answer to the connection itself. No request is read before the answer to the last
//! one has ended.
//!
//! Nothing that a client does ends the listener: when connections, descriptors or threads run out, the connections
//! that wait idle longest are closed, and new ones wait in the kernel's backlog.

use std::collections::HashMap;
use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use http::{HeaderMap, Method, Request, Response, StatusCode};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::socket::{Backlog, listen};

use super::body_budget::{Charge, Memory};
pub use super::connection::Connection;
use super::conversation;
pub use super::head::Head;
use crate::config::Config;
use crate::upstream::Abort;

/// Connections that the kernel holds for us until we take them (it caps this at `net.core.somaxconn`, usually 4096).
const BACKLOG: i32 = 4096;
/// A connection's thread reads and parses; it calls nothing deep.
const STACK: usize = 128 << 10;
/// Descriptors that we need beside those of connections and attempts: standard streams, listeners, the way to
/// tiny_http, signals, files that are read; and some to spare.
const OTHER_DESCRIPTORS: u64 = 24;
/// A new client gets this long to begin its request before others may take its place.
const FRESH: Duration = Duration::from_millis(100);
/// A client that has begun a request and does not go on gets this long, and one that was refused to read so.
const SLOW: Duration = Duration::from_secs(1);
/// How often a full front looks again whether there is room.
const RETRY: Duration = Duration::from_millis(10);

/// Who serves what the front reads.
pub trait Host: Send + Sync + 'static {
    /// The configuration in force.
    fn config(&self) -> Arc<Config>;

    /// Says who answers, from a request's head, before its body is read.
    fn judge(&self, head: &Head) -> Judgement;

    /// Our own error for a request that cannot be served.
    fn refuse(&self, refused: &Refused) -> Response<Vec<u8>>;

    /// A number for the next exchange.
    fn number(&self) -> u64;

    /// Hands a whole request over. A worker writes the answer to its connection and calls [`Connection::finish`].
    ///
    /// # Errors
    /// The request comes back where all workers are busy and no more may wait.
    fn submit(&self, number: u64, exchange: Exchange) -> Result<(), Box<Exchange>>;

    /// Takes a request back that nobody has begun with; `None` once somebody has.
    fn withdraw(&self, number: u64) -> Option<Exchange>;
}

/// What a request's head deserves.
pub enum Judgement {
    /// This, at once; the body is not read. With a `connection` header the connection is closed after it.
    Answer(Response<Vec<u8>>),
    /// To be read whole and submitted.
    Forward,
}

/// Why a request gets 503, as its client is told.
pub const QUEUE_FULL: &str = "too many requests are waiting for a worker (queue); try again";
pub const WAITED_TOO_LONG: &str = "no worker was free in time (queueSeconds); try again";
pub const BODIES_FULL: &str = "too many large requests at the same time; try again";

/// A request that gets an error of ours, and what is known of it.
pub struct Refused<'a> {
    pub status: StatusCode,
    pub why: &'static str,
    pub method: Option<&'a Method>,
    pub path: Option<&'a str>,
    pub headers: Option<&'a HeaderMap>,
}

impl<'a> Refused<'a> {
    pub(super) fn unread(status: StatusCode, why: &'static str) -> Refused<'a> {
        Refused {
            status,
            why,
            method: None,
            path: None,
            headers: None,
        }
    }

    pub(super) fn of(status: StatusCode, why: &'static str, head: &'a Head) -> Refused<'a> {
        Refused {
            status,
            why,
            method: Some(&head.method),
            path: Some(head.target.path()),
            headers: Some(&head.headers),
        }
    }
}

/// A request's body, which takes its share of the memory for bodies as long as it is held.
#[derive(Default)]
pub struct Body {
    pub bytes: Vec<u8>,
    pub(super) _charge: Option<Charge>,
}

/// One whole request with its client.
pub struct Exchange {
    /// Who answers it takes it, and drops it when it has an answer: that may last for an hour.
    pub request: Request<Body>,
    /// HTTP/1.0 knows no chunks.
    pub is_http10: bool,
    /// The client lets the connection stay open after the answer.
    pub keep_alive: bool,
    pub connection: Arc<Connection>,
    /// Closes idle connections where an attempt needs what they hold.
    pub front: Arc<Front>,
    /// Its place among those that are served or wait for it; given by the host.
    pub admission: Admission,
    /// Called when the client goes.
    pub abort: Arc<Abort>,
    /// When the request had arrived whole.
    pub arrived: Instant,
}

/// One of the places of those that are served or wait for it.
#[derive(Default)]
pub struct Admission {
    taken: AtomicBool,
    places: Arc<AtomicUsize>,
}

impl Admission {
    /// Takes one of `most` places, if one is free.
    pub fn take(places: &Arc<AtomicUsize>, most: usize) -> Option<Admission> {
        let admission = Admission {
            taken: AtomicBool::new(true),
            places: places.clone(),
        };
        // Where there was none, dropping it gives back what was taken too much.
        (places.fetch_add(1, Ordering::AcqRel) < most).then_some(admission)
    }

    /// Gives the place back, once.
    pub fn release(&self) {
        if self.taken.swap(false, Ordering::AcqRel) {
            self.places.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.release();
    }
}

/// The listener and its connections.
pub struct Front {
    listener: TcpListener,
    address: SocketAddr,
    pub(super) host: Arc<dyn Host>,
    pub(super) bodies: Arc<Memory>,
    open: Mutex<Open>,
    /// Signalled when a connection closes.
    closed: Condvar,
    stopping: AtomicBool,
}

#[derive(Default)]
struct Open {
    last: u64,
    connections: HashMap<u64, Arc<Connection>>,
}

impl Front {
    /// # Errors
    /// The address cannot be bound or listened on.
    pub fn bind(listener: TcpListener, host: Arc<dyn Host>) -> io::Result<Arc<Front>> {
        // std listens with a backlog of 128; a second call raises it.
        listen(&listener, Backlog::new(BACKLOG).unwrap_or(Backlog::MAXCONN))?;
        Ok(Arc::new(Front {
            address: listener.local_addr()?,
            bodies: Memory::for_bodies(host.config().max_body),
            listener,
            host,
            open: Mutex::default(),
            closed: Condvar::new(),
            stopping: AtomicBool::new(false),
        }))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes connections until [`Front::stop`].
    pub fn run(self: &Arc<Front>) {
        while !self.stopping.load(Ordering::Acquire) {
            self.wait_for_room();
            match self.listener.accept() {
                Ok((stream, _)) => self.start(stream),
                Err(err) if self.stopping.load(Ordering::Acquire) => {
                    log::debug!("no longer listening: {err}")
                }
                // The client had gone before we took it.
                Err(err) if err.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(err) => {
                    log::warn!("cannot take a connection: {err}; closing idle ones");
                    self.relieve();
                    thread::sleep(RETRY);
                }
            }
        }
    }

    /// New connections are refused from now on; those that are open go on. Those that the kernel has taken and we have
    /// not are open to their clients, which may have sent a request: they are taken, as far as there is room.
    pub fn stop(self: &Arc<Front>) {
        self.stopping.store(true, Ordering::Release);
        if self.listener.set_nonblocking(true).is_ok() {
            while self.lock().connections.len() < self.capacity()
                && let Ok((stream, _)) = self.listener.accept()
            {
                self.start(stream);
            }
        }
        // Wakes `accept` (Linux) and closes the port at once.
        let _ =
            nix::sys::socket::shutdown(self.listener.as_raw_fd(), nix::sys::socket::Shutdown::Both);
        self.closed.notify_all();
    }

    /// Connections with a request that is being read or served, or may just be on its way.
    pub fn busy(&self) -> usize {
        let now = Instant::now();
        self.lock()
            .connections
            .values()
            .filter(|connection| connection.idle_since(now, FRESH, SLOW).is_none())
            .count()
    }

    /// Waits until no connection has a request, `limit` at most. Returns how many still have one.
    pub fn drain(&self, limit: Duration) -> usize {
        let deadline = Instant::now() + limit;
        loop {
            let busy = self.busy();
            if busy == 0 || Instant::now() >= deadline {
                return busy;
            }
            thread::sleep(RETRY.min(deadline.saturating_duration_since(Instant::now())));
        }
    }

    /// Ends every attempt: what is still streaming is ended as if its endpoint had broken off.
    pub fn abort_all(&self) {
        self.lock()
            .connections
            .values()
            .for_each(|connection| connection.abort());
    }

    /// Closes some of the connections that nobody uses, those first that have waited longest. Returns whether there
    /// were any.
    pub fn relieve(&self) -> bool {
        let now = Instant::now();
        let open = self.lock();
        let mut idle: Vec<_> = open
            .connections
            .values()
            .filter_map(|connection| Some((connection.idle_since(now, FRESH, SLOW)?, connection)))
            .collect();
        idle.sort_unstable_by_key(|(since, _)| *since);
        let some = 1 + idle.len() / 16;
        for (_, connection) in idle.iter().take(some) {
            connection.shut(Shutdown::Both);
        }
        !idle.is_empty()
    }

    /// How many connections there may be: `maxConnections`, or what the limit on descriptors allows where that is
    /// less. It is asked anew each time, since it can be lowered while we run.
    fn capacity(&self) -> usize {
        let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        // Each request needs one more for its endpoint.
        let allowed = (descriptors.saturating_sub(OTHER_DESCRIPTORS) / 2).max(1);
        self.host
            .config()
            .max_connections
            .min(usize::try_from(allowed).unwrap_or(usize::MAX))
    }

    fn wait_for_room(&self) {
        let capacity = self.capacity();
        let mut open = self.lock();
        while open.connections.len() >= capacity && !self.stopping.load(Ordering::Acquire) {
            drop(open);
            self.relieve();
            let full = self.lock();
            open = self
                .closed
                .wait_timeout(full, RETRY)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    fn start(self: &Arc<Front>, stream: TcpStream) {
        let config = self.host.config();
        let connection = match Connection::new(stream, config.client_timeout) {
            Ok(connection) => Arc::new(connection),
            Err(err) => return log::debug!("a connection was lost at once: {err}"),
        };
        let id = {
            let mut open = self.lock();
            open.last += 1;
            let id = open.last;
            open.connections.insert(id, connection.clone());
            id
        };
        loop {
            let (front, for_thread) = (self.clone(), connection.clone());
            let spawned = thread::Builder::new()
                .name("client".into())
                .stack_size(STACK)
                .spawn(move || {
                    conversation::serve(&for_thread, &front);
                    front.forget(id);
                });
            match spawned {
                Ok(_) => return,
                Err(err) if self.stopping.load(Ordering::Acquire) => {
                    log::debug!("cannot start a thread: {err}");
                    return self.forget(id);
                }
                Err(err) => {
                    log::warn!("cannot start a thread: {err}; closing idle connections");
                    self.relieve();
                    thread::sleep(RETRY);
                }
            }
        }
    }

    pub(super) fn forget(&self, id: u64) {
        let gone = self.lock().connections.remove(&id);
        // The socket closes here, outside the lock.
        drop(gone);
        self.closed.notify_one();
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

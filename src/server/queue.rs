//! The hand-over of whole requests to the workers, through tiny_http.
//!
//! tiny_http's listener hands each request to the pool of workers, as the program's shape wants it. But it never meets a stranger,
//! opens no connection and starts no thread while we run: at start one connection is made to it over a socket of this process alone,
//! then its door is closed for good. A request that the listener has read waits in a table; its number goes down that connection as
//! `GET /17`, tiny_http queues it, and the first free worker takes it from there and writes the answer to the client itself.
//!
//! This is the only file that names tiny_http.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::panic::catch_unwind;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::shares::{Shares, Turn};
use crate::api::errors::request_id;
use crate::downstream::{CLIENT_BUSY, Crowd, Exchange, Permit, QUEUE_FULL, Refusal, Ticket};

/// Requests on their way from the listener to the workers.
pub struct Queue {
    tiny_http: &'static tiny_http::Server,
    handover: Mutex<UnixStream>,
    waiting: Mutex<HashMap<Ticket, Exchange>>,
    shares: Mutex<Shares>,
    numbers: AtomicU64,
    /// Requests that wait for a worker or have one.
    admitted: Arc<AtomicUsize>,
    /// How many that may be.
    most: usize,
    /// How many of one client's may wait for others of its own: half of those that may wait at all.
    most_of_one: usize,
    /// Requests that found no place since that was last asked.
    turned_away: AtomicUsize,
}

impl Queue {
    /// `workers`: requests that may have one. `queued`: how many more may wait.
    ///
    /// # Errors
    /// The system has no socket or thread left.
    pub fn new(workers: usize, queued: usize) -> io::Result<Arc<Queue>> {
        let (tiny_http, handover) = open_tiny_http()?;
        Ok(Arc::new(Queue {
            tiny_http,
            handover: Mutex::new(handover),
            waiting: Mutex::default(),
            shares: Mutex::default(),
            numbers: AtomicU64::new(1),
            admitted: Arc::default(),
            most: workers + queued,
            most_of_one: queued.div_ceil(2),
            turned_away: AtomicUsize::new(0),
        }))
    }

    /// Hands a request over, at once or when its client has a place for it.
    ///
    /// # Errors
    /// It comes back, with the reason, where too many are served or wait already.
    pub fn submit(
        self: &Arc<Queue>,
        mut exchange: Exchange,
    ) -> Result<Ticket, (Box<Exchange>, Refusal)> {
        let Some(permit) = Permit::take(&self.admitted, self.most) else {
            self.turned_away.fetch_add(1, Ordering::Relaxed);
            return Err((Box::new(exchange), QUEUE_FULL));
        };
        let ticket = Ticket(self.numbers.fetch_add(1, Ordering::Relaxed));
        let limit = exchange.admission.client().and_then(|client| {
            let most = client.max_concurrent?;
            Some((client.name.clone(), most))
        });
        let permit = exchange.permit.insert(permit);
        let Some((name, most)) = limit else {
            lock(&self.waiting).insert(ticket, exchange);
            self.announce(ticket);
            return Ok(ticket);
        };
        // The shares' lock first, then that of those who wait, everywhere.
        let mut shares = lock(&self.shares);
        match shares.came(&name, ticket, most, self.most_of_one) {
            Turn::Never => return Err((Box::new(exchange), CLIENT_BUSY)),
            Turn::Later => exchange.waits_for_its_client = true,
            Turn::Now => permit.place = Some(self.place(name)),
        }
        let goes_on = !exchange.waits_for_its_client;
        lock(&self.waiting).insert(ticket, exchange);
        drop(shares);
        if goes_on {
            self.announce(ticket);
        }
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
    fn left(self: &Arc<Queue>, client: &str) {
        let mut shares = lock(&self.shares);
        let mut waiting = lock(&self.waiting);
        let next = shares.left(client, |ticket| waiting.contains_key(&ticket));
        let Some((ticket, exchange)) = next.and_then(|next| Some((next, waiting.get_mut(&next)?)))
        else {
            return;
        };
        exchange.waits_for_its_client = false;
        if let Some(permit) = &mut exchange.permit {
            permit.place = Some(self.place(client.to_owned()));
        }
        drop((waiting, shares));
        self.announce(ticket);
    }

    /// Tells tiny_http of a request, which has a worker take it.
    fn announce(&self, ticket: Ticket) {
        let line = format!("GET /{} HTTP/1.1\r\n\r\n", ticket.0);
        if let Err(err) = lock(&self.handover).write_all(line.as_bytes()) {
            // It cannot happen while the process lives: both ends are ours.
            log::error!("tiny_http takes no more requests: {err}");
        }
    }

    /// Waits for the next request. It may have been withdrawn meanwhile: [`Queue::withdraw`] tells.
    pub fn next(&self) -> Ticket {
        loop {
            match self.tiny_http.recv() {
                Ok(request) => {
                    let number = request.url().trim_start_matches('/').parse();
                    // tiny_http's own answer, which nobody reads: none.
                    drop(request.into_writer());
                    if let Ok(number) = number {
                        return Ticket(number);
                    }
                }
                Err(err) => log::warn!("tiny_http: {err}"),
            }
        }
    }

    /// Takes a request that nobody has begun with, be it to serve it or to give it up; `None` once somebody has.
    pub fn withdraw(&self, ticket: Ticket) -> Option<Exchange> {
        let exchange = lock(&self.waiting).remove(&ticket)?;
        if exchange.waits_for_its_client
            && let Some(client) = exchange.admission.client()
        {
            lock(&self.shares).withdrawn(&client.name, ticket);
        }
        Some(exchange)
    }

    /// See [`crate::downstream::Host::crowd`].
    pub fn crowd(&self, now: Instant) -> Crowd {
        let waiting = lock(&self.waiting);
        // Who waits for another one of its own lacks no worker.
        let all = waiting
            .values()
            .filter(|exchange| !exchange.waits_for_its_client);
        let lack = all
            .clone()
            .filter(|exchange| now.saturating_duration_since(exchange.arrived) >= WAKING)
            .count();
        Crowd {
            waiting: all.count(),
            lack: lack + self.turned_away.swap(0, Ordering::Relaxed),
        }
    }

    /// Requests that wait, and requests that are served.
    pub fn load(&self) -> (usize, usize) {
        let queued = lock(&self.waiting).len();
        let admitted = self.admitted.load(Ordering::Acquire);
        (queued, admitted.saturating_sub(queued))
    }
}

/// A worker that is free has taken a request after that.
const WAKING: Duration = Duration::from_millis(100);

/// See [`Queue::place`].
struct Place {
    queue: Arc<Queue>,
    client: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.queue.left(&self.client);
    }
}

/// How long tiny_http may take for its first request. It is a matter of milliseconds.
const LONGEST_START: Duration = Duration::from_secs(5);

/// tiny_http with one connection to it, and no way for another one.
///
/// The socket has no place in the file system: it needs no writable folder, and nothing is left behind. Its name lives
/// for the moment between the two calls.
fn open_tiny_http() -> io::Result<(&'static tiny_http::Server, UnixStream)> {
    let address = SocketAddr::from_abstract_name(request_id())?;
    let listener = UnixListener::bind_addr(&address)?;
    let door = listener.try_clone()?;
    // Where no thread or descriptor is left it panics, here or on a thread of its own, from which then nothing ever comes.
    let server = catch_unwind(|| tiny_http::Server::from_listener(listener, None));
    let server = server.map_err(|_| exhausted())?.map_err(io::Error::other)?;
    // Never dropped: the workers use it as long as the process lives, and its `Drop` knows no nameless sockets.
    let server: &'static tiny_http::Server = Box::leak(Box::new(server));
    let mut handover = UnixStream::connect_addr(&address)?;
    handover.shutdown(Shutdown::Read)?;
    handover.write_all(b"GET /0 HTTP/1.1\r\n\r\n")?;
    let first = server.recv_timeout(LONGEST_START)?;
    drop(first.ok_or_else(exhausted)?.into_writer());
    nix::sys::socket::shutdown(door.as_raw_fd(), nix::sys::socket::Shutdown::Both)?;
    // The accept thread ends, and says so.
    match server.recv_timeout(LONGEST_START) {
        Err(_) => Ok((server, handover)),
        Ok(_) => Err(io::Error::other("tiny_http's listener did not close")),
    }
}

fn exhausted() -> io::Error {
    io::Error::other("the system has no thread or descriptor left for tiny_http")
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

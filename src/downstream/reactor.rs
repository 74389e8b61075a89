//! The listener's thread: one loop for all clients that we wait for.
//!
//! Each socket is registered with epoll once, edge-triggered, and never touched again: handing it to a worker and taking it back costs
//! no system call. Nothing that a client does ends the loop: where connections or descriptors run out, those that wait idle longest are
//! closed, and new ones wait in the kernel's backlog.

use std::collections::HashMap;
use std::io;
use std::net::{TcpListener, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::resource::{Resource, getrlimit};

use super::bell::{Bell, Notes};
use super::body_budget::BodyBudget;
use super::client::{Client, Context, Fate};
use super::connection::Connection;
use super::deadlines::{Deadlines, Kept};
use super::exchange::Host;
use super::intake::SCRATCH;
use super::listener::Drain;
use super::relief::LOOK;
use crate::config::Config;

/// Descriptors that we need beside those of connections and attempts: standard streams, listeners, the way to
/// tiny_http, signals, files that are read; and some to spare.
const OTHER_DESCRIPTORS: u64 = 24;
/// How often a full listener looks again whether there is room, and one that drains whether all have gone.
const RETRY: Duration = Duration::from_millis(10);
/// Connections that are taken before the others have their turn.
const ACCEPTS: usize = 64;
/// Events that are taken from the kernel at once.
const EVENTS: usize = 256;

/// What an event is about, where it is no client's number.
const LISTENER: u64 = u64::MAX;
const BELL: u64 = u64::MAX - 1;

/// All that the thread owns.
pub struct Reactor {
    epoll: Epoll,
    pub(super) host: Arc<dyn Host>,
    /// The one in force when the loop last woke.
    pub(super) config: Arc<Config>,
    bell: Arc<Bell>,
    drain: Arc<Drain>,
    pub(super) bodies: Arc<BodyBudget>,
    /// `None`: the port is closed.
    listener: Option<TcpListener>,
    /// No connection is taken before this moment: there is no room.
    full_until: Option<Instant>,
    pub(super) clients: HashMap<u64, Client>,
    /// Clients that have more to do than fitted into their turn.
    unfinished: Vec<u64>,
    deadlines: Deadlines,
    /// When it is looked whether somebody waits for what a slow client has. `None`: nothing has happened since the last look.
    pub(super) look_at: Option<Instant>,
    last: u64,
    scratch: Vec<u8>,
}

impl Reactor {
    /// # Errors
    /// No descriptor is left.
    pub fn new(
        listener: TcpListener,
        host: Arc<dyn Host>,
        bell: Arc<Bell>,
        drain: Arc<Drain>,
    ) -> io::Result<Reactor> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        // Both are asked again and again, until there is nothing left to do.
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        epoll.add(&*bell, EpollEvent::new(EpollFlags::EPOLLIN, BELL))?;
        Ok(Reactor {
            epoll,
            bodies: BodyBudget::for_bodies(host.config().max_body),
            config: host.config(),
            host,
            bell,
            drain,
            listener: Some(listener),
            full_until: None,
            clients: HashMap::new(),
            unfinished: Vec::new(),
            deadlines: Deadlines::default(),
            look_at: None,
            last: 0,
            scratch: vec![0; SCRATCH],
        })
    }

    /// Serves until it is told to end.
    pub fn run(&mut self) {
        let mut events = [EpollEvent::empty(); EVENTS];
        loop {
            let count = match self.epoll.wait(&mut events, self.timeout()) {
                Ok(count) => count,
                Err(Errno::EINTR) => 0,
                Err(err) => return log::error!("the listener cannot wait any more: {err}"),
            };
            let now = Instant::now();
            self.config = self.host.config();
            for id in std::mem::take(&mut self.unfinished) {
                self.step(id, now, |_, _| Fate::Again);
            }
            for event in &events[..count] {
                match event.data() {
                    LISTENER => self.accept(now),
                    BELL => {
                        let notes = self.bell.answer();
                        if notes.end {
                            return;
                        }
                        self.read_notes(notes, now);
                    }
                    id => {
                        let left =
                            EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
                        let has_left = event.events().intersects(left);
                        self.step(id, now, |client, cx| client.wake(has_left, cx));
                    }
                }
            }
            self.keep_time(now);
            self.look_around(now);
            if self.listener.is_none() {
                self.drain.tell(self.busy(now));
            }
        }
    }

    /// How long nothing has to be done unless something happens.
    fn timeout(&self) -> EpollTimeout {
        if !self.unfinished.is_empty() {
            return EpollTimeout::ZERO;
        }
        let retry = if self.listener.is_none() {
            Some(Instant::now() + RETRY)
        } else {
            self.full_until
        };
        let moments = [self.deadlines.nearest(), retry, self.look_at];
        let Some(at) = moments.into_iter().flatten().min() else {
            return EpollTimeout::NONE;
        };
        let left = at.saturating_duration_since(Instant::now());
        // Rounded up: a wait must not end before its time.
        let millis = i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        EpollTimeout::try_from(millis).unwrap_or(EpollTimeout::MAX)
    }

    /// Has one client go on after `change`, and sees to what follows.
    pub(super) fn step(
        &mut self,
        id: u64,
        now: Instant,
        change: impl FnOnce(&mut Client, &Context) -> Fate,
    ) {
        // A client that has gone meanwhile may still have an event.
        let Some(client) = self.clients.get_mut(&id) else {
            return;
        };
        self.look_at.get_or_insert(now + LOOK);
        let cx = Context {
            host: &*self.host,
            config: &self.config,
            bodies: &self.bodies,
            now,
        };
        // A panic costs its own client, and nobody else.
        let fate = catch_unwind(AssertUnwindSafe(|| match change(client, &cx) {
            Fate::Again => client.advance(&mut self.scratch, &cx),
            fate => fate,
        }));
        match fate.unwrap_or(Fate::Closes) {
            Fate::Closes => return self.close(id),
            Fate::Again => self.unfinished.push(id),
            Fate::Waits => {}
        }
        let deadline = client.deadline();
        self.deadlines.set(id, &mut client.kept, deadline);
        if client.wants_room() != client.is_watched_for_room {
            client.is_watched_for_room = client.wants_room();
            let mut event = EpollEvent::new(interest(client.wants_room()), id);
            if let Err(err) = self.epoll.modify(client.connection.stream(), &mut event) {
                log::debug!("a connection was lost: {err}");
                self.close(id);
            }
        }
    }

    /// Its socket closes here, and epoll forgets it; where a worker still holds it epoll is told.
    pub(super) fn close(&mut self, id: u64) {
        let Some(client) = self.clients.remove(&id) else {
            return;
        };
        self.deadlines.forget(id, client.kept);
        if Arc::strong_count(&client.connection) > 1 {
            let _ = self.epoll.delete(client.connection.stream());
        }
    }

    fn read_notes(&mut self, notes: Notes, now: Instant) {
        for id in notes.back {
            self.step(id, now, Client::look_whether_back);
        }
        if notes.make_room {
            self.relieve(now);
        }
        if notes.stop {
            self.stop(now);
        }
        if notes.abort_all {
            self.clients.values().for_each(Client::abort);
        }
    }

    /// Takes new connections, as far as there is room.
    fn accept(&mut self, now: Instant) {
        for _ in 0..ACCEPTS {
            if self.clients.len() >= self.capacity() {
                self.relieve(now);
                if self.clients.len() >= self.capacity() {
                    return self.pause(now);
                }
            }
            let Some(listener) = &self.listener else {
                return;
            };
            match listener.accept() {
                Ok((stream, _)) => self.start(stream, now),
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => return,
                // The client had gone before we took it.
                Err(err) if err.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(err) => {
                    log::warn!("cannot take a connection: {err}; closing idle ones");
                    self.relieve(now);
                    return self.pause(now);
                }
            }
        }
    }

    /// New connections wait in the kernel for a moment.
    fn pause(&mut self, now: Instant) {
        self.full_until = Some(now + RETRY);
        self.listen(EpollFlags::empty());
    }

    fn listen(&self, flags: EpollFlags) {
        if let Some(listener) = &self.listener
            && let Err(err) = self
                .epoll
                .modify(listener, &mut EpollEvent::new(flags, LISTENER))
        {
            log::error!("the listener cannot be waited for: {err}");
        }
    }

    fn start(&mut self, stream: TcpStream, now: Instant) {
        self.last += 1;
        let id = self.last;
        let registered = stream.set_nonblocking(true).and_then(|()| {
            Ok(self
                .epoll
                .add(&stream, EpollEvent::new(interest(false), id))?)
        });
        if let Err(err) = registered {
            return log::debug!("a connection was lost at once: {err}");
        }
        let connection = Connection::new(stream, id, self.config.client_timeout, self.bell.clone());
        let deadline = now + self.config.client_timeout;
        let mut client = Client::new(Arc::new(connection), &self.bodies, now, deadline);
        self.deadlines.set(id, &mut client.kept, deadline);
        self.clients.insert(id, client);
    }

    /// How many connections there may be: `maxConnections`, or what the limit on descriptors allows where that is
    /// less. It is asked anew each time, since it can be lowered while we run.
    fn capacity(&self) -> usize {
        let descriptors = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        // Each request needs one more for its endpoint.
        let allowed = (descriptors.saturating_sub(OTHER_DESCRIPTORS) / 2).max(1);
        self.config
            .max_connections
            .min(usize::try_from(allowed).unwrap_or(usize::MAX))
    }

    /// Takes the connections that the kernel has for us, and closes the port.
    fn stop(&mut self, now: Instant) {
        let Some(listener) = self.listener.take() else {
            return;
        };
        while self.clients.len() < self.capacity()
            && let Ok((stream, _)) = listener.accept()
        {
            self.start(stream, now);
        }
    }

    fn keep_time(&mut self, now: Instant) {
        while let Some(id) = self.deadlines.next_due(now) {
            let Some(client) = self.clients.get_mut(&id) else {
                continue;
            };
            client.kept = Kept::default();
            let deadline = client.deadline();
            if deadline > now {
                self.deadlines.set(id, &mut client.kept, deadline);
                continue;
            }
            // What has come by now counts: the process may have stood still meanwhile.
            self.step(id, now, Client::look);
            let is_due = |client: &Client| client.deadline() <= now;
            if self.clients.get(&id).is_some_and(is_due) {
                self.step(id, now, Client::expire);
            }
        }
        if self.full_until.is_some_and(|until| until <= now) {
            self.full_until = None;
            self.listen(EpollFlags::EPOLLIN);
        }
    }

    fn busy(&self, now: Instant) -> usize {
        let busy = |client: &&Client| client.idle_since(now).is_none();
        self.clients.values().filter(busy).count()
    }
}

fn interest(wants_room: bool) -> EpollFlags {
    let flags = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
    if wants_room {
        flags | EpollFlags::EPOLLOUT
    } else {
        flags
    }
}

//! One client's connection, as the listener's thread sees it: what it is about, how long that may take, and the next step.
//!
//! A client is read, answered or handed over; it is never waited for. [`Client::advance`] goes as far as the bytes that are there
//! allow.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::body::BodyReader;
use super::body_budget::{BodyBudget, Charge};
use super::connection::{After, Back, Connection};
use super::deadlines::Kept;
use super::exchange::{Admission, Host, Ticket};
use super::head::{Head, Scan};
use super::intake::Ended;
use super::outbox::{Outbox, Then};
use super::pace::Pace;
use super::refusal::{CLIENT_BUSY, TOO_SLOW, WAITED_TOO_LONG};
use super::socket;
use crate::config::Config;
use crate::upstream::{Abort, Reason};

/// Bytes that one client may bring in a turn before the others have theirs.
const TURN: usize = 512 << 10;
/// So many of them each step counts at least: a small request that we answer ourselves takes time, too.
const STEP: usize = 4 << 10;
/// How long a client that was refused may go on sending before its connection is cut. Closing at once would reset it, and the answer
/// could be lost (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);
/// A new client gets this long to begin its request before others may take its place.
const FRESH: Duration = Duration::from_millis(100);
/// A client that has begun a request and does not go on gets this long, and one that was refused to read so.
const SLOW: Duration = Duration::from_secs(1);

/// What a client's step needs beside the client.
pub struct Context<'a> {
    pub host: &'a dyn Host,
    pub config: &'a Config,
    pub bodies: &'a Arc<BodyBudget>,
    pub now: Instant,
}

/// What follows from a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// For the client, for a worker, or for its deadline.
    Waits,
    /// There is more to do when the others have had their turn.
    Again,
    Closes,
}

pub struct Client {
    pub connection: Arc<Connection>,
    /// The moment that [`super::deadlines`] keeps for it.
    pub kept: Kept,
    /// Its socket is watched for room, too.
    pub is_watched_for_room: bool,
    pub(super) stage: Stage,
    /// When the stage began.
    pub(super) since: Instant,
    /// When the stage ends by itself.
    pub(super) deadline: Instant,
    /// How it brings its request, or takes an answer of ours.
    pub(super) pace: Pace,
    /// Bytes that have come and are not yet used.
    pub(super) held: Vec<u8>,
    pub(super) charge: Charge,
    /// They have been looked at, and are the beginning of something.
    pub(super) needs_more: bool,
    /// What goes out before anything else is read.
    pub(super) outbox: Outbox,
    /// The socket may have bytes.
    pub(super) is_readable: bool,
    /// The client has closed its side, or the connection is dead.
    pub(super) has_left: bool,
}

pub(super) enum Stage {
    /// Nothing has come yet.
    Fresh,
    /// Between two requests.
    Idle,
    /// A head has begun.
    Head(Scan),
    /// A body comes.
    Body(Box<Upload>),
    /// A worker has the connection, or will.
    Served(Service),
    /// It was refused while it may be sending, and gets the time to read why.
    Lingering,
}

/// A request that a worker serves, or will.
pub(super) struct Service {
    pub(super) ticket: Ticket,
    pub(super) abort: Arc<Abort>,
    /// Where no worker has begun with it by then, it is taken back.
    pub(super) until: Instant,
}

/// A request of which the body is being read.
pub(super) struct Upload {
    pub(super) head: Head,
    pub(super) admission: Admission,
    pub(super) body: BodyReader,
    /// When its first byte came.
    pub(super) begun: Instant,
}

impl Client {
    /// `deadline`: when it must have begun its first request.
    pub fn new(
        connection: Arc<Connection>,
        bodies: &Arc<BodyBudget>,
        now: Instant,
        deadline: Instant,
    ) -> Client {
        Client {
            connection,
            kept: Kept::default(),
            is_watched_for_room: false,
            stage: Stage::Fresh,
            since: now,
            deadline,
            pace: Pace::default(),
            held: Vec::new(),
            charge: bodies.charge_for_head(),
            needs_more: true,
            outbox: Outbox::new(bodies),
            is_readable: false,
            has_left: false,
        }
    }

    /// When somebody has to look at it although nothing came.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Bytes wait for room in the socket.
    pub fn wants_room(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// The socket has bytes, or the client has closed its side.
    pub fn wake(&mut self, has_left: bool, cx: &Context) -> Fate {
        self.is_readable = true;
        self.has_left |= has_left;
        let Stage::Served(service) = &self.stage else {
            return Fate::Again;
        };
        if let Some(back) = self.connection.speak() {
            return self.come_back(back, cx);
        }
        if !self.has_left {
            return Fate::Waits;
        }
        service.abort.abort(Reason::ClientGone);
        // Where a worker has begun it will ring.
        let Some(exchange) = cx.host.withdraw(service.ticket) else {
            return Fate::Waits;
        };
        cx.host.abandoned(exchange);
        Fate::Closes
    }

    /// The worker rang, or may be done.
    pub fn look_whether_back(&mut self, cx: &Context) -> Fate {
        match self.connection.take_back() {
            Some(back) if matches!(self.stage, Stage::Served(_)) => self.come_back(back, cx),
            _ => Fate::Waits,
        }
    }

    fn come_back(&mut self, back: Back, cx: &Context) -> Fate {
        match back.after {
            After::Keep => {
                self.enter(Stage::Idle, back.at, cx.config.client_timeout);
                Fate::Again
            }
            After::Close => {
                self.linger(cx);
                Fate::Again
            }
            After::Reset => {
                socket::reset_on_close(self.connection.stream());
                Fate::Closes
            }
        }
    }

    /// Before its moment: what it has sent or taken by now.
    pub fn look(&mut self, _: &Context) -> Fate {
        if self.is_served() {
            return Fate::Waits;
        }
        self.is_readable |= socket::has_something(self.connection.stream());
        if self.is_readable || self.wants_room() {
            Fate::Again
        } else {
            Fate::Waits
        }
    }

    /// Its moment has come.
    pub fn expire(&mut self, cx: &Context) -> Fate {
        if self.wants_room() {
            return Fate::Closes;
        }
        match &self.stage {
            Stage::Head(_) | Stage::Body(_) => {
                self.refuse(&TOO_SLOW, cx);
                Fate::Again
            }
            Stage::Served(service) => {
                let (ticket, until) = (service.ticket, service.until);
                if let Some(back) = self.connection.take_back() {
                    return self.come_back(back, cx);
                }
                self.deadline = cx.now + cx.config.client_timeout;
                if cx.now < until {
                    self.deadline = self.deadline.min(until);
                } else if let Some(exchange) = cx.host.withdraw(ticket) {
                    let refusal = if exchange.waits_for_its_client {
                        CLIENT_BUSY
                    } else {
                        WAITED_TOO_LONG
                    };
                    self.give_back(&exchange, &refusal, cx);
                    return Fate::Again;
                }
                Fate::Waits
            }
            Stage::Fresh | Stage::Idle | Stage::Lingering => Fate::Closes,
        }
    }

    /// Goes on as far as it can. `scratch` has [`SCRATCH`] bytes, whatever they are.
    pub fn advance(&mut self, scratch: &mut [u8], cx: &Context) -> Fate {
        let mut brought = 0;
        while brought <= TURN {
            if self.wants_room() {
                match self.flush(cx) {
                    Ok(true) => continue,
                    Ok(false) => return Fate::Waits,
                    Err(_) => return Fate::Closes,
                }
            }
            let has_something = self.is_readable || !(self.needs_more || self.held.is_empty());
            if matches!(self.stage, Stage::Served(_)) || !has_something {
                return Fate::Waits;
            }
            match self.read(scratch, cx) {
                Ok(amount) => brought += amount.max(STEP),
                Err(Ended) => return Fate::Closes,
            }
        }
        Fate::Again
    }

    /// Ends the attempt that runs for it.
    pub fn abort(&self) {
        if let Stage::Served(service) = &self.stage {
            service.abort.abort(Reason::ShuttingDown);
        }
    }

    /// Since when nobody uses the connection; `None` while somebody does, or may be about to.
    pub fn idle_since(&self, now: Instant) -> Option<Instant> {
        let (since, grace) = match &self.stage {
            _ if self.wants_room() => (self.since, SLOW),
            Stage::Fresh => (self.since, FRESH),
            Stage::Idle => (self.since, Duration::ZERO),
            Stage::Head(_) | Stage::Lingering => (self.since, SLOW),
            Stage::Served(_) => (self.connection.back_since()?, Duration::ZERO),
            Stage::Body(_) => return None,
        };
        (now.saturating_duration_since(since) >= grace).then_some(since)
    }

    /// For how long we have waited for it while it moved next to nothing; `None`: it goes on, or we do not wait for it.
    pub fn slow_for(&self, now: Instant) -> Option<Duration> {
        match &self.stage {
            Stage::Served(_) => self.connection.slow_for(now),
            Stage::Head(_) | Stage::Body(_) => self.pace.slow_for(now),
            _ if self.wants_room() => self.pace.slow_for(now),
            Stage::Fresh | Stage::Idle | Stage::Lingering => None,
        }
    }

    /// A worker has it, or will.
    pub fn is_served(&self) -> bool {
        matches!(self.stage, Stage::Served(_))
    }

    /// It was ended while a worker waited for it, and the worker may not know yet.
    pub fn is_cut(&self) -> bool {
        self.is_served() && self.connection.is_cut()
    }

    /// It is slow, and others wait for what it has.
    pub fn give_way(&mut self, cx: &Context) -> Fate {
        if !self.is_served() {
            return self.expire(cx);
        }
        // Its worker gives it back.
        self.connection.cut(cx.now);
        Fate::Waits
    }

    /// Sends what goes. True when all has gone.
    fn flush(&mut self, cx: &Context) -> io::Result<bool> {
        let before = self.outbox.left();
        let flushed = self.outbox.flush(&self.connection)?;
        self.pace
            .moved((before - self.outbox.left()) as u64, cx.now);
        let Some(then) = flushed else {
            return Ok(false);
        };
        match then {
            Then::GoOn => {}
            Then::NextRequest => self.enter(Stage::Idle, cx.now, cx.config.client_timeout),
            Then::Linger => {
                socket::say_goodbye(self.connection.stream());
                self.linger(cx);
            }
        }
        Ok(true)
    }

    /// Closes in stages: the client reads its answer to the end although it may still be sending (RFC 9112 §9.6).
    pub(super) fn linger(&mut self, cx: &Context) {
        self.hold(&[], cx);
        self.is_readable = true;
        self.enter(Stage::Lingering, cx.now, LINGER);
    }

    pub(super) fn enter(&mut self, stage: Stage, since: Instant, limit: Duration) {
        self.stage = stage;
        self.since = since;
        self.deadline = since + limit;
        self.pace = Pace::waiting(since);
    }
}

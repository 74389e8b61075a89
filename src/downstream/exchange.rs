//! What passes between the listener's thread and those who serve: a whole request with its client, and the judgement on it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use http::{Method, Request, Response};

use super::access::Cors;
use super::body::Body;
use super::connection::Connection;
use super::head::Head;
use super::refusal::Refusal;
use super::routes::Forward;
use crate::config::{Client, Config};
use crate::upstream::Abort;

/// Who serves what the listener reads. Nothing in here may block: there is one listener for all clients.
pub trait Host: Send + Sync + 'static {
    /// The configuration in force.
    fn config(&self) -> Arc<Config>;

    /// Judges a request by its head, once, before its body is read.
    fn triage(&self, head: &Head) -> Triage;

    /// Our own error for a request that is refused; it is logged and counted.
    fn refuse(&self, refusal: &Refusal, asked: &Asked) -> Response<Vec<u8>>;

    /// Hands a whole request over. A worker writes the answer to its connection and calls [`Connection::finish`].
    ///
    /// # Errors
    /// The request comes back, with the reason, where no more may wait.
    fn submit(&self, exchange: Exchange) -> Result<Ticket, (Box<Exchange>, Refusal)>;

    /// Takes a request back that nobody has begun with; `None` once somebody has.
    fn withdraw(&self, ticket: Ticket) -> Option<Exchange>;

    /// How many wait for a worker.
    fn crowd(&self, now: Instant) -> Crowd;

    /// The client went before a worker had begun with its request; it is logged and counted.
    fn abandoned(&self, exchange: Exchange);
}

/// Names a request that waits for a worker. Never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// Those for whom no worker is free.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crowd {
    /// Requests that wait for a worker.
    pub waiting: usize,
    /// Those of them that have waited longer than it takes to wake one, and those that were turned away since this was last asked.
    pub lack: usize,
}

/// What a request's head deserves.
pub enum Triage {
    /// This, at once; the body is not read. With a `connection` header the connection is closed after it.
    Answer(Response<Vec<u8>>),
    /// To be read whole and submitted.
    Forward(Admission),
}

/// What the door has learnt of a request that is to be forwarded. It travels with it, so that it is judged once, under one
/// configuration.
pub struct Admission {
    /// The configuration that the request is served under.
    pub config: Arc<Config>,
    /// How it may be treated.
    pub route: Forward,
    /// What its browser may read of the answer.
    pub cors: Cors,
    /// What the log and our own errors call it.
    pub request_id: String,
    /// Whose token it has: a place in `config.clients`. `None` where there are none.
    pub client: Option<usize>,
}

impl Admission {
    /// Whose token it has; `None` where everybody is let in.
    pub fn client(&self) -> Option<&Client> {
        self.config.clients.get(self.client?)
    }
}

/// One of the places of those that are served or wait for it, until it is dropped.
pub struct Permit {
    taken: Arc<AtomicUsize>,
    /// Its place among those of its client, where that has only some; given back with it.
    pub place: Option<Box<dyn Send>>,
}

impl Permit {
    /// Takes one of `most` places, if one is free; `taken` counts those that are not.
    pub fn take(taken: &Arc<AtomicUsize>, most: usize) -> Option<Permit> {
        // Where there was none, dropping it gives back what was taken too much.
        let permit = Permit {
            taken: taken.clone(),
            place: None,
        };
        (taken.fetch_add(1, Ordering::AcqRel) < most).then_some(permit)
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::AcqRel);
    }
}

/// What is known of a request when it is refused.
#[derive(Default)]
pub struct Asked<'a> {
    /// `None`: it was not even HTTP.
    pub method: Option<&'a Method>,
    /// Without the query.
    pub path: Option<&'a str>,
    /// `None`: it was refused before it could be judged.
    pub admission: Option<&'a Admission>,
}

/// One whole request with its client.
pub struct Exchange {
    /// Who answers it takes it, and drops it when it has an answer: that may last for an hour.
    pub request: Request<Body>,
    pub admission: Admission,
    /// HTTP/1.0 knows no chunks.
    pub is_http10: bool,
    /// The client lets the connection stay open after the answer.
    pub keep_alive: bool,
    /// Where the answer goes.
    pub connection: Arc<Connection>,
    /// Its place among those that are served or wait for it; dropped when the answer has ended.
    pub permit: Option<Permit>,
    /// It is not handed over before another one of its client's has ended.
    pub waits_for_its_client: bool,
    /// Called when the client goes, or when we must end.
    pub abort: Arc<Abort>,
    /// When the request had arrived whole.
    pub arrived: Instant,
}

impl Exchange {
    /// What is known of it, where it is refused after all.
    pub fn asked(&self) -> Asked<'_> {
        Asked {
            method: Some(self.request.method()),
            path: Some(self.request.uri().path()),
            admission: Some(&self.admission),
        }
    }
}

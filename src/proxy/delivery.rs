//! What a request's way through the endpoints leads to.

use std::time::Duration;

use http::{HeaderMap, StatusCode};

use super::attempt::Attempt;
use super::failover::Signs;
use super::looked::Looked;
use super::stream::EventStream;
use crate::balancer::MemberId;

/// An attempt that sent us on.
pub struct Failed {
    /// What to tell the client if there is no better answer.
    pub reason: String,
    /// What is left of the endpoint's own answer.
    pub answer: Option<FailedAnswer>,
    /// The endpoint refused the request, and goes on cooldown if another one answers it well.
    pub suspect: Option<Suspect>,
}

/// An endpoint that refused what another one may answer.
pub struct Suspect {
    pub member: MemberId,
    pub endpoint: String,
    pub cooldown: Duration,
    pub cause: &'static str,
}

/// What a request's way through the endpoints led to.
pub enum Delivery {
    /// An answer that goes to the client as it comes.
    Answer(Parts, Looked, Attempt),
    /// The same for an event stream whose first event is here.
    Stream(Parts, EventStream, Attempt),
    /// Every attempt failed: the most telling of their answers.
    Failed(FailedAnswer),
    /// An answer of our own, in JSON.
    Own(Vec<u8>),
    /// An error of ours.
    Error(OwnError),
    /// Nobody waits for an answer.
    ClientGone,
}

/// An error of ours.
pub struct OwnError {
    pub status: StatusCode,
    pub message: String,
    /// When to ask again.
    pub retry_after: Option<Duration>,
}

impl Delivery {
    pub fn error(status: StatusCode, message: impl Into<String>) -> Delivery {
        Delivery::Error(OwnError {
            status,
            message: message.into(),
            retry_after: None,
        })
    }
}

/// The head of an endpoint's answer.
pub struct Parts {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// `None` where the endpoint announced no length.
    pub length: Option<u64>,
    /// The endpoint's own number for the request, as the log may show it.
    pub request_id: Option<String>,
}

/// An answer that sent us on to the next endpoint, kept for a client that gets no better one.
pub struct FailedAnswer {
    pub parts: Parts,
    /// At most 64 KiB of it: an error is shorter.
    pub body: Vec<u8>,
    pub endpoint: String,
    pub signs: Signs,
}

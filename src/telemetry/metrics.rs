//! What is counted.
//!
//! Workers count with relaxed atomics; each endpoint's counters are looked up once, when it is configured. What others
//! know anyway (who is up, how long the queue is) is not kept a second time: `scrape` gets it when somebody asks. No
//! I/O and no clock in here: callers pass `now`.

mod counters;
mod exposition;
mod recent;
mod scrape;

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;

use super::access_log::Record;
use crate::api::usage::Usage;
use counters::{Causes, Histogram, Statuses};
use recent::Recent;
pub use recent::{SLOT, SLOTS, Slot};

/// How busy the server is at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Load {
    /// Requests that have a worker.
    pub in_flight: usize,
    /// Requests that wait for one, and how many may.
    pub queued: usize,
    pub queue: usize,
    pub workers: usize,
    pub draining: bool,
}

/// How an attempt ended, whatever followed from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With a whole answer.
    Status(u16),
    /// No first byte in time.
    Timeout,
    /// No connection, or none that spoke HTTP.
    Unreachable,
    /// The answer broke or fell silent, or a stream had no first event.
    Broken,
    /// The client did not wait.
    ClientGone,
}

impl Ended {
    /// The `outcome` label. 429 and 529 are set apart from their classes: they say "not so much", not "wrong".
    const LABELS: [&str; 10] = [
        "2xx",
        "3xx",
        "4xx",
        "429",
        "5xx",
        "529",
        "timeout",
        "unreachable",
        "broken",
        "client_gone",
    ];

    fn index(self) -> usize {
        match self {
            Ended::Status(..300) => 0,
            Ended::Status(300..400) => 1,
            Ended::Status(429) => 3,
            Ended::Status(400..500) => 2,
            Ended::Status(529) => 5,
            Ended::Status(500..) => 4,
            Ended::Timeout => 6,
            Ended::Unreachable => 7,
            Ended::Broken => 8,
            Ended::ClientGone => 9,
        }
    }
}

/// All counters of the process.
#[derive(Debug)]
pub struct Metrics {
    begun: Instant,
    started: SystemTime,
    forwarded: Statuses,
    own: Statuses,
    first_byte: Histogram,
    total: Histogram,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    refused: Causes,
    reloads: [AtomicU64; 2],
    /// Those that somebody still holds: the balancer's, and removed ones whose last requests are under way.
    endpoints: Mutex<Vec<Weak<EndpointMetrics>>>,
}

impl Metrics {
    /// `now` and `started` are the same moment, on the two clocks.
    pub fn new(now: Instant, started: SystemTime) -> Arc<Metrics> {
        Arc::new(Metrics {
            begun: now,
            started,
            forwarded: Statuses::default(),
            own: Statuses::default(),
            first_byte: Histogram::default(),
            total: Histogram::default(),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            refused: Causes::default(),
            reloads: Default::default(),
            endpoints: Mutex::default(),
        })
    }

    /// The counters of an endpoint, to be kept by whoever makes attempts there. They go on where an endpoint of that name
    /// is still held by somebody (a reload), and begin at zero where none is.
    pub fn endpoint(&self, name: &str) -> Arc<EndpointMetrics> {
        let mut endpoints = lock(&self.endpoints);
        endpoints.retain(|endpoint| endpoint.strong_count() > 0);
        if let Some(known) = endpoints
            .iter()
            .filter_map(Weak::upgrade)
            .find(|endpoint| endpoint.name == name)
        {
            return known;
        }
        let endpoint = Arc::new(EndpointMetrics::new(name, self.begun));
        endpoints.push(Arc::downgrade(&endpoint));
        endpoint
    }

    /// Counts a request that was forwarded, or was to be. `total`: from its arrival to its answer's end.
    pub fn forwarded(&self, record: &Record, total: Duration) {
        self.forwarded.add(record.status);
        if let Some(first_byte) = record.first_byte_after() {
            self.first_byte.observe(first_byte);
        }
        self.total.observe(total);
        self.bytes_in.fetch_add(record.bytes_in, Relaxed);
        self.bytes_out.fetch_add(record.bytes_out, Relaxed);
    }

    /// Counts a request that was answered at the door.
    pub fn answered_locally(&self, status: StatusCode) {
        self.own.add(status.as_u16());
    }

    /// Counts a refusal, e.g. `queue full`, `waited too long`, `shutting down`.
    pub fn refused(&self, cause: &'static str) {
        self.refused.add(cause);
    }

    /// Counts a changed configuration file that was put in force, or was not.
    pub fn reloaded(&self, good: bool) {
        self.reloads[usize::from(!good)].fetch_add(1, Relaxed);
    }

    pub fn uptime(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.begun)
    }

    /// Forwarded requests by status, those with none left out.
    pub fn statuses(&self) -> Vec<(u16, u64)> {
        self.forwarded.counts()
    }

    pub fn refusals(&self) -> Vec<(&'static str, u64)> {
        self.refused.counts()
    }

    /// Reloads, good and bad ones.
    pub fn reloads(&self) -> [u64; 2] {
        self.reloads.each_ref().map(|count| count.load(Relaxed))
    }

    /// Bytes of bodies from clients, and bytes to them.
    pub fn bytes(&self) -> [u64; 2] {
        [self.bytes_in.load(Relaxed), self.bytes_out.load(Relaxed)]
    }
}

/// One endpoint's counters.
#[derive(Debug)]
pub struct EndpointMetrics {
    name: String,
    ended: [AtomicU64; Ended::LABELS.len()],
    rests: Causes,
    tokens: [AtomicU64; TOKENS.len()],
    recent: Mutex<Recent>,
}

/// The `kind` label of tokens.
const TOKENS: [&str; 4] = ["input", "output", "cache_read", "cache_write"];

impl EndpointMetrics {
    fn new(name: &str, now: Instant) -> EndpointMetrics {
        EndpointMetrics {
            name: name.to_owned(),
            ended: Default::default(),
            rests: Causes::default(),
            tokens: Default::default(),
            recent: Mutex::new(Recent::new(now)),
        }
    }

    /// An attempt begins.
    pub fn begun(&self, now: Instant) {
        lock(&self.recent).slot(now).requests += 1;
    }

    /// It has ended. `first_byte`: how long after its beginning the answer began, if it did. `failed`: it counts as one of
    /// the endpoint's failures.
    pub fn ended(&self, now: Instant, ended: Ended, first_byte: Option<Duration>, failed: bool) {
        self.ended[ended.index()].fetch_add(1, Relaxed);
        let mut recent = lock(&self.recent);
        let slot = recent.slot(now);
        slot.failures += u32::from(failed);
        if let Some(first_byte) = first_byte {
            slot.answers += 1;
            slot.first_bytes = slot.first_bytes.saturating_add(first_byte);
        }
    }

    /// The endpoint rests, for `cause`.
    pub fn cooled_down(&self, cause: &'static str) {
        self.rests.add(cause);
    }

    /// An answer cost so much.
    pub fn used(&self, usage: Usage) {
        let counts = [
            usage.input,
            usage.output,
            usage.cache_read,
            usage.cache_write,
        ];
        for (sum, count) in self.tokens.iter().zip(counts) {
            sum.fetch_add(count, Relaxed);
        }
    }

    /// Tokens so far.
    pub fn usage(&self) -> Usage {
        let [input, output, cache_read, cache_write] =
            self.tokens.each_ref().map(|sum| sum.load(Relaxed));
        Usage {
            input,
            output,
            cache_read,
            cache_write,
        }
    }

    /// The last ten minutes, oldest first; the last slot is the one that is still being filled.
    pub fn recent(&self, now: Instant) -> [Slot; SLOTS] {
        lock(&self.recent).slots(now)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub use tests::record;

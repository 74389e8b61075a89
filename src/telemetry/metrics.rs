//! What is counted.
//!
//! Workers count with relaxed atomics; each endpoint's counters are looked up once, when it is configured. What others
//! know anyway (who is up, how long the queue is) is not kept a second time: `scrape` gets it when somebody asks. No
//! I/O and no clock in here: callers pass `now`.

mod clients;
mod counters;
mod endpoint;
mod exposition;
mod scrape;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use http::StatusCode;

use super::access_log::{ForClient, Record};
use super::events::{Events, Kind};
use super::history::{self, Answers, Fine, Series, Span};
pub use clients::ClientMetrics;
use clients::Clients;
use counters::{Causes, Histogram, Statuses, add};
pub use endpoint::{EndpointMetrics, FailedAttempt};

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
    /// Nothing went out: the request does not fit the way to the endpoint, or this machine had no descriptor or thread for it.
    Unsent,
}

impl Ended {
    /// The `outcome` label. 429 and 529 are set apart from their classes: they say "not so much", not "wrong".
    const LABELS: [&str; 11] = [
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
        "unsent",
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
            Ended::Unsent => 10,
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
    /// The file, as it is, is not in force.
    file_is_bad: AtomicBool,
    clients: Clients,
    series: Mutex<Series<Answers>>,
    /// Whether there are few enough endpoints and clients for a day of each one's history.
    keeps_day: Arc<AtomicBool>,
    events: Arc<Events>,
    /// Those that somebody still holds: the balancer's, and removed ones whose last requests are under way.
    endpoints: Mutex<HashMap<String, Weak<EndpointMetrics>>>,
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
            file_is_bad: AtomicBool::new(false),
            clients: Clients::default(),
            series: Mutex::new(Series::new(now)),
            keeps_day: Arc::new(AtomicBool::new(true)),
            events: Arc::default(),
            endpoints: Mutex::default(),
        })
    }

    /// The counters of an endpoint, to be kept by whoever makes attempts there. They go on where an endpoint of that name
    /// is still held by somebody (a reload), and begin at zero where none is.
    pub fn endpoint(&self, name: &str) -> Arc<EndpointMetrics> {
        let mut endpoints = lock(&self.endpoints);
        if let Some(known) = endpoints.get(name).and_then(Weak::upgrade) {
            return known;
        }
        // Those that nobody holds go when another one comes, which is at a reload.
        endpoints.retain(|_, endpoint| endpoint.strong_count() > 0);
        let endpoint = Arc::new(EndpointMetrics::new(
            name,
            self.begun,
            self.keeps_day.clone(),
            self.events.clone(),
        ));
        endpoints.insert(name.to_owned(), Arc::downgrade(&endpoint));
        endpoint
    }

    /// What a configuration has that is counted by name. Counters of clients that are gone are forgotten.
    pub fn expect(&self, endpoints: usize, clients: &[&str]) {
        let keeps_day = endpoints + clients.len() <= history::MOST_DAYS;
        self.keeps_day.store(keeps_day, Relaxed);
        self.clients.keep(clients);
    }

    /// Counts a request that was forwarded, or was to be. `total`: from its arrival to its answer's end.
    pub fn forwarded(&self, record: &Record, total: Duration) {
        self.forwarded.add(record.status);
        let outcome = record.for_client();
        let is_good = outcome == ForClient::Good && record.status < 400;
        let first_byte = record.first_byte_after().filter(|_| is_good);
        if let Some(first_byte) = first_byte {
            self.first_byte.observe(first_byte);
        }
        self.total.observe(total);
        add(&self.bytes_in, record.bytes_in);
        add(&self.bytes_out, record.bytes_out);
        let now = record.arrived + total;
        let step = Answers {
            answers: (outcome != ForClient::Left).into(),
            failed: (outcome == ForClient::Failed).into(),
            saved: (is_good && record.attempts > 1).into(),
            left: (outcome == ForClient::Left).into(),
            first_byte: first_byte.map(Fine::of).unwrap_or_default(),
        };
        lock(&self.series).add(now, true, &step);
        self.clients
            .count(self.begun, now, self.keeps_day(), record);
    }

    /// Counts a request that was to be forwarded, and that we answered with an error because we are too busy.
    pub fn turned_away(&self, now: Instant) {
        let step = Answers {
            answers: 1,
            failed: 1,
            ..Answers::default()
        };
        lock(&self.series).add(now, true, &step);
    }

    /// Counts a request that was answered at the door.
    pub fn answered_locally(&self, status: StatusCode) {
        self.own.add(status.as_u16());
    }

    /// Counts a refusal, e.g. `queue full`, `waited too long`, `shutting down`.
    pub fn refused(&self, cause: &'static str) {
        self.refused.add(cause);
    }

    /// Counts a changed configuration file that was put in force, or was not: for this reason.
    pub fn reloaded(&self, time: SystemTime, complaint: Option<&str>) {
        add(&self.reloads[usize::from(complaint.is_some())], 1);
        self.file_is_bad.store(complaint.is_some(), Relaxed);
        match complaint {
            Some(complaint) => self.events.add(time, Kind::Complaint, None, "", complaint),
            None => self.events.add(time, Kind::Reload, None, "", ""),
        }
    }

    /// Tells the page that a file which was not put in force says again what is.
    pub fn mended(&self, time: SystemTime) {
        self.file_is_bad.store(false, Relaxed);
        let text = "the configuration file is good again, and as it was";
        self.events.add(time, Kind::Reload, None, "", text);
    }

    /// Whether endpoints and clients have a day of history.
    pub fn keeps_day(&self) -> bool {
        self.keeps_day.load(Relaxed)
    }

    /// The last events.
    pub fn events(&self) -> &Events {
        &self.events
    }

    /// All clients that were seen, by name.
    pub fn clients(&self) -> Vec<(String, Arc<ClientMetrics>)> {
        self.clients.all()
    }

    /// How it went for all clients.
    pub fn history(&self, now: Instant, span: Span) -> Vec<Answers> {
        lock(&self.series).steps(now, span)
    }

    /// The last so many steps of the hour, in one.
    pub fn recent(&self, now: Instant, steps: usize) -> Answers {
        lock(&self.series).last(now, steps)
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

/// The `kind` label of tokens.
const TOKENS: [&str; 4] = ["input", "output", "cache_read", "cache_write"];

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub use tests::record;

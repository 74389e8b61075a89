//! Serves: what the listener reads goes to the workers, what needs no endpoint is answered at once, and all of it comes to an end.
//!
//! - `queue`: the hand-over to the workers; `crew`: how many of them there are, and which of them is told; `workers`: their threads; `shares`: how
//!   many requests of one client go over at a time.
//! - `triage`: who answers a request; `status`: `/health`, `/metrics` and the page.
//! - `reload`: the configuration file, while we run; `hangup`: the signal that has it read at once.
//! - `notify`: what systemd is told.
//!
//! It knows nothing of sockets and nothing of what an endpoint's answer means.

mod crew;
pub mod hangup;
pub mod notify;
mod queue;
pub mod reload;
mod shares;
mod status;
mod triage;
mod workers;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::{Method, Response, StatusCode};

use crate::api::errors::{error, request_id};
use crate::config::Config;
use crate::downstream::access::Cors;
use crate::downstream::{After, Asked, Crowd, Exchange, Head, Host, Refusal, Ticket, Triage};
use crate::proxy::Proxy;
use crate::telemetry::access_log::{self, Record};
use crate::telemetry::metrics::{Load, Metrics};
use queue::Queue;
use status::View;

/// Everything that serves.
pub struct Server {
    config: Mutex<Arc<Config>>,
    proxy: Arc<Proxy>,
    metrics: Arc<Metrics>,
    queue: Arc<Queue>,
    /// What the configuration said at the start: a change needs a restart.
    most_workers: usize,
    most_queued: usize,
    draining: Arc<AtomicBool>,
}

impl Server {
    /// Starts the workers.
    ///
    /// # Errors
    /// The system has no socket or thread left.
    pub fn start(config: Config, proxy: Proxy, metrics: Arc<Metrics>) -> io::Result<Arc<Server>> {
        let (workers, queued) = (config.workers, config.queue);
        let (proxy, draining) = (Arc::new(proxy), Arc::<AtomicBool>::default());
        let (worker_proxy, worker_draining) = (proxy.clone(), draining.clone());
        let queue = Queue::start(workers, queued, move |exchange| {
            serve(&worker_proxy, &worker_draining, exchange);
        })?;
        Ok(Arc::new(Server {
            config: Mutex::new(Arc::new(config)),
            proxy,
            metrics,
            queue,
            most_workers: workers,
            most_queued: queued,
            draining,
        }))
    }

    /// Puts a new configuration in force. What was read at the start stays as it was.
    pub fn reconfigure(&self, config: Config) {
        self.proxy.reconfigure(&config);
        *lock(&self.config) = Arc::new(config);
        self.metrics.reloaded(SystemTime::now(), None);
    }

    /// Counts a configuration that was not put in force, for this reason.
    pub fn count_bad_reload(&self, complaint: &str) {
        self.metrics.reloaded(SystemTime::now(), Some(complaint));
    }

    /// The file says again what is in force.
    pub fn config_is_good_again(&self) {
        self.metrics.mended(SystemTime::now());
    }

    /// From now on `/health` says `draining` and other requests are refused. Returns how long those that run may.
    pub fn drain(&self) -> Duration {
        self.draining.store(true, Ordering::Release);
        self.config().drain
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    fn view(&self) -> View<'_> {
        let (queued, in_flight) = self.queue.load();
        let load = Load {
            in_flight,
            queued,
            queue: self.most_queued,
            workers: self.most_workers,
            draining: self.is_draining(),
        };
        let now = Instant::now();
        View {
            metrics: &self.metrics,
            snapshot: self.proxy.snapshot(now),
            load,
            now,
            time: SystemTime::now(),
        }
    }

    fn answered_locally(
        &self,
        method: Option<&Method>,
        path: Option<&str>,
        answer: &Response<Vec<u8>>,
        request_id: &str,
    ) {
        access_log::log_local(method, path, answer, request_id, Instant::now());
        self.metrics.answered_locally(answer.status());
    }
}

/// What a worker does with a request.
fn serve(proxy: &Proxy, draining: &AtomicBool, mut exchange: Exchange) {
    let connection = exchange.connection.clone();
    exchange.keep_alive &= !draining.load(Ordering::Acquire);
    // A panic costs its own request, which `Proxy::serve` answers as it unwinds, and nothing else.
    let after = catch_unwind(AssertUnwindSafe(|| proxy.serve(exchange)));
    connection.finish(after.unwrap_or(After::Close));
}

impl Host for Server {
    fn config(&self) -> Arc<Config> {
        lock(&self.config).clone()
    }

    fn triage(&self, head: &Head) -> Triage {
        self.judge(head)
    }

    fn refuse(&self, refusal: &Refusal, asked: &Asked) -> Response<Vec<u8>> {
        let (id, cors) = match asked.admission {
            Some(admission) => (admission.request_id.clone(), admission.cors.clone()),
            None => (request_id(), Cors::of_nobody(&self.config())),
        };
        let mut answer = error(refusal.status, &refusal.message, &id);
        cors.mark(answer.headers_mut(), None);
        self.metrics.refused(refusal.cause);
        let is_busy = matches!(
            refusal.status,
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
        );
        if is_busy && asked.admission.is_some() {
            self.metrics.turned_away(Instant::now());
        }
        self.answered_locally(asked.method, asked.path, &answer, &id);
        answer
    }

    fn submit(&self, exchange: Exchange) -> Result<Ticket, (Box<Exchange>, Refusal)> {
        self.queue.submit(exchange)
    }

    fn withdraw(&self, ticket: Ticket) -> Option<Exchange> {
        self.queue.withdraw(ticket)
    }

    fn crowd(&self, now: Instant) -> Crowd {
        self.queue.crowd(now)
    }

    fn abandoned(&self, exchange: Exchange) {
        let (parts, body) = exchange.request.into_parts();
        let bytes_in = body.bytes.len() as u64;
        let client = exchange
            .admission
            .client()
            .map(|client| client.name.clone());
        let id = exchange.admission.request_id;
        let mut record = Record::new(parts.method, parts.uri, bytes_in, id, exchange.arrived);
        record.client = client;
        let total = record.arrived.elapsed();
        record.log(total);
        self.metrics.forwarded(&record, total);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

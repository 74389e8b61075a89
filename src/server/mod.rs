//! From the front to the workers, and the end of it all.
//!
//! tiny_http's listener hands each request to a fixed pool of workers, as the program's shape wants it. But it never
//! meets a stranger, opens no connection and starts no thread while we run: at start one connection is made to it over
//! a socket of this process alone, then its door is closed for good. A request that the front has read waits in a
//! table; its number goes down that connection as `GET /17`, tiny_http queues it, and the first free worker takes it
//! from there and writes the answer to the client itself.

pub mod reload;
mod status;
mod workers;

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};

use crate::api::errors::{error, request_id};
use crate::config::Config;
use crate::downstream::access::{self, Cors};
use crate::downstream::listener::{
    Admission, BODIES_FULL, Exchange, Head, Host, Judgement, QUEUE_FULL, Refused, WAITED_TOO_LONG,
};
use crate::downstream::routes::{OWN_METHODS, Route, route};
use crate::proxy::Proxy;
use crate::telemetry::access_log::Line;
use crate::telemetry::metrics::Load;
use status::View;
use workers::Workers;

/// Everything that serves.
pub struct Server {
    config: Mutex<Arc<Config>>,
    proxy: Proxy,
    tiny_http: &'static tiny_http::Server,
    handover: Mutex<UnixStream>,
    crew: Workers,
    waiting: Mutex<HashMap<u64, Exchange>>,
    numbers: AtomicU64,
    /// Requests that wait for a worker or have one.
    admitted: Arc<AtomicUsize>,
    workers: usize,
    queue: usize,
    draining: AtomicBool,
}

impl Server {
    /// Starts the workers.
    ///
    /// # Errors
    /// The system has no socket or thread left.
    pub fn start(config: Config, proxy: Proxy) -> io::Result<Arc<Server>> {
        let (tiny_http, handover) = open_tiny_http()?;
        let workers = config.workers;
        let server = Arc::new(Server {
            queue: config.queue,
            workers,
            config: Mutex::new(Arc::new(config)),
            proxy,
            tiny_http,
            handover: Mutex::new(handover),
            crew: Workers::new(workers),
            waiting: Mutex::default(),
            numbers: AtomicU64::new(1),
            admitted: Arc::default(),
            draining: AtomicBool::new(false),
        });
        server.crew.start(server.worker())?;
        Ok(server)
    }

    /// Puts a new configuration in force. What was read at the start stays as it was.
    pub fn reconfigure(&self, config: Config) {
        self.proxy.reconfigure(&config);
        *lock(&self.config) = Arc::new(config);
        self.proxy.metrics().reloaded(true);
    }

    /// Counts a configuration that was not put in force.
    pub fn count_bad_reload(&self) {
        self.proxy.metrics().reloaded(false);
    }

    /// From now on `/health` says `draining` and other requests are refused. Returns how long those that run may.
    pub fn drain(&self) -> Duration {
        self.draining.store(true, Ordering::Release);
        self.config().drain
    }

    /// What a worker does all its life.
    fn worker(self: &Arc<Server>) -> impl FnOnce() + Send + use<> {
        let server = self.clone();
        move || {
            while let Some(number) = server.next_number() {
                server.crew.go(|| server.worker());
                if let Some(exchange) = server.take(number) {
                    server.serve(exchange);
                }
                if !server.crew.come_back() {
                    return;
                }
            }
        }
    }

    /// The next request that tiny_http hands over.
    fn next_number(&self) -> Option<u64> {
        loop {
            match self.tiny_http.recv() {
                Ok(request) => {
                    let number = request.url().trim_start_matches('/').parse();
                    // tiny_http's own answer, which nobody reads: none.
                    drop(request.into_writer());
                    return number.ok();
                }
                Err(err) => log::warn!("tiny_http: {err}"),
            }
        }
    }

    fn serve(&self, mut exchange: Exchange) {
        let connection = exchange.connection.clone();
        connection.begin();
        let config = self.config();
        exchange.keep_alive &= !self.draining.load(Ordering::Acquire);
        // A panic costs its own request, which `Proxy::serve` answers as it unwinds, and nothing else.
        let keep = catch_unwind(AssertUnwindSafe(|| {
            self.proxy.serve(&mut exchange, &config)
        }))
        .unwrap_or(false);
        drop(exchange);
        connection.finish(keep);
    }

    fn take(&self, number: u64) -> Option<Exchange> {
        lock(&self.waiting).remove(&number)
    }

    fn view(&self) -> View<'_> {
        let queued = lock(&self.waiting).len();
        let load = Load {
            in_flight: self.admitted.load(Ordering::Acquire).saturating_sub(queued),
            queued,
            queue: self.queue,
            workers: self.workers,
            draining: self.draining.load(Ordering::Acquire),
        };
        let now = Instant::now();
        View {
            metrics: self.proxy.metrics(),
            snapshot: self.proxy.snapshot(now),
            load,
            now,
            time: SystemTime::now(),
        }
    }

    /// The answers that need no worker.
    fn answer(
        &self,
        route: Route,
        head: &Head,
        config: &Config,
        cors: &Cors,
        id: &str,
    ) -> Option<Response<Vec<u8>>> {
        let admitted = access::is_admitted(config, &head.headers);
        if self.draining.load(Ordering::Acquire) && route != Route::Health {
            self.proxy.metrics().refused("shutting down");
            let answer = error(
                StatusCode::SERVICE_UNAVAILABLE,
                "this balancer is shutting down",
                id,
            );
            return Some(closing(answer));
        }
        let unknown = || {
            let message = "no valid client token; send one of clientTokens in x-api-key or authorization: Bearer";
            error(StatusCode::UNAUTHORIZED, message, id)
        };
        Some(match route {
            Route::Forward(_) if admitted => return None,
            Route::Forward(_) => unknown(),
            Route::Metrics if !admitted => unknown(),
            Route::Metrics => status::metrics(self.view(), &head.headers),
            Route::Health => status::health(&self.view(), admitted),
            Route::Page => status::page(),
            Route::Preflight => preflight(cors, &head.headers),
            Route::WrongMethod => {
                let message = format!("{} knows GET and HEAD only", head.target.path());
                let mut answer = error(StatusCode::METHOD_NOT_ALLOWED, &message, id);
                answer
                    .headers_mut()
                    .insert(header::ALLOW, HeaderValue::from_static(OWN_METHODS));
                answer
            }
            Route::NotFound => {
                let message = format!(
                    "no such path here: {}; the API is at /v1/",
                    head.target.path()
                );
                error(StatusCode::NOT_FOUND, &message, id)
            }
        })
    }
}

impl Host for Server {
    fn config(&self) -> Arc<Config> {
        lock(&self.config).clone()
    }

    fn judge(&self, head: &Head) -> Judgement {
        let route = route(&head.method, head.target.path());
        let config = self.config();
        let cors = Cors::of(&config, &head.headers);
        let id = request_id();
        let Some(mut answer) = self.answer(route, head, &config, &cors, &id) else {
            return Judgement::Forward;
        };
        if route != Route::Preflight {
            cors.mark(answer.headers_mut());
        }
        Line::own(Some(&head.method), Some(head.target.path()), &answer, &id).log();
        self.proxy.metrics().own(answer.status().as_u16());
        Judgement::Answer(answer)
    }

    fn refuse(&self, refused: &Refused) -> Response<Vec<u8>> {
        let id = request_id();
        let mut answer = error(refused.status, refused.why, &id);
        let none = HeaderMap::new();
        Cors::of(&self.config(), refused.headers.unwrap_or(&none)).mark(answer.headers_mut());
        Line::own(refused.method, refused.path, &answer, &id).log();
        match refused.why {
            QUEUE_FULL => self.proxy.metrics().refused("queue full"),
            WAITED_TOO_LONG => self.proxy.metrics().refused("waited too long"),
            BODIES_FULL => self.proxy.metrics().refused("bodies full"),
            _ => {}
        }
        self.proxy.metrics().own(answer.status().as_u16());
        answer
    }

    fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    fn submit(&self, number: u64, mut exchange: Exchange) -> Result<(), Box<Exchange>> {
        match Admission::take(&self.admitted, self.workers + self.queue) {
            Some(admission) => exchange.admission = admission,
            None => return Err(Box::new(exchange)),
        }
        lock(&self.waiting).insert(number, exchange);
        let line = format!("GET /{number} HTTP/1.1\r\n\r\n");
        if let Err(err) = lock(&self.handover).write_all(line.as_bytes()) {
            // It cannot happen while the process lives: both ends are ours.
            log::error!("tiny_http takes no more requests: {err}");
        }
        Ok(())
    }

    fn withdraw(&self, number: u64) -> Option<Exchange> {
        let exchange = self.take(number)?;
        exchange.admission.release();
        Some(exchange)
    }
}

fn preflight(cors: &Cors, asked: &HeaderMap) -> Response<Vec<u8>> {
    let mut answer = Response::new(Vec::new());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    *answer.headers_mut() = cors.preflight(asked);
    answer
}

fn closing(mut answer: Response<Vec<u8>>) -> Response<Vec<u8>> {
    answer
        .headers_mut()
        .insert(header::CONNECTION, HeaderValue::from_static("close"));
    answer
}

/// tiny_http with one connection to it, and no way for another one.
///
/// The socket has no place in the file system: it needs no writable folder, and nothing is left behind. Its name lives
/// for the moment between the two calls.
fn open_tiny_http() -> io::Result<(&'static tiny_http::Server, UnixStream)> {
    let address = SocketAddr::from_abstract_name(request_id())?;
    let listener = UnixListener::bind_addr(&address)?;
    let door = listener.try_clone()?;
    let server = tiny_http::Server::from_listener(listener, None).map_err(io::Error::other)?;
    // Never dropped: the workers use it as long as the process lives, and its `Drop` knows no nameless sockets.
    let server: &'static tiny_http::Server = Box::leak(Box::new(server));
    let mut handover = UnixStream::connect_addr(&address)?;
    handover.shutdown(Shutdown::Read)?;
    handover.write_all(b"GET /0 HTTP/1.1\r\n\r\n")?;
    drop(server.recv()?.into_writer());
    nix::sys::socket::shutdown(door.as_raw_fd(), nix::sys::socket::Shutdown::Both)?;
    // The accept thread ends, and says so.
    match server.recv_timeout(Duration::from_secs(5)) {
        Err(_) => Ok((server, handover)),
        Ok(_) => Err(io::Error::other("tiny_http's listener did not close")),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

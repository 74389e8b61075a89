//! One request, from the first endpoint that is asked to the answer's last byte.
//!
//! One loop picks, sends, judges and delivers; what it calls runs straight through. Which endpoint is next is
//! `balancer`'s to say, what an outcome means is `failover`'s.

mod attempt;
pub mod failover;
mod relay;
mod reply;

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::{Request, StatusCode};
use ureq::tls::RootCerts;

use crate::api::headers::{self, SESSION_ID};
use crate::balancer::{Balancer, Lease, Pick, Seat, SeatId, Snapshot, Want};
use crate::config::{Affinity, Config, Endpoint};
use crate::downstream::listener::{Body, Exchange};
use crate::downstream::routes::{Forward, Route, route};
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Outgoing, Upstream};
use attempt::{Attempt, Failure, Found, Member, Trial, attempt};
use reply::Reply;

/// How often a request that waits for an endpoint looks whether its client is still there.
const TICK: Duration = Duration::from_millis(250);
/// How long a request waits for the verdict of another one that probes an endpoint after its rest.
const PROBE_WAIT: Duration = Duration::from_secs(1);

/// Forwards requests to the endpoints.
pub struct Proxy {
    balancer: Arc<Balancer<Member>>,
    /// The endpoints in force. A reload leaves those be that it does not change, with their connections.
    members: Mutex<Vec<Arc<Member>>>,
    metrics: Arc<Metrics>,
    roots: RootCerts,
}

impl Proxy {
    pub fn new(config: &Config, roots: RootCerts) -> Proxy {
        let metrics = Metrics::new(Instant::now(), SystemTime::now());
        let proxy = Proxy {
            balancer: Balancer::new(Vec::new()),
            members: Mutex::default(),
            metrics,
            roots,
        };
        proxy.reconfigure(config);
        proxy
    }

    /// Puts a new configuration in force. Requests that are under way are not disturbed.
    pub fn reconfigure(&self, config: &Config) {
        let mut members = self.members.lock().unwrap_or_else(PoisonError::into_inner);
        let old = mem::take(&mut *members);
        let member = |endpoint: &Endpoint| {
            let same = old
                .iter()
                .find(|member| member.upstream.fits(endpoint, config));
            same.cloned().unwrap_or_else(|| {
                Arc::new(Member {
                    upstream: Upstream::new(endpoint, config, &self.roots),
                    counters: self.metrics.endpoint(&endpoint.name),
                })
            })
        };
        *members = config.endpoints.iter().map(member).collect();
        let seat = |(endpoint, member): (&Endpoint, &Arc<Member>)| Seat {
            name: endpoint.name.clone(),
            base_url: endpoint.base_url.to_string(),
            weight: endpoint.weight,
            max_concurrent: endpoint.max_concurrent,
            upstream: member.clone(),
        };
        self.balancer
            .reconfigure(config.endpoints.iter().zip(&*members).map(seat).collect());
    }

    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// How the endpoints stand.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        self.balancer.snapshot(now)
    }

    /// Serves one request to its end. Returns whether its connection may serve another one.
    pub fn serve(&self, exchange: &mut Exchange, config: &Config) -> bool {
        let request = mem::take(&mut exchange.request);
        let mut reply = Reply::new(exchange, &request, config);
        let found = self.find(&request, exchange, config, &mut reply);
        // From here on nothing is sent again.
        drop(request);
        match found {
            Found::Answer(answer, trial) => reply.pass(answer, trial),
            Found::Stream(parts, stream, trial) => reply.pass_stream(&parts, stream, trial),
            Found::Failure(failure) => reply.pass_failure(&failure),
            Found::Error(status, message) => reply.error(status, &message),
            Found::ClientGone => reply.client_gone(),
        }
        reply.finish(&self.metrics)
    }

    /// Asks one endpoint after the other until one gives an answer that is the client's.
    fn find(
        &self,
        request: &Request<Body>,
        exchange: &Exchange,
        config: &Config,
        reply: &mut Reply,
    ) -> Found {
        let target = request
            .uri()
            .path_and_query()
            .expect("the front gives every request a path");
        let Route::Forward(forward) = route(request.method(), target.path()) else {
            unreachable!("the server submits what is to be forwarded")
        };
        let headers = headers::to_upstream(request.headers());
        let call = Outgoing {
            method: request.method(),
            target,
            headers: &headers,
            body: &request.body().bytes,
        };
        let mut tried = Vec::new();
        let mut best: Option<Failure> = None;
        let mut last_words = String::new();
        loop {
            let lease = match self.pick(request, exchange, config, forward, &tried) {
                Ok(Some(lease)) => lease,
                Ok(None) => break,
                Err(found) => return *found,
            };
            tried.push(lease.id());
            reply.attempts = tried.len();
            match attempt(&call, Trial::new(lease), exchange, config, forward.may_rest) {
                Attempt::Found(found) => return *found,
                Attempt::Failed(_, words) if !config.failover => {
                    return Found::Error(StatusCode::INTERNAL_SERVER_ERROR, words);
                }
                Attempt::Failed(failure, words) => {
                    let rank = |failure: &Failure| failover::rank(failure.parts.status.as_u16());
                    if failure.as_ref().map(rank) > best.as_ref().map(rank) {
                        best = failure;
                    }
                    last_words = words;
                }
            }
        }
        match best {
            Some(failure) => Found::Failure(failure),
            None => {
                let message = format!(
                    "no endpoint gave an answer ({} tried); the last one: {last_words}",
                    tried.len()
                );
                Found::Error(StatusCode::INTERNAL_SERVER_ERROR, message)
            }
        }
    }

    /// The next endpoint for a request; `None` when all were tried. Waits where they are busy.
    fn pick(
        &self,
        request: &Request<Body>,
        exchange: &Exchange,
        config: &Config,
        forward: Forward,
        tried: &[SeatId],
    ) -> Result<Option<Lease<Member>>, Box<Found>> {
        let session = request
            .headers()
            .get(SESSION_ID)
            .and_then(|id| id.to_str().ok());
        let want = match (forward.first_only, config.affinity, session) {
            (true, ..) => Want::First,
            (false, Affinity::Session, Some(id)) => Want::Session(id),
            _ => Want::Any,
        };
        let first = Instant::now();
        let mut now = first;
        loop {
            let waited = now - first;
            match self
                .balancer
                .pick(now, want, tried, waited < PROBE_WAIT.min(config.queue_wait))
            {
                Pick::Go(lease) => return Ok(Some(lease)),
                Pick::Exhausted => return Ok(None),
                Pick::Wait if exchange.abort.is_aborted() => {
                    return Err(Box::new(Found::ClientGone));
                }
                Pick::Wait if waited >= config.queue_wait => {
                    let message = "every endpoint that is left is at its maxConcurrent; try again";
                    return Err(Box::new(Found::Error(
                        StatusCode::SERVICE_UNAVAILABLE,
                        message.into(),
                    )));
                }
                Pick::Wait => self.balancer.wait(TICK.min(config.queue_wait - waited)),
            }
            now = Instant::now();
        }
    }
}

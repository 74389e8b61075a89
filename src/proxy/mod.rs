//! One request, from the first endpoint that is asked to the answer's last byte.
//!
//! One loop picks, sends, judges and delivers; what it calls runs straight through. Which endpoint is next is
//! `balancer`'s to say, what an outcome means is `failover`'s.

mod attempt;
pub mod failover;
mod relay;
mod reply;
mod stream;

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http::{Request, StatusCode};

use crate::api::headers::{self, SESSION_ID};
use crate::balancer::{Balancer, Lease, Pick, Seat, SeatId, Snapshot, Want};
use crate::config::{Affinity, Config, Endpoint};
use crate::downstream::{After, Body, Exchange};
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Outgoing, Surroundings, Upstream};
use attempt::{Attempt, Delivery, FailedAnswer, Step, Target};
use reply::Reply;

/// How often a request that waits for an endpoint looks whether its client is still there.
const TICK: Duration = Duration::from_millis(250);
/// How long a request waits for the verdict of another one that probes an endpoint after its rest.
const PROBE_WAIT: Duration = Duration::from_secs(1);

/// Forwards requests to the endpoints.
pub struct Proxy {
    balancer: Arc<Balancer<Target>>,
    /// The endpoints in force. A reload leaves those be that it does not change, with their connections.
    targets: Mutex<Vec<Arc<Target>>>,
    metrics: Arc<Metrics>,
    surroundings: Surroundings,
}

impl Proxy {
    pub fn new(config: &Config, metrics: Arc<Metrics>, surroundings: Surroundings) -> Proxy {
        let proxy = Proxy {
            balancer: Balancer::new(Vec::new()),
            targets: Mutex::default(),
            metrics,
            surroundings,
        };
        proxy.reconfigure(config);
        proxy
    }

    /// Puts a new configuration in force. Requests that are under way are not disturbed.
    pub fn reconfigure(&self, config: &Config) {
        let mut members = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let old = mem::take(&mut *members);
        let member = |endpoint: &Endpoint| {
            let same = old
                .iter()
                .find(|member| member.upstream.fits(endpoint, config));
            same.cloned().unwrap_or_else(|| {
                Arc::new(Target {
                    upstream: Upstream::new(endpoint, config, &self.surroundings),
                    counters: self.metrics.endpoint(&endpoint.name),
                })
            })
        };
        *members = config.endpoints.iter().map(member).collect();
        let seat = |(endpoint, member): (&Endpoint, &Arc<Target>)| Seat {
            name: endpoint.name.clone(),
            base_url: endpoint.base_url.to_string(),
            weight: endpoint.weight,
            max_concurrent: endpoint.max_concurrent,
            upstream: member.clone(),
        };
        self.balancer
            .reconfigure(config.endpoints.iter().zip(&*members).map(seat).collect());
    }

    /// How the endpoints stand.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        self.balancer.snapshot(now)
    }

    /// Serves one request to its end. Answers what is to become of its connection.
    pub fn serve(&self, mut exchange: Exchange) -> After {
        let request = mem::take(&mut exchange.request);
        let permit = exchange.permit.take();
        let mut reply = Reply::new(&exchange, &request, permit);
        let delivery = self.find(&request, &exchange, &mut reply.record.attempts);
        // From here on nothing is sent again.
        drop(request);
        match delivery {
            Delivery::Answer(answer, attempt) => reply.pass(answer, attempt),
            Delivery::Stream(parts, stream, attempt) => reply.pass_stream(&parts, stream, attempt),
            Delivery::Failed(failed) => reply.pass_failed(&failed),
            Delivery::Error(status, message) => reply.error(status, &message),
            Delivery::ClientGone => {}
        }
        reply.finish(&self.metrics)
    }

    /// Asks one endpoint after the other until one gives an answer that is the client's. Counts them in `attempts`.
    fn find(&self, request: &Request<Body>, exchange: &Exchange, attempts: &mut usize) -> Delivery {
        let config = &*exchange.admission.config;
        let target = request
            .uri()
            .path_and_query()
            .expect("the listener gives every request a path");
        let headers = headers::to_upstream(request.headers());
        let call = Outgoing {
            method: request.method(),
            target,
            headers: &headers,
            body: &request.body().bytes,
        };
        let mut tried = Vec::new();
        let mut best: Option<FailedAnswer> = None;
        let mut last_reason = String::new();
        loop {
            let lease = match self.pick(request, exchange, &tried) {
                Ok(Some(lease)) => lease,
                Ok(None) => break,
                Err(delivery) => return *delivery,
            };
            tried.push(lease.id());
            *attempts = tried.len();
            match attempt::run(&call, Attempt::new(lease), exchange) {
                Step::Deliver(delivery) => return *delivery,
                Step::TryNext(_, reason) if !config.failover => {
                    return Delivery::Error(StatusCode::INTERNAL_SERVER_ERROR, reason);
                }
                Step::TryNext(failed, reason) => {
                    let rank = |failed: &FailedAnswer| failover::rank(failed.parts.status.as_u16());
                    if failed.as_ref().map(rank) > best.as_ref().map(rank) {
                        best = failed;
                    }
                    last_reason = reason;
                }
            }
        }
        match best {
            Some(failed) => Delivery::Failed(failed),
            None => {
                let message = format!(
                    "no endpoint gave an answer ({} tried); the last one: {last_reason}",
                    tried.len()
                );
                Delivery::Error(StatusCode::INTERNAL_SERVER_ERROR, message)
            }
        }
    }

    /// The next endpoint for a request; `None` when all were tried. Waits where they are busy.
    fn pick(
        &self,
        request: &Request<Body>,
        exchange: &Exchange,
        tried: &[SeatId],
    ) -> Result<Option<Lease<Target>>, Box<Delivery>> {
        let config = &exchange.admission.config;
        let session = request
            .headers()
            .get(SESSION_ID)
            .and_then(|id| id.to_str().ok());
        let want = match (
            exchange.admission.route.first_only,
            config.affinity,
            session,
        ) {
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
                    return Err(Box::new(Delivery::ClientGone));
                }
                Pick::Wait if waited >= config.queue_wait => {
                    let message = "every endpoint that is left is at its maxConcurrent; try again";
                    return Err(Box::new(Delivery::Error(
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

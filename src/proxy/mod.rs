//! One request, from the first endpoint that is asked to the answer's last byte.
//!
//! One loop picks, sends, judges and delivers; what it calls runs straight through. Which endpoint is next is
//! `balancer`'s to say, what an outcome means is `failover`'s.
//!
//! - `subject`: the request's model and conversation. `step`: one attempt's run; `attempt`: its account; `reading`: what its
//!   answer says.
//! - `best`: which of several failed answers the client gets. `reply`, `relay`, `stream`: an answer on its way to the client.
//! - `models`: what `GET /v1/models` answers where endpoints differ. `checks`: whether an endpoint is well again.

mod attempt;
mod best;
mod checks;
mod delivery;
pub mod failover;
mod looked;
mod models;
mod reading;
mod relay;
mod reply;
mod step;
mod stream;
mod subject;

use std::mem;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use http::{Request, StatusCode};

use crate::balancer::{self, Balancer, Lease, Member, Pick, Rules, Search, Snapshot, Want};
use crate::config::{Config, Endpoint};
use crate::downstream::{After, Body, Exchange};
use crate::telemetry::access_log::Record;
use crate::telemetry::metrics::Metrics;
use crate::upstream::{Outgoing, Surroundings, Upstream};
use attempt::{Attempt, Target};
use best::Best;
use delivery::{Delivery, OwnError, Suspect};
use models::Catalogue;
use reply::Reply;
use step::Step;
use subject::Subject;

/// How often a request that waits for an endpoint looks whether its client is still there.
const TICK: Duration = Duration::from_millis(250);
/// How long a request waits for the verdict about an endpoint that is being tried or checked, rather than be sent to one on cooldown.
const PATIENCE: Duration = Duration::from_secs(1);

/// Forwards requests to the endpoints.
pub struct Proxy {
    balancer: Arc<Balancer<Target>>,
    /// The endpoints in force. A reload leaves those be that it does not change, with their connections.
    targets: Mutex<Vec<Arc<Target>>>,
    catalogue: Catalogue,
    metrics: Arc<Metrics>,
    surroundings: Surroundings,
}

impl Proxy {
    /// Starts the thread that checks endpoints whose cooldown is over.
    ///
    /// # Errors
    /// No thread can be had.
    pub fn start(
        config: &Config,
        metrics: Arc<Metrics>,
        surroundings: Surroundings,
    ) -> std::io::Result<Proxy> {
        let proxy = Proxy {
            balancer: Balancer::new(Vec::new(), rules(config), seed()),
            targets: Mutex::default(),
            catalogue: Catalogue::default(),
            metrics,
            surroundings,
        };
        proxy.reconfigure(config);
        checks::start(proxy.balancer.clone())?;
        Ok(proxy)
    }

    /// Puts a new configuration in force. Requests that are under way are not disturbed.
    pub fn reconfigure(&self, config: &Config) {
        let clients: Vec<&str> = config.clients.iter().map(|client| &*client.name).collect();
        self.metrics.expect(config.endpoints.len(), &clients);
        let mut targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let old = mem::take(&mut *targets);
        let target = |endpoint: &Endpoint| {
            let same = old
                .iter()
                .find(|target| target.upstream.fits(endpoint, config));
            same.cloned().unwrap_or_else(|| {
                Arc::new(Target {
                    upstream: Upstream::new(endpoint, config, &self.surroundings),
                    counters: self.metrics.endpoint(&endpoint.name),
                })
            })
        };
        *targets = config.endpoints.iter().map(target).collect();
        let members = config.endpoints.iter().zip(&*targets);
        let members = members.map(|(endpoint, target)| member(endpoint, target.clone()));
        self.balancer.reconfigure(members.collect(), rules(config));
        self.catalogue.forget();
    }

    /// How the endpoints stand.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        self.balancer.snapshot(now)
    }

    /// Serves one request to its end. Answers what is to become of its connection.
    pub fn serve(&self, mut exchange: Exchange) -> After {
        let request = mem::take(&mut exchange.request);
        let permit = exchange.permit.take();
        let mut reply = Reply::new(&exchange, &request, permit, &self.metrics);
        let delivery = self.find(&request, &exchange, &mut reply.record);
        // From here on nothing is sent again.
        drop(request);
        match delivery {
            Delivery::Answer(parts, body, attempt) => reply.pass(&parts, body, attempt),
            Delivery::Stream(parts, stream, attempt) => reply.pass_stream(&parts, stream, attempt),
            Delivery::Failed(failed) => reply.pass_failed(&failed),
            Delivery::Own(json) => reply.own(json),
            Delivery::Error(error) => reply.error(&error),
            Delivery::ClientGone => {}
        }
        reply.finish()
    }

    /// Asks one endpoint after the other until one gives an answer that is the client's. Notes them in `record`.
    fn find(&self, request: &Request<Body>, exchange: &Exchange, record: &mut Record) -> Delivery {
        let config = &*exchange.admission.config;
        let target = request
            .uri()
            .path_and_query()
            .expect("the listener gives every request a path");
        let call = Outgoing {
            method: request.method(),
            target,
            headers: request.headers(),
            body: &request.body().bytes,
        };
        if let Some(models) = self.models(&call) {
            return Delivery::Own(models);
        }
        let subject = Subject::of(request, exchange);
        let needs_model = self.balancer.needs_model(Instant::now());
        let mut search = self.balancer.search(Want {
            conversation: subject.conversation,
            model: if needs_model { subject.model() } else { None },
            first_only: subject.first_only,
        });
        let mut best = Best::default();
        let mut suspects = Vec::new();
        loop {
            let lease = match self.next(&mut search, &subject, exchange) {
                Ok(Some(lease)) => lease,
                Ok(None) => break,
                Err(delivery) => return *delivery,
            };
            record.attempts = search.attempts();
            record.asked = Some(lease.upstream.name().to_owned());
            record.why = Some(match record.attempts {
                _ if lease.is_last_resort() => "last_resort",
                1 => subject.why(),
                _ => "failover",
            });
            match step::run(&call, &subject, Attempt::new(lease), exchange) {
                Step::Deliver(delivery) => {
                    self.condemn(&suspects, &delivery, &subject);
                    return *delivery;
                }
                Step::TryNext(failed) if !config.failover => {
                    return Delivery::error(StatusCode::INTERNAL_SERVER_ERROR, failed.reason);
                }
                Step::TryNext(failed) => {
                    suspects.extend(failed.suspect);
                    if let Some(model) = subject.known_model() {
                        search.name_model(model);
                    }
                    best.note(failed.reason, failed.answer);
                }
            }
        }
        best.delivery(search.retry_in(Instant::now()))
    }

    /// The next endpoint for a request; `None` when all were tried. Waits where they are busy.
    fn next(
        &self,
        search: &mut Search<'_, Target>,
        subject: &Subject,
        exchange: &Exchange,
    ) -> Result<Option<Lease<Target>>, Box<Delivery>> {
        let limit = exchange.admission.config.queue_wait;
        let overloaded =
            |message: &str| Box::new(Delivery::error(StatusCode::SERVICE_UNAVAILABLE, message));
        let begun = Instant::now();
        loop {
            let now = Instant::now();
            let left = limit.saturating_sub(now - begun);
            match search.pick(now) {
                Pick::Go(lease) => return Ok(Some(lease)),
                Pick::Exhausted => return Ok(None),
                Pick::Wait if exchange.abort.is_aborted() => {
                    return Err(Box::new(step::aborted(exchange)));
                }
                Pick::Wait if left.is_zero() => {
                    return Err(overloaded(
                        "every endpoint that is left is at its maxConcurrent; try again",
                    ));
                }
                Pick::Wait => search.wait(TICK.min(left)),
                Pick::TooManyWait => {
                    return Err(overloaded(
                        "every endpoint that is left is at its maxConcurrent, and as many requests as may wait for one do; try again",
                    ));
                }
                Pick::RateLimited { retry_in } => {
                    return Err(Box::new(Delivery::Error(rate_limited(retry_in))));
                }
                Pick::Unserved => {
                    let model = subject.model().unwrap_or_default();
                    let model: String = model.chars().take(100).collect();
                    return Err(Box::new(Delivery::error(
                        StatusCode::NOT_FOUND,
                        format!("no endpoint here serves the model {model:?}"),
                    )));
                }
            }
        }
    }

    /// Puts those on cooldown that refused what another endpoint now answers well.
    fn condemn(&self, suspects: &[Suspect], delivery: &Delivery, subject: &Subject) {
        let status = match delivery {
            Delivery::Answer(parts, ..) | Delivery::Stream(parts, ..) => parts.status,
            _ => return,
        };
        if !status.is_success() || !subject.is_message {
            return;
        }
        for suspect in suspects {
            let cooldown = self.balancer.cool_down(
                suspect.member,
                Instant::now(),
                suspect.cause,
                suspect.cooldown,
            );
            if let Some(cooldown) = cooldown {
                let counters = self.metrics.endpoint(&suspect.endpoint);
                counters.cooled_down(suspect.cause);
                let answer = "another endpoint answers what it refused";
                counters.tell_cooldown(SystemTime::now(), suspect.cause, cooldown, answer);
                let seconds = cooldown.as_secs_f64();
                log::error!(endpoint = suspect.endpoint.as_str(), cause = suspect.cause, cooldown_seconds = seconds;
                    "an endpoint refused a request (403) that another one answers: look at its token and account");
            }
        }
    }
}

/// An endpoint, as the balancer knows it.
fn member(endpoint: &Endpoint, target: Arc<Target>) -> Member<Target> {
    let serves = endpoint.models.clone().map(|models| -> balancer::Serves {
        Arc::new(move |model| models.serves(model).is_some())
    });
    Member {
        name: endpoint.name.clone(),
        base_url: endpoint.base_url.to_string(),
        token_mark: balancer::hash(endpoint.auth_token.expose()),
        weight: endpoint.weight,
        max_concurrent: endpoint.max_concurrent,
        enabled: endpoint.enabled,
        tier: endpoint.tier,
        serves,
        target,
    }
}

fn rules(config: &Config) -> Rules {
    Rules {
        failures: config.failures,
        cooldown: config.cooldown,
        max_cooldown: config.max_cooldown,
        check: config.check,
        // Those who wait for an endpoint keep at most half of the workers from others.
        max_waiting: (config.workers / 2).max(1),
        patience: PATIENCE.min(config.queue_wait),
    }
}

fn rate_limited(retry_in: Duration) -> OwnError {
    let seconds = retry_in.as_secs_f64().ceil();
    OwnError {
        status: StatusCode::TOO_MANY_REQUESTS,
        message: format!("every endpoint is rate limited; ask again in {seconds} s"),
        retry_after: Some(retry_in),
    }
}

/// So that several balancers that were started together do not do everything at the same moment.
fn seed() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let now = now.map_or(0, |now| now.subsec_nanos());
    u64::from(std::process::id()) << 32 | u64::from(now)
}

//! What the page shows, as JSON: how it goes for the clients, which endpoint is not well and why, who asks, and what happened.

use std::time::{Duration, SystemTime};

use humantime::format_rfc3339_millis;
use serde::Serialize;

use super::endpoints::{EndpointHealth, Standing};
use super::{VERSION, View, status};
use crate::api::usage::Usage;
use crate::balancer::EndpointState;
use crate::telemetry::events::Event;
use crate::telemetry::history::{Answers, Attempts, HOUR, Requests, Span, grouped};

/// The figures that are called recent are those of the last ten minutes.
const RECENT: Duration = Duration::from_secs(600);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Overview<'a> {
    status: &'static str,
    version: &'static str,
    /// Milliseconds since 1970: the reader's clock may be another one.
    now: u64,
    uptime_seconds: u64,
    current_endpoint: usize,
    in_flight: usize,
    queued: usize,
    queue: usize,
    workers: usize,
    recent_seconds: u64,
    recent: Recent,
    /// Length of the history's steps, which end with the one that is still being filled.
    step_seconds: u64,
    /// Of the steps of single endpoints and clients.
    group_seconds: u64,
    /// False: single endpoints and clients have no day, they are too many.
    keeps_day: bool,
    history: History,
    endpoints: Vec<EndpointOverview<'a>>,
    clients: Vec<ClientOverview>,
    /// The newest first.
    events: Vec<EventOverview>,
    /// Forwarded requests by the status that the client got, since the start.
    answers: Vec<(u16, u64)>,
    refused: Vec<(&'static str, u64)>,
    good_reloads: u64,
    bad_reloads: u64,
    bytes_in: u64,
    bytes_out: u64,
}

/// What clients got. Quantiles are of the times to the first byte of good answers, in milliseconds.
#[derive(Serialize)]
struct Recent {
    answers: u32,
    failed: u32,
    saved: u32,
    left: u32,
    p50: Option<f64>,
    p95: Option<f64>,
}

/// The same step by step.
#[derive(Serialize)]
struct History {
    answers: Vec<u32>,
    failed: Vec<u32>,
    saved: Vec<u32>,
    p50: Vec<Option<f64>>,
    p95: Vec<Option<f64>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EndpointOverview<'a> {
    #[serde(flatten)]
    health: EndpointHealth<'a>,
    #[serde(flatten)]
    standing: Standing<'a>,
    #[serde(flatten)]
    tokens: Tokens,
    recent: RecentAttempts,
    /// Attempts in each group of steps; empty where there was none in all of them.
    attempts: Vec<u32>,
    failed: Vec<u32>,
}

#[derive(Serialize)]
struct RecentAttempts {
    attempts: u32,
    failed: u32,
    p50: Option<f64>,
    p95: Option<f64>,
}

/// Since the start.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Tokens {
    input_tokens: u64,
    output_tokens: u64,
    cache_read_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ClientOverview {
    /// Empty where no tokens are asked for.
    name: String,
    /// Since the start.
    all_requests: u64,
    #[serde(flatten)]
    tokens: Tokens,
    requests: Vec<u32>,
    failed: Vec<u32>,
}

#[derive(Serialize)]
struct EventOverview {
    kind: &'static str,
    /// Milliseconds since 1970.
    first: u64,
    last: u64,
    count: u64,
    endpoint: Option<String>,
    cause: &'static str,
    text: String,
}

impl Overview<'_> {
    pub fn of<'a>(view: &'a View, span: Span) -> Overview<'a> {
        let (metrics, load) = (view.metrics, view.load);
        let [good_reloads, bad_reloads] = metrics.reloads();
        let [bytes_in, bytes_out] = metrics.bytes();
        let step = span.steps().0;
        let endpoints = (1..).zip(&view.snapshot.endpoints);
        let clients = metrics.clients();
        Overview {
            status: status(view),
            version: VERSION,
            now: millis(view.time),
            uptime_seconds: metrics.uptime(view.now).as_secs(),
            current_endpoint: view.snapshot.next + 1,
            in_flight: load.in_flight,
            queued: load.queued,
            queue: load.queue,
            workers: load.workers,
            recent_seconds: RECENT.as_secs(),
            recent: Recent::of(&metrics.recent(view.now, recent_steps())),
            step_seconds: step.as_secs(),
            group_seconds: step.as_secs() * group(span) as u64,
            keeps_day: metrics.keeps_day(),
            history: History::of(&metrics.history(view.now, span)),
            endpoints: endpoints
                .map(|(index, endpoint)| EndpointOverview::of(view, span, index, endpoint))
                .collect(),
            clients: clients
                .into_iter()
                .map(|(name, client)| {
                    let history = grouped(&client.history(view.now, span), group(span));
                    let statuses = client.statuses();
                    let counts = statuses.iter().map(|(_, count)| *count);
                    ClientOverview {
                        name,
                        all_requests: counts.fold(0, u64::saturating_add),
                        tokens: client.usage().into(),
                        requests: counts_of(&history, |step: &Requests| step.requests),
                        failed: counts_of(&history, |step: &Requests| step.failed),
                    }
                })
                .collect(),
            events: metrics
                .events()
                .newest_first()
                .into_iter()
                .map(EventOverview::of)
                .collect(),
            answers: metrics.statuses(),
            refused: metrics.refusals(),
            good_reloads,
            bad_reloads,
            bytes_in,
            bytes_out,
        }
    }
}

impl Recent {
    fn of(answers: &Answers) -> Recent {
        Recent {
            answers: answers.answers,
            failed: answers.failed,
            saved: answers.saved,
            left: answers.left,
            p50: answers.first_byte.millis(0.5),
            p95: answers.first_byte.millis(0.95),
        }
    }
}

impl History {
    fn of(steps: &[Answers]) -> History {
        let quantile = |part| -> Vec<_> {
            steps
                .iter()
                .map(|step| step.first_byte.millis(part))
                .collect()
        };
        History {
            answers: counts_of(steps, |step| step.answers),
            failed: counts_of(steps, |step| step.failed),
            saved: counts_of(steps, |step| step.saved),
            p50: quantile(0.5),
            p95: quantile(0.95),
        }
    }
}

impl EndpointOverview<'_> {
    fn of<'a>(
        view: &'a View,
        span: Span,
        index: usize,
        endpoint: &'a EndpointState,
    ) -> EndpointOverview<'a> {
        let counters = view.metrics.endpoint(&endpoint.name);
        let recent = counters.recent(view.now, recent_steps());
        let history = grouped(&counters.history(view.now, span), group(span));
        EndpointOverview {
            health: EndpointHealth::of(index, endpoint),
            standing: Standing::of(view.now, endpoint),
            tokens: counters.usage().into(),
            recent: RecentAttempts {
                attempts: recent.attempts,
                failed: recent.failed,
                p50: recent.first_byte.millis(0.5),
                p95: recent.first_byte.millis(0.95),
            },
            attempts: counts_of(&history, |step: &Attempts| step.attempts),
            failed: counts_of(&history, |step: &Attempts| step.failed),
        }
    }
}

impl EventOverview {
    fn of(event: Event) -> EventOverview {
        EventOverview {
            kind: event.kind.word(),
            first: millis(event.first),
            last: millis(event.last),
            count: event.count,
            endpoint: event.endpoint,
            cause: event.cause,
            text: event.text,
        }
    }
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Tokens {
        Tokens {
            input_tokens: usage.input,
            output_tokens: usage.output,
            cache_read_tokens: usage.cache_read,
            cache_write_tokens: usage.cache_write,
        }
    }
}

/// RFC 3339, in UTC.
pub fn rfc3339(time: SystemTime) -> String {
    format_rfc3339_millis(time).to_string()
}

fn recent_steps() -> usize {
    (RECENT.as_secs() / HOUR.0.as_secs()) as usize
}

/// Steps of a span that single endpoints and clients show as one: an hour in minutes, a day in thirds of an hour.
fn group(span: Span) -> usize {
    match span {
        Span::Hour => 6,
        Span::Day => 4,
    }
}

fn counts_of<S>(steps: &[S], count: impl Fn(&S) -> u32) -> Vec<u32> {
    steps.iter().map(count).collect()
}

fn millis(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH);
    since.unwrap_or_default().as_millis() as u64
}

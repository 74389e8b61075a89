//! The answers that tell how things stand: `/health`, `/metrics`, and the page that shows them.
//!
//! No I/O and no clock in here: a `View` holds the moment and all that is known of it. The page is the same for
//! everybody and holds no data; it asks `/metrics` for JSON, which needs a client token where one is set.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use http::Response;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use humantime::format_rfc3339_millis;
use serde::Serialize;
use serde_json::json;

use crate::balancer::{self, EndpointState, Snapshot};
use crate::telemetry::metrics::{Load, Metrics, SLOT, Slot};

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// How things stand at one moment.
pub struct View<'a> {
    pub metrics: &'a Arc<Metrics>,
    pub snapshot: Snapshot,
    pub load: Load,
    /// The same moment on both clocks.
    pub now: Instant,
    pub time: SystemTime,
}

/// `GET /health`. `admitted`: the caller may see more than that we are here.
pub fn health(view: &View, admitted: bool) -> Response<Vec<u8>> {
    let timestamp = format_rfc3339_millis(view.time).to_string();
    if !admitted {
        return json_answer(&json!({ "status": status(view), "timestamp": timestamp }));
    }
    json_answer(&Health {
        status: status(view),
        timestamp,
        version: VERSION,
        uptime_seconds: view.metrics.uptime(view.now).as_secs(),
        endpoints: endpoints(&view.snapshot).collect(),
        current_endpoint: view.snapshot.next + 1,
        in_flight: view.load.in_flight,
        queued: view.load.queued,
        workers: view.load.workers,
    })
}

/// `GET /metrics`: text for Prometheus, or JSON for the page, where `accept` names it.
pub fn metrics(view: View, asked: &HeaderMap) -> Response<Vec<u8>> {
    let accepts = asked
        .get_all(header::ACCEPT)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    let mut answer = if accepts
        .into_iter()
        .any(|value| value.contains("application/json"))
    {
        json_answer(&overview(&view))
    } else {
        let text = view.metrics.text(&view.snapshot, view.load);
        answer(
            "text/plain; version=0.0.4; charset=utf-8",
            "no-store",
            text.into_bytes(),
        )
    };
    answer
        .headers_mut()
        .insert(header::VARY, HeaderValue::from_static("accept"));
    answer
}

/// `GET /`.
pub fn page() -> Response<Vec<u8>> {
    let mut answer = answer(
        "text/html; charset=utf-8",
        "no-cache",
        PAGE.as_bytes().to_vec(),
    );
    let headers = answer.headers_mut();
    for (name, value) in PAGE_HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    answer
}

const PAGE: &str = include_str!("page.html");

/// Only the page's own style and script run, which the browser knows by their hashes (a test below tells the right ones
/// when the page was changed). It talks to nobody but us, goes into no frame, and makes no HTML from text.
const PAGE_HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; \
         style-src 'sha256-uvRMCg2dfI3fL+twpgrbQSncN2nbUGhS7GNCg2NRycU='; \
         script-src 'sha256-iMRqy6OqJSo3BbnezFlEaOOGA1NJCjtVC0kdSp4u4DQ='; \
         connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
         require-trusted-types-for 'script'; trusted-types 'none'",
    ),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
];

/// The contract's answer, in its order.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Health<'a> {
    status: &'static str,
    timestamp: String,
    version: &'static str,
    uptime_seconds: u64,
    endpoints: Vec<EndpointHealth<'a>>,
    current_endpoint: usize,
    in_flight: usize,
    queued: usize,
    workers: usize,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EndpointHealth<'a> {
    index: usize,
    name: &'a str,
    #[serde(rename = "baseURL")]
    base_url: &'a str,
    /// `Config::load` takes none without one.
    has_token: bool,
    tier: u8,
    /// Told only where it gets nothing, as the configuration says.
    #[serde(skip_serializing_if = "Option::is_none")]
    enabled: Option<bool>,
    state: &'static str,
    resting_seconds: u64,
    in_flight: u32,
    requests: u64,
    failures: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    last_error: Option<LastError>,
}

#[derive(Serialize)]
struct LastError {
    at: String,
    cause: &'static str,
}

/// What the page shows.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Overview<'a> {
    status: &'static str,
    version: &'static str,
    uptime_seconds: u64,
    current_endpoint: usize,
    in_flight: usize,
    queued: usize,
    queue: usize,
    workers: usize,
    /// Forwarded requests by the status that the client got.
    answers: Vec<(u16, u64)>,
    refused: Vec<(&'static str, u64)>,
    good_reloads: u64,
    bad_reloads: u64,
    bytes_in: u64,
    bytes_out: u64,
    slot_seconds: u64,
    endpoints: Vec<EndpointOverview<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct EndpointOverview<'a> {
    #[serde(flatten)]
    health: EndpointHealth<'a>,
    cause: Option<&'static str>,
    input_tokens: u64,
    output_tokens: u64,
    cache_read_tokens: u64,
    cache_write_tokens: u64,
    recent: Recent,
}

/// The last ten minutes, oldest slot first.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Recent {
    requests: Vec<u32>,
    failures: Vec<u32>,
    answers: Vec<u32>,
    /// The mean of the answers' times to their first byte, in milliseconds; `null` where there was none.
    first_byte_ms: Vec<Option<f64>>,
}

fn status(view: &View) -> &'static str {
    match (view.snapshot.none_well, view.snapshot.some_unwell) {
        _ if view.load.draining => "draining",
        (true, _) => "failing",
        (false, true) => "degraded",
        (false, false) => "healthy",
    }
}

fn endpoints(snapshot: &Snapshot) -> impl Iterator<Item = EndpointHealth<'_>> {
    (1..)
        .zip(&snapshot.endpoints)
        .map(|(index, endpoint)| EndpointHealth {
            index,
            name: &endpoint.name,
            base_url: &endpoint.base_url,
            has_token: true,
            tier: endpoint.tier,
            enabled: (!endpoint.enabled).then_some(false),
            state: endpoint.state,
            resting_seconds: whole_seconds(endpoint),
            in_flight: endpoint.in_flight,
            requests: endpoint.requests,
            failures: endpoint.failures,
            last_error: endpoint.last_error.map(last_error),
        })
}

fn last_error(error: balancer::LastError) -> LastError {
    LastError {
        at: format_rfc3339_millis(error.at).to_string(),
        cause: error.cause,
    }
}

/// Rounded up: one on cooldown never shows 0.
fn whole_seconds(endpoint: &EndpointState) -> u64 {
    endpoint.cooldown.as_secs() + u64::from(endpoint.cooldown.subsec_nanos() > 0)
}

fn overview<'a>(view: &'a View) -> Overview<'a> {
    let metrics = view.metrics;
    let [good_reloads, bad_reloads] = metrics.reloads();
    let [bytes_in, bytes_out] = metrics.bytes();
    let endpoints =
        endpoints(&view.snapshot)
            .zip(&view.snapshot.endpoints)
            .map(|(health, endpoint)| {
                let counters = metrics.endpoint(&endpoint.name);
                let usage = counters.usage();
                EndpointOverview {
                    health,
                    cause: endpoint.cause,
                    input_tokens: usage.input,
                    output_tokens: usage.output,
                    cache_read_tokens: usage.cache_read,
                    cache_write_tokens: usage.cache_write,
                    recent: recent(&counters.recent(view.now)),
                }
            });
    Overview {
        status: status(view),
        version: VERSION,
        uptime_seconds: metrics.uptime(view.now).as_secs(),
        current_endpoint: view.snapshot.next + 1,
        in_flight: view.load.in_flight,
        queued: view.load.queued,
        queue: view.load.queue,
        workers: view.load.workers,
        answers: metrics.statuses(),
        refused: metrics.refusals(),
        good_reloads,
        bad_reloads,
        bytes_in,
        bytes_out,
        slot_seconds: SLOT.as_secs(),
        endpoints: endpoints.collect(),
    }
}

fn recent(slots: &[Slot]) -> Recent {
    let mean = |slot: &Slot| {
        let mean: Duration = slot.first_bytes.checked_div(slot.answers)?;
        Some((mean.as_secs_f64() * 1e4).round() / 10.0)
    };
    Recent {
        requests: slots.iter().map(|slot| slot.requests).collect(),
        failures: slots.iter().map(|slot| slot.failures).collect(),
        answers: slots.iter().map(|slot| slot.answers).collect(),
        first_byte_ms: slots.iter().map(mean).collect(),
    }
}

fn json_answer(value: &impl Serialize) -> Response<Vec<u8>> {
    let body = serde_json::to_vec(value).expect("our own values are JSON");
    answer("application/json", "no-store", body)
}

fn answer(
    content_type: &'static str,
    cache_control: &'static str,
    body: Vec<u8>,
) -> Response<Vec<u8>> {
    let mut answer = Response::new(body);
    let headers = answer.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(
        header::CACHE_CONTROL,
        HeaderValue::from_static(cache_control),
    );
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    answer
}

#[cfg(test)]
mod tests;

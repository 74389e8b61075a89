//! The answers that tell how things stand: `/health`, `/metrics`, and the page that shows them.
//!
//! No I/O and no clock in here: a `View` holds the moment and all that is known of it. The page is the same for
//! everybody and holds no data; it asks its own path for JSON, which needs a client token where one is set.

mod endpoints;
mod overview;

use std::sync::Arc;
use std::time::{Instant, SystemTime};

use http::Response;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use serde::Serialize;
use serde_json::json;

use crate::balancer::Snapshot;
use crate::telemetry::history::Span;
use crate::telemetry::metrics::{Load, Metrics};
use endpoints::EndpointHealth;
use overview::{Overview, rfc3339};

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
    let timestamp = rfc3339(view.time);
    if !admitted {
        return json_answer(&json!({ "status": status(view), "timestamp": timestamp }));
    }
    json_answer(&Health {
        status: status(view),
        timestamp,
        version: VERSION,
        uptime_seconds: view.metrics.uptime(view.now).as_secs(),
        endpoints: (1..)
            .zip(&view.snapshot.endpoints)
            .map(|(index, endpoint)| EndpointHealth::of(index, endpoint))
            .collect(),
        current_endpoint: view.snapshot.next + 1,
        in_flight: view.load.in_flight,
        queued: view.load.queued,
        workers: view.load.workers,
    })
}

/// `GET /metrics`, for Prometheus.
pub fn metrics(view: &View) -> Response<Vec<u8>> {
    let text = view.metrics.text(&view.snapshot, view.load);
    answer(
        "text/plain; version=0.0.4; charset=utf-8",
        "no-store",
        text.into_bytes(),
    )
}

/// Whether a `GET /` asks for the page's data and not for the page.
pub fn wants_data(asked: &HeaderMap) -> bool {
    let accepts = asked.get_all(header::ACCEPT).into_iter();
    accepts
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.contains("application/json"))
}

/// `GET /` for who wants the data. With `span=day` in the query its history is a day's, else an hour's.
pub fn data(view: &View, query: Option<&str>) -> Response<Vec<u8>> {
    let wants_day = query.is_some_and(|query| query.split('&').any(|part| part == "span=day"));
    let span = if wants_day { Span::Day } else { Span::Hour };
    let mut answer = json_answer(&Overview::of(view, span));
    vary(&mut answer);
    answer
}

/// The page and its data have one address.
fn vary(answer: &mut Response<Vec<u8>>) {
    let headers = answer.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
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
    vary(&mut answer);
    answer
}

const PAGE: &str = include_str!("page.html");

/// Only the page's own style and script run, which the browser knows by their hashes (a test below tells the right ones
/// when the page was changed). It talks to nobody but us, goes into no frame, and makes no HTML from text.
const PAGE_HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; \
         style-src 'sha256-FEJRQW2mJJ16k6H8Vy22+KxBk57RMPjSuuKkikURPxE='; \
         script-src 'sha256-85+eEmcn5FJj2FWV2uEamSKTBuxAR82fSMAhO0yvtU8='; \
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

fn status(view: &View) -> &'static str {
    match (view.snapshot.none_well, view.snapshot.some_unwell) {
        _ if view.load.draining => "draining",
        (true, _) => "failing",
        (false, true) => "degraded",
        (false, false) => "healthy",
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

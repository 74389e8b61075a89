//! The counters and what others know, as Prometheus reads them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::UNIX_EPOCH;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode_registry;
use prometheus_client::encoding::{DescriptorEncoder, EncodeGaugeValue, NoLabelSet};
use prometheus_client::metrics::MetricType::{self, Counter, Gauge};
use prometheus_client::registry::Registry;

use super::counters::{BOUNDS, Histogram};
use super::{Ended, Load, Metrics, TOKENS};
use crate::balancer::{EndpointState, Snapshot};

impl Metrics {
    /// Everything, in Prometheus's text format, version 0.0.4. Endpoints that are not in `snapshot` are left out.
    pub fn text(self: &Arc<Metrics>, snapshot: Snapshot, load: Load) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Scrape {
            metrics: self.clone(),
            snapshot,
            load,
        }));
        let mut text = String::with_capacity(16 << 10);
        encode_registry(&mut text, &registry).expect("a String takes everything");
        text
    }
}

/// One look at everything.
#[derive(Debug)]
struct Scrape {
    metrics: Arc<Metrics>,
    snapshot: Snapshot,
    load: Load,
}

impl Collector for Scrape {
    fn encode(&self, mut encoder: DescriptorEncoder) -> fmt::Result {
        let out = &mut encoder;
        let (metrics, load) = (&*self.metrics, self.load);
        let seats = &self.snapshot.endpoints;
        let endpoints: Vec<_> = seats
            .iter()
            .map(|seat| metrics.endpoint(&seat.name))
            .collect();
        let per_seat = |value: fn(&EndpointState) -> f64| {
            seats
                .iter()
                .map(move |seat| (labels([("endpoint", &seat.name)]), value(seat)))
        };

        let attempts = endpoints.iter().flat_map(|endpoint| {
            let counts = Ended::LABELS.iter().zip(&endpoint.ended);
            counts.map(|(outcome, count)| {
                (
                    labels([("endpoint", &endpoint.name), ("outcome", outcome)]),
                    count.load(Relaxed),
                )
            })
        });
        let help = "Requests sent to an endpoint, by how they ended.";
        family(
            out,
            "claude_loadbalancer_attempts_total",
            help,
            Counter,
            attempts,
        )?;

        let rests = endpoints.iter().flat_map(|endpoint| {
            let counts = endpoint.rests.counts().into_iter();
            counts.map(|(cause, count)| {
                (
                    labels([("endpoint", &endpoint.name), ("cause", &word(cause))]),
                    count,
                )
            })
        });
        family(
            out,
            "claude_loadbalancer_rests_total",
            "Rests that an endpoint was given, by cause.",
            Counter,
            rests,
        )?;

        let tokens = endpoints.iter().flat_map(|endpoint| {
            let sums = TOKENS.iter().zip(&endpoint.tokens);
            sums.map(|(kind, sum)| {
                (
                    labels([("endpoint", &endpoint.name), ("kind", kind)]),
                    sum.load(Relaxed),
                )
            })
        });
        let help = "Tokens that an endpoint's answers name in their usage, by kind.";
        family(
            out,
            "claude_loadbalancer_tokens_total",
            help,
            Counter,
            tokens,
        )?;

        let help = "Requests that an endpoint is working on.";
        let values = per_seat(|seat| seat.in_flight.into());
        family(
            out,
            "claude_loadbalancer_endpoint_in_flight_requests",
            help,
            Gauge,
            values,
        )?;
        let help = "Whether an endpoint is in use (1) or rests (0).";
        let values = per_seat(|seat| f64::from(u8::from(seat.state != "resting")));
        family(out, "claude_loadbalancer_endpoint_up", help, Gauge, values)?;
        let help = "Time until an endpoint's rest is over.";
        family(
            out,
            "claude_loadbalancer_endpoint_resting_seconds",
            help,
            Gauge,
            per_seat(|seat| seat.resting.as_secs_f64()),
        )?;

        let requests = [("forwarded", &metrics.forwarded), ("own", &metrics.own)]
            .into_iter()
            .flat_map(|(by, statuses)| {
                let counts = statuses.counts().into_iter();
                counts.map(move |(status, count)| {
                    (
                        labels([("answer", by), ("code", &status.to_string())]),
                        count,
                    )
                })
            });
        let help = "Requests by the status that the client got; answer: forwarded (or meant to be), or the balancer's own.";
        family(
            out,
            "claude_loadbalancer_requests_total",
            help,
            Counter,
            requests,
        )?;
        let refused = metrics
            .refused
            .counts()
            .into_iter()
            .map(|(cause, count)| (labels([("cause", &word(cause))]), count));
        let help = "Requests that the balancer refused, by cause.";
        family(
            out,
            "claude_loadbalancer_refused_requests_total",
            help,
            Counter,
            refused,
        )?;

        let help = "Time from a forwarded request's arrival to the first byte of its answer.";
        histogram(
            out,
            "claude_loadbalancer_time_to_first_byte_seconds",
            help,
            &metrics.first_byte,
        )?;
        let help = "Time from a forwarded request's arrival to the end of its answer.";
        histogram(
            out,
            "claude_loadbalancer_request_duration_seconds",
            help,
            &metrics.total,
        )?;

        let [bytes_in, bytes_out] = metrics.bytes();
        let help = "Bytes of bodies that clients sent to be forwarded.";
        single(
            out,
            "claude_loadbalancer_received_bytes_total",
            help,
            Counter,
            bytes_in,
        )?;
        let help = "Bytes of answers that were sent for forwarded requests.";
        single(
            out,
            "claude_loadbalancer_sent_bytes_total",
            help,
            Counter,
            bytes_out,
        )?;

        let help = "Requests that wait for a worker.";
        single(
            out,
            "claude_loadbalancer_queued_requests",
            help,
            Gauge,
            load.queued as u64,
        )?;
        single(
            out,
            "claude_loadbalancer_busy_workers",
            "Workers that serve a request.",
            Gauge,
            load.in_flight as u64,
        )?;
        single(
            out,
            "claude_loadbalancer_workers",
            "Workers in all.",
            Gauge,
            load.workers as u64,
        )?;

        let reloads = ["success", "failure"].into_iter().zip(metrics.reloads());
        let reloads = reloads.map(|(result, count)| (labels([("result", result)]), count));
        let help = "Changes of the configuration file that were put in force, or were not.";
        family(
            out,
            "claude_loadbalancer_config_reloads_total",
            help,
            Counter,
            reloads,
        )?;
        let build = [(labels([("version", env!("CARGO_PKG_VERSION"))]), 1u32)];
        family(
            out,
            "claude_loadbalancer_build_info",
            "The running program.",
            Gauge,
            build,
        )?;
        // Its customary name, which has no prefix.
        let started = self
            .metrics
            .started
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64();
        let help = "Start of the process, in seconds since 1970.";
        single(out, "process_start_time_seconds", help, Gauge, started)
    }
}

type Labels = Vec<(&'static str, String)>;

fn labels<const N: usize>(labels: [(&'static str, &str); N]) -> Labels {
    labels.map(|(key, value)| (key, value.to_owned())).into()
}

/// A cause as a label's value.
fn word(cause: &str) -> String {
    cause.replace(' ', "_")
}

fn single(
    out: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    kind: MetricType,
    value: impl EncodeGaugeValue,
) -> fmt::Result {
    family(out, name, help, kind, [(Labels::new(), value)])
}

/// Writes one metric with all its series.
///
/// The library's text is OpenMetrics, where a counter's name has its `_total` in the samples only. `promtool` and every
/// reader of the text format want it in all lines, so the names are given here as they are to appear, and the samples
/// are written as gauges, to whose names nothing is added.
fn family<V: EncodeGaugeValue>(
    out: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    kind: MetricType,
    series: impl IntoIterator<Item = (Labels, V)>,
) -> fmt::Result {
    let mut metric = out.encode_descriptor(name, help, None, kind)?;
    for (labels, value) in series {
        if labels.is_empty() {
            metric.encode_gauge(&value)?;
        } else {
            metric.encode_family(&labels)?.encode_gauge(&value)?;
        }
    }
    Ok(())
}

/// A histogram without labels.
fn histogram(
    out: &mut DescriptorEncoder,
    name: &str,
    help: &str,
    histogram: &Histogram,
) -> fmt::Result {
    let bounds = BOUNDS.into_iter().chain([f64::INFINITY]);
    let buckets: Vec<_> = bounds
        .zip(&histogram.buckets)
        .map(|(bound, count)| (bound, count.load(Relaxed)))
        .collect();
    let count = buckets.iter().map(|(_, count)| count).sum();
    let seconds = histogram.microseconds.load(Relaxed) as f64 / 1e6;
    let mut metric = out.encode_descriptor(name, help, None, MetricType::Histogram)?;
    metric.encode_histogram::<NoLabelSet>(seconds, count, &buckets, None)
}

#[cfg(test)]
mod tests;

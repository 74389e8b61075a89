//! The counters and what others know, as Prometheus reads them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::UNIX_EPOCH;

use super::counters::{BOUNDS, Histogram};
use super::exposition::Exposition;
use super::{Ended, EndpointMetrics, Load, Metrics, TOKENS};
use crate::balancer::Snapshot;

impl Metrics {
    /// Everything, in Prometheus's text format, version 0.0.4. Endpoints that are not in `snapshot` are left out.
    pub fn text(&self, snapshot: &Snapshot, load: Load) -> String {
        let mut out = Exposition::default();
        self.attempts(&mut out, snapshot);
        endpoints(&mut out, snapshot);
        self.requests(&mut out);
        self.process(&mut out, load);
        out.finish()
    }

    fn attempts(&self, out: &mut Exposition, snapshot: &Snapshot) {
        let endpoints: Vec<Arc<EndpointMetrics>> = snapshot
            .endpoints
            .iter()
            .map(|endpoint| self.endpoint(&endpoint.name))
            .collect();
        let name = "claude_loadbalancer_attempts_total";
        let mut family = out.family(
            name,
            "counter",
            "Requests sent to an endpoint, by how they ended",
        );
        for endpoint in &endpoints {
            for (outcome, count) in Ended::LABELS.iter().zip(&endpoint.ended) {
                let labels = [("endpoint", &*endpoint.name), ("outcome", outcome)];
                family.count(&labels, count.load(Relaxed));
            }
        }
        let name = "claude_loadbalancer_rests_total";
        let mut family = out.family(
            name,
            "counter",
            "Cooldowns that an endpoint was given, by cause",
        );
        for endpoint in &endpoints {
            for (cause, count) in endpoint.rests.counts() {
                family.count(
                    &[("endpoint", &endpoint.name), ("cause", &word(cause))],
                    count,
                );
            }
        }
        let name = "claude_loadbalancer_tokens_total";
        let help = "Tokens that an endpoint's answers name in their usage, by kind";
        let mut family = out.family(name, "counter", help);
        for endpoint in &endpoints {
            for (kind, sum) in TOKENS.iter().zip(&endpoint.tokens) {
                family.count(
                    &[("endpoint", &endpoint.name), ("kind", kind)],
                    sum.load(Relaxed),
                );
            }
        }
    }

    fn requests(&self, out: &mut Exposition) {
        let name = "claude_loadbalancer_requests_total";
        let help = "Requests by the status that the client got; answer: forwarded (or meant to be), or the balancer's own";
        let mut family = out.family(name, "counter", help);
        for (by, statuses) in [("forwarded", &self.forwarded), ("own", &self.own)] {
            for (status, count) in statuses.counts() {
                family.count(&[("answer", by), ("code", &status.to_string())], count);
            }
        }
        let name = "claude_loadbalancer_refused_requests_total";
        let mut family = out.family(
            name,
            "counter",
            "Requests that the balancer refused, by cause",
        );
        for (cause, count) in self.refused.counts() {
            family.count(&[("cause", &word(cause))], count);
        }
        let name = "claude_loadbalancer_time_to_first_byte_seconds";
        let help = "Time from a forwarded request's arrival to the first byte of its answer";
        histogram(out, name, help, &self.first_byte);
        let name = "claude_loadbalancer_request_duration_seconds";
        let help = "Time from a forwarded request's arrival to the end of its answer";
        histogram(out, name, help, &self.total);
        let [bytes_in, bytes_out] = self.bytes();
        let name = "claude_loadbalancer_received_bytes_total";
        let help = "Bytes of bodies that clients sent to be forwarded";
        out.family(name, "counter", help).count(&[], bytes_in);
        let name = "claude_loadbalancer_sent_bytes_total";
        let help = "Bytes of answers that were sent for forwarded requests";
        out.family(name, "counter", help).count(&[], bytes_out);
    }

    fn process(&self, out: &mut Exposition, load: Load) {
        let gauges = [
            (
                "claude_loadbalancer_queued_requests",
                "Requests that wait for a worker",
                load.queued,
            ),
            (
                "claude_loadbalancer_busy_workers",
                "Workers that serve a request",
                load.in_flight,
            ),
            (
                "claude_loadbalancer_workers",
                "Workers in all",
                load.workers,
            ),
        ];
        for (name, help, value) in gauges {
            out.family(name, "gauge", help).count(&[], value as u64);
        }
        let name = "claude_loadbalancer_config_reloads_total";
        let help = "Changes of the configuration file that were put in force, or were not";
        let mut family = out.family(name, "counter", help);
        for (result, count) in ["success", "failure"].into_iter().zip(self.reloads()) {
            family.count(&[("result", result)], count);
        }
        out.family(
            "claude_loadbalancer_build_info",
            "gauge",
            "The running program",
        )
        .count(&[("version", env!("CARGO_PKG_VERSION"))], 1);
        // Its customary name, which has no prefix.
        let started = self.started.duration_since(UNIX_EPOCH).unwrap_or_default();
        let help = "Start of the process, in seconds since 1970";
        out.family("process_start_time_seconds", "gauge", help)
            .number(&[], started.as_secs_f64());
    }
}

fn endpoints(out: &mut Exposition, snapshot: &Snapshot) {
    let name = "claude_loadbalancer_endpoint_in_flight_requests";
    let mut family = out.family(name, "gauge", "Requests that an endpoint is working on");
    for endpoint in &snapshot.endpoints {
        family.number(&[("endpoint", &endpoint.name)], endpoint.in_flight.into());
    }
    let name = "claude_loadbalancer_endpoint_up";
    let help = "Whether an endpoint is in use (1) or on cooldown (0)";
    let mut family = out.family(name, "gauge", help);
    for endpoint in &snapshot.endpoints {
        let is_up = f64::from(u8::from(endpoint.state != "resting"));
        family.number(&[("endpoint", &endpoint.name)], is_up);
    }
    let name = "claude_loadbalancer_endpoint_resting_seconds";
    let mut family = out.family(name, "gauge", "Time until an endpoint's cooldown is over");
    for endpoint in &snapshot.endpoints {
        family.number(
            &[("endpoint", &endpoint.name)],
            endpoint.cooldown.as_secs_f64(),
        );
    }
}

/// A cause as a label's value.
fn word(cause: &str) -> String {
    cause.replace(' ', "_")
}

/// A histogram without labels of its own.
fn histogram(out: &mut Exposition, name: &'static str, help: &str, histogram: &Histogram) {
    let mut family = out.family(name, "histogram", help);
    let seconds = histogram.microseconds.load(Relaxed) as f64 / 1e6;
    let mut count = 0;
    for (at, bucket) in histogram.buckets.iter().enumerate() {
        count += bucket.load(Relaxed);
        let bound = BOUNDS
            .get(at)
            .map_or("+Inf".to_owned(), |bound| format!("{bound:?}"));
        family.sample("_bucket", &[("le", &bound)], format_args!("{count}"));
    }
    family.sample("_sum", &[], format_args!("{seconds:?}"));
    family.sample("_count", &[], format_args!("{count}"));
}

#[cfg(test)]
mod tests;

//! The counters and what others know, as Prometheus reads them.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::UNIX_EPOCH;

use super::counters::{BOUNDS, Histogram};
use super::exposition::{Exposition, Family, Label};
use super::{Ended, EndpointMetrics, Load, Metrics, TOKENS};
use crate::balancer::{EndpointState, Snapshot};

impl Metrics {
    /// Everything, in Prometheus's text format, version 0.0.4. Endpoints that are not in `snapshot` are left out.
    pub fn text(&self, snapshot: &Snapshot, load: Load) -> String {
        let mut out = Exposition::default();
        let endpoints: Vec<Arc<EndpointMetrics>> = snapshot
            .endpoints
            .iter()
            .map(|endpoint| self.endpoint(&endpoint.name))
            .collect();
        attempts(&mut out, &endpoints);
        endpoint_times(&mut out, &endpoints);
        states(&mut out, snapshot);
        self.requests(&mut out);
        self.clients_tokens(&mut out);
        self.times(&mut out);
        self.process(&mut out, load);
        out.finish()
    }

    fn requests(&self, out: &mut Exposition) {
        let name = "claude_loadbalancer_requests_total";
        let help = "Requests by the status that the client got; answer: forwarded (or meant to be), or the balancer's own";
        let mut family = out.family(name, "counter", help);
        for (client, counters) in self.clients() {
            for (status, count) in counters.statuses() {
                let code = status.to_string();
                let labels = [
                    ("answer", "forwarded"),
                    ("code", &*code),
                    ("client", &*client),
                ];
                family.count(named(&labels), count);
            }
        }
        for (status, count) in self.own.counts() {
            family.count(&[("answer", "own"), ("code", &status.to_string())], count);
        }
        let name = "claude_loadbalancer_refused_requests_total";
        let help = "Requests that the balancer refused, by cause";
        let mut family = out.family(name, "counter", help);
        let counts = self.refused.counts();
        for (cause, count) in &counts {
            family.count(&[("cause", &word(cause))], *count);
        }
        for cause in NOBODY_FREE {
            if !counts.iter().any(|(known, _)| *known == cause) {
                family.count(&[("cause", &word(cause))], 0);
            }
        }
    }

    fn clients_tokens(&self, out: &mut Exposition) {
        let name = "claude_loadbalancer_client_tokens_total";
        let help = "Tokens that the answers to a client name in their usage, by kind";
        let mut family = out.family(name, "counter", help);
        for (client, counters) in self.clients() {
            let usage = counters.usage();
            let counts = [
                usage.input,
                usage.output,
                usage.cache_read,
                usage.cache_write,
            ];
            for (kind, count) in TOKENS.iter().zip(counts) {
                family.count(named(&[("kind", kind), ("client", &client)]), count);
            }
        }
    }

    fn times(&self, out: &mut Exposition) {
        let name = "claude_loadbalancer_time_to_first_byte_seconds";
        let help = "Time from a forwarded request's arrival to the first byte of its answer, of good answers";
        let mut family = out.family(name, "histogram", help);
        histogram(&mut family, &[], &self.first_byte, 0.0);
        let name = "claude_loadbalancer_request_duration_seconds";
        let help = "Time from a forwarded request's arrival to the end of its answer";
        let mut family = out.family(name, "histogram", help);
        histogram(&mut family, &[], &self.total, 0.0);
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
        let name = "claude_loadbalancer_config_last_reload_successful";
        let help = "Whether the configuration file, as it is now, is in force (1), or is wrong and was refused (0)";
        out.family(name, "gauge", help)
            .count(&[], (!self.file_is_bad.load(Relaxed)).into());
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

fn attempts(out: &mut Exposition, endpoints: &[Arc<EndpointMetrics>]) {
    let name = "claude_loadbalancer_attempts_total";
    let help = "Requests sent to an endpoint, by how they ended";
    let mut family = out.family(name, "counter", help);
    for endpoint in endpoints {
        for (outcome, count) in Ended::LABELS.iter().zip(&endpoint.ended) {
            let labels = [("endpoint", &*endpoint.name), ("outcome", outcome)];
            family.count(&labels, count.load(Relaxed));
        }
    }
    let name = "claude_loadbalancer_rests_total";
    let help = "Cooldowns that an endpoint was given, by cause";
    let mut family = out.family(name, "counter", help);
    for endpoint in endpoints {
        for (cause, count) in endpoint.cooldowns.counts() {
            let cause = word(cause);
            family.count(&[("endpoint", &endpoint.name), ("cause", &cause)], count);
        }
    }
    let name = "claude_loadbalancer_tokens_total";
    let help = "Tokens that an endpoint's answers name in their usage, by kind";
    let mut family = out.family(name, "counter", help);
    for endpoint in endpoints {
        for (kind, sum) in TOKENS.iter().zip(&endpoint.tokens) {
            let labels = [("endpoint", &*endpoint.name), ("kind", kind)];
            family.count(&labels, sum.load(Relaxed));
        }
    }
}

/// The first upper bound of an endpoint's times, in seconds: none writes a word sooner, and a histogram for each of a thousand
/// endpoints is most of what Prometheus reads.
const SOON: f64 = 0.05;

fn endpoint_times(out: &mut Exposition, endpoints: &[Arc<EndpointMetrics>]) {
    let name = "claude_loadbalancer_endpoint_time_to_first_byte_seconds";
    let help = "Time from an attempt's beginning to the first byte of the endpoint's answer, of good answers";
    let mut family = out.family(name, "histogram", help);
    for endpoint in endpoints {
        histogram(
            &mut family,
            &[("endpoint", &endpoint.name)],
            &endpoint.first_byte,
            SOON,
        );
    }
}

/// Why a request is refused that is as it should be. These are there from the start: Prometheus sees no increase in a counter that
/// begins with 1.
const NOBODY_FREE: [&str; 3] = ["queue full", "waited too long", "bodies full"];

/// The states that an endpoint may be in.
const STATES: [&str; 4] = ["up", "resting", "full", "failing"];

fn states(out: &mut Exposition, snapshot: &Snapshot) {
    let name = "claude_loadbalancer_endpoint_in_flight_requests";
    let mut family = out.family(name, "gauge", "Requests that an endpoint is working on");
    for endpoint in &snapshot.endpoints {
        family.number(&[("endpoint", &endpoint.name)], endpoint.in_flight.into());
    }
    let enabled: Vec<&EndpointState> = snapshot.endpoints.iter().filter(|e| e.enabled).collect();
    let name = "claude_loadbalancer_endpoint_up";
    let help = "Whether an enabled endpoint is in use (1) or on cooldown (0)";
    let mut family = out.family(name, "gauge", help);
    for endpoint in &enabled {
        let is_up = u8::from(endpoint.state != "resting");
        family.number(&[("endpoint", &endpoint.name)], is_up.into());
    }
    let name = "claude_loadbalancer_endpoint_state";
    let help = "The state that an enabled endpoint is in: 1 for that one, 0 for the others";
    let mut family = out.family(name, "gauge", help);
    for endpoint in &enabled {
        for state in STATES {
            let labels = [("endpoint", &*endpoint.name), ("state", state)];
            family.number(&labels, u8::from(endpoint.state == state).into());
        }
    }
    let name = "claude_loadbalancer_endpoint_resting_seconds";
    let help =
        "Time until an enabled endpoint's cooldown is over, with the cause while it is on one";
    let mut family = out.family(name, "gauge", help);
    for endpoint in &enabled {
        let cause = endpoint.cause.map(word).unwrap_or_default();
        let labels = [("endpoint", &*endpoint.name), ("cause", &*cause)];
        family.number(named(&labels), endpoint.cooldown.as_secs_f64());
    }
    let name = "claude_loadbalancer_endpoint_resting_models";
    let help =
        "Models that are on cooldown at an enabled endpoint, while the endpoint itself need not be";
    let mut family = out.family(name, "gauge", help);
    for endpoint in &enabled {
        let models = endpoint.models.len() as f64;
        family.number(&[("endpoint", &endpoint.name)], models);
    }
    let name = "claude_loadbalancer_endpoint_tier";
    let help = "The tier of an enabled endpoint: a higher one is used while no endpoint of a lower one is available";
    let mut family = out.family(name, "gauge", help);
    for endpoint in &enabled {
        family.number(&[("endpoint", &endpoint.name)], endpoint.tier.into());
    }
    let name = "claude_loadbalancer_endpoint_rate_limit_used_ratio";
    let help = "The used part of an endpoint's rate-limit windows, as its answers told last";
    let mut family = out.family(name, "gauge", help);
    for endpoint in &snapshot.endpoints {
        for limit in &endpoint.limits {
            let labels = [("endpoint", &*endpoint.name), ("limit", &*limit.name)];
            family.number(&labels, limit.used);
        }
    }
}

/// A cause as a label's value.
fn word(cause: &str) -> String {
    cause.replace(' ', "_")
}

/// Labels without the last one where that is empty, which means the same to Prometheus.
fn named<'a, 'b>(labels: &'a [Label<'b>]) -> &'a [Label<'b>] {
    match labels {
        [all @ .., (_, "")] => all,
        all => all,
    }
}

/// A histogram whose first bucket is that of `soonest` seconds.
fn histogram(family: &mut Family, labels: &[Label], histogram: &Histogram, soonest: f64) {
    let seconds = histogram.microseconds.load(Relaxed) as f64 / 1e6;
    let mut count = 0_u64;
    for (at, bucket) in histogram.buckets.iter().enumerate() {
        count = count.saturating_add(bucket.load(Relaxed));
        let bound = match BOUNDS.get(at) {
            Some(bound) if *bound < soonest => continue,
            Some(bound) => format!("{bound:?}"),
            None => "+Inf".to_owned(),
        };
        let labels: Vec<Label> = labels.iter().copied().chain([("le", &*bound)]).collect();
        family.sample("_bucket", &labels, format_args!("{count}"));
    }
    family.sample("_sum", labels, format_args!("{seconds:?}"));
    family.sample("_count", labels, format_args!("{count}"));
}

#[cfg(test)]
mod tests;

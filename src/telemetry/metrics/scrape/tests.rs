//! The text that Prometheus reads.

use super::*;
use crate::api::usage::Usage;
use crate::balancer::{LimitState, ModelState};
use crate::telemetry::metrics::record;
use std::time::{Duration, Instant};

fn endpoint(name: &str) -> EndpointState {
    EndpointState {
        name: name.to_owned(),
        base_url: format!("http://{name}/"),
        tier: 1,
        enabled: true,
        state: "up",
        in_flight: 2,
        requests: 5,
        failures: 1,
        ..EndpointState::default()
    }
}

#[track_caller]
fn assert_line(text: &str, line: &str) {
    assert!(
        text.lines().any(|found| found == line),
        "{line} is missing in:\n{text}"
    );
}

#[test]
fn the_text_has_what_was_counted() {
    let now = Instant::now();
    let metrics = Metrics::new(now, UNIX_EPOCH + Duration::from_millis(1_700_000_000_250));
    let one = metrics.endpoint("one");
    one.ended(
        now,
        Ended::Status(200),
        Some(Duration::from_millis(3)),
        false,
    );
    one.ended(now, Ended::Status(429), None, true);
    one.ended(now, Ended::ClientGone, None, false);
    one.cooled_down("rate limited");
    one.used(Usage {
        input: 10,
        output: 20,
        cache_read: 30,
        cache_write: 40,
    });
    one.used(Usage {
        input: 1,
        ..Usage::default()
    });
    let first_byte = Some(Duration::from_millis(3));
    metrics.forwarded(&record(200, first_byte, 100, 200), Duration::from_secs(700));
    metrics.forwarded(&record(499, None, 1, 0), Duration::from_micros(1500));
    let mut of_client = record(429, first_byte, 0, 0);
    of_client.client = Some("ci".into());
    of_client.usage = Some(Usage {
        output: 7,
        ..Usage::default()
    });
    metrics.forwarded(&of_client, Duration::from_secs(1));
    for status in [401, 200, 503] {
        let status = http::StatusCode::from_u16(status).expect("a status");
        metrics.answered_locally(status);
    }
    metrics.refused("no client token");
    metrics.refused("queue full");
    for complaint in [None, Some("line 1"), Some("line 2")] {
        metrics.reloaded(UNIX_EPOCH, complaint);
    }
    let mut snapshot = Snapshot {
        endpoints: vec![endpoint("one"), endpoint("q\"\\")],
        next: 0,
        none_well: false,
        some_unwell: false,
    };
    snapshot.endpoints[1].state = "resting";
    snapshot.endpoints[0].limits = vec![LimitState {
        name: "5h".into(),
        used: 0.25,
        warned: false,
        reset_in: None,
    }];
    snapshot.endpoints[0].models = vec![ModelState {
        model: "claude-opus-4-8".into(),
        cooldown: Duration::from_secs(9),
        cause: "rate limited",
    }];
    snapshot.endpoints[1].tier = 2;
    snapshot.endpoints[1].cooldown = Duration::from_millis(1500);
    snapshot.endpoints[1].cause = Some("token refused");
    let load = Load {
        in_flight: 3,
        queued: 2,
        queue: 9,
        workers: 8,
        draining: false,
    };
    let text = metrics.text(&snapshot, load);
    for line in [
        "# TYPE claude_loadbalancer_attempts_total counter",
        "claude_loadbalancer_attempts_total{endpoint=\"one\",outcome=\"2xx\"} 1",
        "claude_loadbalancer_attempts_total{endpoint=\"one\",outcome=\"429\"} 1",
        "claude_loadbalancer_attempts_total{endpoint=\"one\",outcome=\"4xx\"} 0",
        "claude_loadbalancer_attempts_total{endpoint=\"one\",outcome=\"client_gone\"} 1",
        "claude_loadbalancer_attempts_total{endpoint=\"q\\\"\\\\\",outcome=\"2xx\"} 0",
        "claude_loadbalancer_rests_total{endpoint=\"one\",cause=\"rate_limited\"} 1",
        "claude_loadbalancer_tokens_total{endpoint=\"one\",kind=\"input\"} 11",
        "claude_loadbalancer_tokens_total{endpoint=\"one\",kind=\"cache_write\"} 40",
        "# TYPE claude_loadbalancer_endpoint_up gauge",
        "claude_loadbalancer_endpoint_up{endpoint=\"one\"} 1.0",
        "claude_loadbalancer_endpoint_up{endpoint=\"q\\\"\\\\\"} 0.0",
        "claude_loadbalancer_endpoint_resting_seconds{endpoint=\"one\"} 0.0",
        "claude_loadbalancer_endpoint_resting_seconds{endpoint=\"q\\\"\\\\\",cause=\"token_refused\"} 1.5",
        "claude_loadbalancer_endpoint_rate_limit_used_ratio{endpoint=\"one\",limit=\"5h\"} 0.25",
        "claude_loadbalancer_endpoint_resting_models{endpoint=\"one\"} 1.0",
        "claude_loadbalancer_endpoint_tier{endpoint=\"one\"} 1.0",
        "claude_loadbalancer_endpoint_tier{endpoint=\"q\\\"\\\\\"} 2.0",
        "claude_loadbalancer_endpoint_state{endpoint=\"one\",state=\"up\"} 1.0",
        "claude_loadbalancer_endpoint_state{endpoint=\"one\",state=\"failing\"} 0.0",
        "claude_loadbalancer_endpoint_state{endpoint=\"q\\\"\\\\\",state=\"resting\"} 1.0",
        "claude_loadbalancer_endpoint_time_to_first_byte_seconds_bucket{endpoint=\"one\",le=\"0.05\"} 1",
        "claude_loadbalancer_endpoint_time_to_first_byte_seconds_count{endpoint=\"one\"} 1",
        "claude_loadbalancer_requests_total{answer=\"forwarded\",code=\"429\",client=\"ci\"} 1",
        "claude_loadbalancer_client_tokens_total{kind=\"output\",client=\"ci\"} 7",
        "claude_loadbalancer_client_tokens_total{kind=\"output\"} 0",
        "claude_loadbalancer_endpoint_in_flight_requests{endpoint=\"one\"} 2.0",
        "claude_loadbalancer_requests_total{answer=\"forwarded\",code=\"499\"} 1",
        "claude_loadbalancer_requests_total{answer=\"own\",code=\"503\"} 1",
        "claude_loadbalancer_refused_requests_total{cause=\"no_client_token\"} 1",
        "claude_loadbalancer_refused_requests_total{cause=\"queue_full\"} 1",
        "claude_loadbalancer_refused_requests_total{cause=\"waited_too_long\"} 0",
        "claude_loadbalancer_time_to_first_byte_seconds_bucket{le=\"0.0025\"} 0",
        "claude_loadbalancer_time_to_first_byte_seconds_bucket{le=\"0.005\"} 1",
        "claude_loadbalancer_time_to_first_byte_seconds_count 1",
        "claude_loadbalancer_request_duration_seconds_sum 701.0015",
        "claude_loadbalancer_request_duration_seconds_bucket{le=\"600.0\"} 2",
        "claude_loadbalancer_request_duration_seconds_bucket{le=\"+Inf\"} 3",
        "claude_loadbalancer_received_bytes_total 101",
        "claude_loadbalancer_sent_bytes_total 200",
        "claude_loadbalancer_queued_requests 2",
        "claude_loadbalancer_busy_workers 3",
        "claude_loadbalancer_workers 8",
        "claude_loadbalancer_config_reloads_total{result=\"success\"} 1",
        "claude_loadbalancer_config_reloads_total{result=\"failure\"} 2",
        "claude_loadbalancer_config_last_reload_successful 0",
        "process_start_time_seconds 1700000000.25",
    ] {
        assert_line(&text, line);
    }
    assert!(!text.contains("cause=\"error\"") && !text.contains("EOF"));

    // One that was taken away by a reload.
    let gone = Snapshot {
        endpoints: vec![endpoint("two")],
        next: 0,
        none_well: false,
        some_unwell: false,
    };
    assert!(!metrics.text(&gone, load).contains("\"one\""));
}

/// One that is switched off is in no state, or it would look like one that is left when all others fail.
#[test]
fn an_endpoint_that_is_off_is_neither_up_nor_down() {
    let metrics = Metrics::new(Instant::now(), UNIX_EPOCH);
    let mut snapshot = Snapshot {
        endpoints: vec![endpoint("on"), endpoint("off")],
        next: 0,
        none_well: false,
        some_unwell: false,
    };
    snapshot.endpoints[1].enabled = false;
    let text = metrics.text(&snapshot, Load::default());
    assert_line(
        &text,
        "claude_loadbalancer_endpoint_up{endpoint=\"on\"} 1.0",
    );
    assert_line(
        &text,
        "claude_loadbalancer_attempts_total{endpoint=\"off\",outcome=\"2xx\"} 0",
    );
    for family in ["up", "state", "tier", "resting_seconds", "resting_models"] {
        let series = format!("claude_loadbalancer_endpoint_{family}{{endpoint=\"off\"");
        assert!(!text.contains(&series), "{series}");
    }
}

/// Whether a restart would succeed.
#[test]
fn a_refused_file_shows_until_it_is_mended() {
    let metrics = Metrics::new(Instant::now(), UNIX_EPOCH);
    let is_good = |good: u8| {
        let text = metrics.text(
            &Snapshot {
                endpoints: Vec::new(),
                next: 0,
                none_well: false,
                some_unwell: false,
            },
            Load::default(),
        );
        assert_line(
            &text,
            &format!("claude_loadbalancer_config_last_reload_successful {good}"),
        );
    };
    is_good(1);
    metrics.reloaded(UNIX_EPOCH, Some("line 1"));
    is_good(0);
    metrics.mended(UNIX_EPOCH);
    is_good(1);
    metrics.reloaded(UNIX_EPOCH, Some("line 1"));
    metrics.reloaded(UNIX_EPOCH, None);
    is_good(1);
}

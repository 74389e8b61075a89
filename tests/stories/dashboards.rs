//! What `scripts/alerts.yml` and `scripts/grafana.json` ask for is there: a metric that was renamed would leave an alert that never
//! fires, and an empty panel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::common::prelude::*;

/// What Prometheus adds to each sample, and what a histogram adds to its name.
const ADDED_LABELS: [&str; 4] = ["instance", "job", "le", "__name__"];
const ADDED_ENDINGS: [&str; 3] = ["_bucket", "_sum", "_count"];

fn script(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scripts")
        .join(name);
    fs::read_to_string(path).expect("a script of ours")
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// Each metric of ours that `text` names, with the labels in the braces behind it.
fn asked_for(text: &str) -> Vec<(String, Vec<String>)> {
    let mut found = Vec::new();
    for rest in text.split("claude_loadbalancer_").skip(1) {
        let (ending, rest) = rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
        let mut labels = Vec::new();
        if let Some((braces, _)) = rest.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            for label in braces.split(',') {
                labels.push(
                    label
                        .trim()
                        .split(|c| !is_word(c))
                        .next()
                        .unwrap_or_default()
                        .to_owned(),
                );
            }
        }
        found.push((format!("claude_loadbalancer_{ending}"), labels));
    }
    found
}

/// The metrics that a balancer shows which has seen good and bad days, each with the labels of its samples.
fn shown() -> BTreeMap<String, BTreeSet<String>> {
    let (bad, good) = (
        Upstream::always(status(503)),
        Upstream::always(ok(r#"{"usage":{"input_tokens":1,"output_tokens":2}}"#)),
    );
    let balancer = balance(&[&bad, &good]).start();
    for _ in 0..8 {
        balancer.ask();
    }
    // Refused: neither a path nor a body of ours.
    balancer.get("/nowhere");
    balancer.client().send("GET / HTTP/9.9\r\n\r\n");
    balancer.settle();
    let has_all =
        |text: &str| text.contains("rests_total{") && text.contains("refused_requests_total{");
    let text = eventually(
        "something was refused, and something is on cooldown",
        || Some(balancer.get("/metrics").text().to_owned()).filter(|text| has_all(text)),
    );
    let mut shown: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let name = kind.split(' ').next().expect("a name");
            shown.entry(name.to_owned()).or_default();
        } else if !line.starts_with('#') {
            let name = &line[..line.find(|c| !is_word(c)).unwrap_or(line.len())];
            let labels = line.split('{').nth(1).unwrap_or_default();
            let labels = labels
                .split("\",")
                .filter_map(|label| label.split_once("=\""));
            let labels = labels.map(|(name, _)| name.to_owned());
            shown.entry(name.to_owned()).or_default().extend(labels);
        }
    }
    shown
}

#[test]
fn every_metric_and_label_that_alerts_and_dashboard_name_is_there() {
    let shown = shown();
    for file in ["alerts.yml", "grafana.json", "test/alerts.yml"] {
        let text = script(file).replace("\\\"", "\"");
        let asked = asked_for(&text);
        assert!(asked.len() > 9, "{file}: {asked:?}");
        for (name, labels) in asked {
            let of_histogram = ADDED_ENDINGS
                .iter()
                .filter_map(|ending| name.strip_suffix(ending));
            let known = shown
                .get(&name)
                .or_else(|| of_histogram.filter_map(|name| shown.get(name)).next());
            let known = known.unwrap_or_else(|| {
                panic!("{file} asks for {name}, which is not in {:?}", shown.keys())
            });
            for label in labels {
                assert!(
                    known.contains(&label) || ADDED_LABELS.contains(&&*label),
                    "{file} asks for {name} by {label}, which has {known:?}"
                );
            }
        }
    }
    assert!(script("alerts.yml").contains("process_start_time_seconds"));
    assert!(shown.contains_key("process_start_time_seconds"));
}

#[test]
fn the_dashboard_is_json_whose_panels_do_not_overlap() {
    let board: Value = serde_json::from_str(&script("grafana.json")).expect("JSON");
    let mut cells = BTreeSet::new();
    for panel in board["panels"].as_array().expect("panels") {
        assert!(panel["targets"][0]["expr"].is_string(), "{panel}");
        let place = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(x < 24 && cells.insert((x, y)), "{}", panel["title"]);
            }
        }
    }
}

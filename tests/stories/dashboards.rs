//! What `scripts/alerts.yml` and `scripts/grafana.json` ask for is there: a metric that was renamed would leave an alert that never
//! fires, and an empty panel.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::common::prelude::*;

/// What Prometheus adds to each sample.
const ADDED_LABELS: [&str; 4] = ["instance", "job", "le", "__name__"];

fn script(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("scripts")
        .join(name);
    fs::read_to_string(path).expect("a script of ours")
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

/// What a query asks for: a metric of ours, and its labels with the values that are named in words.
type Asked = (String, Vec<(String, Vec<String>)>);

/// Each metric of ours that `text` names, with what stands in the braces behind it.
fn asked_for(text: &str) -> Vec<Asked> {
    let mut found = Vec::new();
    for rest in text.split("claude_loadbalancer_").skip(1) {
        let (ending, rest) = rest.split_at(rest.find(|c| !is_word(c)).unwrap_or(rest.len()));
        let braces = rest.strip_prefix('{').and_then(|rest| rest.split_once('}'));
        let matchers = braces.map_or("", |(braces, _)| braces).split(',');
        let labels = matchers.filter_map(|matcher| {
            let (label, value) = matcher.trim().split_once('"')?;
            let value = value.split('"').next().unwrap_or_default();
            let words = value
                .split('|')
                .filter(|value| value.contains('_') || value.chars().all(is_word));
            let label = label.trim_end_matches(|c| !is_word(c));
            Some((
                label.to_owned(),
                words
                    .filter(|word| !word.is_empty())
                    .map(str::to_owned)
                    .collect(),
            ))
        });
        found.push((format!("claude_loadbalancer_{ending}"), labels.collect()));
    }
    found
}

/// The metrics, each with its labels and their values.
type Shown = BTreeMap<String, BTreeMap<String, BTreeSet<String>>>;

/// What a balancer shows that has seen good and bad days.
fn shown() -> Shown {
    let says = |code: u16| Upstream::always(status(code));
    let (keyless, broke, forbidding) = (says(401), says(402), says(403));
    let elsewhere = Upstream::always(status(404).body("<html>"));
    let good = Upstream::always(
        ok(r#"{"usage":{"input_tokens":1,"output_tokens":2}}"#)
            .header("anthropic-ratelimit-requests-limit", "10")
            .header("anthropic-ratelimit-requests-remaining", "1"),
    );
    let balancer = balance(&[&keyless, &broke, &forbidding, &elsewhere, &good])
        .set("clientTokens", json!([{ "token": "ci", "name": "ci" }]))
        .start();
    let by_ci = |request: Request| balancer.send(&request.header("x-api-key", "ci"));
    // Refused: neither a path nor a body of ours.
    balancer.get("/nowhere");
    balancer.client().send("GET / HTTP/9.9\r\n\r\n");
    let text = eventually("each of them is on cooldown for its cause", || {
        by_ci(Request::message());
        let text = by_ci(Request::new("GET", "/metrics")).text().to_owned();
        let has = |cause: &str| text.contains(&format!("cause=\"{cause}\""));
        let all = [
            "token_refused",
            "account_at_its_end",
            "request_refused",
            "not_the_API",
        ];
        // Counted when all of its answer has gone out, which may be a moment after the client has it.
        let is_counted = text.contains("answer=\"forwarded\"");
        (is_counted && all.into_iter().all(has)).then_some(text)
    });
    let mut shown = Shown::new();
    for line in text.lines() {
        if let Some(kind) = line.strip_prefix("# TYPE ") {
            let name = kind.split(' ').next().expect("a name");
            shown.entry(name.to_owned()).or_default();
        } else if !line.starts_with('#') {
            let name = &line[..line.find(|c| !is_word(c)).unwrap_or(line.len())];
            let family = shown.entry(name.to_owned()).or_default();
            let labels = line.split_once('{').map_or("", |(_, rest)| rest);
            for (label, value) in labels
                .split("\",")
                .filter_map(|label| label.split_once("=\""))
            {
                let value = value.split('"').next().unwrap_or_default();
                family
                    .entry(label.to_owned())
                    .or_default()
                    .insert(value.to_owned());
            }
        }
    }
    shown
}

/// Whose values are words of ours: the same at every balancer.
const OF_OURS: [&str; 6] = ["answer", "cause", "kind", "outcome", "result", "state"];

#[test]
fn every_metric_label_and_value_that_alerts_and_dashboard_name_is_there() {
    let shown = shown();
    for file in ["alerts.yml", "grafana.json", "test/alerts.yml"] {
        let text = script(file).replace("\\\"", "\"");
        let asked = asked_for(&text);
        assert!(asked.len() > 9, "{file}: {asked:?}");
        for (name, labels) in asked {
            let known = shown.get(&name).unwrap_or_else(|| {
                panic!("{file} asks for {name}, which is not in {:?}", shown.keys())
            });
            for (label, values) in labels {
                let there = known.get(&label);
                assert!(
                    there.is_some() || ADDED_LABELS.contains(&&*label),
                    "{file} asks for {name} by {label}, which has {known:?}"
                );
                // In a test of alerts a wrong one leaves an alert that does not fire, and promtool says so.
                if file.starts_with("test/") {
                    continue;
                }
                for value in values.iter().filter(|_| OF_OURS.contains(&&*label)) {
                    assert!(
                        there.is_some_and(|there| there.contains(value)),
                        "{file} asks for {name} with {label} {value}, which has {there:?}"
                    );
                }
            }
        }
    }
    assert!(script("alerts.yml").contains("process_start_time_seconds"));
    assert!(shown.contains_key("process_start_time_seconds"));
}

/// The board's panels, without the rows between them.
fn panels(board: &Value) -> Vec<&Value> {
    let all = board["panels"].as_array().expect("panels");
    all.iter().filter(|panel| panel["type"] != "row").collect()
}

/// The labels that a legend or a grouping names: what stands between `open` and `close`.
fn named_between(text: &str, open: &str, close: &str) -> Vec<String> {
    let parts = text
        .split(open)
        .skip(1)
        .filter_map(|rest| rest.split_once(close));
    let names = parts.flat_map(|(names, _)| names.split(','));
    names.map(|name| name.trim().to_owned()).collect()
}

/// A legend that names a label which its query has summed away is an empty one.
#[test]
fn legends_name_what_their_queries_leave() {
    let board: Value = serde_json::from_str(&script("grafana.json")).expect("JSON");
    for panel in panels(&board) {
        for target in panel["targets"].as_array().expect("targets") {
            let query = target["expr"].as_str().expect("a query");
            let legend = target["legendFormat"].as_str().expect("a legend");
            let left = named_between(query, "by (", ")");
            for label in named_between(legend, "{{", "}}") {
                let is_left =
                    left.contains(&label) || (left.is_empty() && ADDED_LABELS.contains(&&*label));
                assert!(is_left, "{}: {legend} of {query}", panel["title"]);
            }
        }
    }
}

/// Grafana itself is not asked: what it needs to load a board and to show something in each panel.
#[test]
fn the_dashboard_has_what_grafana_needs() {
    let board: Value = serde_json::from_str(&script("grafana.json")).expect("JSON");
    assert!(
        board["schemaVersion"].as_u64() >= Some(36),
        "datasources as objects"
    );
    let variables = board["templating"]["list"].as_array().expect("variables");
    let names: Vec<&str> = variables
        .iter()
        .filter_map(|variable| variable["name"].as_str())
        .collect();
    let source = json!({ "type": "prometheus", "uid": "${datasource}" });
    for variable in variables
        .iter()
        .filter(|variable| variable["type"] == "query")
    {
        assert_eq!(variable["datasource"], source, "{}", variable["name"]);
    }
    let (mut cells, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for panel in board["panels"].as_array().expect("panels") {
        let title = panel["title"].as_str().expect("a title");
        assert!(
            ids.insert(panel["id"].as_u64().expect("a number")),
            "{title}: its id is taken"
        );
        let place = |key: &str| panel["gridPos"][key].as_u64().expect("a place");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                assert!(
                    x < 24 && cells.insert((x, y)),
                    "{title} is where another one is"
                );
            }
        }
    }
    let panels = panels(&board);
    assert!(panels.len() > 20, "{}", panels.len());
    for panel in panels {
        let title = panel["title"].as_str().expect("a title");
        assert_eq!(panel["datasource"], source, "{title}");
        assert!(
            panel["fieldConfig"]["defaults"]["unit"].is_string(),
            "{title}: no unit"
        );
        let targets = panel["targets"].as_array().expect("targets");
        let mut letters = BTreeSet::new();
        for target in targets {
            assert!(
                letters.insert(target["refId"].as_str().expect("a letter")),
                "{title}"
            );
            assert_eq!(target["datasource"], source, "{title}");
            let query = target["expr"].as_str().expect("a query");
            for variable in query.split('$').skip(1) {
                let name = &variable[..variable.find(|c| !is_word(c)).unwrap_or(variable.len())];
                let is_grafanas = ["__range", "__rate_interval"].contains(&name);
                assert!(is_grafanas || names.contains(&name), "{title}: ${name}");
            }
        }
        assert!(!targets.is_empty(), "{title}");
    }
}

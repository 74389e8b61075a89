//! Counters and history of the clients: who asked how much.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::counters::add;
use super::{TOKENS, lock};
use crate::api::usage::Usage;
use crate::telemetry::access_log::{ForClient, Record};
use crate::telemetry::history::{Requests, Series, Span};

/// Counters by the client's name; the empty name is everybody's where no tokens are asked for.
#[derive(Debug, Default)]
pub struct Clients(Mutex<BTreeMap<String, Arc<ClientMetrics>>>);

/// One client's counters.
#[derive(Debug)]
pub struct ClientMetrics {
    /// By the status that it got. They are few.
    statuses: Mutex<BTreeMap<u16, u64>>,
    tokens: [AtomicU64; TOKENS.len()],
    series: Mutex<Series<Requests>>,
}

impl Clients {
    /// Forgets those whose name is not among `names`, so that reloads leave nothing behind.
    pub fn keep(&self, names: &[&str]) {
        let is_kept = |name: &String| name.is_empty() || names.contains(&name.as_str());
        lock(&self.0).retain(|name, _| is_kept(name));
    }

    /// Counts a request that was forwarded, or was to be.
    pub fn count(&self, begun: Instant, now: Instant, keeps_day: bool, record: &Record) {
        let name = record.client.as_deref().unwrap_or_default();
        let client = self.client(begun, name);
        let mut statuses = lock(&client.statuses);
        let count = statuses.entry(record.status.clamp(100, 599)).or_default();
        *count = count.saturating_add(1);
        drop(statuses);
        let usage = record.usage.unwrap_or_default();
        add_tokens(&client.tokens, usage);
        let few = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let step = Requests {
            requests: 1,
            failed: (record.for_client() == ForClient::Failed).into(),
            tokens_in: few(usage.input.saturating_add(usage.cache_write)),
            tokens_out: few(usage.output),
            tokens_cache_read: few(usage.cache_read),
        };
        lock(&client.series).add(now, keeps_day, &step);
    }

    /// All that were seen, by name.
    pub fn all(&self) -> Vec<(String, Arc<ClientMetrics>)> {
        let clients = lock(&self.0);
        let clone = |(name, client): (&String, &Arc<ClientMetrics>)| (name.clone(), client.clone());
        clients.iter().map(clone).collect()
    }

    fn client(&self, begun: Instant, name: &str) -> Arc<ClientMetrics> {
        let mut clients = lock(&self.0);
        if let Some(client) = clients.get(name) {
            return client.clone();
        }
        let client = Arc::new(ClientMetrics {
            statuses: Mutex::default(),
            tokens: Default::default(),
            series: Mutex::new(Series::new(begun)),
        });
        clients.insert(name.to_owned(), client.clone());
        client
    }
}

impl ClientMetrics {
    /// Requests by the status that the client got.
    pub fn statuses(&self) -> Vec<(u16, u64)> {
        let statuses = lock(&self.statuses);
        statuses.iter().map(|(s, count)| (*s, *count)).collect()
    }

    /// Tokens so far.
    pub fn usage(&self) -> Usage {
        tokens(&self.tokens)
    }

    /// Its history; nothing where nothing happened, or for a day that is not kept.
    pub fn history(&self, now: Instant, span: Span) -> Vec<Requests> {
        let mut series = lock(&self.series);
        if series.is_empty(span) {
            return Vec::new();
        }
        series.steps(now, span)
    }
}

/// In the order of [`TOKENS`].
pub fn add_tokens(sums: &[AtomicU64; TOKENS.len()], usage: Usage) {
    let counts = [
        usage.input,
        usage.output,
        usage.cache_read,
        usage.cache_write,
    ];
    for (sum, count) in sums.iter().zip(counts) {
        add(sum, count);
    }
}

pub fn tokens(sums: &[AtomicU64; TOKENS.len()]) -> Usage {
    let [input, output, cache_read, cache_write] = sums.each_ref().map(|sum| sum.load(Relaxed));
    Usage {
        input,
        output,
        cache_read,
        cache_write,
    }
}

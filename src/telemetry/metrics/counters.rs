//! What many threads count in: by status, by cause, by time.

use std::array;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use super::lock;

/// Adds to a counter that stays at its top rather than begin again at 0, which would look like a restart.
pub fn add(counter: &AtomicU64, more: u64) {
    let sum = |count: u64| Some(count.saturating_add(more));
    let _ = counter.fetch_update(Relaxed, Relaxed, sum);
}

/// Counts by HTTP status. What is no status (over 599) counts as 599.
#[derive(Debug)]
pub struct Statuses([AtomicU64; 500]);

impl Default for Statuses {
    fn default() -> Self {
        Statuses(array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Statuses {
    pub fn add(&self, status: u16) {
        add(&self.0[usize::from(status.clamp(100, 599)) - 100], 1);
    }

    pub fn counts(&self) -> Vec<(u16, u64)> {
        let counts = (100..)
            .zip(&self.0)
            .map(|(status, count)| (status, count.load(Relaxed)));
        counts.filter(|(_, count)| *count > 0).collect()
    }
}

/// Counts by cause. The causes are constants of ours, so they are few.
#[derive(Debug, Default)]
pub struct Causes(Mutex<Vec<(&'static str, u64)>>);

impl Causes {
    pub fn add(&self, cause: &'static str) {
        let mut counts = lock(&self.0);
        match counts.iter_mut().find(|(known, _)| *known == cause) {
            Some((_, count)) => *count = count.saturating_add(1),
            None => counts.push((cause, 1)),
        }
    }

    pub fn counts(&self) -> Vec<(&'static str, u64)> {
        lock(&self.0).clone()
    }
}

/// Upper bounds in seconds: from a refusal of ours to a long thought's last word.
pub const BOUNDS: [f64; 18] = [
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
    120.0, 300.0, 600.0,
];

/// The library's own histogram takes a lock for each observation.
#[derive(Debug, Default)]
pub struct Histogram {
    /// One for each bound, and one for what is longer.
    pub buckets: [AtomicU64; BOUNDS.len() + 1],
    pub microseconds: AtomicU64,
}

impl Histogram {
    pub fn observe(&self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = BOUNDS.partition_point(|bound| *bound < seconds);
        add(&self.buckets[bucket], 1);
        let microseconds = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        add(&self.microseconds, microseconds);
    }
}

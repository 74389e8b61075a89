//! The memory that requests take while they are read, wait and are served, all together.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// So many bodies of the largest size at the same time, where the machine has twice the memory for it.
const LARGEST_BODIES: usize = 64;
/// A body up to this size is never refused: small requests are served while large ones fill the rest.
const SMALL: usize = 64 << 10;
/// Nor is what has come of a head, up to this size: Claude Code's is about 2 KiB.
const SMALL_HEAD: usize = 4 << 10;
/// Where Linux shows control groups.
const CGROUPS: &str = "/sys/fs/cgroup";

/// A bound on the bytes of all request bodies that are held at the same time.
pub struct BodyBudget {
    used: AtomicUsize,
    limit: usize,
    /// Somebody has lacked some since this was last asked.
    is_short: AtomicBool,
}

impl BodyBudget {
    /// 64 bodies of `max_body` bytes, but no more than half of the machine's (or its control group's) memory.
    pub fn for_bodies(max_body: usize) -> Arc<BodyBudget> {
        let limit = LARGEST_BODIES
            .saturating_mul(max_body)
            .min(machine().unwrap_or(usize::MAX) / 2);
        Arc::new(BodyBudget {
            used: AtomicUsize::new(0),
            limit: limit.max(max_body),
            is_short: AtomicBool::new(false),
        })
    }

    /// For one body.
    pub fn charge(self: &Arc<BodyBudget>) -> Charge {
        self.charge_beyond(SMALL)
    }

    /// For what a client has sent of its next request.
    pub fn charge_for_head(self: &Arc<BodyBudget>) -> Charge {
        self.charge_beyond(SMALL_HEAD)
    }

    /// Bytes that are held.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Whether somebody has lacked memory since this was last asked.
    pub fn was_short(&self) -> bool {
        self.is_short.swap(false, Ordering::Relaxed)
    }

    fn charge_beyond(self: &Arc<BodyBudget>, small: usize) -> Charge {
        Charge {
            budget: self.clone(),
            held: 0,
            small,
        }
    }
}

/// What one body, or one head, holds of it; given back on drop.
pub struct Charge {
    budget: Arc<BodyBudget>,
    held: usize,
    /// Never refused, in bytes.
    small: usize,
}

impl Charge {
    /// False where the bound does not allow it: nothing has changed then.
    pub fn grow_to(&mut self, bytes: usize) -> bool {
        let more = bytes.saturating_sub(self.held);
        let used = self.budget.used.fetch_add(more, Ordering::Relaxed) + more;
        if used > self.budget.limit && bytes > self.small {
            self.budget.used.fetch_sub(more, Ordering::Relaxed);
            self.budget.is_short.store(true, Ordering::Relaxed);
            return false;
        }
        self.held += more;
        true
    }

    /// Gives back what it holds over `bytes`.
    pub fn shrink_to(&mut self, bytes: usize) {
        let less = self.held.saturating_sub(bytes);
        self.budget.used.fetch_sub(less, Ordering::Relaxed);
        self.held -= less;
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.held, Ordering::Relaxed);
    }
}

/// Bytes of memory that this process may hope for, as far as Linux tells.
fn machine() -> Option<usize> {
    let total = fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let kib = text
            .lines()
            .find_map(|line| line.strip_prefix("MemTotal:"))?;
        kib.trim()
            .strip_suffix("kB")?
            .trim()
            .parse::<usize>()
            .ok()?
            .checked_mul(1024)
    });
    let group = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let groups = groups(&group)
        .filter_map(|path| {
            fs::read_to_string(Path::new(CGROUPS).join(path).join("memory.max")).ok()
        })
        .filter_map(|text| text.trim().parse().ok());
    total.into_iter().chain(groups).min()
}

/// The folders of a process's control group and of those around it, from what /proc tells of it (cgroups(7), version 2):
/// a systemd unit's `MemoryMax` is in the innermost, a container's limit in the outermost that it sees.
fn groups(proc: &str) -> impl Iterator<Item = &Path> {
    let own = proc.lines().find_map(|line| line.strip_prefix("0::"));
    Path::new(own.unwrap_or("/"))
        .ancestors()
        .map(|path| path.strip_prefix("/").unwrap_or(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_bodies_are_bounded_and_small_ones_are_not() {
        let budget = Arc::new(BodyBudget {
            used: AtomicUsize::new(0),
            limit: 1 << 20,
            is_short: AtomicBool::new(false),
        });
        let mut large = budget.charge();
        assert!(large.grow_to(1 << 20));
        assert!(!large.grow_to((1 << 20) + 1));
        assert!(budget.charge().grow_to(SMALL));
        assert!(!budget.charge().grow_to(SMALL + 1));
        drop(large);
        assert!(budget.charge().grow_to(1 << 20));
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_limit_may_be_on_any_group_around_the_process() {
        let check = |proc, expected: &[&str]| {
            let found: Vec<_> = groups(proc).collect();
            assert_eq!(found, expected.iter().map(Path::new).collect::<Vec<_>>());
        };
        check(
            "0::/system.slice/x.service\n",
            &["system.slice/x.service", "system.slice", ""],
        );
        check("1:name=systemd:/old\n0::/new\n", &["new", ""]);
        check("0::/\n", &[""]);
        check("", &[""]);
    }
}

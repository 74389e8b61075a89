//! What a process tree costs: CPU time and memory, as the kernel counts them.

use std::fs;
use std::io;
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, UsageWho, getrlimit, getrusage, setrlimit};
use nix::sys::time::TimeVal;
use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// Nanoseconds on the monotonic clock, the same for every process of the machine: the fake upstream
/// writes them into its events, the load generator subtracts.
pub fn now() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the monotonic clock is always there");
    Duration::from(now).as_nanos() as u64
}

/// Nanoseconds.
pub fn seconds(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

/// CPU time, user and system, of a process, all its threads (those that ended too) and its descendants, in seconds.
///
/// It is what /proc/PID/stat shows as utime + stime, but read from the process's CPU clock: nanoseconds
/// instead of ticks of 10 ms.
pub fn cpu(root: u32) -> f64 {
    let used = |pid: u32| -> Option<Duration> {
        let clock = clock_getcpuclockid(Pid::from_raw(pid as i32)).ok()?;
        Some(clock_gettime(clock).ok()?.into())
    };
    tree(root)
        .into_iter()
        .filter_map(used)
        .map(|used| used.as_secs_f64())
        .sum()
}

/// Proportional set size of the tree, in KiB.
pub fn pss(root: u32) -> f64 {
    let of = |pid: u32| -> Option<f64> {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find(|line| line.starts_with("Pss:"))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    tree(root).into_iter().filter_map(of).sum()
}

/// The same when it stands still: two looks, a tenth of a second apart, that differ by less than a hundredth, or the last one of two
/// seconds.
pub fn settled_pss(root: u32) -> f64 {
    let (end, mut before) = (Instant::now() + Duration::from_secs(2), pss(root));
    loop {
        thread::sleep(Duration::from_millis(100));
        let after = pss(root);
        if (after - before).abs() * 100.0 < after || Instant::now() > end {
            return after;
        }
        before = after;
    }
}

/// The process and its descendants.
fn tree(root: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return vec![root];
    };
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parents: Vec<(u32, u32)> = pids.filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&one) = found.get(next) {
        found.extend(
            parents
                .iter()
                .filter(|(_, parent)| *parent == one)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found
}

fn parent(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold spaces and brackets.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}

/// CPU time that the whole machine has spent on others than this process and its descendants that have ended, in seconds.
pub fn others() -> f64 {
    let text = fs::read_to_string("/proc/stat").unwrap_or_default();
    // "cpu", then user, nice, system, idle, iowait, irq, softirq in ticks of 10 ms.
    let ticks: Vec<f64> = text
        .split_whitespace()
        .skip(1)
        .take(7)
        .filter_map(|field| field.parse().ok())
        .collect();
    let busy: f64 = ticks
        .iter()
        .enumerate()
        .filter(|(place, _)| !matches!(place, 3 | 4))
        .map(|(_, ticks)| ticks / 100.0)
        .sum();
    let of = |who| {
        getrusage(who).map_or(0.0, |usage| {
            seconds_of(usage.user_time()) + seconds_of(usage.system_time())
        })
    };
    busy - of(UsageWho::RUSAGE_SELF) - of(UsageWho::RUSAGE_CHILDREN)
}

fn seconds_of(time: TimeVal) -> f64 {
    time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6
}

/// Open files that the largest measure needs: 10,000 connections of clients, and room for as many to the endpoints.
const FILES: u64 = 24_000;

/// Raises the limits of open files as far as we may, for us and for all that we start: the soft one to the hard one, and as root that one too.
pub fn raise_descriptors() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let wanted = hard.max(FILES);
    if soft < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, wanted).is_ok() {
        return Ok(wanted);
    }
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

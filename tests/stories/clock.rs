//! The machine's clock is set, far ahead and far back: the log tells the new time, and nothing else changes.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::common::events::{delta, message_start, message_stop};
use crate::common::prelude::*;

/// Stands before the C library's clock, and adds the seconds that the file named by CLOCK_OFFSET holds. The monotonic clock is
/// left alone: nobody can set that one, and it stands still while the machine sleeps.
const CLOCK: &str = r#"
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    long offset = 0;
    int is_ours = clock == CLOCK_REALTIME || clock == CLOCK_BOOTTIME;
    FILE *file = is_ours ? fopen(getenv("CLOCK_OFFSET"), "r") : NULL;
    if (file) {
        if (fscanf(file, "%ld", &offset) != 1) offset = 0;
        fclose(file);
    }
    int result = syscall(SYS_clock_gettime, clock, time);
    time->tv_sec += offset;
    return result;
}
"#;

const YEAR: i64 = 365 * 24 * 3600;

/// A clock that the story sets.
struct Clock {
    offset: PathBuf,
    library: PathBuf,
}

impl Clock {
    fn build(folder: &Folder) -> Clock {
        let source = folder.write("clock.c", CLOCK);
        let library = folder.path().join("clock.so");
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .status();
        assert!(
            built.is_ok_and(|status| status.success()),
            "cc, which Rust links with, builds a library"
        );
        let clock = Clock {
            offset: folder.path().join("offset"),
            library,
        };
        clock.set(0);
        clock
    }

    /// By a rename: whoever looks at the time sees the old one or the new one.
    fn set(&self, seconds: i64) {
        let new = self.offset.with_extension("new");
        fs::write(&new, seconds.to_string())
            .and_then(|()| fs::rename(&new, &self.offset))
            .expect("a file for the clock");
    }
}

fn year(balancer: &Balancer) -> i64 {
    let health = balancer.health();
    let time = health["timestamp"].as_str().expect("a time");
    time[..4].parse().expect("a year")
}

#[test]
fn a_clock_that_is_set_disturbs_nobody() {
    let (sick, well) = (Upstream::script([status(500)]), Upstream::by_hand());
    let setup = balance(&[&sick, &well])
        .set("cooldownSeconds", 3)
        .set("failures", 1)
        .set("clientSeconds", 20)
        .set("responseSeconds", 20)
        .set("idleSeconds", 20)
        .set("queueSeconds", 20);
    let clock = Clock::build(setup.folder());
    let balancer = setup
        .env("LD_PRELOAD", &clock.library)
        .env("CLOCK_OFFSET", &clock.offset)
        .start();
    let now = year(&balancer);

    // Everything that has a time: a cooldown, a stream, a request that waits for its answer, one that is half sent, a kept connection.
    let rested = Instant::now();
    let (mut streaming, mut call, _) = balancer.reach(&well);
    call.begin().chunk(message_start());
    streaming.head();
    streaming.event();
    let mut waiting = balancer.client();
    waiting.send(Request::message().bytes());
    let waited = well.call();
    let mut kept = balancer.client();
    kept.ask(&Request::new("GET", "/health"));
    let mut slow = balancer.client();
    slow.send("GET /health HTTP/1.1\r\n");
    assert_eq!(balancer.state(0), "resting");

    for (jump, text) in [(3, "ahead"), (-3, "back"), (0, "and as it was")] {
        clock.set(jump * YEAR);
        eventually("the clock is set", || {
            ((year(&balancer) - now - jump).abs() <= 1).then_some(())
        });
        call.chunk(delta(text));
        assert_eq!(streaming.event(), delta(text));
        let health = balancer.health();
        assert!(
            health["uptimeSeconds"].as_f64().expect("a number") < 60.0,
            "{health}"
        );
        let state = balancer.state(0);
        if rested.elapsed() < Duration::from_secs(2) {
            assert_eq!(state, "resting", "a cooldown has its own time");
        }
    }
    assert_eq!(kept.ask(&Request::new("GET", "/health")).status, 200);
    slow.send("host: localhost\r\n\r\n");
    assert_eq!(slow.answer().status, 200);
    waited.answer(ok("late"));
    assert_eq!(waiting.answer().text(), "late");
    call.chunk(message_stop());
    call.end();
    assert_eq!(streaming.rest(), (message_stop().into_bytes(), true));
    eventually("the cooldown ends when its time is over", || {
        (balancer.state(0) == "up").then_some(())
    });
    assert!(rested.elapsed() > Duration::from_millis(2500));
    assert_eq!(balancer.health()["status"], "healthy");
}

#[test]
fn connections_from_before_a_sleep_are_not_used_after_it() {
    let up = Upstream::always(ok("{}"));
    let setup = balance(&[&up]);
    let clock = Clock::build(setup.folder());
    let balancer = setup
        .env("LD_PRELOAD", &clock.library)
        .env("CLOCK_OFFSET", &clock.offset)
        .start();
    for _ in 0..2 {
        assert_eq!(balancer.ask().status, 200);
        balancer.settle();
    }
    assert_eq!(up.connections(), 1);
    clock.set(3600);
    assert_eq!(balancer.ask().status, 200);
    assert_eq!(up.connections(), 2, "an hour has passed at the endpoint");
}

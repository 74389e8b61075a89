//! When workers end, by the clock that they are given.

use std::time::{Duration, Instant};

use crate::server::crew::{Call, Crew, Idle, PERIOD, RESERVE};

/// So many workers at work, and then none of them.
fn after_a_crowd_of(workers: usize, now: Instant) -> Crew {
    let mut crew = Crew::new(300, now);
    for _ in 0..workers {
        assert_eq!(crew.call(), Call::New);
        crew.comes();
        crew.takes();
    }
    for _ in 0..workers {
        assert_eq!(crew.finds_none(now), Idle::Waits);
    }
    crew
}

#[test]
fn a_crowds_workers_end_though_each_of_them_is_woken_now_and_then() {
    let start = Instant::now();
    let mut crew = after_a_crowd_of(250, start);
    let mut ended = Vec::new();
    let mut now = start;
    // Fifty requests a second: none waits for longer than five seconds.
    while now < start + PERIOD * 3 {
        assert_eq!(crew.call(), Call::Waiting);
        crew.comes();
        crew.takes();
        if let Idle::Ends { is_last } = crew.finds_none(now) {
            ended.push(is_last);
            assert!(now >= start + PERIOD, "it was needed just now");
        }
        now += Duration::from_millis(20);
    }
    assert_eq!(ended.len(), 250 - RESERVE);
    let lasts = ended.iter().filter(|is_last| **is_last).count();
    assert_eq!((lasts, ended.last()), (1, Some(&true)));
}

#[test]
fn those_that_are_needed_and_a_few_more_stay() {
    let start = Instant::now();
    let mut crew = after_a_crowd_of(20, start);
    let mut waiting = 20;
    for period in 1..5 {
        let stays = |_: &usize| {
            crew.comes();
            crew.finds_none(start + PERIOD * period) == Idle::Waits
        };
        waiting = (0..waiting).filter(stays).count();
    }
    assert_eq!(waiting, RESERVE);
}

#[test]
fn one_that_is_just_started_and_finds_nothing_stays_for_a_while() {
    let start = Instant::now();
    let mut crew = after_a_crowd_of(10, start);
    for _ in 0..10 {
        crew.comes();
        crew.takes();
    }
    assert_eq!(crew.call(), Call::New);
    crew.comes();
    assert_eq!(crew.finds_none(start), Idle::Waits);
}

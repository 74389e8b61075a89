//! All measures, and what is asked of each: the goal, and the aim behind it.
//!
//! Goals by their subjects: 1 a small request, 2 much data, 3 streams, 4 latency, 5 memory, 6 a crowd, 7 what must stay flat,
//! 8 size and start, 9 connections to the endpoints, 10 the choice.

use crate::measures::{Field, How, Measure, Pace, RECOVERED};
use crate::params::Params;
use crate::report::Ask::{self, *};
use crate::targets::Setup;

/// Idle connections of `idle`.
const IDLE: usize = 10_000;

/// Open files of a balancer with 4,000 streams: two a stream, and as many to spare.
const CROWD_FILES: u64 = 17_000;

/// Whether the endpoints are behind TLS: the same is measured, and other things are asked.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    Plain,
    Tls,
}

impl Way {
    fn name(self, name: &str) -> String {
        match self {
            Way::Plain => name.to_owned(),
            Way::Tls => format!("tls-{name}"),
        }
    }

    fn what(self, what: &str) -> String {
        match self {
            Way::Plain => what.to_owned(),
            Way::Tls => format!("TLS: {what}"),
        }
    }

    fn ask(self, plain: Ask, tls: Ask) -> Ask {
        match self {
            Way::Plain => plain,
            Way::Tls => tls,
        }
    }

    fn setup(self, setup: Setup) -> Setup {
        let tls = self == Way::Tls;
        Setup { tls, ..setup }
    }
}

/// Those that take long or stir up the machine come last.
pub fn all(pace: Pace) -> Vec<Measure> {
    use Way::{Plain, Tls};
    vec![
        size(),
        start(pace),
        choose(pace),
        small(pace, Plain),
        small(pace, Tls),
        prompt(pace, Plain),
        prompt(pace, Tls),
        large(pace),
        answer(pace),
        latency(pace, Plain),
        latency(pace, Tls),
        reuse(pace),
        streams(pace, Plain),
        streams(pace, Tls),
        idle(pace),
        endpoints(pace),
        recovery(pace),
        crowd(pace, Plain),
        uploads(pace),
        million(pace),
        crowd(pace, Tls),
    ]
}

fn load(pace: Pace, what: &str, connections: usize) -> Params {
    Params::default()
        .with("do", what)
        .with("connections", connections)
        .with("warm", pace.warm)
        .with("seconds", pace.window)
}

/// Streams that begin evenly over `ramp` seconds. No two of them have their events at the same moment: `ramp` is no multiple of the gap.
fn streaming(pace: Pace, count: usize, ramp: f64) -> Params {
    load(pace, "streams", count)
        .with("gap", 0.2)
        .with("ramp", ramp)
        .with("settle", pace.warm * 2.0)
}

/// Room for so many streams.
fn room(workers: usize, way: Way) -> Setup {
    way.setup(Setup {
        workers: Some(workers),
        connections: Some(workers + 200),
        streams: true,
        ..Setup::DEFAULT
    })
}

/// Rounds of what takes long, or hardly changes from round to round.
fn few(pace: Pace) -> usize {
    if pace.thorough { pace.rounds } else { 1 }
}

fn size() -> Measure {
    Measure::new("size", How::Size, Field::All, 1).row(
        8,
        "binary, MB",
        "size_mb",
        AtMost(4.2, None),
    )
}

#[rustfmt::skip]
fn start(pace: Pace) -> Measure {
    Measure::new("start", How::Start, Field::All, few(pace))
        .row(5, "default settings, at rest, PSS MB", "idle_mb", AtMost(4.5, Some(3.5)))
        .row(8, "start to first answer, ms", "start_ms", AtMost(10.0, None))
}

#[rustfmt::skip]
fn choose(pace: Pace) -> Measure {
    let how = How::Choose(Params::default().with("seconds", pace.window / 5.0));
    Measure::new("choose", how, Field::Within, few(pace))
        .row(10, "pick of 2 endpoints, CPU us", "turn_2_us", AtMost(1.0, None))
        .row(10, "pick of 64", "turn_64_us", AtMost(5.0, None))
        .row(10, "pick of 1,000", "turn_1000_us", AtMost(60.0, None))
        .row(10, "conversation's pick of 2, CPU us", "conversation_2_us", AtMost(1.0, None))
        .row(10, "conversation's pick of 64", "conversation_64_us", AtMost(5.0, None))
        .row(10, "conversation's pick of 1,000", "conversation_1000_us", AtMost(60.0, None))
        .row(10, "scan of a body of 76 KB, CPU us", "scan_76_us", AtMost(40.0, None))
        .row(10, "scan of a body of 1 MB", "scan_1000_us", AtMost(400.0, None))
}

#[rustfmt::skip]
fn small(pace: Pace, way: Way) -> Measure {
    let how = How::Load(way.setup(Setup::DEFAULT), load(pace, "closed", 32));
    let cpu = way.ask(Times(2.3, Some(1.8)), Times(2.4, Some(1.8)));
    let rps = way.ask(TimesAtLeast(0.6, Some(0.8)), TimesAtLeast(0.7, Some(0.9)));
    Measure::new(way.name("small"), how, Field::All, pace.rounds)
        .row(1, way.what("0.8 KB request, CPU us"), "cpu_us", cpu)
        .row(1, way.what("0.8 KB, 32 conns, requests/s"), "rps", rps)
        .row(1, way.what("0.8 KB, 32 conns, p99 us"), "p99_us", Times(1.3, Some(1.0)))
}

#[rustfmt::skip]
fn prompt(pace: Pace, way: Way) -> Measure {
    let load = load(pace, "closed", 32).with("body", 76_000);
    let how = How::Load(way.setup(Setup::DEFAULT), load);
    let cpu = way.ask(Times(2.0, Some(1.5)), Times(1.8, Some(1.3)));
    Measure::new(way.name("prompt"), how, Field::All, pace.rounds)
        .row(2, way.what("76 KB prompt, CPU us"), "cpu_us", cpu)
        .row(0, way.what("76 KB prompt, requests/s"), "rps", Info)
}

#[rustfmt::skip]
fn large(pace: Pace) -> Measure {
    let how = How::Load(Setup::DEFAULT, load(pace, "closed", 16).with("body", 1_000_000));
    Measure::new("large", how, Field::All, pace.rounds)
        .row(2, "1 MB prompt, 16 conns, CPU us", "cpu_us", Times(2.0, Some(1.3)))
        .row(0, "1 MB prompt, requests/s", "rps", Info)
}

#[rustfmt::skip]
fn answer(pace: Pace) -> Measure {
    let how = How::Load(Setup::DEFAULT, load(pace, "closed", 16).with("answer", 10_000_000));
    Measure::new("answer", how, Field::All, pace.rounds)
        .row(2, "10 MB answer, 16 conns, CPU us", "cpu_us", Times(2.0, Some(1.3)))
        .row(0, "10 MB answer, answers/s", "rps", Info)
}

#[rustfmt::skip]
fn latency(pace: Pace, way: Way) -> Measure {
    let how = How::Added(way.setup(Setup::DEFAULT), load(pace, "open", 16).with("rate", 500));
    let rounds = if way == Way::Plain { pace.rounds } else { few(pace) };
    Measure::new(way.name("latency"), how, Field::All, rounds)
        .row(4, way.what("added at 500/s, 16 conns, p50 us"), "added_p50_us", Plus(80.0, Some(40.0)))
        .row(4, way.what("added at 500/s, 16 conns, p99 us"), "added_p99_us", Times(1.3, Some(1.0)))
        .row(0, way.what("500/s over 16 conns, p50 us"), "p50_us", Info)
        .row(0, way.what("500/s over 16 conns, p99 us"), "p99_us", Info)
}

fn reuse(pace: Pace) -> Measure {
    let how = How::Opened(load(pace, "closed", 1));
    Measure::new("reuse", how, Field::NoHaproxy, 1).row(
        9,
        "endpoint connections, 1 client",
        "opened",
        AtMost(2.0, None),
    )
}

#[rustfmt::skip]
fn streams(pace: Pace, way: Way) -> Measure {
    let load = streaming(pace, 1000, 1.9).with("seconds", pace.window + 1.0);
    let memory = way.ask(AtMost(30.0, Some(22.0)), AtMost(50.0, Some(36.0)));
    Measure::new(way.name("streams"), How::Load(room(1000, way), load), Field::All, few(pace))
        .row(3, way.what("1,000 streams, an event, CPU us"), "cpu_us", Times(1.2, Some(1.0)))
        .row(3, way.what("1,000 streams, delay p50 us"), "p50_us", Times(1.2, Some(1.0)))
        .row(3, way.what("1,000 streams, delay p99 us"), "p99_us", Times(1.5, Some(1.0)))
        .row(0, way.what("1,000 begin in 2 s, first p50 ms"), "first_p50_ms", Info)
        .row(3, way.what("1,000 begin in 2 s, first p99 ms"), "first_p99_ms", Times(1.5, Some(1.0)))
        .row(5, way.what("1,000 streams, KiB a stream"), "kib", memory)
}

/// The memory of one connection among them, and what serving others costs beside them.
#[rustfmt::skip]
fn idle(pace: Pace) -> Measure {
    let setup = Setup { connections: Some(IDLE + 200), ..Setup::DEFAULT };
    let how = How::Load(setup, load(pace, "idle", 32).with("idle", IDLE));
    Measure::new("idle", how, Field::All, few(pace))
        .row(5, "idle connection, PSS KiB", "kib", AtMost(2.0, Some(1.0)))
        .row(0, "0.8 KB, no idle conns, CPU us", "without_us", Info)
        .row(7, "0.8 KB, 10,000 idle conns, CPU us", "with_us", Same("without_us"))
        .row(0, "0.8 KB, no idle conns, p50 us", "without_p50_us", Info)
        .row(7, "0.8 KB, 10,000 idle conns, p50 us", "with_p50_us", Same("without_p50_us"))
}

#[rustfmt::skip]
fn endpoints(pace: Pace) -> Measure {
    let how = How::Endpoints(load(pace, "closed", 32));
    Measure::new("endpoints", how, Field::Alone, few(pace))
        .row(0, "0.8 KB, 2 endpoints, CPU us", "two_us", Info)
        .row(7, "0.8 KB, 64 endpoints, CPU us", "sixty_four_us", Same("two_us"))
}

#[rustfmt::skip]
fn recovery(pace: Pace) -> Measure {
    let load = streaming(pace, 1000, 1.3).with("recover", pace.recover);
    Measure::new("recovery", How::Load(room(1000, Way::Plain), load), Field::Alone, 1)
        .row(5, "after 1,000 streams, MB over idle", "after_mb", AtMost(RECOVERED, None))
        .row(0, "after them, seconds until then", "after_s", Info)
}

#[rustfmt::skip]
fn crowd(pace: Pace, way: Way) -> Measure {
    let how = How::Load(room(4096, way), streaming(pace, 4000, 3.1));
    let rounds = if way == Way::Plain { few(pace) } else { 1 };
    Measure::new(way.name("crowd"), how, Field::NoHaproxy, rounds)
        .needs(CROWD_FILES)
        .row(6, way.what("4,000 streams, delay p99 ms"), "p99_ms", way.ask(AtMost(20.0, None), Info))
        .row(6, way.what("4,000 streams, broken"), "failed", AtMost(0.0, None))
        .row(0, way.what("4,000 streams, an event, CPU us"), "cpu_us", Info)
}

#[rustfmt::skip]
fn uploads(pace: Pace) -> Measure {
    let load = load(pace, "once", 256).with("body", 8_000_000).with("hold", pace.hold);
    Measure::new("uploads", How::Load(Setup::DEFAULT, load), Field::NoHaproxy, few(pace))
        .row(2, "256 x 8 MB at once, peak PSS MB", "peak_mb", AtMost(4000.0, None))
        .row(0, "256 x 8 MB at once, seconds", "seconds", Info)
}

#[rustfmt::skip]
fn million(pace: Pace) -> Measure {
    let load = load(pace, "many", 32).with("requests", pace.many);
    Measure::new("million", How::Load(Setup::DEFAULT, load), Field::Alone, 1)
        .row(0, "first tenth of many, CPU us", "first_us", Info)
        .row(7, "last tenth of many, CPU us", "last_us", Same("first_us"))
}

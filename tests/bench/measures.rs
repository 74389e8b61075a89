//! What is measured, how, and what is asked of it (the goals by their numbers).

use crate::params::Params;
use crate::report::{Ask, Ask::*};
use crate::targets::Setup;

/// How long the parts of a measure take, and how often they are repeated.
#[derive(Clone, Copy)]
pub struct Pace {
    /// Seconds of a window.
    pub window: f64,
    /// Seconds before it that do not count.
    pub warm: f64,
    pub rounds: usize,
    /// How long the endpoints hold the requests of `uploads`, so that all are there at the same time, in ms.
    pub hold: u32,
    /// Requests of `million`.
    pub many: u64,
    /// Longest wait for the memory to come back after the streams, in seconds.
    pub recover: f64,
    /// HAProxy too, and more than one round of what takes long.
    pub thorough: bool,
}

impl Pace {
    pub const FULL: Pace = Pace {
        window: 3.0,
        warm: 0.7,
        rounds: 3,
        hold: 3000,
        many: 1_000_000,
        recover: 60.0,
        thorough: true,
    };
    pub const QUICK: Pace = Pace {
        window: 0.6,
        warm: 0.2,
        rounds: 3,
        hold: 1500,
        many: 50_000,
        recover: 5.0,
        thorough: false,
    };
}

/// Memory that may be left over when all streams have ended, in MB.
pub const RECOVERED: f64 = 8.0;

/// Who takes part.
#[derive(Clone, Copy, PartialEq)]
pub enum Field {
    All,
    /// HAProxy is left out: it has nothing of the kind, or it takes long and says little.
    NoHaproxy,
    /// A promise about ourselves: the other build takes part where builds are compared.
    Alone,
}

pub struct Measure {
    pub name: &'static str,
    pub how: How,
    pub field: Field,
    pub rows: Vec<Row>,
    /// 1: one round is enough, because it takes long and changes little.
    pub rounds: usize,
}

pub enum How {
    /// The load generator with these parameters against a balancer set up like that.
    Load(Setup, Params),
    /// The same, and without a balancer: what it adds is the difference.
    Added(Params),
    /// Connections that the endpoints see during this load.
    Opened(Params),
    /// The same load against 2 and 64 endpoints.
    Endpoints(Params),
    /// Time to the first answer, and memory at rest.
    Start,
    /// Size of the binary.
    Size,
}

pub struct Row {
    /// The goal's number in the issue that set it.
    pub goal: u8,
    pub what: &'static str,
    pub figure: &'static str,
    pub ask: Ask,
}

/// All measures; those that take long or stir up the machine come last.
pub fn all(pace: Pace) -> Vec<Measure> {
    let load = |what: &str, connections: usize| {
        Params::default()
            .with("do", what)
            .with("connections", connections)
            .with("warm", pace.warm)
            .with("seconds", pace.window)
    };
    let streams = |count: usize, ramp: f64| {
        load("streams", count)
            .with("gap", 0.2)
            .with("ramp", ramp)
            .with("settle", pace.warm * 2.0)
    };
    let room = |count: usize| Setup {
        workers: Some(count),
        connections: Some(count + 200),
        ..Setup::DEFAULT
    };
    let row = |goal, what, figure, ask| Row {
        goal,
        what,
        figure,
        ask,
    };
    let measure = |name, how, field, rows| Measure {
        name,
        how,
        field,
        rows,
        rounds: pace.rounds,
    };
    let uploads = load("once", 256)
        .with("body", 8_000_000)
        .with("hold", pace.hold);
    // What takes long, or hardly changes from round to round.
    let few = if pace.thorough { pace.rounds } else { 1 };
    vec![
        Measure {
            rounds: 1,
            ..measure(
                "size",
                How::Size,
                Field::All,
                vec![row(8, "binary, MB", "size_mb", AtMost(4.0, None))],
            )
        },
        Measure {
            rounds: few,
            ..measure(
                "start",
                How::Start,
                Field::All,
                vec![
                    row(
                        5,
                        "default settings, at rest, PSS MB",
                        "idle_mb",
                        AtMost(5.0, Some(4.0)),
                    ),
                    row(
                        8,
                        "start to first answer, ms",
                        "start_ms",
                        AtMost(20.0, None),
                    ),
                ],
            )
        },
        measure(
            "small",
            How::Load(Setup::DEFAULT, load("closed", 32)),
            Field::All,
            vec![
                row(1, "0.8 KB request, CPU us", "cpu_us", Times(4.0, Some(2.5))),
                row(
                    1,
                    "0.8 KB, 32 conns, requests/s",
                    "rps",
                    TimesAtLeast(0.4, Some(0.7)),
                ),
                row(1, "0.8 KB, 32 conns, p99 us", "p99_us", Times(1.5, None)),
            ],
        ),
        measure(
            "prompt",
            How::Load(Setup::DEFAULT, load("closed", 32).with("body", 76_000)),
            Field::All,
            vec![
                row(2, "76 KB prompt, CPU us", "cpu_us", Times(2.5, Some(1.5))),
                row(0, "76 KB prompt, requests/s", "rps", Info),
            ],
        ),
        measure(
            "large",
            How::Load(Setup::DEFAULT, load("closed", 16).with("body", 1_000_000)),
            Field::All,
            vec![
                row(
                    2,
                    "1 MB prompt, 16 conns, CPU us",
                    "cpu_us",
                    Times(2.0, Some(1.3)),
                ),
                row(0, "1 MB prompt, requests/s", "rps", Info),
            ],
        ),
        measure(
            "answer",
            How::Load(
                Setup::DEFAULT,
                load("closed", 16).with("answer", 10_000_000),
            ),
            Field::All,
            vec![
                row(
                    2,
                    "10 MB answer, 16 conns, CPU us",
                    "cpu_us",
                    Times(2.0, Some(1.3)),
                ),
                row(0, "10 MB answer, answers/s", "rps", Info),
            ],
        ),
        measure(
            "latency",
            How::Added(load("open", 16).with("rate", 500)),
            Field::All,
            vec![
                row(
                    4,
                    "added at 500/s, 16 conns, p50 us",
                    "added_p50_us",
                    Plus(120.0, Some(60.0)),
                ),
                row(
                    4,
                    "added at 500/s, 16 conns, p99 us",
                    "added_p99_us",
                    Times(1.5, None),
                ),
                row(0, "500/s over 16 conns, p50 us", "p50_us", Info),
                row(0, "500/s over 16 conns, p99 us", "p99_us", Info),
            ],
        ),
        Measure {
            rounds: 1,
            ..measure(
                "reuse",
                How::Opened(load("closed", 1)),
                Field::NoHaproxy,
                vec![row(
                    9,
                    "endpoint connections, 1 client",
                    "opened",
                    AtMost(2.0, None),
                )],
            )
        },
        Measure {
            rounds: few,
            ..measure(
                "streams",
                How::Load(
                    Setup {
                        streams: true,
                        ..room(1000)
                    },
                    streams(1000, 1.3).with("seconds", pace.window + 1.0),
                ),
                Field::All,
                vec![
                    row(
                        3,
                        "1,000 streams, an event, CPU us",
                        "cpu_us",
                        Times(1.8, Some(1.2)),
                    ),
                    row(
                        3,
                        "1,000 streams, delay p50 us",
                        "p50_us",
                        Times(1.5, Some(1.0)),
                    ),
                    row(
                        3,
                        "1,000 streams, delay p99 us",
                        "p99_us",
                        Times(1.5, Some(1.0)),
                    ),
                    row(
                        5,
                        "1,000 streams, PSS KiB a stream",
                        "kib",
                        AtMost(64.0, Some(40.0)),
                    ),
                ],
            )
        },
        Measure {
            rounds: few,
            ..measure(
                "idle",
                How::Load(room_for_idle(), load("idle", 32).with("idle", 2000)),
                if pace.thorough {
                    Field::All
                } else {
                    Field::NoHaproxy
                },
                vec![
                    row(
                        5,
                        "idle connection, PSS KiB",
                        "kib",
                        AtMost(24.0, Some(12.0)),
                    ),
                    row(0, "0.8 KB, no idle conns, CPU us", "without_us", Info),
                    row(
                        7,
                        "0.8 KB, 2,000 idle conns, CPU us",
                        "with_us",
                        Same("without_us"),
                    ),
                ],
            )
        },
        Measure {
            rounds: few,
            ..measure(
                "endpoints",
                How::Endpoints(load("closed", 32)),
                Field::Alone,
                vec![
                    row(0, "0.8 KB, 2 endpoints, CPU us", "two_us", Info),
                    row(
                        7,
                        "0.8 KB, 64 endpoints, CPU us",
                        "sixty_four_us",
                        Same("two_us"),
                    ),
                ],
            )
        },
        Measure {
            rounds: 1,
            ..measure(
                "recovery",
                How::Load(
                    Setup {
                        streams: true,
                        ..room(1000)
                    },
                    streams(1000, 1.3).with("recover", pace.recover),
                ),
                Field::Alone,
                vec![
                    row(
                        5,
                        "after 1,000 streams, MB over idle",
                        "after_mb",
                        AtMost(RECOVERED, None),
                    ),
                    row(0, "after them, seconds until then", "after_s", Info),
                ],
            )
        },
        Measure {
            rounds: few,
            ..measure(
                "crowd",
                How::Load(
                    Setup {
                        streams: true,
                        ..room(4096)
                    },
                    streams(4000, 3.1),
                ),
                Field::NoHaproxy,
                vec![
                    row(
                        6,
                        "4,000 streams, delay p99 ms",
                        "p99_ms",
                        AtMost(50.0, None),
                    ),
                    row(6, "4,000 streams, broken", "failed", AtMost(0.0, None)),
                    row(0, "4,000 streams, an event, CPU us", "cpu_us", Info),
                ],
            )
        },
        Measure {
            rounds: few,
            ..measure(
                "uploads",
                How::Load(Setup::DEFAULT, uploads),
                Field::NoHaproxy,
                vec![
                    row(
                        2,
                        "256 x 8 MB at once, peak PSS MB",
                        "peak_mb",
                        AtMost(4000.0, None),
                    ),
                    row(0, "256 x 8 MB at once, seconds", "seconds", Info),
                ],
            )
        },
        Measure {
            rounds: 1,
            ..measure(
                "million",
                How::Load(Setup::DEFAULT, load("many", 32).with("requests", pace.many)),
                Field::Alone,
                vec![
                    row(0, "first tenth of many, CPU us", "first_us", Info),
                    row(7, "last tenth of many, CPU us", "last_us", Same("first_us")),
                ],
            )
        },
    ]
}

/// Room for 2,000 idle connections and those that work; all else as it comes.
fn room_for_idle() -> Setup {
    Setup {
        connections: Some(2200),
        ..Setup::DEFAULT
    }
}

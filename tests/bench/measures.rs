//! What a measure is: who takes part in it, what is done, and its rows in the table.

use crate::params::Params;
use crate::report::Ask;
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
    /// What is compiled into this program: no build takes part.
    Within,
}

pub struct Measure {
    pub name: String,
    pub how: How,
    pub field: Field,
    pub rows: Vec<Row>,
    /// 1: one round is enough, because it takes long and changes little.
    pub rounds: usize,
    /// Open files that a balancer, or the load generator, has at the same time. 0: not more than any limit.
    pub descriptors: u64,
}

pub enum How {
    /// The load generator with these parameters against a balancer set up like that.
    Load(Setup, Params),
    /// The same, and without a balancer: what it adds is the difference.
    Added(Setup, Params),
    /// Connections that the endpoints see during this load.
    Opened(Params),
    /// The same load against 2 and 64 endpoints.
    Endpoints(Params),
    /// Time to the first answer, and memory at rest.
    Start,
    /// Size of the binary.
    Size,
    /// The choice of an endpoint, and the look into a body, without a network.
    Choose(Params),
}

pub struct Row {
    /// The subject of the goal, see `catalogue`; 0: there is none.
    pub goal: u8,
    pub what: String,
    pub figure: &'static str,
    pub ask: Ask,
}

impl Measure {
    pub fn new(name: impl Into<String>, how: How, field: Field, rounds: usize) -> Measure {
        Measure {
            name: name.into(),
            how,
            field,
            rows: Vec::new(),
            rounds,
            descriptors: 0,
        }
    }

    pub fn needs(mut self, descriptors: u64) -> Measure {
        self.descriptors = descriptors;
        self
    }

    pub fn row(
        mut self,
        goal: u8,
        what: impl Into<String>,
        figure: &'static str,
        ask: Ask,
    ) -> Measure {
        let what = what.into();
        self.rows.push(Row {
            goal,
            what,
            figure,
            ask,
        });
        self
    }
}

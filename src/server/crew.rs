//! How many workers there are, and which of them is told of a request.
//!
//! A fixed number at the most, as the program's shape wants it; but a worker is started when a request first needs it, and ends when
//! none has for a while, since 256 threads that wait cost memory and do nothing.
//!
//! One that is done with a request takes the next one without a sleep. One that waits has to be woken, and while one that was told is
//! on its way nobody else is: when it comes it tells the next one, where there is more. Two that are told at once would only wait for
//! each other's locks, and often one of them comes too late.

use std::time::{Duration, Instant};

/// So many are kept though nobody needs them.
pub const RESERVE: usize = 4;
/// After each of these it is looked how many workers were busy at the same time: no more are needed. The longest wait, too.
pub const PERIOD: Duration = Duration::from_secs(7);

/// Where the workers are. It belongs under the lock of those that wait for them: who looks whether there is a request and who brings
/// one must not miss each other.
pub struct Crew {
    most: usize,
    started: usize,
    /// Those that wait, or are on their way.
    waiting: usize,
    one_is_on_its_way: bool,
    /// The most that were busy at the same time in this period.
    busiest: usize,
    period_ends: Instant,
    /// So many were not needed in the one before.
    surplus: usize,
}

/// Who is to be told of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Call {
    /// One that is on its way or at work will see to it.
    Nobody,
    /// One of those that wait.
    Waiting,
    /// One that has to be started.
    New,
}

/// What a worker does that has found no request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// For [`PERIOD`] at the most.
    Waits,
    /// `is_last`: nobody else is to end now.
    Ends { is_last: bool },
}

impl Crew {
    /// `most`: workers at the same time.
    pub fn new(most: usize, now: Instant) -> Crew {
        Crew {
            most,
            started: 0,
            waiting: 0,
            one_is_on_its_way: false,
            busiest: 0,
            period_ends: now + PERIOD,
            surplus: 0,
        }
    }

    /// There is a request that nobody has taken.
    pub fn call(&mut self) -> Call {
        if self.one_is_on_its_way {
            return Call::Nobody;
        }
        let call = if self.waiting > 0 {
            Call::Waiting
        } else if self.started < self.most {
            self.started += 1;
            self.waiting += 1;
            Call::New
        } else {
            return Call::Nobody;
        };
        self.one_is_on_its_way = true;
        call
    }

    /// The one that was to be started cannot be had.
    pub fn did_not_start(&mut self) {
        self.comes();
        self.started -= 1;
    }

    /// A worker that waited, or was started, looks for a request.
    pub fn comes(&mut self) {
        self.waiting -= 1;
        self.one_is_on_its_way = false;
    }

    /// A worker has found a request.
    pub fn takes(&mut self) {
        self.busiest = self.busiest.max(self.started - self.waiting);
    }

    /// A worker has found none.
    ///
    /// Which one ends does not matter, and it must not be one that was idle for long: those that wait are woken in turn, so under some
    /// load none ever is.
    pub fn finds_none(&mut self, now: Instant) -> Idle {
        if now >= self.period_ends {
            self.surplus = self.started.saturating_sub(self.busiest.max(RESERVE));
            // But for itself, which was busy with nothing but looking.
            self.busiest = self.started - self.waiting - 1;
            self.period_ends = now + PERIOD;
        }
        if self.surplus > 0 && self.started > self.busiest.max(RESERVE) {
            self.surplus -= 1;
            self.started -= 1;
            return Idle::Ends {
                is_last: self.surplus == 0,
            };
        }
        self.waiting += 1;
        Idle::Waits
    }
}

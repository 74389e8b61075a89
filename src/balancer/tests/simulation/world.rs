//! An hour of two hundred conversations over five endpoints that fail in many ways, on a clock of its own.

use std::collections::BTreeMap;
use std::time::Duration;

/// Milliseconds since the hour began.
pub type Time = u64;

const SECOND: Time = 1000;
const HOUR: Time = 3600 * SECOND;
const CONVERSATIONS: usize = 200;
/// So long a client waits for a first byte.
const CLIENT_WAITS: Time = 60 * SECOND;
/// A client that got nothing but an error asks again after this time.
const CLIENT_RETRIES: Time = 10 * SECOND;
/// How often a request that waits for an endpoint asks again.
const TICK: Time = 250;

/// The endpoints: three of the first tier, two spare ones.
pub const ENDPOINTS: [(&str, u8); 5] = [("a", 1), ("b", 1), ("c", 1), ("d", 2), ("e", 2)];

/// What an endpoint does with a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer {
    Good,
    Unreachable,
    /// 429, and for how long.
    RateLimited(Duration),
    /// 500.
    ServerError,
    /// 401.
    Refused,
    /// Nothing at all.
    Silent,
}

/// What the balancer says to a request.
pub enum Sent {
    /// The endpoint's place, and whether it was on cooldown.
    To(usize, bool),
    Wait,
    Nowhere,
}

/// A balancer under test. `request` numbers those under way.
pub trait Fleet {
    fn begin(&mut self, request: usize, conversation: usize);
    fn pick(&mut self, request: usize, now: Time) -> Sent;
    /// The request's last attempt begins to be answered well.
    fn answered(&mut self, request: usize, now: Time);
    /// It has ended; silence ends when the client leaves.
    fn ended(&mut self, request: usize, now: Time, answer: Answer);
    /// The request is over.
    fn finish(&mut self, request: usize);
    /// Makes the checks that are due; `is_well` tells how each would end.
    fn check(&mut self, now: Time, is_well: &dyn Fn(usize) -> bool);
}

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    pub answers: usize,
    /// A conversation's answer came from another endpoint than the one before.
    pub moves: usize,
    pub failed: usize,
    pub at_cooldown: usize,
    /// Clients that waited in vain, and the most that one of them did in one outage.
    pub silent: usize,
    pub most_silent: usize,
    /// Requests that got no good answer for another reason.
    pub unanswered: usize,
}

/// A generator of numbers that is the same everywhere (splitmix64).
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (x ^ (x >> 31)) % n
    }
}

/// What is wrong with an endpoint at a time.
fn fault(endpoint: usize, now: Time) -> Answer {
    match (ENDPOINTS[endpoint].0, now / SECOND) {
        ("b", 300..900) => Answer::Unreachable,
        ("a", second @ 1200..1500) => Answer::RateLimited(Duration::from_secs(1500 - second)),
        // Comes and goes.
        ("c", second @ 1800..2400) if second % 60 < 20 => Answer::ServerError,
        ("c", 2400..2700) => Answer::Silent,
        ("a", 3000..3300) => Answer::Refused,
        ("d", 600..1500) => Answer::Unreachable,
        _ => Answer::Good,
    }
}

enum Event {
    Ask,
    Pick,
    Begins,
    Ends(usize, Answer),
    Check,
}

struct World<'a> {
    fleet: &'a mut dyn Fleet,
    random: Random,
    /// Events by their time; the number keeps those of one moment apart.
    events: BTreeMap<(Time, usize), (usize, Event)>,
    count: usize,
    /// Where each conversation was answered last, and how often it waited in vain.
    places: Vec<Option<usize>>,
    silent: Vec<usize>,
    figures: Figures,
}

/// Runs the hour. Each conversation has one request at a time, so it has the request's number too.
pub fn run(fleet: &mut dyn Fleet, seed: u64) -> Figures {
    let mut world = World {
        fleet,
        random: Random(seed),
        events: BTreeMap::new(),
        count: 0,
        places: vec![None; CONVERSATIONS],
        silent: vec![0; CONVERSATIONS],
        figures: Figures::default(),
    };
    for conversation in 0..CONVERSATIONS {
        let first = world.random.below(30 * SECOND);
        world.schedule(first, conversation, Event::Ask);
    }
    world.schedule(0, 0, Event::Check);
    while let Some(((now, _), (conversation, event))) = world.events.pop_first() {
        if now > HOUR {
            break;
        }
        world.happens(now, conversation, event);
    }
    (0..CONVERSATIONS).for_each(|request| world.fleet.finish(request));
    world.figures.most_silent = world.silent.iter().copied().max().unwrap_or(0);
    world.figures
}

impl World<'_> {
    fn schedule(&mut self, time: Time, conversation: usize, event: Event) {
        self.count += 1;
        self.events
            .insert((time, self.count), (conversation, event));
    }

    fn happens(&mut self, now: Time, conversation: usize, event: Event) {
        match event {
            Event::Check => {
                let is_well = |endpoint| matches!(fault(endpoint, now), Answer::Good);
                self.fleet.check(now, &is_well);
                self.schedule(now + SECOND / 2, 0, Event::Check);
            }
            Event::Ask => {
                self.fleet.begin(conversation, conversation);
                self.pick(now, conversation);
            }
            Event::Pick => self.pick(now, conversation),
            Event::Begins => self.fleet.answered(conversation, now),
            Event::Ends(endpoint, answer) => self.ends(now, conversation, endpoint, answer),
        }
    }

    fn pick(&mut self, now: Time, conversation: usize) {
        match self.fleet.pick(conversation, now) {
            Sent::Wait => self.schedule(now + TICK, conversation, Event::Pick),
            Sent::Nowhere => {
                self.figures.unanswered += 1;
                self.over(now + CLIENT_RETRIES, conversation);
            }
            Sent::To(endpoint, on_cooldown) => {
                self.figures.at_cooldown += usize::from(on_cooldown);
                let mut answer = fault(endpoint, now);
                // One request in a hundred is unlucky, wherever it goes.
                if answer == Answer::Good && self.random.below(100) == 0 {
                    answer = Answer::ServerError;
                }
                let mut takes = match answer {
                    Answer::Good => {
                        self.schedule(now + SECOND, conversation, Event::Begins);
                        2 * SECOND + self.random.below(15 * SECOND)
                    }
                    Answer::Unreachable => 5,
                    Answer::Silent => CLIENT_WAITS,
                    _ => SECOND / 2,
                };
                // One that is going to fall silent finishes what it has begun: nobody could know any sooner.
                if answer == Answer::Good && fault(endpoint, now + takes) == Answer::Silent {
                    takes = SECOND;
                }
                self.schedule(now + takes, conversation, Event::Ends(endpoint, answer));
            }
        }
    }

    fn ends(&mut self, now: Time, conversation: usize, endpoint: usize, answer: Answer) {
        self.fleet.ended(conversation, now, answer);
        let pause = 5 * SECOND + self.random.below(35 * SECOND);
        match answer {
            Answer::Good => {
                let before = self.places[conversation].replace(endpoint);
                self.figures.moves += usize::from(before.is_some_and(|before| before != endpoint));
                self.figures.answers += 1;
                self.over(now + pause, conversation);
            }
            Answer::Silent => {
                self.figures.silent += 1;
                self.silent[conversation] += 1;
                self.over(now + pause, conversation);
            }
            _ => {
                self.figures.failed += 1;
                self.pick(now, conversation);
            }
        }
    }

    fn over(&mut self, next: Time, conversation: usize) {
        self.fleet.finish(conversation);
        self.schedule(next, conversation, Event::Ask);
    }
}

//! The load generator: one thread, many connections, one of a few ways to use them.
//!
//! It is told the balancer's address and process, does one thing (`do=…`) and prints figures. It reads the balancer's CPU time
//! and memory itself, because it knows best when a window begins and ends; each window begins and ends
//! with nothing in flight, so that every request's cost falls into one window, whole.

mod streams;

use std::io;
use std::rc::Rc;

use crate::Failure;
use crate::clients::{Clients, Outcome};
use crate::params::{self, Figures, Params};
use crate::proc::{cpu, now, pss, raise_descriptors, seconds, settled_pss};
use crate::requests::{post, request};
use crate::samples::Samples;

/// How long requests that were sent may still take after a window's end.
const DRAIN: u64 = 20_000_000_000;

/// Nanoseconds in a microsecond, for what people read.
const MICRO: f64 = 1e3;

struct Load {
    clients: Clients,
    /// The balancer's process.
    pid: u32,
    failed: u64,
    outcomes: Vec<Outcome>,
}

/// What happened between two moments without requests in flight.
struct Window {
    /// Seconds of the balancer's.
    cpu: f64,
    /// Those that ended before the window did, and all.
    in_time: u64,
    requests: u64,
    latencies: Samples,
}

pub fn run(params: &Params) -> Result<(), Failure> {
    let clients = Clients::new(params.get("address")?)?;
    let mut load = Load {
        clients,
        pid: params.get("pid")?,
        failed: 0,
        outcomes: Vec::new(),
    };
    let what: String = params.get("do")?;
    let mut figures = match what.as_str() {
        "closed" => load.closed(params),
        "open" => load.open(params),
        "once" => load.once(params),
        "streams" => load.streams(params),
        "idle" => load.idle(params),
        "many" => load.many(params),
        _ => Err(format!("do={what} is nothing that can be done").into()),
    }?;
    figures.insert("failed".into(), load.failed as f64);
    if let Some(trouble) = &load.clients.trouble {
        eprintln!("bench: {} failed: {trouble}", load.failed);
    }
    params::print(&figures);
    Ok(())
}

impl Load {
    /// Each connection sends its next request as soon as it has the answer to the last.
    fn closed(&mut self, params: &Params) -> Result<Figures, Failure> {
        let (request, length) = (request(params)?, params.get("seconds")?);
        let connections = self.connect(params.get("connections")?)?;
        self.window(&connections, &request, params.get("warm")?, u64::MAX)?;
        let mut window = self.window(&connections, &request, length, u64::MAX)?;
        Ok(figures([
            ("cpu_us", window.cpu_us()),
            ("rps", window.in_time as f64 / length),
            ("p50_us", window.latencies.percentile(0.5) / MICRO),
            ("p99_us", window.latencies.percentile(0.99) / MICRO),
        ]))
    }

    /// Requests at a fixed rate, however long their answers take; a latency counts from when a request was due.
    fn open(&mut self, params: &Params) -> Result<Figures, Failure> {
        let request = request(params)?;
        let connections = self.connect(params.get("connections")?)?;
        let gap = seconds(1.0 / params.get::<f64>("rate")?);
        let measured = now() + seconds(params.get("warm")?);
        let end = measured + seconds(params.get("seconds")?);
        let mut free: std::collections::VecDeque<usize> = connections.into();
        let mut latencies = Samples::default();
        let mut due = now() + gap;
        let mut running = 0;
        while due < end || running > 0 {
            while due <= now() && due < end {
                // None free: it is late then, and that counts.
                let Some(number) = free.pop_front() else {
                    break;
                };
                self.clients.send(number, &request, due);
                running += 1;
                due += gap;
            }
            let wake = if due < end && !free.is_empty() {
                due
            } else {
                end + DRAIN
            };
            self.turn(wake)?;
            for outcome in std::mem::take(&mut self.outcomes) {
                running -= 1;
                free.push_back(outcome.client);
                if outcome.good && due > measured {
                    latencies.push(outcome.latency);
                }
            }
            if now() > end + DRAIN {
                return Err("requests got no answer".into());
            }
        }
        Ok(figures([
            ("p50_us", latencies.percentile(0.5) / MICRO),
            ("p99_us", latencies.percentile(0.99) / MICRO),
        ]))
    }

    /// One request on each of many connections, all at the same moment; how much memory that takes at its height.
    fn once(&mut self, params: &Params) -> Result<Figures, Failure> {
        let request = request(params)?;
        let connections = self.connect(params.get("connections")?)?;
        let began = now();
        for &number in &connections {
            self.clients.send(number, &request, began);
        }
        let (mut left, mut peak) = (connections.len(), 0.0_f64);
        let mut look = began;
        while left > 0 {
            if now() >= look {
                peak = peak.max(pss(self.pid));
                look = now() + seconds(0.05);
            }
            self.turn(look)?;
            left -= self.outcomes.len();
            if now() > began + 3 * DRAIN {
                return Err("requests got no answer".into());
            }
        }
        Ok(figures([
            ("peak_mb", megabytes(peak)),
            ("seconds", (now() - began) as f64 / 1e9),
        ]))
    }

    /// The memory and the cost of connections that do nothing; each has been used once.
    fn idle(&mut self, params: &Params) -> Result<Figures, Failure> {
        let (request, length) = (request(params)?, params.get("seconds")?);
        let active = self.connect(params.get("connections")?)?;
        self.window(&active, &request, params.get("warm")?, u64::MAX)?;
        let mut without = self.window(&active, &request, length, u64::MAX)?;
        let before = settled_pss(self.pid);
        // The balancer keeps a file for an endpoint's connection beside each client's, and some more for the active ones.
        let wanted: u64 = params.get("idle")?;
        let possible = wanted.min(raise_descriptors()?.saturating_sub(600) / 2);
        if possible < wanted {
            eprintln!(
                "bench: {possible} idle connections instead of {wanted}, for want of open files: see `ulimit -Hn`"
            );
        }
        let count = usize::try_from(possible)?;
        for _ in 0..count / active.len() {
            let some = self.connect(active.len())?;
            self.window(&some, &request, 10.0, some.len() as u64)?;
        }
        let memory = settled_pss(self.pid) - before;
        self.window(&active, &request, params.get("warm")?, u64::MAX)?;
        let mut with = self.window(&active, &request, length, u64::MAX)?;
        Ok(figures([
            ("kib", memory / (count / active.len() * active.len()) as f64),
            ("without_us", without.cpu_us()),
            ("with_us", with.cpu_us()),
            ("without_p50_us", without.latencies.percentile(0.5) / MICRO),
            ("with_p50_us", with.latencies.percentile(0.5) / MICRO),
        ]))
    }

    /// Very many requests one after the other: what the first of them cost and what the last.
    fn many(&mut self, params: &Params) -> Result<Figures, Failure> {
        let (request, total): (_, u64) = (request(params)?, params.get("requests")?);
        let connections = self.connect(params.get("connections")?)?;
        let part = total / 10;
        self.window(&connections, &request, params.get("warm")?, u64::MAX)?;
        let first = self.window(&connections, &request, 120.0, part)?;
        self.window(&connections, &request, 240.0, total - 2 * part)?;
        let last = self.window(&connections, &request, 120.0, part)?;
        Ok(figures([
            ("first_us", first.cpu_us()),
            ("last_us", last.cpu_us()),
        ]))
    }

    /// A closed loop for so long, or for so many requests, then until nothing is in flight.
    fn window(
        &mut self,
        connections: &[usize],
        request: &Rc<[u8]>,
        length: f64,
        most: u64,
    ) -> Result<Window, Failure> {
        let (cpu_before, began) = (cpu(self.pid), now());
        let end = began + seconds(length);
        let mut window = Window {
            cpu: 0.0,
            in_time: 0,
            requests: 0,
            latencies: Samples::default(),
        };
        let mut sent = 0;
        for &number in connections
            .iter()
            .take(usize::try_from(most).unwrap_or(usize::MAX))
        {
            self.clients.send(number, request, now());
            sent += 1;
        }
        while window.requests < sent {
            self.turn(end + DRAIN)?;
            let at = now();
            if at >= end + DRAIN {
                return Err(format!("{} requests got no answer", sent - window.requests).into());
            }
            for outcome in std::mem::take(&mut self.outcomes) {
                window.requests += 1;
                if at < end {
                    window.in_time += 1;
                    window.latencies.push(outcome.latency);
                    if sent < most {
                        self.clients.send(outcome.client, request, at);
                        sent += 1;
                    }
                }
            }
        }
        window.cpu = cpu(self.pid) - cpu_before;
        Ok(window)
    }

    /// How many requests ended until then.
    fn wait_until(&mut self, due: u64) -> Result<usize, Failure> {
        let mut ended = 0;
        while now() < due {
            self.turn(due)?;
            ended += self.outcomes.len();
        }
        Ok(ended)
    }

    /// Waits for outcomes; connections that were closed are opened again. One that was closed while idle is no outcome.
    fn turn(&mut self, due: u64) -> io::Result<()> {
        self.clients.turn(due, &mut self.outcomes)?;
        for outcome in &self.outcomes {
            self.failed += u64::from(!outcome.good);
            if outcome.closed {
                self.clients.reconnect(outcome.client)?;
            }
        }
        self.outcomes
            .retain(|outcome| !outcome.closed || !outcome.good);
        Ok(())
    }

    /// Memory at rest, after a first request has been served.
    fn resting_memory(&mut self) -> Result<f64, Failure> {
        let connection = self.connect(1)?;
        self.window(&connection, &post("answer=600", 800, false), 10.0, 2)?;
        self.clients.clear();
        Ok(settled_pss(self.pid))
    }

    fn connect(&mut self, count: usize) -> io::Result<Vec<usize>> {
        (0..count).map(|_| self.clients.connect()).collect()
    }
}

impl Window {
    fn cpu_us(&self) -> f64 {
        self.cpu * 1e6 / (self.requests as f64).max(1.0)
    }
}

/// From the kernel's KiB to millions of bytes.
fn megabytes(kib: f64) -> f64 {
    kib * 1024.0 / 1e6
}

fn figures<const N: usize>(pairs: [(&str, f64); N]) -> Figures {
    pairs
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value))
        .collect()
}

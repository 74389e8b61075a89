//! Many event streams at once: how soon each begins, what an event costs and how long it takes, the memory of a stream.

use std::rc::Rc;
use std::thread::sleep;
use std::time::Duration;

use super::{DRAIN, Load, MICRO, figures, megabytes};
use crate::Failure;
use crate::measures::RECOVERED;
use crate::params::{Figures, Params};
use crate::proc::{cpu, now, pss, seconds};
use crate::requests::post;

impl Load {
    /// Many event streams at once, each on its own connection and begun at its own moment. After a while to settle
    /// comes the window; then they end, and the memory should come back.
    pub(super) fn streams(&mut self, params: &Params) -> Result<Figures, Failure> {
        let (count, gap): (usize, f64) = (params.get("connections")?, params.get("gap")?);
        let (ramp, settle, length): (f64, f64, f64) = (
            params.get("ramp")?,
            params.get("settle")?,
            params.get("seconds")?,
        );
        let events = ((ramp + settle + length) / gap * 1.1) as u32;
        let request = post(
            &format!("events={events}&gap={}", (gap * 1e3) as u32),
            800,
            true,
        );
        let before = self.resting_memory()?;
        let connections = self.connect(count)?;
        // Each has served a request before: kept connections are what clients stream over.
        for some in connections.chunks(32) {
            self.window(
                some,
                &post("answer=600", 800, false),
                10.0,
                some.len() as u64,
            )?;
        }
        self.clients.events = events;
        self.clients.firsts.clear();
        let began = now();
        let mut ended = self.start_in_turn(&connections, &request, began, seconds(ramp))?;
        ended += self.wait_until(now() + seconds(settle))?;

        self.clients.delays.clear();
        let (cpu_before, from) = (cpu(self.pid), now());
        ended += self.wait_until(from + seconds(length))?;
        let used = cpu(self.pid) - cpu_before;
        let memory = pss(self.pid) - before;
        let delays = &mut self.clients.delays;
        let in_window = (delays.len() as f64).max(1.0);
        let (p50, p99) = (delays.percentile(0.5), delays.percentile(0.99));

        if ended > 0 {
            eprintln!("bench: {ended} streams ended before the window did");
        }
        let limit = now() + DRAIN;
        while ended < count {
            ended += self.wait_until((now() + seconds(0.1)).min(limit))?;
            if now() >= limit {
                self.failed += (count - ended) as u64;
                break;
            }
        }
        let mut figures = figures([
            ("cpu_us", used * 1e6 / in_window),
            ("p50_us", p50 / MICRO),
            ("p99_us", p99 / MICRO),
            ("p99_ms", p99 / MICRO / 1e3),
            ("kib", memory / count as f64),
            (
                "first_p50_ms",
                self.clients.firsts.percentile(0.5) / MICRO / 1e3,
            ),
            (
                "first_p99_ms",
                self.clients.firsts.percentile(0.99) / MICRO / 1e3,
            ),
        ]);
        self.clients.clear();
        self.recover(before, params.get_or("recover", 0.0)?, &mut figures);
        Ok(figures)
    }

    /// Waits for the memory to come back: to within `RECOVERED`, or as long as it may take.
    fn recover(&self, before: f64, patience: f64, figures: &mut Figures) {
        if patience == 0.0 {
            return;
        }
        let ended = now();
        loop {
            sleep(Duration::from_millis(500));
            let over = megabytes(pss(self.pid) - before);
            let took = (now() - ended) as f64 / 1e9;
            if over <= RECOVERED || took >= patience {
                figures.insert("after_mb".into(), over);
                figures.insert("after_s".into(), took);
                return;
            }
        }
    }

    /// Sends the requests spread evenly over a time; how many were answered meanwhile.
    fn start_in_turn(
        &mut self,
        connections: &[usize],
        request: &Rc<[u8]>,
        began: u64,
        ramp: u64,
    ) -> Result<usize, Failure> {
        let mut ended = 0;
        for (turn, &number) in connections.iter().enumerate() {
            let due = began + ramp * turn as u64 / connections.len() as u64;
            ended += self.wait_until(due)?;
            self.clients.send(number, request, due);
        }
        Ok(ended)
    }
}

//! Who has to go where others wait: for a connection, for a worker, or for memory.
//!
//! Those that nobody uses go first, then those that move next to nothing ([`super::pace`]), the slowest first, and no more of them
//! than others wait. Where nobody waits a slow client is served as long as its own limits allow.

use std::cmp::Reverse;
use std::time::{Duration, Instant};

use super::client::Client;
use super::reactor::Reactor;

/// How often it is looked whether somebody waits for a worker or lacks memory.
pub const LOOK: Duration = Duration::from_secs(1);

impl Reactor {
    /// Makes room for a connection: closes some of those that nobody uses, those first that have waited longest; where there are
    /// none, the slowest of the others.
    pub(super) fn relieve(&mut self, now: Instant) {
        let idle = self.in_order(|client| client.idle_since(now));
        for (_, id) in idle.iter().take(idle.len() / 16 + 1) {
            self.close(*id);
        }
        // One that was cut makes room as soon as its worker has seen it.
        if !idle.is_empty() || self.clients.values().any(Client::is_cut) {
            return;
        }
        let slowest = self.slowest(now, |_| true);
        self.end_slow(slowest.first().copied(), "a connection", now);
    }

    /// Looks whether somebody waits for a worker or lacks memory, and ends slow clients that have it.
    pub(super) fn look_around(&mut self, now: Instant) {
        if self.look_at.is_none_or(|at| now < at) {
            return;
        }
        let crowd = self.host.crowd(now);
        // Otherwise the next step of some client has it looked again.
        self.look_at = (crowd.waiting > 0).then_some(now + LOOK);
        if crowd.lack > 0 {
            let cut = self.clients.values().filter(|client| client.is_cut());
            let lack = crowd.lack.saturating_sub(cut.count());
            let slow = self.slowest(now, Client::is_served);
            self.end_slow(slow.into_iter().take(lack), "a worker", now);
        }
        if self.bodies.was_short() {
            self.make_memory(now);
        }
    }

    /// Ends slow clients until there is room for the largest body, or none is left.
    fn make_memory(&mut self, now: Instant) {
        let enough = self.bodies.used().saturating_sub(self.config.max_body);
        let slow = self.slowest(now, |client| !client.is_served());
        let mut ended = 0;
        for id in slow {
            if self.bodies.used() <= enough {
                break;
            }
            self.step(id, now, Client::give_way);
            ended += 1;
        }
        tell(ended, "memory");
    }

    fn end_slow(&mut self, slow: impl IntoIterator<Item = u64>, awaited: &str, now: Instant) {
        let mut ended = 0;
        for id in slow {
            self.step(id, now, Client::give_way);
            ended += 1;
        }
        tell(ended, awaited);
    }

    /// The slow ones among some clients, the slowest first.
    fn slowest(&self, now: Instant, among: impl Fn(&Client) -> bool) -> Vec<u64> {
        let slow = self.in_order(|client| {
            let is_meant = among(client) && !client.is_cut();
            is_meant
                .then(|| client.slow_for(now))
                .flatten()
                .map(Reverse)
        });
        slow.into_iter().map(|(_, id)| id).collect()
    }

    /// The clients that have a place in an order, in that order.
    fn in_order<T: Ord>(&self, place: impl Fn(&Client) -> Option<T>) -> Vec<(T, u64)> {
        let found = |(id, client): (&u64, &Client)| Some((place(client)?, *id));
        let mut found: Vec<_> = self.clients.iter().filter_map(found).collect();
        found.sort_unstable();
        found
    }
}

fn tell(ended: usize, awaited: &str) {
    if ended > 0 {
        log::warn!(clients = ended; "ended clients that move under 1 KiB/s: others wait for {awaited}");
    }
}

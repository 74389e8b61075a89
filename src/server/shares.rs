//! How many requests of one client may be served at the same time (`maxConcurrent`), and which of them wait for their turn.
//!
//! One that waits keeps no worker: it is handed over when one of its client's requests has ended.

use std::collections::{HashMap, VecDeque};

use crate::downstream::Ticket;

/// The clients that are limited and have requests, by name.
#[derive(Default)]
pub struct Shares(HashMap<String, Share>);

#[derive(Default)]
struct Share {
    running: u32,
    /// In the order in which they came; some may have been withdrawn.
    waiting: VecDeque<Ticket>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    Now,
    /// When [`Shares::left`] names it.
    Later,
    /// Too many of the client's wait already.
    Never,
}

impl Shares {
    /// A request has come. `most`: how many of the client's may run; `may_wait`: how many may wait.
    pub fn came(&mut self, client: &str, ticket: Ticket, most: u32, may_wait: usize) -> Turn {
        let share = match self.0.get_mut(client) {
            Some(share) => share,
            None => self.0.entry(client.to_owned()).or_default(),
        };
        if share.running < most {
            share.running += 1;
            return Turn::Now;
        }
        if share.waiting.len() >= may_wait {
            return Turn::Never;
        }
        share.waiting.push_back(ticket);
        Turn::Later
    }

    /// One that ran has ended. Answers the one whose turn it is: `is_there` tells who still waits.
    pub fn left(
        &mut self,
        client: &str,
        mut is_there: impl FnMut(Ticket) -> bool,
    ) -> Option<Ticket> {
        let share = self.0.get_mut(client)?;
        while let Some(next) = share.waiting.pop_front() {
            if is_there(next) {
                return Some(next);
            }
        }
        share.running -= 1;
        if share.running == 0 {
            self.0.remove(client);
        }
        None
    }

    /// One that waits will not: its client has gone, or its time is over.
    pub fn withdrawn(&mut self, client: &str, ticket: Ticket) {
        if let Some(share) = self.0.get_mut(client) {
            share.waiting.retain(|waiting| *waiting != ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns() {
        let mut shares = Shares::default();
        let mut came = |ticket| shares.came("a", Ticket(ticket), 2, 2);
        let turns: Vec<_> = (1..=5).map(&mut came).collect();
        use Turn::{Later, Never, Now};
        assert_eq!(turns, [Now, Now, Later, Later, Never]);
        assert_eq!(shares.came("b", Ticket(6), 2, 2), Now, "another client's");
        assert_eq!(
            shares.left("a", |ticket| ticket != Ticket(3)),
            Some(Ticket(4))
        );
        assert_eq!(shares.left("a", |_| true), None);
        assert_eq!(shares.came("a", Ticket(7), 2, 2), Now);
        assert_eq!(shares.came("a", Ticket(8), 2, 2), Later);
        shares.withdrawn("a", Ticket(8));
        assert_eq!(shares.left("a", |_| true), None);
        assert_eq!(shares.left("a", |_| true), None);
        assert_eq!(shares.0.len(), 1, "who has no request takes no memory");
    }
}

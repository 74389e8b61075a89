//! A simulated hour: how often conversations move, and what they pay for failures.

mod world;

use std::collections::HashMap;

use super::*;
use world::{Answer, ENDPOINTS, Fleet, Sent, Time};

struct Requests {
    balancer: Test,
    under_way: HashMap<usize, Request>,
}

struct Request {
    search: Search<'static, String>,
    lease: Option<Lease<String>>,
    /// When its attempt began.
    begun: Time,
}

fn moment(now: Time) -> Instant {
    at(0) + Duration::from_millis(now)
}

impl Requests {
    fn lease(&mut self, request: usize) -> Option<&mut Lease<String>> {
        self.under_way.get_mut(&request)?.lease.as_mut()
    }
}

impl Fleet for Requests {
    fn begin(&mut self, request: usize, conversation: usize) {
        let search = self.balancer.search(of(&conversation.to_string()));
        let new = Request {
            search,
            lease: None,
            begun: 0,
        };
        self.under_way.insert(request, new);
    }

    fn pick(&mut self, request: usize, now: Time) -> Sent {
        let request = self.under_way.get_mut(&request).expect("it has begun");
        match request.search.pick(moment(now)) {
            Pick::Go(got) => {
                let is_it = |(name, _): &(&str, u8)| *name == *got;
                let endpoint = ENDPOINTS.iter().position(is_it).expect("one of ours");
                let sent = Sent::To(endpoint, got.is_last_resort());
                (request.lease, request.begun) = (Some(got), now);
                sent
            }
            Pick::Wait => Sent::Wait,
            _ => Sent::Nowhere,
        }
    }

    fn answered(&mut self, request: usize, now: Time) {
        if let Some(lease) = self.lease(request) {
            lease.answered(moment(now));
        }
    }

    fn ended(&mut self, request: usize, now: Time, answer: Answer) {
        let request = self.under_way.get_mut(&request).expect("it has begun");
        let mut lease = request.lease.take().expect("an attempt is under way");
        let waited = Duration::from_millis(now - request.begun);
        let now = moment(now);
        let mut failed = |penalty, cause, answered| {
            let fault = Fault {
                cause,
                answered,
                ..fault(penalty)
            };
            lease.failed(now, fault);
        };
        match answer {
            Answer::Good => drop(lease.succeeded(now)),
            Answer::Silent => drop(lease.client_left(now, waited, false)),
            Answer::Unreachable => failed(Penalty::AtOnce, "unreachable", false),
            Answer::RateLimited(time) => failed(Penalty::RateLimited(time), "rate limited", true),
            Answer::ServerError => failed(Penalty::Counted, "server error", true),
            Answer::Refused => failed(Penalty::For(seconds_of(60)), "token refused", true),
        }
    }

    fn finish(&mut self, request: usize) {
        self.under_way.remove(&request);
    }

    fn check(&mut self, now: Time, is_well: &dyn Fn(usize) -> bool) {
        for check in self.balancer.due_checks(moment(now)) {
            let endpoint = ENDPOINTS.iter().position(|(name, _)| *name == *check);
            if is_well(endpoint.expect("one of ours")) {
                check.passed();
            } else {
                check.failed(moment(now));
            }
        }
    }
}

#[test]
fn an_hour_of_failures_moves_few_conversations_and_costs_few_attempts() {
    let members = || ENDPOINTS.map(|(name, tier)| tiered(name, tier)).into();
    let mut worst = world::Figures::default();
    for seed in 0..5 {
        let balancer = Balancer::new(members(), CHECKED, seed);
        let mut requests = Requests {
            balancer: balancer.clone(),
            under_way: HashMap::new(),
        };
        let figures = world::run(&mut requests, seed);
        println!("{figures:?}");
        let endpoints = balancer.snapshot(moment(3_600_000)).endpoints;
        assert!(endpoints.iter().all(|endpoint| endpoint.in_flight == 0));
        worst.moves = worst.moves.max(figures.moves);
        worst.failed = worst.failed.max(figures.failed);
        worst.at_cooldown = worst.at_cooldown.max(figures.at_cooldown);
        worst.most_silent = worst.most_silent.max(figures.most_silent);
        worst.unanswered = worst.unanswered.max(figures.unanswered);
        assert!(figures.answers > 15_000, "{figures:?}");
    }
    assert_eq!(
        worst.most_silent, 1,
        "nobody waits for a dead endpoint twice"
    );
}

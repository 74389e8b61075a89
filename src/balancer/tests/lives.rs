//! Random lives of a balancer, beside a model of it.

use proptest::prelude::*;

use super::*;

/// What happens to a balancer, in a random life.
#[derive(Clone, Debug)]
enum Event {
    /// A request begins, and takes endpoints until one is kept; so many of its attempts fail first.
    Request {
        session: Option<u8>,
        first: bool,
        patient: bool,
        failures: usize,
    },
    /// The n-th lease gets its answer, makes its endpoint rest, or ends.
    Answer(usize),
    Rest(usize, u64),
    End(usize),
    Time(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let request = (
        prop::option::of(any::<u8>()),
        prop::bool::weighted(0.1),
        any::<bool>(),
        0usize..4,
    )
        .prop_map(|(session, first, patient, failures)| Event::Request {
            session,
            first,
            patient,
            failures,
        });
    prop_oneof![
        6 => request,
        2 => (0usize..8).prop_map(Event::Answer),
        2 => (0usize..8, 1u64..30).prop_map(|(lease, time)| Event::Rest(lease, time)),
        3 => (0usize..8).prop_map(Event::End),
        2 => (1u64..10).prop_map(Event::Time),
    ]
}

/// What a model knows of an endpoint: no more than what the rules speak of.
#[derive(Clone, Debug, Default)]
struct Known {
    most: Option<u32>,
    in_flight: u32,
    until: Option<u64>,
    probing: bool,
}

impl Known {
    fn is_full(&self) -> bool {
        self.most.is_some_and(|most| self.in_flight >= most)
    }

    fn is_available(&self, now: u64) -> bool {
        !self.is_full() && !self.probing && self.until.is_none_or(|until| until <= now)
    }
}

struct Held {
    lease: Lease<String>,
    at: usize,
    in_doubt: bool,
    probes: bool,
}

proptest! {
    /// Whatever happens: an endpoint that rests, is full or is probed is picked only where the rules say so.
    #[test]
    fn the_rules_hold(limits in prop::collection::vec(prop::option::of(1u32..3), 1..5), life in prop::collection::vec(event(), 1..80)) {
        let name = |at: usize| format!("e{at}");
        let seats = limits.iter().enumerate().map(|(at, &most)| seat(&name(at), at as u32 + 1, most));
        let balancer = Balancer::new(seats.collect());
        let ids: Vec<SeatId> = balancer.lock().seats.iter().map(|place| place.id).collect();
        let mut known: Vec<Known> = limits.iter().map(|&most| Known { most, ..Known::default() }).collect();
        let mut held: Vec<Held> = Vec::new();
        let mut now = 0;
        for event in life {
            match event {
                Event::Time(seconds) => now += seconds,
                Event::Answer(n) if n < held.len() => {
                    let Held { lease, at, in_doubt, .. } = &mut held[n];
                    lease.answered();
                    if std::mem::take(in_doubt) && known[*at].probing {
                        (known[*at].probing, known[*at].until) = (false, None);
                    }
                }
                Event::Rest(n, seconds) if n < held.len() => {
                    let Held { lease, at, .. } = &held[n];
                    lease.rest(self::at(now + seconds), "test");
                    known[*at].until = known[*at].until.max(Some(now + seconds));
                    known[*at].probing = false;
                }
                Event::End(n) if n < held.len() => {
                    let Held { lease, at, probes, .. } = held.swap_remove(n);
                    let is_probing = balancer.lock().seats[at].probe.is_some_and(|probe| lease.probe == Some(probe));
                    prop_assert!(!is_probing || probes);
                    drop(lease);
                    known[at].in_flight -= 1;
                    known[at].probing &= !is_probing;
                }
                Event::Request { session, first, patient, failures } => {
                    let session = session.map(|session| session.to_string());
                    let want = match &session {
                        _ if first => Want::First,
                        Some(session) => Want::Session(session),
                        None => Want::Any,
                    };
                    let mut tried: Vec<usize> = Vec::new();
                    for attempt in 0..=failures {
                        let ids: Vec<SeatId> = tried.iter().map(|&at| ids[at]).collect();
                        let left: Vec<usize> = (0..known.len()).filter(|at| !tried.contains(at) && (*at == 0 || !first)).collect();
                        let any_available = left.iter().any(|&at| known[at].is_available(now));
                        let next = balancer.snapshot(self::at(now)).next;
                        match balancer.pick(self::at(now), want, &ids, patient) {
                            Pick::Exhausted => prop_assert!(left.is_empty()),
                            Pick::Wait => {
                                prop_assert!(!left.is_empty() && !any_available);
                                let a_verdict_is_near = left.iter().any(|&at| known[at].probing);
                                prop_assert!(patient && a_verdict_is_near || left.iter().all(|&at| known[at].is_full()));
                            }
                            Pick::Go(lease) => {
                                let at = (0..known.len()).find(|&at| *lease == name(at)).expect("a name of ours");
                                prop_assert!(left.contains(&at), "an endpoint is tried once");
                                prop_assert!(!known[at].is_full());
                                prop_assert_eq!(known[at].is_available(now), any_available);
                                prop_assert!(any_available || !patient || !left.iter().any(|&at| known[at].probing));
                                if matches!(want, Want::Any) && attempt == 0 {
                                    prop_assert_eq!(at, next, "the snapshot knew");
                                }
                                let in_doubt = known[at].until.is_some();
                                let probes = in_doubt && any_available;
                                known[at].probing |= probes;
                                known[at].in_flight += 1;
                                tried.push(at);
                                held.push(Held { lease, at, in_doubt, probes });
                                continue;
                            }
                        }
                        break;
                    }
                }
                _ => {}
            }
            for (endpoint, known) in balancer.snapshot(self::at(now)).endpoints.iter().zip(&known) {
                let rests = known.until.is_some_and(|until| until > now);
                let state = if rests { "resting" } else if known.is_full() { "full" } else { "up" };
                prop_assert_eq!((endpoint.state, endpoint.in_flight), (state, known.in_flight));
                prop_assert_eq!(endpoint.resting.as_secs(), known.until.unwrap_or(0).saturating_sub(now));
            }
        }
    }
}

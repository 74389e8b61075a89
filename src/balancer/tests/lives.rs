//! Random lives of a balancer: whatever happens, some things never do.

use proptest::prelude::*;

use super::*;

/// What happens to a balancer, in a random life.
#[derive(Clone, Debug)]
enum Event {
    /// A request begins, and takes endpoints until one is kept; so many of its attempts fail first.
    Request {
        conversation: Option<u64>,
        model: Option<bool>,
        first_only: bool,
        failures: usize,
    },
    /// The n-th lease gets its answer, fails, or ends.
    Answer(usize),
    Succeed(usize),
    Fail(usize, u8, u64),
    Leave(usize),
    Limit(usize, u64),
    Check(bool),
    Reload(Vec<bool>),
    Time(u64),
}

fn event() -> impl Strategy<Value = Event> {
    let request = (
        prop::option::of(any::<u64>()),
        prop::option::of(any::<bool>()),
        prop::bool::weighted(0.1),
        0usize..4,
    );
    let request = request.prop_map(
        |(conversation, model, first_only, failures)| Event::Request {
            conversation,
            model,
            first_only,
            failures,
        },
    );
    prop_oneof![
        6 => request,
        2 => (0usize..8).prop_map(Event::Answer),
        2 => (0usize..8).prop_map(Event::Succeed),
        3 => (0usize..8, 0u8..7, 1u64..30).prop_map(|(lease, how, time)| Event::Fail(lease, how, time)),
        3 => (0usize..8).prop_map(Event::Leave),
        1 => (0usize..8, 0u64..2).prop_map(|(lease, organization)| Event::Limit(lease, organization)),
        1 => any::<bool>().prop_map(Event::Check),
        1 => prop::collection::vec(any::<bool>(), 4).prop_map(Event::Reload),
        3 => (1u64..40).prop_map(Event::Time),
    ]
}

fn penalty(how: u8, seconds: u64) -> Penalty<'static> {
    let time = seconds_of(seconds);
    match how {
        0 => Penalty::None,
        1 => Penalty::AtOnce,
        2 => Penalty::Counted,
        3 => Penalty::For(time),
        4 => Penalty::RateLimited(time),
        5 => Penalty::ModelRateLimited("x", time),
        _ => Penalty::ModelMissing("x"),
    }
}

/// The first serves one model, the second the other, the others both; tiers and limits differ.
fn fleet(enabled: &[bool]) -> Vec<Member<String>> {
    let member = |(n, &enabled): (usize, &bool)| Member {
        enabled,
        weight: n as u32 + 1,
        tier: [1, 1, 2, 3][n],
        max_concurrent: [None, Some(2), Some(1), None][n],
        serves: (n < 2).then(|| -> Serves { Arc::new(move |model| model == ["x", "y"][n]) }),
        ..member(&format!("e{n}"))
    };
    enabled.iter().enumerate().map(member).collect()
}

/// What must hold of a lease that a pick gave, by what the snapshot told just before.
fn is_right(
    before: &Snapshot,
    lease: &Lease<String>,
    model: Option<bool>,
    tried: &[String],
) -> Result<(), TestCaseError> {
    let name = lease.to_string();
    prop_assert!(!tried.contains(&name), "an endpoint is tried once");
    let found = before
        .endpoints
        .iter()
        .find(|endpoint| endpoint.name == name);
    let endpoint = found.expect("one of ours");
    prop_assert!(endpoint.enabled);
    prop_assert!(endpoint.most.is_none_or(|most| endpoint.in_flight < most));
    let serves = match (name.as_str(), model) {
        ("e0", Some(is_x)) => is_x,
        ("e1", Some(is_x)) => !is_x,
        _ => true,
    };
    prop_assert!(serves);
    if !lease.is_last_resort() {
        prop_assert_ne!(endpoint.state, "resting");
    }
    Ok(())
}

proptest! {
    #[test]
    fn the_rules_hold(check in any::<bool>(), life in prop::collection::vec(event(), 1..100)) {
        let rules = Rules { check, failures: 2, ..RULES };
        let balancer = with(fleet(&[true; 4]), rules);
        let mut held: Vec<Lease<String>> = Vec::new();
        let mut now = 0;
        for event in life {
            match event {
                Event::Time(seconds) => now += seconds,
                Event::Answer(n) if n < held.len() => drop(held[n].answered(at(now))),
                Event::Succeed(n) if n < held.len() => drop(held.swap_remove(n).succeeded(at(now))),
                Event::Fail(n, how, seconds) if n < held.len() => {
                    held.swap_remove(n).failed(at(now), fault(penalty(how, seconds)));
                }
                Event::Leave(n) if n < held.len() => {
                    held.swap_remove(n).client_left(at(now), seconds_of(30), n % 2 == 0);
                }
                Event::Limit(n, organization) if n < held.len() => {
                    let window = LimitWindow { name: "5h", used: 0.99, warned: false, reset_in: None, forget_in: seconds_of(20) };
                    held[n].note_limits(at(now), &LimitReading { organization: Some(organization), windows: &[window] });
                }
                Event::Check(passes) => {
                    for check in balancer.due_checks(at(now)) {
                        if passes {
                            check.passed();
                        } else {
                            check.failed(at(now));
                        }
                    }
                }
                Event::Reload(enabled) => balancer.reconfigure(fleet(&enabled), rules),
                Event::Request { conversation, model, first_only, failures } => {
                    let name = model.map(|is_x| if is_x { "x" } else { "y" });
                    let mut search = balancer.search(Want { conversation, model: name, first_only });
                    let (mut tried, mut last_resorts) = (Vec::new(), 0);
                    for attempt in 0..=failures {
                        let before = balancer.snapshot(at(now));
                        let Pick::Go(mut lease) = search.pick(at(now)) else {
                            break;
                        };
                        is_right(&before, &lease, model, &tried)?;
                        prop_assert!(!first_only || tried.is_empty());
                        last_resorts += usize::from(lease.is_last_resort());
                        prop_assert!(last_resorts <= 1);
                        tried.push(lease.to_string());
                        if attempt < failures {
                            lease.failed(at(now), fault(penalty((attempt % 7) as u8, 5)));
                        } else {
                            held.push(lease);
                        }
                    }
                    prop_assert_eq!(search.attempts(), tried.len());
                }
                _ => {}
            }
            let snapshot = balancer.snapshot(at(now));
            let in_flight: u32 = snapshot.endpoints.iter().map(|endpoint| endpoint.in_flight).sum();
            prop_assert_eq!(in_flight as usize, held.len());
            prop_assert!(snapshot.endpoints.iter().all(|endpoint| endpoint.cooldown <= rules.max_cooldown));
        }
        drop(held);
        let snapshot = balancer.snapshot(at(now));
        prop_assert!(snapshot.endpoints.iter().all(|endpoint| endpoint.in_flight == 0));
        prop_assert_eq!(balancer.lock().waiting, 0);
        // Whatever came before: after an hour, with good checks, everybody may be asked again.
        balancer.reconfigure(fleet(&[true; 4]), rules);
        let end = now + 3601;
        balancer.due_checks(at(end)).into_iter().for_each(|check| check.passed());
        let mut search = balancer.search(Want::default());
        for n in 0..4 {
            let Pick::Go(lease) = search.pick(at(end)) else {
                panic!("{n} of 4");
            };
            prop_assert!(!lease.is_last_resort());
        }
    }
}

//! The rules as tables, behaviours as stories with made-up times.

mod checks;
mod conversations;
mod cooldowns;
mod last_resort;
mod limits;
mod lives;
mod models;
mod reload;
mod simulation;
mod slow_start;
mod trials;
mod turns;
mod waiting;

use std::sync::LazyLock;
use std::time::SystemTime;

use super::*;

/// The moment that all times here count from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

fn at(seconds: u64) -> Instant {
    *START + seconds_of(seconds)
}

fn seconds_of(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

type Test = Arc<Balancer<String>>;

/// Checks are off: most stories are about trials.
const RULES: Rules = Rules {
    failures: 3,
    cooldown: Duration::from_secs(10),
    max_cooldown: Duration::from_secs(3600),
    check: false,
    max_waiting: 8,
    patience: Duration::from_secs(1),
};

const CHECKED: Rules = Rules {
    check: true,
    ..RULES
};

fn member(name: &str) -> Member<String> {
    Member {
        name: name.to_owned(),
        base_url: format!("http://{name}.example/"),
        token_mark: 0,
        weight: 1,
        max_concurrent: None,
        enabled: true,
        tier: 1,
        serves: None,
        target: Arc::new(name.to_owned()),
    }
}

fn weighted(name: &str, weight: u32) -> Member<String> {
    Member {
        weight,
        ..member(name)
    }
}

fn limited(name: &str, most: u32) -> Member<String> {
    Member {
        max_concurrent: Some(most),
        ..member(name)
    }
}

fn tiered(name: &str, tier: u8) -> Member<String> {
    Member {
        tier,
        ..member(name)
    }
}

/// One endpoint a letter, of weight one.
fn members(names: &str) -> Vec<Member<String>> {
    names
        .chars()
        .map(|name| member(&name.to_string()))
        .collect()
}

fn balancer(names: &str) -> Test {
    with(members(names), RULES)
}

fn with(members: Vec<Member<String>>, rules: Rules) -> Test {
    Balancer::new(members, rules, 7)
}

fn of(conversation: &str) -> Want<'static> {
    Want {
        conversation: Some(hash(conversation)),
        ..Want::default()
    }
}

fn for_model(model: &str) -> Want<'_> {
    Want {
        model: Some(model),
        ..Want::default()
    }
}

const FIRST: Want = Want {
    conversation: None,
    model: None,
    first_only: true,
};

fn fault(penalty: Penalty) -> Fault {
    Fault {
        cause: "test",
        at: SystemTime::UNIX_EPOCH,
        answered: false,
        penalty,
    }
}

impl<T> Pick<T> {
    fn go(self) -> Option<Lease<T>> {
        match self {
            Pick::Go(lease) => Some(lease),
            _ => None,
        }
    }
}

/// What a pick gives, shortly: the endpoint's name, with a `!` where it is a last resort, or why there is none.
fn told(pick: &Pick<String>) -> String {
    match pick {
        Pick::Go(lease) if lease.is_last_resort() => format!("{}!", **lease),
        Pick::Go(lease) => lease.to_string(),
        Pick::Wait => "wait".into(),
        Pick::TooManyWait => "too many".into(),
        Pick::RateLimited { retry_in } => format!("limited {}", retry_in.as_secs()),
        Pick::Unserved => "unserved".into(),
        Pick::Exhausted => "none".into(),
    }
}

/// What a new request gets, and at once gives back.
fn ask(balancer: &Test, now: u64, want: Want) -> String {
    told(&balancer.search(want).pick(at(now)))
}

/// The endpoint of a new request that takes turns.
fn pick(balancer: &Test, now: u64) -> Lease<String> {
    let pick = balancer.search(Want::default()).pick(at(now));
    pick.go().expect("an endpoint")
}

/// The endpoints of `n` requests that are well answered.
fn order(balancer: &Test, now: u64, n: usize) -> String {
    let serve = |_| {
        let mut lease = pick(balancer, now);
        lease.succeeded(at(now));
        lease.to_string()
    };
    (0..n).map(serve).collect()
}

/// A turn at the endpoint of that name.
fn pick_named(balancer: &Test, now: u64, name: &str) -> Lease<String> {
    let mut search = balancer.search(Want::default());
    loop {
        let lease = search.pick(at(now)).go().expect("a name that is there");
        if *lease == name {
            return lease;
        }
    }
}

/// An attempt at the endpoint of that name fails.
fn fail(balancer: &Test, now: u64, name: &str, penalty: Penalty) {
    pick_named(balancer, now, name).failed(at(now), fault(penalty));
}

/// Puts the endpoint of that name on cooldown until then.
fn rest(balancer: &Test, now: u64, name: &str, until: u64) {
    fail(balancer, now, name, Penalty::For(seconds_of(until - now)));
}

fn states(balancer: &Test, now: u64) -> Vec<(&'static str, u64)> {
    let endpoints = balancer.snapshot(at(now)).endpoints;
    endpoints
        .iter()
        .map(|endpoint| (endpoint.state, endpoint.cooldown.as_secs()))
        .collect()
}

/// What is left of the first endpoint's cooldown, in seconds.
fn left(balancer: &Test, now: u64) -> f64 {
    let snapshot = balancer.snapshot(at(now));
    snapshot.endpoints[0].cooldown.as_secs_f64()
}

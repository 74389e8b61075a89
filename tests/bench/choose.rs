//! What choosing costs by itself: the balancer's pick, and the look into a request's body. No network takes part.
//!
//! Costs are CPU time of this thread, medians of many short runs: they can be believed on a machine that has other work too.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use nix::time::{ClockId, clock_gettime};
use serde_json::json;

use crate::Failure;
use crate::params::{self, Figures, Params};
use crate::product::api::body::{Wants, look};
use crate::product::balancer::{Balancer, Fault, Member, Penalty, Pick, Rules, Want, hash};
use crate::samples::median;

/// Endpoints, and the name of that figure.
const FLEETS: [usize; 3] = [2, 64, 1000];

/// Tiers that a fleet has, as far as it is large enough.
const TIERS: usize = 3;

/// Conversations that take turns.
const CONVERSATIONS: u64 = 200;

/// How long one run of the work takes at least.
const RUN: Duration = Duration::from_millis(2);

/// Text as people send it to be read: code, with its quotes and line ends.
const TEXT: &str = include_str!("director.rs");

/// `seconds` for each figure.
pub fn run(params: &Params) -> Result<(), Failure> {
    let length = Duration::from_secs_f64(params.get("seconds")?);
    let mut figures = Figures::new();
    for endpoints in FLEETS {
        let now = Instant::now();
        let fleet = fleet(endpoints, now)?;
        let turn = cost(length, || pick(&fleet, now, None));
        figures.insert(format!("turn_{endpoints}_us"), turn?);
        let names: Vec<_> = (0..CONVERSATIONS)
            .map(|number| hash(&number.to_string()))
            .collect();
        let mut names = names.iter().copied().cycle();
        let conversation = cost(length, || pick(&fleet, now, names.next()));
        figures.insert(format!("conversation_{endpoints}_us"), conversation?);
    }
    let wants = Wants {
        model: true,
        conversation: true,
        files: true,
    };
    for kilobytes in [76, 1000] {
        let body = body(kilobytes * 1000);
        let scan = cost(length, || {
            let seen = look(&body, wants, "a-client");
            match (seen.model, seen.conversation) {
                (Some(_), Some(_)) => Ok(()),
                _ => Err("the body says nothing".into()),
            }
        });
        figures.insert(format!("scan_{kilobytes}_us"), scan?);
    }
    params::print(&figures);
    Ok(())
}

/// Endpoints in tiers; every second one is on cooldown.
fn fleet(endpoints: usize, now: Instant) -> Result<Arc<Balancer<()>>, Failure> {
    let member = |at: usize| Member {
        name: format!("endpoint-{at}"),
        base_url: format!("https://endpoint{at}.example/"),
        token_mark: at as u64,
        weight: 1,
        max_concurrent: None,
        enabled: true,
        tier: (at * TIERS / endpoints + 1) as u8,
        serves: None,
        target: Arc::new(()),
    };
    let rules = Rules {
        failures: 3,
        cooldown: Duration::from_secs(60),
        max_cooldown: Duration::from_secs(3600),
        check: true,
        max_waiting: 100,
        patience: Duration::from_secs(1),
    };
    let balancer = Balancer::new((0..endpoints).map(member).collect(), rules, 1);
    let mut search = balancer.search(Want::default());
    // A search is given each endpoint once.
    for at in 0..endpoints {
        let Pick::Go(mut lease) = search.pick(now) else {
            return Err(format!("only {at} of {endpoints} endpoints were given").into());
        };
        if at % 2 == 1 {
            let fault = Fault {
                cause: "status 503",
                at: SystemTime::now(),
                answered: true,
                penalty: Penalty::AtOnce,
            };
            lease
                .failed(now, fault)
                .ok_or("a failure without a cooldown")?;
        }
    }
    drop(search);
    Ok(balancer)
}

/// A request's part in the balancer: it is given an endpoint, and the answer is good.
fn pick(
    balancer: &Arc<Balancer<()>>,
    now: Instant,
    conversation: Option<u64>,
) -> Result<(), Failure> {
    let want = Want {
        conversation,
        ..Want::default()
    };
    let Pick::Go(mut lease) = balancer.search(want).pick(now) else {
        return Err("no endpoint was given".into());
    };
    if lease.is_last_resort() {
        return Err("an endpoint on cooldown was given".into());
    }
    lease.answered(now);
    lease.succeeded(now);
    Ok(())
}

/// A conversation with prompt caching, of so many bytes. Its model is read last, and its conversation has no name but in its texts.
fn body(bytes: usize) -> Vec<u8> {
    let content = |text: &str| json!([{ "type": "text", "text": text, "cache_control": { "type": "ephemeral" } }]);
    let mut messages = Vec::new();
    let mut size = 0;
    while size < bytes {
        let role = if messages.len() % 2 == 0 {
            "user"
        } else {
            "assistant"
        };
        let message = json!({ "role": role, "content": content(TEXT) });
        size += message.to_string().len();
        messages.push(message);
    }
    // The last one takes what is left.
    let spare = size - bytes;
    let cut = TEXT.floor_char_boundary(TEXT.len().saturating_sub(spare));
    if let Some(last) = messages.last_mut() {
        last["content"] = content(&TEXT[..cut]);
    }
    let (messages, system) = (json!(messages), content("You are a helpful assistant."));
    format!(r#"{{"max_tokens":1024,"stream":true,"system":{system},"messages":{messages},"model":"claude-sonnet-4-5"}}"#)
        .into_bytes()
}

/// Microseconds of CPU time that the work takes once.
fn cost(length: Duration, mut work: impl FnMut() -> Result<(), Failure>) -> Result<f64, Failure> {
    let mut several = |count: u32| -> Result<Duration, Failure> {
        let began = used()?;
        for _ in 0..count {
            work()?;
        }
        Ok(used()? - began)
    };
    let mut count = 1;
    while several(count)? < RUN {
        count *= 2;
    }
    let until = Instant::now() + length;
    let mut costs = Vec::new();
    while costs.is_empty() || Instant::now() < until {
        costs.push(several(count)?.as_secs_f64() * 1e6 / f64::from(count));
    }
    Ok(median(&costs))
}

/// CPU time of this thread so far.
fn used() -> Result<Duration, Failure> {
    Ok(clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID)?.into())
}

//! What `GET /v1/models` answers where endpoints serve different models: all of them together.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode};
use serde_json::{Value, json};

use super::Proxy;
use super::attempt::Target;
use crate::upstream::Outgoing;

/// The longest that an endpoint may take; Claude Code waits three seconds for the whole answer.
const LIMIT: Duration = Duration::from_secs(2);
/// How long an answer holds; where an endpoint gave none, it is asked again sooner.
const KEPT: Duration = Duration::from_secs(600);
const KEPT_INCOMPLETE: Duration = Duration::from_secs(10);
/// The API gives twenty models a page, and a thousand at most.
const QUERY: &str = "/v1/models?limit=1000";
const STACK: usize = 256 << 10;

/// The last answer, and until when it holds; that there is none holds, too.
#[derive(Default)]
pub struct Catalogue(Mutex<Option<(Instant, Option<Vec<u8>>)>>);

impl Catalogue {
    /// Other endpoints are in force.
    pub fn forget(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl Proxy {
    /// The answer to a request for the list of models; `None` where the request is another one, where every endpoint serves the same,
    /// or where none of them told us anything: then it is forwarded.
    pub(super) fn models(&self, call: &Outgoing) -> Option<Vec<u8>> {
        if *call.method != Method::GET || call.target.path() != "/v1/models" {
            return None;
        }
        let targets = self.targets();
        if targets.iter().all(|target| target.models().is_none()) {
            return None;
        }
        // Who comes meanwhile waits for the answer of the first one, which is there in `LIMIT`, or known to be none.
        let kept = &self.catalogue.0;
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((until, answer)) = &*kept
            && *until > Instant::now()
        {
            return answer.clone();
        }
        let lists = ask_all(&targets, call.headers);
        let is_complete = lists.iter().all(Option::is_some);
        let models = union(targets.iter().zip(lists));
        let answer = models.first().zip(models.last()).map(|(first, last)| {
            let (first, last) = (&first["id"], &last["id"]);
            json!({ "data": models, "first_id": first, "has_more": false, "last_id": last })
                .to_string()
                .into_bytes()
        });
        let holds = if is_complete { KEPT } else { KEPT_INCOMPLETE };
        *kept = Some((Instant::now() + holds, answer.clone()));
        answer
    }

    /// The endpoints that are in use.
    fn targets(&self) -> Vec<Arc<Target>> {
        let targets = self.targets.lock().unwrap_or_else(PoisonError::into_inner);
        let enabled = targets
            .iter()
            .filter(|target| target.upstream.endpoint().enabled);
        enabled.cloned().collect()
    }
}

/// What each endpoint answers, all asked at the same time; `None` where it was no list. The threads are as many as endpoints, once in
/// ten minutes.
fn ask_all(targets: &[Arc<Target>], headers: &HeaderMap) -> Vec<Option<Vec<Value>>> {
    thread::scope(|scope| {
        let asked: Vec<_> = targets
            .iter()
            .map(|target| {
                let asked = move || ask(target, headers);
                let thread = thread::Builder::new().name("models".into());
                thread.stack_size(STACK).spawn_scoped(scope, asked)
            })
            .collect();
        asked
            .into_iter()
            .map(|thread| thread.ok()?.join().ok()?)
            .collect()
    })
}

fn ask(target: &Target, headers: &HeaderMap) -> Option<Vec<Value>> {
    // Compressed, nobody here could read it.
    let mut headers = headers.clone();
    headers.remove(http::header::ACCEPT_ENCODING);
    let call = Outgoing {
        method: &Method::GET,
        target: &PathAndQuery::from_static(QUERY),
        headers: &headers,
        body: b"",
    };
    let name = target.upstream.name();
    match target.upstream.ask(&call, LIMIT) {
        Ok((StatusCode::OK, body)) => {
            let mut answer: Value = serde_json::from_slice(&body).ok()?;
            match answer.get_mut("data").map(Value::take) {
                Some(Value::Array(models)) => Some(models),
                _ => None,
            }
        }
        Ok((status, _)) => {
            log::warn!(endpoint = name, status = status.as_u16(); "an endpoint does not list its models");
            None
        }
        Err(err) => {
            log::warn!(endpoint = name, answer = err.to_string().as_str(); "an endpoint does not list its models");
            None
        }
    }
}

/// Each model once, as the first endpoint that serves it describes it; then those that endpoints serve under names of ours.
fn union<'a>(lists: impl Iterator<Item = (&'a Arc<Target>, Option<Vec<Value>>)>) -> Vec<Value> {
    let mut seen = HashSet::new();
    let mut models = Vec::new();
    let mut ours = Vec::new();
    for (target, list) in lists {
        for model in list.unwrap_or_default() {
            let Some(id) = model["id"].as_str() else {
                continue;
            };
            let models_of = target.models();
            let is_served = models_of.is_none_or(|models| models.serves(id).is_some());
            if is_served && seen.insert(id.to_owned()) {
                models.push(model);
            }
        }
        if let Some(patterns) = target.models() {
            ours.extend(patterns.literal_names().map(str::to_owned));
        }
    }
    for id in ours {
        if seen.insert(id.clone()) {
            models.push(json!({
                "type": "model",
                "id": id,
                "display_name": id,
                "created_at": "1970-01-01T00:00:00Z",
            }));
        }
    }
    models
}

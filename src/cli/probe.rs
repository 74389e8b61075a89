//! `--check --probe`: asks each endpoint for its models, so that a wrong URL or a dead token is found before the first
//! user does. It costs no tokens.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode, Uri};

use crate::config::{Config, Endpoint, Secret};
use crate::upstream::{Error, Outgoing, Surroundings, Upstream};

use super::answer::Finding;
use super::output::print;

/// The longest that all of it may take: every endpoint is asked at the same time.
const LIMIT: Duration = Duration::from_secs(10);

/// The longest that a connection may take, so that another spelling has time left.
const CONNECT: Duration = Duration::from_secs(4);

/// Later than this no other spelling is tried.
const LATE: Duration = Duration::from_secs(6);

/// Prints a line for each endpoint as it answers. Returns how many are not well.
///
/// # Errors
/// Nothing can be printed.
pub fn probe(config: &Config, surroundings: &Surroundings) -> Result<usize, String> {
    let config = &quick(config);
    let started = Instant::now();
    let (sender, answers) = mpsc::channel();
    thread::scope(|scope| {
        for endpoint in config.endpoints.iter().filter(|endpoint| endpoint.enabled) {
            let sender = sender.clone();
            let probe = Probe {
                config,
                surroundings,
                started,
            };
            let work = move || {
                // The receiver is there for as long as this thread is.
                let _ = sender.send((endpoint, probe.explore(endpoint)));
            };
            if let Err(err) = thread::Builder::new().spawn_scoped(scope, work) {
                return Err(format!("cannot start a thread: {err}"));
            }
        }
        drop(sender);
        let mut unwell = 0;
        for (endpoint, finding) in answers {
            unwell += usize::from(finding.is_err());
            tell(endpoint, finding, started)?;
        }
        Ok(unwell)
    })
}

/// The same with times for somebody who waits in front of a screen.
fn quick(config: &Config) -> Config {
    let mut quick = config.clone();
    quick.connect_timeout = config.connect_timeout.min(CONNECT);
    (quick.response_timeout, quick.idle_timeout) = (LIMIT, LIMIT);
    quick
}

fn tell(
    endpoint: &Endpoint,
    finding: Result<String, String>,
    started: Instant,
) -> Result<(), String> {
    let millis = started.elapsed().as_millis();
    let (word, text) = match finding {
        Ok(text) => ("ok", text),
        Err(text) => ("FAILED", text),
    };
    print(format_args!(
        "{word:<7}{}: {text} ({millis} ms)",
        endpoint.name
    ))
}

/// One endpoint's.
struct Probe<'a> {
    config: &'a Config,
    surroundings: &'a Surroundings,
    started: Instant,
}

impl Probe<'_> {
    /// Asks the endpoint; where that fails, whether another spelling of its URL works.
    fn explore(&self, endpoint: &Endpoint) -> Result<String, String> {
        let (why, is_lost) = match self.ask(endpoint) {
            Finding::Well(text) => return Ok(text),
            Finding::Refused(why) => return Err(why),
            Finding::Wrong(why) => (why, false),
            Finding::Lost(why) => (why, true),
        };
        for other in spellings(endpoint, is_lost) {
            if self.started.elapsed() > LATE {
                break;
            }
            if let Finding::Well(_) | Finding::Refused(_) = self.ask(&other) {
                let url = &other.base_url;
                return Err(format!("{why}; but {url} works: is that meant?"));
            }
        }
        Err(why)
    }

    fn ask(&self, endpoint: &Endpoint) -> Finding {
        let upstream = Upstream::new(endpoint, self.config, self.surroundings);
        match models(&upstream, LIMIT.saturating_sub(self.started.elapsed())) {
            Ok((status, body)) => Finding::of(status, &body, endpoint),
            Err(why) => Finding::Lost(named(&endpoint.base_url, why)),
        }
    }
}

/// Status and body of what the endpoint says to `GET v1/models`, or why there is none.
fn models(upstream: &Upstream, limit: Duration) -> Result<(StatusCode, Vec<u8>), String> {
    let call = Outgoing {
        method: &Method::GET,
        target: &PathAndQuery::from_static("/v1/models"),
        headers: &HeaderMap::new(),
        body: &[],
    };
    upstream.ask(&call, limit).map_err(|err| match err {
        Error::TimedOut | Error::Aborted => format!("no answer within {} s", LIMIT.as_secs()),
        err => err.to_string(),
    })
}

/// `Connection refused` alone does not say by whom.
fn named(url: &Uri, why: String) -> String {
    let place = url.authority().map_or("", |authority| authority.as_str());
    let place = match url.port_u16() {
        None if url.scheme_str() == Some("https") => format!("{place}:443"),
        None => format!("{place}:80"),
        Some(_) => place.to_owned(),
    };
    if url.host().is_some_and(|host| why.contains(host)) {
        return why;
    }
    format!("{place}: {why}")
}

/// What may have been meant: a path that ends before its `v1`, or, where nobody was found, the other scheme.
fn spellings(endpoint: &Endpoint, is_lost: bool) -> Vec<Endpoint> {
    let url = endpoint.base_url.to_string();
    let path = endpoint.base_url.path();
    let before_v1 = path
        .find("/v1/")
        .map(|at| url[..url.len() - path.len() + at].to_owned() + "/");
    let http = url
        .strip_prefix("https://")
        .filter(|_| is_lost)
        .map(|rest| format!("http://{rest}"));
    let https = url
        .strip_prefix("http://")
        .filter(|_| is_lost)
        .map(|rest| format!("https://{rest}"));
    let with = |url: String, token: Secret| {
        Some(Endpoint {
            base_url: url.parse().ok()?,
            auth_token: token,
            ..endpoint.clone()
        })
    };
    let token = || endpoint.auth_token.clone();
    let others = [
        before_v1.and_then(|url| with(url, token())),
        https.and_then(|url| with(url, token())),
        // What was meant to be encrypted is not sent in the clear: that somebody refuses it is enough to know.
        http.and_then(|url| with(url, Secret::new("probe".into())))
            .map(|other| Endpoint {
                headers: Vec::new(),
                ..other
            }),
    ];
    others.into_iter().flatten().collect()
}

//! `--check --probe`: asks each endpoint for its models, so that a wrong URL or a dead token is found before the first
//! user does. It costs no tokens.

use std::sync::Arc;
use std::time::Instant;

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode};

use crate::api::headers;
use crate::config::Config;
use crate::upstream::{Abort, Error, Outgoing, Roots, Upstream};

/// Prints a line for each endpoint. Returns how many are not well.
pub fn probe(config: &Config, roots: &Roots) -> usize {
    let mut unwell = 0;
    for endpoint in &config.endpoints {
        let upstream = Upstream::new(endpoint, config, roots);
        let started = Instant::now();
        let finding = ask(&upstream);
        let millis = started.elapsed().as_millis();
        let (word, text) = match finding {
            Ok(text) => ("ok", text),
            Err(text) => ("FAILED", text),
        };
        unwell += usize::from(word != "ok");
        println!("{word:<7}{}: {text} ({millis} ms)", endpoint.name);
    }
    unwell
}

fn ask(upstream: &Upstream) -> Result<String, String> {
    let call = Outgoing {
        method: &Method::GET,
        target: &PathAndQuery::from_static("/v1/models"),
        headers: &headers::to_upstream(&HeaderMap::new()),
        body: &[],
    };
    match upstream.send(&call, &Arc::new(Abort::default())) {
        Ok(answer) => judge(answer.status),
        Err(Error::TimedOut) => Err("connected, but no answer within responseSeconds".into()),
        Err(err) => Err(err.to_string()),
    }
}

fn judge(status: StatusCode) -> Result<String, String> {
    let hint = match status.as_u16() {
        200..=299 => return Ok(format!("GET v1/models: {status}")),
        401 | 403 => "the endpoint refuses the token: check authToken and authScheme",
        404 => {
            "the endpoint has no v1/models there: check baseURL (some gateways have none at all)"
        }
        300..=399 => "a redirect, which is not followed: put the address it names into baseURL",
        429 | 529 => "the endpoint is there, and busy",
        _ => "the endpoint is there, and not well",
    };
    Err(format!("GET v1/models: {status}; {hint}"))
}

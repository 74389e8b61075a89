//! `--check --probe`: asks each endpoint for its models, so that a wrong URL or a dead token is found before the first
//! user does. It costs no tokens.

use std::time::{Duration, Instant};

use http::StatusCode;

use crate::config::Config;
use crate::upstream::{Error, Roots, Upstream};

/// The longest that one endpoint may take.
const LIMIT: Duration = Duration::from_secs(10);

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
    match upstream.check(LIMIT) {
        Ok(status) => judge(StatusCode::from_u16(status).map_err(|err| err.to_string())?),
        Err(Error::TimedOut) => Err("connected, but no answer within 10 s".into()),
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

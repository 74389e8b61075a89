//! `--check`: whether all is right that a start would need, and what would be in force.

use std::path::Path;

use crate::config::Config;
use crate::telemetry;
use crate::upstream;

use super::output::print;
use super::probe;

/// Prints the configuration, what is to be said about it, and a verdict.
///
/// # Errors
/// What is wrong with file or environment, or how many endpoints did not answer the probe.
pub fn check(path: &Path, ask: bool) -> Result<(), String> {
    telemetry::logging::check_environment()?;
    let config = Config::load(path).map_err(|err| err.to_string())?;
    let surroundings = upstream::Surroundings::from_env()?;
    print(&config)?;
    for line in config.exposure() {
        print(format_args!("note: {line}"))?;
    }
    let unwell = if ask {
        probe::probe(&config, &surroundings)?
    } else {
        0
    };
    for line in &config.warnings {
        print(format_args!("warning: {line}"))?;
    }
    let all = config.endpoints.len();
    if unwell > 0 {
        return Err(format!(
            "{unwell} of {all} endpoints did not answer as they should"
        ));
    }
    match (config.warnings.is_empty(), all) {
        (false, _) => Ok(()),
        (true, 1) => print("ok: 1 endpoint"),
        (true, all) => print(format_args!("ok: {all} endpoints")),
    }
}

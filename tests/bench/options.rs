//! The director's command line.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use lexopt::prelude::*;

use crate::Failure;
use crate::catalogue;
use crate::measures::Pace;

const USAGE: &str = "\
usage: bench [OPTION...] BINARY

  --quick           3 minutes at most instead of 20: short windows, no HAProxy, one round of what takes long
  --only NAME       this measure only; may be given again (--list names them)
  --against BINARY  compare two builds of the balancer with each other instead of with nginx
  --floor           beside the others, tiny_http and ureq with nothing around them; twice as long
  --alone           ours only: to watch or profile it
  --rounds N        so many rounds of each measure
  --seconds S       length of a window
  --build           time a cold `cargo build --release` too
  --list            name the measures, and end";

/// The longest that a run may take; what is not measured by then is left out.
const FULL: Duration = Duration::from_secs(1050);
const QUICK: Duration = Duration::from_secs(150);

pub struct Options {
    pub binary: PathBuf,
    pub against: Option<PathBuf>,
    pub floor: bool,
    pub alone: bool,
    pub build: bool,
    pub only: Vec<String>,
    pub pace: Pace,
    pub limit: Duration,
}

/// None: there is nothing to run.
pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Option<Options>, Failure> {
    let (mut binary, mut against, mut only) = (None, None, Vec::new());
    let (mut quick, mut floor, mut alone, mut build) = (false, false, false, false);
    let (mut rounds, mut seconds) = (None, None);
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Long("quick") => quick = true,
            Long("floor") => floor = true,
            Long("alone") => alone = true,
            Long("build") => build = true,
            Long("only") => only.push(parser.value()?.string()?),
            Long("against") => against = Some(program(&parser.value()?.string()?)?),
            Long("rounds") => rounds = Some(parser.value()?.parse()?),
            Long("seconds") => seconds = Some(parser.value()?.parse()?),
            Long("list") => {
                catalogue::all(Pace::FULL)
                    .iter()
                    .for_each(|measure| println!("{}", measure.name));
                return Ok(None);
            }
            Short('h') | Long("help") => {
                println!("{USAGE}");
                return Ok(None);
            }
            Value(path) if binary.is_none() => binary = Some(program(&path.string()?)?),
            _ => return Err(format!("{}\n{USAGE}", argument.unexpected()).into()),
        }
    }
    let binary = binary.ok_or(USAGE)?;
    let (mut pace, limit) = if quick {
        (Pace::QUICK, QUICK)
    } else {
        (Pace::FULL, FULL)
    };
    // A difference between two builds is small: more rounds tell it from noise.
    let usual = if against.is_some() { 5 } else { pace.rounds };
    pace.rounds = rounds.unwrap_or(usual);
    pace.window = seconds.unwrap_or(pace.window);
    let known = catalogue::all(pace);
    if let Some(name) = only
        .iter()
        .find(|name| known.iter().all(|measure| measure.name != name.as_str()))
    {
        return Err(format!("no measure is called {name}: --list names them").into());
    }
    Ok(Some(Options {
        binary,
        against,
        floor,
        alone,
        build,
        only,
        pace,
        limit: if floor { limit * 2 } else { limit },
    }))
}

/// An absolute path, so that no PATH is searched for it.
fn program(path: &str) -> Result<PathBuf, Failure> {
    fs::canonicalize(path).map_err(|err| format!("{path}: {err}").into())
}

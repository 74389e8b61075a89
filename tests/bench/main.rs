//! The benchmark behind `scripts/bench`: the balancer, nginx and HAProxy side by side on loopback.
//!
//! The director (this program without a role) starts the fake upstream, one balancer at a time and the load generator, each a
//! process of its own; the first and the last are this program again with a role as its first argument. So is the floor, where it
//! takes part: tiny_http and ureq with nothing around them. All run under a warden that ends them when the director is gone, whatever the reason.
//!
//!     poller params proc samples   no file of ours (params: the error type)
//!     answers upstream             what the fake Claude API says; the fake Claude API
//!     requests answer clients      what is asked; reading an answer; many connections on one thread
//!     load                         the ways to use them
//!     warden targets               programs that end with us; the balancers and their configurations
//!     report measures              the table; what is measured and what is asked of it
//!     floor                        tiny_http and ureq with nothing around them
//!     options director             the command line; the rounds
//!
//! Not part of the tests, and not of the product.

mod answer;
mod answers;
mod clients;
mod director;
mod floor;
mod load;
mod measures;
mod options;
mod params;
mod poller;
mod proc;
mod report;
mod requests;
mod samples;
mod targets;
mod upstream;
mod warden;

use std::process::ExitCode;

use params::Params;

/// To be read, not to be branched on.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let ended = match arguments.peek().map(String::as_str) {
        Some("upstream") => upstream::run(),
        Some("floor") => floor::run(&Params::parse(arguments)),
        Some("load") => load::run(&Params::parse(arguments)),
        Some("warden") => {
            warden::run();
            Ok(())
        }
        _ => director::run(arguments),
    };
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(err) => {
            eprintln!("bench: {err}");
            ExitCode::FAILURE
        }
    }
}

//! The benchmark behind `scripts/bench`: the balancer, nginx and HAProxy side by side on loopback.
//!
//! The director (this program without a role) starts the fake upstream, one balancer at a time and the load generator, each a
//! process of its own; the first and the last are this program again with a role as its first argument. So is the floor, where it
//! takes part: tiny_http and ureq with nothing around them. All run under a warden that ends them when the director is gone, whatever the reason.
//!
//!     poller params proc samples   no file of ours (params: the error type)
//!     answers secure upstream      what the fake Claude API says; its TLS; the fake Claude API
//!     requests answer clients      what is asked; reading an answer; many connections on one thread
//!     load                         the ways to use them
//!     warden targets               programs that end with us; the balancers and their configurations
//!     report measures catalogue    the table; what a measure is; all of them, and what is asked of each
//!     floor choose                 tiny_http and ureq with nothing around them; the product's own choice, measured in here
//!     options director             the command line; the rounds
//!
//! Not part of the tests, and not of the product.

mod answer;
mod answers;
mod catalogue;
mod choose;
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
mod secure;
mod targets;
mod upstream;
mod warden;

/// The product is a program and no library: what is measured without a network is compiled here once more, from the same files.
/// They say `crate::api` and the like, which the line behind it makes true.
#[allow(
    dead_code,
    unused_imports,
    reason = "the product uses more of itself than the benchmark does"
)]
#[path = "../../src"]
mod product {
    pub mod api;
    pub mod balancer;
    pub mod config;
}
use product::{api, config};

use std::process::ExitCode;

use params::Params;

/// To be read, not to be branched on.
type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let ended = match arguments.peek().map(String::as_str) {
        Some("upstream") => upstream::run(&Params::parse(arguments)),
        Some("floor") => floor::run(&Params::parse(arguments)),
        Some("choose") => choose::run(&Params::parse(arguments)),
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

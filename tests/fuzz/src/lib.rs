//! The parts of the balancer that read what others wrote, each held against a second, simpler reading of the same bytes.
//!
//! The product is a program and no library, so its modules are compiled here once more, from the same files. One
//! function a target; it panics where a promise is broken. Run them with `scripts/fuzz`.
//!
//! - `request`: a client's bytes as requests, wherever the network cuts them.
//! - `answer`: an endpoint's bytes as an answer, through ureq; then one more request on what is left of the connection.
//! - `config`: `endpoints.json`.
//! - `retry_after`: the header of that name.
//! - `events`: an event stream as it passes.
//! - `body`: a request's body, for its model, its conversation and its files.

/// Its files say `crate::config` and the like, which the line behind it makes true.
#[allow(
    dead_code,
    reason = "the product uses more of itself than the targets do"
)]
#[path = "../../../src"]
mod product {
    pub mod api;
    pub mod config;
    pub mod upstream;

    /// Only what reads and bounds a request; the rest of it serves connections.
    pub mod downstream {
        pub mod body;
        pub mod body_budget;
        pub mod head;
        pub mod host;
        pub mod refusal;
    }
}
use product::{api, config, downstream, upstream};

mod targets;

pub use targets::answer::answer;
pub use targets::body::body;
pub use targets::config::config;
pub use targets::events::events;
pub use targets::request::request;
pub use targets::retry_after::retry_after;

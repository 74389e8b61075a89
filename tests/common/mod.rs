//! What the stories are told with: an endpoint that follows a script, the real binary in front of it, and a client
//! that sees every byte.
//!
//! Everything listens on a free port of loopback, and every wait has a deadline: a story that would hang fails instead,
//! with the balancer's log below it.

#![allow(
    dead_code,
    unused_imports,
    reason = "each test binary that shares this module uses its own part of it"
)]

pub mod balancer;
pub mod client;
pub mod doors;
pub mod events;
pub mod proxies;
pub mod reply;
pub mod secure;
pub mod upstream;
pub mod wire;

use std::time::{Duration, Instant};

/// How long anything that must happen may take. Far more than it needs: a loaded machine must not fail a story.
pub const DEADLINE: Duration = Duration::from_secs(20);

/// How long a story looks before it believes that something does not happen.
pub const A_WHILE: Duration = Duration::from_millis(120);

/// Waits until `question` is answered with something.
pub fn eventually<T>(what: &str, mut question: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = question() {
            return found;
        }
        assert!(
            start.elapsed() < DEADLINE,
            "not within {DEADLINE:?}: {what}"
        );
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// All that a story names.
pub mod prelude {
    pub use std::time::{Duration, Instant};

    pub use nix::sys::signal::Signal;
    pub use serde_json::{Value, json};

    pub use super::balancer::{
        Balancer, Finished, Folder, Setup, balance, command, finish, program,
    };
    pub use super::client::{Answer, Client, Request, status_of};
    pub use super::doors::{BlackHole, Fading, Refusing};
    pub use super::events;
    pub use super::eventually;
    pub use super::proxies::Middle;
    pub use super::reply::{Reply, api_error, by_hand, hang_up, ok, raw, status, stream};
    pub use super::secure::Identity;
    pub use super::upstream::{Call, Upstream};
    pub use super::wire::{Ending, Head};
}

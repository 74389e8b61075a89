//! What the operator sees: the log, its line for each request, the counters, what happened, and how it went.

pub mod access_log;
pub mod events;
mod failures;
pub mod history;
pub mod logging;
pub mod metrics;

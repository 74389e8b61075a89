//! What the operator sees: the log, its line for each request, and the counters.

pub mod access_log;
pub mod logging;
pub mod metrics;

//! What the Claude API says and is told: headers, errors, events, token counts, models, rate limits.
//!
//! Pure rules: no I/O and no clock in here, and no knowledge of who asks.

pub mod account;
pub mod body;
pub mod conversation;
pub mod decoded;
pub mod error_body;
pub mod errors;
pub mod events;
pub mod headers;
pub mod rate_limits;
mod scan;
pub mod usage;

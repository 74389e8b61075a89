//! What the Claude API says and is told: headers, errors, events, token counts.
//!
//! Pure rules: no I/O and no clock in here, and no knowledge of who asks.

pub mod errors;
pub mod events;
pub mod headers;
pub mod usage;

//! What the contract promises, told against the real binary and scripted endpoints. One file for each of its sections.

#[path = "../common/mod.rs"]
mod common;

mod affinity;
mod answers;
mod broken;
mod browsers;
mod choosing;
mod clock;
mod command_line;
mod configuration;
mod connections;
mod cooldowns;
mod cors;
mod dashboards;
mod docs;
mod errors;
mod failover;
mod forwarding;
mod gate;
mod health;
mod judging;
mod limits;
mod log;
mod malformed;
mod notify;
mod page;
mod paths;
mod pressure;
mod reload;
mod shutdown;
mod streams;
mod timeouts;
mod tls;
mod tokens;
mod tree;
mod turns;
mod upstream;
mod ways;

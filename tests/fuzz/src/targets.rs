pub mod answer;
pub mod body;
pub mod config;
pub mod events;
pub mod request;
pub mod retry_after;
mod wire;

//! Clients: their connections, what they ask, who may come in, and the answer's way out.

pub mod access;
mod body_budget;
mod connection;
mod conversation;
mod head;
pub mod listener;
mod reader;
pub mod routes;
pub mod writer;

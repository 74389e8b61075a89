//! Clients: their connections, what they ask, who may come in, and the answer's way out.
//!
//! tiny_http must not meet strangers (it stalls connections, grows without bound, and one header ends it), so this room stands
//! before it. One thread, the listener's, waits for all clients at once: it takes connections, reads whole, well-formed, bounded
//! requests, answers what needs no endpoint, and hands the rest to the [`Host`]. A worker writes the answer to the client's own
//! socket and gives the connection back. No request is read before the answer to the last one has ended.
//!
//! - `listener`, `reactor`: the thread and its table; `client`, `intake`, `outbox`: one connection as that thread sees it; `connection`: what the thread
//!   and a worker share; `bell`: how others wake the thread; `deadlines`: how long it may sleep.
//! - `relief`: who has to go where others wait; `pace`: who is slow.
//! - `head`, `body`, `body_budget`: a request's bytes and their bounds; `refusal`: what becomes of the others.
//! - `routes`, `access`, `browsers`, `host`: who answers, and who may ask.
//! - `exchange`: what a worker gets; `writer`: how it answers; `socket`: the bytes themselves.
//!
//! Only this room touches a client's socket. It knows nothing of endpoints.

pub mod access;
mod bell;
mod body;
mod body_budget;
pub mod browsers;
mod client;
mod connection;
mod deadlines;
mod exchange;
mod head;
mod host;
mod intake;
mod listener;
mod outbox;
mod pace;
mod reactor;
mod refusal;
mod relief;
pub mod routes;
mod socket;
mod writer;

pub use body::Body;
pub use connection::After;
pub use exchange::{Admission, Asked, Crowd, Exchange, Host, Permit, Ticket, Triage};
pub use head::Head;
pub use listener::Listener;
pub use refusal::{CLIENT_BUSY, NO_CLIENT_TOKEN, QUEUE_FULL, Refusal, SHUTTING_DOWN, STATUS_ONLY};
pub use writer::{Downstream, Framing};

#[cfg(test)]
mod tests;

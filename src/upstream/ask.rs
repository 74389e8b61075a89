//! Questions of our own to an endpoint: is it well, which models does it serve.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::uri::PathAndQuery;
use http::{HeaderMap, Method, StatusCode};

use super::{Abort, Body, Error, Outgoing, Upstream};

/// Bytes of an answer that are taken. The list of a thousand models is some 150 KiB.
const MAX_BODY: usize = 1 << 20;
/// The cheapest question there is: it costs no tokens, and tells whether the token is taken.
const CHECK: &str = "/v1/models?limit=1";

impl Upstream {
    /// Asks for something, and takes the whole answer, within `limit`. The endpoint's credential is added, as to any request.
    ///
    /// # Errors
    /// As [`Upstream::send`]; `Broken` also where the answer's body breaks off or is longer than 1 MiB.
    pub fn ask(&self, call: &Outgoing, limit: Duration) -> Result<(StatusCode, Vec<u8>), Error> {
        let deadline = Instant::now() + limit;
        let abort = Arc::new(Abort::default());
        let mut answer = self.send_by(call, &abort, Some(deadline))?;
        let body = read_whole(&mut answer.body, deadline).map_err(|err| {
            match Instant::now() >= deadline {
                true => Error::TimedOut,
                false => Error::Broken(format!("the answer broke off: {err}")),
            }
        })?;
        Ok((answer.status, body))
    }

    /// Asks for one model, by the way that requests go, within `limit`. Which statuses are good is the caller's to say.
    ///
    /// # Errors
    /// As [`Upstream::ask`].
    pub fn check(&self, limit: Duration) -> Result<u16, Error> {
        let call = Outgoing {
            method: &Method::GET,
            target: &PathAndQuery::from_static(CHECK),
            headers: &HeaderMap::new(),
            body: &[],
        };
        let (status, _) = self.ask(&call, limit)?;
        Ok(status.as_u16())
    }
}

fn read_whole(body: &mut Body, deadline: Instant) -> io::Result<Vec<u8>> {
    let (mut whole, mut piece) = (Vec::new(), vec![0; 16 << 10]);
    loop {
        match body.read_by(deadline, &mut piece)? {
            0 => return Ok(whole),
            more if whole.len() + more > MAX_BODY => {
                return Err(io::Error::other("it is longer than 1 MiB"));
            }
            more => whole.extend_from_slice(&piece[..more]),
        }
    }
}

#[cfg(test)]
mod tests;

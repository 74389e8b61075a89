//! The connection under ureq, with our own habits.
//!
//! ureq hands a transport the bytes of one call after the other and never says whose they are, so the thread that makes
//! the call leaves a note ([`Call`]) that the transport finds. With it
//! - another thread can end the call ([`super::Abort`]) by shutting the socket down under it,
//! - a connection that had been closed while it was kept is told from one that failed,
//! - a body's reads wait as long as the caller says, not as ureq's totals would have it.
//!
//! ureq's own TCP transport asks the kernel six times for each reuse; this one asks once. It writes head and body together, looks for an
//! answer while it writes, keeps what ureq cannot read from it (the sieve), and holds no large buffer while it is idle. TLS is under
//! it, so that there is one pair of buffers and not two.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::time::{ClockId, clock_gettime};
use ureq::unversioned::transport::{Buffers, NextTimeout, Transport};
use ureq::{Error, Timeout};

use super::MAX_IDLE_AGE;
use super::call::Call;
use super::input::{Input, MAX_INPUT, MIN_INPUT};
use super::sieve::Sieve;
use super::wire::{Wire, ended, is_not_now};

/// Body bytes that are gathered before they are written. Claude Code's usual request goes out in one write.
pub const OUTPUT: usize = 128 << 10;
/// Below this there is no point in asking for more to gather.
const MIN_OUTPUT_LEFT: usize = 512;

/// How many times connections of one endpoint were found dead without having said so. What is older than the last time is not used
/// again: what ended the one has most likely ended them all (the network changed, the machine slept, a NAT forgot).
#[derive(Clone, Debug, Default)]
pub struct Deaths(Arc<AtomicU64>);

impl Deaths {
    fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A connection to an endpoint.
#[derive(Debug)]
pub struct Link {
    wire: Wire,
    input: Input,
    sieve: Sieve,
    /// Bytes have come that ureq has not been told of.
    news: bool,
    output: Vec<u8>,
    /// Bytes at the start of `output` that wait to be written.
    waiting: usize,
    /// How long the endpoint may leave what we send unread.
    write_limit: Duration,
    /// Writing failed. The answer may be there all the same: an endpoint that refuses a request need not read it.
    failed: Option<io::Error>,
    /// Not all of the request went out, or not all of an answer came in: nothing may follow on it.
    spoiled: bool,
    /// Between two calls.
    kept: bool,
    /// Since when, on a clock that goes on while the machine sleeps: ureq's own does not.
    kept_at: Duration,
    deaths: Deaths,
    /// Deaths when it was made.
    made_at: u64,
}

impl Link {
    pub fn new(wire: Wire, write_limit: Duration, deaths: &Deaths) -> Link {
        Link {
            wire,
            input: Input::default(),
            sieve: Sieve::default(),
            news: false,
            output: Vec::new(),
            waiting: 0,
            write_limit,
            failed: None,
            spoiled: false,
            kept: false,
            kept_at: Duration::ZERO,
            made_at: deaths.count(),
            deaths: deaths.clone(),
        }
    }

    /// Writes what waits. An answer that comes before all of it is out ends the writing: the endpoint does not want the rest
    /// (RFC 9112 §9.5).
    fn flush(&mut self) {
        let (mut written, mut look) = (0, true);
        while !self.spoiled && (written < self.waiting || self.wire.holds_output()) {
            match self.wire.write(&self.output[written..self.waiting]) {
                Ok(amount) => written += amount,
                Err(err) if is_not_now(&err) => match self.wire.wait(look, self.write_limit) {
                    Ok(Some(ready)) if ready.input => look = self.look(),
                    Ok(Some(_)) => {}
                    Ok(None) => self.fail(io::ErrorKind::TimedOut.into()),
                    Err(err) => self.fail(err),
                },
                Err(err) => self.fail(err),
            }
        }
        self.waiting = 0;
        Call::with(|call| call.sent = Instant::now());
    }

    fn fail(&mut self, err: io::Error) {
        self.spoiled = true;
        self.failed = Some(self.seen(err));
    }

    /// Takes in what has come while the request goes out. True: look again when more is there.
    fn look(&mut self) -> bool {
        let read = match self.wire.read_now(self.input.spare()) {
            Ok(None) => return true,
            Ok(Some(0)) => Err(ended("the endpoint closed the connection")),
            Ok(Some(amount)) => Ok(self.arrived(amount)),
            Err(err) => Err(err),
        };
        match read {
            Ok(shown) => self.news |= shown,
            Err(err) => self.fail(err),
        }
        // One that is content may answer while it goes on reading.
        self.spoiled |= self.sieve.status().is_some_and(|status| status >= 300);
        self.input.held() < MAX_INPUT
    }

    /// So many bytes have come. True: ureq has something to see.
    fn arrived(&mut self, amount: usize) -> bool {
        self.input.appended(amount);
        Call::with(|call| call.answered = true);
        self.input.sift(&mut self.sieve)
    }

    /// Looks at an error before it goes on: a connection that is dead without having said so takes the others with it.
    fn seen(&self, err: io::Error) -> io::Error {
        if is_dead(&err) {
            self.deaths.0.fetch_add(1, Ordering::Relaxed);
            return io::Error::other(
                "the connection is dead: nothing that was sent was acknowledged",
            );
        }
        not_an_end(err)
    }

    /// When it is given back: nothing can be wrong with it that the second look would not find, but for what only we know.
    fn may_be_kept(&mut self) -> bool {
        let spoiled = Call::with(|call| {
            call.abort.detach();
            call.spoiled
        });
        if self.input.room() > MIN_INPUT && self.input.is_empty() {
            self.input = Input::default();
        }
        self.output = Vec::new();
        self.kept_at = since_boot();
        !spoiled && !self.spoiled && self.input.is_empty() && self.sieve.is_at_rest()
    }

    /// When it is taken: there must be nothing to read, neither an end nor bytes that nobody asked for.
    fn may_be_used(&mut self) -> bool {
        let fresh = Call::with(|call| call.fresh);
        let is_young = since_boot().saturating_sub(self.kept_at) < MAX_IDLE_AGE;
        !fresh && is_young && self.made_at == self.deaths.count() && self.wire.is_quiet()
    }
}

impl Transport for Link {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        if self.kept {
            self.kept = false;
            self.sieve = Sieve::default();
            Call::with(|call| {
                call.reused = true;
                call.abort.attach(self.wire.tcp());
            });
        }
        self.waiting += amount;
        if self.output.len() - self.waiting < MIN_OUTPUT_LEFT {
            self.flush();
        }
        Ok(())
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        if self.waiting > 0 {
            self.flush();
        }
        self.output = Vec::new();
        if std::mem::take(&mut self.news) {
            return Ok(true);
        }
        if self
            .failed
            .as_ref()
            .is_some_and(|err| err.kind() == io::ErrorKind::TimedOut)
        {
            return Err(Error::Timeout(Timeout::SendBody));
        }
        let deadline = match timeout.not_zero() {
            Some(left) => Instant::now() + *left,
            None => Call::with(|call| call.piece_by),
        };
        loop {
            if let Some(why) = self.sieve.lost() {
                return Err(io::Error::new(io::ErrorKind::InvalidData, why.0).into());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let read = self.wire.read(self.input.spare(), left);
            let err = match read {
                Ok(0) => ended("the endpoint closed the connection"),
                Ok(amount) => match self.arrived(amount) {
                    true => return Ok(true),
                    false => continue,
                },
                Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                    return Err(match timeout.not_zero() {
                        Some(_) => Error::Timeout(timeout.reason),
                        None => io::Error::from(io::ErrorKind::TimedOut).into(),
                    });
                }
                Err(err) => self.seen(err),
            };
            return Err(self.failed.take().unwrap_or(err).into());
        }
    }

    /// Asked twice for each kept connection: when it is given back, and when it is taken.
    fn is_open(&mut self) -> bool {
        if self.kept {
            return self.may_be_used();
        }
        self.kept = self.may_be_kept();
        self.kept
    }

    fn is_tls(&self) -> bool {
        self.wire.is_tls()
    }
}

/// Time since the machine's start, in which it slept or not.
fn since_boot() -> Duration {
    // Every Linux has this clock.
    clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(Duration::ZERO, Duration::from)
}

/// Whether an error is the kernel's own: it has waited in vain for the other side's acknowledgement. It gives as the reason what it last
/// heard of the way, from a router or from this machine's own table of routes, and only where it heard nothing that time is over.
fn is_dead(err: &io::Error) -> bool {
    let reason = err.raw_os_error().map(Errno::from_raw);
    matches!(
        reason,
        Some(
            Errno::ETIMEDOUT
                | Errno::EHOSTUNREACH
                | Errno::ENETUNREACH
                | Errno::EHOSTDOWN
                | Errno::ECONNREFUSED
        )
    )
}

/// ureq takes a reset for the end of a body that has no length. It is not one: what came may be half of it.
fn not_an_end(err: io::Error) -> io::Error {
    match err.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => {
            io::Error::other(err.to_string())
        }
        _ => err,
    }
}

impl Buffers for Link {
    fn output(&mut self) -> &mut [u8] {
        if self.output.is_empty() {
            self.output = vec![0; Call::with(|call| call.size) + 2 * MIN_OUTPUT_LEFT];
        }
        &mut self.output[self.waiting..]
    }

    fn input(&self) -> &[u8] {
        self.input.unread()
    }

    fn input_append_buf(&mut self) -> &mut [u8] {
        self.input.spare()
    }

    fn input_appended(&mut self, amount: usize) {
        self.input.appended(amount);
    }

    fn input_consume(&mut self, amount: usize) {
        self.input.consume(amount);
    }

    fn tmp_and_output(&mut self) -> (&mut [u8], &mut [u8]) {
        self.output();
        (self.input.spare(), &mut self.output[self.waiting..])
    }

    fn can_use_input(&self) -> bool {
        self.input.progress && !self.input.unread().is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_kernel_says_of_a_dead_connection() {
        let check = |errno: Errno, dead| {
            let err = io::Error::from(errno);
            assert_eq!(is_dead(&err), dead, "{errno}");
        };
        check(Errno::ETIMEDOUT, true);
        check(Errno::EHOSTUNREACH, true); // A router's word, or a neighbour's silence.
        check(Errno::ENETUNREACH, true); // No route is left.
        check(Errno::EHOSTDOWN, true);
        check(Errno::ECONNREFUSED, true); // A firewall's: the port is unreachable.
        // The other side's own words.
        check(Errno::ECONNRESET, false);
        check(Errno::EPIPE, false);
        // This machine's.
        check(Errno::ENOBUFS, false);
        // Our own patience is no word of the kernel's.
        assert!(!is_dead(&io::ErrorKind::TimedOut.into()));
    }
}

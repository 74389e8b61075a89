//! Names to addresses, within a time.
//!
//! The system's resolver blocks for as long as it likes, so it runs on a thread of its own; one thread at most for
//! each endpoint, whatever the number of requests that wait for it.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How often somebody who waits looks whether it is over.
const TICK: Duration = Duration::from_millis(250);

/// Looks up one endpoint's host. Nothing is kept from one call to the next: a new connection asks anew.
#[derive(Debug, Default)]
pub struct Lookup {
    running: Mutex<Option<Arc<Answer>>>,
}

#[derive(Debug, Default)]
struct Answer {
    found: Mutex<Option<Result<Vec<SocketAddr>, String>>>,
    ready: Condvar,
}

impl Lookup {
    /// `is_over` is asked now and then: nobody waits for the answer any more.
    ///
    /// # Errors
    /// `TimedOut` when the resolver has not answered by `deadline` or it is over, `NotFound` when it knows no address; whatever the
    /// system says where no thread can be had.
    pub fn resolve(
        &self,
        host: &str,
        port: u16,
        deadline: Instant,
        is_over: impl Fn() -> bool,
    ) -> io::Result<Vec<SocketAddr>> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(ip) = bare.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let answer = self.start(host, port)?;
        let mut found = lock(&answer.found);
        while found.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || is_over() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            found = wait(&answer.ready, found, left.min(TICK));
        }
        match found.as_ref().expect("the loop ends when it is there") {
            Ok(addrs) if addrs.is_empty() => {
                Err(not_found(format!("{host}: the name has no address")))
            }
            Ok(addrs) => Ok(addrs.clone()),
            Err(err) => Err(not_found(format!("{host}: {err}"))),
        }
    }

    /// The look-up that runs, or a new one.
    fn start(&self, host: &str, port: u16) -> io::Result<Arc<Answer>> {
        let mut running = lock(&self.running);
        if let Some(answer) = running
            .as_ref()
            .filter(|answer| lock(&answer.found).is_none())
        {
            return Ok(answer.clone());
        }
        let answer = Arc::new(Answer::default());
        let (host, for_thread) = (host.to_owned(), answer.clone());
        // It ends when the resolver does; nobody waits for it longer than `connectSeconds`.
        thread::Builder::new()
            .name("lookup".into())
            .stack_size(256 << 10)
            .spawn(move || {
                let addrs = (host.as_str(), port)
                    .to_socket_addrs()
                    .map(Iterator::collect)
                    .map_err(|err| err.to_string());
                *lock(&for_thread.found) = Some(addrs);
                for_thread.ready.notify_all();
            })?;
        *running = Some(answer.clone());
        Ok(answer)
    }
}

fn not_found(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, message)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn wait<'a, T>(condvar: &Condvar, guard: MutexGuard<'a, T>, limit: Duration) -> MutexGuard<'a, T> {
    condvar
        .wait_timeout(guard, limit)
        .unwrap_or_else(PoisonError::into_inner)
        .0
}

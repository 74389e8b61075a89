//! Whether an endpoint is well again: before a client's request is spent on it, we ask it ourselves.
//!
//! One thread waits for the checks that are due. Each is made in a thread of its own, of which an endpoint has one at most: a check may
//! take its whole time, and must not delay the others.

use std::io;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use super::attempt::Target;
use crate::balancer::{Balancer, Check};

/// The longest that an endpoint may take for its answer.
const LIMIT: Duration = Duration::from_secs(10);
/// Where nothing is to come, a look now and then costs nothing.
const LONGEST_WAIT: Duration = Duration::from_secs(3600);
/// Until the next try, where no thread could be had.
const NO_THREAD: Duration = Duration::from_secs(1);
/// TLS is the deepest call of a check.
const STACK: usize = 256 << 10;

/// Checks endpoints for as long as the process lives.
///
/// # Errors
/// No thread can be had.
pub fn start(balancer: Arc<Balancer<Target>>) -> io::Result<()> {
    let checker = thread::Builder::new().name("checker".into());
    checker.stack_size(64 << 10).spawn(move || {
        loop {
            let due = balancer.due_checks(Instant::now());
            if due.is_empty() {
                let next = balancer.next_check(Instant::now());
                balancer.wait_for_checks(next.unwrap_or(LONGEST_WAIT));
            }
            for check in due {
                let thread = thread::Builder::new().name("check".into());
                if let Err(err) = thread.stack_size(STACK).spawn(move || make(check)) {
                    log::warn!("no thread for a check: {err}");
                    thread::sleep(NO_THREAD);
                }
            }
        }
    })?;
    Ok(())
}

/// Any HTTP answer but a refusal of the token and a server error lets the endpoint back.
fn make(check: Check<Target>) {
    let why = match check.upstream.check(LIMIT) {
        Ok(status @ (401 | 403 | 500..)) => format!("status {status}"),
        Ok(status) => {
            log::info!(endpoint = check.upstream.name(), status = status; "a check passed: the next request tries the endpoint");
            let text = format!("status {status}: the next request tries it");
            check.counters.tell_check(SystemTime::now(), true, &text);
            return check.passed();
        }
        Err(err) => err.to_string(),
    };
    log::warn!(endpoint = check.upstream.name(), cause = "check failed", answer = why.as_str(); "a check failed: the endpoint stays on cooldown");
    check.counters.tell_check(SystemTime::now(), false, &why);
    check.failed(Instant::now());
}

//! SIGHUP: an operator says "look at the configuration file now".
//!
//! The signal is blocked in all threads and read from a descriptor, so that no handler runs and nothing is interrupted.
//! ctrlc takes SIGHUP for an end; a blocked signal never comes to its handler.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Where the SIGHUPs of this process arrive.
#[derive(Debug)]
pub struct Hangups(SignalFd);

impl Hangups {
    /// From now on SIGHUP ends nothing. To be called before the first thread is started: threads inherit what is blocked, and
    /// the kernel gives a signal to any thread that does not block it.
    ///
    /// # Errors
    /// No descriptor is left.
    pub fn catch() -> io::Result<Hangups> {
        let mut signals = SigSet::empty();
        signals.add(Signal::SIGHUP);
        signals.thread_block()?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        Ok(Hangups(SignalFd::with_flags(&signals, flags)?))
    }

    /// Waits for a SIGHUP, `longest` at most where that is given. Says whether one came; several at once count as one.
    pub fn wait(&self, longest: Option<Duration>) -> bool {
        let timeout = longest.map_or(PollTimeout::NONE, |time| {
            time.try_into().unwrap_or(PollTimeout::MAX)
        });
        // What can fail here (an interrupted call) is as good as a wait that is over.
        let _ = poll(
            &mut [PollFd::new(self.0.as_fd(), PollFlags::POLLIN)],
            timeout,
        );
        matches!(self.0.read_signal(), Ok(Some(_)))
    }
}

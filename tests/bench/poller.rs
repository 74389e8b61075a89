//! epoll and one exact timer: what the fake upstream and the load generator both wait with.
//!
//! The timer is a timerfd, because epoll's own timeout knows only milliseconds, and a request sent a
//! millisecond late would count as a balancer's latency.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};

/// "Nothing is due."
pub const NEVER: u64 = u64::MAX;

/// The timer's own token.
const TIMER: u64 = u64::MAX;

/// Events taken from the kernel at a time.
const BATCH: usize = 512;

pub struct Poller {
    epoll: Epoll,
    timer: TimerFd,
    /// What the timer is set to.
    due: u64,
    events: Vec<EpollEvent>,
}

/// A socket that can go on.
pub struct Ready {
    pub token: u64,
    pub readable: bool,
    pub writable: bool,
}

impl Poller {
    pub fn new() -> io::Result<Poller> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let flags = TimerFlags::TFD_NONBLOCK | TimerFlags::TFD_CLOEXEC;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        epoll.add(&timer, EpollEvent::new(EpollFlags::EPOLLIN, TIMER))?;
        let events = vec![EpollEvent::empty(); BATCH];
        Ok(Poller {
            epoll,
            timer,
            due: NEVER,
            events,
        })
    }

    /// Watches a socket for reading; closing it ends that.
    pub fn add(&self, socket: impl AsFd, token: u64) -> io::Result<()> {
        Ok(self
            .epoll
            .add(socket, EpollEvent::new(EpollFlags::EPOLLIN, token))?)
    }

    /// Also for room to write, or no longer.
    pub fn want_to_write(&self, socket: impl AsFd, token: u64, wanted: bool) -> io::Result<()> {
        let mut flags = EpollFlags::EPOLLIN;
        flags.set(EpollFlags::EPOLLOUT, wanted);
        Ok(self
            .epoll
            .modify(socket, &mut EpollEvent::new(flags, token))?)
    }

    /// Waits until `due` (in `proc::now`'s nanoseconds) at the longest, and puts into `ready` what can go on.
    pub fn wait(&mut self, due: u64, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        if due != self.due {
            self.set(due)?;
        }
        let found = match self.epoll.wait(&mut self.events, EpollTimeout::NONE) {
            Ok(found) => found,
            Err(nix::Error::EINTR) => 0,
            Err(err) => return Err(err.into()),
        };
        let mut fired = false;
        for event in &self.events[..found] {
            if event.data() == TIMER {
                fired = true;
                continue;
            }
            let flags = event.events();
            ready.push(Ready {
                token: event.data(),
                readable: flags
                    .intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR),
                writable: flags.contains(EpollFlags::EPOLLOUT),
            });
        }
        // Also makes it unreadable.
        if fired { self.set(NEVER) } else { Ok(()) }
    }

    fn set(&mut self, due: u64) -> io::Result<()> {
        self.due = due;
        if due == NEVER {
            return Ok(self.timer.unset()?);
        }
        // Zero would disarm it; a moment that has passed fires at once.
        let at = TimeSpec::from_duration(Duration::from_nanos(due.max(1)));
        Ok(self.timer.set(
            Expiration::OneShot(at),
            TimerSetTimeFlags::TFD_TIMER_ABSTIME,
        )?)
    }
}

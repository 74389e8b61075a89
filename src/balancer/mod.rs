//! Which endpoint serves the next attempt.
//!
//! Round robin over the endpoints that are up, or a session's own endpoint; those that rest come last. No I/O and no
//! clock in here: callers pass `now`, so every rule is tested without waiting. The lock never spans a network call. No
//! thread wakes up to end a rest: `until` is compared when somebody asks.

mod affinity;
mod lease;
mod round_robin;
mod snapshot;

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

pub use lease::Lease;
use round_robin::RoundRobin;
pub use snapshot::{EndpointState, Snapshot};

/// The endpoints, in the file's order, with all that is known of them.
pub struct Balancer<T> {
    state: Mutex<State<T>>,
    /// Signalled when one who was told [`Pick::Wait`] may find an endpoint.
    freed: Condvar,
}

struct State<T> {
    seats: Vec<Place<T>>,
    /// Turns of requests that have tried nothing yet.
    first: RoundRobin,
    /// Turns of requests that go on from a failed attempt. With an index of their own, all of the others share an unwell
    /// endpoint's load, and its failures change nothing in who gets the requests' first attempts.
    again: RoundRobin,
    /// Turns of requests that find only endpoints that rest.
    last_resort: RoundRobin,
    /// Numbers seats and probes.
    count: u64,
    waiters: usize,
    /// Something was freed while nobody waited: one who is just about to wait need not.
    missed: bool,
}

/// An endpoint, as far as the balancer must know it; `upstream` is what a lease gives access to.
pub struct Seat<T> {
    pub name: String,
    pub base_url: String,
    pub weight: u32,
    /// Requests at the same time. `None`: no limit.
    pub max_concurrent: Option<u32>,
    pub upstream: Arc<T>,
}

/// Names a seat for as long as the process lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeatId(u64);

/// A seat and its state.
struct Place<T> {
    id: SeatId,
    seat: Seat<T>,
    /// See [`affinity::draw`].
    name_hash: u64,
    /// Rests until then. In the past: the rest is over, and nobody has yet seen the endpoint well again.
    until: Option<Instant>,
    cause: &'static str,
    /// The request that tries whether it is well again.
    probe: Option<u64>,
    in_flight: u32,
    requests: u64,
    failures: u64,
}

/// What a request wants of its endpoint.
#[derive(Clone, Copy, Debug)]
pub enum Want<'a> {
    /// The next one.
    Any,
    /// The one of its session while that is available.
    Session(&'a str),
    /// The first one and no other: what it is about lives in that account.
    First,
}

/// What there is for a request.
pub enum Pick<T> {
    Go(Lease<T>),
    /// Those that are left are all at `maxConcurrent`, or another request is just finding out about one of them.
    Wait,
    /// None is left that was not tried.
    Exhausted,
}

impl<T> Place<T> {
    fn rests(&self, now: Instant) -> bool {
        self.until.is_some_and(|until| until > now)
    }

    fn is_full(&self) -> bool {
        self.seat
            .max_concurrent
            .is_some_and(|most| self.in_flight >= most)
    }

    fn is_available(&self, now: Instant) -> bool {
        self.probe.is_none() && !self.rests(now) && !self.is_full()
    }
}

impl<T> Balancer<T> {
    pub fn new(seats: Vec<Seat<T>>) -> Arc<Balancer<T>> {
        let state = State {
            seats: Vec::new(),
            first: RoundRobin::default(),
            again: RoundRobin::default(),
            last_resort: RoundRobin::default(),
            count: 0,
            waiters: 0,
            missed: false,
        };
        let balancer = Arc::new(Balancer {
            state: Mutex::new(state),
            freed: Condvar::new(),
        });
        balancer.reconfigure(seats);
        balancer
    }

    /// Puts other endpoints in place. One with the same name and base URL keeps its counters and its rest; requests at
    /// one that is gone end in peace.
    pub fn reconfigure(&self, seats: Vec<Seat<T>>) {
        let mut state = self.lock();
        let old_place = |seat: &Seat<T>| {
            let same = |place: &Place<T>| {
                place.seat.name == seat.name && place.seat.base_url == seat.base_url
            };
            state.seats.iter().position(same)
        };
        let members: Vec<_> = seats
            .iter()
            .map(|seat| (seat.weight, old_place(seat)))
            .collect();
        let State {
            first,
            again,
            last_resort,
            ..
        } = &mut *state;
        for index in [first, again, last_resort] {
            index.set_members(members.iter().copied());
        }
        let mut old: Vec<_> = std::mem::take(&mut state.seats)
            .into_iter()
            .map(Some)
            .collect();
        // What is replaced may have connections to close: it outlives the lock.
        let mut replaced = Vec::new();
        for (seat, (_, at)) in seats.into_iter().zip(members) {
            let place = match at.and_then(|at| old[at].take()) {
                Some(mut place) => {
                    replaced.push(std::mem::replace(&mut place.seat, seat));
                    place
                }
                None => state.new_place(seat),
            };
            state.seats.push(place);
        }
        self.wake(state, Wake::All);
    }

    /// Gives the request a turn at an endpoint that it has not `tried`.
    ///
    /// `patient`: it is willing to wait for the verdict of a request that probes an endpoint after its rest, so that
    /// not everybody runs into one that is still unwell.
    pub fn pick(
        self: &Arc<Self>,
        now: Instant,
        want: Want,
        tried: &[SeatId],
        patient: bool,
    ) -> Pick<T> {
        let mut state = self.lock();
        let State {
            seats,
            first,
            again,
            last_resort,
            ..
        } = &mut *state;
        let is_left =
            |at: usize| (at == 0 || !matches!(want, Want::First)) && !tried.contains(&seats[at].id);
        let is_available = |at: usize| seats[at].is_available(now) && is_left(at);
        let found = match want {
            Want::Session(session) => of_session(session, seats, is_available),
            Want::First => Some(0).filter(|&at| is_available(at)),
            Want::Any if tried.is_empty() => first.take(is_available),
            Want::Any => again.take(is_available),
        };
        if let Some(at) = found {
            return Pick::Go(self.lease(now, &mut state, at));
        }
        let mut left = (0..seats.len()).filter(|&at| is_left(at)).peekable();
        if left.peek().is_none() {
            return Pick::Exhausted;
        }
        if patient && left.any(|at| seats[at].probe.is_some()) {
            return Pick::Wait;
        }
        match last_resort.take(|at| is_left(at) && !seats[at].is_full()) {
            Some(at) => Pick::Go(self.lease(now, &mut state, at)),
            None => Pick::Wait,
        }
    }

    /// Waits until something may have changed for one who was told [`Pick::Wait`], `limit` at most. It may return
    /// early. Where several wait for different endpoints the wrong one may wake, so `limit` should be a moment.
    pub fn wait(&self, limit: Duration) {
        let mut state = self.lock();
        if std::mem::take(&mut state.missed) {
            return;
        }
        state.waiters += 1;
        state = self
            .freed
            .wait_timeout(state, limit)
            .unwrap_or_else(PoisonError::into_inner)
            .0;
        state.waiters -= 1;
    }

    /// A copy of every endpoint's state.
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let state = self.lock();
        let seats = &state.seats;
        let next = state.first.next(|at| seats[at].is_available(now));
        let next = next.or_else(|| state.last_resort.next(|at| !seats[at].is_full()));
        let next = next
            .or_else(|| state.last_resort.next(|_| true))
            .unwrap_or(0);
        let all_rest = seats.iter().all(|place| place.rests(now));
        Snapshot {
            endpoints: seats
                .iter()
                .map(|place| EndpointState::of(place, now))
                .collect(),
            next,
            all_rest,
        }
    }

    fn lease(self: &Arc<Self>, now: Instant, state: &mut State<T>, at: usize) -> Lease<T> {
        state.count += 1;
        let place = &mut state.seats[at];
        let is_in_doubt = place.until.is_some();
        // Its rest is over: this request is the one that tries.
        let probe = (is_in_doubt && place.is_available(now)).then_some(state.count);
        place.probe = probe.or(place.probe);
        place.in_flight += 1;
        place.requests += 1;
        Lease {
            balancer: self.clone(),
            id: place.id,
            upstream: place.seat.upstream.clone(),
            probe,
            is_in_doubt,
        }
    }

    /// Changes a seat, if it is still there, and wakes those whom the change may help.
    fn update(&self, id: SeatId, change: impl FnOnce(&mut Place<T>) -> Wake) {
        let mut state = self.lock();
        let place = state.seats.iter_mut().find(|place| place.id == id);
        let wake = place.map_or(Wake::Nobody, change);
        self.wake(state, wake);
    }

    /// Costs no system call where nobody waits.
    fn wake(&self, mut state: MutexGuard<State<T>>, wake: Wake) {
        let waiters = state.waiters;
        state.missed |= match wake {
            Wake::Nobody => false,
            Wake::One => waiters == 0,
            Wake::All => true,
        };
        drop(state);
        match wake {
            Wake::One if waiters > 0 => self.freed.notify_one(),
            Wake::All if waiters > 0 => self.freed.notify_all(),
            _ => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whom a change may help.
enum Wake {
    Nobody,
    /// There is room for one more request.
    One,
    All,
}

impl<T> State<T> {
    fn new_place(&mut self, seat: Seat<T>) -> Place<T> {
        self.count += 1;
        Place {
            id: SeatId(self.count),
            name_hash: affinity::hash(&seat.name),
            seat,
            until: None,
            cause: "",
            probe: None,
            in_flight: 0,
            requests: 0,
            failures: 0,
        }
    }
}

/// The session's endpoint among those that are available. Sessions take no turn.
fn of_session<T>(
    session: &str,
    seats: &[Place<T>],
    is_available: impl Fn(usize) -> bool,
) -> Option<usize> {
    let session = affinity::hash(session);
    let draw = |at: usize| affinity::draw(session, seats[at].name_hash, seats[at].seat.weight);
    let draws = (0..seats.len())
        .filter(|&at| is_available(at))
        .map(|at| (at, draw(at)));
    draws
        .max_by(|(_, a), (_, b)| a.total_cmp(b))
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests;

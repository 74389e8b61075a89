//! The fake Claude API: one thread, epoll, answers made beforehand; it must cost much less than any balancer.
//!
//! The query says what to answer (balancers pass it on unchanged): `answer=BYTES` a JSON message,
//! `hold=MS` not before that long, `events=N&gap=MS` an event stream with the moment of sending inside each event.
//! `GET /opened` tells how many connections it has taken so far. Its last ports are behind TLS.

mod plan;
mod wire;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{self, ErrorKind};
use std::net::TcpListener;
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::Arc;

use memchr::memmem;
use nix::sys::socket::{Backlog, listen};
use rustls::ServerConfig;

use crate::Failure;
use crate::answers::{chunk, event, message, stream_begins, stream_ends};
use crate::params::Params;
use crate::poller::{NEVER, Poller, Ready};
use crate::proc::now;
use crate::secure;
use plan::{Plan, length, plan};
use wire::Wire;

/// Ports that it listens on: as many as the largest number of endpoints that we measure with, without and with TLS.
pub const PORTS: usize = 64;
pub const SECURE_PORTS: usize = 2;

/// Taken from a socket at a time.
const PIECE: usize = 256 << 10;

/// The upstream program: writes the authority of its certificate to the file `authority`, prints its ports in one line, those behind
/// TLS last, and serves until it is killed.
pub fn run(params: &Params) -> Result<(), Failure> {
    let secure = secure::server(&params.get::<String>("authority")?)?;
    let listeners = (0..PORTS + SECURE_PORTS)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<io::Result<Vec<_>>>()?;
    let mut ports = Vec::new();
    for listener in &listeners {
        listen(listener, Backlog::new(4096)?)?; // std's own 128 is short for 4,000 streams.
        listener.set_nonblocking(true)?;
        ports.push(listener.local_addr()?.port().to_string());
    }
    println!("{}", ports.join(" "));
    let server = Server {
        poller: Poller::new()?,
        conns: Vec::new(),
        due: BinaryHeap::new(),
        answers: HashMap::new(),
        opened: 0,
        secure,
    };
    Ok(server.serve(&listeners)?)
}

struct Server {
    poller: Poller,
    /// By file descriptor, which is their token too.
    conns: Vec<Option<Conn>>,
    due: BinaryHeap<Reverse<(u64, usize, u64)>>,
    answers: HashMap<usize, Rc<[u8]>>,
    opened: u64,
    secure: Arc<ServerConfig>,
}

struct Conn {
    wire: Wire,
    /// Its number: a timer may name a descriptor that has become another connection's.
    number: u64,
    /// The beginning of a head whose rest has not come yet.
    head: Vec<u8>,
    body_left: usize,
    plan: Plan,
    events_left: u32,
    out: Rc<[u8]>,
    sent: usize,
    /// Waits for room to write.
    blocked: bool,
}

impl Server {
    fn serve(mut self, listeners: &[TcpListener]) -> io::Result<()> {
        for listener in listeners {
            self.poller.add(listener, listener.as_raw_fd() as u64)?;
        }
        let last = listeners
            .iter()
            .map(|listener| listener.as_raw_fd() as u64)
            .max()
            .unwrap_or(0);
        let mut ready: Vec<Ready> = Vec::new();
        let mut piece = vec![0; PIECE];
        loop {
            let next = self.due.peek().map_or(NEVER, |Reverse((at, ..))| *at);
            self.poller.wait(next, &mut ready)?;
            for one in &ready {
                // Listeners were opened first and never close: theirs are the lowest numbers.
                if one.token <= last {
                    let is_it = |listener: &TcpListener| listener.as_raw_fd() as u64 == one.token;
                    if let Some(at) = listeners.iter().position(is_it) {
                        self.accept(&listeners[at], at >= PORTS)?;
                    }
                    continue;
                }
                let fd = one.token as usize;
                let kept = (!one.writable || self.flush(fd).is_ok())
                    && (!one.readable || self.read(fd, &mut piece).is_ok());
                if !kept {
                    self.conns[fd] = None;
                }
            }
            self.fire()?;
        }
    }

    fn accept(&mut self, listener: &TcpListener, is_secure: bool) -> io::Result<()> {
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(err) if err.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(err) => return Err(err),
            };
            stream.set_nonblocking(true)?;
            stream.set_nodelay(true)?;
            self.opened += 1;
            let fd = stream.as_raw_fd() as usize;
            self.poller.add(&stream, fd as u64)?;
            if self.conns.len() <= fd {
                self.conns.resize_with(fd + 1, || None);
            }
            let config = is_secure.then(|| Arc::clone(&self.secure));
            let conn = Conn {
                wire: Wire::new(stream, config)?,
                number: self.opened,
                head: Vec::new(),
                body_left: 0,
                plan: Plan::default(),
                events_left: 0,
                out: Rc::new([]),
                sent: 0,
                blocked: false,
            };
            self.conns[fd] = Some(conn);
        }
    }

    /// An error means: close it.
    fn read(&mut self, fd: usize, piece: &mut [u8]) -> io::Result<()> {
        let Some(conn) = self.conns[fd].as_mut() else {
            return Ok(());
        };
        let count = match conn.wire.read(piece) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(err) if err.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(err) => return Err(err),
        };
        let mut rest = &piece[..count];
        if conn.body_left == 0 {
            let joined;
            if !conn.head.is_empty() {
                conn.head.extend_from_slice(rest);
                joined = std::mem::take(&mut conn.head);
                rest = &joined;
            }
            let Some(end) = memmem::find(rest, b"\r\n\r\n") else {
                conn.head = rest.to_vec();
                return Ok(());
            };
            let (head, body) = rest.split_at(end + 4);
            conn.plan = plan(head);
            conn.body_left = length(head)?;
            return self.body(fd, body.len());
        }
        self.body(fd, count)
    }

    fn body(&mut self, fd: usize, count: usize) -> io::Result<()> {
        let Some(conn) = self.conns[fd].as_mut() else {
            return Ok(());
        };
        // No balancer pipelines.
        conn.body_left = conn
            .body_left
            .checked_sub(count)
            .ok_or(ErrorKind::InvalidData)?;
        if conn.body_left > 0 {
            return Ok(());
        }
        let (plan, number) = (conn.plan, conn.number);
        conn.events_left = plan.events;
        if plan.hold_ms > 0 {
            self.due
                .push(Reverse((now() + plan.hold_ms * 1_000_000, fd, number)));
            return Ok(());
        }
        self.answer(fd)
    }

    fn answer(&mut self, fd: usize) -> io::Result<()> {
        let Some(conn) = self.conns[fd].as_mut() else {
            return Ok(());
        };
        let plan = conn.plan;
        if plan.events > 0 {
            self.due
                .push(Reverse((now() + plan.gap_ms * 1_000_000, fd, conn.number)));
            return self.send(fd, stream_begins().as_bytes());
        }
        conn.out = if plan.opened {
            let text = self.opened.to_string();
            format!(
                "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{text}",
                text.len()
            )
            .into_bytes()
            .into()
        } else {
            Rc::clone(
                self.answers
                    .entry(plan.answer)
                    .or_insert_with(|| message(plan.answer)),
            )
        };
        conn.sent = 0;
        self.flush(fd)
    }

    /// Does what is due now: held answers and events.
    fn fire(&mut self) -> io::Result<()> {
        while let Some(&Reverse((at, fd, number))) = self.due.peek() {
            if at > now() {
                return Ok(());
            }
            self.due.pop();
            let Some(conn) = self.conns[fd].as_mut().filter(|conn| conn.number == number) else {
                continue;
            };
            let kept = if conn.plan.hold_ms > 0 {
                conn.plan.hold_ms = 0;
                self.answer(fd)
            } else if conn.events_left > 0 {
                conn.events_left -= 1;
                let gap = conn.plan.gap_ms;
                self.due.push(Reverse((at + gap * 1_000_000, fd, number)));
                self.send(fd, chunk(&event(now())).as_bytes())
            } else {
                self.send(fd, stream_ends().as_bytes())
            };
            if kept.is_err() {
                self.conns[fd] = None;
            }
        }
        Ok(())
    }

    /// Sends a piece of a stream, behind what may still wait.
    fn send(&mut self, fd: usize, piece: &[u8]) -> io::Result<()> {
        let Some(conn) = self.conns[fd].as_mut() else {
            return Ok(());
        };
        let waiting = &conn.out[conn.sent..];
        let mut done = 0;
        if waiting.is_empty() {
            done = match conn.wire.write(piece) {
                Ok(count) => count,
                Err(err) if err.kind() == ErrorKind::WouldBlock => 0,
                Err(err) => return Err(err),
            };
        }
        if done == piece.len() && !conn.wire.is_pending() {
            return Ok(());
        }
        conn.out = [waiting, &piece[done..]].concat().into();
        conn.sent = 0;
        self.flush(fd)
    }

    fn flush(&mut self, fd: usize) -> io::Result<()> {
        let Some(conn) = self.conns[fd].as_mut() else {
            return Ok(());
        };
        while conn.sent < conn.out.len() || conn.wire.is_pending() {
            match conn.wire.write(&conn.out[conn.sent..]) {
                Ok(count) => conn.sent += count,
                Err(err) if err.kind() == ErrorKind::WouldBlock => {
                    if !conn.blocked {
                        self.poller
                            .want_to_write(conn.wire.socket(), fd as u64, true)?;
                        conn.blocked = true;
                    }
                    return Ok(());
                }
                Err(err) => return Err(err),
            }
        }
        if conn.blocked {
            self.poller
                .want_to_write(conn.wire.socket(), fd as u64, false)?;
            conn.blocked = false;
        }
        Ok(())
    }
}

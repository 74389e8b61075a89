//! Reading one request: whole, well-formed, bounded.
//!
//! What a stranger can send is judged here and in `head`, before anything else of the program sees it.

use std::io;
use std::net::TcpStream;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Instant;

use http::StatusCode;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::socket::{MsgFlags, recv};

use super::body_budget::Charge;
use super::head::{Framing, Head, MAX_HEAD, Scan, parse};

/// First read of a head: Claude Code's is about 2 KiB.
const HEAD_ROOM: usize = 4 << 10;
/// A body is read in steps of this at least, so that memory grows with what has come and not with what was announced.
const BODY_STEP: usize = 64 << 10;
/// Up to this size a body gets its room at once: that costs addresses, and memory only where bytes come.
const BODY_ROOM: usize = 2 << 20;
/// A chunk's size line and a trailer line.
const MAX_CHUNK_LINE: usize = 4 << 10;
const MAX_TRAILERS: usize = 16 << 10;

/// Why there is no request to serve.
#[derive(Debug, PartialEq, Eq)]
pub enum Fault {
    /// The connection ended, or fell silent, between two requests. Nobody waits for an answer.
    Gone,
    /// The request is answered with this, and the connection closed.
    Refused(StatusCode, &'static str),
}

pub const fn bad(message: &'static str) -> Fault {
    Fault::Refused(StatusCode::BAD_REQUEST, message)
}

const TOO_LATE: Fault = Fault::Refused(
    StatusCode::REQUEST_TIMEOUT,
    "the request did not arrive whole in time",
);
pub const BODY_TOO_LARGE: Fault = Fault::Refused(
    StatusCode::PAYLOAD_TOO_LARGE,
    "the request's body is larger than this balancer takes (maxBodyMB)",
);
const OUT_OF_MEMORY: Fault = Fault::Refused(
    StatusCode::SERVICE_UNAVAILABLE,
    super::listener::BODIES_FULL,
);

/// A client's bytes, as they come.
pub struct Input<'a> {
    stream: &'a TcpStream,
    bytes: Vec<u8>,
    used: usize,
}

impl<'a> Input<'a> {
    pub fn new(stream: &'a TcpStream) -> Input<'a> {
        Input {
            stream,
            bytes: Vec::new(),
            used: 0,
        }
    }

    /// Bytes of a next request are here already.
    pub fn has_more(&self) -> bool {
        self.used < self.bytes.len()
    }

    /// Gives memory back while a request is served.
    pub fn release(&mut self) {
        if !self.has_more() {
            self.bytes = Vec::new();
            self.used = 0;
        }
    }

    /// Reads what the client still sends and forgets it, until it ends or `deadline`.
    pub fn discard(&mut self, deadline: Instant) {
        self.bytes = Vec::new();
        self.used = 0;
        let mut waste = vec![0; HEAD_ROOM];
        while Instant::now() < deadline
            && matches!(receive(self.stream, &mut waste, deadline), Ok(1..))
        {}
    }

    /// Waits for a request's first byte. Nothing is held in memory meanwhile.
    pub fn wait(&mut self, deadline: Instant) -> Result<(), Fault> {
        while !self.has_more() {
            self.bytes = Vec::new();
            self.used = 0;
            match self.fill(HEAD_ROOM, Instant::now()) {
                Ok(1..) => return Ok(()),
                Err(err) if err.kind() == io::ErrorKind::TimedOut => {}
                _ => return Err(Fault::Gone),
            }
            self.bytes = Vec::new();
            match wait_for(self.stream, PollFlags::POLLIN, deadline) {
                Ok(ready) if !ready.is_empty() => {}
                _ => return Err(Fault::Gone),
            }
        }
        Ok(())
    }

    /// Reads a head of which at least one byte is here.
    pub fn read_head(&mut self, deadline: Instant) -> Result<Head, Fault> {
        let mut scan = Scan::default();
        loop {
            if let Some(end) = scan.find_end(&self.bytes[self.used..])? {
                let head = parse(&self.bytes[self.used..self.used + end])?;
                self.used += end;
                return Ok(head);
            }
            if self.used > 0 {
                self.bytes.drain(..self.used);
                self.used = 0;
            }
            // Doubles, and ends one byte behind the limit, where `find_end` refuses it.
            let room = HEAD_ROOM
                .max(self.bytes.len())
                .min(MAX_HEAD + 1 - self.bytes.len());
            match self.fill(room, deadline) {
                Ok(0) => return Err(Fault::Gone),
                Ok(_) => {}
                Err(err) if err.kind() == io::ErrorKind::TimedOut => return Err(TOO_LATE),
                Err(_) => return Err(Fault::Gone),
            }
        }
    }

    /// Reads a body whole. Its memory is counted in `charge` as it grows.
    pub fn read_body(
        &mut self,
        framing: Framing,
        limit: usize,
        charge: &mut Charge,
        deadline: impl Fn() -> Instant,
    ) -> Result<Vec<u8>, Fault> {
        match framing {
            Framing::Length(0) => Ok(Vec::new()),
            Framing::Length(length) => {
                let length = usize::try_from(length)
                    .ok()
                    .filter(|&length| length <= limit)
                    .ok_or(BODY_TOO_LARGE)?;
                let mut body = Vec::new();
                self.append(&mut body, length, charge, &deadline)?;
                Ok(body)
            }
            Framing::Chunked => self.read_chunks(limit, charge, deadline),
        }
    }

    fn read_chunks(
        &mut self,
        limit: usize,
        charge: &mut Charge,
        deadline: impl Fn() -> Instant,
    ) -> Result<Vec<u8>, Fault> {
        let mut body = Vec::new();
        loop {
            let size = chunk_size(self.read_line(MAX_CHUNK_LINE, &deadline)?)?;
            if size == 0 {
                break;
            }
            let size = usize::try_from(size)
                .ok()
                .filter(|&size| size <= limit - body.len())
                .ok_or(BODY_TOO_LARGE)?;
            self.append(&mut body, size, charge, &deadline)?;
            if !self.read_line(2, &deadline)?.is_empty() {
                return Err(bad("a chunk does not end where its size says"));
            }
        }
        // Trailers belong to this connection: read, bounded, dropped.
        let mut left = MAX_TRAILERS;
        loop {
            let length = self.read_line(left, &deadline)?.len();
            if length == 0 {
                return Ok(body);
            }
            left = left.saturating_sub(length + 2);
        }
    }

    /// Moves `count` bytes into `body`, straight from the socket once what is here is used up.
    fn append(
        &mut self,
        body: &mut Vec<u8>,
        count: usize,
        charge: &mut Charge,
        deadline: &impl Fn() -> Instant,
    ) -> Result<(), Fault> {
        let end = body.len() + count;
        let here = count.min(self.bytes.len() - self.used);
        if !charge.grow_to(body.len() + here) {
            return Err(OUT_OF_MEMORY);
        }
        body.reserve(here.max(count.min(BODY_ROOM)));
        body.extend_from_slice(&self.bytes[self.used..self.used + here]);
        self.used += here;
        while body.len() < end {
            let step = (end - body.len()).min(body.len().max(BODY_STEP));
            if !charge.grow_to(body.len() + step) {
                return Err(OUT_OF_MEMORY);
            }
            self.read_into(body, step, deadline)?;
        }
        Ok(())
    }

    /// Reads `step` more bytes to the end of `body`.
    fn read_into(
        &mut self,
        body: &mut Vec<u8>,
        step: usize,
        deadline: &impl Fn() -> Instant,
    ) -> Result<(), Fault> {
        let start = body.len();
        let mut filled = 0;
        body.resize(start + step, 0);
        while filled < step {
            match receive(self.stream, &mut body[start + filled..], deadline()) {
                Ok(0) => return Err(bad("the body is shorter than announced")),
                Ok(more) => filled += more,
                Err(err) if err.kind() == io::ErrorKind::TimedOut => return Err(TOO_LATE),
                Err(_) => return Err(Fault::Gone),
            }
        }
        Ok(())
    }

    /// A line of a chunked body, without its CR LF.
    fn read_line(&mut self, limit: usize, deadline: &impl Fn() -> Instant) -> Result<&[u8], Fault> {
        let mut looked = 0;
        loop {
            let here = &self.bytes[self.used..];
            if let Some(at) = memchr::memchr(b'\n', &here[looked..]).map(|at| at + looked) {
                if at == 0 || here[at - 1] != b'\r' || at - 1 > limit {
                    return Err(bad("malformed chunk"));
                }
                let line = self.used..self.used + at - 1;
                self.used += at + 1;
                return Ok(&self.bytes[line]);
            }
            looked = here.len();
            if looked > limit + 1 {
                return Err(bad("malformed chunk"));
            }
            if self.used > 0 {
                self.bytes.drain(..self.used);
                self.used = 0;
            }
            match self.fill(HEAD_ROOM, deadline()) {
                Ok(0) => return Err(bad("the body is shorter than announced")),
                Ok(_) => {}
                Err(err) if err.kind() == io::ErrorKind::TimedOut => return Err(TOO_LATE),
                Err(_) => return Err(Fault::Gone),
            }
        }
    }

    /// One read of at most `room` bytes. 0: the client sends no more.
    fn fill(&mut self, room: usize, deadline: Instant) -> io::Result<usize> {
        let length = self.bytes.len();
        self.bytes.reserve_exact(room);
        self.bytes.resize(length + room, 0);
        let more = receive(self.stream, &mut self.bytes[length..], deadline);
        self.bytes
            .truncate(length + more.as_ref().map_or(0, |&more| more));
        more
    }
}

/// Reads what is there, or waits for it until `deadline`.
fn receive(stream: &TcpStream, buf: &mut [u8], deadline: Instant) -> io::Result<usize> {
    loop {
        match recv(stream.as_raw_fd(), buf, MsgFlags::MSG_DONTWAIT) {
            Err(Errno::EAGAIN) => {}
            Err(Errno::EINTR) => continue,
            done => return Ok(done?),
        }
        if Instant::now() >= deadline || wait_for(stream, PollFlags::POLLIN, deadline)?.is_empty() {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}

/// The client has closed its side. nix has no name for it: in what `poll` reports, a flag without a name is this one.
pub const CLOSED: PollFlags = PollFlags::from_bits_retain(nix::libc::POLLRDHUP);

/// Waits for `what` on a socket; nothing at all at `deadline`.
pub fn wait_for(stream: &TcpStream, what: PollFlags, deadline: Instant) -> io::Result<PollFlags> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        // Rounded up: a wait must not end before its time.
        let millis = i32::try_from(left.as_micros().div_ceil(1000)).unwrap_or(i32::MAX);
        let timeout = PollTimeout::try_from(millis).unwrap_or(PollTimeout::MAX);
        let mut fds = [PollFd::new(stream.as_fd(), what)];
        match poll(&mut fds, timeout) {
            Err(Errno::EINTR) => {}
            Err(err) => return Err(err.into()),
            Ok(_) => return Ok(fds[0].revents().unwrap_or(CLOSED)),
        }
    }
}

/// Chunk extensions are allowed and mean nothing to us (RFC 9112 §7.1.1).
fn chunk_size(line: &[u8]) -> Result<u64, Fault> {
    let malformed = || bad("malformed chunk size");
    if line.iter().any(|&b| b.is_ascii_control() && b != b'\t') {
        return Err(malformed());
    }
    let digits = line
        .split(|&b| b == b';')
        .next()
        .unwrap_or_default()
        .trim_ascii_end();
    if digits.is_empty() || digits.len() > 16 || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(malformed());
    }
    let digits = std::str::from_utf8(digits).map_err(|_| malformed())?;
    u64::from_str_radix(digits, 16).map_err(|_| malformed())
}

//! The connection under ureq: TCP with our own habits.
//!
//! ureq hands a transport the bytes of one call after the other and never says whose they are, so the thread that makes
//! the call leaves a note ([`Call`]) that the transport finds. With it
//! - another thread can end the call ([`Abort`]) by shutting the socket down under it,
//! - a connection that had been closed while it was kept is told from one that failed,
//! - a body's reads wait as long as the caller says, not as ureq's totals would have it.
//!
//! ureq's own TCP transport asks the kernel six times for each reuse; this one asks once. It writes head and body
//! together, and holds no large buffer while it is idle.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::Uri;
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, recv};
use ureq::config::Config;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport};
use ureq::{Error, Timeout};

use super::call::Call;
use super::input::{Input, MIN_INPUT};
use super::resolver::Lookup;

/// Body bytes that are gathered before they are written. Claude Code's usual request goes out in one write.
pub const OUTPUT: usize = 128 << 10;
/// Bytes that ureq may leave unused while it asks for more. Only a line makes it wait for its end: a head of at most
/// `MAX_HEAD`, a chunk's size, a trailer. It would wait for ever, and everything would be kept for it.
const MAX_LINE: usize = super::MAX_HEAD;
/// Below this there is no point in asking for more to gather.
const MIN_OUTPUT_LEFT: usize = 512;

/// Stands where ureq would look names up: [`TcpConnector`] does it, within the same `connectSeconds`.
#[derive(Debug)]
pub struct NoLookup;

impl Resolver for NoLookup {
    fn resolve(&self, _: &Uri, _: &Config, _: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        Ok(self.empty())
    }
}

#[derive(Debug)]
pub struct TcpConnector {
    lookup: Lookup,
    write_timeout: Duration,
}

impl TcpConnector {
    /// `write_timeout`: how long the endpoint may leave what we send unread.
    pub fn new(write_timeout: Duration) -> TcpConnector {
        TcpConnector {
            lookup: Lookup::default(),
            write_timeout,
        }
    }
}

impl Connector for TcpConnector {
    type Out = Socket;

    fn connect(&self, details: &ConnectionDetails, _: Option<()>) -> Result<Option<Socket>, Error> {
        let limit = details
            .timeout
            .not_zero()
            .map_or(Duration::from_secs(1), |left| *left);
        let deadline = Instant::now() + limit;
        let host = details.uri.host().expect("a base URL has a host");
        let port = details
            .uri
            .port_u16()
            .unwrap_or(if details.needs_tls() { 443 } else { 80 });
        let addrs = self
            .lookup
            .resolve(host, port, deadline)
            .map_err(in_connecting)?;
        let stream = connect_any(&addrs, deadline).map_err(in_connecting)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(self.write_timeout))?;
        let socket = Socket::new(stream);
        Call::with(|call| call.abort.attach(&socket.stream));
        Ok(Some(socket))
    }
}

fn in_connecting(err: io::Error) -> Error {
    match err.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Error::Timeout(Timeout::Connect),
        _ => Error::Io(err),
    }
}

/// One address after the other; each gets its share of the time that is left.
fn connect_any(addrs: &[SocketAddr], deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for (tried, addr) in addrs.iter().enumerate() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            break;
        }
        let addrs_left = u32::try_from(addrs.len() - tried).unwrap_or(u32::MAX);
        match TcpStream::connect_timeout(addr, left / addrs_left) {
            Ok(stream) => return Ok(stream),
            Err(err) if is_exhaustion(&err) => return Err(err),
            Err(err) => last = err,
        }
    }
    Err(last)
}

/// Whether an error tells of this machine's limits and not of the other side.
pub fn is_exhaustion(err: &io::Error) -> bool {
    let code = err.raw_os_error().map(Errno::from_raw);
    matches!(
        code,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM | Errno::EAGAIN)
    )
}

/// A connection to an endpoint.
#[derive(Debug)]
pub struct Socket {
    stream: Arc<TcpStream>,
    input: Input,
    output: Vec<u8>,
    /// Bytes at the start of `output` that wait to be written.
    waiting: usize,
    /// Writing failed. The answer may be there all the same: an endpoint that refuses a request need not read it.
    failed: Option<io::Error>,
    /// Between two calls.
    kept: bool,
    read_timeout: Option<Duration>,
}

impl Socket {
    fn new(stream: TcpStream) -> Socket {
        Socket {
            stream: Arc::new(stream),
            input: Input::default(),
            output: Vec::new(),
            waiting: 0,
            failed: None,
            kept: false,
            read_timeout: None,
        }
    }

    fn flush(&mut self) {
        if self.waiting > 0 && self.failed.is_none() {
            self.failed = (&*self.stream)
                .write_all(&self.output[..self.waiting])
                .err();
        }
        self.waiting = 0;
        Call::with(|call| call.sent = Instant::now());
    }

    /// The kernel is told only when the time changes by more than a fiftieth: a deadline that comes nearer by
    /// microseconds costs no system call.
    fn set_read_timeout(&mut self, wanted: Duration) -> io::Result<()> {
        let wanted = wanted.clamp(Duration::from_millis(1), Duration::from_secs(1 << 30));
        let near_enough = |set: Duration| wanted.abs_diff(set) <= wanted / 50;
        if !self.read_timeout.is_some_and(near_enough) {
            self.stream.set_read_timeout(Some(wanted))?;
            self.read_timeout = Some(wanted);
        }
        Ok(())
    }
}

impl Transport for Socket {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self
    }

    fn transmit_output(&mut self, amount: usize, _: NextTimeout) -> Result<(), Error> {
        if self.kept {
            self.kept = false;
            Call::with(|call| {
                call.reused = true;
                call.abort.attach(&self.stream);
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
        if self.input.unread().len() > MAX_LINE {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a line of the answer does not end",
            )
            .into());
        }
        let limit = timeout
            .not_zero()
            .map_or_else(|| Call::with(|call| call.patience), |left| *left);
        self.set_read_timeout(limit)?;
        let read = loop {
            match (&*self.stream).read(self.input.spare()) {
                Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
                done => break done,
            }
        };
        match read {
            Ok(0) => Err(self
                .failed
                .take()
                .unwrap_or_else(|| closed("the endpoint closed the connection"))
                .into()),
            Ok(amount) => {
                self.input.appended(amount);
                Ok(true)
            }
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => match timeout.not_zero() {
                Some(_) => Err(Error::Timeout(timeout.reason)),
                None => Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            },
            Err(err) => Err(self.failed.take().unwrap_or_else(|| not_an_end(err)).into()),
        }
    }

    /// Asked twice for each kept connection. When it is given back: nothing can be wrong with it that the second look
    /// would not find. When it is taken: there must be nothing to read, neither an end nor bytes that nobody asked for.
    fn is_open(&mut self) -> bool {
        if !self.kept {
            self.kept = true;
            Call::with(|call| call.abort.detach());
            // Under TLS bytes may be left: a session ticket, that the next read takes in.
            if self.input.unread().is_empty() && self.input.room() > MIN_INPUT {
                self.input = Input::default();
            }
            return true;
        }
        if Call::with(|call| call.fresh) {
            return false;
        }
        let look = recv(
            self.stream.as_raw_fd(),
            &mut [0],
            MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT,
        );
        look == Err(Errno::EAGAIN)
    }
}

fn closed(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, message)
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

impl Buffers for Socket {
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

/// The outermost layer: sees the first byte of an answer. Below TLS a byte may as well be a farewell.
#[derive(Debug)]
pub struct WatchedConnector;

impl<In: Transport> Connector<In> for WatchedConnector {
    type Out = Watched<In>;

    fn connect(
        &self,
        _: &ConnectionDetails,
        chained: Option<In>,
    ) -> Result<Option<Watched<In>>, Error> {
        Ok(chained.map(Watched))
    }
}

#[derive(Debug)]
pub struct Watched<T>(T);

impl<T: Transport> Transport for Watched<T> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.0.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.0.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        let progress = self.0.await_input(timeout)?;
        Call::with(|call| call.answered |= progress);
        Ok(progress)
    }

    fn is_open(&mut self) -> bool {
        self.0.is_open()
    }

    fn is_tls(&self) -> bool {
        self.0.is_tls()
    }
}

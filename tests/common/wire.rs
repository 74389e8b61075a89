//! HTTP/1.1 as bytes on a connection, read the same way on both sides of the balancer.
//!
//! Strict on purpose: what is not well-formed is an error here, so that every story also proves the framing.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::libc::linger;
use nix::sys::socket::{setsockopt, sockopt};

use super::DEADLINE;

/// A connection in the clear or under TLS.
pub trait Conn: Read + Write + Send {
    fn tcp(&self) -> &TcpStream;
}

impl Conn for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

/// A request's or an answer's first line and header lines.
#[derive(Clone)]
pub struct Head {
    pub line: String,
    /// In their order, names as they were written.
    pub headers: Vec<(String, Vec<u8>)>,
    pub raw: Vec<u8>,
}

impl Head {
    /// The one value of a header that must not be repeated.
    pub fn get(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(
            all.len() < 2,
            "{name} is there {} times:\n{self:?}",
            all.len()
        );
        all.first().copied()
    }

    pub fn all(&self, name: &str) -> Vec<&str> {
        self.bytes(name)
            .into_iter()
            .map(|v| std::str::from_utf8(v).expect("a value in UTF-8"))
            .collect()
    }

    pub fn bytes(&self, name: &str) -> Vec<&[u8]> {
        self.headers
            .iter()
            .filter(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, v)| v.as_slice())
            .collect()
    }

    pub fn has(&self, name: &str) -> bool {
        !self.bytes(name).is_empty()
    }

    /// All names in small letters, in their order.
    pub fn names(&self) -> Vec<String> {
        self.headers
            .iter()
            .map(|(n, _)| n.to_ascii_lowercase())
            .collect()
    }

    fn parse(raw: &[u8]) -> io::Result<Head> {
        let text = raw
            .strip_suffix(b"\r\n\r\n")
            .expect("read up to the empty line");
        let mut lines = text
            .split(|&b| b == b'\n')
            .map(|l| l.strip_suffix(b"\r").unwrap_or(l));
        let line = lines.next().expect("split yields one at least");
        let mut headers = Vec::new();
        for line in lines {
            let colon = line
                .iter()
                .position(|&b| b == b':')
                .ok_or_else(|| bad("a header line without colon", line))?;
            let name = String::from_utf8(line[..colon].to_vec())
                .map_err(|_| bad("a strange header name", line))?;
            headers.push((name, line[colon + 1..].trim_ascii().to_vec()));
        }
        Ok(Head {
            line: String::from_utf8_lossy(line).into_owned(),
            headers,
            raw: raw.to_vec(),
        })
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.raw))
    }
}

/// A connection and what was read of it but not yet used.
pub struct Wire {
    conn: Box<dyn Conn>,
    unread: Vec<u8>,
}

impl Wire {
    pub fn new(conn: impl Conn + 'static) -> Wire {
        conn.tcp().set_nodelay(true).expect("TCP_NODELAY");
        conn.tcp()
            .set_read_timeout(Some(DEADLINE))
            .expect("a read timeout");
        conn.tcp()
            .set_write_timeout(Some(DEADLINE))
            .expect("a write timeout");
        Wire {
            conn: Box::new(conn),
            unread: Vec::new(),
        }
    }

    pub fn tcp(&self) -> &TcpStream {
        self.conn.tcp()
    }

    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.conn.write_all(bytes)?;
        self.conn.flush()
    }

    /// Says that no more bytes will come from here; still reads.
    pub fn finish_writing(&self) {
        // The other side may be gone already; then there is nobody to tell.
        let _ = self.tcp().shutdown(Shutdown::Write);
    }

    /// Closes so that the other side sees a reset instead of an end.
    pub fn reset(self) {
        let now = linger {
            l_onoff: 1,
            l_linger: 0,
        };
        setsockopt(&self.tcp().as_fd(), sockopt::Linger, &now).expect("SO_LINGER");
    }

    /// Reads once. `Ok(false)`: the other side has ended.
    fn fill(&mut self) -> io::Result<bool> {
        let mut piece = [0; 16 * 1024];
        let n = loop {
            match self.conn.read(&mut piece) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                // TLS without its closing word: the same to us as any end.
                Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => break 0,
                read => break read?,
            }
        };
        self.unread.extend_from_slice(&piece[..n]);
        Ok(n > 0)
    }

    fn take(&mut self, n: usize) -> Vec<u8> {
        self.unread.drain(..n).collect()
    }

    /// A head, or `None` where the connection ended before its first byte.
    pub fn head(&mut self) -> io::Result<Option<Head>> {
        let mut seen = 0;
        loop {
            let from = seen.min(self.unread.len());
            if let Some(at) = find(&self.unread[from..], b"\r\n\r\n") {
                return Head::parse(&self.take(from + at + 4)).map(Some);
            }
            seen = self.unread.len().saturating_sub(3);
            if !self.fill()? {
                return if self.unread.is_empty() {
                    Ok(None)
                } else {
                    Err(bad("a head that ends early", &self.unread))
                };
            }
        }
    }

    pub fn exactly(&mut self, n: usize) -> io::Result<Vec<u8>> {
        while self.unread.len() < n {
            if !self.fill()? {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.take(n))
    }

    /// What comes next, at most `n` bytes; `None` at the connection's end.
    pub fn some(&mut self, n: usize) -> io::Result<Option<Vec<u8>>> {
        if self.unread.is_empty() && !self.fill()? {
            return Ok(None);
        }
        Ok(Some(self.take(n.min(self.unread.len()))))
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.extend(self.exactly(1)?);
        }
        line.truncate(line.len() - 2);
        String::from_utf8(line).map_err(|e| bad("a line that is no text", e.as_bytes()))
    }

    /// The next chunk; `None` is the last one.
    pub fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let size = self.line()?;
        let n =
            usize::from_str_radix(&size, 16).map_err(|_| bad("a chunk size", size.as_bytes()))?;
        let data = self.exactly(n)?;
        let end = self.line()?;
        if !end.is_empty() {
            return Err(bad("bytes after a chunk", end.as_bytes()));
        }
        Ok((n > 0).then_some(data))
    }

    /// How the connection ends within `limit`, bytes that still come left aside.
    pub fn ending(&mut self, limit: Duration) -> Ending {
        let until = Instant::now() + limit;
        loop {
            let left = until
                .saturating_duration_since(Instant::now())
                .max(Duration::from_millis(1));
            self.tcp()
                .set_read_timeout(Some(left))
                .expect("a read timeout");
            let read = self.fill();
            self.tcp()
                .set_read_timeout(Some(DEADLINE))
                .expect("a read timeout");
            match read {
                Ok(true) if Instant::now() < until => continue,
                Ok(true) => return Ending::Open,
                Ok(false) => return Ending::Closed,
                Err(e) if is_timeout(&e) => return Ending::Open,
                Err(_) => return Ending::Reset,
            }
        }
    }

    /// True where no byte and no end comes within `time`.
    pub fn is_silent_for(&mut self, time: Duration) -> bool {
        self.unread.is_empty() && self.ending(time) == Ending::Open && self.unread.is_empty()
    }

    /// Everything that comes up to the end of the connection, or to its reset.
    pub fn everything(&mut self) -> Vec<u8> {
        let ending = self.ending(DEADLINE);
        let all = std::mem::take(&mut self.unread);
        assert_ne!(
            ending,
            Ending::Open,
            "the connection is still open after {:?}",
            String::from_utf8_lossy(&all)
        );
        all
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Still open when the time was over.
    Open,
    Closed,
    Reset,
}

pub fn is_timeout(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut
    )
}

pub fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|w| w == needle)
}

fn bad(what: &str, bytes: &[u8]) -> io::Error {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).into_owned();
    io::Error::new(io::ErrorKind::InvalidData, format!("{what}: {start:?}"))
}

//! Through a proxy to an endpoint: HTTP CONNECT (RFC 9110 §9.3.6) or SOCKS5 (RFC 1928, RFC 1929).
//!
//! Endpoints in the clear get a tunnel too: ureq writes requests for the endpoint itself, and what is between us does not read them. What
//! goes wrong in here is the proxy's; the words say so, and never hold its password.

use std::io;
use std::time::Instant;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;

use super::wire::{Wire, ended};

/// Bytes of a proxy's answer to CONNECT; some send a page with a refusal, of which the head is enough.
const MAX_HEAD: usize = 16 << 10;

/// User and password, as they are.
pub type Login<'a> = Option<(&'a str, &'a str)>;

/// Why there is no tunnel.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    NoTime,
    Refused(String),
}

impl From<io::Error> for Failure {
    fn from(err: io::Error) -> Failure {
        match err.kind() {
            io::ErrorKind::WouldBlock => Failure::NoTime,
            _ => Failure::Refused(err.to_string()),
        }
    }
}

/// Asks an HTTP proxy for a connection to `host` (an IPv6 address in brackets).
pub fn connect(
    wire: &mut Wire,
    host: &str,
    port: u16,
    login: Login,
    deadline: Instant,
) -> Result<(), Failure> {
    let mut request = format!("CONNECT {host}:{port} HTTP/1.1\r\nhost: {host}:{port}\r\n");
    if let Some((user, password)) = login {
        let login = BASE64_STANDARD.encode(format!("{user}:{password}"));
        request.push_str(&format!("proxy-authorization: Basic {login}\r\n"));
    }
    request.push_str("\r\n");
    write(wire, request.as_bytes(), deadline)?;
    let mut head = Vec::new();
    let end = loop {
        if let Some(end) = head.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if head.len() > MAX_HEAD {
            return Err(Failure::Refused("it gave an answer without an end".into()));
        }
        let mut piece = [0; 1024];
        let amount = read(wire, &mut piece, deadline)?;
        head.extend_from_slice(&piece[..amount]);
    };
    let status = head
        .get(..12)
        .and_then(|start| std::str::from_utf8(start).ok())
        .filter(|start| start.starts_with("HTTP/1."))
        .and_then(|start| start[9..].parse::<u16>().ok());
    match status {
        // The endpoint says nothing before it is asked.
        Some(200..=299) if head.len() == end => Ok(()),
        Some(200..=299) => Err(Failure::Refused("it says more than it was asked".into())),
        Some(407) => Err(Failure::Refused(not_let_in(login).into())),
        Some(status) => Err(Failure::Refused(format!(
            "it refuses a connection to {host}:{port}: status {status}"
        ))),
        None => Err(Failure::Refused("what it answers is no HTTP".into())),
    }
}

fn not_let_in(login: Login) -> &'static str {
    match login {
        None => "it wants user and password, and none are configured",
        Some(_) => "it refuses user and password",
    }
}

const NO_LOGIN: u8 = 0;
const PASSWORD: u8 = 2;

/// Asks a SOCKS5 proxy for a connection to `host`, which it looks up itself.
pub fn socks5(
    wire: &mut Wire,
    host: &str,
    port: u16,
    login: Login,
    deadline: Instant,
) -> Result<(), Failure> {
    let methods: &[u8] = match login {
        None => &[5, 1, NO_LOGIN],
        Some(_) => &[5, 2, NO_LOGIN, PASSWORD],
    };
    write(wire, methods, deadline)?;
    match (exactly::<2>(wire, deadline)?, login) {
        ([5, NO_LOGIN], _) => {}
        ([5, PASSWORD], Some((user, password))) => {
            let mut message = vec![1];
            for word in [user, password] {
                message.push(length(word)?);
                message.extend_from_slice(word.as_bytes());
            }
            write(wire, &message, deadline)?;
            if exactly::<2>(wire, deadline)?[1] != 0 {
                return Err(Failure::Refused(not_let_in(login).into()));
            }
        }
        ([5, _], _) => return Err(Failure::Refused(not_let_in(login).into())),
        _ => return Err(Failure::Refused("what it answers is no SOCKS5".into())),
    }
    let request = connect_request(host, port)?;
    write(wire, &request, deadline)?;
    let [version, reply, _, kind] = exactly::<4>(wire, deadline)?;
    if version != 5 {
        return Err(Failure::Refused("what it answers is no SOCKS5".into()));
    }
    if reply != 0 {
        let why = refusal(reply);
        return Err(Failure::Refused(format!(
            "it makes no connection to {host}:{port}: {why}"
        )));
    }
    // Where it connects from; nobody needs it.
    let bound = match kind {
        1 => 4,
        4 => 16,
        _ => usize::from(exactly::<1>(wire, deadline)?[0]),
    };
    for _ in 0..bound + 2 {
        exactly::<1>(wire, deadline)?;
    }
    Ok(())
}

/// RFC 1928 §4: an address where the host is one, else its name, which the proxy looks up.
fn connect_request(host: &str, port: u16) -> Result<Vec<u8>, Failure> {
    let mut request = vec![5, 1, 0];
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    match bare.parse() {
        Ok(std::net::IpAddr::V4(ip)) => {
            request.push(1);
            request.extend_from_slice(&ip.octets());
        }
        Ok(std::net::IpAddr::V6(ip)) => {
            request.push(4);
            request.extend_from_slice(&ip.octets());
        }
        Err(_) => {
            request.extend_from_slice(&[3, length(host)?]);
            request.extend_from_slice(host.as_bytes());
        }
    }
    request.extend_from_slice(&port.to_be_bytes());
    Ok(request)
}

/// RFC 1928 §6.
fn refusal(reply: u8) -> &'static str {
    match reply {
        2 => "its rules do not allow it",
        3 => "network unreachable",
        4 => "host unreachable",
        5 => "connection refused",
        6 => "TTL expired",
        _ => "general failure",
    }
}

fn length(word: &str) -> Result<u8, Failure> {
    u8::try_from(word.len())
        .map_err(|_| Failure::Refused("SOCKS5 takes no word of more than 255 bytes".into()))
}

fn write(wire: &mut Wire, bytes: &[u8], deadline: Instant) -> Result<(), Failure> {
    let mut written = 0;
    while written < bytes.len() {
        match wire.write(&bytes[written..]) {
            Ok(amount) => written += amount,
            Err(err) if err.kind() == io::ErrorKind::WouldBlock => {
                let left = deadline.saturating_duration_since(Instant::now());
                if wire.wait(false, left)?.is_none() {
                    return Err(Failure::NoTime);
                }
            }
            Err(err) if err.kind() == io::ErrorKind::Interrupted => {}
            Err(err) => return Err(err.into()),
        }
    }
    Ok(())
}

fn read(wire: &mut Wire, buf: &mut [u8], deadline: Instant) -> Result<usize, Failure> {
    let left = deadline.saturating_duration_since(Instant::now());
    match wire.read(buf, left)? {
        0 => Err(ended("it closed the connection").into()),
        amount => Ok(amount),
    }
}

fn exactly<const N: usize>(wire: &mut Wire, deadline: Instant) -> Result<[u8; N], Failure> {
    let (mut bytes, mut filled) = ([0; N], 0);
    while filled < N {
        filled += read(wire, &mut bytes[filled..], deadline)?;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;

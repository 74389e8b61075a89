//! A connection of the fake upstream, with TLS or without, that never blocks.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;

use rustls::{ServerConfig, ServerConnection};

/// Taken from a socket behind TLS at a time: two records.
const PIECE: usize = 32 << 10;

pub struct Wire {
    socket: TcpStream,
    tls: Option<Box<ServerConnection>>,
}

impl Wire {
    /// Behind TLS where there is a configuration for it.
    pub fn new(socket: TcpStream, config: Option<Arc<ServerConfig>>) -> io::Result<Wire> {
        let tls = config.map(ServerConnection::new).transpose();
        let tls = tls.map_err(io::Error::other)?.map(Box::new);
        Ok(Wire { socket, tls })
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    /// Something that was written is still here, for want of room in the socket.
    pub fn is_pending(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// As of a socket; `piece` must be larger than two of ours, so that nothing that was decrypted is left behind when the socket has no more.
    pub fn read(&mut self, piece: &mut [u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.read(piece);
        };
        let mut filled = 0;
        let mut raw = [0; PIECE];
        while piece.len() - filled >= 2 * PIECE {
            let count = match self.socket.read(&mut raw) {
                Ok(count) => count,
                Err(err) if err.kind() == ErrorKind::WouldBlock && filled > 0 => break,
                Err(err) => return Err(err),
            };
            if count == 0 {
                break;
            }
            let mut rest = &raw[..count];
            while !rest.is_empty() {
                tls.read_tls(&mut rest)?;
                tls.process_new_packets().map_err(io::Error::other)?;
                match tls.reader().read(&mut piece[filled..]) {
                    Ok(0) => return Ok(filled),
                    Ok(count) => filled += count,
                    Err(err) if err.kind() == ErrorKind::WouldBlock => {}
                    Err(err) => return Err(err),
                }
            }
            // The handshake's answers: they are small, and find room.
            while tls.wants_write() {
                tls.write_tls(&mut self.socket)?;
            }
        }
        Ok(filled)
    }

    /// How much of the bytes was taken; behind TLS some of that may be pending. With none, what is pending goes on.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(tls) = &mut self.tls else {
            return self.socket.write(bytes);
        };
        while tls.wants_write() {
            tls.write_tls(&mut self.socket)?;
        }
        let count = tls.writer().write(bytes)?;
        while tls.wants_write() {
            match tls.write_tls(&mut self.socket) {
                Ok(_) => {}
                Err(err) if err.kind() == ErrorKind::WouldBlock => break,
                Err(err) => return Err(err),
            }
        }
        Ok(count)
    }
}

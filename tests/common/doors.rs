//! Addresses behind which nobody answers.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket,
};

/// An address that refuses connections for as long as this lives.
pub struct Refusing {
    socket: OwnedFd,
}

impl Refusing {
    pub fn new() -> Refusing {
        let socket = socket(
            AddressFamily::Inet,
            SockType::Stream,
            SockFlag::SOCK_CLOEXEC,
            None,
        )
        .expect("a socket");
        // Bound, so that nobody else gets the port, but not listening.
        bind(socket.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("a free port");
        Refusing { socket }
    }

    pub fn url(&self) -> String {
        let address: SockaddrIn = getsockname(self.socket.as_raw_fd()).expect("an address");
        format!("http://{address}/")
    }
}

/// An address where a connection is neither refused nor made.
pub struct BlackHole {
    door: Refusing,
    _full: TcpStream,
}

impl BlackHole {
    pub fn new() -> BlackHole {
        let door = Refusing::new();
        listen(&door.socket, Backlog::new(0).expect("a small backlog")).expect("listening");
        let address: SockaddrIn = getsockname(door.socket.as_raw_fd()).expect("an address");
        // One connection fills a backlog of 0; the kernel then leaves the next ones without an answer.
        let full = TcpStream::connect(SocketAddr::from((address.ip(), address.port())))
            .expect("one connection");
        BlackHole { door, _full: full }
    }

    pub fn url(&self) -> String {
        self.door.url()
    }
}

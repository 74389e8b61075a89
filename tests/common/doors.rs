//! Addresses behind which nobody answers.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::{Arc, Barrier, Mutex};
use std::thread;

use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, setsockopt,
    socket,
};
use nix::{libc, setsockopt_impl, sockopt_impl};

use super::reply::ok;
use super::wire::Wire;

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

sockopt_impl!(
    AttachFilter,
    SetOnly,
    libc::SOL_SOCKET,
    libc::SO_ATTACH_FILTER,
    libc::sock_fprog
);

/// An endpoint whose connections can die without a word: nothing that is sent on them arrives or comes back, as when the network has
/// changed or a NAT has forgotten them.
pub struct Fading {
    address: SocketAddr,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Fading {
    /// Answers each request with its connection's number, from 1; the first `together` requests when all of them are here, so that they
    /// come on as many connections.
    pub fn new(together: usize) -> Fading {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let open = Arc::new(Mutex::new(Vec::new()));
        let (all, gate) = (Arc::clone(&open), Arc::new(Barrier::new(together)));
        thread::spawn(move || {
            for (number, stream) in (1..).zip(listener.incoming()) {
                let stream = stream.expect("a connection");
                let handle = stream.try_clone().expect("a second handle");
                all.lock().expect("no panic").push(handle);
                let gate = Arc::clone(&gate);
                thread::spawn(move || {
                    let mut wire = Wire::new(stream);
                    let mut waits = number <= together;
                    while let Ok(Some(head)) = wire.head() {
                        let length = head.get("content-length").unwrap_or("0");
                        let _ = wire.exactly(length.parse().expect("a length"));
                        if std::mem::take(&mut waits) {
                            gate.wait();
                        }
                        let _ = wire.write(&ok(number.to_string()).bytes("POST"));
                    }
                });
            }
        });
        Fading { address, open }
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }

    /// From now on the connections of this moment are dead.
    pub fn fade(&self) {
        // "Return 0": of each packet that comes, nothing is let through.
        let mut nothing = [libc::sock_filter {
            code: (libc::BPF_RET | libc::BPF_K) as u16,
            jt: 0,
            jf: 0,
            k: 0,
        }];
        let filter = libc::sock_fprog {
            len: 1,
            filter: nothing.as_mut_ptr(),
        };
        for stream in self.open.lock().expect("no panic").iter() {
            setsockopt(stream, AttachFilter, &filter).expect("SO_ATTACH_FILTER");
        }
    }
}

//! Proxies that a connection to an endpoint goes through, and what they were asked.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// A proxy on loopback.
pub struct Middle {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Middle {
    /// HTTP CONNECT. Lets in who presents this, or everybody.
    pub fn http(login: Option<&'static str>) -> Middle {
        Middle::start(move |stream, asked| {
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                head.push(char::from(byte(stream)?));
            }
            let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
            asked(head.clone());
            let is_let_in = login.is_none_or(|login| head.contains(login));
            let endpoint = match is_let_in {
                true => TcpStream::connect(target).ok(),
                false => {
                    stream.write_all(b"HTTP/1.1 407 Login\r\ncontent-length: 0\r\n\r\n")?;
                    return Ok(None);
                }
            };
            stream.write_all(match endpoint {
                Some(_) => b"HTTP/1.1 200 Connected\r\n\r\n",
                None => b"HTTP/1.1 502 Bad\r\n\r\n",
            })?;
            Ok(endpoint)
        })
    }

    /// SOCKS5 for names, without a login.
    pub fn socks5() -> Middle {
        Middle::start(|stream, asked| {
            let mut start = [0; 3];
            stream.read_exact(&mut start)?;
            stream.write_all(&[5, 0])?;
            let mut request = [0; 5];
            stream.read_exact(&mut request)?;
            let mut rest = match request[3] {
                1 => vec![0; 3 + 2],
                _ => vec![0; usize::from(request[4]) + 2],
            };
            stream.read_exact(&mut rest)?;
            let (name, port) = rest.split_at(rest.len() - 2);
            let host = match request[3] {
                1 => format!("{}.{}.{}.{}", request[4], name[0], name[1], name[2]),
                _ => String::from_utf8_lossy(name).into_owned(),
            };
            let target = format!("{host}:{}", u16::from_be_bytes([port[0], port[1]]));
            asked(target.clone());
            let endpoint = TcpStream::connect(target).ok();
            let reply = if endpoint.is_some() { 0 } else { 5 };
            stream.write_all(&[5, reply, 0, 1, 0, 0, 0, 0, 0, 0])?;
            Ok(endpoint)
        })
    }

    fn start(
        greet: impl Fn(&mut TcpStream, &dyn Fn(String)) -> io::Result<Option<TcpStream>>
        + Send
        + Sync
        + 'static,
    ) -> Middle {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (notes, greet) = (Arc::clone(&asked), Arc::new(greet));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let (notes, greet) = (Arc::clone(&notes), Arc::clone(&greet));
                thread::spawn(move || {
                    let note = |asked| notes.lock().expect("no panic").push(asked);
                    if let Ok(Some(endpoint)) = greet(&mut stream, &note) {
                        pass(stream, endpoint);
                    }
                });
            }
        });
        Middle { address, asked }
    }

    /// Host and port.
    pub fn place(&self) -> String {
        self.address.to_string()
    }

    /// What it was asked, connection by connection.
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().expect("no panic").clone()
    }
}

fn byte(stream: &mut TcpStream) -> io::Result<u8> {
    let mut byte = [0];
    stream.read_exact(&mut byte)?;
    Ok(byte[0])
}

/// Both directions, until both have ended.
fn pass(one: TcpStream, two: TcpStream) {
    let copy = |mut from: TcpStream, mut to: TcpStream| {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Write);
    };
    let back = (two.try_clone(), one.try_clone());
    thread::scope(|scope| {
        scope.spawn(|| copy(one, two));
        if let (Ok(two), Ok(one)) = back {
            copy(two, one);
        }
    });
}

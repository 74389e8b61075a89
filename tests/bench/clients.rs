//! Many HTTP clients on one thread: connections that send a request when told to and read its answer.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::rc::Rc;

use crate::answer::Answer;
use crate::poller::{Poller, Ready};
use crate::proc::now;
use crate::samples::Samples;

/// Taken from a socket at a time.
const PIECE: usize = 256 << 10;

pub struct Clients {
    address: SocketAddr,
    poller: Poller,
    clients: Vec<Option<Client>>,
    ready: Vec<Ready>,
    piece: Vec<u8>,
    /// How long events took from the fake upstream to here, in nanoseconds.
    pub delays: Samples,
    /// How long streams took from when they were due to their first event, in nanoseconds.
    pub firsts: Samples,
    /// How many events a good answer has: none, unless it is a stream.
    pub events: u32,
    /// The first thing that went wrong, for people.
    pub trouble: Option<String>,
}

struct Client {
    stream: TcpStream,
    request: Rc<[u8]>,
    sent: usize,
    /// Waits for room to write.
    blocked: bool,
    /// When the request was due.
    began: u64,
    busy: bool,
    answer: Answer,
}

/// What came of a request.
pub struct Outcome {
    pub client: usize,
    /// Nanoseconds.
    pub latency: u64,
    /// Status 200 and, of a stream, every event.
    pub good: bool,
    /// The connection is gone.
    pub closed: bool,
}

impl Clients {
    pub fn new(address: SocketAddr) -> io::Result<Clients> {
        Ok(Clients {
            address,
            poller: Poller::new()?,
            clients: Vec::new(),
            ready: Vec::new(),
            piece: vec![0; PIECE],
            delays: Samples::default(),
            firsts: Samples::default(),
            events: 0,
            trouble: None,
        })
    }

    /// Opens one more connection; its number is how many there were before.
    pub fn connect(&mut self) -> io::Result<usize> {
        let number = self.clients.len();
        self.clients.push(None);
        self.reconnect(number)?;
        Ok(number)
    }

    pub fn reconnect(&mut self, number: usize) -> io::Result<()> {
        let stream = TcpStream::connect(self.address)?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        self.poller.add(&stream, number as u64)?;
        let request: Rc<[u8]> = Rc::new([]);
        let answer = Answer::new();
        self.clients[number] = Some(Client {
            stream,
            request,
            sent: 0,
            blocked: false,
            began: 0,
            busy: false,
            answer,
        });
        Ok(())
    }

    /// Sends a request that was due at `began`.
    pub fn send(&mut self, number: usize, request: &Rc<[u8]>, began: u64) {
        let Some(client) = self.clients[number].as_mut() else {
            return;
        };
        client.request = Rc::clone(request);
        (client.sent, client.began, client.busy) = (0, began, true);
        client.answer.reset();
        // A connection that broke becomes readable: the next turn finds it.
        let _ = client.write(&self.poller, number);
    }

    /// Waits until `due` at the longest; says what became of requests that came to an end.
    pub fn turn(&mut self, due: u64, outcomes: &mut Vec<Outcome>) -> io::Result<()> {
        outcomes.clear();
        self.poller.wait(due, &mut self.ready)?;
        for one in &self.ready {
            let number = one.token as usize;
            let Some(client) = self.clients[number].as_mut() else {
                continue;
            };
            let mut failed = None;
            if one.writable
                && let Err(err) = client.write(&self.poller, number)
            {
                failed = Some(err.to_string());
            }
            if one.readable && failed.is_none() {
                match client.read(&mut self.piece, &mut self.delays, &mut self.firsts) {
                    Ok(false) => {}
                    Ok(true) => {
                        let (status, events) = (client.answer.status, client.answer.events);
                        let good =
                            status == 200 && events == self.events && client.answer.is_whole();
                        if !good {
                            let wanted = self.events;
                            self.trouble.get_or_insert_with(|| {
                                format!("status {status} and {events} of {wanted} events, or cut")
                            });
                        }
                        let latency = now() - client.began;
                        outcomes.push(Outcome {
                            client: number,
                            latency,
                            good,
                            closed: false,
                        });
                    }
                    Err(err) => failed = Some(err.to_string()),
                }
            }
            if let Some(why) = failed {
                let busy = client.busy;
                self.clients[number] = None;
                if busy {
                    self.trouble.get_or_insert(why);
                }
                // One that was closed while idle has lost nothing.
                outcomes.push(Outcome {
                    client: number,
                    latency: 0,
                    good: !busy,
                    closed: true,
                });
            }
        }
        Ok(())
    }

    /// Closes all connections.
    pub fn clear(&mut self) {
        self.clients.clear();
    }
}

impl Client {
    fn write(&mut self, poller: &Poller, number: usize) -> io::Result<()> {
        while self.sent < self.request.len() {
            match self.stream.write(&self.request[self.sent..]) {
                Ok(count) => self.sent += count,
                Err(err) if err.kind() == ErrorKind::WouldBlock => {
                    if !self.blocked {
                        poller.want_to_write(&self.stream, number as u64, true)?;
                        self.blocked = true;
                    }
                    return Ok(());
                }
                Err(err) => return Err(err),
            }
        }
        if self.blocked {
            poller.want_to_write(&self.stream, number as u64, false)?;
            self.blocked = false;
        }
        Ok(())
    }

    /// True when the answer is complete.
    fn read(
        &mut self,
        piece: &mut [u8],
        delays: &mut Samples,
        firsts: &mut Samples,
    ) -> io::Result<bool> {
        let count = match self.stream.read(piece) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(count) => count,
            Err(err) if err.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(err) => return Err(err),
        };
        if !self.busy {
            return Err(io::Error::other("an answer that nobody asked for"));
        }
        let (at, was_begun) = (now(), self.answer.begun);
        let done = self
            .answer
            .take(&piece[..count], at, delays)
            .map_err(io::Error::other)?;
        if self.answer.begun && !was_begun {
            firsts.push(at.saturating_sub(self.began));
        }
        self.busy = !done;
        Ok(done)
    }
}

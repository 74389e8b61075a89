//! A scripted endpoint: it answers as it is told to, byte for byte, and remembers every request.
//!
//! Raw sockets and threads. A reply from the script goes out at once; `by_hand` hands the connection to the story
//! instead, which then decides what is sent and when.

use std::collections::VecDeque;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use super::DEADLINE;
use super::reply::{Body, Reply, Then, by_hand, chunk, ok};
use super::secure::Identity;
use super::wire::{Ending, Head, Wire};

/// A request as the endpoint received it.
#[derive(Clone, Debug)]
pub struct Received {
    pub head: Head,
    pub body: Vec<u8>,
    /// Which of the endpoint's connections it came on, from 0.
    pub connection: usize,
}

impl Received {
    pub fn method(&self) -> &str {
        self.head.line.split(' ').next().expect("a first word")
    }

    /// Path and query as they were written.
    pub fn target(&self) -> &str {
        self.head.line.split(' ').nth(1).expect("a second word")
    }

    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("a body in UTF-8")
    }
}

/// A request that waits for the story to answer it. Dropped, it closes its connection.
pub struct Call {
    pub request: Received,
    wire: Wire,
    back: Sender<Wire>,
}

impl Call {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Call {
        self.wire
            .write(bytes.as_ref())
            .expect("the balancer takes the reply");
        self
    }

    /// False where the balancer no longer takes anything.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> bool {
        self.wire.write(bytes.as_ref()).is_ok()
    }

    /// The head of an event stream.
    pub fn begin(&mut self) -> &mut Call {
        self.send("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
    }

    pub fn chunk(&mut self, data: impl AsRef<[u8]>) -> &mut Call {
        self.send(chunk(data.as_ref()))
    }

    /// Ends a chunked reply and keeps the connection.
    pub fn end(mut self) {
        self.send("0\r\n\r\n");
        self.keep();
    }

    /// Answers with a whole reply and keeps the connection.
    pub fn answer(mut self, reply: Reply) {
        let bytes = reply.bytes(self.request.method());
        self.send(bytes);
        self.keep();
    }

    fn keep(self) {
        // The connection's thread waits for it; where it is gone, so is the endpoint.
        let _ = self.back.send(self.wire);
    }

    pub fn reset(self) {
        self.wire.reset();
    }

    /// Waits until the balancer has closed this connection.
    pub fn is_left(&mut self) -> bool {
        self.is_left_within(DEADLINE)
    }

    pub fn is_left_within(&mut self, limit: Duration) -> bool {
        self.wire.ending(limit) != Ending::Open
    }
}

struct State {
    script: VecDeque<Reply>,
    default: Reply,
    check: Reply,
    checks: usize,
    requests: Vec<Received>,
    /// For every connection ever taken: a second handle while it is open, and whether it waits for a request.
    connections: Vec<(Option<TcpStream>, bool)>,
}

struct Shared {
    state: Mutex<State>,
    calls: Mutex<Sender<Call>>,
    secure: Option<Identity>,
    stop: AtomicBool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no endpoint thread panicked")
    }
}

pub struct Upstream {
    shared: Arc<Shared>,
    calls: Mutex<Receiver<Call>>,
    address: SocketAddr,
}

impl Upstream {
    /// These replies, one a request, in their order; then 200 with an empty JSON object.
    pub fn script(replies: impl IntoIterator<Item = Reply>) -> Upstream {
        Upstream::new(replies, ok("{}"), None)
    }

    /// This reply for every request.
    pub fn always(reply: Reply) -> Upstream {
        Upstream::new([], reply, None)
    }

    /// The story answers every request.
    pub fn by_hand() -> Upstream {
        Upstream::always(by_hand())
    }

    pub fn secure(identity: &Identity, replies: impl IntoIterator<Item = Reply>) -> Upstream {
        Upstream::new(replies, ok("{}"), Some(identity.clone()))
    }

    fn new(
        replies: impl IntoIterator<Item = Reply>,
        default: Reply,
        secure: Option<Identity>,
    ) -> Upstream {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address");
        let (sender, calls) = mpsc::channel();
        let script = replies.into_iter().collect();
        let state = State {
            script,
            default,
            check: ok(r#"{"data":[]}"#),
            checks: 0,
            requests: Vec::new(),
            connections: Vec::new(),
        };
        let shared = Shared {
            state: Mutex::new(state),
            calls: Mutex::new(sender),
            secure,
            stop: AtomicBool::new(false),
        };
        let shared = Arc::new(shared);
        let served = Arc::clone(&shared);
        thread::spawn(move || accept(&listener, &served));
        Upstream {
            shared,
            calls: Mutex::new(calls),
            address,
        }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn url(&self) -> String {
        match self.shared.secure {
            // The certificates are for names.
            Some(_) => format!("https://localhost:{}/", self.address.port()),
            None => format!("http://{}/", self.address),
        }
    }

    /// Waits for the next request that is to be answered by hand.
    pub fn call(&self) -> Call {
        let calls = self.calls.lock().expect("one story");
        calls.recv_timeout(DEADLINE).expect("a request comes")
    }

    /// A request that is to be answered by hand, if one is there.
    pub fn call_now(&self) -> Option<Call> {
        self.calls.lock().expect("one story").try_recv().ok()
    }

    /// Adds to the script.
    pub fn then(&self, reply: Reply) {
        self.shared.state().script.push_back(reply);
    }

    /// What is answered once the script is over.
    pub fn henceforth(&self, reply: Reply) {
        self.shared.state().default = reply;
    }

    /// What a check of the balancer's own is answered; a good answer where nothing is said.
    pub fn checked_with(&self, reply: Reply) {
        self.shared.state().check = reply;
    }

    /// How often the balancer has asked by itself whether this endpoint is well. Those are not among the requests.
    pub fn checks(&self) -> usize {
        self.shared.state().checks
    }

    pub fn requests(&self) -> Vec<Received> {
        self.shared.state().requests.clone()
    }

    pub fn count(&self) -> usize {
        self.shared.state().requests.len()
    }

    /// The one request that came.
    pub fn request(&self) -> Received {
        let mut all = self.requests();
        assert_eq!(all.len(), 1, "one request came: {all:?}");
        all.remove(0)
    }

    /// How many connections were ever made to it.
    pub fn connections(&self) -> usize {
        self.shared.state().connections.len()
    }

    /// Closes the connections that wait for a request.
    pub fn close_idle(&self) {
        for (stream, idle) in &self.shared.state().connections {
            if let (Some(stream), true) = (stream, idle) {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes the accept thread up, so that it sees the flag.
        let _ = TcpStream::connect(self.address);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let stream = stream.expect("a connection");
        let mut state = shared.state();
        let connection = state.connections.len();
        state
            .connections
            .push((Some(stream.try_clone().expect("a second handle")), true));
        drop(state);
        let served = Arc::clone(shared);
        thread::spawn(move || {
            match &served.secure {
                None => serve(&served, Wire::new(stream), connection),
                Some(identity) => serve(&served, Wire::new(identity.accept(stream)), connection),
            }
            // The second handle is the last one: this closes, or resets where that was wished for.
            served.state().connections[connection].0 = None;
        });
    }
}

fn serve(shared: &Shared, mut wire: Wire, connection: usize) {
    while let Some(request) = receive(&mut wire, connection) {
        let method = request.method().to_owned();
        let mut state = shared.state();
        if method == "GET" && request.target().ends_with("/v1/models?limit=1") {
            state.checks += 1;
            let reply = state.check.clone();
            drop(state);
            if wire.write(&reply.bytes(&method)).is_err() || reply.then != Then::Keep {
                return;
            }
            continue;
        }
        state.connections[connection].1 = false;
        state.requests.push(request.clone());
        let reply = state
            .script
            .pop_front()
            .unwrap_or_else(|| state.default.clone());
        drop(state);
        if matches!(reply.body, Body::ByHand) {
            let (back, returned) = mpsc::channel();
            let call = Call {
                request,
                wire,
                back,
            };
            if shared.calls.lock().expect("no panic").send(call).is_err() {
                return;
            }
            match returned.recv() {
                Ok(kept) => wire = kept,
                // The story dropped the call.
                Err(_) => return,
            }
        } else {
            // Before the story can see the answer: it may want idle connections closed at once.
            shared.state().connections[connection].1 = reply.then == Then::Keep;
            if wire.write(&reply.bytes(&method)).is_err() {
                return;
            }
            match reply.then {
                Then::Keep => {}
                Then::Close => return,
                Then::Reset => return wire.reset(),
                Then::Stall => {
                    wire.ending(DEADLINE * 3);
                    return;
                }
            }
        }
        shared.state().connections[connection].1 = true;
    }
}

/// The next request; `None` where the connection ends or is no longer well-formed.
fn receive(wire: &mut Wire, connection: usize) -> Option<Received> {
    // An idle connection may wait for longer than any deadline of a story.
    let head = wire.head().ok()??;
    let body = match (head.get("content-length"), head.get("transfer-encoding")) {
        (Some(n), None) => wire.exactly(n.parse().expect("a length")).ok()?,
        (None, Some("chunked")) => {
            let mut body = Vec::new();
            while let Some(data) = wire.chunk().ok()? {
                body.extend(data);
            }
            body
        }
        (None, None) => Vec::new(),
        both => panic!("a request with {both:?}"),
    };
    Some(Received {
        head,
        body,
        connection,
    })
}

//! What a worker that panics costs: its own request.

mod crew;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;

use http::Uri;

use super::*;
use crate::demo::Demo;
use crate::downstream::Listener;
use crate::upstream::Surroundings;

/// The server, but for one mistake: it hands over requests that have no path. The worker that gets one panics.
struct Mistaken(Arc<Server>);

impl Host for Mistaken {
    fn config(&self) -> Arc<Config> {
        self.0.config()
    }

    fn triage(&self, head: &Head) -> Triage {
        self.0.triage(head)
    }

    fn refuse(&self, refusal: &Refusal, asked: &Asked) -> Response<Vec<u8>> {
        self.0.refuse(refusal, asked)
    }

    fn submit(&self, mut exchange: Exchange) -> Result<Ticket, (Box<Exchange>, Refusal)> {
        if exchange.request.uri().path() == "/v1/panic" {
            *exchange.request.uri_mut() = Uri::from_static("no-path:80");
        }
        self.0.submit(exchange)
    }

    fn withdraw(&self, ticket: Ticket) -> Option<Exchange> {
        self.0.withdraw(ticket)
    }

    fn crowd(&self, now: Instant) -> Crowd {
        self.0.crowd(now)
    }

    fn abandoned(&self, exchange: Exchange) {
        self.0.abandoned(exchange);
    }
}

fn start(workers: usize) -> (SocketAddr, Arc<Server>) {
    let demo = Demo::start().expect("two endpoints");
    let mut config = Config::demo(demo.endpoints()).expect("a configuration");
    config.workers = workers;
    let metrics = Metrics::new(Instant::now(), SystemTime::now());
    let proxy = Proxy::start(&config, metrics.clone(), Surroundings::bare()).expect("a proxy");
    let server = Server::start(config, proxy, metrics).expect("a server");
    let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = Arc::new(Mistaken(server.clone()));
    let listener = Listener::start(socket, host).expect("a listener");
    (listener.address(), server)
}

fn ask(address: SocketAddr, request: &str, body: &str) -> String {
    let mut client = TcpStream::connect(address).expect("it listens");
    let limit = Some(Duration::from_secs(20));
    client.set_read_timeout(limit).expect("it is open");
    let length = body.len();
    write!(
        client,
        "{request} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
    )
    .expect("it reads");
    let mut answer = String::new();
    client
        .read_to_string(&mut answer)
        .expect("it answers and closes");
    answer
}

#[test]
fn a_worker_that_panics_costs_its_own_request_and_nothing_else() {
    let (address, server) = start(2);
    let whole = "{\"model\":\"claude-demo-small\",\"max_tokens\":9,\"stream\":true,\
                 \"messages\":[{\"role\":\"user\",\"content\":\"Hello!\"}]}";
    let beside = thread::spawn(move || ask(address, "POST /v1/messages", whole));
    for _ in 0..30 {
        let answer = ask(address, "GET /v1/panic", "");
        assert!(
            answer.starts_with("HTTP/1.1 500 Internal Server Error\r\n"),
            "{answer}"
        );
        assert!(
            answer.contains("\"type\":\"internal_error\"") && answer.contains("request_id"),
            "{answer}"
        );
    }
    let counted = ask(address, "GET /metrics", "");
    let line = "claude_loadbalancer_requests_total{answer=\"forwarded\",code=\"500\"";
    let counted = counted.lines().find(|found| found.starts_with(line));
    assert!(
        counted.is_some_and(|line| line.ends_with(" 30")),
        "{counted:?}"
    );
    let stream = beside.join().expect("a stream");
    assert!(stream.contains("event: message_stop"), "{stream}");
    // As many at once as there are workers: both are there still.
    let both: Vec<_> = (0..2)
        .map(|_| thread::spawn(move || ask(address, "POST /v1/messages", whole)))
        .collect();
    for stream in both {
        let stream = stream.join().expect("a stream");
        assert!(stream.contains("event: message_stop"), "{stream}");
    }
    let load = server.view().load;
    assert_eq!((load.in_flight, load.queued), (0, 0), "no place was lost");
}

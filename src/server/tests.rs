//! What a worker that panics costs: its own request.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::thread;

use ureq::tls::RootCerts;

use super::*;
use crate::demo::Demo;
use crate::downstream::listener::Front;

/// The server, but for one mistake: it has workers forward whatever comes. Where that is none of the API's paths, the
/// worker panics.
struct Mistaken(Arc<Server>);

impl Host for Mistaken {
    fn judge(&self, _: &Head) -> Judgement {
        Judgement::Forward
    }

    fn config(&self) -> Arc<Config> {
        self.0.config()
    }

    fn refuse(&self, refused: &Refused) -> Response<Vec<u8>> {
        self.0.refuse(refused)
    }

    fn number(&self) -> u64 {
        self.0.number()
    }

    fn submit(&self, number: u64, exchange: Exchange) -> Result<(), Box<Exchange>> {
        self.0.submit(number, exchange)
    }

    fn withdraw(&self, number: u64) -> Option<Exchange> {
        self.0.withdraw(number)
    }
}

fn start(workers: usize) -> (Arc<Front>, Arc<Server>) {
    let demo = Demo::start().expect("two endpoints");
    let mut config = Config::demo(demo.endpoints()).expect("a configuration");
    config.workers = workers;
    let proxy = Proxy::new(&config, RootCerts::WebPki);
    let server = Server::start(config, proxy).expect("a server");
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let front = Front::bind(listener, Arc::new(Mistaken(server.clone()))).expect("a front");
    let running = front.clone();
    thread::spawn(move || running.run());
    (front, server)
}

fn ask(front: &Front, request: &str, body: &str) -> String {
    let mut client = TcpStream::connect(front.address()).expect("the front listens");
    let limit = Some(Duration::from_secs(20));
    client.set_read_timeout(limit).expect("it is open");
    let length = body.len();
    write!(
        client,
        "{request} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
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
    let (front, server) = start(2);
    let whole = "{\"model\":\"claude-demo-small\",\"max_tokens\":9,\"stream\":true,\
                 \"messages\":[{\"role\":\"user\",\"content\":\"Hello!\"}]}";
    let beside = {
        let front = front.clone();
        thread::spawn(move || ask(&front, "POST /v1/messages", whole))
    };
    for _ in 0..30 {
        let answer = ask(&front, "GET /no/such/path", "");
        assert!(
            answer.starts_with("HTTP/1.1 500 Internal Server Error\r\n"),
            "{answer}"
        );
        assert!(
            answer.contains("\"type\":\"internal_error\"") && answer.contains("request_id"),
            "{answer}"
        );
    }
    let stream = beside.join().expect("a stream");
    assert!(stream.contains("event: message_stop"), "{stream}");
    // As many at once as there are workers: both are there still.
    let both: Vec<_> = (0..2)
        .map(|_| {
            let front = front.clone();
            thread::spawn(move || ask(&front, "POST /v1/messages", whole))
        })
        .collect();
    for stream in both {
        let stream = stream.join().expect("a stream");
        assert!(stream.contains("event: message_stop"), "{stream}");
    }
    let load = server.view().load;
    assert_eq!((load.in_flight, load.queued), (0, 0), "no place was lost");
}

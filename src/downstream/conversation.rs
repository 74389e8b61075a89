//! A client connection's own thread: it reads one request after the other, and sees each of them answered.

use std::net::Shutdown;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Method, Request, StatusCode, Uri, header};
use nix::poll::PollFlags;

use super::connection::{Connection, Phase};
use super::head::{Framing, Head};
use super::listener::{
    Admission, Body, Exchange, Front, Host, Judgement, QUEUE_FULL, Refused, WAITED_TOO_LONG,
};
use super::reader::{BODY_TOO_LARGE, CLOSED, Fault, Input, wait_for};
use super::writer;
use crate::config::Config;

/// How long a client that was refused may go on sending before its connection is cut. Closing at once would reset it,
/// and the answer could be lost (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(2);
/// How often we look whether a client that has sent its next request already is still there.
const TICK: Duration = Duration::from_millis(50);

/// What becomes of a connection after a request.
enum Next {
    Again,
    Close,
    /// Closed in a way that lets the client read the answer although it is still sending.
    Linger,
}

/// Reads and serves a connection's requests until it ends.
pub fn serve(connection: &Arc<Connection>, front: &Arc<Front>) {
    let mut input = Input::new(connection.stream());
    loop {
        match serve_one(connection, &mut input, front) {
            Next::Again => {}
            Next::Close => return,
            Next::Linger => {
                connection.enter(Phase::Refused);
                connection.shut(Shutdown::Write);
                return input.discard(Instant::now() + LINGER);
            }
        }
    }
}

fn serve_one(connection: &Arc<Connection>, input: &mut Input, front: &Arc<Front>) -> Next {
    let host = &*front.host;
    let config = host.config();
    // Counts from the last answer's end, or from the connection's start.
    let idle_until = connection.since() + config.client_timeout;
    if input.wait(idle_until).is_err() {
        return Next::Close;
    }
    connection.enter(Phase::Head);
    let started = Instant::now();
    let until = started + config.client_timeout.min(config.request_timeout);
    let head = match input.read_head(until) {
        Ok(head) => head,
        Err(Fault::Gone) => return Next::Close,
        Err(Fault::Refused(status, why)) => {
            return refuse(connection, host, &Refused::unread(status, why), false);
        }
    };
    if let Judgement::Answer(answer) = host.judge(&head) {
        let keep = head.keep_alive
            && !head.has_body()
            && !answer.headers().contains_key(header::CONNECTION);
        let written = writer::whole(
            connection.stream(),
            &answer,
            head.method == Method::HEAD,
            keep,
        );
        connection.enter(Phase::Idle);
        return match written {
            Ok(()) if keep => Next::Again,
            Ok(()) => Next::Linger,
            Err(_) => Next::Close,
        };
    }
    connection.enter(Phase::Body);
    let exchange = match read_rest(connection, input, head, front, &config, started) {
        Ok(exchange) => exchange,
        Err((Fault::Gone, _)) => return Next::Close,
        Err((Fault::Refused(status, why), head)) => {
            return refuse(connection, host, &Refused::of(status, why, &head), false);
        }
    };
    input.release();
    let id = host.number();
    connection.queue(&exchange.abort);
    if let Err(exchange) = host.submit(id, exchange) {
        return give_back(connection, host, &exchange, QUEUE_FULL);
    }
    await_answer(connection, host, id, &config, input.has_more())
}

/// Reads the body that belongs to a head.
fn read_rest(
    connection: &Arc<Connection>,
    input: &mut Input,
    head: Head,
    front: &Arc<Front>,
    config: &Config,
    started: Instant,
) -> Result<Exchange, (Fault, Box<Head>)> {
    if matches!(head.body, Framing::Length(length) if length > config.max_body as u64) {
        return Err((BODY_TOO_LARGE, Box::new(head)));
    }
    if head.expects_continue && !input.has_more() && writer::interim(connection.stream()).is_err() {
        return Err((Fault::Gone, Box::new(head)));
    }
    let mut charge = front.bodies.charge();
    let until = || (Instant::now() + config.client_timeout).min(started + config.request_timeout);
    let body = match input.read_body(head.body, config.max_body, &mut charge, until) {
        Ok(body) => body,
        Err(fault) => return Err((fault, Box::new(head))),
    };
    let mut request = Request::new(Body {
        bytes: body,
        _charge: Some(charge),
    });
    *request.method_mut() = head.method;
    *request.uri_mut() = Uri::from(head.target);
    *request.headers_mut() = head.headers;
    Ok(Exchange {
        request,
        is_http10: head.is_http10,
        keep_alive: head.keep_alive,
        connection: connection.clone(),
        front: front.clone(),
        admission: Admission::default(),
        abort: Arc::default(),
        arrived: Instant::now(),
    })
}

/// Waits until a request's answer has ended and the client says or asks something more. The worker does not wake this
/// thread: the client does.
///
/// `pipelined`: it has sent its next request already, so that its bytes tell nothing.
fn await_answer(
    connection: &Connection,
    host: &dyn Host,
    id: u64,
    config: &Config,
    mut pipelined: bool,
) -> Next {
    let submitted = Instant::now();
    let mut wake = submitted + config.queue_wait.min(config.client_timeout);
    loop {
        let watched = if pipelined {
            CLOSED
        } else {
            PollFlags::POLLIN | CLOSED
        };
        let until = if pipelined { Instant::now() } else { wake };
        let seen = wait_for(connection.stream(), watched, until).unwrap_or(PollFlags::POLLERR);
        let phase = if pipelined {
            connection.await_end(TICK)
        } else {
            connection.phase()
        };
        let now = Instant::now();
        match phase {
            Phase::Answered { keep: false } => return Next::Close,
            Phase::Answered { keep: true } if pipelined || !seen.is_empty() => return Next::Again,
            Phase::Answered { keep: true } => {
                wake = connection.since() + config.client_timeout;
                if wake <= now {
                    return Next::Close;
                }
            }
            _ if seen.intersects(CLOSED | PollFlags::POLLHUP | PollFlags::POLLERR) => {
                connection.leave();
                if host.withdraw(id).is_none() {
                    while !matches!(
                        connection.await_end(Duration::from_secs(1)),
                        Phase::Answered { .. }
                    ) {}
                }
                return Next::Close;
            }
            Phase::Queued if now >= submitted + config.queue_wait => {
                if let Some(exchange) = host.withdraw(id) {
                    return give_back(connection, host, &exchange, WAITED_TOO_LONG);
                }
                wake = now + config.client_timeout;
            }
            _ if seen.contains(PollFlags::POLLIN) => pipelined = true,
            _ => wake = now + config.client_timeout,
        }
    }
}

/// Answers a request that was read whole and that no worker will take.
fn give_back(
    connection: &Connection,
    host: &dyn Host,
    exchange: &Exchange,
    why: &'static str,
) -> Next {
    let refused = Refused {
        status: StatusCode::SERVICE_UNAVAILABLE,
        why,
        method: Some(exchange.request.method()),
        path: Some(exchange.request.uri().path()),
        headers: Some(exchange.request.headers()),
    };
    refuse(connection, host, &refused, exchange.keep_alive)
}

fn refuse(connection: &Connection, host: &dyn Host, refused: &Refused, keep: bool) -> Next {
    let answer = host.refuse(refused);
    let head_only = refused.method == Some(&Method::HEAD);
    let written = writer::whole(connection.stream(), &answer, head_only, keep);
    connection.enter(Phase::Idle);
    match written {
        Ok(()) if keep => Next::Again,
        Ok(()) => Next::Linger,
        Err(_) => Next::Close,
    }
}

//! A client's bytes on their way to a request: read, judged, and handed over or refused.

use std::io::ErrorKind;
use std::mem;
use std::sync::Arc;
use std::time::Instant;

use http::{Method, Request, Response, Uri, header};

use super::body::{BodyReader, TOO_SHORT};
use super::client::{Client, Context, Service, Stage, Upload};
use super::connection::Connection;
use super::exchange::{Asked, Exchange, Triage};
use super::head::{self, Framing, Head, MAX_HEAD, Scan};
use super::outbox::Then;
use super::pace::Pace;
use super::refusal::{BODIES_FULL, BODY_TOO_LARGE, Refusal};
use super::{socket, writer};

/// Bytes that a client's next read takes at most where a head is expected: what is behind it goes straight to its place.
const HEAD_ROOM: usize = 16 << 10;
/// Bytes of the buffer that all reads go through: a head of the largest size, and one byte that shows that it is larger.
pub const SCRATCH: usize = MAX_HEAD + 1;

/// The connection has no more to say or to hear.
pub struct Ended;

impl Client {
    /// Reads once, and goes through what is there. Answers how many bytes came.
    pub(super) fn read(&mut self, scratch: &mut [u8], cx: &Context) -> Result<usize, Ended> {
        if matches!(self.stage, Stage::Lingering) {
            return self.discard(scratch);
        }
        let held = self.held.len();
        scratch[..held].copy_from_slice(&self.held);
        let (came, behind) = self.receive(&mut scratch[held..])?;
        self.pace.moved(came.unwrap_or(0) as u64, cx.now);
        let mut input = &scratch[..held + behind];
        self.needs_more = self.take(&mut input, cx);
        self.hold(input, cx);
        if came == Some(0) && !self.wants_room() && !matches!(self.stage, Stage::Served(_)) {
            match self.stage {
                Stage::Body(_) => self.refuse(&TOO_SHORT, cx),
                _ => return Err(Ended),
            }
        }
        Ok(came.unwrap_or(0))
    }

    /// One read. Answers how many bytes came (0: the client sends no more; `None`: nothing is there), and how many of them into
    /// `scratch`.
    fn receive(&mut self, scratch: &mut [u8]) -> Result<(Option<usize>, usize), Ended> {
        if !self.is_readable {
            return Ok((None, 0));
        }
        let room = self.held.len().max(HEAD_ROOM).min(scratch.len());
        let spare = match &mut self.stage {
            Stage::Body(upload) => upload.body.spare(),
            _ => &mut [],
        };
        let (spare_room, stream) = (spare.len(), self.connection.stream());
        let came = match socket::receive(stream, spare, &mut scratch[..room]) {
            Ok(came) => came,
            Err(err) if err.kind() == ErrorKind::WouldBlock => {
                self.is_readable = false;
                return Ok((None, 0));
            }
            Err(_) => return Err(Ended),
        };
        // Less than there was room for: there is no more, and epoll will tell of the next bytes. But it has told of the end already.
        if came < spare_room + room && !self.has_left {
            self.is_readable = false;
        }
        if let Stage::Body(upload) = &mut self.stage {
            upload.body.filled(came.min(spare_room));
        }
        Ok((Some(came), came.saturating_sub(spare_room)))
    }

    /// Goes through what has come. True where it is the beginning of something, false where it has to wait.
    fn take(&mut self, input: &mut &[u8], cx: &Context) -> bool {
        loop {
            match &mut self.stage {
                Stage::Fresh | Stage::Idle if input.is_empty() => return true,
                Stage::Fresh | Stage::Idle => {
                    let limit = cx.config.client_timeout.min(cx.config.request_timeout);
                    self.enter(Stage::Head(Scan::default()), cx.now, limit);
                }
                Stage::Head(scan) => match scan.find_end(input) {
                    Ok(None) => return true,
                    Ok(Some(end)) => {
                        let (head, behind) = input.split_at(end);
                        *input = behind;
                        match head::parse(head) {
                            Ok(head) => self.judge(head, behind.is_empty(), cx),
                            Err(refusal) => self.refuse(&refusal, cx),
                        }
                    }
                    Err(refusal) => self.refuse(&refusal, cx),
                },
                Stage::Body(upload) => match upload.body.take(input) {
                    Ok(true) => self.submit(input.is_empty(), cx),
                    Ok(false) => {
                        let until = upload.begun + upload.admission.config.request_timeout;
                        self.deadline = until.min(cx.now + upload.admission.config.client_timeout);
                        return true;
                    }
                    Err(refusal) => self.refuse(&refusal, cx),
                },
                Stage::Served(_) | Stage::Lingering => return false,
            }
            if self.wants_room() {
                return false;
            }
        }
    }

    /// A head is whole.
    fn judge(&mut self, head: Head, is_last: bool, cx: &Context) {
        let admission = match cx.host.triage(&head) {
            Triage::Answer(answer) => {
                let keep = head.keep_alive
                    && !head.has_body()
                    && !answer.headers().contains_key(header::CONNECTION);
                return self.answer(&answer, head.method == Method::HEAD, keep, cx);
            }
            Triage::Forward(admission) => admission,
        };
        let config = admission.config.clone();
        let body = match head.body {
            Framing::Length(length) if length > config.max_body as u64 => Err(BODY_TOO_LARGE),
            framing => BodyReader::new(framing, config.max_body, cx.bodies.charge()),
        };
        match body {
            Ok(body) => {
                if head.expects_continue && is_last {
                    self.post(b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(), Then::GoOn, cx);
                }
                let begun = self.since;
                let upload = Upload {
                    head,
                    admission,
                    body,
                    begun,
                };
                let until = begun + config.request_timeout;
                let limit = config
                    .client_timeout
                    .min(until.saturating_duration_since(cx.now));
                self.enter(Stage::Body(Box::new(upload)), cx.now, limit);
            }
            Err(refusal) => {
                let asked = Asked {
                    method: Some(&head.method),
                    path: Some(head.target.path()),
                    admission: Some(&admission),
                };
                let answer = cx.host.refuse(&refusal, &asked);
                self.answer(&answer, head.method == Method::HEAD, false, cx);
            }
        }
    }

    /// A request is whole.
    fn submit(&mut self, is_last: bool, cx: &Context) {
        let Stage::Body(upload) = mem::replace(&mut self.stage, Stage::Idle) else {
            unreachable!("it is called for a body that is whole");
        };
        let exchange = upload.into_exchange(self.connection.clone(), cx.now);
        if self.has_left {
            cx.host.abandoned(exchange);
            self.held.clear();
            return self.linger(cx);
        }
        let abort = exchange.abort.clone();
        let wait = exchange.admission.config.queue_wait;
        self.connection.hand_over(!is_last || self.is_readable);
        match cx.host.submit(exchange) {
            Ok(ticket) => {
                let until = cx.now + wait;
                let service = Service {
                    ticket,
                    abort,
                    until,
                };
                self.enter(
                    Stage::Served(service),
                    cx.now,
                    wait.min(cx.config.client_timeout),
                );
            }
            Err((exchange, refusal)) => self.give_back(&exchange, &refusal, cx),
        }
    }

    /// Answers a request that was read whole and that no worker will take.
    pub(super) fn give_back(&mut self, exchange: &Exchange, refusal: &Refusal, cx: &Context) {
        let answer = cx.host.refuse(refusal, &exchange.asked());
        let is_head = exchange.request.method() == Method::HEAD;
        self.answer(&answer, is_head, exchange.keep_alive, cx);
    }

    /// Answers what is no request, or none that is read to its end.
    pub(super) fn refuse(&mut self, refusal: &Refusal, cx: &Context) {
        let stage = mem::replace(&mut self.stage, Stage::Idle);
        let (answer, is_head) = match &stage {
            Stage::Body(upload) => {
                let asked = Asked {
                    method: Some(&upload.head.method),
                    path: Some(upload.head.target.path()),
                    admission: Some(&upload.admission),
                };
                (
                    cx.host.refuse(refusal, &asked),
                    upload.head.method == Method::HEAD,
                )
            }
            _ => (cx.host.refuse(refusal, &Asked::default()), false),
        };
        self.answer(&answer, is_head, false, cx);
    }

    fn answer(&mut self, answer: &Response<Vec<u8>>, is_head: bool, keep: bool, cx: &Context) {
        let then = if keep {
            Then::NextRequest
        } else {
            Then::Linger
        };
        self.post(writer::whole(answer, is_head, keep), then, cx);
    }

    fn post(&mut self, bytes: Vec<u8>, then: Then, cx: &Context) {
        self.outbox.post(bytes, then);
        self.pace = Pace::waiting(cx.now);
        self.deadline = cx.now + cx.config.client_timeout;
    }

    /// Reads what the client still sends and forgets it.
    fn discard(&mut self, scratch: &mut [u8]) -> Result<usize, Ended> {
        match socket::receive(self.connection.stream(), &mut [], scratch) {
            Ok(1..) => Ok(scratch.len()),
            Err(err) if err.kind() == ErrorKind::WouldBlock => {
                self.is_readable = false;
                Ok(0)
            }
            Ok(0) | Err(_) => Err(Ended),
        }
    }

    /// Keeps what is not used yet.
    pub(super) fn hold(&mut self, rest: &[u8], cx: &Context) {
        if rest.is_empty() && self.held.is_empty() {
            return;
        }
        self.held = rest.to_vec();
        self.charge.shrink_to(rest.len());
        if !self.charge.grow_to(rest.len()) && !self.wants_room() {
            self.held = Vec::new();
            self.refuse(&BODIES_FULL, cx);
        }
    }
}

impl Upload {
    fn into_exchange(self: Box<Upload>, connection: Arc<Connection>, now: Instant) -> Exchange {
        let mut request = Request::new(self.body.finish());
        *request.method_mut() = self.head.method;
        *request.uri_mut() = Uri::from(self.head.target);
        *request.headers_mut() = self.head.headers;
        Exchange {
            request,
            admission: self.admission,
            is_http10: self.head.is_http10,
            keep_alive: self.head.keep_alive,
            connection,
            permit: None,
            waits_for_its_client: false,
            abort: Arc::default(),
            arrived: now,
        }
    }
}

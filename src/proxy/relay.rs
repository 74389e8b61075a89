//! An answer's body, from the endpoint to the client, all but its last piece.
//!
//! Event streams pass event by event, so that one that breaks anywhere still ends well-formed; everything else passes
//! as it comes. Nothing is decompressed or changed. The last piece is the caller's to send, when all is settled: who has all of an
//! answer must find us done with it.

use std::io;

use http::header::{self, HeaderMap};

use super::attempt::Attempt;
use super::looked::Looked;
use super::stream::EventStream;
use crate::api::events::error_event;
use crate::api::usage::{BodyUsage, Usage};
use crate::downstream::Downstream;
use crate::telemetry::access_log::End;

/// A piece starts at this size and doubles while the endpoint fills it: an event takes little, a large answer few
/// system calls.
pub const MIN_PIECE: usize = 2 << 10;
const MAX_PIECE: usize = 64 << 10;

/// How an answer is about to end, and what is left to send of it.
pub struct Last {
    pub end: End,
    /// The tokens that it tells of.
    pub usage: Option<Usage>,
    rest: Rest,
}

enum Rest {
    /// The last bytes; the answer's framing is ended behind them.
    Bytes(Vec<u8>),
    /// Nothing can tell the client that it is broken but the end of the connection.
    Cut,
    /// The client has gone.
    Nothing,
}

/// What the client has of an answer.
pub struct Sent {
    pub end: End,
    /// The connection has to be reset, or the client cannot tell that the answer is not whole.
    pub needs_reset: bool,
}

impl Last {
    fn new(end: End, usage: Option<Usage>, rest: Rest) -> Last {
        Last { end, usage, rest }
    }

    /// Sends it.
    pub fn send(self, downstream: &mut Downstream) -> Sent {
        let (sent, needs_reset) = match self.rest {
            Rest::Bytes(bytes) => {
                let sent = downstream.last(&bytes);
                let needs_reset = sent.is_err() && downstream.ends_with_the_connection();
                (sent, needs_reset)
            }
            Rest::Cut => (Ok(()), downstream.cut()),
            // A client that is only slow to take it must not take what it has for all.
            Rest::Nothing => (Ok(()), downstream.ends_with_the_connection()),
        };
        let end = if sent.is_ok() {
            self.end
        } else {
            End::ClientGone
        };
        Sent { end, needs_reset }
    }
}

pub fn is_event_stream(headers: &HeaderMap) -> bool {
    let kind = headers
        .get(header::CONTENT_TYPE)
        .map(|value| value.as_bytes())
        .unwrap_or_default();
    kind.split(|&b| b == b';')
        .next()
        .is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
}

/// Whether the body is something else than what its content type says, until somebody decompresses it.
pub fn is_encoded(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_ENCODING)
        .is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

pub fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"application/json"))
}

/// Passes on a body that is no event stream. `length` is what the endpoint announced; `heard` is called for each piece.
pub fn pass(
    body: &mut Looked,
    length: Option<u64>,
    mut heard: impl FnMut(),
    downstream: &mut Downstream,
    mut usage: Option<BodyUsage>,
) -> Last {
    let mut left = length;
    let short = length
        .and_then(|length| usize::try_from(length).ok())
        .unwrap_or(MIN_PIECE);
    // What was read ahead goes out from where it is.
    let mut piece = body.take_ahead();
    let mut filled = piece.len();
    loop {
        if filled == 0 {
            if piece.is_empty() {
                piece.resize(short.clamp(1, MIN_PIECE), 0);
            }
            filled = match body.read(&mut piece) {
                Ok(filled) => filled,
                Err(err) => return Last::new(End::Broken(reason(&err)), None, Rest::Cut),
            };
        }
        heard();
        left = left.map(|left| left.saturating_sub(filled as u64));
        if filled > 0 && left == Some(0) {
            // One more look ends the attempt before the client can know that it has all: the endpoint's connection
            // is free when the client's next request comes.
            let _ = body.read(&mut [0]);
        }
        if let Some(usage) = &mut usage {
            usage.piece(&piece[..filled]);
        }
        let is_last = filled == 0 || left == Some(0);
        if is_last {
            piece.truncate(filled);
            let usage = usage.and_then(|usage| usage.usage());
            return Last::new(End::Whole, usage, Rest::Bytes(piece));
        }
        if downstream.piece(&piece[..filled]).is_err() {
            return Last::new(End::ClientGone, None, Rest::Nothing);
        }
        if filled == piece.len() && piece.len() < MAX_PIECE {
            piece.resize((piece.len() * 2).clamp(MIN_PIECE, MAX_PIECE), 0);
        }
        filled = 0;
    }
}

/// Passes a stream on to its end. `request_id` names the request in the error that ends a broken one.
pub fn pass_stream(
    stream: &mut EventStream,
    attempt: &mut Attempt,
    downstream: &mut Downstream,
    request_id: &str,
) -> Last {
    loop {
        if stream.has_stopped() {
            // Whatever the endpoint does now, the client has all.
            stream.look_for_end();
            let rest = stream.ready().to_vec();
            return Last::new(End::Whole, stream.usage(), Rest::Bytes(rest));
        }
        if !stream.ready().is_empty() {
            if downstream.piece(stream.ready()).is_err() {
                return Last::new(End::ClientGone, stream.usage(), Rest::Nothing);
            }
            stream.passed();
        }
        let reason = match stream.read() {
            Ok(1..) => {
                attempt.goes_on();
                continue;
            }
            // What is held is an event of which the last blank line is missing.
            Ok(0) if stream.is_complete() => {
                return Last::new(
                    End::Whole,
                    stream.usage(),
                    Rest::Bytes(stream.held().to_vec()),
                );
            }
            Ok(_) => "the endpoint ended the stream too early".into(),
            Err(err) => reason(&err),
        };
        let rest = broken_rest(stream, &reason, request_id);
        return Last::new(End::Broken(reason), stream.usage(), rest);
    }
}

/// Ends a broken stream with one `error` event. One that has told of an error itself gets no second one, and into
/// one that is compressed nothing can be written: it is cut.
fn broken_rest(stream: &EventStream, reason: &str, request_id: &str) -> Rest {
    if stream.is_encoded() {
        return Rest::Cut;
    }
    if stream.has_failed() {
        return Rest::Bytes(Vec::new());
    }
    let event = error_event("api_error", reason, request_id);
    Rest::Bytes([stream.closing(), &event].concat())
}

fn reason(err: &io::Error) -> String {
    match err.kind() {
        io::ErrorKind::TimedOut => "the endpoint fell silent (idleSeconds)".into(),
        _ => format!("the endpoint broke the answer off: {err}"),
    }
}

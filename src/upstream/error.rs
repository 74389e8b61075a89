//! Why an attempt gave no answer, sorted once: the request's fault, the network's, the endpoint's, or this machine's.
//!
//! Our transport sorts where the facts are known and sends its verdict through ureq; what ureq finds out itself is sorted here.
//! What nobody has thought of blames no endpoint.

use std::fmt;
use std::io;

use nix::errno::Errno;
use ureq::Timeout;

/// Why an attempt gave no answer. Each holds words for the log and the client, and never a token.
#[derive(Debug)]
pub enum Error {
    /// The request cannot go out as it is. No endpoint was asked, and every other one would have to say the same.
    Unsendable(String),
    /// No connection: name, TCP, TLS, proxy, or none of it within `connectSeconds`.
    Unreachable(String),
    /// Closed before the answer's first byte, or what came is not HTTP.
    Broken(String),
    /// Connected and sent, but no answer's head within `responseSeconds`: the endpoint may be working on it.
    TimedOut,
    /// [`super::Abort::abort`] was called: the client has gone, or we are shutting down.
    Aborted,
    /// This machine had no descriptor or thread left for it. No endpoint's fault.
    Exhausted(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Unsendable(words) | Error::Unreachable(words) | Error::Broken(words) => {
                f.write_str(words)
            }
            Error::TimedOut => f.write_str("no answer within responseSeconds"),
            Error::Aborted => f.write_str("ended by us"),
            Error::Exhausted(err) => write!(f, "this machine: {err}"),
        }
    }
}

impl std::error::Error for Error {}

/// The way through ureq; [`sort`] takes it out again.
impl From<Error> for ureq::Error {
    fn from(err: Error) -> ureq::Error {
        ureq::Error::Other(Box::new(err))
    }
}

/// Characters of an endpoint's or an error's words that are kept: a certificate may name many hosts.
pub const MAX_WORDS: usize = 200;

/// `answered`: a byte of an answer had come. Only then can words that are no HTTP be the endpoint's.
pub fn sort(err: ureq::Error, answered: bool) -> Error {
    let mut sorted = sort_whole(err, answered);
    if let Error::Unsendable(words) | Error::Unreachable(words) | Error::Broken(words) = &mut sorted
        && let Some((end, _)) = words.char_indices().nth(MAX_WORDS)
    {
        words.truncate(end);
        words.push('…');
    }
    sorted
}

fn sort_whole(err: ureq::Error, answered: bool) -> Error {
    match err {
        ureq::Error::Other(own) => match own.downcast::<Error>() {
            Ok(own) => *own,
            Err(other) => Error::Unsendable(other.to_string()),
        },
        ureq::Error::Timeout(Timeout::Connect | Timeout::Resolve) => no_time(),
        ureq::Error::Timeout(_) => Error::TimedOut,
        ureq::Error::Io(err) if is_exhaustion(&err) => Error::Exhausted(err),
        // Our connector sorts what goes wrong before there is a connection.
        ureq::Error::Io(err) => Error::Broken(err.to_string()),
        ureq::Error::LargeResponseHeader(..) => {
            Error::Broken("an answer with a head over 64 KiB".into())
        }
        ureq::Error::Protocol(err) if answered => Error::Broken(format!("no HTTP: {err}")),
        err => Error::Unsendable(err.to_string()),
    }
}

pub fn no_time() -> Error {
    Error::Unreachable("no connection within connectSeconds".into())
}

/// Whether an error tells of this machine's limits and not of the other side.
pub fn is_exhaustion(err: &io::Error) -> bool {
    let code = err.raw_os_error().map(Errno::from_raw);
    matches!(
        code,
        Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM | Errno::EAGAIN)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What comes of an error, before a byte of an answer and after one.
    #[track_caller]
    fn check(make: impl Fn() -> ureq::Error, before: &str, after: &str) {
        for (answered, expected) in [(false, before), (true, after)] {
            let sorted = format!("{:?}", sort(make(), answered));
            assert!(sorted.starts_with(expected), "{sorted}");
        }
    }

    #[test]
    fn whose_fault_it_is() {
        use ureq::Error as Their;
        let io = |kind: io::ErrorKind| move || Their::Io(kind.into());
        let own = |text: &str| {
            let text = text.to_owned();
            move || Their::from(Error::Unreachable(text.clone()))
        };
        check(own("no way"), "Unreachable(\"no way\")", "Unreachable");
        check(io(io::ErrorKind::ConnectionReset), "Broken", "Broken");
        check(io(io::ErrorKind::UnexpectedEof), "Broken", "Broken");
        let full = || Their::Io(io::Error::from_raw_os_error(Errno::EMFILE as i32));
        check(full, "Exhausted", "Exhausted");
        check(
            || Their::Timeout(Timeout::Connect),
            "Unreachable",
            "Unreachable",
        );
        check(
            || Their::Timeout(Timeout::RecvResponse),
            "TimedOut",
            "TimedOut",
        );
        check(|| Their::LargeResponseHeader(1, 1), "Broken", "Broken");
        // What nobody has thought of is no endpoint's fault.
        check(|| Their::RedirectFailed, "Unsendable", "Unsendable");
        check(|| Their::BadUri("x".into()), "Unsendable", "Unsendable");
    }

    #[test]
    fn words_are_cut() {
        let long = ureq::Error::from(Error::Broken("é".repeat(1000)));
        assert_eq!(sort(long, true).to_string(), "é".repeat(200) + "…");
    }
}

//! Why a request gets an error of ours: what its client is told, and what the counters call it.

use std::borrow::Cow;

use http::StatusCode;

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: StatusCode,
    /// One of a few words, for the counters.
    pub cause: &'static str,
    pub message: Cow<'static, str>,
}

const fn refusal(status: StatusCode, cause: &'static str, message: &'static str) -> Refusal {
    Refusal {
        status,
        cause,
        message: Cow::Borrowed(message),
    }
}

/// A request that is not as HTTP wants it.
pub const fn malformed(message: &'static str) -> Refusal {
    refusal(StatusCode::BAD_REQUEST, "malformed", message)
}

pub const HEAD_TOO_LARGE: Refusal = refusal(
    StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
    "head too large",
    "the request's head is over 64 KiB or 128 header lines",
);
pub const UNKNOWN_VERSION: Refusal = refusal(
    StatusCode::HTTP_VERSION_NOT_SUPPORTED,
    "unknown version",
    "this balancer speaks HTTP/1.1 and HTTP/1.0",
);
pub const UNKNOWN_EXPECTATION: Refusal = refusal(
    StatusCode::EXPECTATION_FAILED,
    "unknown expectation",
    "this balancer knows no expectation but 100-continue",
);
pub const BODY_TOO_LARGE: Refusal = refusal(
    StatusCode::PAYLOAD_TOO_LARGE,
    "body too large",
    "the request's body is larger than this balancer takes (maxBodyMB)",
);
pub const TOO_SLOW: Refusal = refusal(
    StatusCode::REQUEST_TIMEOUT,
    "too slow",
    "the request did not arrive whole in time",
);
pub const BODIES_FULL: Refusal = refusal(
    StatusCode::SERVICE_UNAVAILABLE,
    "bodies full",
    "too many large requests at the same time; try again",
);
pub const QUEUE_FULL: Refusal = refusal(
    StatusCode::SERVICE_UNAVAILABLE,
    "queue full",
    "too many requests are waiting for a worker (queue); try again",
);
pub const WAITED_TOO_LONG: Refusal = refusal(
    StatusCode::SERVICE_UNAVAILABLE,
    "waited too long",
    "no worker was free in time (queueSeconds); try again",
);
pub const CLIENT_BUSY: Refusal = refusal(
    StatusCode::TOO_MANY_REQUESTS,
    "client busy",
    "as many requests of this client are running as may (its maxConcurrent); try again",
);
pub const STATUS_ONLY: Refusal = refusal(
    StatusCode::FORBIDDEN,
    "status only",
    "this token is for /health, /metrics and the page only (its scope)",
);
pub const SHUTTING_DOWN: Refusal = refusal(
    StatusCode::SERVICE_UNAVAILABLE,
    "shutting down",
    "this balancer is shutting down",
);
pub const NO_CLIENT_TOKEN: Refusal = refusal(
    StatusCode::UNAUTHORIZED,
    "no client token",
    "no valid client token; send one of clientTokens in x-api-key or authorization: Bearer",
);

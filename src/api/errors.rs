//! Our own errors, in the Claude API's shape.

use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering};

use http::header::{self, HeaderValue};
use http::{Response, StatusCode};
use serde_json::json;

use crate::api::headers::{NOSNIFF, REQUEST_ID};

/// A request's number, as `req_` and 16 digits: what the log and our errors name it by. Two processes do not share
/// any, and neither do two requests.
pub fn request_id() -> String {
    static START: LazyLock<u64> = LazyLock::new(|| RandomState::new().hash_one(std::process::id()));
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = START.wrapping_add(COUNT.fetch_add(1, Ordering::Relaxed));
    let mut id = String::with_capacity(20);
    let _ = write!(id, "req_{number:016x}");
    id
}

/// An error of ours. 503 and 429 tell the client to come back in a second.
pub fn error(status: StatusCode, message: &str, request_id: &str) -> Response<Vec<u8>> {
    let body = json!({
        "type": "error",
        "error": { "type": kind(status), "message": message },
        "request_id": request_id,
    });
    let mut answer = Response::new(body.to_string().into_bytes());
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(NOSNIFF.0, NOSNIFF.1);
    headers.insert(
        REQUEST_ID,
        request_id.try_into().expect("our numbers fit a header"),
    );
    if matches!(
        status,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    ) {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    }
    answer
}

/// The error type that the API gives such a status.
pub fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        404 => "not_found_error",
        403 => "permission_error",
        413 => "request_too_large",
        400 | 405 | 417 | 431 | 505 => "invalid_request_error",
        408 => "timeout_error",
        429 => "rate_limit_error",
        503 => "overloaded_error",
        _ => "internal_error",
    }
}

//! Method and path -> who answers.

use http::Method;

/// Who answers a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// An endpoint.
    Forward(Forward),
    Health,
    Metrics,
    Page,
    /// A browser asks whether it may: any path.
    Preflight,
    /// A path of ours, which knows `GET` and `HEAD` only.
    WrongMethod,
    /// `TRACE`, whose answer would show the endpoint's token, or `CONNECT`.
    Forbidden,
    /// It would leave the endpoint's base path.
    DotSegment,
    /// The client's base URL ends in `/v1`, and its paths begin with it.
    DoubledV1,
    NotFound,
}

/// What the path and method of a forwarded request say about how it may be treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Forward {
    /// It names an object that lives in one account: the first endpoint's, always.
    pub first_only: bool,
    /// It is a message: only its failure says that an endpoint is unwell. Everything else has limits of its own at the API, and must not
    /// keep messages from an endpoint that serves them.
    pub may_cool_down: bool,
}

/// What `allow` says with [`Route::WrongMethod`].
pub const OWN_METHODS: &str = "GET, HEAD, OPTIONS";
/// The same with [`Route::Forbidden`]: what is forwarded, of the methods that are registered.
pub const FORWARDED_METHODS: &str = "GET, HEAD, PUT, PATCH, POST, DELETE, OPTIONS";

/// `path` is the request's path without its query.
pub fn route(method: &Method, path: &str) -> Route {
    if method == Method::OPTIONS {
        return Route::Preflight;
    }
    if matches!(*method, Method::TRACE | Method::CONNECT) {
        return Route::Forbidden;
    }
    if is_under(path, "/v1/v1") {
        return Route::DoubledV1;
    }
    if path.starts_with("/v1/") && has_dot_segment(path) {
        return Route::DotSegment;
    }
    if path.starts_with("/v1/") {
        return Route::Forward(Forward {
            first_only: is_under(path, "/v1/messages/batches") || is_under(path, "/v1/files"),
            may_cool_down: *method == Method::POST && path == "/v1/messages",
        });
    }
    let own = match path {
        "/" => Route::Page,
        "/health" => Route::Health,
        "/metrics" => Route::Metrics,
        _ => return Route::NotFound,
    };
    if matches!(*method, Method::GET | Method::HEAD) {
        own
    } else {
        Route::WrongMethod
    }
}

/// Whether some server would read `.` or `..` in it as a step in the tree: with what may stand for a slash or a dot, and with parameters
/// (`..;a`) behind it.
fn has_dot_segment(path: &str) -> bool {
    let decoded = |rest: &[u8]| match rest {
        [b'%', b'2', b'e' | b'E', ..] => (b'.', 3),
        [b'%', b'2', b'f' | b'F', ..] | [b'%', b'5', b'c' | b'C', ..] => (b'/', 3),
        [b'\\', ..] => (b'/', 1),
        [first, ..] => (*first, 1),
        [] => (b'/', 0),
    };
    let mut rest = path.as_bytes();
    // Dots since the last slash; `None` where there was anything else, too.
    let mut dots = Some(0);
    loop {
        let (byte, length) = decoded(rest);
        match byte {
            b'/' | b';' if matches!(dots, Some(1 | 2)) => return true,
            b'/' if length == 0 => return false,
            b'/' => dots = Some(0),
            b'.' => dots = dots.map(|dots| dots + 1),
            _ => dots = None,
        }
        rest = &rest[length..];
    }
}

fn is_under(path: &str, folder: &str) -> bool {
    path.strip_prefix(folder)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(method: &str, path: &str, expected: Route) {
        assert_eq!(
            route(&method.parse().expect("a method"), path),
            expected,
            "{method} {path}"
        );
    }

    fn forward(first_only: bool, may_cool_down: bool) -> Route {
        Route::Forward(Forward {
            first_only,
            may_cool_down,
        })
    }

    #[test]
    fn paths() {
        check("POST", "/v1/messages", forward(false, true));
        check("BREW", "/v1/coffee", forward(false, false)); // Any method, any path below /v1/.
        check("POST", "/v1/messages/count_tokens", forward(false, false));
        check("GET", "/v1/models", forward(false, false));
        check("HEAD", "/v1/models", forward(false, false));
        check("POST", "/v1/messages/batches", forward(true, false));
        check(
            "GET",
            "/v1/messages/batches/b_1/results",
            forward(true, false),
        );
        check("DELETE", "/v1/files/f_1", forward(true, false));
        check("POST", "/v1/filesystem", forward(false, false));
        check("GET", "/v1", Route::NotFound);
        check("GET", "/", Route::Page);
        check("HEAD", "/health", Route::Health);
        check("GET", "/metrics", Route::Metrics);
        check("POST", "/health", Route::WrongMethod);
        check("DELETE", "/", Route::WrongMethod);
        check("TRACE", "/v1/messages", Route::Forbidden);
        check("CONNECT", "/", Route::Forbidden);
        check("POST", "/v1/v1/messages", Route::DoubledV1);
        check("GET", "/v1/v1", Route::DoubledV1);
        check("GET", "/v1/v1x", forward(false, false));
        for path in [
            "/v1/../x",
            "/v1/.",
            "/v1/..",
            "/v1/a/%2e%2E/b",
            "/v1/.%2e",
            "/v1/..%2fx",
            "/v1/a%5c..%5Cb",
            "/v1/..;a/b",
            "/v1/./a",
        ] {
            check("GET", path, Route::DotSegment);
        }
        for path in [
            "/v1/...",
            "/v1/a.b",
            "/v1/.a",
            "/v1/a..",
            "/v1/%2e%2e%2e",
            "/v1/a;..",
        ] {
            check("GET", path, forward(false, false));
        }
        check("OPTIONS", "/anything", Route::Preflight);
        check("OPTIONS", "/v1/messages", Route::Preflight);
        check("GET", "/favicon.ico", Route::NotFound);
    }
}

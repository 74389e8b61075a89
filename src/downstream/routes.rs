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

/// `path` is the request's path without its query.
pub fn route(method: &Method, path: &str) -> Route {
    if method == Method::OPTIONS {
        return Route::Preflight;
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
        check("OPTIONS", "/anything", Route::Preflight);
        check("OPTIONS", "/v1/messages", Route::Preflight);
        check("GET", "/favicon.ico", Route::NotFound);
    }
}

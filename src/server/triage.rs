//! Judges a request by its head: who answers, and for whom. What needs no endpoint is answered here, on the listener's thread.

use std::borrow::Cow;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};

use super::{Server, status};
use crate::api::errors::{error, request_id};
use crate::api::headers::NOSNIFF;
use crate::config::Scope;
use crate::downstream::access::{self, Caller, Cors};
use crate::downstream::browsers;
use crate::downstream::routes::{FORWARDED_METHODS, OWN_METHODS, Route, route};
use crate::downstream::{
    Admission, Head, Host, NO_CLIENT_TOKEN, Refusal, SHUTTING_DOWN, STATUS_ONLY, Triage,
};

impl Server {
    /// See [`crate::downstream::Host::triage`].
    pub(super) fn judge(&self, head: &Head) -> Triage {
        let (config, path) = (self.config(), head.target.path());
        let cors = Cors::of(&config, &head.headers);
        let route = route(&head.method, path);
        let caller = access::caller(&config, &head.headers);
        let request_id = request_id();
        let wants_data = route == Route::Page && status::wants_data(&head.headers);
        let needs_token = wants_data || matches!(route, Route::Forward(_) | Route::Metrics);
        let is_kept_out = match (route, caller) {
            (_, Caller::Stranger) if needs_token => Some(NO_CLIENT_TOKEN),
            (Route::Forward(_), Caller::Client(at)) => {
                (config.clients[at].scope == Scope::Status).then_some(STATUS_ONLY)
            }
            _ => None,
        };
        let refusal = browsers::refusal(&config, head, route)
            .or_else(|| self.refusal(route, path, is_kept_out));
        let mut answer = match refusal {
            Some(refusal) => {
                self.metrics.refused(refusal.cause);
                turned_away(&refusal, route, &request_id)
            }
            None => match route {
                Route::Forward(route) => {
                    let client = caller.client();
                    return Triage::Forward(Admission {
                        config,
                        route,
                        cors,
                        request_id,
                        client,
                    });
                }
                Route::Metrics => status::metrics(&self.view()),
                Route::Page if wants_data => status::data(&self.view(), head.target.query()),
                Route::Health => status::health(&self.view(), caller != Caller::Stranger),
                Route::Preflight => preflight(&cors, &head.headers),
                _ => status::page(),
            },
        };
        if route != Route::Preflight {
            cors.mark(answer.headers_mut(), None);
        }
        self.answered_locally(Some(&head.method), Some(path), &answer, &request_id);
        Triage::Answer(answer)
    }

    /// Why a request gets an error at once, if it does. `is_kept_out`: its caller may not have what it asks for.
    fn refusal(&self, route: Route, path: &str, is_kept_out: Option<Refusal>) -> Option<Refusal> {
        let refusal = |status, cause, message: String| Refusal {
            status,
            cause,
            message: Cow::Owned(message),
        };
        match route {
            Route::Health => None,
            _ if self.is_draining() => Some(SHUTTING_DOWN),
            _ if is_kept_out.is_some() => is_kept_out,
            Route::WrongMethod => Some(refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "wrong method",
                format!("{path} knows GET and HEAD only"),
            )),
            Route::Forbidden => Some(refusal(
                StatusCode::METHOD_NOT_ALLOWED,
                "wrong method",
                "neither TRACE nor CONNECT is known here".to_owned(),
            )),
            Route::DotSegment => Some(refusal(
                StatusCode::BAD_REQUEST,
                "dot segment",
                format!("{path} has a . or .. in it, and would leave the endpoint's base path"),
            )),
            Route::DoubledV1 => Some(refusal(
                StatusCode::NOT_FOUND,
                "unknown path",
                format!(
                    "no such path here: {path}; the client's base URL must not end in /v1, its paths begin with that"
                ),
            )),
            Route::NotFound => Some(refusal(
                StatusCode::NOT_FOUND,
                "unknown path",
                format!("no such path here: {path}; the API is at /v1/"),
            )),
            Route::Forward(_) | Route::Metrics | Route::Page | Route::Preflight => None,
        }
    }
}

fn preflight(cors: &Cors, asked: &HeaderMap) -> Response<Vec<u8>> {
    let mut answer = Response::new(Vec::new());
    *answer.status_mut() = StatusCode::NO_CONTENT;
    *answer.headers_mut() = cors.preflight(asked);
    answer.headers_mut().insert(NOSNIFF.0, NOSNIFF.1);
    answer
}

/// The error for a request that is not served.
fn turned_away(refusal: &Refusal, route: Route, request_id: &str) -> Response<Vec<u8>> {
    let mut answer = error(refusal.status, &refusal.message, request_id);
    let headers = answer.headers_mut();
    // What follows a CONNECT is meant for somebody else.
    if *refusal == SHUTTING_DOWN || route == Route::Forbidden {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if refusal.status == StatusCode::METHOD_NOT_ALLOWED {
        let allowed = if route == Route::WrongMethod {
            OWN_METHODS
        } else {
            FORWARDED_METHODS
        };
        headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
    }
    answer
}

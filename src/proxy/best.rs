//! Which of several failed answers the client gets.

use std::time::Duration;

use http::StatusCode;
use http::header::{self, HeaderName, HeaderValue};

use super::delivery::{Delivery, FailedAnswer};
use super::failover::rank;

/// The SDKs look at it before `retry-after`, in milliseconds.
const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// What is left of the attempts that failed.
#[derive(Default)]
pub struct Best {
    answer: Option<FailedAnswer>,
    attempts: usize,
    /// Endpoints that refused their token.
    refused: Vec<String>,
    last_reason: String,
}

impl Best {
    /// One more attempt has failed; `reason` begins with the endpoint's name.
    pub fn note(&mut self, reason: String, answer: Option<FailedAnswer>) {
        self.attempts += 1;
        self.last_reason = reason;
        let Some(answer) = answer else {
            return;
        };
        if answer.signs.status == StatusCode::UNAUTHORIZED.as_u16() {
            self.refused.push(answer.endpoint);
            return;
        }
        if self
            .answer
            .as_ref()
            .is_none_or(|best| is_better(&answer, best))
        {
            self.answer = Some(answer);
        }
    }

    /// What the client gets. `retry_in`: when the first of all endpoints may be asked again.
    pub fn delivery(self, retry_in: Option<Duration>) -> Delivery {
        if let Some(mut answer) = self.answer {
            set_retry_after(&mut answer, retry_in);
            return Delivery::Failed(answer);
        }
        let message = if !self.refused.is_empty() {
            format!(
                "endpoints refuse the token that is configured for them ({}), and no other one answered; the client's own token is not at fault",
                self.refused.join(", ")
            )
        } else {
            format!(
                "no endpoint gave an answer ({} tried); the last one: {}",
                self.attempts, self.last_reason
            )
        };
        Delivery::error(StatusCode::INTERNAL_SERVER_ERROR, message)
    }
}

/// The more telling one, and among equals the one that asks for the shorter wait.
fn is_better(answer: &FailedAnswer, best: &FailedAnswer) -> bool {
    let (rank, best_rank) = (rank(&answer.signs), rank(&best.signs));
    let wait = |answer: &FailedAnswer| answer.signs.told.map(|told| told.duration);
    rank > best_rank || (rank == best_rank && wait(answer) < wait(best))
}

/// Clients sleep as long as they are told: until the first of all endpoints may be asked again.
fn set_retry_after(answer: &mut FailedAnswer, retry_in: Option<Duration>) {
    let headers = &mut answer.parts.headers;
    let had =
        headers.remove(header::RETRY_AFTER).is_some() | headers.remove(RETRY_AFTER_MS).is_some();
    let wait = retry_in.filter(|wait| !wait.is_zero());
    let asks_for_patience = had || answer.parts.status == StatusCode::TOO_MANY_REQUESTS;
    if let Some(wait) = wait.filter(|_| asks_for_patience) {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
}

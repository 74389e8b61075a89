//! The account behind a token is at its end: nothing that is sent with it will be answered until somebody pays, or a date has come.
//!
//! The API says so with different statuses and words, and so do others that speak it. One row a phrase; what is not in the table is the
//! request's own fault.

use std::time::SystemTime;

use serde_json::Value;

use super::error_body::{self, MAX_LOOK};

/// An account at its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exhausted {
    /// The row that told.
    pub cause: &'static str,
    /// When it will be better, where the answer says so.
    pub until: Option<SystemTime>,
}

/// Words of an error's message, in lower case, and where they were seen.
const PHRASES: [&str; 10] = [
    // api.anthropic.com, 400 invalid_request_error: "Your credit balance is too low to access the Anthropic API. Please go to Plans &
    // Billing to upgrade or purchase credits."
    "credit balance is too low",
    // api.anthropic.com, 400 and 403: "This organization has been disabled."
    "organization has been disabled",
    // The same of an account, with OAuth: "Your account has been disabled after an automatic review of your recent activities."
    "account has been disabled",
    // api.anthropic.com, 400: "You have reached your specified API usage limits. You will regain access on 2026-04-01 at 00:00 UTC."
    "reached your specified api usage limits",
    "reached your api usage limits",
    // api.anthropic.com, 403: "Identity verification is required to continue using the API."
    "identity verification is required",
    // api.anthropic.com, 403 permission_error: "OAuth authentication is currently not allowed for this organization."
    "not allowed for this organization",
    // api.deepseek.com ("Insufficient Balance", 402 mostly), api.minimax.io, and api.z.ai: 429, type 1113: "Insufficient balance or no
    // resource package. Please recharge."
    "insufficient balance",
    "insufficient_balance",
    // The same in Chinese: open.bigmodel.cn.
    "余额不足",
];

/// Types and codes of an error, and where they were seen.
const TYPES: [&str; 4] = [
    // api.z.ai, open.bigmodel.cn.
    "1113",
    // api.moonshot.ai: "Your account ... is suspended, please check your plan and billing details".
    "exceeded_current_quota_error",
    // api.anthropic.com, with 402.
    "billing_error",
    "INSUFFICIENT_BALANCE",
];

/// A phrase counts where it begins the message: further behind, the message may repeat the client's own words.
const MAX_BEFORE: usize = 60;

/// Whether an answer says that the account is at its end. `body`: its beginning, of which 8 KiB are looked at; `now`: to tell a date that
/// has come from one that has not.
pub fn exhausted(status: u16, body: &[u8], now: SystemTime) -> Option<Exhausted> {
    if !matches!(status, 400 | 402 | 403 | 429) {
        return None;
    }
    let body = &body[..body.len().min(MAX_LOOK)];
    let found = error_body::parse(body).and_then(|error| {
        let message = error.message.unwrap_or_default();
        let cause = of_type(&error.kind)
            .or_else(|| of_type(&error.code))
            .or_else(|| of_message(&message))?;
        let until = regain(&message).filter(|until| *until > now);
        Some(Exhausted { cause, until })
    });
    let payment_required = || Exhausted {
        cause: "payment required",
        until: None,
    };
    found.or_else(|| (status == 402).then(payment_required))
}

fn of_type(kind: &Value) -> Option<&'static str> {
    let found = match kind {
        Value::String(kind) => TYPES.iter().find(|known| known.eq_ignore_ascii_case(kind)),
        Value::Number(kind) => TYPES.iter().find(|known| **known == kind.to_string()),
        _ => None,
    };
    found.copied()
}

fn of_message(message: &str) -> Option<&'static str> {
    let message = message.to_lowercase();
    PHRASES.into_iter().find(|phrase| {
        message.find(phrase).is_some_and(|at| {
            let (before, after) = (&message[..at], &message[at + phrase.len()..]);
            // `FIELD: what is wrong with it` names what the client called a field.
            before.len() <= MAX_BEFORE
                && !before.contains(['"', '`', '\'', '\n'])
                && !after.starts_with(':')
        })
    })
}

/// "You will regain access on 2026-04-01 at 00:00 UTC."
fn regain(message: &str) -> Option<SystemTime> {
    let message = message.to_lowercase();
    let (_, rest) = message.split_once("regain access on ")?;
    let date = rest.get(..10)?;
    let time = rest
        .get(10..)
        .and_then(|rest| rest.strip_prefix(" at "))
        .and_then(|rest| rest.get(..5))
        .unwrap_or("00:00");
    humantime::parse_rfc3339_weak(&format!("{date} {time}:00")).ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    fn of(status: u16, body: &str) -> Option<&'static str> {
        exhausted(status, body.as_bytes(), UNIX_EPOCH).map(|found| found.cause)
    }

    fn error(kind: &str, message: &str) -> String {
        serde_json::json!({"type": "error", "error": {"type": kind, "message": message}})
            .to_string()
    }

    #[test]
    fn accounts_at_their_end() {
        let low = "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing to upgrade or purchase credits.";
        for (status, kind, message, cause) in [
            (400, "invalid_request_error", low, PHRASES[0]),
            (
                400,
                "invalid_request_error",
                "This organization has been disabled.",
                PHRASES[1],
            ),
            (
                403,
                "permission_error",
                "Your account has been disabled.",
                PHRASES[2],
            ),
            (
                400,
                "x",
                "You have reached your specified API usage limits. You will regain access on 2026-04-01 at 00:00 UTC.",
                PHRASES[3],
            ),
            (
                400,
                "x",
                "You have reached your API usage limits.",
                PHRASES[4],
            ),
            (
                403,
                "x",
                "Identity verification is required to go on.",
                PHRASES[5],
            ),
            (
                403,
                "permission_error",
                "OAuth authentication is currently not allowed for this organization.",
                PHRASES[6],
            ),
            (
                429,
                "x",
                "Insufficient balance or no resource package. Please recharge.",
                PHRASES[7],
            ),
            (429, "1113", "anything", "1113"),
            (
                429,
                "exceeded_current_quota_error",
                "anything",
                "exceeded_current_quota_error",
            ),
            (402, "billing_error", "anything", "billing_error"),
            (403, "x", "账户余额不足,请充值", "余额不足"),
        ] {
            assert_eq!(of(status, &error(kind, message)), Some(cause), "{message}");
        }
        assert_eq!(of(402, "<html>"), Some("payment required"));
        assert_eq!(
            of(429, r#"{"error":{"code":1113,"message":"x"}}"#),
            Some("1113")
        );
        assert_eq!(
            of(429, r#"{"code":"INSUFFICIENT_BALANCE","message":"x"}"#),
            Some("INSUFFICIENT_BALANCE")
        );
    }

    #[test]
    fn what_is_the_requests_own_fault() {
        for (status, message) in [
            (400, "prompt is too long: 210000 tokens > 200000 maximum"),
            (
                400,
                "messages.1.content.0: Invalid `signature` in `thinking` block",
            ),
            (400, "credit_score: extra field"),
            (
                400,
                "messages.0.content: unknown value \"your credit balance is too low\"",
            ),
            (
                400,
                "credit balance is too low: Extra inputs are not permitted",
            ),
            (403, "Request not allowed"),
            (
                429,
                "This request would exceed your organization's rate limit",
            ),
            (
                500,
                "Your credit balance is too low to access the Anthropic API.",
            ),
        ] {
            assert_eq!(
                of(status, &error("invalid_request_error", message)),
                None,
                "{message}"
            );
        }
        assert_eq!(of(400, "Your credit balance is too low"), None, "no JSON");
        assert_eq!(of(400, ""), None);
    }

    #[test]
    fn until_when() {
        let body = error(
            "x",
            "You have reached your specified API usage limits. You will regain access on 2026-04-01 at 00:30 UTC.",
        );
        let found = exhausted(400, body.as_bytes(), UNIX_EPOCH).expect("at its end");
        let expected = humantime::parse_rfc3339("2026-04-01T00:30:00Z").expect("a date");
        assert_eq!(found.until, Some(expected));
        let later = expected + Duration::from_secs(1);
        let found = exhausted(400, body.as_bytes(), later).expect("at its end");
        assert_eq!(found.until, None, "it has come");
    }
}

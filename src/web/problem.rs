//! Errors over HTTP: problem details, and which status goes with which error code.
//!
//! Owns: the form of an error. Must never know: why there is one.
//! Source: RFC 9457.

use serde::Serialize;

use crate::{
    net::http::{Response, reason},
    protocol::ErrorCode,
};

/// A problem of the generic type: its title is the status' own phrase (RFC 9457 section 4.2.1).
#[derive(Serialize)]
struct Problem<'a> {
    r#type: &'static str,
    title: &'static str,
    status: u16,
    detail: &'a str,
    /// An extension: what a program can tell apart, the same as in the `error` event.
    code: &'a str,
    #[serde(rename = "retryAfterMs", skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

/// An error with a code of its own.
#[must_use]
pub fn problem(status: u16, code: &str, detail: &str) -> Response {
    encode(status, code, detail, None)
}

/// An error of the protocol.
#[must_use]
pub fn refused(code: ErrorCode, detail: &str, retry_after_ms: Option<u64>) -> Response {
    encode(status(code), code.as_str(), detail, retry_after_ms)
}

/// The answer to who has to wait.
#[must_use]
pub fn too_many(detail: &str, retry_after_ms: u64) -> Response {
    refused(ErrorCode::RateLimited, detail, Some(retry_after_ms))
}

/// The answer to a request that needs a token, or a better one (RFC 6750 section 3).
#[must_use]
pub fn unauthorized(detail: &str) -> Response {
    problem(401, "bad_token", detail).header("WWW-Authenticate", "Bearer")
}

fn encode(status: u16, code: &str, detail: &str, retry_after_ms: Option<u64>) -> Response {
    let title = reason(status);
    let problem = Problem { r#type: "about:blank", title, status, detail, code, retry_after_ms };
    let body = serde_json::to_vec(&problem).expect("a problem is plain data");
    let mut response = Response::new(status)
        .header("Content-Type", "application/problem+json")
        .header("Cache-Control", "no-store")
        .body(body);
    if let Some(retry_after_ms) = retry_after_ms {
        response = response.header("Retry-After", retry_after_ms.div_ceil(1_000).to_string());
    }
    response
}

fn status(code: ErrorCode) -> u16 {
    match code {
        ErrorCode::BadRequest | ErrorCode::UnknownType | ErrorCode::BadSession => 400,
        ErrorCode::BadToken => 401,
        ErrorCode::NotSubscribed | ErrorCode::Forbidden | ErrorCode::Banned => 403,
        ErrorCode::NoSuchUser | ErrorCode::NoSuchMessage => 404,
        ErrorCode::NameTaken | ErrorCode::NonceConflict => 409,
        ErrorCode::BadRoom | ErrorCode::BadName | ErrorCode::Empty | ErrorCode::TooLong | ErrorCode::TooManyRooms => {
            422
        }
        ErrorCode::RateLimited => 429,
        ErrorCode::StorageUnavailable => 503,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_has_the_fields_of_its_standard_and_a_code() {
        let response = refused(ErrorCode::RateLimited, "Slow down", Some(1_001));
        assert_eq!(response.status(), 429);
        let text = String::from_utf8(response.encoded()).expect("text");
        assert!(
            text.contains("Content-Type: application/problem+json\r\n") && text.contains("Retry-After: 2\r\n"),
            "{text}"
        );
        let body: serde_json::Value =
            serde_json::from_str(text.split("\r\n\r\n").nth(1).expect("a body")).expect("JSON");
        let fields = serde_json::json!({"type": "about:blank", "title": "Too Many Requests", "status": 429,
            "detail": "Slow down", "code": "rate_limited", "retryAfterMs": 1001});
        assert_eq!(body, fields);
    }
}

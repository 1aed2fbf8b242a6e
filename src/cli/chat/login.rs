//! From a password to a token, and the server's list of rooms: what is asked over HTTP.
//!
//! Owns: these two requests. Must never know: the conversation.

use std::net::SocketAddr;

use serde::Deserialize;
use serde_json::json;

use super::super::http::{self, Answer, Ask};

/// Why there is no token.
#[derive(Debug)]
pub(super) enum LoginError {
    /// No address answered.
    Unreachable(String),
    /// The server does not want this login.
    Refused(String),
}

#[derive(Deserialize)]
struct Login {
    token: String,
}

/// A room, as the server lists it.
#[derive(Debug, Deserialize)]
pub(super) struct Listed {
    pub room: String,
    pub members: u64,
}

/// Asks each address in turn until one answers.
fn ask(addresses: &[SocketAddr], ask: &Ask<'_>) -> Result<Answer, String> {
    let mut failure = "it has no address".to_owned();
    for address in addresses {
        match http::exchange(address, ask) {
            Ok(answer) => return Ok(answer),
            Err(why) => failure = format!("{address}: {why}"),
        }
    }
    Err(failure)
}

/// Logs in to an account.
pub(super) fn log_in(addresses: &[SocketAddr], host: &str, user: &str, password: &str) -> Result<String, LoginError> {
    let body = json!({"user": user, "password": password});
    let login = Ask { method: "POST", path: "/api/sessions", host, token: None, body: Some(&body) };
    let answer = ask(addresses, &login).map_err(LoginError::Unreachable)?;
    let body = answer.good().map_err(LoginError::Refused)?;
    let login: Login = serde_json::from_slice(&body)
        .map_err(|error| LoginError::Refused(format!("the server's answer cannot be read: {error}")))?;
    Ok(login.token)
}

/// Gives a login back: an account has a bounded number of them, and a script may run often.
pub(super) fn log_out(addresses: &[SocketAddr], host: &str, token: &str) -> Result<(), String> {
    let logout = Ask { method: "DELETE", path: "/api/sessions", host, token: Some(token), body: None };
    ask(addresses, &logout)?.good().map(drop)
}

/// The first page of the server's rooms.
pub(super) fn rooms(addresses: &[SocketAddr], host: &str, token: Option<&str>) -> Result<Vec<Listed>, String> {
    let answer = ask(addresses, &Ask { method: "GET", path: "/api/rooms", host, token, body: None })?;
    serde_json::from_slice(&answer.good()?).map_err(|error| format!("the list of rooms cannot be read: {error}"))
}

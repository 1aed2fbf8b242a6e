//! The REST interface: requests → calls.
//!
//! Owns: paths, methods, parameters and bodies, and what is wrong with them. Must never know: what a call leads to.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::{
    cors::Cors,
    problem::{problem, refused},
};
use crate::{
    net::http::{Request, Response},
    protocol::{HistoryRange, check_nonce},
};

/// What is asked for.
#[derive(Clone, PartialEq, Eq)]
pub enum Call {
    /// Make an account.
    Register {
        /// Its name.
        user: String,
        /// Its password.
        password: String,
        /// What it may do; only for those who may say so.
        role: Option<String>,
        /// The session of the guest who has that name now.
        session: Option<String>,
    },
    /// Get a token.
    LogIn {
        /// The account's name.
        user: String,
        /// Its password.
        password: String,
    },
    /// Give the token back.
    LogOut,
    /// Set the own password.
    ChangePassword {
        /// The one so far.
        password: String,
        /// The next one.
        new_password: String,
    },
    /// All rooms, a page of them.
    Rooms {
        /// Only those behind this name.
        after: Option<String>,
        /// So many at the most.
        limit: Option<u64>,
    },
    /// A part of a room's log.
    Read {
        /// The room.
        room: String,
        /// Which part.
        range: HistoryRange,
    },
    /// Say something in a room.
    Post {
        /// The room.
        room: String,
        /// The text.
        content: String,
        /// Makes it idempotent.
        nonce: Option<String>,
    },
    /// Be told what is said in a room.
    Listen {
        /// The room.
        room: String,
        /// The last sequence that the reader has.
        since: Option<u64>,
        /// Its epoch.
        epoch: Option<String>,
    },
    /// The rooms that the account keeps.
    OwnRooms,
    /// Keep a room.
    KeepRoom {
        /// Which.
        room: String,
    },
    /// Keep a room no longer.
    DropRoom {
        /// Which.
        room: String,
    },
    /// All accounts; for administrators.
    Accounts,
    /// Set an account's password or role; for administrators.
    ChangeAccount {
        /// Whose.
        user: String,
        /// The password.
        password: Option<String>,
        /// The role.
        role: Option<String>,
    },
    /// Remove an account; for administrators.
    RemoveAccount {
        /// Which.
        user: String,
    },
    /// All bans; for administrators.
    Bans,
    /// Lift a ban; for administrators.
    Unban {
        /// A name, or an address.
        whom: String,
    },
}

/// A call, and what else its request says.
pub struct Asked {
    /// What is asked for.
    pub call: Call,
    /// The token of its `Authorization`.
    pub token: Option<String>,
    /// Whose script asks.
    pub cors: Cors,
    /// The validators that the client has.
    pub known: Vec<String>,
    /// Only the head is asked for.
    pub is_head: bool,
}

/// The answer to a call that cannot be made.
type Wrong = Response;

/// Reads a request below `/api`.
pub(super) fn read(request: &Request, cors: &Cors) -> Result<Asked, Wrong> {
    let raw: Vec<&str> = request.path().split('/').skip(2).collect();
    let decoded: Result<Vec<String>, Wrong> = raw.iter().map(|segment| decode(segment)).collect();
    let path: Vec<String> = decoded?;
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let methods = methods(&path).ok_or_else(|| problem(404, "not_found", "There is nothing at this path"))?;
    if request.method() == "OPTIONS" {
        return Err(cors.options(methods, request));
    }
    let is_head = request.method() == "HEAD";
    let method = if is_head { "GET" } else { request.method() };
    if !methods.split(", ").any(|allowed| allowed == method) {
        let detail = format!("This path takes {methods}");
        return Err(problem(405, "method_not_allowed", &detail).header("Allow", methods));
    }
    let known = request.header_list("If-None-Match").map(|tag| tag.strip_prefix("W/").unwrap_or(tag).to_owned());
    let (token, known) = (bearer(request).map(str::to_owned), known.collect());
    Ok(Asked { call: call(method, &path, request)?, token, cors: cors.clone(), known, is_head })
}

/// What a path takes; `None` if there is no such path.
fn methods(path: &[&str]) -> Option<&'static str> {
    Some(match path {
        ["accounts"] => "GET, HEAD, POST, OPTIONS",
        ["accounts", _] => "PATCH, DELETE, OPTIONS",
        ["sessions"] => "POST, DELETE, OPTIONS",
        ["rooms"] | ["rooms", _, "events"] | ["me", "rooms"] | ["bans"] => "GET, HEAD, OPTIONS",
        ["rooms", _, "messages"] => "GET, HEAD, POST, OPTIONS",
        ["me", "rooms", _] => "PUT, DELETE, OPTIONS",
        ["me", "password"] => "PUT, OPTIONS",
        ["bans", _] => "DELETE, OPTIONS",
        _ => return None,
    })
}

fn call(method: &str, path: &[&str], request: &Request) -> Result<Call, Wrong> {
    let query = Query::parse(request.query());
    Ok(match (method, path) {
        ("POST", ["accounts"]) => {
            let Credentials { user, password, role, session } = body(request)?;
            Call::Register { user, password, role, session }
        }
        ("GET", ["accounts"]) => Call::Accounts,
        ("PATCH", ["accounts", user]) => {
            let AccountPatch { password, role } = body(request)?;
            Call::ChangeAccount { user: (*user).to_owned(), password, role }
        }
        (_, ["accounts", user]) => Call::RemoveAccount { user: (*user).to_owned() },
        ("POST", ["sessions"]) => {
            let Credentials { user, password, .. } = body(request)?;
            Call::LogIn { user, password }
        }
        (_, ["sessions"]) => Call::LogOut,
        (_, ["me", "password"]) => {
            let Passwords { password, new_password } = body(request)?;
            Call::ChangePassword { password, new_password }
        }
        (_, ["rooms"]) => Call::Rooms { after: query.text("after"), limit: query.number("limit")? },
        ("POST", ["rooms", room, _]) => {
            let Draft { content, nonce } = body(request)?;
            let checked = nonce.as_deref().map_or(Ok(()), check_nonce);
            checked.map_err(|(code, message)| refused(code, &message, None))?;
            Call::Post { room: (*room).to_owned(), content, nonce }
        }
        (_, ["rooms", room, "messages"]) => {
            let (since, before, limit) = (query.number("since")?, query.number("before")?, query.number("limit")?);
            Call::Read { room: (*room).to_owned(), range: HistoryRange::new(since, before, limit) }
        }
        (_, ["rooms", room, _]) => {
            let (since, epoch) = position(request, &query)?;
            Call::Listen { room: (*room).to_owned(), since, epoch }
        }
        (_, ["me", _]) => Call::OwnRooms,
        ("PUT", ["me", _, room]) => Call::KeepRoom { room: (*room).to_owned() },
        (_, ["me", _, room]) => Call::DropRoom { room: (*room).to_owned() },
        (_, ["bans", whom]) => Call::Unban { whom: (*whom).to_owned() },
        _ => Call::Bans,
    })
}

/// Where an event stream is to go on: what the browser's own `EventSource` sends goes before what the URL says.
fn position(request: &Request, query: &Query) -> Result<(Option<u64>, Option<String>), Wrong> {
    let Some(last) = request.header("Last-Event-ID").filter(|last| !last.is_empty()) else {
        return Ok((query.number("since")?, query.text("epoch")));
    };
    let wrong = || problem(400, "bad_request", "Last-Event-ID is epoch:sequence");
    let (epoch, sequence) = last.split_once(':').ok_or_else(wrong)?;
    Ok((Some(sequence.parse().map_err(|_| wrong())?), Some(epoch.to_owned())))
}

/// The token of `Authorization: Bearer` (RFC 6750 section 2.1).
pub(super) fn bearer(request: &Request) -> Option<&str> {
    let (scheme, token) = request.header("Authorization")?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("Bearer").then(|| token.trim())
}

fn decode(segment: &str) -> Result<String, Wrong> {
    let decoded = percent_decode_str(segment).decode_utf8().map(Cow::into_owned);
    decoded.map_err(|_| problem(400, "bad_request", "The path is not UTF-8"))
}

#[derive(Deserialize)]
struct Credentials {
    user: String,
    password: String,
    role: Option<String>,
    session: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Passwords {
    password: String,
    new_password: String,
}

#[derive(Deserialize)]
struct AccountPatch {
    password: Option<String>,
    role: Option<String>,
}

#[derive(Deserialize)]
struct Draft {
    content: String,
    nonce: Option<String>,
}

/// Reads a JSON body. That it has to be declared as one is also what makes browsers ask before a foreign page sends it.
fn body<'a, T: Deserialize<'a>>(request: &'a Request) -> Result<T, Wrong> {
    let kind = request.header("Content-Type").and_then(|kind| kind.split(';').next()).unwrap_or_default();
    if !kind.trim().eq_ignore_ascii_case("application/json") {
        return Err(problem(415, "unsupported_media_type", "The body has to be application/json"));
    }
    serde_json::from_slice(request.body()).map_err(|error| {
        // Without the text of the error: it may quote a part of the body, which may be a password.
        let what = if error.is_data() {
            "The body lacks a field, or has one of the wrong type"
        } else {
            "The body is not JSON"
        };
        problem(400, "bad_request", what)
    })
}

/// The parameters of a URL.
struct Query<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Query<'a> {
    fn parse(query: &'a str) -> Self {
        Self { pairs: form_urlencoded::parse(query.as_bytes()).collect() }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(found, _)| found == name).map(|(_, value)| &**value)
    }

    fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(str::to_owned)
    }

    fn number(&self, name: &str) -> Result<Option<u64>, Wrong> {
        let number = self.get(name).map(str::parse::<u64>).transpose();
        number.map_err(|_| problem(400, "bad_request", &format!("{name} is a number")))
    }
}

#[cfg(test)]
mod tests;

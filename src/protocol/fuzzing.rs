//! What a fuzzer calls of the protocol: any text frame.
//!
//! Owns: the promises about commands. Must never know: whether a command is allowed.

use super::{Command, ErrorCode, HistoryRange, Request, parse};
use crate::limits;

/// A text frame: it is a command or an error in one line, and a command comes through encoded again, its fields at the top
/// or in `data`.
///
/// # Panics
/// If a promise is broken.
pub fn commands(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match parse(&text) {
        Ok(request) => {
            check_id(request.id);
            let said = format!("{request:?}");
            for in_data in [false, true] {
                let again = encode(&request, in_data);
                match parse(&again) {
                    Ok(request) => assert_eq!(format!("{request:?}"), said, "{again}"),
                    Err(bad) => panic!("{bad:?}: {again}"),
                }
            }
        }
        Err(bad) => {
            check_id(bad.id);
            assert!(matches!(bad.code, ErrorCode::BadRequest | ErrorCode::UnknownType | ErrorCode::TooLong));
            assert!(!bad.message.is_empty() && bad.message.len() < 300, "{}", bad.message);
            assert!(!bad.message.contains('\n'), "one line: {:?}", bad.message);
        }
    }
}

fn check_id(id: Option<&str>) {
    let Some(id) = id else { return };
    assert!(id.len() <= limits::COMMAND_ID_BYTES_MAX + 2, "{id}");
    let value: serde_json::Value = serde_json::from_str(id).expect("an id is JSON");
    assert!(value.is_string() || value.is_number(), "{id}");
}

/// The fields of a command, as JSON.
#[derive(Default)]
struct Fields(Vec<(&'static str, String)>);

impl Fields {
    fn text(self, name: &'static str, value: &str) -> Self {
        self.optional(name, Some(value))
    }

    fn optional(self, name: &'static str, value: Option<&str>) -> Self {
        self.raw(name, value.map(|value| serde_json::Value::from(value).to_string()))
    }

    fn raw(mut self, name: &'static str, value: Option<impl ToString>) -> Self {
        self.0.extend(value.map(|value| (name, value.to_string())));
        self
    }
}

/// A command as a client would write it.
fn encode(request: &Request<'_>, in_data: bool) -> String {
    let (kind, fields) = fields(&request.command);
    let fields = fields.0.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect::<Vec<_>>().join(",");
    let id = request.id.map(|id| format!(",\"id\":{id}")).unwrap_or_default();
    match (fields.is_empty(), in_data) {
        (true, _) => format!("{{\"type\":\"{kind}\"{id}}}"),
        (false, true) => format!("{{\"type\":\"{kind}\",\"data\":{{{fields}}}{id}}}"),
        (false, false) => format!("{{\"type\":\"{kind}\"{id},{fields}}}"),
    }
}

fn fields(command: &Command<'_>) -> (&'static str, Fields) {
    let f = Fields::default();
    match command {
        Command::Hello { user, token, session } => {
            let f = f.optional("user", user.as_deref()).optional("token", token.as_deref());
            ("hello", f.optional("session", session.as_deref()))
        }
        Command::Join { room, since, epoch, username } => {
            let f = f.optional("room", room.as_deref()).raw("since", *since).optional("epoch", epoch.as_deref());
            ("join", f.optional("username", username.as_deref()))
        }
        Command::Leave { room } => ("leave", f.text("room", room)),
        Command::Message { room, content, nonce } => {
            ("message", f.text("room", room).text("content", content).optional("nonce", nonce.as_deref()))
        }
        Command::Presence { room } => ("presence", f.text("room", room)),
        Command::Status { away } => ("status", f.text("status", if *away { "away" } else { "online" })),
        Command::Edit { room, sequence, content, nonce } => {
            let f = f.text("room", room).raw("sequence", Some(sequence)).text("content", content);
            ("edit", f.optional("nonce", nonce.as_deref()))
        }
        Command::Delete { room, sequence } => ("delete", f.text("room", room).raw("sequence", Some(sequence))),
        Command::Kick { user, reason } => ("kick", f.text("user", user).optional("reason", reason.as_deref())),
        Command::Ban { user, with_address, duration_ms, reason } => {
            let f = f.text("user", user).raw("address", Some(with_address)).raw("durationMs", *duration_ms);
            ("ban", f.optional("reason", reason.as_deref()))
        }
        Command::Unban { user } => ("unban", f.text("user", user)),
        Command::History { room, range } => ("history", history(f.text("room", room), *range)),
        Command::Typing { room, is_typing } => ("typing", f.text("room", room).raw("isTyping", Some(is_typing))),
        Command::Private { to, content, nonce } => {
            ("private", f.text("to", to).text("content", content).optional("nonce", nonce.as_deref()))
        }
        Command::Ping { timestamp } => ("ping", f.raw("timestamp", *timestamp)),
        Command::Heartbeat => ("heartbeat", f),
    }
}

fn history(f: Fields, range: HistoryRange) -> Fields {
    match range {
        HistoryRange::Since { since, limit } => f.raw("since", Some(since)).raw("limit", Some(limit)),
        HistoryRange::Before { before, since, limit } => {
            f.raw("before", Some(before)).raw("since", Some(since)).raw("limit", Some(limit))
        }
    }
}

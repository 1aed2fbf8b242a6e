//! Commands: what a client may say, parsed from one text frame without an intermediate tree.
//!
//! Owns: the shape of commands and which fields each needs. Must never know: whether a command is allowed.

use std::{borrow::Cow, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use serde_json::value::RawValue;

use super::ErrorCode;
use crate::limits;

/// The `id` of a command as the client wrote it: the JSON text of a string or a number.
pub type CommandId<'a> = &'a str;

/// One parsed frame.
#[derive(Debug)]
pub struct Request<'a> {
    /// Present if the command is to be answered by an `ack` or an `error`.
    pub id: Option<CommandId<'a>>,
    /// What is asked.
    pub command: Command<'a>,
}

/// What a client may ask.
#[derive(Debug)]
pub enum Command<'a> {
    /// Set or change who this connection is.
    Hello {
        /// The wanted name.
        user: Option<Cow<'a, str>>,
        /// An account's token.
        token: Option<Cow<'a, str>>,
        /// A session to resume.
        session: Option<Cow<'a, str>>,
    },
    /// Subscribe to a room.
    Join {
        /// The room; the default room if absent.
        room: Option<Cow<'a, str>>,
        /// The last sequence the client has.
        since: Option<u64>,
        /// The epoch that sequence belongs to.
        epoch: Option<Cow<'a, str>>,
        /// Acts as `hello` first.
        username: Option<Cow<'a, str>>,
    },
    /// Unsubscribe from a room.
    Leave {
        /// The room.
        room: Cow<'a, str>,
    },
    /// Append to a room.
    Message {
        /// The room.
        room: Cow<'a, str>,
        /// The text.
        content: Cow<'a, str>,
        /// Makes the send idempotent.
        nonce: Option<Cow<'a, str>>,
    },
    /// Ask for a room's members.
    Presence {
        /// The room.
        room: Cow<'a, str>,
    },
    /// Set the own status.
    Status {
        /// True for `away`, false for `online`.
        away: bool,
    },
    /// Give a message another text.
    Edit {
        /// The room.
        room: Cow<'a, str>,
        /// The message's number.
        sequence: u64,
        /// The text it is to have.
        content: Cow<'a, str>,
        /// Makes the change idempotent.
        nonce: Option<Cow<'a, str>>,
    },
    /// Take a message's text away.
    Delete {
        /// The room.
        room: Cow<'a, str>,
        /// The message's number.
        sequence: u64,
    },
    /// Close a user's connections.
    Kick {
        /// Whose.
        user: Cow<'a, str>,
        /// For the user to read.
        reason: Option<Cow<'a, str>>,
    },
    /// Keep a user out.
    Ban {
        /// Whom.
        user: Cow<'a, str>,
        /// Also whoever comes from where this user is connected from now.
        with_address: bool,
        /// For how long, in milliseconds; for ever if absent.
        duration_ms: Option<u64>,
        /// For the user to read.
        reason: Option<Cow<'a, str>>,
    },
    /// Let a user, or an address, in again.
    Unban {
        /// A name, or an address.
        user: Cow<'a, str>,
    },
    /// Read a room's log.
    History {
        /// The room.
        room: Cow<'a, str>,
        /// Which part.
        range: HistoryRange,
    },
    /// Tell a room that one is typing, or no longer.
    Typing {
        /// The room.
        room: Cow<'a, str>,
        /// Whether typing goes on.
        is_typing: bool,
    },
    /// A message to one user.
    Private {
        /// The recipient's name.
        to: Cow<'a, str>,
        /// The text.
        content: Cow<'a, str>,
        /// Given back with the message.
        nonce: Option<Cow<'a, str>>,
    },
    /// Measure latency.
    Ping {
        /// Any JSON value, given back as it is.
        timestamp: Option<&'a RawValue>,
    },
    /// Keep the connection alive.
    Heartbeat,
}

/// A part of a log, bounds exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HistoryRange {
    /// Ascending from after a sequence.
    Since {
        /// The sequence.
        since: u64,
        /// Most messages wanted.
        limit: u64,
    },
    /// The messages that end just before a sequence, ascending too.
    Before {
        /// The sequence.
        before: u64,
        /// Messages at or below this sequence are not wanted either.
        since: u64,
        /// Most messages wanted.
        limit: u64,
    },
}

impl HistoryRange {
    /// The part that these bounds mean, each of which may be left out; the limit is moved into its range.
    #[must_use]
    pub fn new(since: Option<u64>, before: Option<u64>, limit: Option<u64>) -> Self {
        let limit = limit.unwrap_or(limits::HISTORY_LIMIT_DEFAULT).clamp(1, limits::HISTORY_LIMIT_MAX);
        let since = since.unwrap_or(0);
        match before {
            Some(before) => Self::Before { before, since, limit },
            None => Self::Since { since, limit },
        }
    }
}

/// A frame that is no command; the connection lives on.
#[derive(Debug, PartialEq)]
pub struct BadCommand<'a> {
    /// The `id`, if the frame had one that could be read.
    pub id: Option<CommandId<'a>>,
    /// [`ErrorCode::BadRequest`], [`ErrorCode::UnknownType`] or [`ErrorCode::TooLong`].
    pub code: ErrorCode,
    /// One sentence for a person.
    pub message: String,
}

/// A string that borrows from the frame unless it holds escapes. (`Option<Cow<str>>` would always copy.)
#[derive(Debug, Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// Every field a frame may have. All but `type` and `id` may also stand in `data`, which has the same form.
#[derive(Debug, Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Fields<'a> {
    #[serde(borrow)]
    r#type: Option<Text<'a>>,
    id: Option<&'a RawValue>,
    room: Option<Text<'a>>,
    content: Option<Text<'a>>,
    nonce: Option<Text<'a>>,
    user: Option<Text<'a>>,
    username: Option<Text<'a>>,
    token: Option<Text<'a>>,
    session: Option<Text<'a>>,
    epoch: Option<Text<'a>>,
    status: Option<Text<'a>>,
    to: Option<Text<'a>>,
    since: Option<u64>,
    before: Option<u64>,
    limit: Option<u64>,
    sequence: Option<u64>,
    reason: Option<Text<'a>>,
    address: Option<bool>,
    duration_ms: Option<u64>,
    is_typing: Option<bool>,
    timestamp: Option<&'a RawValue>,
    data: Option<Box<Object<Fields<'a>>>>,
}

impl Fields<'_> {
    /// Fills what is missing at the top level from `data`.
    fn flatten(&mut self) {
        let Some(inner) = self.data.take().map(|data| data.0) else { return };
        fill(&mut self.room, inner.room);
        fill(&mut self.content, inner.content);
        fill(&mut self.nonce, inner.nonce);
        fill(&mut self.user, inner.user);
        fill(&mut self.username, inner.username);
        fill(&mut self.token, inner.token);
        fill(&mut self.session, inner.session);
        fill(&mut self.epoch, inner.epoch);
        fill(&mut self.status, inner.status);
        fill(&mut self.to, inner.to);
        fill(&mut self.since, inner.since);
        fill(&mut self.before, inner.before);
        fill(&mut self.limit, inner.limit);
        fill(&mut self.sequence, inner.sequence);
        fill(&mut self.reason, inner.reason);
        fill(&mut self.address, inner.address);
        fill(&mut self.duration_ms, inner.duration_ms);
        fill(&mut self.is_typing, inner.is_typing);
        fill(&mut self.timestamp, inner.timestamp);
    }
}

fn fill<T>(place: &mut Option<T>, value: Option<T>) {
    if place.is_none() {
        *place = value;
    }
}

/// A JSON object and nothing else. (By itself, a derived struct also takes an array of its fields.)
#[derive(Debug)]
struct Object<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ObjectVisitor<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for ObjectVisitor<T> {
            type Value = Object<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(map)).map(Object)
            }
        }

        deserializer.deserialize_map(ObjectVisitor(PhantomData))
    }
}

/// What is still read of a frame that [`Fields`] refused, so that the error can carry the command's `id`.
#[derive(Deserialize)]
struct OnlyId<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
}

/// Parses one text frame.
///
/// # Errors
/// [`BadCommand`] says what to answer; nothing a peer sends is worth closing the connection here.
pub fn parse(text: &str) -> Result<Request<'_>, BadCommand<'_>> {
    let Object(mut fields): Object<Fields<'_>> = serde_json::from_str(text).map_err(|error| {
        let raw = serde_json::from_str::<Object<OnlyId<'_>>>(text).ok().and_then(|only| only.0.id);
        let id = raw.and_then(|raw| checked_id(raw).ok());
        BadCommand { id, code: ErrorCode::BadRequest, message: describe(&error) }
    })?;
    let id = fields.id.map(checked_id).transpose();
    let id = id.map_err(|(code, message)| BadCommand { id: None, code, message: message.into() })?;
    fields.flatten();
    match command(fields) {
        Ok(command) => Ok(Request { id, command }),
        Err((code, message)) => Err(BadCommand { id, code, message }),
    }
}

fn command(fields: Fields<'_>) -> Result<Command<'_>, (ErrorCode, String)> {
    let kind = required(fields.r#type, "type")?;
    Ok(match kind.as_ref() {
        "message" => Command::Message {
            room: required(fields.room, "room")?,
            content: required(fields.content, "content")?,
            nonce: checked_nonce(fields.nonce)?,
        },
        "join" => Command::Join {
            room: text(fields.room),
            since: fields.since,
            epoch: text(fields.epoch),
            username: text(fields.username),
        },
        "leave" => Command::Leave { room: required(fields.room, "room")? },
        "presence" => Command::Presence { room: required(fields.room, "room")? },
        "history" => Command::History {
            room: required(fields.room, "room")?,
            range: HistoryRange::new(fields.since, fields.before, fields.limit),
        },
        "hello" => Command::Hello {
            user: text(fields.user).or(text(fields.username)),
            token: text(fields.token),
            session: text(fields.session),
        },
        "status" => Command::Status { away: away(&required(fields.status, "status")?)? },
        "typing" => Command::Typing {
            room: required(fields.room, "room")?,
            is_typing: fields.is_typing.ok_or_else(|| missing("isTyping"))?,
        },
        "typing.start" => Command::Typing { room: required(fields.room, "room")?, is_typing: true },
        "typing.stop" => Command::Typing { room: required(fields.room, "room")?, is_typing: false },
        "private" => Command::Private {
            to: required(fields.to, "to")?,
            content: required(fields.content, "content")?,
            nonce: checked_nonce(fields.nonce)?,
        },
        "edit" => Command::Edit {
            room: required(fields.room, "room")?,
            sequence: fields.sequence.ok_or_else(|| missing("sequence"))?,
            content: required(fields.content, "content")?,
            nonce: checked_nonce(fields.nonce)?,
        },
        "delete" => Command::Delete {
            room: required(fields.room, "room")?,
            sequence: fields.sequence.ok_or_else(|| missing("sequence"))?,
        },
        "kick" => Command::Kick { user: required(fields.user, "user")?, reason: text(fields.reason) },
        "ban" => Command::Ban {
            user: required(fields.user, "user")?,
            with_address: fields.address.unwrap_or(false),
            duration_ms: fields.duration_ms,
            reason: text(fields.reason),
        },
        "unban" => Command::Unban { user: required(fields.user, "user")? },
        "ping" => Command::Ping { timestamp: fields.timestamp },
        "heartbeat" => Command::Heartbeat,
        other => {
            let shown: String = other.chars().take(32).collect();
            return Err((ErrorCode::UnknownType, format!("Unknown type {shown:?}")));
        }
    })
}

fn away(status: &str) -> Result<bool, (ErrorCode, String)> {
    match status {
        "online" => Ok(false),
        "away" => Ok(true),
        _ => Err((ErrorCode::BadRequest, "\"status\" is \"online\" or \"away\"".into())),
    }
}

fn text(value: Option<Text<'_>>) -> Option<Cow<'_, str>> {
    value.map(|text| text.0)
}

fn required<'a>(value: Option<Text<'a>>, field: &str) -> Result<Cow<'a, str>, (ErrorCode, String)> {
    text(value).ok_or_else(|| missing(field))
}

fn missing(field: &str) -> (ErrorCode, String) {
    (ErrorCode::BadRequest, format!("The field {field:?} is missing"))
}

fn checked_nonce(nonce: Option<Text<'_>>) -> Result<Option<Cow<'_, str>>, (ErrorCode, String)> {
    let nonce = text(nonce);
    nonce.as_deref().map_or(Ok(()), check_nonce)?;
    Ok(nonce)
}

/// Checks what is to make a message idempotent.
///
/// # Errors
/// It is empty or too long: the code, and a sentence for people.
pub fn check_nonce(nonce: &str) -> Result<(), (ErrorCode, String)> {
    match nonce.len() {
        0 => Err((ErrorCode::BadRequest, "The nonce is empty".into())),
        len if len > limits::NONCE_BYTES_MAX => {
            Err((ErrorCode::TooLong, format!("A nonce has at most {} bytes", limits::NONCE_BYTES_MAX)))
        }
        _ => Ok(()),
    }
}

/// The raw text of an `id`: a JSON string or number of bounded length.
fn checked_id(raw: &RawValue) -> Result<CommandId<'_>, (ErrorCode, &'static str)> {
    let text = raw.get();
    let quoted = text.starts_with('"');
    if !quoted && !text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) {
        return Err((ErrorCode::BadRequest, "An id is a string or a number"));
    }
    if text.len() > limits::COMMAND_ID_BYTES_MAX + if quoted { 2 } else { 0 } {
        return Err((ErrorCode::TooLong, "The id is too long"));
    }
    Ok(text)
}

/// What is wrong with a frame, in one line and without repeating the frame.
fn describe(error: &serde_json::Error) -> String {
    if !error.is_data() {
        return format!("Not JSON: {error}");
    }
    let text = error.to_string();
    // serde repeats a string that stands in a wrong place, however long.
    let (before, after) = match (text.find(" \""), text.rfind("\", expected")) {
        (Some(start), Some(end)) => (&text[..start], &text[end + 1..]),
        _ => (text.as_str(), ""),
    };
    format!("Not a command of this protocol: {before}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(text: &str) -> Command<'_> {
        parse(text).expect("a command").command
    }

    #[test]
    fn message_fields_may_be_flat_or_in_data() {
        for text in [
            r#"{"type":"message","data":{"room":"r","content":"hi","nonce":"n"}}"#,
            r#"{"type":"message","room":"r","content":"hi","nonce":"n"}"#,
        ] {
            let Command::Message { room, content, nonce } = command(text) else { panic!("a message") };
            assert_eq!((room.as_ref(), content.as_ref(), nonce.as_deref()), ("r", "hi", Some("n")));
        }
    }

    #[test]
    fn plain_text_is_borrowed_from_the_frame() {
        let Command::Message { content, .. } = command(r#"{"type":"message","data":{"room":"r","content":"plain"}}"#)
        else {
            panic!("a message")
        };
        assert!(matches!(content, Cow::Borrowed("plain")));
    }

    #[test]
    fn ids_keep_the_form_the_client_chose() {
        assert_eq!(parse(r#"{"type":"heartbeat","id":"a b"}"#).unwrap().id, Some("\"a b\""));
        assert_eq!(parse(r#"{"type":"heartbeat","id":12.50}"#).unwrap().id, Some("12.50"));
        assert_eq!(parse(r#"{"type":"heartbeat","id":null}"#).unwrap().id, None);
        assert_eq!(parse(r#"{"type":"heartbeat","id":[1]}"#).unwrap_err().code, ErrorCode::BadRequest);
        let long = format!(r#"{{"type":"heartbeat","id":"{}"}}"#, "x".repeat(65));
        assert_eq!(parse(&long).unwrap_err().code, ErrorCode::TooLong);
    }

    #[test]
    fn an_id_is_a_number_or_a_string_of_up_to_64_bytes() {
        let answer = |id: &str| {
            let text = format!(r#"{{"type":"heartbeat","id":{id}}}"#);
            let of = |id: Option<&str>| id.map(str::to_owned);
            parse(&text).map(|request| of(request.id)).map_err(|bad| (of(bad.id), bad.code))
        };
        let digits = |count| "1".repeat(count);
        for id in [r#""""#, "-5", "0", "9e3", &digits(64), &format!("\"{}\"", digits(64))] {
            assert_eq!(answer(id), Ok(Some(id.to_owned())), "{id}");
        }
        for (id, code) in [
            ("true", ErrorCode::BadRequest),
            ("{}", ErrorCode::BadRequest),
            (&digits(65), ErrorCode::TooLong),
            (&format!("\"{}\"", digits(65)), ErrorCode::TooLong),
        ] {
            assert_eq!(answer(id), Err((None, code)), "{id}");
        }
    }

    #[test]
    fn a_nonce_has_between_1_and_64_bytes() {
        let code = |nonce: &str| check_nonce(nonce).map_err(|(code, _)| code);
        assert_eq!(code(""), Err(ErrorCode::BadRequest));
        assert_eq!(code("n"), Ok(()));
        assert_eq!(code(&"n".repeat(limits::NONCE_BYTES_MAX)), Ok(()));
        assert_eq!(code(&"n".repeat(limits::NONCE_BYTES_MAX + 1)), Err(ErrorCode::TooLong));
        for kind in ["message", "private", "edit"] {
            let text = format!(r#"{{"type":"{kind}","room":"r","to":"t","sequence":1,"content":"c","nonce":""}}"#);
            assert_eq!(parse(&text).unwrap_err().message, "The nonce is empty", "{kind}");
        }
    }

    #[test]
    fn a_status_is_online_or_away() {
        let status = |status: &str| match parse(&format!(r#"{{"type":"status","status":"{status}"}}"#)) {
            Ok(Request { command: Command::Status { away }, .. }) => Some(away),
            Ok(other) => panic!("{other:?}"),
            Err(_) => None,
        };
        assert_eq!(["online", "away", "offline", ""].map(status), [Some(false), Some(true), None, None]);
    }

    #[test]
    fn what_is_at_the_top_counts_before_what_is_in_data() {
        let text = r#"{"type":"message","room":"top","data":{"room":"inner","content":"hi"}}"#;
        let Command::Message { room, content, nonce } = command(text) else { panic!("a message") };
        assert_eq!((room.as_ref(), content.as_ref(), nonce), ("top", "hi", None));
    }

    #[test]
    fn errors_carry_the_id_when_it_can_be_read() {
        let bad = parse(r#"{"type":"join","room":5,"id":7}"#).unwrap_err();
        assert_eq!((bad.id, bad.code), (Some("7"), ErrorCode::BadRequest));
        let bad = parse(r#"{"type":"dance","id":7}"#).unwrap_err();
        assert_eq!((bad.id, bad.code), (Some("7"), ErrorCode::UnknownType));
        let bad = parse(r#"{"type":"message","id":7,"data":{"room":"r"}}"#).unwrap_err();
        assert_eq!((bad.id, bad.code), (Some("7"), ErrorCode::BadRequest));
        assert!(bad.message.contains("content"), "{}", bad.message);
    }

    #[test]
    fn hostile_json_is_refused_without_a_panic() {
        let deep = format!("{}{}", "[".repeat(8000), "]".repeat(8000));
        let nested = format!("{}{}", r#"{"type":"ping","data":"#.repeat(600), "}".repeat(600));
        assert!(parse(&format!(r#"{{"type":"ping","unknown":{deep}}}"#)).is_ok(), "unknown fields are ignored");
        for text in ["", "{", "[]", "null", "5", "\"join\"", r#"{"type":5}"#, r#"{"room":"x"}"#, &deep, &nested] {
            let bad = parse(text).unwrap_err();
            assert!(matches!(bad.code, ErrorCode::BadRequest | ErrorCode::UnknownType), "{text}");
        }
        for text in [r#"{"type":"join","room":{}}"#, r#"{"type":"join","since":-1}"#, r#"{"type":"join","since":1.5}"#]
        {
            assert_eq!(parse(text).unwrap_err().code, ErrorCode::BadRequest, "{text}");
        }
    }

    #[test]
    fn an_array_is_no_object() {
        for text in [r#"["ping"]"#, r#"{"type":"ping","data":["ping"]}"#, r#"{"type":"ping","data":5}"#] {
            let bad = parse(text).unwrap_err();
            assert_eq!(bad.code, ErrorCode::BadRequest, "{text}");
            assert!(bad.message.contains("expected an object"), "{}", bad.message);
        }
    }

    #[test]
    fn errors_do_not_repeat_the_frame() {
        let long = "x\\\", expected ".repeat(500);
        for text in [
            format!(r#"{{"type":"ping","data":"{long}"}}"#),
            format!(r#"{{"type":"history","room":"r","since":"{long}"}}"#),
            format!(r#""{long}""#),
        ] {
            let message = parse(&text).unwrap_err().message;
            assert!(message.len() < 120 && message.contains("string, expected"), "{message}");
        }
    }

    #[test]
    fn what_is_wrong_is_said_in_one_line() {
        for (text, message) in [
            ("{", "Not JSON: EOF while parsing an object at line 1 column 1"),
            (
                r#"{"type":"join","room":5}"#,
                "Not a command of this protocol: invalid type: integer `5`, expected a string at line 1 column 23",
            ),
            (
                r#"{"type":"join","since":"x"}"#,
                "Not a command of this protocol: invalid type: string, expected u64 at line 1 column 26",
            ),
            (
                r#"{"type":"join","type":"join"}"#,
                "Not a command of this protocol: duplicate field `type` at line 1 column 21",
            ),
        ] {
            assert_eq!(parse(text).unwrap_err().message, message);
        }
    }

    #[test]
    fn history_limits_are_clamped() {
        let history = |text| match command(text) {
            Command::History { range, .. } => range,
            other => panic!("{other:?}"),
        };
        assert_eq!(history(r#"{"type":"history","room":"r"}"#), HistoryRange::Since { since: 0, limit: 100 });
        assert_eq!(
            history(r#"{"type":"history","room":"r","before":9,"limit":99999}"#),
            HistoryRange::Before { before: 9, since: 0, limit: 1000 }
        );
    }
}

//! Events: what the server says, and the JSON of a stored message, which is a record's payload byte for byte.
//!
//! Owns: the shape of every frame that leaves. Must never know: who receives it.

use std::fmt;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::value::RawValue;

use super::changed::{Change, ChangeKind, is_changed};
use super::{ErrorCode, SYSTEM_USER, VERSION};

/// The bounds a client is told in `connected`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Limits {
    /// Longest content, in bytes.
    pub content_bytes: usize,
    /// Largest frame, in bytes.
    pub message_bytes: usize,
    /// Rooms per connection.
    pub rooms_per_connection: usize,
    /// Messages per second, 0 for no limit.
    pub messages_per_second: u32,
}

/// One line of a member list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Member<'a> {
    /// The user's name.
    pub user: &'a str,
    /// `online`, `away` or `offline`.
    pub status: &'static str,
    /// When the user was last active, Unix milliseconds.
    pub last_seen: u64,
}

/// What an account is told of itself in `connected`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AccountView<'a> {
    /// `member` or `admin`.
    pub role: &'static str,
    /// The rooms that it keeps.
    pub rooms: Vec<&'a str>,
    /// Its direct conversations.
    pub direct: Vec<DirectView<'a>>,
}

/// A direct conversation, as one of the two sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct DirectView<'a> {
    /// Its room.
    pub room: String,
    /// The other one.
    pub user: &'a str,
}

/// Why a history does not start where the client asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reset {
    /// The numbers of the client's epoch are no longer all part of this log.
    EpochChanged,
    /// Older than retention.
    Expired,
    /// Beyond the end of the log.
    Ahead,
}

/// Came or went.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Announcement {
    /// "… joined the room".
    Join,
    /// "… left the room".
    Leave,
}

/// The unique `id` of a stored message: its epoch and sequence, `9c1f…:42`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageIdentity<E> {
    /// The room's epoch.
    pub epoch: E,
    /// The message's number in the room.
    pub sequence: u64,
}

impl<E: fmt::Display> fmt::Display for MessageIdentity<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.epoch, self.sequence)
    }
}

impl<E: fmt::Display> Serialize for MessageIdentity<E> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A message about to be stored.
#[derive(Clone, Copy, Debug)]
pub struct StoredMessage<'a, E: fmt::Display> {
    /// Unique in the server.
    pub id: MessageIdentity<E>,
    /// The room's name.
    pub room: &'a str,
    /// The author's name.
    pub user: &'a str,
    /// The text.
    pub content: &'a str,
    /// The number in the room.
    pub sequence: u64,
    /// Unix milliseconds.
    pub timestamp: u64,
    /// The client's idempotency key.
    pub nonce: Option<&'a str>,
    /// What it does to an earlier message, if it is an edit or a deletion.
    pub change: Option<Change>,
}

/// What the server reads back of a record: enough to rebuild its own state, never to judge the text.
pub mod recorded {
    use std::borrow::Cow;

    use super::{ChangeKind, Deserialize};

    /// The fields of a stored message that outlive a restart in memory.
    #[derive(Debug, Deserialize)]
    pub struct Message<'a> {
        /// The author.
        #[serde(borrow)]
        pub user: Cow<'a, str>,
        /// The text; empty if it was changed: what it is now, another record tells.
        #[serde(borrow, default)]
        pub content: Cow<'a, str>,
        /// Unix milliseconds.
        pub timestamp: u64,
        /// The client's idempotency key.
        #[serde(borrow, default)]
        pub nonce: Option<Cow<'a, str>>,
        /// What it does to an earlier message.
        #[serde(default)]
        pub kind: Option<ChangeKind>,
        /// To which one.
        #[serde(default)]
        pub target: Option<u64>,
        /// The edit of that one before this one.
        #[serde(default)]
        pub previous: Option<u64>,
        /// The event that changed it.
        #[serde(default)]
        pub changed: Option<u64>,
        /// Whether that deleted it.
        #[serde(default)]
        pub deleted: bool,
    }

    /// The message object in a record's payload, as it stands in the `data` of a `message` event; `None` if it is not a
    /// message of this protocol.
    #[must_use]
    pub fn object(payload: &[u8]) -> Option<&[u8]> {
        super::inner(payload)
    }

    /// The `data` of a `history` event; `None` if it is another event.
    #[must_use]
    pub fn history_data(event: &[u8]) -> Option<&[u8]> {
        event.strip_prefix(super::HISTORY_PREFIX)?.strip_suffix(super::MESSAGE_SUFFIX)
    }

    /// Reads a record's payload, that of a changed message included; `None` if it is not a message of this protocol.
    #[must_use]
    pub fn parse(payload: &[u8]) -> Option<Message<'_>> {
        let object = if super::is_changed(payload) { payload } else { super::inner(payload)? };
        serde_json::from_slice(object).ok()
    }
}

/// A record's payload starts with this; what follows is the message object.
pub(super) const MESSAGE_PREFIX: &[u8] = br#"{"type":"message","data":"#;
/// A record's payload ends with this.
pub(super) const MESSAGE_SUFFIX: &[u8] = b"}";

/// How a `history` event begins; it ends as a message does.
const HISTORY_PREFIX: &[u8] = br#"{"type":"history","data":"#;

/// The message object inside a record's payload.
fn inner(payload: &[u8]) -> Option<&[u8]> {
    payload.strip_prefix(MESSAGE_PREFIX)?.strip_suffix(MESSAGE_SUFFIX)
}

/// Appends the JSON of a stored message to `out`: the record's payload and the `message` event in one.
///
/// Written out, and not derived, because this is done for every message, and a key that is known need not be searched
/// for characters to escape.
pub fn encode_message<E: fmt::Display>(message: &StoredMessage<'_, E>, out: &mut Vec<u8>) {
    use std::io::Write;
    let StoredMessage { ref id, room, user, content, sequence, timestamp, nonce, change } = *message;
    out.extend_from_slice(MESSAGE_PREFIX);
    out.extend_from_slice(br#"{"id":""#);
    write!(out, "{}", id.epoch).expect("writing to memory cannot fail");
    out.push(b':');
    to_json(&id.sequence, out);
    out.extend_from_slice(br#"","room":"#);
    to_json(room, out);
    out.extend_from_slice(br#","user":"#);
    to_json(user, out);
    out.extend_from_slice(br#","content":"#);
    to_json(content, out);
    out.extend_from_slice(br#","sequence":"#);
    to_json(&sequence, out);
    out.extend_from_slice(br#","timestamp":"#);
    to_json(&timestamp, out);
    if let Some(Change { kind, target, previous }) = change {
        out.extend_from_slice(br#","kind":"#);
        to_json(&kind, out);
        out.extend_from_slice(br#","target":"#);
        to_json(&target, out);
        if let Some(previous) = previous {
            out.extend_from_slice(br#","previous":"#);
            to_json(&previous, out);
        }
    }
    if let Some(nonce) = nonce {
        out.extend_from_slice(br#","nonce":"#);
        to_json(nonce, out);
    }
    out.push(b'}');
    out.extend_from_slice(MESSAGE_SUFFIX);
}

/// A `history` frame, written in two strokes around messages that are copied from the log as they are.
pub mod history_frame {
    use super::{Reset, fmt, inner, to_json};

    /// What stands behind the messages.
    #[derive(Clone, Copy, Debug)]
    pub struct Tail<E> {
        /// The room's epoch.
        pub epoch: E,
        /// The earliest sequence still there.
        pub floor: u64,
        /// The last sequence.
        pub head: u64,
        /// Whether there is more in the direction that was read.
        pub more: bool,
        /// Why the history does not start where it was asked to.
        pub reset: Option<Reset>,
        /// A range of sequences that is damaged on disk.
        pub gap: Option<(u64, u64)>,
    }

    /// Starts the frame's JSON.
    pub fn begin(room: &str, out: &mut Vec<u8>) {
        out.extend_from_slice(super::HISTORY_PREFIX);
        out.extend_from_slice(br#"{"room":"#);
        to_json(room, out);
        out.extend_from_slice(br#","messages":["#);
    }

    /// Adds one record's payload. Payloads that are no messages of this protocol are left out.
    pub fn push(payload: &[u8], out: &mut Vec<u8>) {
        if let Some(object) = inner(payload) {
            if out.last() != Some(&b'[') {
                out.push(b',');
            }
            out.extend_from_slice(object);
        }
    }

    /// Ends the frame's JSON.
    pub fn end<E: fmt::Display>(tail: &Tail<E>, out: &mut Vec<u8>) {
        use std::io::Write;
        let Tail { epoch, floor, head, more, reset, gap } = tail;
        let mut write = |text: fmt::Arguments<'_>| out.write_fmt(text).expect("writing to memory cannot fail");
        write(format_args!(r#"],"epoch":"{epoch}","floor":{floor},"head":{head},"more":{more}"#));
        if let Some((from, to)) = gap {
            write(format_args!(r#","gap":{{"from":{from},"to":{to}}}"#));
        }
        if let Some(reset) = reset {
            out.extend_from_slice(br#","reset":"#);
            to_json(reset, out);
        }
        out.extend_from_slice(b"}}");
    }
}

/// Tells unstored events apart: `~<timestamp>-<serial>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serial {
    /// Unix milliseconds.
    pub timestamp: u64,
    /// Counts up as long as the process lives.
    pub serial: u64,
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "~{}-{}", self.timestamp, self.serial)
    }
}

impl Serialize for Serial {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The sentence of an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sentence<'a> {
    /// Who.
    pub user: &'a str,
    /// Came or went.
    pub kind: Announcement,
}

impl Serialize for Sentence<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let verb = match self.kind {
            Announcement::Join => "joined",
            Announcement::Leave => "left",
        };
        serializer.collect_str(&format_args!("{} {verb} the room", self.user))
    }
}

/// Everything the server says but stored messages and history. The fields are the `data` of the frame.
#[derive(Debug, Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
pub enum Event<'a> {
    /// First on every connection, and again after `hello`.
    Connected {
        /// Names this connection.
        client_id: &'a str,
        /// Who it is.
        user: &'a str,
        /// Resumes it within the grace period.
        session: &'a str,
        /// How often a `heartbeat` comes, in milliseconds.
        heartbeat_ms: u64,
        /// The bounds in force.
        limits: Limits,
        /// The protocol's version.
        version: u32,
        /// What else there is to know for somebody who is logged in.
        #[serde(flatten)]
        account: Option<AccountView<'a>>,
    },
    /// A room's members.
    Presence {
        /// The room.
        room: &'a str,
        /// At most the first hundred; none where only the count is told.
        users: &'a [Member<'a>],
        /// All of them.
        count: usize,
        /// True if `users` is not all of them.
        #[serde(skip_serializing_if = "is_false")]
        more: bool,
    },
    /// A member's status changed.
    Status {
        /// The room.
        room: &'a str,
        /// Who.
        user: &'a str,
        /// `online`, `away` or `offline`.
        status: &'static str,
        /// When the user was last active, Unix milliseconds.
        last_seen: u64,
    },
    /// Somebody came or went: a `message` that is not stored and not numbered.
    Announcement {
        /// Tells it apart.
        id: Serial,
        /// The room.
        room: &'a str,
        /// Always [`SYSTEM_USER`].
        user: &'static str,
        /// For people.
        content: Sentence<'a>,
        /// For programs.
        kind: Announcement,
        /// Who came or went.
        subject: &'a str,
        /// The room's current sequence.
        sequence: u64,
        /// Unix milliseconds.
        timestamp: u64,
        /// Always true.
        ephemeral: bool,
    },
    /// Somebody types, or no longer.
    Typing {
        /// The room.
        room: &'a str,
        /// Who.
        user: &'a str,
        /// Whether it goes on.
        is_typing: bool,
    },
    /// A message between two users.
    Private {
        /// Tells it apart: that of a stored message, or a [`Serial`].
        id: &'a str,
        /// The author.
        from: &'a str,
        /// The recipient.
        to: &'a str,
        /// The text.
        content: &'a str,
        /// Unix milliseconds.
        timestamp: u64,
        /// The room of the conversation, where it is kept.
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<&'a str>,
        /// Its number there.
        #[serde(skip_serializing_if = "Option::is_none")]
        sequence: Option<u64>,
        /// The client's own key.
        #[serde(skip_serializing_if = "Option::is_none")]
        nonce: Option<&'a str>,
        /// `edit` or `delete`, where it changes an earlier one.
        #[serde(skip_serializing_if = "Option::is_none")]
        kind: Option<&'static str>,
        /// The number of that earlier one.
        #[serde(skip_serializing_if = "Option::is_none")]
        target: Option<u64>,
    },
    /// A message was stored, or had been before.
    MessageAck {
        /// The room.
        room: &'a str,
        /// Its number.
        sequence: u64,
        /// Its `id`, as in the message.
        id: MessageIdentity<&'a str>,
        /// Unix milliseconds.
        timestamp: u64,
        /// True if it had been stored before.
        #[serde(skip_serializing_if = "is_false")]
        duplicate: bool,
    },
    /// A join happened.
    JoinAck {
        /// The room.
        room: &'a str,
        /// Its epoch.
        epoch: &'a str,
        /// Its last sequence.
        head: u64,
    },
    /// Any other command with an `id` was carried out.
    Ack {
        /// The room, where the command has one.
        #[serde(skip_serializing_if = "Option::is_none")]
        room: Option<&'a str>,
    },
    /// A command was refused.
    Error {
        /// Why, for programs.
        code: ErrorCode,
        /// Why, for people.
        message: &'a str,
        /// When to try again, in milliseconds.
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// The link is alive.
    Heartbeat {
        /// Unix milliseconds.
        timestamp: u64,
    },
    /// The answer to `ping`.
    Pong {
        /// The JSON value that came with it.
        #[serde(skip_serializing_if = "Option::is_none")]
        timestamp: Option<&'a RawValue>,
    },
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl<'a> Event<'a> {
    /// An announcement that `user` came or went.
    #[must_use]
    pub fn announcement(room: &'a str, user: &'a str, kind: Announcement, sequence: u64, serial: Serial) -> Self {
        Event::Announcement {
            id: serial,
            room,
            user: SYSTEM_USER,
            content: Sentence { user, kind },
            kind,
            subject: user,
            sequence,
            timestamp: serial.timestamp,
            ephemeral: true,
        }
    }

    /// The first frame of a connection.
    #[must_use]
    pub fn connected(client_id: &'a str, user: &'a str, session: &'a str, heartbeat_ms: u64, limits: Limits) -> Self {
        Event::Connected { client_id, user, session, heartbeat_ms, limits, version: VERSION, account: None }
    }

    /// The frame's `type`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Event::Connected { .. } => "connected",
            Event::Presence { .. } => "presence",
            Event::Status { .. } => "status",
            Event::Announcement { .. } => "message",
            Event::Typing { .. } => "typing",
            Event::Private { .. } => "private",
            Event::MessageAck { .. } | Event::JoinAck { .. } | Event::Ack { .. } => "ack",
            Event::Error { .. } => "error",
            Event::Heartbeat { .. } => "heartbeat",
            Event::Pong { .. } => "pong",
        }
    }

    /// Appends the frame's JSON to `out`. `id` is the JSON text of the answered command's id.
    pub fn encode(&self, id: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(br#"{"type":""#);
        out.extend_from_slice(self.kind().as_bytes());
        out.push(b'"');
        if let Some(id) = id {
            out.extend_from_slice(br#","id":"#);
            out.extend_from_slice(id.as_bytes());
        }
        out.extend_from_slice(br#","data":"#);
        to_json(self, out);
        out.push(b'}');
    }

    /// The frame's JSON on its own.
    #[must_use]
    pub fn to_vec(&self, id: Option<&str>) -> Vec<u8> {
        let mut out = Vec::with_capacity(256);
        self.encode(id, &mut out);
        out
    }
}

pub(super) fn to_json<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) {
    serde_json::to_writer(out, value).expect("these types always serialize, and writing to memory cannot fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_message_reads_back() {
        let message = StoredMessage {
            id: MessageIdentity { epoch: "00000000000000ff", sequence: 7 },
            room: "general",
            user: "alice",
            content: "a \"quoted\"\nline \u{1F600}",
            sequence: 7,
            timestamp: 1_700_000_000_000,
            nonce: Some("n1"),
            change: None,
        };
        let mut payload = Vec::new();
        encode_message(&message, &mut payload);
        let json: serde_json::Value = serde_json::from_slice(&payload).unwrap();
        assert_eq!(json["type"], "message");
        assert_eq!(json["data"]["id"], "00000000000000ff:7");
        let read = recorded::parse(&payload).unwrap();
        assert_eq!((read.user.as_ref(), read.content.as_ref()), ("alice", message.content));
        assert_eq!((read.timestamp, read.nonce.as_deref()), (message.timestamp, Some("n1")));
        assert!(!payload.contains(&b'\n'), "a record is one line");
    }

    #[test]
    fn a_history_frame_is_json_around_recorded_messages() {
        let mut frame = Vec::new();
        history_frame::begin("a \"room\"", &mut frame);
        history_frame::push(br#"{"type":"message","data":{"sequence":1}}"#, &mut frame);
        history_frame::push(br#"{"type":"message","data":{"sequence":2}}"#, &mut frame);
        let reset = Some(Reset::EpochChanged);
        history_frame::end(
            &history_frame::Tail { epoch: "e", floor: 1, head: 4, more: true, reset, gap: Some((3, 4)) },
            &mut frame,
        );
        let json: serde_json::Value = serde_json::from_slice(&frame).unwrap();
        assert_eq!(json["data"]["room"], "a \"room\"");
        assert_eq!(json["data"]["messages"][1]["sequence"], 2);
        assert_eq!(json["data"]["gap"]["to"], 4);
        assert_eq!(json["data"]["reset"], "epoch_changed");
    }

    #[test]
    fn a_message_object_is_found_in_its_record_and_nowhere_else() {
        let payload = br#"{"type":"message","data":{"user":"alice","timestamp":5}}"#;
        assert_eq!(recorded::object(payload), Some(&br#"{"user":"alice","timestamp":5}"#[..]));
        assert_eq!(recorded::parse(payload).map(|message| message.timestamp), Some(5));
        assert_eq!(recorded::history_data(payload), None);
        let history = br#"{"type":"history","data":{"room":"r"}}"#;
        assert_eq!(recorded::history_data(history), Some(&br#"{"room":"r"}"#[..]));
        assert_eq!(recorded::object(history), None);
        assert!(recorded::parse(history).is_none());
    }

    #[test]
    fn a_history_frame_without_messages_gap_and_reset_has_none() {
        let mut frame = Vec::new();
        history_frame::begin("r", &mut frame);
        history_frame::push(b"no message", &mut frame);
        let tail = history_frame::Tail { epoch: "e", floor: 1, head: 0, more: false, reset: None, gap: None };
        history_frame::end(&tail, &mut frame);
        assert_eq!(
            String::from_utf8(frame).unwrap(),
            r#"{"type":"history","data":{"room":"r","messages":[],"epoch":"e","floor":1,"head":0,"more":false}}"#
        );
    }

    #[test]
    fn only_a_duplicate_is_said_to_be_one() {
        let ack = |duplicate| {
            let id = MessageIdentity { epoch: "e", sequence: 3 };
            let event = Event::MessageAck { room: "r", sequence: 3, id, timestamp: 5, duplicate };
            String::from_utf8(event.to_vec(None)).unwrap()
        };
        assert_eq!(ack(false), r#"{"type":"ack","data":{"room":"r","sequence":3,"id":"e:3","timestamp":5}}"#);
        assert_eq!(
            ack(true),
            r#"{"type":"ack","data":{"room":"r","sequence":3,"id":"e:3","timestamp":5,"duplicate":true}}"#
        );
    }

    #[test]
    fn events_have_a_type_an_id_and_data() {
        let text = |event: Event<'_>, id| String::from_utf8(event.to_vec(id)).unwrap();
        assert_eq!(
            text(
                Event::Error { code: ErrorCode::RateLimited, message: "Slow down", retry_after_ms: Some(50) },
                Some("7")
            ),
            r#"{"type":"error","id":7,"data":{"code":"rate_limited","message":"Slow down","retryAfterMs":50}}"#
        );
        assert_eq!(text(Event::Ack { room: None }, Some("\"a\"")), r#"{"type":"ack","id":"a","data":{}}"#);
        let serial = Serial { timestamp: 5, serial: 6 };
        assert_eq!(
            text(Event::announcement("r", "alice", Announcement::Join, 3, serial), None),
            r#"{"type":"message","data":{"id":"~5-6","room":"r","user":"system","content":"alice joined the room","kind":"join","subject":"alice","sequence":3,"timestamp":5,"ephemeral":true}}"#
        );
    }
}

//! The wire protocol: commands in, events out, error and close codes. `docs/PROTOCOL.md` is its text.
//!
//! Owns: the JSON of every frame and the meaning of every code. Must never know: sockets, rooms, logs, time.
//! There is one parser and one encoder; nothing else in the project writes or reads protocol JSON.

mod changed;
mod command;
mod event;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod wish;

pub use changed::{Change, ChangeKind, Changed, is_changed};
pub use command::{BadCommand, Command, CommandId, HistoryRange, Request, check_nonce, parse};
pub use event::{
    AccountView, Announcement, DirectView, Event, Limits, Member, MessageIdentity, Reset, Serial, StoredMessage,
    encode_message, history_frame, recorded,
};
pub use wish::Wish;

use serde::{Serialize, Serializer};

/// The WebSocket subprotocol that is selected when a client offers it.
pub const SUBPROTOCOL: &str = "roomlog.v1";
/// The protocol version told in `connected`.
pub const VERSION: u32 = 1;
/// The room that a `join` without a room means.
pub const DEFAULT_ROOM: &str = "general";
/// The author of announcements; no user can take this name.
pub const SYSTEM_USER: &str = "system";

/// Why a command was refused; the `code` of an `error` event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorCode {
    /// The frame is not a JSON object of the protocol's form.
    BadRequest,
    /// The `type` is none of the protocol's.
    UnknownType,
    /// The room name breaks the rules for names.
    BadRoom,
    /// The user name breaks the rules for names.
    BadName,
    /// The user name belongs to somebody else at the moment.
    NameTaken,
    /// The session is unknown or its grace period is over.
    BadSession,
    /// The token is unknown or revoked.
    BadToken,
    /// The content is empty.
    Empty,
    /// The content, nonce or id is longer than the limit.
    TooLong,
    /// This connection is in as many rooms as it may be.
    TooManyRooms,
    /// The command needs a membership that the connection does not have.
    NotSubscribed,
    /// Too many messages; `retryAfterMs` says when the next is accepted.
    RateLimited,
    /// The nonce was used before with other content.
    NonceConflict,
    /// The recipient of a private message, or who is to be moderated, is not known here.
    NoSuchUser,
    /// There is no such message, or it cannot be changed.
    NoSuchMessage,
    /// The user may not do this.
    Forbidden,
    /// The name is banned.
    Banned,
    /// The room's log cannot be written or read at the moment; nothing was stored.
    StorageUnavailable,
}

impl ErrorCode {
    /// All of them, each at the place that it is as a number.
    pub const ALL: [ErrorCode; 18] = [
        ErrorCode::BadRequest,
        ErrorCode::UnknownType,
        ErrorCode::BadRoom,
        ErrorCode::BadName,
        ErrorCode::NameTaken,
        ErrorCode::BadSession,
        ErrorCode::BadToken,
        ErrorCode::Empty,
        ErrorCode::TooLong,
        ErrorCode::TooManyRooms,
        ErrorCode::NotSubscribed,
        ErrorCode::RateLimited,
        ErrorCode::NonceConflict,
        ErrorCode::NoSuchUser,
        ErrorCode::NoSuchMessage,
        ErrorCode::Forbidden,
        ErrorCode::Banned,
        ErrorCode::StorageUnavailable,
    ];

    /// As it is written.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            ErrorCode::BadRequest => "bad_request",
            ErrorCode::UnknownType => "unknown_type",
            ErrorCode::BadRoom => "bad_room",
            ErrorCode::BadName => "bad_name",
            ErrorCode::NameTaken => "name_taken",
            ErrorCode::BadSession => "bad_session",
            ErrorCode::BadToken => "bad_token",
            ErrorCode::Empty => "empty",
            ErrorCode::TooLong => "too_long",
            ErrorCode::TooManyRooms => "too_many_rooms",
            ErrorCode::NotSubscribed => "not_subscribed",
            ErrorCode::RateLimited => "rate_limited",
            ErrorCode::NonceConflict => "nonce_conflict",
            ErrorCode::NoSuchUser => "no_such_user",
            ErrorCode::NoSuchMessage => "no_such_message",
            ErrorCode::Forbidden => "forbidden",
            ErrorCode::Banned => "banned",
            ErrorCode::StorageUnavailable => "storage_unavailable",
        }
    }
}

impl Serialize for ErrorCode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// WebSocket close codes (RFC 6455 section 7.4, and the protocol's own).
pub mod close {
    /// The server is shutting down: reconnect with jitter and resume.
    pub const GOING_AWAY: u16 = 1001;
    /// A policy was broken: a taken name at connect, abuse, a session that moved to another connection.
    pub const POLICY: u16 = 1008;
    /// Too much is queued for this reader: reconnect with backoff and resume.
    pub const TRY_AGAIN_LATER: u16 = 1013;
    /// No answer to a heartbeat: reconnect and resume.
    pub const NO_HEARTBEAT: u16 = 4000;
    /// The token is revoked or expired, or guests are not allowed: log in.
    pub const LOG_IN: u16 = 4500;
    /// Kicked or banned: stop.
    pub const BANNED: u16 = 4501;
    /// The client asked; its user leaves at once.
    pub const NORMAL: u16 = 1000;
}

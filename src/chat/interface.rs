//! What goes into the core and what comes out of it.
//!
//! Owns: the vocabulary. Must never know: what any of it leads to.

use std::rc::Rc;

use super::{ClientKey, RoomKey, clients, users::UserKey};
use crate::{
    accounts::{AccountId, TokenId},
    limits,
    names::UserName,
    protocol::{Announcement, BadCommand, ErrorCode, HistoryRange, Limits, Request, Wish},
};

/// What the core needs to know of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a vanished client keeps its name and rooms, in milliseconds.
    pub grace_ms: u64,
    /// Told to clients, in milliseconds.
    pub heartbeat_ms: u64,
    /// Messages per second and client; 0 for no limit.
    pub messages_per_second: u32,
    /// Messages per second and account, over all of its clients; 0 for no limit.
    pub account_messages_per_second: u32,
    /// Messages and requests per second and address; 0 for no limit.
    pub address_messages_per_second: u32,
    /// Longest content, in bytes.
    pub content_bytes_max: usize,
    /// Told to clients, in bytes.
    pub message_bytes_max: usize,
    /// Whether one may be here without an account.
    pub guests: bool,
}

impl Settings {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            content_bytes: self.content_bytes_max,
            message_bytes: self.message_bytes_max,
            rooms_per_connection: limits::ROOMS_PER_CONNECTION_MAX,
            messages_per_second: self.messages_per_second,
        }
    }
}

/// Names a connection, and is never 0; the core gives it back and never looks inside.
pub type LinkId = u64;

/// The address that a connection comes from, as a number; the core never looks inside.
pub type AddressKey = u128;

/// Fresh random bytes: a guest name and a secret are made of them.
pub type Entropy = [u8; 4 + size_of::<clients::Secret>()];

/// Who waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Recipient {
    /// A client, which is told by an `ack` or an `error`.
    Client {
        /// Which.
        client: ClientKey,
        /// The id of its command, if it is to be acknowledged.
        id: Option<Box<str>>,
    },
    /// An HTTP request on this connection.
    Request(LinkId),
}

impl Recipient {
    pub(crate) fn client(client: ClientKey, id: Option<&str>) -> Self {
        Self::Client { client, id: id.map(Box::from) }
    }
}

/// What happens to the core.
#[derive(Debug)]
pub enum Input<'a> {
    /// A connection is open. Answered by [`Effect::Attach`], or by [`Effect::Refuse`].
    Connect {
        /// The connection.
        link: LinkId,
        /// What its URL asks for.
        wish: Wish,
        /// An account's token, where the request brought one.
        token: Option<&'a str>,
        /// For this connection only.
        entropy: Entropy,
    },
    /// A client said something.
    Command {
        /// Who.
        client: ClientKey,
        /// From where.
        address: AddressKey,
        /// What, or what is wrong with it.
        request: Result<Request<'a>, BadCommand<'a>>,
    },
    /// A client sent control frames.
    Control {
        /// Who.
        client: ClientKey,
        /// How many.
        count: u32,
    },
    /// A client's connection is gone.
    Disconnect {
        /// Whose.
        client: ClientKey,
        /// The peer said goodbye (1000): no grace period.
        goodbye: bool,
    },
    /// A message came over HTTP.
    Post {
        /// The connection that waits for the answer.
        link: LinkId,
        /// From where.
        address: AddressKey,
        /// Whose message it is.
        author: AccountId,
        /// The room.
        room: &'a str,
        /// The text.
        content: &'a str,
        /// Makes it idempotent.
        nonce: Option<&'a str>,
    },
    /// A part of a room's log was asked for over HTTP.
    Read {
        /// The connection that waits for the answer.
        link: LinkId,
        /// Who asks; `None` for a guest.
        reader: Option<AccountId>,
        /// The room.
        room: &'a str,
        /// Which part.
        range: HistoryRange,
    },
    /// An event stream of a room was asked for. Answered by [`Effect::Follow`], or by [`Effect::Deny`].
    Listen {
        /// The connection.
        link: LinkId,
        /// Who asks, and by which token; `None` for a guest.
        reader: Option<(AccountId, TokenId)>,
        /// The room.
        room: &'a str,
        /// The last sequence that the reader has; nothing old if absent.
        since: Option<u64>,
        /// The epoch of that sequence.
        epoch: Option<&'a str>,
    },
    /// The connection of an event stream is gone.
    Hangup {
        /// The connection.
        link: LinkId,
    },
    /// Tokens are good no more: who came with one has to go.
    Ended {
        /// Which.
        tokens: &'a [TokenId],
    },
    /// A message of a direct conversation is stored: both are told, on every device that has not joined the conversation.
    Told {
        /// The conversation.
        pair: (AccountId, AccountId),
        /// Its room.
        room: RoomKey,
        /// The frame's JSON.
        json: &'a [u8],
    },
    /// A client was not shown something ephemeral, and can be shown again.
    Missed {
        /// Who.
        client: ClientKey,
    },
    /// Appends of a room reached the log, or were refused: the room may be given up when nobody is in it.
    Settled {
        /// The room.
        room: RoomKey,
        /// How many.
        count: u32,
    },
    /// A timer of [`Effect::Timer`] is due.
    Timer(Timer),
}

/// A timer of the core. It may fire after what it was for is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// A client's grace period is over.
    Grace(ClientKey),
    /// A client should have logged in by now.
    LogIn(ClientKey),
    /// A room's members are to be told who is there.
    Presence(RoomKey),
    /// A room's members are to be told whether a user types.
    Typing(Typist, RoomKey),
}

/// A user who types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Typist(pub(super) UserKey);

/// Why a user is offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Departure {
    /// The last client said goodbye (1000).
    Goodbye,
    /// The last client's connection was lost, and it did not come back in time.
    GraceOver,
    /// An administrator closed the last client's connection.
    ShownOut,
    /// The last client's token was revoked, or has expired.
    TokenEnded,
    /// The last client has become another user.
    BecameAnother,
}

/// What the core wants done, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// The connection belongs to this client from now on.
    Attach {
        /// The connection.
        link: LinkId,
        /// The client.
        client: ClientKey,
    },
    /// Close a connection.
    Refuse {
        /// The connection.
        link: LinkId,
        /// The WebSocket close code.
        code: u16,
        /// The close reason, for people.
        reason: Box<str>,
    },
    /// Answer an HTTP request with an error.
    Deny {
        /// The connection.
        link: LinkId,
        /// Why, for programs.
        code: ErrorCode,
        /// Why, for people.
        message: Box<str>,
        /// When to try again, in milliseconds.
        retry_after_ms: Option<u64>,
    },
    /// Send a reply.
    Send {
        /// To whom.
        client: ClientKey,
        /// The frame's JSON.
        json: Vec<u8>,
    },
    /// Tell everybody who is subscribed to a room; slow readers may miss it.
    Broadcast {
        /// The room.
        room: RoomKey,
        /// Everybody but this one.
        except: Option<ClientKey>,
        /// The frame's JSON.
        json: Vec<u8>,
    },
    /// Broadcast that a user came or went; it carries the room's current sequence.
    Announce {
        /// The room.
        room: RoomKey,
        /// Who.
        user: UserName,
        /// Came or went.
        kind: Announcement,
        /// Tells it apart from others.
        serial: u64,
    },
    /// A room is in use from now on.
    OpenRoom {
        /// Its key until it is closed.
        room: RoomKey,
        /// Its name.
        name: Rc<str>,
    },
    /// Nobody uses the room any more, and nothing of it is in flight; the key may come again.
    CloseRoom {
        /// The room.
        room: RoomKey,
    },
    /// Put a cursor for this client on the room's log (moving it if there is one) and acknowledge the join.
    Subscribe {
        /// The client.
        client: ClientKey,
        /// The id of the command, if it is to be acknowledged.
        id: Option<Box<str>>,
        /// The room.
        room: RoomKey,
        /// The last sequence the client has; the last few messages if absent.
        since: Option<u64>,
        /// The epoch of that sequence.
        epoch: Option<Box<str>>,
    },
    /// Take the cursor away.
    Unsubscribe {
        /// The client.
        client: ClientKey,
        /// The room.
        room: RoomKey,
    },
    /// Make a connection an event stream: a cursor that gets messages only.
    Follow {
        /// The connection.
        link: LinkId,
        /// The room.
        room: RoomKey,
        /// The last sequence the reader has; nothing old if absent.
        since: Option<u64>,
        /// The epoch of that sequence.
        epoch: Option<Box<str>>,
    },
    /// Append to the room's log; answer and publish when it is as durable as configured.
    Append {
        /// Who waits for the answer.
        to: Recipient,
        /// The room.
        room: RoomKey,
        /// The author.
        user: UserName,
        /// The text.
        content: Box<str>,
        /// Makes it idempotent.
        nonce: Option<Box<str>>,
        /// The two of a direct conversation, the author first, to be told by [`Input::Told`].
        pair: Option<(AccountId, AccountId)>,
    },
    /// Change a message, by a change that is appended to the room's log.
    Amend {
        /// Who waits for the answer.
        to: Recipient,
        /// The room.
        room: RoomKey,
        /// Who changes it.
        user: UserName,
        /// The message's number.
        target: u64,
        /// The text it is to have; `None` takes it away.
        content: Option<Box<str>>,
        /// Makes it idempotent.
        nonce: Option<Box<str>>,
        /// Only a message of this user's own, from this time on (Unix milliseconds); `None` for anybody's.
        own_since_ms: Option<u64>,
        /// The two of a direct conversation, as for [`Effect::Append`].
        pair: Option<(AccountId, AccountId)>,
    },
    /// Read the room's log and send it.
    History {
        /// To whom.
        to: Recipient,
        /// The room.
        room: RoomKey,
        /// Which part.
        range: HistoryRange,
    },
    /// Write down that two accounts have a direct conversation.
    Converse {
        /// The two.
        pair: (AccountId, AccountId),
    },
    /// Write down that a user is to stay out; answer when that is durable.
    Ban {
        /// Who waits for the answer.
        to: Recipient,
        /// By whom.
        by: UserName,
        /// Whom.
        user: UserName,
        /// Connections whose addresses are to stay out, too.
        links: Vec<LinkId>,
        /// Until when, Unix milliseconds; for ever if absent.
        until_ms: Option<u64>,
        /// For people.
        reason: Box<str>,
    },
    /// Write down that a user or an address may come in again; answer when that is durable.
    Unban {
        /// Who waits for the answer.
        to: Recipient,
        /// A name, or an address.
        whom: Box<str>,
    },
    /// Tell the operator, who may ask why.
    Offline {
        /// Who.
        user: UserName,
        /// Why.
        why: Departure,
    },
    /// Wake the core.
    Timer {
        /// When, on the monotonic clock.
        at_ms: u64,
        /// With what.
        timer: Timer,
    },
}

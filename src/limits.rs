//! Every bound of the server, in one place, with the relations between them checked at compile time.
//!
//! Owns: numbers. Must never know: what they are used for beyond their name. A bound that an operator may change is
//! here as its default; `config` holds the value in force.

/// Largest WebSocket message a chat client may send, in bytes (close 1009 beyond it).
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024;
/// Largest HTTP request head, in bytes (431 beyond it).
pub const HEAD_BYTES_MAX: usize = 8 * 1024;
/// Default largest HTTP request body, in bytes (413 beyond it).
pub const BODY_BYTES_MAX: usize = 64 * 1024;
/// Rooms in one page of the list of rooms.
pub const ROOMS_PER_PAGE: u64 = 100;
/// Time a peer has to complete a request head, in milliseconds.
pub const HANDSHAKE_TIMEOUT_MS: u64 = 10_000;
/// Time a closing handshake may take before the socket is dropped, in milliseconds.
pub const CLOSE_TIMEOUT_MS: u64 = 3_000;
/// Default time a socket with queued bytes may drain nothing before it is closed with 1013, in milliseconds.
pub const WRITE_TIMEOUT_MS: u64 = 30_000;
/// Default interval of ping frames and `heartbeat` events, in milliseconds.
pub const HEARTBEAT_MS: u64 = 30_000;
/// Default silence after which a connection is closed with 4000, in milliseconds.
pub const OFFLINE_TIMEOUT_MS: u64 = 60_000;
/// Default time a vanished client keeps its name and rooms, in milliseconds.
pub const GRACE_MS: u64 = 10_000;
/// Time a graceful shutdown may take from the signal to the exit, in milliseconds.
pub const SHUTDOWN_MS: u64 = 4_000;
/// Connections that an ending server closes in a millisecond, so that their clients do not come back all at once ...
pub const DRAIN_PER_MS: u64 = 5;
/// ... unless that took longer than this, in milliseconds.
pub const DRAIN_MS_MAX: u64 = 2_000;

/// Bytes queued for one connection below which it is given more of its rooms.
pub const OUTBOX_LOW_WATER_BYTES: usize = 16 * 1024;
/// Bytes queued for one connection above which its commands are no longer read.
pub const OUTBOX_HIGH_WATER_BYTES: usize = 64 * 1024;
/// Bytes queued for one connection above which it is closed with 1013. What others send it privately gets there; rooms
/// wait in the log, and its own commands wait while answers to them do.
pub const OUTBOX_BYTES_MAX: usize = 1024 * 1024;

/// Default longest message content, in bytes of UTF-8.
pub const CONTENT_BYTES_MAX: usize = 4_096;
/// Longest content that can be configured, in bytes of UTF-8.
pub const CONTENT_BYTES_CEILING: usize = 1024 * 1024;
/// Longest room name, in characters.
pub const ROOM_NAME_CHARS_MAX: usize = 64;
/// Longest user name, in characters.
pub const USER_NAME_CHARS_MAX: usize = 32;
/// Longest command `id`, in bytes of its JSON text without quotes.
pub const COMMAND_ID_BYTES_MAX: usize = 64;
/// Longest `nonce`, in bytes.
pub const NONCE_BYTES_MAX: usize = 64;
/// Rooms one connection may be in.
pub const ROOMS_PER_CONNECTION_MAX: usize = 64;
/// Default sustained messages per second and connection.
pub const RATE_PER_SECOND: u32 = 20;
/// Messages per connection that may come at once, as a multiple of the rate.
pub const RATE_BURST_FACTOR: u32 = 2;
/// Sustained commands and control frames that are no messages, per second and connection, as a multiple of the rate.
pub const RATE_COMMANDS_FACTOR: u32 = 50;
/// How many more messages may be refused than accepted before a connection is closed with 1008.
pub const RATE_ABUSE_MAX: u32 = 200;

/// Default time for which messages of a busy room may wait for others to leave with, in milliseconds.
pub const LINGER_MS: u64 = 1;
/// Longest such time that can be configured, in milliseconds.
pub const LINGER_MS_CEILING: u64 = 20;

/// Messages in the history that a join without `since` is sent.
pub const JOIN_HISTORY_MESSAGES: u64 = 50;
/// Messages a `history` command returns unless it says otherwise.
pub const HISTORY_LIMIT_DEFAULT: u64 = 100;
/// Most messages in one `history` frame.
pub const HISTORY_LIMIT_MAX: u64 = 1_000;
/// Bytes of messages after which a replayed `history` frame ends.
pub const REPLAY_FRAME_BYTES_MAX: usize = 64 * 1024;
/// Bytes of messages after which the answer to a `history` command ends.
pub const HISTORY_FRAME_BYTES_MAX: usize = 256 * 1024;

/// Users listed in one `presence` event; also the room size from which joins are no longer announced one by one.
pub const PRESENCE_USERS_MAX: usize = 100;
/// Shortest time between two `presence` counts in a large room, in milliseconds.
pub const PRESENCE_COUNT_INTERVAL_MS: u64 = 1_000;

/// Silence after which somebody who typed has stopped, in milliseconds.
pub const TYPING_MS: u64 = 6_000;
/// Shortest time between two `typing` events about one user in one room, in milliseconds.
pub const TYPING_INTERVAL_MS: u64 = 1_000;
/// Longest reason of a kick or a ban, in bytes: what fits a close frame with its code (RFC 6455 section 5.5).
pub const REASON_BYTES_MAX: usize = 123;
/// Accounts of one server.
pub const ACCOUNTS_MAX: usize = 1_000_000;
/// Rooms one account may keep.
pub const ACCOUNT_ROOMS_MAX: usize = 256;
/// Direct conversations of one account.
pub const ACCOUNT_PEERS_MAX: usize = 4_096;
/// Logins of one account that are good at once; the oldest makes room for one more.
pub const TOKENS_PER_ACCOUNT_MAX: usize = 32;
/// Default time that a login lasts, in milliseconds: 30 days.
pub const TOKEN_AGE_MS: u64 = 30 * 24 * 60 * 60 * 1_000;
/// Bans in force at once.
pub const BANS_MAX: usize = 10_000;
/// Longest reason of a ban, in bytes of UTF-8.
pub const BAN_REASON_BYTES_MAX: usize = 1_024;
/// Changes of accounts that may wait for the disk.
pub const LEDGER_PENDING_MAX: usize = 1_024;
/// Records of accounts from which on those that say nothing any more may be left behind.
pub const LEDGER_COMPACT_RECORDS: u64 = 10_000;
/// How many times as many records as are needed there must be for that.
pub const LEDGER_COMPACT_FACTOR: u64 = 4;
/// Shortest password, in characters.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// Longest password, in characters.
pub const PASSWORD_CHARS_MAX: usize = 128;
/// Longest password, in bytes of UTF-8.
pub const PASSWORD_BYTES_MAX: usize = 512;
/// Names, and addresses, of which failed logins are remembered.
pub const ATTEMPTS_MAX: usize = 10_000;
/// Jobs that may wait for the helper thread, the one that it does included.
pub const HELPER_QUEUE_MAX: usize = 32;
/// Default connections at a time from one IPv4 address or one /64 of IPv6 (503 beyond it).
pub const CONNECTIONS_PER_ADDRESS_MAX: u32 = 1_024;
/// Default messages per second and account, as a multiple of those per connection.
pub const ACCOUNT_RATE_FACTOR: u32 = 2;
/// Default messages per second and address, as a multiple of those per connection.
pub const ADDRESS_RATE_FACTOR: u32 = 50;

/// Edits of one message. A deletion takes the text of all of them away at once.
pub const EDITS_MAX: usize = 100;

/// Encoded messages kept in memory for readers that are a little behind, over all rooms, in bytes.
pub const TAIL_BYTES_MAX: usize = 1024 * 1024;
/// Log files that may be held open at once however many connections there are.
pub const LOG_FILES_OPEN_MIN: usize = 512;
/// Log files held open at once while there are descriptors to spare.
pub const LOG_FILES_OPEN_MAX: usize = 4_096;
/// Descriptors kept back from connections for the log, the listener and the poll.
pub const DESCRIPTORS_RESERVED: usize = LOG_FILES_OPEN_MIN + 64;
/// Default size at which a log segment is sealed, in bytes.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;
/// Log bytes between two entries of a sparse index.
pub const INDEX_STRIDE_BYTES: u64 = 4 * 1024;
/// Largest payload of one log record, in bytes.
pub const RECORD_BYTES_MAX: usize = 9_999_999;

const _: () = assert!(CONTENT_BYTES_MAX < MESSAGE_BYTES_MAX);
const _: () = assert!(OUTBOX_LOW_WATER_BYTES < OUTBOX_HIGH_WATER_BYTES);
const _: () = assert!(OUTBOX_HIGH_WATER_BYTES + HISTORY_FRAME_BYTES_MAX < OUTBOX_BYTES_MAX);
const _: () = assert!(OFFLINE_TIMEOUT_MS > HEARTBEAT_MS, "a ping must have time to be answered");
const _: () = assert!(TYPING_MS > TYPING_INTERVAL_MS, "who repeats it each second goes on typing");
const _: () = assert!(HISTORY_LIMIT_DEFAULT <= HISTORY_LIMIT_MAX && JOIN_HISTORY_MESSAGES <= HISTORY_LIMIT_MAX);
// Six bytes (\u0000) is the longest JSON escape of one byte.
const _: () = assert!(6 * CONTENT_BYTES_CEILING + 4096 < RECORD_BYTES_MAX);
const _: () = assert!(ROOMS_PER_CONNECTION_MAX <= ACCOUNT_ROOMS_MAX);
const _: () = assert!(PASSWORD_CHARS_MIN < PASSWORD_CHARS_MAX && PASSWORD_CHARS_MAX <= PASSWORD_BYTES_MAX);
const _: () = assert!(SHUTDOWN_MS < 5_000, "the service promises to be gone within five seconds");

//! The commands besides `serve`, one file each: programs that talk to a server or read its files.
//!
//! Must never know: the server's insides. What they share with it is the protocol and the log's format.

pub mod account;
pub mod bench;
pub mod chat;
pub mod healthcheck;
mod http;
pub mod log;
mod modes;
mod random;
mod secret;
mod tls;

/// Largest message of a server, in bytes: its history frames are larger than what clients may send.
const SERVER_MESSAGE_BYTES_MAX: usize = 16 << 20;

//! The commands besides `serve`, one file each: programs that talk to a server or read its files.
//!
//! Must never know: the server's insides. What they share with it is the protocol and the log's format.

pub mod account;
pub mod bench;
pub mod chat;
pub mod healthcheck;
mod http;
pub mod log;
mod secret;

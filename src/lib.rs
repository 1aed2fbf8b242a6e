//! Roomlog: a real-time chat server where a room is a log and a subscription is a cursor over it.
//!
//! The modules stand in dependency order: each may use those above it as `docs/ARCHITECTURE.md` says, never those
//! below. `tests/tidy.rs` enforces the arrows.

pub mod few;
pub mod limits;
pub mod metrics;

pub mod clock;
pub mod config;
pub mod names;
pub mod protocol;
pub mod rate;

pub mod log;
pub mod net;

pub mod accounts;
pub mod passwords;

pub mod chat;
pub mod feed;
pub mod jobs;
pub mod web;

pub mod server;

pub mod cli;

#[cfg(any(test, feature = "fuzzing"))]
#[doc(hidden)]
pub mod fuzzing;

//! Commands that wait because the answers to earlier ones have not left yet.
//!
//! Owns: whose commands wait, in order. Must never know: what they say.
//!
//! One read may bring more than a thousand short commands, and each may ask for a quarter of a megabyte. So a connection
//! whose queue is above its high-water mark is not answered until it has drained, and not read in the meantime: what it
//! can make the server hold is one read and one answer more than the mark, however little it reads itself.

use std::collections::{HashMap, VecDeque};

use tungstenite::Utf8Bytes;

use super::{Server, ServerError, World};
use crate::{chat::Input, clock::Now, limits, net::ConnId, protocol};

/// Invariant: a connection with waiting commands is held, so that no more are read.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: HashMap<ConnId, VecDeque<Utf8Bytes>>,
    /// Those that may have room again.
    ready: Vec<ConnId>,
}

impl Backlog {
    /// The connection has room again.
    pub fn resume(&mut self, conn: ConnId) {
        if self.waiting.contains_key(&conn) {
            self.ready.push(conn);
        }
    }

    /// Forgets a connection.
    pub fn remove(&mut self, conn: ConnId) {
        self.waiting.remove(&conn);
    }

    /// Connections with commands that wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// Whether there is something to do in the next turn.
    pub fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }
}

impl<W: World> Server<W> {
    /// Carries a command out, or lets it wait behind others of its connection.
    pub(super) fn on_text(&mut self, now: Now, conn: ConnId, text: Utf8Bytes) -> Result<(), ServerError> {
        if let Some(waiting) = self.backlog.waiting.get_mut(&conn) {
            waiting.push_back(text);
            return Ok(());
        }
        if self.net.queued_bytes(conn) > limits::OUTBOX_HIGH_WATER_BYTES {
            self.net.hold(conn, true);
            self.backlog.waiting.insert(conn, VecDeque::from([text]));
            self.backlog.ready.push(conn);
            return Ok(());
        }
        self.carry_out(now, conn, &text)
    }

    /// Carries out what waited, for connections that have room.
    pub(super) fn work_off(&mut self, now: Now) -> Result<(), ServerError> {
        for conn in std::mem::take(&mut self.backlog.ready) {
            while let Some(waiting) = self.backlog.waiting.get_mut(&conn) {
                if self.net.queued_bytes(conn) >= limits::OUTBOX_LOW_WATER_BYTES {
                    if !self.net.is_blocked(conn) {
                        self.backlog.ready.push(conn); // this turn's flush makes room, or blocks it
                    }
                    break;
                }
                match waiting.pop_front() {
                    Some(text) => self.carry_out(now, conn, &text)?,
                    None => {
                        self.backlog.waiting.remove(&conn);
                        self.net.hold(conn, false);
                    }
                }
            }
        }
        Ok(())
    }

    fn carry_out(&mut self, now: Now, conn: ConnId, text: &str) -> Result<(), ServerError> {
        let Some(client) = self.links.client(conn) else { return Ok(()) };
        let address = self.address_key(conn);
        self.input(now, Input::Command { client, address, request: protocol::parse(text) })
    }
}

//! One room as the terminal client follows it: a cursor over its log, and what is to be said in it.
//!
//! Owns: the position, what is unsent, who is there. Must never know: a connection, a terminal.

use std::collections::{BTreeMap, VecDeque};

/// How far joining has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Not joined on this connection.
    Out,
    /// The last messages were asked for, from which to join.
    Peeking,
    /// The join is sent.
    Joining,
    /// It is acknowledged; what was missed is coming.
    Replaying,
    /// Caught up.
    Live,
}

/// What is to be said, until its ack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pending {
    /// Makes saying it again harmless.
    pub nonce: String,
    pub content: String,
    /// It is on its way on this connection.
    pub is_sent: bool,
}

/// A room.
///
/// Invariant: at most the first of `outbox` is sent, so what was typed first is stored first.
#[derive(Debug)]
pub(super) struct Room {
    pub name: String,
    /// The other one, if it is a private conversation.
    pub peer: Option<String>,
    pub phase: Phase,
    pub epoch: Option<String>,
    /// The last number that was shown, or that is not to be; `None` before the first join.
    pub last: Option<u64>,
    /// Messages to show of what was there before the first join.
    pub tail: u64,
    pub outbox: VecDeque<Pending>,
    /// Who is known to be there, with status.
    pub members: BTreeMap<String, String>,
    /// A history was asked for by somebody; the next frame of it is not the cursor's.
    pub is_reading: bool,
    /// The list of members was asked for by somebody.
    pub is_asking: bool,
}

impl Room {
    pub fn new(name: &str, tail: u64) -> Self {
        Self {
            name: name.to_owned(),
            peer: None,
            phase: Phase::Out,
            epoch: None,
            last: None,
            tail,
            outbox: VecDeque::new(),
            members: BTreeMap::new(),
            is_reading: false,
            is_asking: false,
        }
    }

    /// A private conversation, of which everything after `last` is to be shown, or nothing that was there before.
    pub fn private(name: &str, peer: &str, last: Option<u64>) -> Self {
        Self { peer: Some(peer.to_owned()), last, ..Self::new(name, 0) }
    }

    /// What to call it.
    pub fn title(&self) -> String {
        self.peer.as_ref().map_or_else(|| format!("#{}", self.name), |peer| format!("@{peer}"))
    }

    /// The connection is gone, and with it what held only for it.
    pub fn lose(&mut self) {
        self.phase = Phase::Out;
        self.is_reading = false;
        self.is_asking = false;
        self.members.clear();
        self.outbox.iter_mut().for_each(|pending| pending.is_sent = false);
    }

    pub fn can_send(&self) -> bool {
        matches!(self.phase, Phase::Replaying | Phase::Live)
    }

    /// Takes what has this nonce off the outbox.
    pub fn take(&mut self, nonce: &str) -> Option<Pending> {
        let at = self.outbox.iter().position(|pending| pending.nonce == nonce)?;
        self.outbox.remove(at)
    }

    /// What has this nonce is to be sent again.
    pub fn unsend(&mut self, nonce: &str) {
        let pending = self.outbox.iter_mut().filter(|pending| pending.nonce == nonce);
        pending.for_each(|pending| pending.is_sent = false);
    }
}

//! Idempotency: the nonces of a room's last messages.
//!
//! Owns: which nonce belongs to which sequence. Must never know: what the client does with it.
//!
//! The window is at least the last [`WINDOW_MESSAGES`] messages of the room. It is in the log, so it survives restarts;
//! in memory it is an index from a hash to a sequence, and the record itself has the last word.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
};

use super::{Entry, Feed, Rejection, RoomId};
use crate::{
    log::{Disk, LogId},
    protocol::recorded,
};

/// Messages for whose nonces a room answers.
pub(super) const WINDOW_MESSAGES: u64 = 10_000;

/// What a nonce says about an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Not seen in the window.
    New,
    /// Seen with other content.
    Conflict,
    /// Seen with this content.
    Stored { sequence: u64, timestamp: u64 },
}

#[derive(Debug, Default)]
pub(super) struct Nonces {
    hasher: RandomState,
    sequences: HashMap<u64, u64>,
}

impl Nonces {
    fn hash(&self, user: &str, nonce: &str) -> u64 {
        self.hasher.hash_one((user, nonce))
    }

    pub fn insert(&mut self, user: &str, nonce: &str, sequence: u64) {
        self.sequences.insert(self.hash(user, nonce), sequence);
        // Twice the window before a sweep: each entry is looked at O(1) times.
        if self.sequences.len() as u64 > 2 * WINDOW_MESSAGES {
            self.sequences.retain(|_, &mut kept| kept + WINDOW_MESSAGES > sequence);
        }
    }

    fn get(&self, user: &str, nonce: &str) -> Option<u64> {
        self.sequences.get(&self.hash(user, nonce)).copied()
    }

    pub fn forget_from(&mut self, from: u64) {
        self.sequences.retain(|_, &mut sequence| sequence < from);
    }
}

impl<D: Disk, T> Feed<D, T> {
    /// Looks an entry's nonce up. The room is warm.
    pub(super) fn check_nonce(
        &mut self,
        id: RoomId,
        log: LogId,
        nonce: &str,
        entry: &Entry<'_>,
    ) -> Result<Verdict, Rejection> {
        if self.hot(id).nonces.is_none() {
            let nonces = self.rebuild_nonces(log)?;
            self.hot(id).nonces = Some(Box::new(nonces));
        }
        let hot = self.hot(id);
        let Some(sequence) = hot.nonces.as_ref().and_then(|nonces| nonces.get(entry.user, nonce)) else {
            return Ok(Verdict::New);
        };
        if let Some(payload) = hot.building.payload(sequence) {
            return Ok(compare(payload, sequence, nonce, entry));
        }
        self.store.read(log, sequence, 1, 1, &mut self.buffer).map_err(Rejection::Log)?;
        let record = self.buffer.records().next().filter(|&(found, _)| found == sequence);
        Ok(record.map_or(Verdict::New, |(_, payload)| compare(payload, sequence, nonce, entry)))
    }

    /// Reads the window from the log.
    fn rebuild_nonces(&mut self, log: LogId) -> Result<Nonces, Rejection> {
        let mut nonces = Nonces::default();
        let position = self.store.position(log);
        let mut next = position.floor.max((position.head + 1).saturating_sub(WINDOW_MESSAGES));
        while next <= position.head {
            self.store.read(log, next, usize::MAX, 256 * 1024, &mut self.buffer).map_err(Rejection::Log)?;
            for (sequence, payload) in self.buffer.records() {
                if let Some(recorded::Message { user, nonce: Some(nonce), .. }) = recorded::parse(payload) {
                    nonces.insert(&user, &nonce, sequence);
                }
            }
            debug_assert!(self.buffer.next > next, "a read goes on");
            next = self.buffer.next;
        }
        Ok(nonces)
    }
}

/// What the record that a nonce's hash led to says.
fn compare(payload: &[u8], sequence: u64, nonce: &str, entry: &Entry<'_>) -> Verdict {
    match recorded::parse(payload) {
        Some(message) if message.user == entry.user && message.nonce.as_deref() == Some(nonce) => {
            let is_same = message.kind == entry.change.map(|change| change.kind)
                && message.target == entry.change.map(|change| change.target);
            // Of what was changed since, nobody knows the text any more.
            if is_same && (message.changed.is_some() || message.content == entry.content) {
                Verdict::Stored { sequence, timestamp: message.timestamp }
            } else {
                Verdict::Conflict
            }
        }
        _ => Verdict::New, // another nonce with the same hash
    }
}

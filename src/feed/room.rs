//! One room's part of the feed.
//!
//! Owns: what is kept in memory for a room. Must never know: other rooms.

use std::{collections::VecDeque, rc::Rc};

use smallvec::SmallVec;

use super::{
    cursor::Subscriber,
    nonces::Nonces,
    patience::Patience,
    tail::{self, Batch, Building},
};
use crate::log::{LogError, LogId};

pub(super) struct Room<T> {
    pub name: Rc<str>,
    pub log: Result<LogId, LogError>,
    pub subscribers: SmallVec<[Subscriber; 1]>,
    /// There once something was said in this process: most rooms are silent.
    pub hot: Option<Box<Hot<T>>>,
}

impl<T> Room<T> {
    pub fn new(name: Rc<str>, log: Result<LogId, LogError>) -> Self {
        Self { name, log, subscribers: SmallVec::new(), hot: None }
    }

    pub fn is_settled(&self) -> bool {
        self.hot.as_ref().is_none_or(|hot| hot.pending.is_empty() && hot.building.is_empty())
    }
}

/// A draft that waits for its message to be published.
pub(super) struct Pending<T> {
    pub ticket: T,
    pub sequence: u64,
    /// Unix milliseconds.
    pub timestamp: u64,
    /// True if the message is an earlier draft's.
    pub duplicate: bool,
}

/// Invariants: `pending` ascends by sequence; `tail` is ascending and without a hole, and `building` continues it.
pub(super) struct Hot<T> {
    /// Timestamps never go backwards in a room, whatever the clock does.
    pub last_timestamp: u64,
    pub building: Building,
    pub pending: VecDeque<Pending<T>>,
    pub tail: VecDeque<Batch>,
    pub nonces: Option<Box<Nonces>>,
    pub patience: Patience,
    delivered: u64,
    /// Changes that are not published yet: their own sequences, and the last of those they change. Nearly always none.
    changes: VecDeque<(u64, u64)>,
}

impl<T> Hot<T> {
    pub fn new(last_timestamp: u64, head: u64) -> Self {
        let (building, pending, tail) = (Building::default(), VecDeque::new(), VecDeque::new());
        let patience = Patience::default();
        let changes = VecDeque::new();
        Self { last_timestamp, building, pending, tail, nonces: None, patience, delivered: head, changes }
    }

    /// The published batches that no delivery has seen, which this one does.
    pub fn undelivered(&mut self) -> impl Iterator<Item = &Batch> {
        let seen = self.tail.partition_point(|batch| batch.last <= self.delivered);
        self.delivered = self.tail.back().map_or(self.delivered, |batch| batch.last.max(self.delivered));
        self.tail.range(seen..)
    }

    /// Published messages from a sequence on, if it is in memory.
    pub fn published_from(&self, sequence: u64) -> Option<impl Iterator<Item = &[u8]>> {
        tail::messages_from(&self.tail, sequence)
    }

    /// The last sequence that was delivered.
    pub fn delivered_through(&self) -> u64 {
        self.delivered
    }

    /// Gives back what can be had again from the log, but for what the next to join is shown first.
    pub fn cool_down(&mut self, messages_kept: u64) {
        self.nonces = None;
        let end = self.tail.back().map_or(0, |batch| batch.last);
        self.tail.retain(|batch| batch.last + messages_kept > end);
        self.tail.shrink_to_fit();
    }

    /// Gives that back, too.
    pub fn forget_tail(&mut self) {
        self.tail = VecDeque::new();
    }

    /// Bytes of published frames in memory that are not all before a sequence.
    pub fn tail_bytes_from(&self, sequence: u64) -> usize {
        let index = self.tail.partition_point(|batch| batch.last < sequence);
        self.tail.range(index..).map(|batch| batch.frame.len()).sum()
    }

    /// Notes that a record that is not published yet changes earlier ones.
    pub fn note_changed(&mut self, by: u64, targets: impl Iterator<Item = u64>) {
        self.changes.extend(targets.max().map(|last| (by, last)));
    }

    /// The last record that is changed by those up to a sequence, which are published now.
    pub fn take_changed(&mut self, through: u64) -> Option<u64> {
        let published = self.changes.partition_point(|&(by, _)| by <= through);
        self.changes.drain(..published).map(|(_, last)| last).max()
    }

    /// Forgets changes that the log gave back.
    pub fn forget_changes(&mut self, from: u64) {
        self.changes.retain(|&(by, _)| by < from);
    }

    pub fn remember_nonce(&mut self, user: &str, nonce: &str, sequence: u64) {
        if let Some(nonces) = &mut self.nonces {
            nonces.insert(user, nonce, sequence);
        }
    }

    pub fn forget_nonces(&mut self, from: u64) {
        if let Some(nonces) = &mut self.nonces {
            nonces.forget_from(from);
        }
    }
}

//! One room's part of the feed.
//!
//! Owns: what is kept in memory for a room. Must never know: other rooms.

use std::{collections::VecDeque, rc::Rc};

use smallvec::SmallVec;

use super::{
    cursor::Subscriber,
    nonces::Nonces,
    tail::{Batch, Building},
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
    delivered: u64,
}

impl<T> Hot<T> {
    pub fn new(last_timestamp: u64, head: u64) -> Self {
        let (building, pending, tail) = (Building::default(), VecDeque::new(), VecDeque::new());
        Self { last_timestamp, building, pending, tail, nonces: None, delivered: head }
    }

    /// The published batches that no delivery has seen, which this one does.
    pub fn undelivered(&mut self) -> impl Iterator<Item = &Batch> {
        let seen = self.tail.partition_point(|batch| batch.last <= self.delivered);
        self.delivered = self.tail.back().map_or(self.delivered, |batch| batch.last.max(self.delivered));
        self.tail.range(seen..)
    }

    /// The last sequence that was delivered.
    pub fn delivered_through(&self) -> u64 {
        self.delivered
    }

    /// Gives back what can be had again from the log.
    pub fn cool_down(&mut self) {
        (self.tail, self.nonces) = (VecDeque::new(), None);
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

//! What is kept in memory of an open room.
//!
//! Owns: plain state and its invariants. Must never know: how it gets to the disk.

use std::ops::Range;

use super::amend::Amends;
use super::index::Index;
use super::record;
use super::types::{Epoch, Position};

/// An open room. While nothing of it is on the disk or on the way there, `log` is `None` and this is all of it.
///
/// Invariants: `visible <= log.written < next`; `next - written - 1` records are in `log.buffer`; `floor <= next`.
pub(crate) struct Room {
    pub name: Box<str>,
    pub epoch: Epoch,
    /// The last sequence that may be shown.
    pub visible: u64,
    /// The sequence of the next append.
    pub next: u64,
    /// Tells this room from an earlier one with the same number.
    pub generation: u32,
    /// A write or a sync failed.
    pub read_only: bool,
    pub log: Option<Box<RoomLog>>,
}

/// The part of a room that has files.
pub(crate) struct RoomLog {
    /// `record::seed` of the room.
    pub seed: u32,
    /// Full segments, ascending; all of their bytes are durable.
    pub sealed: Vec<Sealed>,
    /// The segment that is written to; `None` until there is one.
    pub active: Option<Active>,
    /// Earlier epochs with their last sequences, oldest first.
    pub old_epochs: Vec<(Epoch, u64)>,
    /// Encoded records that are not written yet.
    pub buffer: Vec<u8>,
    /// The last sequence in the files.
    pub written: u64,
    /// The last sequence known to be on the disk; may be too low.
    pub durable: u64,
    /// Earlier records that are being changed.
    pub amends: Amends,
    /// Whether this run has left its mark.
    pub mark: Marked,
    /// The next write begins a new segment. Decided between writes, so that a record knows whether it will stand behind
    /// a header that is as new as itself.
    pub roll_due: bool,
    /// Whether the room is in the store's list of rooms to write.
    pub queued: bool,
    /// In which of the store's lists of rooms to sync it is.
    pub wanted: Wanted,
    /// A batch with this room is out.
    pub in_flight: bool,
    /// Folders whose entries wait for a sync.
    pub folders: Folders,
}

/// A segment that is no longer written to.
pub(crate) struct Sealed {
    pub first: u64,
    pub bytes: u64,
    /// When the segment after it was begun, so that nothing in here is younger; `None` until somebody asks.
    pub until_ms: Option<u64>,
}

/// The segment that is written to.
pub(crate) struct Active {
    pub first: u64,
    /// Size of the file.
    pub bytes: u64,
    /// How much of it is durable; at most `bytes`.
    pub durable_bytes: u64,
    /// How much of it its sidecar covers.
    pub indexed_bytes: u64,
    pub created_ms: u64,
    pub index: Index,
}

/// How far this run's mark has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Marked {
    No,
    Written,
    Durable,
}

/// How urgently a room wants its sync.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wanted {
    No,
    /// When the interval is over.
    Lazy,
    /// With the next batch.
    Urgent,
}

/// Which folders changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Folders {
    Synced,
    /// The room's folder has new or removed entries.
    Room,
    /// The room's folder is new itself.
    RoomAndParent,
}

impl Room {
    /// A room of which nothing is stored.
    pub fn fresh(name: &str, epoch: Epoch, generation: u32) -> Room {
        Room { name: name.into(), epoch, visible: 0, next: 1, generation, read_only: false, log: None }
    }

    pub fn position(&self) -> Position {
        let floor = self.log.as_ref().map_or(1, |log| log.floor());
        Position { epoch: self.epoch, floor, head: self.visible, next: self.next }
    }

    pub fn check_invariants(&self) {
        let Some(log) = &self.log else {
            debug_assert!(self.next == 1 && self.visible == 0);
            return;
        };
        debug_assert!(self.visible <= log.written && log.written < self.next, "{}", self.name);
        debug_assert!(log.floor() <= self.next);
        debug_assert_eq!(log.buffer.is_empty(), log.written + 1 == self.next);
        debug_assert!(log.sealed.is_sorted_by_key(|segment| segment.first));
        debug_assert!(log.durable <= log.written, "{}", self.name);
        log.amends.check_invariants(log.buffer.len(), self.next);
        if let Some(active) = &log.active {
            debug_assert!(active.durable_bytes <= active.bytes);
            debug_assert!(active.first <= log.written + 1);
            debug_assert!(log.sealed.last().is_none_or(|last| last.first < active.first));
        }
    }
}

impl RoomLog {
    /// The log of a room of which nothing is stored.
    pub fn fresh(name: &str) -> RoomLog {
        RoomLog {
            seed: record::seed(name),
            sealed: Vec::new(),
            active: None,
            old_epochs: Vec::new(),
            buffer: Vec::new(),
            written: 0,
            durable: 0,
            amends: Amends::default(),
            mark: Marked::No,
            roll_due: false,
            queued: false,
            wanted: Wanted::No,
            in_flight: false,
            folders: Folders::Synced,
        }
    }

    /// The first sequence that is still there, or would be.
    pub fn floor(&self) -> u64 {
        let sealed = self.sealed.first().map(|segment| segment.first);
        sealed.or(self.active.as_ref().map(|active| active.first)).unwrap_or(self.written + 1)
    }

    /// Whether everything written is on the disk under its name.
    pub fn is_durable(&self) -> bool {
        let bytes = self.active.as_ref().is_none_or(|active| active.bytes == active.durable_bytes);
        bytes && self.folders == Folders::Synced && !self.in_flight
    }

    /// Whether, besides, every change of earlier records that is in the files has been carried out, durably.
    pub fn is_settled(&self) -> bool {
        self.is_durable() && self.amends.is_settled(self.written)
    }

    /// The segment that holds `sequence` or what is nearest after it: its first sequence, and which sequences it may hold.
    pub fn segment_of(&self, sequence: u64) -> Option<(u64, Range<u64>)> {
        let after = self.sealed.partition_point(|segment| segment.first <= sequence);
        let active = self.active.as_ref().map(|active| active.first);
        if let Some(first) = active.filter(|&first| first <= sequence || self.sealed.is_empty()) {
            return Some((first, first..u64::MAX));
        }
        let segment = self.sealed.get(after.saturating_sub(1))?;
        let next = self.sealed.get(after.max(1)).map(|segment| segment.first).or(active);
        Some((segment.first, segment.first..next.unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_written_room_is_small() {
        // Name and slab entry come on top: with a name of 20 bytes, about 110 in all.
        assert!(size_of::<Room>() <= 64, "{}", size_of::<Room>());
    }
}

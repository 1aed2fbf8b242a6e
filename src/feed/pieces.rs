//! History frames that were made a moment ago, for others who stand at the same place.
//!
//! Owns: which they are, and how many are kept. Must never know: what is in them.
//!
//! Whoever joins a room sees the same last messages, and after a restart everybody comes back at about the same position:
//! then one frame is read, checked and encoded once and shared. Kept only while somebody is behind.

use std::collections::VecDeque;

use super::RoomId;
use crate::net::Frame;

/// Frames that are kept: with 64 KiB each, a megabyte.
const PIECES_MAX: usize = 16;

/// All that a history frame depends on, as long as its room is open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub room: RoomId,
    /// The first sequence asked for.
    pub from: u64,
    /// The last one.
    pub until: u64,
    /// The room's floor, which the frame tells.
    pub floor: u64,
    /// The most bytes of messages.
    pub bytes_max: usize,
}

#[derive(Debug, Default)]
pub(super) struct Pieces {
    /// Oldest first, with the sequence that follows.
    kept: VecDeque<(Place, Frame, u64)>,
}

impl Pieces {
    /// The frame for this place and the sequence that follows it.
    pub fn get(&self, place: Place) -> Option<(Frame, u64)> {
        // The latest first: who stands at the same place comes one behind the other.
        let found = self.kept.iter().rev().find(|(kept, ..)| *kept == place);
        found.map(|(_, frame, next)| (frame.clone(), *next))
    }

    pub fn put(&mut self, place: Place, frame: Frame, next: u64) {
        if self.kept.len() == PIECES_MAX {
            self.kept.pop_front();
        }
        self.kept.push_back((place, frame, next));
    }

    /// Nobody is behind any more.
    pub fn clear(&mut self) {
        self.kept = VecDeque::new();
    }

    /// The room's number may mean another room from now on.
    pub fn forget(&mut self, room: RoomId) {
        self.kept.retain(|(place, ..)| place.room != room);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_for_its_place_only_and_not_for_ever() {
        let place = |room, from| Place { room: RoomId(room), from, until: 9, floor: 1, bytes_max: 10 };
        let mut pieces = Pieces::default();
        for from in 0..20 {
            pieces.put(place(from as u32 % 2, from), Frame::text(b"x"), from + 5);
        }
        assert_eq!(pieces.get(place(1, 19)).map(|(_, next)| next), Some(24));
        assert!(pieces.get(place(0, 19)).is_none() && pieces.get(place(1, 3)).is_none());
        assert!(pieces.get(Place { until: 10, ..place(1, 19) }).is_none());
        pieces.forget(RoomId(1));
        assert!(pieces.get(place(1, 19)).is_none() && pieces.get(place(0, 18)).is_some());
        pieces.clear();
        assert!(pieces.get(place(0, 18)).is_none());
    }
}

//! Open log files, a bounded number of them.
//!
//! Owns: descriptors, and which to close when another is needed. Must never know: what the files are for.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;

/// A segment of an open room: the room's number and the segment's first sequence.
pub(crate) type FileKey = (u32, u64);

/// Hashes a `FileKey`. The standard hasher defends against chosen keys; ours are slot numbers, and one lookup per write
/// with it costs a tenth of the write.
#[derive(Default)]
struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(u64::from(byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        // The table takes its bits from both ends, so the high ones are folded down after the multiplication.
        let mixed = (self.0 ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

struct Slot<F> {
    file: Arc<F>,
    used: u64,
    /// Bytes wait for a sync. Closing the file now could lose the report of a failed write-back.
    pinned: bool,
}

/// The least recently used file is closed first, pinned ones never.
///
/// Invariant: at most `max` files, but for pinned ones when `max` was lowered.
pub(crate) struct Files<F> {
    slots: HashMap<FileKey, Slot<F>, BuildHasherDefault<KeyHasher>>,
    max: usize,
    clock: u64,
}

impl<F> Files<F> {
    pub fn new(max: usize) -> Files<F> {
        Files { slots: HashMap::default(), max: max.max(1), clock: 0 }
    }

    pub fn get(&mut self, key: FileKey) -> Option<Arc<F>> {
        self.clock += 1;
        let slot = self.slots.get_mut(&key)?;
        slot.used = self.clock;
        Some(Arc::clone(&slot.file))
    }

    /// Allows another number of files, at least 1, and closes those that are too many.
    pub fn set_max(&mut self, max: usize) {
        self.max = max.max(1);
        while self.slots.len() > self.max && self.close_oldest() {}
    }

    /// Whether `key` is open or could be, after closing another.
    pub fn has_room_for(&mut self, key: FileKey) -> bool {
        self.slots.contains_key(&key)
            || self.slots.len() < self.max
            || (self.close_oldest() && self.slots.len() < self.max)
    }

    /// False if there is none that may be closed.
    fn close_oldest(&mut self) -> bool {
        // Linear, but a miss costs an open(2), which takes longer than a look at all the slots.
        let oldest = self.slots.iter().filter(|(_, slot)| !slot.pinned).min_by_key(|(_, slot)| slot.used);
        let oldest = oldest.map(|(&key, _)| key);
        oldest.is_some_and(|key| self.slots.remove(&key).is_some())
    }

    /// Keeps a file open if there is room; without room it is closed with the last handle to it.
    pub fn insert(&mut self, key: FileKey, file: F) -> Arc<F> {
        let file = Arc::new(file);
        if self.has_room_for(key) {
            self.clock += 1;
            self.slots.insert(key, Slot { file: Arc::clone(&file), used: self.clock, pinned: false });
        }
        file
    }

    pub fn pin(&mut self, key: FileKey, pinned: bool) {
        if let Some(slot) = self.slots.get_mut(&key) {
            slot.pinned = pinned;
        }
    }

    pub fn remove(&mut self, key: FileKey) -> Option<Arc<F>> {
        self.slots.remove(&key).map(|slot| slot.file)
    }

    pub fn remove_room(&mut self, room: u32) {
        self.slots.retain(|&(of, _), _| of != room);
    }

    pub fn len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn least_recently_used_file_is_closed_and_pinned_ones_stay() {
        let mut files = Files::new(2);
        files.insert((1, 1), "one");
        files.insert((2, 1), "two");
        files.get((1, 1));
        files.insert((3, 1), "three");
        assert!(files.get((2, 1)).is_none() && files.get((1, 1)).is_some());
        files.pin((1, 1), true);
        files.pin((3, 1), true);
        assert!(!files.has_room_for((4, 1)));
        assert_eq!(*files.insert((4, 1), "four"), "four", "given, but not kept");
        assert!(files.get((4, 1)).is_none());
        files.pin((3, 1), false);
        assert!(files.has_room_for((4, 1)));
    }

    #[test]
    fn a_lower_bound_closes_all_but_pinned_files() {
        let mut files = Files::new(8);
        (1..=6).for_each(|room| {
            files.insert((room, 1), room);
        });
        files.pin((1, 1), true);
        files.pin((2, 1), true);
        files.set_max(1);
        assert_eq!(files.len(), 2);
        assert!(!files.has_room_for((7, 1)));
        files.pin((2, 1), false);
        assert!(!files.has_room_for((7, 1)), "one more still has to go");
        files.pin((1, 1), false);
        assert!(files.has_room_for((7, 1)));
    }

    #[test]
    fn a_higher_bound_closes_nothing_and_files_go_with_their_room() {
        let mut files = Files::new(3);
        for key in [(1, 1), (1, 2), (2, 1)] {
            files.insert(key, key);
        }
        files.set_max(4);
        assert_eq!(files.len(), 3);
        files.set_max(3);
        assert_eq!(files.len(), 3);
        assert_eq!(files.remove((1, 2)).as_deref(), Some(&(1, 2)));
        assert!(files.remove((1, 2)).is_none());
        files.remove_room(1);
        assert_eq!((files.len(), files.get((2, 1)).is_some()), (1, true));
    }
}

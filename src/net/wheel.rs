//! A hierarchical timing wheel (Varghese & Lauck, SOSP 1987, scheme 7).
//!
//! Owns: what is due when. Must never know: a clock (`now_ms` is passed in) or what its entries mean.
//!
//! Time is counted in ticks of [`TICK_MS`]. An entry lies in the level of the highest base-64 digit in which its tick
//! differs from the wheel's, so everything in a lower level is due before anything in a higher one, and looking for
//! the next deadline is one bit scan. There is no cancelling: owners compare a fired entry with what they still want.

use std::mem;

/// Resolution of a [`Wheel`], in milliseconds. An entry fires up to this much late and never early.
pub const TICK_MS: u64 = 4;
const DIGIT_BITS: u32 = 6;
const SLOTS: usize = 1 << DIGIT_BITS;
/// Five base-64 digits of 4 ms are 49 days; what lies further ahead is sorted in again when that is over.
const LEVELS: usize = 5;
const HORIZON_TICKS: u64 = 1 << (DIGIT_BITS * LEVELS as u32);

#[derive(Debug)]
struct Entry<T> {
    tick: u64,
    item: T,
}

#[derive(Debug)]
struct Level<T> {
    /// Bit `s` is set exactly when `slots[s]` is not empty.
    occupied: u64,
    slots: [Vec<Entry<T>>; SLOTS],
}

/// Timers of one loop. Inserting is O(1), expiring O(1) per entry and level, an empty wheel costs a few comparisons.
///
/// Invariants: every entry's tick is later than `elapsed`; an entry of level `l` agrees with `elapsed` in all digits above
/// `l` (but for the clamped ones of the top level) and is ahead of it in digit `l`.
#[derive(Debug)]
pub struct Wheel<T> {
    elapsed: u64,
    len: usize,
    levels: Box<[Level<T>; LEVELS]>,
    /// Entries that were already due when inserted; they fire with the next `expire`.
    overdue: Vec<T>,
}

impl<T> Wheel<T> {
    /// An empty wheel that starts at `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        let level = || Level { occupied: 0, slots: std::array::from_fn(|_| Vec::new()) };
        Wheel {
            elapsed: now_ms / TICK_MS,
            len: 0,
            levels: Box::new(std::array::from_fn(|_| level())),
            overdue: Vec::new(),
        }
    }

    /// Entries that have not fired.
    pub fn len(&self) -> usize {
        self.len + self.overdue.len()
    }

    /// Whether nothing is scheduled.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Schedules `item` for `at_ms`; a time that has passed is due at once.
    pub fn insert(&mut self, at_ms: u64, item: T) {
        self.place(Entry { tick: at_ms.div_ceil(TICK_MS), item });
    }

    /// Moves everything due by `now_ms` to `due`, in order of ticks. A `now_ms` before an earlier one is ignored.
    pub fn expire(&mut self, now_ms: u64, due: &mut Vec<T>) {
        let now = now_ms / TICK_MS;
        due.append(&mut self.overdue);
        while let Some((level, slot, start)) = self.next_slot().filter(|&(_, _, start)| start <= now) {
            self.elapsed = start;
            self.levels[level].occupied &= !(1 << slot);
            for entry in mem::take(&mut self.levels[level].slots[slot]) {
                self.len -= 1;
                if entry.tick <= start { due.push(entry.item) } else { self.place(entry) }
            }
        }
        self.elapsed = self.elapsed.max(now);
        self.check_invariants();
    }

    /// When `expire` should be called next, in milliseconds. May be early (never late) for deadlines far ahead.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        if !self.overdue.is_empty() {
            return Some(self.elapsed * TICK_MS);
        }
        self.next_slot().map(|(_, _, start)| start * TICK_MS)
    }

    fn place(&mut self, entry: Entry<T>) {
        if entry.tick <= self.elapsed {
            self.overdue.push(entry.item);
            return;
        }
        let tick = entry.tick.min(self.elapsed.saturating_add(HORIZON_TICKS - 1));
        let highest_bit = 63 - (tick ^ self.elapsed).leading_zeros();
        let level = ((highest_bit / DIGIT_BITS) as usize).min(LEVELS - 1);
        let slot = (tick >> (DIGIT_BITS * level as u32)) as usize % SLOTS;
        self.levels[level].occupied |= 1 << slot;
        self.levels[level].slots[slot].push(entry);
        self.len += 1;
    }

    /// The earliest occupied slot: its level, its number, and the tick at which it begins.
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        let level = self.levels.iter().position(|level| level.occupied != 0)?;
        let shift = DIGIT_BITS * level as u32;
        let digits = self.elapsed >> shift;
        let current = (digits % SLOTS as u64) as u32;
        // Only the top level wraps around; there a distance of a whole turn is a slot reached again, not the current one.
        let occupied = self.levels[level].occupied.rotate_right(current) & !1;
        let distance = if occupied == 0 { SLOTS as u32 } else { occupied.trailing_zeros() };
        let slot = (current + distance) as usize % SLOTS;
        Some((level, slot, (digits + u64::from(distance)) << shift))
    }

    fn check_invariants(&self) {
        if cfg!(debug_assertions) {
            for level in self.levels.iter() {
                for (slot, entries) in level.slots.iter().enumerate() {
                    assert_eq!(entries.is_empty(), level.occupied & (1 << slot) == 0, "occupied bit of slot {slot}");
                    assert!(entries.iter().all(|entry| entry.tick > self.elapsed), "an entry was passed over");
                }
            }
        }
    }
}

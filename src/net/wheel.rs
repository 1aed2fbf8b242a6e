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
/// Five base-64 digits of 4 ms are 49 days; what lies further ahead is looked at again whenever its slot comes round.
const LEVELS: usize = 5;

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
/// Invariants: every entry's tick is later than `elapsed`; an entry of level `l` agrees with `elapsed` in all digits
/// above `l` (the top level has no digits above) and is ahead of it in digit `l`.
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
        let highest_bit = 63 - (entry.tick ^ self.elapsed).leading_zeros();
        let level = ((highest_bit / DIGIT_BITS) as usize).min(LEVELS - 1);
        let slot = (entry.tick >> (DIGIT_BITS * level as u32)) as usize % SLOTS;
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
        // Only the top level wraps around; there a distance of a whole turn is a slot reached again, not the current
        // one.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Small, seeded, good enough to scatter deadlines (xorshift64*).
    struct Random(u64);

    impl Random {
        fn below(&mut self, bound: u64) -> u64 {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16) % bound
        }
    }

    fn expired(wheel: &mut Wheel<u64>, now_ms: u64) -> Vec<u64> {
        let mut due = Vec::new();
        wheel.expire(now_ms, &mut due);
        due
    }

    #[test]
    fn wheel_fires_what_a_sorted_list_would_fire() {
        for seed in 1..=200 {
            let mut random = Random(seed);
            let mut now_ms = random.below(1 << 42);
            let (mut wheel, mut model) = (Wheel::new(now_ms), Vec::new());
            for item in 0..300_u64 {
                // Spans from one tick to beyond the horizon, so that every level is used.
                let span = 1 << random.below(34);
                let at_ms = (now_ms + random.below(span)).saturating_sub(random.below(20));
                wheel.insert(at_ms, item);
                model.push((at_ms, item));
                if random.below(3) == 0 {
                    let jump = 1 << random.below(34);
                    now_ms += random.below(jump);
                    let tick_start_ms = now_ms / TICK_MS * TICK_MS;
                    let mut want: Vec<u64> =
                        model.extract_if(.., |(at_ms, _)| *at_ms <= tick_start_ms).map(|(_, item)| item).collect();
                    let mut got = expired(&mut wheel, now_ms);
                    want.sort_unstable();
                    got.sort_unstable();
                    // What was inserted in the past fires at once, within the tick or not.
                    model.retain(|(_, item)| !got.contains(item));
                    assert!(want.iter().all(|item| got.contains(item)), "seed {seed}: {want:?} due, {got:?} fired");
                    assert_eq!(wheel.len(), model.len(), "seed {seed}: fired early or lost");
                    assert!(model.iter().all(|(at_ms, _)| *at_ms > tick_start_ms), "seed {seed}");
                }
            }
        }
    }

    #[test]
    fn following_next_deadline_fires_each_entry_within_its_tick() {
        let mut random = Random(7);
        let mut wheel = Wheel::new(1_000);
        let mut due_at: Vec<u64> = (0..500).map(|_| 1_001 + random.below(100_000_000)).collect();
        for &at_ms in &due_at {
            wheel.insert(at_ms, at_ms);
        }
        due_at.sort_unstable();
        let (mut fired, mut now_ms) = (Vec::new(), 1_000);
        while let Some(deadline_ms) = wheel.next_deadline_ms() {
            assert!(deadline_ms > now_ms, "{deadline_ms} again");
            now_ms = deadline_ms;
            for at_ms in expired(&mut wheel, deadline_ms) {
                assert!(at_ms <= deadline_ms && deadline_ms < at_ms + TICK_MS, "{at_ms} fired at {deadline_ms}");
                fired.push(at_ms);
            }
        }
        fired.sort_unstable();
        assert_eq!(fired, due_at);
    }

    #[test]
    fn a_deadline_beyond_the_horizon_fires_on_time_and_wakes_nobody_in_vain() {
        let turn_ms = TICK_MS << (DIGIT_BITS * LEVELS as u32);
        for (start_ms, ahead_ms) in [(0, turn_ms), (0, 3 * turn_ms), (1_000, turn_ms - 4), (1_000, 2 * turn_ms)] {
            let mut wheel = Wheel::new(start_ms);
            wheel.insert(start_ms + ahead_ms, 1);
            let mut now_ms = start_ms;
            while !wheel.is_empty() {
                let deadline_ms = wheel.next_deadline_ms().expect("it is not empty");
                assert!(deadline_ms > now_ms, "{deadline_ms} again");
                now_ms = deadline_ms;
                expired(&mut wheel, now_ms);
            }
            assert_eq!(now_ms, start_ms + ahead_ms);
        }
    }

    #[test]
    fn entries_fire_in_order_of_their_ticks() {
        let mut wheel = Wheel::new(0);
        for at_ms in [90_000, 8, 4_000, 300, 70_000_000, 12] {
            wheel.insert(at_ms, at_ms);
        }
        assert_eq!(expired(&mut wheel, 80_000_000), [8, 12, 300, 4_000, 90_000, 70_000_000]);
        assert!(wheel.is_empty());
    }

    #[test]
    fn past_entries_fire_at_once_and_only_once() {
        let mut wheel = Wheel::new(5_000);
        wheel.insert(100, 1);
        assert_eq!(wheel.next_deadline_ms(), Some(5_000));
        assert_eq!(expired(&mut wheel, 5_000), [1]);
        assert!(expired(&mut wheel, 6_000).is_empty());
        assert_eq!(wheel.next_deadline_ms(), None);
    }

    #[test]
    fn a_clock_that_goes_back_changes_nothing() {
        let mut wheel = Wheel::new(5_000);
        wheel.insert(6_000, 1);
        assert!(expired(&mut wheel, 1_000).is_empty());
        assert_eq!(expired(&mut wheel, 6_000), [1]);
    }

    #[test]
    fn nothing_changes_where_ticks_need_more_than_32_bits() {
        for start_tick in (1_u64 << 32) - 70..=(1 << 32) + 1 {
            let mut wheel = Wheel::new(start_tick * TICK_MS);
            let deadlines_ms = [1, 63, 64, 5_000].map(|ticks| (start_tick + ticks) * TICK_MS);
            deadlines_ms.into_iter().for_each(|at_ms| wheel.insert(at_ms, at_ms));
            for at_ms in deadlines_ms {
                assert!(expired(&mut wheel, at_ms - 1).is_empty(), "{at_ms} is early");
                assert_eq!(expired(&mut wheel, at_ms), [at_ms]);
            }
        }
    }

    #[test]
    fn len_counts_what_is_overdue_and_what_is_ahead() {
        let mut wheel = Wheel::new(5_000);
        assert_eq!((wheel.len(), wheel.is_empty()), (0, true));
        for (at_ms, len) in [(100, 1), (6_000, 2), (200, 3), (7_000_000, 4)] {
            wheel.insert(at_ms, at_ms);
            assert_eq!((wheel.len(), wheel.is_empty()), (len, false));
        }
        expired(&mut wheel, 5_000);
        assert_eq!(wheel.len(), 2);
    }

    #[test]
    #[should_panic(expected = "occupied bit of slot 3")]
    fn a_bit_without_an_entry_is_noticed() {
        let mut wheel = Wheel::<u64>::new(0);
        wheel.levels[1].occupied = 1 << 3;
        wheel.check_invariants();
    }
}

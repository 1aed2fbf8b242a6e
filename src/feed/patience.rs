//! When the messages of a busy room wait a moment for others, so that all leave in one write to each member.
//!
//! Owns: the decision. Must never know: a clock, messages, members beyond their number.
//!
//! A write to a socket costs about a microsecond, one more frame in it a hundredth of that (docs/PERFORMANCE.md). So
//! in a room with many deliveries waiting pays, but only if somebody comes: a sender that waits for its own message
//! before it sends the next would wait for nothing. Hence a room has to be busy, what already came together does not
//! wait, and who waited in vain several times gives it up for ever longer.
//!
//! Where each write is followed by a sync of the disk, messages that come in bunches wait for the end of the bunch: half
//! of it would be published a sync earlier, its senders would answer a sync earlier, and from then on there would be two
//! bunches, two syncs and two writes to each member for ever.

/// A bunch is over when nothing has come for so long, in microseconds.
const GAP_US: u64 = 50;
/// Over how long the rate is counted, in microseconds.
const WINDOW_US: u64 = 32_000;
/// Deliveries a second (messages times members) from which a room is busy.
const DELIVERIES_PER_SECOND_MIN: u64 = 50_000;
/// So many messages at once share the cost well enough, now or on average.
const ENOUGH_MESSAGES: usize = 8;
/// The average that each new number of messages changes by an eighth of the difference is kept in sixteenths.
const SIXTEENTHS: usize = 16;
/// Waits in vain after which a room rests.
const MISSES_MAX: u8 = 4;
/// Writes without a wait in the first rest and in the longest.
const REST_WRITES_MIN: u16 = 64;
const REST_WRITES_MAX: u16 = 8_192;

/// What the messages that are ready wait for.
#[derive(Debug)]
enum Wait {
    /// Others, who were so many at the start.
    Company { until_us: u64, at_start: usize },
    /// The end of the bunch, of which so many are there.
    Gap { until_us: u64, at_most_us: u64, ready: usize },
}

/// One room's patience. Quiet rooms never wait.
#[derive(Debug)]
pub(super) struct Patience {
    /// When the window began, and the messages in it.
    window_us: u64,
    messages: u64,
    is_busy: bool,
    wait: Option<Wait>,
    /// How many messages came together without a wait, on average, in sixteenths.
    together: usize,
    misses: u8,
    /// Writes that will not wait, and how many it will be next time.
    rest: u16,
    next_rest: u16,
}

impl Default for Patience {
    fn default() -> Self {
        let (window_us, messages, misses, rest) = (0, 0, 0, 0);
        Self { window_us, messages, is_busy: false, wait: None, together: 0, misses, rest, next_rest: REST_WRITES_MIN }
    }
}

impl Patience {
    /// Counts a message.
    pub fn note(&mut self, now_us: u64, members: usize, linger_us: u64) {
        self.messages += 1;
        let elapsed_us = now_us.saturating_sub(self.window_us);
        if elapsed_us < WINDOW_US {
            return;
        }
        let is_dense = self.messages * linger_us >= elapsed_us;
        let deliveries = self.messages * members as u64;
        self.is_busy = is_dense && deliveries * 1_000_000 >= DELIVERIES_PER_SECOND_MIN * elapsed_us;
        (self.window_us, self.messages) = (now_us, 0);
    }

    /// Until when, in microseconds, the messages that are ready are to wait; `None` if they go now. `is_durable`: they are
    /// not published before a sync.
    pub fn wait_until_us(&mut self, now_us: u64, ready: usize, linger_us: u64, is_durable: bool) -> Option<u64> {
        self.wait = match self.wait.take() {
            Some(Wait::Company { until_us, at_start }) => {
                let is_over = now_us >= until_us || ready >= ENOUGH_MESSAGES;
                if is_over {
                    self.learn(ready > at_start);
                }
                if is_over && !(is_durable && now_us < until_us) {
                    return None;
                }
                // Others did come: before a sync it is worth waiting for the last of them.
                let gap = Wait::Gap { until_us: until_us.min(now_us + GAP_US), at_most_us: until_us, ready };
                Some(if is_over { gap } else { Wait::Company { until_us, at_start } })
            }
            Some(Wait::Gap { at_most_us, ready: before, .. }) if ready > before && now_us < at_most_us => {
                Some(Wait::Gap { until_us: at_most_us.min(now_us + GAP_US), at_most_us, ready })
            }
            Some(Wait::Gap { until_us, .. }) if now_us >= until_us => return None,
            Some(gap) => Some(gap),
            None => self.begin_wait(now_us, ready, linger_us, is_durable),
        };
        match self.wait {
            Some(Wait::Company { until_us, .. } | Wait::Gap { until_us, .. }) => Some(until_us),
            None => None,
        }
    }

    fn begin_wait(&mut self, now_us: u64, ready: usize, linger_us: u64, is_durable: bool) -> Option<Wait> {
        self.together = (7 * self.together + SIXTEENTHS * ready) / 8;
        if !self.is_busy {
            return None;
        }
        if ready.max(self.together / SIXTEENTHS) >= ENOUGH_MESSAGES {
            let gap = Wait::Gap { until_us: now_us + GAP_US, at_most_us: now_us + linger_us, ready };
            return is_durable.then_some(gap);
        }
        if self.rest > 0 {
            self.rest -= 1;
            return None;
        }
        Some(Wait::Company { until_us: now_us + linger_us, at_start: ready })
    }

    fn learn(&mut self, somebody_came: bool) {
        if somebody_came {
            (self.misses, self.next_rest) = (0, REST_WRITES_MIN);
            return;
        }
        self.misses += 1;
        if self.misses == MISSES_MAX {
            (self.misses, self.rest) = (0, self.next_rest);
            self.next_rest = (self.next_rest * 2).min(REST_WRITES_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINGER_US: u64 = 1_000;

    /// Messages at these times in a room with this many members; when each left.
    fn departures(members: usize, arrivals: impl Iterator<Item = u64>) -> Vec<(u64, u64)> {
        let (mut patience, mut ready, mut gone) = (Patience::default(), Vec::new(), Vec::new());
        let mut until_us = None;
        for now_us in arrivals {
            if let Some(due_us) = until_us.filter(|&due_us| due_us <= now_us) {
                assert_eq!(patience.wait_until_us(due_us, ready.len(), LINGER_US, false), None, "a wait ends in time");
                gone.extend(ready.drain(..).map(|came_us| (came_us, due_us)));
            }
            patience.note(now_us, members, LINGER_US);
            ready.push(now_us);
            until_us = patience.wait_until_us(now_us, ready.len(), LINGER_US, false);
            if until_us.is_none() {
                gone.extend(ready.drain(..).map(|came_us| (came_us, now_us)));
            }
        }
        gone
    }

    fn writes(departures: &[(u64, u64)]) -> usize {
        let mut times: Vec<u64> = departures.iter().map(|&(_, left_us)| left_us).collect();
        times.dedup();
        times.len()
    }

    #[test]
    fn a_busy_room_waits_at_most_the_linger_and_saves_most_writes() {
        let gone = departures(100, (0..4_000).map(|n| n * 400));
        assert!(gone.iter().all(|&(came_us, left_us)| left_us - came_us <= LINGER_US));
        assert!(writes(&gone) * 2 < gone.len(), "{} writes for {} messages", writes(&gone), gone.len());
    }

    #[test]
    fn a_quiet_or_small_room_never_waits() {
        for (members, interval_us) in [(1_000, 10_000), (10, 500), (10_000, 100_000), (100, 2_000)] {
            let gone = departures(members, (0..1_000).map(|n| n * interval_us));
            assert!(gone.iter().all(|(came_us, left_us)| came_us == left_us), "{members} members, {interval_us} us");
        }
    }

    #[test]
    fn a_sender_that_waits_for_its_own_message_is_hardly_kept_waiting() {
        let mut patience = Patience::default();
        let (mut now_us, mut waited) = (0, 0);
        for _ in 0..20_000 {
            now_us += 250;
            patience.note(now_us, 100, LINGER_US);
            if let Some(until_us) = patience.wait_until_us(now_us, 1, LINGER_US, false) {
                (now_us, waited) = (until_us, waited + 1);
                assert_eq!(patience.wait_until_us(now_us, 1, LINGER_US, false), None);
            }
        }
        assert!((1..100).contains(&waited), "{waited} of 20,000");
    }

    #[test]
    fn what_came_together_goes_at_once() {
        let mut patience = Patience::default();
        for now_us in (0..1_000_000).step_by(400) {
            patience.note(now_us, 100, LINGER_US);
            assert_eq!(patience.wait_until_us(now_us, ENOUGH_MESSAGES, LINGER_US, false), None);
        }
        assert!(patience.is_busy);
        let mut sizes = [30, 5, 28, 16, 24].into_iter().cycle();
        let mut waits = 0;
        for now_us in (1_000_000..2_000_000).step_by(1_000) {
            let ready = sizes.next().expect("a cycle");
            (0..ready).for_each(|_| patience.note(now_us, 100, LINGER_US));
            waits += u32::from(patience.wait_until_us(now_us, ready, LINGER_US, false).is_some());
        }
        assert!(waits < 20, "{waits} of 1,000 although they come together as a rule");
    }

    #[test]
    fn a_bunch_is_synced_as_a_whole() {
        let mut patience = Patience::default();
        let mut sizes = Vec::new();
        for bunch_us in (0..1_000_000).step_by(1_500) {
            let mut ready = 0;
            let mut until_us = None;
            for now_us in (bunch_us..bunch_us + 640).step_by(20) {
                patience.note(now_us, 32, LINGER_US);
                ready += 1;
                if now_us >= until_us.unwrap_or(0) || ready > 1 {
                    until_us = patience.wait_until_us(now_us, ready, LINGER_US, true);
                }
                if until_us.is_none() {
                    sizes.push(ready);
                    ready = 0;
                }
            }
            if let Some(due_us) = until_us {
                assert_eq!(patience.wait_until_us(due_us, ready, LINGER_US, true), None, "the bunch is over");
                sizes.push(ready);
            }
        }
        assert!(sizes[sizes.len() - 500..].iter().all(|&size| size == 32), "{:?}", &sizes[sizes.len() - 40..]);
    }
}

//! When an open loop sends.
//!
//! Owns: the plan. Must never know: a clock, or what was in the way of keeping to it.
//!
//! The plan does not wait for anybody: what could not be sent in time stays planned for when it should have gone, and its
//! latency counts from then. A server (or a generator) that stands still for a second is so charged with all that a user
//! would have waited in it, not with the one message that was under way (Tene, "How NOT to measure latency").

/// A steady rate from a moment on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    start_ns: u64,
    per_second: u64,
    taken: u64,
}

impl Pace {
    /// Begins at `start_ns`; a rate of 0 plans nothing.
    pub fn new(start_ns: u64, per_second: u32) -> Self {
        Pace { start_ns, per_second: per_second.into(), taken: 0 }
    }

    /// When the next one is due; `u64::MAX` is never.
    #[inline]
    pub fn next_ns(&self) -> u64 {
        // In two steps, because a product would leave 64 bits after some hours.
        match self.taken.checked_div(self.per_second) {
            Some(seconds) => {
                self.start_ns + seconds * 1_000_000_000 + self.taken % self.per_second * 1_000_000_000 / self.per_second
            }
            None => u64::MAX,
        }
    }

    /// Takes the next one if it is due by `now_ns`: its number, from 0 on, and when it was due.
    #[inline]
    pub fn take(&mut self, now_ns: u64) -> Option<(u64, u64)> {
        let at_ns = self.next_ns();
        if at_ns > now_ns {
            return None;
        }
        self.taken += 1;
        Some((self.taken - 1, at_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_to_the_nanosecond() {
        let mut pace = Pace::new(5, 3);
        let due = (0..6).map(|_| pace.take(u64::MAX).unwrap());
        let expected = [0, 333_333_333, 666_666_666, 1_000_000_000, 1_333_333_333, 1_666_666_666];
        assert!(due.eq(expected.into_iter().enumerate().map(|(n, ns)| (n as u64, ns + 5))));
        assert_eq!(Pace::new(5, 0).next_ns(), u64::MAX);
    }

    #[test]
    fn nothing_goes_early_and_what_is_late_keeps_its_time() {
        let mut pace = Pace::new(0, 1_000);
        assert_eq!(pace.take(0), Some((0, 0)));
        assert_eq!(pace.take(999_999), None);
        // The loop stood still for 10 ms: ten are due at once, each for its own moment.
        let late: Vec<u64> = std::iter::from_fn(|| pace.take(10_000_000)).map(|(_, at_ns)| at_ns).collect();
        assert_eq!(late, (1..=10).map(|n| n * 1_000_000).collect::<Vec<_>>());
    }
}

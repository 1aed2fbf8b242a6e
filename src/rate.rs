//! Rates: GCRA, the leaky bucket as a single timestamp.
//!
//! Owns: when the next message may come. Must never know: what a message is.
//! Source: ITU-T I.371, annex A ("generic cell rate algorithm").

/// A rate and its burst. Zero per second means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    interval_us: u32,
    tolerance_us: u32,
}

/// Longest time that a full bucket takes to be empty again, in microseconds: half an hour, less than half of what the
/// buckets' clock counts.
const FULL_US_MAX: u64 = 1_800_000_000;

impl Rate {
    /// `per_second` sustained, `burst` at once.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        Self::every(1_000_000_u32.checked_div(per_second).unwrap_or(0), burst)
    }

    /// One in `interval_us` microseconds, `burst` at once. A bucket that would take more than half an hour to fill again
    /// is made smaller.
    #[must_use]
    pub fn every(interval_us: u32, burst: u32) -> Self {
        let interval = u64::from(interval_us).min(FULL_US_MAX);
        let tolerance = (interval * u64::from(burst.saturating_sub(1))).min(FULL_US_MAX - interval);
        Self { interval_us: interval as u32, tolerance_us: tolerance as u32 }
    }
}

impl Rate {
    /// How many may come at once; without a limit any number.
    #[must_use]
    pub fn burst(&self) -> u32 {
        self.tolerance_us.checked_div(self.interval_us).map_or(u32::MAX, |steps| steps + 1)
    }
}

/// One sender's bucket: the theoretical arrival time of its next message, in microseconds of a clock that starts over
/// every 71 minutes. Half as large as one that does not, and there is more than one per connection. (A bucket that was
/// left alone for just that long, to within its own time to fill, may look part full; it is never over its bound.)
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    next_us: u32,
}

impl Bucket {
    /// Takes one message at `now_ms`.
    ///
    /// # Errors
    /// Too early: the milliseconds after which it would be accepted, at least 1. The bucket is unchanged.
    pub fn take(&mut self, rate: Rate, now_ms: u64) -> Result<(), u64> {
        self.take_many(rate, 1, now_ms)
    }

    /// Takes `count` at once, or none.
    ///
    /// # Errors
    /// Too early: the milliseconds after which one would be accepted, at least 1. The bucket is unchanged.
    pub fn take_many(&mut self, rate: Rate, count: u32, now_ms: u64) -> Result<(), u64> {
        if rate.interval_us == 0 {
            return Ok(());
        }
        // The clock is meant to start over: only differences count.
        let now_us = (now_ms * 1_000) as u32;
        let full_us = rate.tolerance_us + rate.interval_us;
        let early_us = self.early_us(rate, now_ms);
        let cost_us = u64::from(rate.interval_us) * u64::from(count);
        let over_us = (u64::from(early_us) + cost_us).saturating_sub(u64::from(full_us));
        if over_us > 0 {
            return Err(over_us.min(u64::from(full_us)).div_ceil(1_000));
        }
        // Zero stands for a bucket that was never used.
        self.next_us = now_us.wrapping_add(early_us + cost_us as u32).max(1);
        Ok(())
    }

    /// Gives one back that was taken and should not count. The bucket gets no fuller than full.
    pub fn give_back(&mut self, rate: Rate, now_ms: u64) {
        let early_us = self.early_us(rate, now_ms).saturating_sub(rate.interval_us);
        self.next_us = ((now_ms * 1_000) as u32).wrapping_add(early_us).max(1);
    }

    /// How long it takes until the bucket is full, in microseconds.
    #[must_use]
    pub fn early_us(&self, rate: Rate, now_ms: u64) -> u32 {
        let ahead_us = self.next_us.wrapping_sub((now_ms * 1_000) as u32);
        // What is further ahead than a bucket can be lies behind.
        if self.next_us == 0 || ahead_us > rate.tolerance_us + rate.interval_us { 0 } else { ahead_us }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_passes_then_the_sustained_rate() {
        let (rate, mut bucket) = (Rate::new(20, 40), Bucket::default());
        assert!((0..40).all(|_| bucket.take(rate, 1_000).is_ok()));
        assert_eq!(bucket.take(rate, 1_000), Err(50));
        assert_eq!(bucket.take(rate, 1_049), Err(1));
        assert_eq!(bucket.take(rate, 1_050), Ok(()));
        assert_eq!(bucket.take(rate, 1_050), Err(50));
        let passed = (1_050..11_050).filter(|&now| bucket.take(rate, now).is_ok()).count();
        assert_eq!(passed, 199, "20 a second over ten seconds");
        assert!((0..40).all(|_| bucket.take(rate, 60_000).is_ok()), "silence fills the bucket again");
    }

    #[test]
    fn it_goes_on_where_the_clock_starts_over() {
        let rate = Rate::new(20, 40);
        for start in (4_290_000..4_300_000).step_by(7) {
            let mut bucket = Bucket::default();
            assert!((0..40).all(|_| bucket.take(rate, start).is_ok()), "{start}");
            assert_eq!(bucket.take(rate, start), Err(50), "{start}");
            assert_eq!(bucket.take(rate, start + 50), Ok(()), "{start}");
            assert!((0..40).all(|_| bucket.take(rate, start + 60_000).is_ok()), "{start}");
        }
    }

    #[test]
    fn a_rate_knows_its_burst() {
        assert_eq!([Rate::new(20, 40), Rate::new(1, 2), Rate::new(7, 1)].map(|rate| rate.burst()), [40, 2, 1]);
        assert_eq!(Rate::new(0, 0).burst(), u32::MAX);
    }

    #[test]
    fn many_at_once_count_as_many() {
        let (rate, mut bucket) = (Rate::new(10, 20), Bucket::default());
        assert_eq!(bucket.take_many(rate, 21, 5_000), Err(100));
        assert_eq!(bucket.take_many(rate, 20, 5_000), Ok(()));
        assert_eq!(bucket.take_many(rate, 3, 5_100), Err(200));
        assert_eq!(bucket.take_many(rate, 1, 5_100), Ok(()));
    }

    #[test]
    fn what_is_given_back_can_be_taken_again_and_no_more() {
        let (rate, mut bucket) = (Rate::new(1, 3), Bucket::default());
        assert!((0..3).all(|_| bucket.take(rate, 1_000).is_ok()));
        assert_eq!(bucket.early_us(rate, 1_000), 3_000_000);
        bucket.give_back(rate, 1_000);
        assert_eq!((bucket.take(rate, 1_000), bucket.take(rate, 1_000)), (Ok(()), Err(1_000)));
        for _ in 0..9 {
            bucket.give_back(rate, 1_000);
        }
        assert_eq!(bucket.early_us(rate, 1_000), 0);
        assert_eq!((0..9).filter(|_| bucket.take(rate, 1_000).is_ok()).count(), 3);
    }

    #[test]
    fn zero_means_no_limit() {
        let mut bucket = Bucket::default();
        assert!((0..100_000).all(|_| bucket.take(Rate::new(0, 0), 5).is_ok()));
    }
}

//! The rate of messages: GCRA, the leaky bucket as a single timestamp.
//!
//! Owns: when the next message may come. Must never know: what a message is.
//! Source: ITU-T I.371, annex A ("generic cell rate algorithm").

/// A rate and its burst. Zero per second means no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    interval_us: u64,
    tolerance_us: u64,
}

impl Rate {
    /// `per_second` sustained, `burst` at once.
    #[must_use]
    pub fn new(per_second: u32, burst: u32) -> Self {
        let interval_us = 1_000_000_u64.checked_div(u64::from(per_second)).unwrap_or(0);
        Self { interval_us, tolerance_us: interval_us * u64::from(burst.saturating_sub(1)) }
    }
}

/// One sender's bucket: the theoretical arrival time of its next message, in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bucket {
    next_us: u64,
}

impl Bucket {
    /// Takes one message at `now_ms`.
    ///
    /// # Errors
    /// Too early: the milliseconds after which it would be accepted, at least 1. The bucket is unchanged.
    pub fn take(&mut self, rate: Rate, now_ms: u64) -> Result<(), u64> {
        let now_us = now_ms * 1_000;
        let early_us = self.next_us.saturating_sub(now_us);
        if early_us > rate.tolerance_us {
            return Err((early_us - rate.tolerance_us).div_ceil(1_000));
        }
        self.next_us = self.next_us.max(now_us) + rate.interval_us;
        Ok(())
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
    fn zero_means_no_limit() {
        let mut bucket = Bucket::default();
        assert!((0..100_000).all(|_| bucket.take(Rate::new(0, 0), 5).is_ok()));
    }
}

//! The two clocks of a turn, read once and passed in everywhere else.
//!
//! Owns: what "now" is. Must never know: who asks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Milliseconds since the process started; never goes backwards. Timers use this one.
    pub monotonic_ms: u64,
    /// Milliseconds since the Unix epoch; may jump. Only what people read uses this one.
    pub unix_ms: u64,
    /// Microseconds since `monotonic_ms`, below 1,000.
    pub fraction_us: u16,
}

impl Now {
    /// Both clocks on the millisecond.
    #[must_use]
    pub const fn at(monotonic_ms: u64, unix_ms: u64) -> Self {
        Self { monotonic_ms, unix_ms, fraction_us: 0 }
    }

    /// Microseconds since the process started.
    #[must_use]
    pub fn monotonic_us(&self) -> u64 {
        self.monotonic_ms * 1_000 + u64::from(self.fraction_us)
    }
}

/// The real clocks. A simulation has its own source of [`Now`].
#[derive(Debug)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Starts counting at zero.
    #[must_use]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// Reads both clocks.
    #[must_use]
    pub fn now(&self) -> Now {
        let unix = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let monotonic = self.started.elapsed();
        let fraction_us = (monotonic.subsec_micros() % 1_000) as u16;
        Now { monotonic_ms: millis(monotonic), unix_ms: millis(unix), fraction_us }
    }

    /// Reads the monotonic clock alone, in microseconds.
    #[must_use]
    pub fn monotonic_us(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_micros()).unwrap_or(u64::MAX)
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

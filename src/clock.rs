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
        Now { monotonic_ms: millis(self.started.elapsed()), unix_ms: millis(unix) }
    }
}

fn millis(duration: std::time::Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! What a run has counted so far.
//!
//! Owns: histograms and counters. Must never know: where the numbers come from, how they are printed.

use hdrhistogram::Histogram;

/// Longest time that is told apart, in nanoseconds: longer ones count as this.
const TIME_NS_MAX: u64 = 600_000_000_000;

/// Times, to three digits, from a nanosecond to ten minutes.
#[derive(Debug)]
pub(super) struct Times(Histogram<u64>);

impl Times {
    pub fn new() -> Self {
        Times(Histogram::new_with_bounds(1, TIME_NS_MAX, 3).expect("bounds that hdrhistogram takes"))
    }

    #[inline]
    pub fn record(&mut self, ns: u64) {
        self.0.saturating_record(ns);
    }

    /// Takes over what `other` has, and empties it.
    pub fn absorb(&mut self, other: &mut Times) {
        self.0.add(&other.0).expect("both have the same bounds");
        other.0.reset();
    }

    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The time that a part `q` of all is not longer than, in microseconds.
    pub fn quantile_us(&self, q: f64) -> f64 {
        self.0.value_at_quantile(q) as f64 / 1_000.0
    }

    pub fn mean_us(&self) -> f64 {
        self.0.mean() / 1_000.0
    }

    pub fn max_us(&self) -> f64 {
        self.0.max() as f64 / 1_000.0
    }
}

/// The counters and histograms of a run.
#[derive(Debug)]
pub(super) struct Figures {
    pub connect: Times,
    pub ack: Times,
    pub delivery: Times,
    /// Deliveries since the last look; every second they move to `delivery`.
    pub delivery_fresh: Times,
    pub churn: Times,
    pub replay: Times,
    pub lag: Times,
    /// Connections of any kind that opened, failed to, or were lost.
    pub opened: u64,
    pub failed: u64,
    pub closed: u64,
    /// Members that never read and that the server gave up.
    pub slow_closed: u64,
    pub first_error: Option<String>,
    /// The user ended it.
    pub interrupted: bool,
    /// Messages of the whole run, the warm-up included.
    pub sent: u64,
    pub confirmed: u64,
    pub refused: u64,
    pub damaged: u64,
    /// Deliveries of the whole run, and their payload in bytes.
    pub deliveries: u64,
    pub delivery_bytes: u64,
}

impl Figures {
    pub fn new() -> Self {
        Figures {
            connect: Times::new(),
            ack: Times::new(),
            delivery: Times::new(),
            delivery_fresh: Times::new(),
            churn: Times::new(),
            replay: Times::new(),
            lag: Times::new(),
            opened: 0,
            failed: 0,
            closed: 0,
            slow_closed: 0,
            first_error: None,
            interrupted: false,
            sent: 0,
            confirmed: 0,
            refused: 0,
            damaged: 0,
            deliveries: 0,
            delivery_bytes: 0,
        }
    }

    /// Keeps the first thing that went wrong: what follows is mostly its consequence.
    pub fn note(&mut self, error: impl FnOnce() -> String) {
        self.first_error.get_or_insert_with(error);
    }
}

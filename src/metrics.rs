//! Numbers for operators: histograms, and the text in which Prometheus reads numbers.
//!
//! Owns: the buckets, the text format. Must never know: what is counted, or when.
//!
//! Source: the Prometheus text exposition format, version 0.0.4.

use std::fmt::{Display, Write};

/// What an answer in this format says of itself.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// How often something took how long. Adding one is a search among a dozen bounds.
#[derive(Clone, Debug)]
pub struct Histogram {
    bounds_us: &'static [u64],
    /// One for each bound, and one for what is beyond.
    counts: Box<[u64]>,
    sum_us: u64,
}

impl Histogram {
    /// An empty one with these upper bounds, in microseconds, rising.
    #[must_use]
    pub fn new(bounds_us: &'static [u64]) -> Self {
        debug_assert!(bounds_us.is_sorted(), "bounds rise");
        Self { bounds_us, counts: vec![0; bounds_us.len() + 1].into(), sum_us: 0 }
    }

    /// Adds one that took `us` microseconds.
    pub fn record(&mut self, us: u64) {
        self.counts[self.bounds_us.partition_point(|bound| *bound < us)] += 1;
        self.sum_us = self.sum_us.saturating_add(us);
    }

    /// How many were added.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// Whether a number only rises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It does, from 0 at the start of the process. By convention its name ends in `_total`.
    Counter,
    /// It does not.
    Gauge,
}

/// The text, one metric after the other. Names and labels are the program's own, so nothing in them is escaped.
#[derive(Debug, Default)]
pub struct Exposition {
    text: String,
}

impl Exposition {
    /// A number.
    pub fn number(&mut self, kind: Kind, name: &str, help: &str, value: impl Display) {
        self.head(name, help, kind.word());
        self.line(format_args!("{name} {value}"));
    }

    /// A number for each of some sets of labels, which [`labels`] writes.
    pub fn numbers(&mut self, kind: Kind, name: &str, help: &str, values: impl IntoIterator<Item = (String, u64)>) {
        self.head(name, help, kind.word());
        for (labels, value) in values {
            self.line(format_args!("{name}{{{labels}}} {value}"));
        }
    }

    /// How long things took, in seconds.
    pub fn histogram(&mut self, name: &str, help: &str, histogram: &Histogram) {
        self.head(name, help, "histogram");
        let mut below = 0;
        for (bound_us, count) in histogram.bounds_us.iter().zip(&histogram.counts) {
            below += count;
            self.line(format_args!("{name}_bucket{{le=\"{}\"}} {below}", Seconds(*bound_us)));
        }
        let count = histogram.count();
        self.line(format_args!("{name}_bucket{{le=\"+Inf\"}} {count}"));
        self.line(format_args!("{name}_sum {}", Seconds(histogram.sum_us)));
        self.line(format_args!("{name}_count {count}"));
    }

    /// All of it.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        self.text.into_bytes()
    }

    fn head(&mut self, name: &str, help: &str, kind: &str) {
        self.line(format_args!("# HELP {name} {help}"));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn line(&mut self, line: impl Display) {
        let _ = writeln!(self.text, "{line}"); // a string takes everything
    }
}

/// A set of labels as a number has it.
#[must_use]
pub fn labels(pairs: &[(&str, &str)]) -> String {
    pairs.iter().map(|(name, value)| format!("{name}=\"{value}\"")).collect::<Vec<_>>().join(",")
}

impl Kind {
    fn word(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
        }
    }
}

/// Microseconds, written as seconds without a loss: `0.0025`, `10`.
#[derive(Clone, Copy, Debug)]
pub struct Seconds(pub u64);

impl Display for Seconds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (whole, fraction_us) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if fraction_us == 0 {
            return write!(f, "{whole}");
        }
        let fraction = format!("{fraction_us:06}");
        write!(f, "{whole}.{}", fraction.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_what_took_as_long_as_its_bound_and_all_below() {
        let mut histogram = Histogram::new(&[100, 2_500, 1_000_000]);
        [0, 100, 101, 2_500, 2_501, 1_000_001].into_iter().for_each(|us| histogram.record(us));
        let mut exposition = Exposition::default();
        exposition.histogram("turn_seconds", "Turns", &histogram);
        let expected = "# HELP turn_seconds Turns\n# TYPE turn_seconds histogram\nturn_seconds_bucket{le=\"0.0001\"} 2\n\
                        turn_seconds_bucket{le=\"0.0025\"} 4\nturn_seconds_bucket{le=\"1\"} 5\n\
                        turn_seconds_bucket{le=\"+Inf\"} 6\nturn_seconds_sum 1.005203\nturn_seconds_count 6\n";
        assert_eq!(String::from_utf8(exposition.into_bytes()).unwrap(), expected);
    }

    #[test]
    fn numbers_have_a_head_and_a_line_for_each_label() {
        let mut exposition = Exposition::default();
        exposition.number(Kind::Gauge, "rooms", "Rooms", 7);
        let values = [(labels(&[("code", "empty")]), 1), (labels(&[("code", "too_long"), ("why", "")]), 0)];
        exposition.numbers(Kind::Counter, "errors_total", "Errors", values);
        let expected = "# HELP rooms Rooms\n# TYPE rooms gauge\nrooms 7\n# HELP errors_total Errors\n\
                        # TYPE errors_total counter\nerrors_total{code=\"empty\"} 1\nerrors_total{code=\"too_long\",why=\"\"} 0\n";
        assert_eq!(String::from_utf8(exposition.into_bytes()).unwrap(), expected);
    }

    #[test]
    fn seconds_lose_nothing_and_have_no_idle_zeros() {
        let all = [0, 1, 10, 2_500, 1_000_000, 1_500_000, 60_000_001].map(|us| Seconds(us).to_string());
        assert_eq!(all, ["0", "0.000001", "0.00001", "0.0025", "1", "1.5", "60.000001"]);
    }
}

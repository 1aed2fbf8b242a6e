//! How long turns take, and what a long one was spent on.
//!
//! Owns: the histogram of turns, the line in the log about a long one. Must never know: what a turn does.
//!
//! Reading the clock costs some 50 ns. So a turn is divided into few parts, and beside them only steps that may touch the
//! disk are timed for themselves.

use crate::metrics::Histogram;

/// Longest turn that is no news, in microseconds: everybody waits for as long.
const LONG_US: u64 = 10_000;
/// Least time between two lines about long turns, in microseconds.
const QUIET_US: u64 = 1_000_000;
const BOUNDS_US: &[u64] =
    &[10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000];

/// The parts of a turn, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// Accepting, reading, decoding.
    Network,
    /// What arrived and what is due, carried out.
    Input,
    /// Writing to logs.
    Log,
    /// Handing out what is stored.
    Publish,
    /// Writing to sockets.
    Flush,
}

const PARTS: [(Part, &str); 5] = [
    (Part::Network, "network"),
    (Part::Input, "input"),
    (Part::Log, "log"),
    (Part::Publish, "publish"),
    (Part::Flush, "flush"),
];

/// Watches over the turns of a loop.
#[derive(Debug)]
pub(super) struct Pace {
    turns: Histogram,
    began_us: u64,
    mark_us: u64,
    parts_us: [u64; PARTS.len()],
    events: usize,
    /// The longest step that was timed in this turn: how long it took, and what it was.
    step: Option<(u64, String)>,
    quiet_until_us: u64,
    /// Long turns since the last line.
    untold: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            turns: Histogram::new(BOUNDS_US),
            began_us: 0,
            mark_us: 0,
            parts_us: [0; PARTS.len()],
            events: 0,
            step: None,
            quiet_until_us: 0,
            untold: 0,
        }
    }
}

impl Pace {
    /// A turn begins.
    pub fn begin(&mut self, now_us: u64) {
        (self.began_us, self.mark_us) = (now_us, now_us);
        self.parts_us = [0; PARTS.len()];
        self.events = 0;
        self.step = None;
    }

    /// So many events arrived.
    pub fn note_events(&mut self, count: usize) {
        self.events += count;
    }

    /// A part ends.
    pub fn end(&mut self, part: Part, now_us: u64) {
        self.parts_us[part as usize] += now_us.saturating_sub(self.mark_us);
        self.mark_us = now_us;
    }

    /// Whether a step that has taken so long is to be told of, if the turn is.
    pub fn is_longest(&self, us: u64) -> bool {
        us > LONG_US / 2 && self.step.as_ref().is_none_or(|(longest_us, _)| us > *longest_us)
    }

    /// A step that [`Pace::is_longest`] has taken so long.
    pub fn note_step(&mut self, us: u64, what: String) {
        self.step = Some((us, what));
    }

    /// The turn is over with its last part. What there is to say of it, if it was long.
    pub fn finish(&mut self) -> Option<String> {
        let took_us = self.mark_us.saturating_sub(self.began_us);
        self.turns.record(took_us);
        if took_us <= LONG_US {
            return None;
        }
        self.untold += 1;
        if self.mark_us < self.quiet_until_us {
            return None;
        }
        self.quiet_until_us = self.mark_us + QUIET_US;
        let parts = PARTS.iter().map(|(part, name)| format!("{name} {}", Millis(self.parts_us[*part as usize])));
        let mut line = format!(
            "a turn took {} ms for {} events ({})",
            Millis(took_us),
            self.events,
            parts.collect::<Vec<_>>().join(", ")
        );
        if let Some((us, what)) = &self.step {
            line += &format!("; longest step: {what}, {} ms", Millis(*us));
        }
        match std::mem::take(&mut self.untold) - 1 {
            0 => {}
            others => line += &format!("; {others} other long ones were not told of"),
        }
        Some(line)
    }

    pub fn turns(&self) -> &Histogram {
        &self.turns
    }
}

/// Microseconds, written as milliseconds.
struct Millis(u64);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0 / 1_000, self.0 % 1_000 / 100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A turn that begins at `at_us`, whose parts take so long.
    fn turn(pace: &mut Pace, at_us: u64, parts_us: [u64; 5]) -> Option<String> {
        pace.begin(at_us);
        pace.note_events(3);
        let mut now_us = at_us;
        for ((part, _), us) in PARTS.into_iter().zip(parts_us) {
            now_us += us;
            pace.end(part, now_us);
        }
        pace.finish()
    }

    #[test]
    fn each_turn_is_counted_and_only_a_long_one_is_told_of() {
        let mut pace = Pace::default();
        assert_eq!(turn(&mut pace, 1_000, [2_000; 5]), None);
        let told = turn(&mut pace, 50_000, [100, 12_000, 0, 250, 50]).expect("it was long");
        assert_eq!(told, "a turn took 12.4 ms for 3 events (network 0.1, input 12.0, log 0.0, publish 0.2, flush 0.0)");
        assert_eq!(pace.turns().count(), 2);
    }

    #[test]
    fn the_longest_step_is_named_and_short_ones_are_not_asked() {
        let mut pace = Pace::default();
        pace.begin(0);
        assert!(!pace.is_longest(5_000), "half of a long turn is not long");
        for (us, what) in [(8_000, "history of \"a\""), (9_000, "opening \"b\"")] {
            assert!(pace.is_longest(us));
            pace.note_step(us, what.to_owned());
        }
        assert!(!pace.is_longest(6_000), "a longer one is known");
        pace.end(Part::Input, 20_000);
        let told = pace.finish().expect("it was long");
        assert!(told.ends_with("; longest step: opening \"b\", 9.0 ms"), "{told}");
    }

    #[test]
    fn there_is_a_line_a_second_which_counts_the_others() {
        let mut pace = Pace::default();
        let long = [0, 20_000, 0, 0, 0];
        assert!(turn(&mut pace, 0, long).is_some());
        assert_eq!(turn(&mut pace, 500_000, long), None);
        assert_eq!(turn(&mut pace, 900_000, long), None);
        let told = turn(&mut pace, 2_000_000, long).expect("a second has passed");
        assert!(told.ends_with("; 2 other long ones were not told of"), "{told}");
    }
}

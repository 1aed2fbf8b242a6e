//! Whether what one connection received has every message once and in order.
//!
//! Owns: the next number expected, and the numbers that were passed over. Must never know: what the messages say.

/// Ranges of passed-over numbers that are remembered per connection; beyond them a late number counts as repeated.
const GAPS_MAX: usize = 1_024;

/// What a number shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is the next one, or the first, or later than that: then the ones between may be lost.
    News,
    /// It was passed over before.
    Late,
    /// It had come already.
    Repeated,
}

/// What was wrong, over all connections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Faults {
    pub repeated: u64,
    pub reordered: u64,
}

/// The sequence of one room as one connection sees it. Between faults it is one number.
#[derive(Debug, Default)]
pub(super) struct Sequence {
    /// 0 before the first.
    next: u64,
    gaps: Vec<(u64, u64)>,
}

impl Sequence {
    /// Takes in the next number; 0 stands for a message that has none, which is not checked.
    #[inline]
    pub fn see(&mut self, sequence: u64, faults: &mut Faults) -> Seen {
        if sequence == self.next || self.next == 0 || sequence == 0 {
            self.next = if sequence == 0 { self.next } else { sequence + 1 };
            return Seen::News;
        }
        self.see_other(sequence, faults)
    }

    #[cold]
    fn see_other(&mut self, sequence: u64, faults: &mut Faults) -> Seen {
        let gaps = &mut self.gaps;
        if sequence > self.next {
            if gaps.len() < GAPS_MAX {
                gaps.push((self.next, sequence));
            }
            self.next = sequence + 1;
            return Seen::News;
        }
        let Some(at) = gaps.iter().position(|&(from, to)| (from..to).contains(&sequence)) else {
            faults.repeated += 1;
            return Seen::Repeated;
        };
        let (from, to) = gaps.swap_remove(at);
        gaps.extend([(from, sequence), (sequence + 1, to)].into_iter().filter(|(from, to)| from < to));
        faults.reordered += 1;
        Seen::Late
    }

    /// Numbers that were passed over and never came.
    pub fn missing(&self) -> u64 {
        self.gaps.iter().map(|(from, to)| to - from).sum()
    }

    /// The number after the last; 0 before the first.
    pub fn next(&self) -> u64 {
        self.next
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[u64]) -> (u64, u64, u64) {
        let (mut sequence, mut faults) = (Sequence::default(), Faults::default());
        for &number in numbers {
            sequence.see(number, &mut faults);
        }
        (sequence.missing(), faults.repeated, faults.reordered)
    }

    #[test]
    fn what_is_lost_repeated_or_reordered_is_counted_as_that() {
        for (numbers, lost_repeated_reordered) in [
            (&[5, 6, 7, 8][..], (0, 0, 0)),
            (&[], (0, 0, 0)),
            (&[1, 2, 4, 5], (1, 0, 0)),
            (&[1, 5, 10], (7, 0, 0)),
            (&[1, 2, 2, 3], (0, 1, 0)),
            (&[3, 4, 1, 5], (0, 1, 0)),
            (&[1, 3, 2, 4], (0, 0, 1)),
            (&[1, 6, 3, 4, 7], (2, 0, 2)),
            (&[1, 6, 3, 3, 7], (3, 1, 1)),
            (&[0, 0, 0], (0, 0, 0)),
        ] {
            assert_eq!(of(numbers), lost_repeated_reordered, "{numbers:?}");
        }
    }
}

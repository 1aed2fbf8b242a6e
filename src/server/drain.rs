//! The end of a server: who is told when.
//!
//! Owns: the pace at which connections are closed, so that their clients do not come back all at once. Must never know: what
//! is settled before.

use crate::{limits, net::ConnId};

/// Least time between two rounds, in milliseconds: each waits for the disk.
const ROUND_MS: u64 = 20;

/// Connections that are still to be closed.
#[derive(Debug)]
pub(super) struct Drain {
    /// Those that were there when it began, the next to be closed last.
    left: Vec<ConnId>,
    total: usize,
    began_ms: u64,
    spread_ms: u64,
    round_at_ms: u64,
}

impl Drain {
    /// Begins at `now_ms`.
    pub fn begin(mut connections: Vec<ConnId>, now_ms: u64) -> Self {
        connections.reverse();
        let total = connections.len();
        let spread_ms = (total as u64 / limits::DRAIN_PER_MS).min(limits::DRAIN_MS_MAX);
        Self { left: connections, total, began_ms: now_ms, spread_ms, round_at_ms: now_ms }
    }

    pub fn began_ms(&self) -> u64 {
        self.began_ms
    }

    /// The rest is to be closed with the next round, and that is now.
    pub fn hurry(&mut self) {
        self.spread_ms = 0;
        self.round_at_ms = self.began_ms;
    }

    /// When [`Drain::round`] has something to do, in milliseconds.
    pub fn next_ms(&self) -> u64 {
        self.round_at_ms
    }

    /// Those that are to be closed now; `None` before it is time.
    pub fn round(&mut self, now_ms: u64) -> Option<Vec<ConnId>> {
        if now_ms < self.round_at_ms {
            return None;
        }
        self.round_at_ms = now_ms + ROUND_MS;
        // Of the time up to the next round, so that few connections have one round only.
        let elapsed_ms = self.round_at_ms - self.began_ms;
        let target = match elapsed_ms.checked_mul(self.total as u64) {
            Some(product) if elapsed_ms < self.spread_ms => (product / self.spread_ms) as usize,
            _ => self.total,
        };
        let keep = self.total - target;
        Some(self.left.split_off(keep.min(self.left.len())))
    }

    /// Whether all were closed.
    pub fn is_over(&self) -> bool {
        self.left.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connections(count: u64) -> Vec<ConnId> {
        (0..count).map(|n| ConnId::from_bits(1 << 32 | n)).collect()
    }

    /// What each round closes, with rounds as soon as they are due.
    fn rounds(drain: &mut Drain) -> Vec<(u64, usize)> {
        let mut rounds = Vec::new();
        while !drain.is_over() {
            let now_ms = drain.next_ms();
            assert!(now_ms == 0 || drain.round(now_ms - 1).is_none(), "not before it is time");
            rounds.push((now_ms, drain.round(now_ms).expect("it is time").len()));
        }
        rounds
    }

    #[test]
    fn a_few_are_closed_at_once() {
        assert_eq!(rounds(&mut Drain::begin(connections(100), 0)), [(0, 100)]);
        assert!(Drain::begin(Vec::new(), 7).is_over());
    }

    #[test]
    fn many_are_closed_evenly_each_once_and_within_the_bound() {
        let mut drain = Drain::begin(connections(20_000), 0);
        let rounds = rounds(&mut drain);
        assert_eq!(rounds.iter().map(|(_, count)| count).sum::<usize>(), 20_000);
        assert!(rounds.iter().all(|(_, count)| *count == 200), "{rounds:?}");
        assert_eq!(rounds.last().map(|(at_ms, _)| *at_ms), Some(limits::DRAIN_MS_MAX - ROUND_MS));
    }

    #[test]
    fn the_oldest_go_first_and_a_late_round_makes_up_for_it() {
        let mut drain = Drain::begin(connections(1_000), 50);
        let first = drain.round(50).expect("it is time");
        assert_eq!(first.len(), 100);
        assert!(first.contains(&connections(1)[0]));
        assert_eq!(drain.round(150).expect("it is time").len(), 500);
        assert_eq!(drain.round(10_000).expect("it is time").len(), 400);
        assert!(drain.is_over());
    }

    #[test]
    fn who_is_in_a_hurry_is_not_kept() {
        let mut drain = Drain::begin(connections(20_000), 0);
        assert_eq!(drain.round(0).map(|all| all.len()), Some(200));
        drain.hurry();
        assert_eq!(drain.round(1).map(|all| all.len()), Some(19_800));
    }
}

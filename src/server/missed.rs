//! Who was not told something ephemeral, because too much was queued for it.
//!
//! Owns: that list, and who on it has room again. Must never know: what it was, or what makes up for it.

use std::collections::HashSet;

use crate::net::ConnId;

/// Invariant: who is in `room` is in `all`, unless it is gone.
#[derive(Debug, Default)]
pub(super) struct Missed {
    all: HashSet<ConnId>,
    /// Those that may have room.
    room: Vec<ConnId>,
}

impl Missed {
    /// A connection was not told something.
    pub fn note(&mut self, conn: ConnId) {
        if self.all.insert(conn) {
            self.room.push(conn);
        }
    }

    /// A connection has room again.
    pub fn resume(&mut self, conn: ConnId) {
        if !self.all.is_empty() && self.all.contains(&conn) {
            self.room.push(conn);
        }
    }

    /// A connection is gone.
    pub fn remove(&mut self, conn: ConnId) {
        self.all.remove(&conn);
    }

    /// Those that may have room, to be looked at: each is then either [`Missed::made_up`], or waits for
    /// [`Missed::resume`], or is given to [`Missed::retry`].
    pub fn take(&mut self) -> Vec<ConnId> {
        std::mem::take(&mut self.room)
    }

    /// A connection has no room yet, and nobody will tell when it has.
    pub fn retry(&mut self, conn: ConnId) {
        self.room.push(conn);
    }

    /// False if there was nothing to make up for.
    pub fn made_up(&mut self, conn: ConnId) -> bool {
        self.all.remove(&conn)
    }

    /// Whether somebody is to be looked at soon.
    pub fn is_pending(&self) -> bool {
        !self.room.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_looked_at_once_for_all_that_it_missed() {
        let (a, b) = (ConnId::from_bits(1 << 32), ConnId::from_bits(1 << 32 | 1));
        let mut missed = Missed::default();
        missed.resume(a);
        assert!(!missed.is_pending(), "it has missed nothing");
        [a, b, a].into_iter().for_each(|conn| missed.note(conn));
        assert_eq!(missed.take(), [a, b]);
        missed.note(a);
        assert!(!missed.is_pending(), "it waits for room already");
        missed.resume(a);
        missed.remove(b);
        assert_eq!(missed.take(), [a]);
        assert!(missed.made_up(a) && !missed.made_up(a) && !missed.made_up(b));
        missed.note(a);
        assert_eq!(missed.take(), [a], "again");
    }
}

//! Rooms that everybody has left, kept open for a while in case somebody comes back.
//!
//! Owns: which they are and until when. Must never know: what is in them.
//!
//! Opening a room reads the end of its log, closing it writes to it: a visitor who says one thing and goes should not
//! make the server do both. The number of such rooms is bounded, so that silence costs next to nothing.

use std::{
    collections::{HashMap, VecDeque},
    rc::Rc,
};

use super::room::Room;

/// How long a room without members stays open, in milliseconds.
const PARKED_MS: u64 = 30_000;
/// Rooms without members that stay open.
const PARKED_MAX: usize = 256;

/// Invariant: every room is in the queue; an entry of the queue without a room, or with a later one, is out of date.
pub(super) struct Parked<T> {
    rooms: HashMap<Rc<str>, (u64, Room<T>)>,
    /// By the time at which they are closed.
    queue: VecDeque<(u64, Rc<str>)>,
}

impl<T> Default for Parked<T> {
    fn default() -> Self {
        Self { rooms: HashMap::new(), queue: VecDeque::new() }
    }
}

impl<T> Parked<T> {
    /// Keeps a room.
    pub fn put(&mut self, room: Room<T>, now_ms: u64) {
        let (until_ms, name) = (now_ms + PARKED_MS, Rc::clone(&room.name));
        self.queue.push_back((until_ms, Rc::clone(&name)));
        self.rooms.insert(name, (until_ms, room));
    }

    /// Gives a room back to those who come.
    pub fn take(&mut self, name: &str) -> Option<Room<T>> {
        self.rooms.remove(name).map(|(_, room)| room)
    }

    /// A room that has been kept long enough.
    pub fn next_due(&mut self, now_ms: u64) -> Option<Room<T>> {
        while let Some((until_ms, _)) = self.queue.front() {
            if *until_ms > now_ms && self.queue.len() <= PARKED_MAX {
                return None;
            }
            let (until_ms, name) = self.queue.pop_front().expect("looked at above");
            if self.rooms.get(&name).is_some_and(|(until, _)| *until == until_ms) {
                return self.take(&name);
            }
        }
        None
    }

    /// When the next room is due, on the monotonic clock. May be early.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.queue.front().map(|&(until_ms, _)| until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogError;

    fn room(name: &str) -> Room<()> {
        Room::new(name.into(), Err(LogError::Unavailable))
    }

    #[test]
    fn a_room_is_given_back_or_closed_in_time() {
        let mut parked = Parked::default();
        parked.put(room("a"), 0);
        parked.put(room("b"), 10);
        assert!(parked.next_due(PARKED_MS - 1).is_none());
        assert!(parked.take("a").is_some() && parked.take("a").is_none());
        parked.put(room("a"), 20);
        assert!(parked.next_due(PARKED_MS).is_none(), "its first time is over, but it was back in between");
        assert_eq!(&*parked.next_due(PARKED_MS + 10).expect("due").name, "b");
        assert_eq!(parked.next_deadline_ms(), Some(PARKED_MS + 20));
        assert_eq!(&*parked.next_due(PARKED_MS + 20).expect("due").name, "a");
        assert!(parked.next_due(u64::MAX).is_none() && parked.next_deadline_ms().is_none());
    }

    #[test]
    fn their_number_is_bounded() {
        let mut parked = Parked::default();
        let mut closed = 0;
        for number in 0..1_000 {
            parked.put(room(&format!("r{number}")), 0);
            closed += std::iter::from_fn(|| parked.next_due(0)).count();
        }
        assert_eq!(closed, 1_000 - PARKED_MAX);
    }
}

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
use crate::limits;

/// How long a room without members stays open, in milliseconds.
const PARKED_MS: u64 = 30_000;
/// Rooms without members that stay open.
const PARKED_MAX: usize = 256;
/// Bytes of frames that such rooms keep, so that who comes back need not wait for the log.
const TAIL_BYTES_MAX: usize = limits::TAIL_BYTES_MAX / 2;

/// Invariants: every room is in the queue; an entry of the queue without a room, or with a later one, is out of date;
/// `tail_bytes` is the sum over the rooms.
pub(super) struct Parked<T> {
    rooms: HashMap<Rc<str>, (u64, Room<T>)>,
    /// By the time at which they are closed.
    queue: VecDeque<(u64, Rc<str>)>,
    tail_bytes: usize,
}

impl<T> Default for Parked<T> {
    fn default() -> Self {
        Self { rooms: HashMap::new(), queue: VecDeque::new(), tail_bytes: 0 }
    }
}

impl<T> Parked<T> {
    /// Keeps a room.
    pub fn put(&mut self, mut room: Room<T>, now_ms: u64) {
        if let Some(hot) = room.hot.as_mut().filter(|hot| self.tail_bytes + hot.tail_bytes_from(0) > TAIL_BYTES_MAX) {
            hot.forget_tail();
        }
        self.tail_bytes += tail_bytes(&room);
        let (until_ms, name) = (now_ms + PARKED_MS, Rc::clone(&room.name));
        self.queue.push_back((until_ms, Rc::clone(&name)));
        self.rooms.insert(name, (until_ms, room));
    }

    /// Gives a room back to those who come.
    pub fn take(&mut self, name: &str) -> Option<Room<T>> {
        let (_, room) = self.rooms.remove(name)?;
        self.tail_bytes -= tail_bytes(&room);
        Some(room)
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

fn tail_bytes<T>(room: &Room<T>) -> usize {
    room.hot.as_ref().map_or(0, |hot| hot.tail_bytes_from(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        feed::{room::Hot, tail::Batch},
        log::LogError,
        net::Frame,
    };

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
    fn the_memory_of_what_they_said_last_is_bounded() {
        let mut parked = Parked::default();
        for number in 0..10 {
            let mut room = room(&format!("r{number}"));
            let mut hot = Hot::new(0, 0);
            let frame = Frame::from_encoded(vec![0; TAIL_BYTES_MAX / 4]);
            hot.tail.push_back(Batch { first: 1, last: 1, frame });
            room.hot = Some(Box::new(hot));
            parked.put(room, number);
        }
        assert_eq!(parked.tail_bytes, TAIL_BYTES_MAX);
        assert!(parked.take("r0").is_some_and(|room| tail_bytes(&room) > 0));
        assert!(parked.take("r9").is_some_and(|room| tail_bytes(&room) == 0));
        while parked.next_due(u64::MAX).is_some() {}
        assert_eq!(parked.tail_bytes, 0);
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

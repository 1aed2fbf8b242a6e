//! Cursors: where each subscription stands, where it may start, and who is behind.
//!
//! Owns: both directions of the relation between rooms and subscribers. Must never know: messages.

use std::collections::VecDeque;

use smallvec::SmallVec;

use super::{RoomId, Start, SubscriberId};
use crate::{
    few::{Few, push_tightly},
    limits,
    log::{Epoch, Position},
    protocol::Reset,
};

/// How what a cursor reads is framed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// As `history` frames. Boxed, because it passes and subscriptions stay.
    Replay(Box<Replay>),
    /// As `message` frames.
    Live,
}

/// A replay goes up to where the log ended when the subscription began: what came later is news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Replay {
    /// The last sequence of the replay.
    pub until: u64,
    /// Told in the first frame.
    pub reset: Option<Reset>,
    /// One frame is sent even if there is nothing.
    pub owes_frame: bool,
    /// The last few messages of a plain join, which go in one frame.
    pub recent: bool,
}

/// A subscription.
#[derive(Clone, Debug)]
pub(super) struct Subscriber {
    pub id: SubscriberId,
    /// The next sequence to send.
    pub next: u64,
    pub phase: Phase,
}

/// Where a subscription starts, and how. `epochs` are the old ones with their last sequences.
pub(super) fn resolve(start: Start<'_>, position: &Position, epochs: &[(Epoch, u64)]) -> (u64, Phase) {
    let Position { epoch: current, floor, head, .. } = *position;
    if start == Start::Head {
        return (head + 1, Phase::Live);
    }
    let Start::After { since, epoch } = start else {
        let next = floor.max((head + 1).saturating_sub(limits::JOIN_HISTORY_MESSAGES));
        let recent = Replay { until: head, reset: None, owes_frame: false, recent: true };
        return (next, if next > head { Phase::Live } else { Phase::Replay(Box::new(recent)) });
    };
    let epoch_start = epochs.last().map_or(1, |&(_, last)| last + 1);
    let old = epoch.and_then(|epoch| epochs.iter().rev().find(|(old, _)| old.to_string() == epoch));
    let (next, reset) = match (epoch, old) {
        (Some(epoch), _) if epoch == current.to_string() && since > head => (epoch_start, Some(Reset::Ahead)),
        (Some(epoch), _) if epoch == current.to_string() => (since + 1, None),
        (Some(_), Some(&(_, last))) if since <= last => (since + 1, None),
        (Some(_), Some(&(_, last))) => (last + 1, Some(Reset::EpochChanged)),
        (Some(_), None) if since > 0 => (floor, Some(Reset::EpochChanged)),
        (None, _) if since > head => (floor, Some(Reset::Ahead)),
        _ => (since + 1, None),
    };
    let (next, reset) = if next < floor { (floor, reset.or(Some(Reset::Expired))) } else { (next, reset) };
    (next, Phase::Replay(Box::new(Replay { until: head, reset, owes_frame: true, recent: false })))
}

/// The subscriber's side: in which rooms, and whether it is behind.
#[derive(Debug, Default)]
struct Entry {
    generation: u32,
    /// In the queue of those that are behind.
    queued: bool,
    rooms: Few<(RoomId, u32)>,
}

/// All subscribers, by slot.
#[derive(Debug, Default)]
pub(super) struct Subscriptions {
    entries: Vec<Entry>,
    behind: VecDeque<SubscriberId>,
}

impl Subscriptions {
    fn entry(&mut self, who: SubscriberId) -> Option<&mut Entry> {
        self.entries.get_mut(who.slot as usize).filter(|entry| entry.generation == who.generation)
    }

    /// Adds a cursor to a room's list, or moves the one that is there.
    pub fn set(
        &mut self,
        id: SubscriberId,
        room: RoomId,
        subscribers: &mut SmallVec<[Subscriber; 1]>,
        next: u64,
        phase: Phase,
    ) {
        let slot = id.slot as usize;
        self.entries.resize_with(self.entries.len().max(slot + 1), Entry::default);
        let entry = &mut self.entries[slot];
        if entry.generation != id.generation {
            debug_assert!(entry.rooms.is_empty(), "the slot's last user was dropped");
            *entry = Entry { generation: id.generation, ..Entry::default() };
        }
        let subscriber = Subscriber { id, next, phase };
        match entry.rooms.iter().find(|(other, _)| *other == room) {
            Some(&(_, place)) => subscribers[place as usize] = subscriber,
            None => {
                let place = u32::try_from(subscribers.len()).expect("fewer subscribers than descriptors");
                push_tightly(subscribers, subscriber);
                entry.rooms.push((room, place));
            }
        }
        self.mark_behind(id);
    }

    /// Forgets a subscriber's room; where it stands in the room's list.
    pub fn remove(&mut self, who: SubscriberId, room: RoomId) -> Option<u32> {
        let rooms = &mut self.entry(who)?.rooms;
        let index = rooms.iter().position(|(other, _)| *other == room)?;
        Some(rooms.swap_remove(index).1)
    }

    /// Forgets all of a subscriber's rooms.
    pub fn remove_all(&mut self, who: SubscriberId) -> Few<(RoomId, u32)> {
        self.entry(who).map(|entry| std::mem::take(&mut entry.rooms)).unwrap_or_default()
    }

    /// A subscriber stands elsewhere in a room's list now.
    pub fn moved(&mut self, who: SubscriberId, room: RoomId, place: u32) {
        let rooms = &mut self.entry(who).expect("it is in the room's list").rooms;
        rooms.iter_mut().find(|(other, _)| *other == room).expect("and the room in its own").1 = place;
    }

    /// The subscriber's rooms, and where it stands in their lists.
    pub fn rooms(&mut self, who: SubscriberId) -> Few<(RoomId, u32)> {
        self.entry(who).map(|entry| entry.rooms.clone()).unwrap_or_default()
    }

    /// There is, or may be, something for this subscriber that it has not been given.
    pub fn mark_behind(&mut self, who: SubscriberId) {
        if let Some(entry) = self.entry(who)
            && !std::mem::replace(&mut entry.queued, true)
        {
            self.behind.push_back(who);
        }
    }

    pub fn behind_count(&self) -> usize {
        self.behind.len()
    }

    /// Takes the subscriber that has waited longest.
    pub fn next_behind(&mut self) -> Option<SubscriberId> {
        let who = self.behind.pop_front()?;
        if let Some(entry) = self.entry(who) {
            entry.queued = false;
        }
        Some(who)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Epoch = Epoch(3);
    const OLD: [(Epoch, u64); 2] = [(Epoch(1), 40), (Epoch(2), 70)];

    fn start(since: u64, epoch: Option<Epoch>, floor: u64) -> (u64, Option<Reset>) {
        let position = Position { epoch: NOW, floor, head: 100, next: 101 };
        let epoch = epoch.map(|epoch| epoch.to_string());
        match resolve(Start::After { since, epoch: epoch.as_deref() }, &position, &OLD) {
            (next, Phase::Replay(replay)) if replay.owes_frame => (next, replay.reset),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_position_of_this_numbering_is_honoured() {
        assert_eq!(start(100, Some(NOW), 1), (101, None));
        assert_eq!(start(5, Some(NOW), 1), (6, None));
        assert_eq!(start(0, None, 1), (1, None));
        assert_eq!(start(100, None, 1), (101, None));
    }

    #[test]
    fn an_old_epoch_is_good_up_to_its_last_number() {
        assert_eq!(start(40, Some(Epoch(1)), 1), (41, None));
        assert_eq!(start(41, Some(Epoch(1)), 1), (41, Some(Reset::EpochChanged)));
        assert_eq!(start(90, Some(Epoch(2)), 1), (71, Some(Reset::EpochChanged)));
    }

    #[test]
    fn an_unknown_epoch_starts_over_unless_nothing_was_seen() {
        assert_eq!(start(5, Some(Epoch(9)), 1), (1, Some(Reset::EpochChanged)));
        assert_eq!(start(0, Some(Epoch(9)), 1), (1, None));
    }

    #[test]
    fn beyond_the_end_is_ahead() {
        assert_eq!(start(101, None, 1), (1, Some(Reset::Ahead)));
        assert_eq!(start(101, Some(NOW), 1), (71, Some(Reset::Ahead)));
        assert_eq!(start(u64::MAX, None, 1), (1, Some(Reset::Ahead)));
        assert_eq!(start(u64::MAX, Some(NOW), 1), (71, Some(Reset::Ahead)));
    }

    #[test]
    fn what_retention_took_is_expired() {
        assert_eq!(start(10, None, 50), (50, Some(Reset::Expired)));
        assert_eq!(start(49, Some(NOW), 50), (50, None));
        assert_eq!(start(10, Some(Epoch(9)), 50), (50, Some(Reset::EpochChanged)));
    }

    #[test]
    fn what_exists_once_per_subscription_is_small() {
        assert_eq!((size_of::<Subscriber>(), size_of::<Entry>()), (24, 24));
    }

    #[test]
    fn a_plain_join_gets_the_last_fifty() {
        let position = |floor, head| Position { epoch: NOW, floor, head, next: head + 1 };
        assert_eq!(resolve(Start::Recent, &position(1, 100), &[]).0, 51);
        assert_eq!(resolve(Start::Recent, &position(1, 7), &[]).0, 1);
        assert_eq!(resolve(Start::Recent, &position(90, 100), &[]).0, 90);
        assert_eq!(resolve(Start::Recent, &position(1, 0), &[]), (1, Phase::Live));
    }
}

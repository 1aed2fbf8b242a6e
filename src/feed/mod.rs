//! Rooms as logs: append, publish, and one cursor per subscription that pulls what its reader has room for.
//!
//! Owns: what has been appended but not published, the tail of published frames in memory, cursors, idempotency. Must
//! never know: who a subscriber is, what a membership means, how bytes reach a socket.
//!
//! A frame is encoded once. Its JSON is the record's payload; the frame around it is shared by every reader. A reader
//! that keeps up gets the very batch that a turn published; one that lags gets a slice of the tail, and beyond that the
//! same bytes from the log. There is no other queue of messages.

mod amend;
mod cursor;
mod nonces;
mod parked;
mod patience;
mod pieces;
mod replay;
mod room;
mod tail;

use std::rc::Rc;

pub use self::amend::{Amendment, Author};
use self::{
    cursor::{Phase, Subscriptions},
    nonces::Verdict,
    parked::Parked,
    pieces::Pieces,
    room::{Pending, Room},
    tail::Tails,
};
use crate::{
    clock::Now,
    limits,
    log::{Disk, Epoch, LogError, LogEvent, LogId, Position, ReadBuffer, Store, StoreError, SyncBatch, SyncOutcome},
    net::Frame,
    protocol::{Change, HistoryRange, MessageIdentity, Reset, StoredMessage, encode_message, recorded},
};

/// A room's place in the caller's table; small, and used again after [`Feed::close`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoomId(pub u32);

impl RoomId {
    fn index(self) -> usize {
        self.0 as usize
    }
}

/// A subscriber: a place in the caller's table of connections, and a number that tells it from earlier ones there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SubscriberId {
    /// Small, and used again.
    pub slot: u32,
    /// Different for every use of the slot.
    pub generation: u32,
}

/// Where frames for subscribers go.
pub trait Sink {
    /// Whether this subscriber's queue is below its low-water mark.
    fn accepts(&self, subscriber: SubscriberId) -> bool;
    /// Whether it will be told, by [`Feed::resume`], when it is below that mark again.
    fn is_blocked(&self, subscriber: SubscriberId) -> bool;
    /// Queues a frame.
    fn push(&mut self, subscriber: SubscriberId, frame: &Frame);
}

/// A message to append.
#[derive(Clone, Copy, Debug)]
pub struct Draft<'a> {
    /// The author.
    pub user: &'a str,
    /// The text.
    pub content: &'a str,
    /// Makes the append idempotent: the same user and nonce is stored once in this room.
    pub nonce: Option<&'a str>,
}

/// Why a draft was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// The nonce was used with other content.
    NonceConflict,
    /// There is nothing with that number that could be changed: no message, one that is deleted, or a change itself.
    NoSuchMessage,
    /// The message was edited as often as it may be; it can still be deleted.
    TooManyEdits,
    /// The message is somebody else's, or from before the time that may be changed.
    NotAuthor,
    /// The log does not take it.
    Log(LogError),
}

/// What became of appends.
#[derive(Debug, PartialEq, Eq)]
pub enum FeedEvent<T> {
    /// A draft is as durable as configured.
    Stored {
        /// Came with the draft.
        ticket: T,
        /// The room.
        room: RoomId,
        /// Its number.
        sequence: u64,
        /// Unix milliseconds.
        timestamp: u64,
        /// True if an earlier draft with the same nonce was.
        duplicate: bool,
    },
    /// A draft was not stored and never will be.
    Rejected {
        /// Came with the draft.
        ticket: T,
        /// Why.
        why: Rejection,
    },
    /// So many drafts of a room are stored or rejected.
    Settled {
        /// The room.
        room: RoomId,
        /// How many.
        count: u32,
    },
    /// A room's log failed and takes nothing more.
    ReadOnly {
        /// The room's name.
        name: Rc<str>,
    },
}

/// Where a subscription starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start<'a> {
    /// With the last few messages.
    Recent,
    /// With what is said from now on.
    Head,
    /// After a sequence of an epoch; of the current one if it is not said.
    After {
        /// The last sequence the reader has.
        since: u64,
        /// Its epoch.
        epoch: Option<&'a str>,
    },
}

/// All rooms in use. `T` comes with a draft and goes back with what became of it.
///
/// Invariant: a subscriber is in a room's list exactly if the room is in the subscriber's.
pub struct Feed<D: Disk, T> {
    store: Store<D>,
    rooms: Vec<Option<Room<T>>>,
    parked: Parked<T>,
    /// Which room a log belongs to.
    by_log: Vec<RoomId>,
    subscriptions: Subscriptions,
    tails: Tails,
    pieces: Pieces,
    /// Rooms with messages that were published and not delivered yet.
    fresh: Vec<RoomId>,
    /// How long messages of a busy room may wait for others; 0 for not at all.
    linger_us: u64,
    /// When the first of those that do goes out.
    lingers_until_us: Option<u64>,
    payload: Vec<u8>,
    buffer: ReadBuffer,
    /// For the present text of a changed message.
    present: ReadBuffer,
    log_events: Vec<LogEvent>,
    delivered: u64,
}

impl<D: Disk, T> Feed<D, T> {
    /// A feed over an open store. `linger_us`: how long messages of a busy room may wait, so that several leave together;
    /// 0 for not at all.
    pub fn new(store: Store<D>, linger_us: u64) -> Self {
        Self {
            store,
            rooms: Vec::new(),
            parked: Parked::default(),
            by_log: Vec::new(),
            subscriptions: Subscriptions::default(),
            tails: Tails::default(),
            pieces: Pieces::default(),
            fresh: Vec::new(),
            linger_us,
            lingers_until_us: None,
            payload: Vec::new(),
            buffer: ReadBuffer::default(),
            present: ReadBuffer::default(),
            log_events: Vec::new(),
            delivered: 0,
        }
    }

    /// Takes a room into use. If its log cannot be opened the room is there all the same, and every use of the log
    /// fails. `entropy` becomes the epoch of a room that has none yet.
    pub fn open(&mut self, id: RoomId, name: Rc<str>, entropy: u64, now: Now) {
        let room = self.parked.take(&name).unwrap_or_else(|| {
            let log = self.store.open_room(&name, entropy, now);
            Room::new(name, log)
        });
        if let Ok(log) = room.log {
            self.by_log.resize(self.by_log.len().max(log.index() + 1), id);
            self.by_log[log.index()] = id;
        }
        if let Some(hot) = &room.hot {
            self.tails.add(id, &hot.tail);
        }
        self.rooms.resize_with(self.rooms.len().max(id.index() + 1), || None);
        let before = self.rooms[id.index()].replace(room);
        debug_assert!(before.is_none(), "a room is closed before its place is used again");
    }

    /// Gives a room up. Nobody is subscribed, and every draft is settled. If there is something in it, it stays open for
    /// a while: who reads it now and then should not have it opened each time.
    pub fn close(&mut self, id: RoomId, now: Now) {
        let mut room = self.rooms[id.index()].take().expect("a room is opened before it is closed");
        debug_assert!(room.subscribers.is_empty() && room.is_settled());
        self.pieces.forget(id);
        if let Some(hot) = &mut room.hot {
            self.tails.forget(&hot.tail);
            hot.cool_down(limits::JOIN_HISTORY_MESSAGES);
            self.sweep_tails();
        } else if room.log.is_ok_and(|log| self.store.position(log).head == 0) {
            // Nothing would have to be read to open it again.
            return self.close_log(&room);
        }
        self.parked.put(room, now.monotonic_ms);
        self.close_parked(now);
    }

    /// Closes rooms that nobody has come back to.
    fn close_parked(&mut self, now: Now) {
        let mut busy = Vec::new();
        while let Some(room) = self.parked.next_due(now.monotonic_ms) {
            match room.log {
                // Closing it now would wait for the disk.
                Ok(log) if self.store.is_amending(log) => busy.push(room),
                _ => self.close_log(&room),
            }
        }
        busy.into_iter().for_each(|room| self.parked.put(room, now.monotonic_ms));
    }

    fn close_log(&mut self, room: &Room<T>) {
        if let Ok(log) = room.log {
            self.store.close_room(log);
        }
    }

    /// Rooms whose logs take no messages, in use or not.
    #[must_use]
    pub fn rooms_read_only(&self) -> usize {
        self.store.rooms_read_only()
    }

    /// Rooms, in use or not, in whose logs damage was found.
    #[must_use]
    pub fn rooms_damaged(&self) -> usize {
        self.store.rooms_damaged()
    }

    /// A room's name.
    #[must_use]
    pub fn name(&self, id: RoomId) -> &Rc<str> {
        &self.room(id).name
    }

    /// Where a room's log stands.
    ///
    /// # Errors
    /// The log could not be opened.
    pub fn position(&self, id: RoomId) -> Result<Position, LogError> {
        self.room(id).log.map(|log| self.store.position(log))
    }

    /// The epoch in which a sequence of a room was given.
    ///
    /// # Errors
    /// The log could not be opened.
    pub fn epoch_of(&self, id: RoomId, sequence: u64) -> Result<Epoch, LogError> {
        let log = self.room(id).log?;
        let old = self.store.epochs(log).iter().find(|&&(_, last)| sequence <= last);
        Ok(old.map_or_else(|| self.store.position(log).epoch, |&(epoch, _)| epoch))
    }

    /// When something was last said in a room, in Unix milliseconds; `None` if nothing is there, or it cannot be read.
    pub fn last_timestamp(&mut self, id: RoomId) -> Option<u64> {
        let room = self.room(id);
        let log = room.log.ok()?;
        let head = self.store.position(log).head;
        match &room.hot {
            Some(hot) => Some(hot.last_timestamp).filter(|_| head > 0),
            None => self.timestamp_of(log, head).ok()?,
        }
    }

    /// Appends a draft to a room's log. What becomes of it is told by an event, now or later.
    pub fn append(&mut self, id: RoomId, draft: &Draft<'_>, now: Now, ticket: T, events: &mut Vec<FeedEvent<T>>) {
        let appended = self.try_append(id, draft, now);
        self.await_receipt(id, appended, ticket, events);
    }

    fn await_receipt(
        &mut self,
        id: RoomId,
        appended: Result<Appended, Rejection>,
        ticket: T,
        events: &mut Vec<FeedEvent<T>>,
    ) {
        match appended {
            Ok(Appended::New(pending)) => self.hot(id).pending.push_back(pending.with(ticket)),
            Ok(Appended::Again(pending)) if pending.is_visible => {
                let (sequence, timestamp) = (pending.sequence, pending.timestamp);
                events.push(FeedEvent::Stored { ticket, room: id, sequence, timestamp, duplicate: true });
                events.push(FeedEvent::Settled { room: id, count: 1 });
            }
            Ok(Appended::Again(pending)) => {
                let queue = &mut self.hot(id).pending;
                let place = queue.partition_point(|other| other.sequence <= pending.sequence);
                queue.insert(place, pending.with(ticket));
            }
            Err(why) => {
                events.push(FeedEvent::Rejected { ticket, why });
                events.push(FeedEvent::Settled { room: id, count: 1 });
            }
        }
    }

    fn try_append(&mut self, id: RoomId, draft: &Draft<'_>, now: Now) -> Result<Appended, Rejection> {
        let log = self.room(id).log.map_err(Rejection::Log)?;
        self.warm_up(id, log)?;
        let Draft { user, content, nonce } = *draft;
        let entry = Entry { user, content, nonce, change: None };
        match self.stored_before(id, log, &entry)? {
            Some(earlier) => Ok(earlier),
            None => self.store_entry(id, log, &entry, &[], now),
        }
    }

    /// The same entry with the same nonce, if it was appended before. The room is warm.
    fn stored_before(&mut self, id: RoomId, log: LogId, entry: &Entry<'_>) -> Result<Option<Appended>, Rejection> {
        let Some(nonce) = entry.nonce else { return Ok(None) };
        match self.check_nonce(id, log, nonce, entry)? {
            Verdict::New => Ok(None),
            Verdict::Conflict => Err(Rejection::NonceConflict),
            Verdict::Stored { sequence, timestamp } => {
                let is_visible = sequence <= self.store.position(log).head;
                Ok(Some(Appended::Again(Stored { sequence, timestamp, duplicate: true, is_visible })))
            }
        }
    }

    /// Appends an entry, with what it makes of earlier records. The room is warm.
    fn store_entry(
        &mut self,
        id: RoomId,
        log: LogId,
        entry: &Entry<'_>,
        changed: &[(u64, Vec<u8>)],
        now: Now,
    ) -> Result<Appended, Rejection> {
        let Position { epoch, next: sequence, .. } = self.store.position(log);
        let room = self.rooms[id.index()].as_mut().expect("a room is open while it is used");
        let hot = room.hot.as_mut().expect("the caller has warmed it up");
        let timestamp = hot.last_timestamp.max(now.unix_ms);
        let Entry { user, content, nonce, change } = *entry;
        let message = MessageIdentity { epoch, sequence };
        let stored = StoredMessage { id: message, room: &room.name, user, content, sequence, timestamp, nonce, change };
        self.payload.clear();
        encode_message(&stored, &mut self.payload);
        if changed.is_empty() {
            self.store.append(log, sequence, &self.payload).map_err(Rejection::Log)?;
        } else {
            let changed: Vec<_> = changed.iter().map(|(target, replacement)| (*target, &replacement[..])).collect();
            self.store.append_amending(log, sequence, &self.payload, &changed).map_err(Rejection::Log)?;
            hot.note_changed(sequence, changed.iter().map(|(target, _)| *target));
        }
        hot.last_timestamp = timestamp;
        hot.building.push(sequence, &self.payload);
        hot.patience.note(now.monotonic_us(), room.subscribers.len(), self.linger_us);
        if let Some(nonce) = nonce {
            hot.remember_nonce(user, nonce, sequence);
        }
        Ok(Appended::New(Stored { sequence, timestamp, duplicate: false, is_visible: false }))
    }

    /// Writes what was appended: one write per room. Call once a turn.
    pub fn write(&mut self, now: Now, events: &mut Vec<FeedEvent<T>>) {
        self.close_parked(now);
        let mut log_events = std::mem::take(&mut self.log_events);
        let (now_us, linger_us) = (now.monotonic_us(), self.linger_us);
        let is_durable = self.store.is_durable_first();
        let Self { store, rooms, by_log, lingers_until_us, .. } = self;
        *lingers_until_us = None;
        let waits = |log: LogId| {
            let room = rooms[by_log[log.index()].index()].as_mut();
            let Some(hot) = room.and_then(|room| room.hot.as_mut()).filter(|_| linger_us > 0) else { return false };
            let until_us = hot.patience.wait_until_us(now_us, hot.pending.len(), linger_us, is_durable);
            *lingers_until_us = [*lingers_until_us, until_us].into_iter().flatten().min();
            until_us.is_some()
        };
        store.write_dirty_unless(now, waits, &mut log_events);
        self.take_log_events(log_events, events);
    }

    /// When [`Feed::write`] is to be called for messages that wait for others, in microseconds on the monotonic clock.
    #[must_use]
    pub fn lingers_until_us(&self) -> Option<u64> {
        self.lingers_until_us
    }

    /// From now on no message waits for others.
    pub fn end_linger(&mut self) {
        self.linger_us = 0;
    }

    /// What is to be made durable now, to be run on another thread; `None` if nothing is, or it is under way.
    pub fn next_sync(&mut self, now: Now) -> Option<SyncBatch<D>> {
        self.store.next_sync(now)
    }

    /// Takes back what became of a sync.
    pub fn synced(&mut self, outcome: SyncOutcome, now: Now, events: &mut Vec<FeedEvent<T>>) {
        let mut log_events = std::mem::take(&mut self.log_events);
        self.store.synced(outcome, now, &mut log_events);
        self.take_log_events(log_events, events);
    }

    /// Allows another number of open log files, at least 1.
    pub fn set_files_open_max(&mut self, max: usize) {
        self.store.set_files_open_max(max);
    }

    /// When [`Feed::write`] and [`Feed::next_sync`] are to be called at the latest, on the monotonic clock.
    #[must_use]
    pub fn next_deadline_ms(&self) -> Option<u64> {
        [self.store.next_deadline_ms(), self.parked.next_deadline_ms()].into_iter().flatten().min()
    }

    /// Makes everything durable and marks the run as cleanly ended.
    ///
    /// # Errors
    /// Not everything could be made durable.
    pub fn shutdown(&mut self, now: Now) -> Result<(), StoreError> {
        self.store.shutdown(now)
    }

    fn take_log_events(&mut self, mut log_events: Vec<LogEvent>, events: &mut Vec<FeedEvent<T>>) {
        for event in log_events.drain(..) {
            match event {
                LogEvent::Visible { id, through } => self.publish(self.by_log[id.index()], through, events),
                LogEvent::Refused { id, from, why } => self.refuse(self.by_log[id.index()], from, why, events),
                LogEvent::ReadOnly { id } => {
                    events.push(FeedEvent::ReadOnly { name: Rc::clone(self.name(self.by_log[id.index()])) });
                }
            }
        }
        self.log_events = log_events;
    }

    /// Makes messages readable, and their authors' receipts due.
    fn publish(&mut self, id: RoomId, through: u64, events: &mut Vec<FeedEvent<T>>) {
        let hot = self.hot(id);
        let mut batches = hot.building.take_through(through);
        let settled = hot.pending.partition_point(|pending| pending.sequence <= through);
        let count = u32::try_from(settled).expect("fewer drafts than four billion");
        for Pending { ticket, sequence, timestamp, duplicate } in hot.pending.drain(..settled) {
            events.push(FeedEvent::Stored { ticket, room: id, sequence, timestamp, duplicate });
        }
        if count > 0 {
            events.push(FeedEvent::Settled { room: id, count });
        }
        if !batches.is_empty() {
            let hot = self.rooms[id.index()].as_mut().and_then(|room| room.hot.as_mut()).expect("it had appends");
            self.tails.add(id, &batches);
            hot.tail.append(&mut batches);
            self.fresh.push(id);
            self.forget_changed(id, through);
            self.trim_tails();
        }
    }

    /// Forgets appends that the log gave back.
    fn refuse(&mut self, id: RoomId, from: u64, why: LogError, events: &mut Vec<FeedEvent<T>>) {
        let hot = self.hot(id);
        hot.building.drop_from(from);
        hot.forget_nonces(from);
        hot.forget_changes(from);
        let kept = hot.pending.partition_point(|pending| pending.sequence < from);
        let refused = hot.pending.split_off(kept);
        let count = u32::try_from(refused.len()).expect("fewer drafts than four billion");
        let why = Rejection::Log(why);
        events.extend(refused.into_iter().map(|pending| FeedEvent::Rejected { ticket: pending.ticket, why }));
        events.push(FeedEvent::Settled { room: id, count });
    }

    /// Gives back the oldest published frames of any room while there are too many in memory.
    fn trim_tails(&mut self) {
        while let Some((id, first)) = self.tails.over_budget() {
            let room = self.rooms.get_mut(id.index()).and_then(Option::as_mut);
            if let Some(hot) = room.and_then(|room| room.hot.as_mut())
                && hot.tail.front().is_some_and(|batch| batch.first == first)
            {
                let batch = hot.tail.pop_front().expect("looked at above");
                self.tails.gone(&batch);
            }
        }
    }

    fn sweep_tails(&mut self) {
        let rooms = &self.rooms;
        self.tails.sweep(|id, first| {
            let hot = rooms.get(id.index()).and_then(Option::as_ref).and_then(|room| room.hot.as_ref());
            hot.is_some_and(|hot| hot.tail.binary_search_by_key(&first, |batch| batch.first).is_ok())
        });
    }

    /// Puts a subscriber's cursor on a room's log, or moves it. It is behind until [`Feed::pull`] says otherwise.
    ///
    /// # Errors
    /// The log could not be opened; there is no subscription then.
    pub fn subscribe(&mut self, who: SubscriberId, id: RoomId, start: Start<'_>) -> Result<Position, LogError> {
        let log = self.room(id).log?;
        let position = self.store.position(log);
        let (next, phase) = cursor::resolve(start, &position, self.store.epochs(log));
        let room = self.rooms[id.index()].as_mut().expect("looked up above");
        self.subscriptions.set(who, id, &mut room.subscribers, next, phase);
        Ok(position)
    }

    /// As [`Feed::subscribe`], but all messages come as `message` frames, also those from before; only gaps are told by a
    /// `history` frame. Tells, besides, the first sequence and why that is not the one asked for.
    ///
    /// # Errors
    /// The log could not be opened; there is no subscription then.
    pub fn follow(
        &mut self,
        who: SubscriberId,
        id: RoomId,
        start: Start<'_>,
    ) -> Result<(Position, u64, Option<Reset>), LogError> {
        let log = self.room(id).log?;
        let position = self.store.position(log);
        let (next, phase) = cursor::resolve(start, &position, self.store.epochs(log));
        let reset = if let Phase::Replay(replay) = phase { replay.reset } else { None };
        let room = self.rooms[id.index()].as_mut().expect("looked up above");
        self.subscriptions.set(who, id, &mut room.subscribers, next, Phase::Live);
        Ok((position, next, reset))
    }

    /// Takes a subscriber's cursor off a room's log, if it has one there.
    pub fn unsubscribe(&mut self, who: SubscriberId, id: RoomId) {
        if let Some(place) = self.subscriptions.remove(who, id) {
            self.take_out(id, place);
        }
    }

    /// Takes all of a subscriber's cursors away.
    pub fn drop_subscriber(&mut self, who: SubscriberId) {
        for &(room, place) in self.subscriptions.remove_all(who).iter() {
            self.take_out(room, place);
        }
    }

    fn take_out(&mut self, id: RoomId, place: u32) {
        let room = self.rooms[id.index()].as_mut().expect("a room with subscribers is open");
        room.subscribers.swap_remove(place as usize);
        if let Some(moved) = room.subscribers.get(place as usize) {
            self.subscriptions.moved(moved.id, id, place);
        }
    }

    /// Everybody who is subscribed to a room.
    pub fn subscribers(&self, id: RoomId) -> impl Iterator<Item = SubscriberId> {
        self.room(id).subscribers.iter().map(|subscriber| subscriber.id)
    }

    /// Hands what was published to every subscriber that was up to date and has room; the others are behind.
    pub fn deliver(&mut self, sink: &mut impl Sink) {
        for id in self.fresh.drain(..) {
            let Some(room) = self.rooms[id.index()].as_mut() else { continue };
            let Some(hot) = room.hot.as_mut() else { continue };
            for batch in hot.undelivered() {
                for subscriber in &mut room.subscribers {
                    if subscriber.next == batch.first && subscriber.phase == Phase::Live && sink.accepts(subscriber.id)
                    {
                        sink.push(subscriber.id, &batch.frame);
                        self.delivered += batch.last + 1 - batch.first;
                        subscriber.next = batch.last + 1;
                    }
                }
            }
            let end = hot.delivered_through();
            for subscriber in room.subscribers.iter().filter(|subscriber| subscriber.next <= end) {
                self.subscriptions.mark_behind(subscriber.id);
            }
        }
    }

    /// A subscriber has room again.
    pub fn resume(&mut self, who: SubscriberId) {
        self.subscriptions.mark_behind(who);
    }

    /// Gives subscribers that are behind what they have room for. Returns whether some could take more right away.
    pub fn pull(&mut self, sink: &mut impl Sink) -> bool {
        let mut budget = replay::TURN_BYTES_MAX;
        for _ in 0..self.subscriptions.behind_count() {
            if budget == 0 {
                break;
            }
            let Some(who) = self.subscriptions.next_behind() else { break };
            let is_done = if sink.accepts(who) { self.catch_up(who, sink, &mut budget) } else { sink.is_blocked(who) };
            if !is_done {
                self.subscriptions.mark_behind(who);
            }
        }
        let is_behind = self.subscriptions.behind_count() > 0;
        if !is_behind {
            self.pieces.clear();
        }
        is_behind
    }

    /// How many messages were handed to subscribers so far: each as often as it was.
    #[must_use]
    pub fn delivered(&self) -> u64 {
        self.delivered
    }

    /// The `history` frame that answers a command.
    ///
    /// # Errors
    /// The log cannot be read.
    pub fn history(&mut self, id: RoomId, range: HistoryRange) -> Result<Frame, LogError> {
        let log = self.room(id).log?;
        self.read_history(id, log, range)
    }

    fn room(&self, id: RoomId) -> &Room<T> {
        self.rooms[id.index()].as_ref().expect("a room is open while it is used")
    }

    /// The part of a room that only exists once something was said in it in this process.
    fn hot(&mut self, id: RoomId) -> &mut room::Hot<T> {
        let room = self.rooms[id.index()].as_mut().expect("a room is open while it is used");
        room.hot.as_mut().expect("a room with appends is warm")
    }

    /// Reads what the next append has to continue from.
    fn warm_up(&mut self, id: RoomId, log: LogId) -> Result<(), Rejection> {
        if self.room(id).hot.is_some() {
            return Ok(());
        }
        let head = self.store.position(log).head;
        let last_timestamp = self.timestamp_of(log, head).map_err(Rejection::Log)?.unwrap_or(0);
        let room = self.rooms[id.index()].as_mut().expect("looked up above");
        room.hot = Some(Box::new(room::Hot::new(last_timestamp, head)));
        Ok(())
    }

    /// When a message was said; `None` if it is not there.
    fn timestamp_of(&mut self, log: LogId, sequence: u64) -> Result<Option<u64>, LogError> {
        if sequence == 0 {
            return Ok(None);
        }
        self.store.read(log, sequence, 1, 1, &mut self.buffer)?;
        let record = self.buffer.records().last().and_then(|(_, payload)| recorded::parse(payload));
        Ok(record.map(|message| message.timestamp))
    }
}

/// What is about to be a record: a message or a change of one.
#[derive(Clone, Copy)]
struct Entry<'a> {
    user: &'a str,
    content: &'a str,
    nonce: Option<&'a str>,
    change: Option<Change>,
}

enum Appended {
    New(Stored),
    Again(Stored),
}

/// A draft's place in the log.
struct Stored {
    sequence: u64,
    timestamp: u64,
    duplicate: bool,
    is_visible: bool,
}

impl Stored {
    fn with<T>(self, ticket: T) -> Pending<T> {
        Pending { ticket, sequence: self.sequence, timestamp: self.timestamp, duplicate: self.duplicate }
    }
}

#[cfg(test)]
mod tests;

//! Reading the log for a subscriber that is behind, and for `history` commands.
//!
//! Owns: how much is read at a time and how it is framed. Must never know: where records lie.

use super::{
    Feed, RoomId, Sink, SubscriberId,
    cursor::{Phase, Replay, Subscriber},
    pieces::Place,
};
use crate::{
    limits,
    log::{Disk, LogError, LogId, Position},
    net::{Frame, Opcode, TextFrame, encode_header},
    protocol::{HistoryRange, Reset, history_frame},
};

/// Bytes that one turn reads for all subscribers that are behind: a turn stays short however many there are.
pub(super) const TURN_BYTES_MAX: usize = 1024 * 1024;
/// Bytes of a history frame beside its messages, as a rule; a longer room name costs one more allocation.
const HISTORY_ENVELOPE_BYTES: usize = 256;

impl<D: Disk, T> Feed<D, T> {
    /// Gives one subscriber pieces of its rooms in turn, until it is up to date (true), full, or the budget is spent.
    pub(super) fn catch_up(&mut self, who: SubscriberId, sink: &mut impl Sink, budget: &mut usize) -> bool {
        loop {
            let mut is_behind = false;
            for &(room, place) in self.subscriptions.rooms(who).iter() {
                if !sink.accepts(who) || *budget == 0 {
                    return false;
                }
                if let Some(frame) = self.next_piece(room, place as usize) {
                    *budget = budget.saturating_sub(frame.len());
                    sink.push(who, &frame);
                    is_behind = true;
                }
            }
            if !is_behind {
                return true;
            }
        }
    }

    /// What a cursor reads next, if it is behind; the cursor moves.
    fn next_piece(&mut self, id: RoomId, place: usize) -> Option<Frame> {
        let room = self.rooms[id.index()].as_ref().expect("a room with subscribers is open");
        let log = room.log.expect("a subscription has a log");
        let position = self.store.position(log);
        let mut cursor = room.subscribers[place].clone();
        let frame = match &cursor.phase {
            Phase::Replay(replay) if replay.owes_frame || cursor.next <= replay.until => {
                let replay = replay.clone();
                self.replay_piece(id, log, Position { head: replay.until, ..position }, &mut cursor, *replay)
            }
            _ => {
                cursor.phase = Phase::Live;
                if cursor.next > position.head { None } else { self.live_piece(id, log, &position, &mut cursor) }
            }
        };
        let subscriber = &mut self.rooms[id.index()].as_mut().expect("looked up above").subscribers[place];
        self.delivered += cursor.next.saturating_sub(subscriber.next);
        *subscriber = cursor;
        frame
    }

    /// One `history` frame. The position's head is where the replay ends.
    fn replay_piece(
        &mut self,
        id: RoomId,
        log: LogId,
        position: Position,
        cursor: &mut Subscriber,
        replay: Replay,
    ) -> Option<Frame> {
        let Replay { until, reset, recent, .. } = replay;
        let bytes_max = if recent { limits::HISTORY_FRAME_BYTES_MAX } else { limits::REPLAY_FRAME_BYTES_MAX };
        let place = Place { room: id, from: cursor.next, until, floor: position.floor, bytes_max };
        let known = self.pieces.get(place).filter(|_| reset.is_none());
        let (frame, next) = match known {
            Some(piece) => piece,
            None => {
                let (frame, next) = self.make_piece(log, &position, place, reset).ok()?;
                if reset.is_none() {
                    self.pieces.put(place, frame.clone(), next);
                }
                (frame, next)
            }
        };
        cursor.next = next;
        cursor.phase = if next <= until {
            Phase::Replay(Box::new(Replay { reset: None, owes_frame: false, ..replay }))
        } else {
            Phase::Live
        };
        Some(frame)
    }

    /// The frame with what follows a place, and the sequence after it.
    fn make_piece(
        &mut self,
        log: LogId,
        position: &Position,
        place: Place,
        reset: Option<Reset>,
    ) -> Result<(Frame, u64), LogError> {
        let Place { room: id, from, until, bytes_max, .. } = place;
        let mut frame = TextFrame::default();
        if let Some(next) = self.encode_from_tail(position, place, reset, frame.payload()) {
            return Ok((frame.finish(), next));
        }
        let next = if from <= until {
            self.read(log, from, limits::HISTORY_LIMIT_MAX.min(until - from + 1), bytes_max)?;
            if from < position.floor {
                self.buffer.lacks(from, position.floor);
            }
            self.buffer.end_at(until);
            self.buffer.next
        } else {
            self.read(log, u64::MAX, 1, 0)?; // beyond every end: nothing
            from
        };
        self.encode_history(id, position, next <= until, reset, frame.payload());
        Ok((frame.finish(), next))
    }

    /// The same from memory, if all of it is there: the sequence after it.
    fn encode_from_tail(
        &self,
        position: &Position,
        place: Place,
        reset: Option<Reset>,
        out: &mut Vec<u8>,
    ) -> Option<u64> {
        let Place { room: id, from, until, bytes_max, .. } = place;
        let room = self.room(id);
        let hot = room.hot.as_ref()?;
        let mut messages = hot.published_from(from).filter(|_| from <= until)?;
        out.reserve(hot.tail_bytes_from(from).min(bytes_max) + HISTORY_ENVELOPE_BYTES);
        history_frame::begin(&room.name, out);
        let (mut next, mut bytes) = (from, 0);
        while next <= until && next - from < limits::HISTORY_LIMIT_MAX {
            let payload = messages.next().expect("what is published is in the tail up to its end");
            bytes += payload.len();
            if bytes > bytes_max && next > from {
                break;
            }
            history_frame::push(payload, out);
            next += 1;
        }
        let Position { epoch, floor, head, .. } = *position;
        let more = next <= until;
        history_frame::end(&history_frame::Tail { epoch, floor, head, more, reset, gap: None }, out);
        Some(next)
    }

    /// Whole `message` frames: a slice of the tail, or the same bytes from the log.
    fn live_piece(&mut self, id: RoomId, log: LogId, position: &Position, cursor: &mut Subscriber) -> Option<Frame> {
        let hot = self.room(id).hot.as_ref();
        let batch = hot.and_then(|hot| {
            let index = hot.tail.partition_point(|batch| batch.last < cursor.next);
            hot.tail.get(index).filter(|batch| batch.first <= cursor.next)
        });
        if let Some(batch) = batch {
            let frame = batch.from(cursor.next);
            cursor.next = batch.last + 1;
            return Some(frame);
        }
        self.read(log, cursor.next, u64::MAX, limits::REPLAY_FRAME_BYTES_MAX).ok()?;
        if cursor.next < position.floor {
            // Retention did not wait for this reader.
            self.buffer.lacks(cursor.next, position.floor);
        }
        cursor.next = self.buffer.next;
        if self.buffer.gap.is_some() {
            // What is missing cannot be told by messages: this once, a live reader gets a history frame.
            let mut frame = TextFrame::default();
            self.encode_history(id, position, false, None, frame.payload());
            return Some(frame.finish());
        }
        let mut frames = Vec::with_capacity(limits::REPLAY_FRAME_BYTES_MAX);
        for (_, payload) in self.buffer.records() {
            encode_header(Opcode::Text, payload.len(), &mut frames);
            frames.extend_from_slice(payload);
        }
        Some(Frame::from_encoded(frames))
    }

    /// The answer to a `history` command.
    pub(super) fn read_history(&mut self, id: RoomId, log: LogId, range: HistoryRange) -> Result<Frame, LogError> {
        let position = self.store.position(log);
        let more = match range {
            HistoryRange::Since { since, limit } => self.read_after(log, &position, since, limit)?,
            HistoryRange::Before { before, since, limit } => {
                let last = before.saturating_sub(1).min(position.head);
                self.read_before(log, position.floor.max(since.saturating_add(1)), last, limit)?
            }
        };
        let mut frame = TextFrame::default();
        self.encode_history(id, &position, more, None, frame.payload());
        Ok(frame.finish())
    }

    /// Reads upwards; whether there is more above.
    fn read_after(&mut self, log: LogId, position: &Position, since: u64, limit: u64) -> Result<bool, LogError> {
        self.read(log, since.saturating_add(1), limit, limits::HISTORY_FRAME_BYTES_MAX)?;
        Ok(self.buffer.next <= position.head)
    }

    /// Reads the last messages up to `last` that fit a frame; whether there is more below.
    fn read_before(&mut self, log: LogId, lowest: u64, last: u64, limit: u64) -> Result<bool, LogError> {
        if lowest > last {
            self.read(log, u64::MAX, 1, 0)?; // beyond every end: nothing
            return Ok(false);
        }
        let mut wanted = limit.min(last - lowest + 1);
        loop {
            let from = last + 1 - wanted;
            self.read(log, from, wanted, limits::HISTORY_FRAME_BYTES_MAX)?;
            self.buffer.end_at(last);
            let read = self.buffer.next - from;
            if read >= wanted || wanted == 1 {
                return Ok(from > lowest);
            }
            // They do not all fit: ask for as many as did, then for fewer and fewer.
            wanted = if read < wanted / 2 { read.max(1) } else { wanted / 2 };
        }
    }

    fn read(&mut self, log: LogId, from: u64, records_max: u64, bytes_max: usize) -> Result<(), LogError> {
        let records_max = usize::try_from(records_max).unwrap_or(usize::MAX);
        self.store.read(log, from, records_max, bytes_max, &mut self.buffer)?;
        self.show_changed(log, bytes_max)
    }

    /// The JSON of a `history` frame with what the buffer holds.
    fn encode_history(&self, id: RoomId, position: &Position, more: bool, reset: Option<Reset>, out: &mut Vec<u8>) {
        out.reserve(self.buffer.payload_bytes() + HISTORY_ENVELOPE_BYTES);
        history_frame::begin(&self.room(id).name, out);
        for (_, payload) in self.buffer.records() {
            history_frame::push(payload, out);
        }
        let Position { epoch, floor, head, .. } = *position;
        history_frame::end(&history_frame::Tail { epoch, floor, head, more, reset, gap: self.buffer.gap }, out);
    }
}

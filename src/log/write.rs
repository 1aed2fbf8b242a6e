//! Appending and writing: one `write` per dirty room, all or nothing for each record.
//!
//! Owns: the way from `append` to the file. Must never know: when a sync is done, who reads.

use std::io;
use std::sync::Arc;

use super::control::Control;
use super::disk::{Disk, DiskFile, is_full, write_full};
use super::record::{self, CONTROL_PREFIX};
use super::room::{Marked, Room, RoomLog, Sealed, Wanted};
use super::store::Store;
use super::types::{LogError, LogEvent, LogId, SyncPolicy};
use crate::clock::Now;
use crate::limits::RECORD_BYTES_MAX;

/// Bytes that may wait in one room's buffer while its files are busy.
const BUFFER_BYTES_MAX: usize = 64 * 1024 * 1024;
/// A buffer larger than this is not kept for the next burst.
const SPARE_BYTES_MAX: usize = 256 * 1024;
/// Buffers kept for the next turn.
const SPARE_MAX: usize = 16;

/// Why a buffer was not written as a whole.
struct WriteFailed {
    error: io::Error,
    /// Bytes of the buffer that went out before.
    written_bytes: usize,
    /// Whether the file is back at its last whole record.
    is_rolled_back: bool,
}

impl WriteFailed {
    fn before(error: io::Error) -> WriteFailed {
        WriteFailed { error, written_bytes: 0, is_rolled_back: true }
    }
}

impl<D: Disk> Store<D> {
    /// Buffers one record. `sequence` must be `position().next`. Nothing reaches the file before `write_dirty`.
    ///
    /// # Errors
    /// `TooLong` and `Reserved` for what cannot be stored, `Full` when too much waits, `Unavailable` when the room is
    /// read-only. The position is unchanged then.
    ///
    /// # Panics
    /// When `sequence` is another number: the caller has lost count, and storing it would tear a hole.
    pub fn append(&mut self, id: LogId, sequence: u64, payload: &[u8]) -> Result<(), LogError> {
        self.push_record(id, sequence, payload, &[])
    }

    /// Buffers one record, and behind its payload what it changes of earlier ones.
    pub(super) fn push_record(
        &mut self,
        id: LogId,
        sequence: u64,
        payload: &[u8],
        amends: &[u8],
    ) -> Result<(), LogError> {
        let room = &mut self.rooms[id.index()];
        assert_eq!(sequence, room.next, "records are appended at position().next");
        if room.read_only {
            return Err(LogError::Unavailable);
        }
        let bytes = payload.len() + amends.len();
        if bytes > RECORD_BYTES_MAX {
            return Err(LogError::TooLong);
        }
        if payload.starts_with(CONTROL_PREFIX) || memchr::memchr(b'\n', payload).is_some() {
            return Err(LogError::Reserved);
        }
        let log = room.log.get_or_insert_with(|| Box::new(RoomLog::fresh(&room.name)));
        if log.buffer.len() + bytes > BUFFER_BYTES_MAX {
            return Err(LogError::Full);
        }
        if log.buffer.is_empty() && log.buffer.capacity() == 0 {
            log.buffer = self.spare.pop().unwrap_or_default();
        }
        if !log.queued {
            log.queued = true;
            self.dirty.push(id.0);
        }
        // With `Always` a room is not written to while a sync of it is out, so all that is written now is durable when
        // this goes out, unless the same write brings a header or a mark in front of it.
        let is_first = log.buffer.is_empty() && log.active.is_some() && log.mark != Marked::No && !log.roll_due;
        let barrier = self.options.policy == SyncPolicy::Always && is_first && (log.in_flight || log.is_durable());
        record::encode_amending(&mut log.buffer, log.seed, sequence, barrier, payload, amends);
        room.next += 1;
        Ok(())
    }

    /// Whether messages become visible only after a sync.
    #[must_use]
    pub fn is_durable_first(&self) -> bool {
        self.options.policy == SyncPolicy::Always
    }

    /// Writes what was appended: one `write` per room. Rooms whose files are busy stay for the next call. Also applies
    /// the retention by age when it is time.
    pub fn write_dirty(&mut self, now: Now, events: &mut Vec<LogEvent>) {
        self.write_dirty_unless(now, |_| false, events);
    }

    /// As [`Store::write_dirty`], but leaves the rooms that `waits` names for a later call.
    pub fn write_dirty_unless(&mut self, now: Now, mut waits: impl FnMut(LogId) -> bool, events: &mut Vec<LogEvent>) {
        if self.retain_at_ms.is_some_and(|at| now.monotonic_ms >= at) {
            self.retain_all(now);
        }
        let mut dirty = std::mem::take(&mut self.dirty);
        dirty.retain(|&id| {
            let held = self.is_syncing(id) || waits(LogId(id)) || !self.write_room(id, now, events);
            if let Some(log) = self.log_mut(id) {
                log.queued = held;
            }
            held
        });
        debug_assert!(self.dirty.is_empty());
        self.dirty = dirty;
    }

    /// With `Always` a room is not written to while a sync of it is out.
    fn is_syncing(&mut self, id: u32) -> bool {
        self.options.policy == SyncPolicy::Always && self.log_mut(id).is_some_and(|log| log.in_flight)
    }

    /// Writes one room's buffer; `false` when some of it has to wait for a sync.
    fn write_room(&mut self, id: u32, now: Now, events: &mut Vec<LogEvent>) -> bool {
        let Some(log) = self.log_mut(id).filter(|log| !log.buffer.is_empty()) else { return true };
        // Sealed means durable: otherwise a power cut could leave the new segment and take the old one's end. And a record
        // that changes others is not there before they are: `Amends::holds`.
        if (log.roll_due && !log.is_settled()) || (log.amends.is_held() && !log.is_durable()) {
            if !log.in_flight {
                self.want_sync(id, Wanted::Urgent, now);
            }
            return false;
        }
        let first = log.active.as_ref().filter(|_| !log.roll_due).map_or(log.written + 1, |active| active.first);
        if !self.files.has_room_for((id, first)) {
            self.starved = true;
            return false;
        }
        let log = log_of(&mut self.rooms[id as usize]);
        let mut buffer = std::mem::take(&mut log.buffer);
        let rest = log.amends.release().map(|held_from| buffer.split_off(held_from)).unwrap_or_default();
        let is_all = rest.is_empty();
        let result = self.write_buffer(id, &buffer, now);
        let written_bytes = result.as_ref().map_or_else(|failed| failed.written_bytes, |()| buffer.len());
        self.account(id, &buffer[..written_bytes], is_all && result.is_ok(), now, events);
        match result {
            Ok(()) => log_of(&mut self.rooms[id as usize]).buffer = rest,
            Err(failed) => self.refuse(id, failed, events),
        }
        buffer.clear();
        if buffer.capacity() <= SPARE_BYTES_MAX && self.spare.len() < SPARE_MAX {
            self.spare.push(buffer);
        }
        self.rooms[id as usize].check_invariants();
        let is_empty = log_ref(&self.rooms[id as usize]).buffer.is_empty();
        if !is_empty {
            // The rest waits for what has just been written.
            self.want_sync(id, Wanted::Urgent, now);
        }
        is_empty
    }

    /// Gets the bytes into the file, behind a new header or this run's mark where one is due.
    fn write_buffer(&mut self, id: u32, buffer: &[u8], now: Now) -> Result<(), WriteFailed> {
        let file = self.writable(id, now).map_err(WriteFailed::before)?;
        if log_of(&mut self.rooms[id as usize]).mark == Marked::No {
            let mark = self.mark();
            let log = log_of(&mut self.rooms[id as usize]);
            let line = Control::Mark(mark).line(log.seed, log.written);
            // It is one line: if it fails, nothing of the buffer has gone out, nor of what is counted.
            write_lines(&*file, log, &line)?;
            log.mark = Marked::Written;
        }
        write_lines(&*file, log_of(&mut self.rooms[id as usize]), buffer)
    }

    /// The file to write to; rolls to a new segment when that is due.
    fn writable(&mut self, id: u32, now: Now) -> io::Result<Arc<D::File>> {
        let log = log_of(&mut self.rooms[id as usize]);
        match log.active.as_ref().filter(|_| !log.roll_due) {
            Some(active) => {
                let first = active.first;
                self.file(id, first)
            }
            None => self.roll(id, now),
        }
    }

    /// Begins a new segment and seals the one before it.
    fn roll(&mut self, id: u32, now: Now) -> io::Result<Arc<D::File>> {
        let mut log = self.rooms[id as usize].log.take().expect("only rooms with a log are written to");
        let created = self.create_segment(&self.rooms[id as usize], &mut log, Some(self.mark()), now, false);
        self.rooms[id as usize].log = Some(log);
        let (created, file) = created?;
        self.write_active_sidecar(id);
        let until_ms = Some(self.wall_ms(now));
        let log = log_of(&mut self.rooms[id as usize]);
        let first = created.first;
        if let Some(full) = log.active.replace(created) {
            log.sealed.push(Sealed { first: full.first, bytes: full.bytes, until_ms });
        }
        // A mark in a header that is rolled to need not be synced first: if it is lost, so is the whole segment, and the
        // one before it holds a mark of the same run.
        log.mark = if log.mark == Marked::Durable { Marked::Durable } else { Marked::Written };
        log.roll_due = false;
        Ok(self.files.insert((id, first), file))
    }

    /// Writes down that this run has written everything it wanted to in a room, if it wrote at all. Not synced here: it
    /// counts only together with the run's line in `clean_runs`, before which everything is synced.
    pub(super) fn write_closing(&mut self, id: u32) {
        let run = self.options.run_id;
        let Some(log) = self.log_mut(id).filter(|log| log.mark != Marked::No) else { return };
        let line = Control::Closing(run).line(log.seed, log.written);
        let Some(first) = log.active.as_ref().map(|active| active.first) else { return };
        if self.rooms[id as usize].read_only {
            return;
        }
        let file = self.file(id, first).map_err(WriteFailed::before);
        let written = file.and_then(|file| write_lines(&*file, log_of(&mut self.rooms[id as usize]), &line));
        if let Err(failed) = written {
            ::log::warn!("room {:?} could not be closed cleanly: {}", self.rooms[id as usize].name, failed.error);
            self.failed = true;
        }
    }

    /// Counts what is in the file now, and shows it where the policy says so.
    fn account(&mut self, id: u32, lines: &[u8], is_whole: bool, now: Now, events: &mut Vec<LogEvent>) {
        if lines.is_empty() {
            return;
        }
        let room = &mut self.rooms[id as usize];
        let next = room.next;
        let log = log_of(room);
        let Some(active) = log.active.as_mut() else { return };
        active.index.note_lines(lines, log.written + 1, active.bytes - lines.len() as u64);
        // Counting is needed only when not all went out.
        log.written = if is_whole { next - 1 } else { log.written + record::line_sizes(lines).count() as u64 };
        let (mark, written) = (log.mark, log.written);
        let is_amending = log.amends.is_due(written);
        let is_due = self.is_roll_due(log_ref(&self.rooms[id as usize]), now);
        log_of(&mut self.rooms[id as usize]).roll_due = is_due;
        match self.options.policy {
            SyncPolicy::Always => self.want_sync(id, Wanted::Urgent, now),
            // What a record changes is overwritten only once a power cut cannot take the record.
            _ if mark != Marked::Durable || is_amending => self.want_sync(id, Wanted::Urgent, now),
            SyncPolicy::Interval { .. } => self.want_sync(id, Wanted::Lazy, now),
            SyncPolicy::Never => {}
        }
        if self.options.policy.is_volatile() && mark == Marked::Durable {
            self.rooms[id as usize].visible = written;
            events.push(LogEvent::Visible { id: LogId(id), through: written });
        }
    }

    /// Takes back what did not get into the file. No space is a refusal; everything else closes the room for writing.
    fn refuse(&mut self, id: u32, failed: WriteFailed, events: &mut Vec<LogEvent>) {
        let passes = is_full(&failed.error) && failed.is_rolled_back;
        let room = &mut self.rooms[id as usize];
        let log = log_of(room);
        let from = log.written + 1;
        log.amends.forget_from(from);
        room.next = from;
        let why = if passes { LogError::Full } else { LogError::Unavailable };
        ::log::warn!("room {:?}: messages from {} on were refused: {}", room.name, room.next, failed.error);
        events.push(LogEvent::Refused { id: LogId(id), from: room.next, why });
        if !passes {
            self.close_for_writing(id, events);
        }
    }

    /// Makes a room read-only until the process ends.
    pub(super) fn close_for_writing(&mut self, id: u32, events: &mut Vec<LogEvent>) {
        self.failed = true;
        let room = &mut self.rooms[id as usize];
        if !room.read_only {
            ::log::error!("room {:?} is read-only until the server is restarted", room.name);
            room.read_only = true;
            self.failed_rooms.insert(room.name.clone());
            events.push(LogEvent::ReadOnly { id: LogId(id) });
        }
    }

    /// Whether the active segment is full. It stays until this run has left its mark in it: the mark in the segment
    /// before tells a later start who began this one, should its header be lost.
    pub(super) fn is_roll_due(&self, log: &RoomLog, now: Now) -> bool {
        let Some(active) = log.active.as_ref().filter(|_| log.mark != Marked::No) else { return false };
        let retention = &self.options.retention;
        let share = |bound: Option<u64>| bound.map_or(u64::MAX, |bound| (bound / 8).max(1));
        let records = (log.written + 1).saturating_sub(active.first);
        active.bytes >= self.options.segment_bytes.min(share(retention.bytes))
            || records >= share(retention.messages)
            || self.wall_ms(now).saturating_sub(active.created_ms) >= share(retention.age_ms) && records > 0
    }
}

/// Writes lines behind the last good one; on an error the file goes back to the last whole line that went out.
fn write_lines(file: &impl DiskFile, log: &mut RoomLog, lines: &[u8]) -> Result<(), WriteFailed> {
    let active = log.active.as_mut().expect("a segment was made or opened before writing to it");
    match write_full(file, lines, active.bytes) {
        Ok(()) => {
            active.bytes += lines.len() as u64;
            Ok(())
        }
        Err((out, error)) => {
            let whole = record::line_sizes(lines).scan(0, |end, size| {
                *end += size;
                Some(*end)
            });
            let written_bytes = whole.take_while(|&end| end <= out).last().unwrap_or(0);
            active.bytes += written_bytes as u64;
            let is_rolled_back = file.set_len(active.bytes).is_ok();
            Err(WriteFailed { error, written_bytes, is_rolled_back })
        }
    }
}

pub(super) fn log_of(room: &mut Room) -> &mut RoomLog {
    room.log.as_deref_mut().expect("only rooms with a log are written to")
}

pub(super) fn log_ref(room: &Room) -> &RoomLog {
    room.log.as_deref().expect("only rooms with a log are written to")
}

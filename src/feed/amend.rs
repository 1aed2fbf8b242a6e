//! Edits and deletions: an event that is appended like a message, and the records that it changes.
//!
//! Owns: what may be changed, which records a change reaches, and what is shown in place of a changed one. Must never
//! know: who may ask for it beyond the author and the time it is told, how a line is overwritten.

use super::{Appended, Entry, Feed, FeedEvent, Rejection, RoomId};
use crate::{
    clock::Now,
    limits,
    log::{Disk, LogError, LogId, Position},
    protocol::{Change, ChangeKind, Changed, is_changed, recorded},
};

/// A change of a message.
#[derive(Clone, Copy, Debug)]
pub struct Amendment<'a> {
    /// Who changes it.
    pub user: &'a str,
    /// The message's number.
    pub target: u64,
    /// The new text; none deletes the message.
    pub content: Option<&'a str>,
    /// Makes it idempotent, as that of a draft: the same user and nonce is stored once in this room.
    pub nonce: Option<&'a str>,
    /// Whose the message has to be; none: anybody's.
    pub author: Option<Author<'a>>,
}

/// Whose a message has to be, and how old it may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Author<'a> {
    /// Exactly this name.
    pub user: &'a str,
    /// Its timestamp is not before this one, in Unix milliseconds.
    pub since_ms: u64,
}

/// Records and what takes their places.
type Replacements = Vec<(u64, Vec<u8>)>;

impl<D: Disk, T> Feed<D, T> {
    /// Appends an edit or a deletion to a room's log. What becomes of it is told by an event, now or later, as with
    /// [`Feed::append`]: its number is that of the event.
    pub fn amend(
        &mut self,
        id: RoomId,
        amendment: &Amendment<'_>,
        now: Now,
        ticket: T,
        events: &mut Vec<FeedEvent<T>>,
    ) {
        let appended = self.try_amend(id, amendment, now);
        self.await_receipt(id, appended, ticket, events);
    }

    fn try_amend(&mut self, id: RoomId, amendment: &Amendment<'_>, now: Now) -> Result<Appended, Rejection> {
        let log = self.room(id).log.map_err(Rejection::Log)?;
        self.warm_up(id, log)?;
        let Amendment { user, target, content, nonce, author } = *amendment;
        let kind = if content.is_some() { ChangeKind::Edit } else { ChangeKind::Delete };
        let change = Change { kind, target, previous: None };
        let entry = Entry { user, content: content.unwrap_or(""), nonce, change: Some(change) };
        if let Some(earlier) = self.stored_before(id, log, &entry)? {
            return Ok(earlier);
        }
        let Position { floor, head, next: by, .. } = self.store.position(log);
        let payload = if (floor..=head).contains(&target) { self.latest(id, log, target)? } else { None };
        let payload = payload.ok_or(Rejection::NoSuchMessage)?;
        let message = recorded::parse(&payload).filter(|message| message.kind.is_none() && !message.deleted);
        let message = message.ok_or(Rejection::NoSuchMessage)?;
        if author.is_some_and(|author| message.user != author.user || message.timestamp < author.since_ms) {
            return Err(Rejection::NotAuthor);
        }
        let mut changed = vec![(target, remains(&payload, by, kind)?)];
        if kind == ChangeKind::Delete {
            self.add_edits(id, log, target, message.changed, by, &mut changed)?;
        } else {
            self.check_edits(id, log, message.changed)?;
        }
        let change = Change { previous: message.changed.filter(|_| kind == ChangeKind::Edit), ..change };
        self.store_entry(id, log, &Entry { change: Some(change), ..entry }, &changed, now)
    }

    /// Whether a message with this newest edit may have one more.
    fn check_edits(&mut self, id: RoomId, log: LogId, newest: Option<u64>) -> Result<(), Rejection> {
        let (mut next, mut count) = (newest, 0);
        while let Some(edit) = next {
            count += 1;
            if count >= limits::EDITS_MAX {
                return Err(Rejection::TooManyEdits);
            }
            let payload = self.latest(id, log, edit)?;
            next = payload.as_deref().and_then(recorded::parse).and_then(|message| message.previous);
        }
        Ok(())
    }

    /// Adds the edits of a message, from the newest back, to what its deletion empties.
    fn add_edits(
        &mut self,
        id: RoomId,
        log: LogId,
        target: u64,
        newest: Option<u64>,
        by: u64,
        changed: &mut Replacements,
    ) -> Result<(), Rejection> {
        let mut next = newest;
        while let Some(edit) = next {
            let Some(payload) = self.latest(id, log, edit)? else {
                // Damage: those before it have to be looked for.
                return self.add_edits_between(log, target, edit, by, changed);
            };
            changed.push((edit, remains(&payload, by, ChangeKind::Delete)?));
            next = recorded::parse(&payload).and_then(|message| message.previous);
        }
        Ok(())
    }

    fn add_edits_between(
        &mut self,
        log: LogId,
        target: u64,
        end: u64,
        by: u64,
        changed: &mut Replacements,
    ) -> Result<(), Rejection> {
        let mut next = target + 1;
        while next < end {
            self.store.read(log, next, usize::MAX, 256 * 1024, &mut self.buffer).map_err(Rejection::Log)?;
            for (sequence, payload) in self.buffer.records().filter(|&(sequence, _)| sequence < end) {
                let message = recorded::parse(payload);
                if message.is_some_and(|message| message.kind.is_some() && message.target == Some(target)) {
                    changed.push((sequence, remains(payload, by, ChangeKind::Delete)?));
                }
            }
            next = self.buffer.next;
        }
        Ok(())
    }

    /// A record with every change that was appended, seen or not; `None` if it cannot be read.
    fn latest(&mut self, id: RoomId, log: LogId, sequence: u64) -> Result<Option<Vec<u8>>, Rejection> {
        if let Some(payload) = self.hot(id).building.payload(sequence) {
            return Ok(Some(payload.to_vec()));
        }
        self.store.read_latest(log, sequence, &mut self.buffer).map_err(Rejection::Log)?;
        let record = self.buffer.records().next().filter(|&(found, _)| found == sequence);
        Ok(record.map(|(_, payload)| payload.to_vec()))
    }

    /// After a change is published nothing in memory shows what was before it: frames up to the changed messages are
    /// forgotten, and read again from the log by who is not past them.
    pub(super) fn forget_changed(&mut self, id: RoomId, through: u64) {
        let hot = self.rooms[id.index()].as_mut().and_then(|room| room.hot.as_mut()).expect("it had appends");
        let Some(last) = hot.take_changed(through) else { return };
        while hot.tail.front().is_some_and(|batch| batch.first <= last) {
            let batch = hot.tail.pop_front().expect("looked at above");
            self.tails.gone(&batch);
        }
        // What is changed was durable before the change was written, and so was published before it.
        debug_assert!(!hot.tail.is_empty(), "the change itself stays, to be delivered");
        self.sweep_tails();
        self.pieces.forget(id);
    }

    /// Puts what readers are shown in the place of changed records that the buffer holds. What no longer fits `bytes_max`
    /// then is left for the next read.
    pub(super) fn show_changed(&mut self, log: LogId, bytes_max: usize) -> Result<(), LogError> {
        if !self.buffer.records().any(|(_, payload)| is_changed(payload)) {
            return Ok(());
        }
        let Self { store, rooms, by_log, buffer, present, payload: shown, .. } = self;
        let room = rooms[by_log[log.index()].index()].as_ref().expect("a room is open while it is used");
        let (records, mut bytes) = (buffer.records().len(), 0);
        for index in 0..records {
            let sequence = buffer.sequence(index);
            if let Some(changed) = Changed::parse(buffer.payload(index)) {
                if !changed.deleted {
                    store.read(log, changed.by, 1, 1, present)?;
                }
                let event = present.records().next().filter(|&(found, _)| found == changed.by);
                let event = event.and_then(|(_, payload)| changed.present(sequence, payload));
                shown.clear();
                changed.expand(&room.name, sequence, event.as_ref(), shown);
                buffer.replace(index, shown);
            }
            bytes += buffer.payload(index).len();
            if bytes > bytes_max && index > 0 {
                buffer.truncate(index);
                break;
            }
        }
        Ok(())
    }
}

/// What remains of a record after a change.
fn remains(payload: &[u8], by: u64, kind: ChangeKind) -> Result<Vec<u8>, Rejection> {
    let changed = Changed::of(payload, by, kind == ChangeKind::Delete).ok_or(Rejection::NoSuchMessage)?;
    let mut out = Vec::new();
    changed.encode(&mut out);
    Ok(out)
}

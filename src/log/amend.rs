//! Records that change earlier ones: the new one brings what takes the old one's place, in its own line, so that a power
//! cut leaves both or neither.
//!
//! Owns: the way from `append_amending` to the overwritten line, and doing it again after a crash. Must never know: what a
//! change means, or whether it is allowed.
//!
//! ```text
//! append_amending ─► written, once all it changes is durable ─► durable ─► lines overwritten ─► durable, too
//!                    └────────────── `read` replaces what is visible ────┘
//! ```
//!
//! An overwritten line keeps its place, its length and its sequence. So indexes stay good, and a line that was torn while it
//! was overwritten is found again. The lines are overwritten by the thread that reads, never while it reads.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::disk::{Disk, DiskFile, read_full, write_full};
use super::index::Index;
use super::name;
use super::read::ReadBuffer;
use super::record::{self, AMENDMENT_MARK, CONTROL_PREFIX, Parsed};
use super::room::{Folders, Wanted};
use super::scan::{FIND_CHUNK_BYTES, Line, Scanner};
use super::store::Store;
use super::types::{LogError, LogId};
use super::write::{log_of, log_ref};
use crate::clock::Now;

/// A record that is to be replaced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Amend {
    /// The record that says so.
    pub by: u64,
    /// The one whose line is overwritten.
    pub target: u64,
    /// Its payload from then on, without the spaces that fill its line.
    pub replacement: Box<[u8]>,
}

/// What of a room's records is being changed.
///
/// Invariants: `waiting` ascends by `by`; `holds` ascend and are places in the room's buffer.
#[derive(Debug, Default)]
pub(crate) struct Amends {
    /// Not carried out yet.
    waiting: VecDeque<Amend>,
    /// Where in the buffer records begin that are written only when all before them is durable, because what they change
    /// was not when they were appended. So whenever such a record is in the files, a damaged line of what it changes was
    /// whole before.
    holds: VecDeque<usize>,
    /// Segments with overwritten lines that no sync has covered.
    unsynced: Vec<u64>,
    /// Those that a batch which is out covers.
    syncing: Vec<u64>,
}

impl Amends {
    /// Whether nothing of what is written remains to be done.
    pub fn is_settled(&self, written: u64) -> bool {
        !self.is_due(written) && self.unsynced.is_empty() && self.syncing.is_empty()
    }

    /// Whether a record up to `through` waits to be carried out.
    pub fn is_due(&self, through: u64) -> bool {
        self.waiting.front().is_some_and(|amend| amend.by <= through)
    }

    /// Whether the buffer begins with a record that may have to wait.
    pub fn is_held(&self) -> bool {
        self.holds.front() == Some(&0)
    }

    /// Lets go of the buffer's start; where what is still held begins, if anything is. It is the start from now on.
    pub fn release(&mut self) -> Option<usize> {
        if self.is_held() {
            self.holds.pop_front();
        }
        let &held_from = self.holds.front()?;
        self.holds.iter_mut().for_each(|at| *at -= held_from);
        Some(held_from)
    }

    /// Drops what was not written after all, from this record on. Nothing is in the buffer then.
    pub fn forget_from(&mut self, from: u64) {
        self.waiting.retain(|amend| amend.by < from);
        self.holds.clear();
    }

    /// A segment is gone.
    pub fn forget_segment(&mut self, first: u64) {
        self.unsynced.retain(|&other| other != first);
    }

    /// Takes over what an earlier run, or a failed disk, left to do.
    pub fn take_over(&mut self, left: Vec<Amend>) {
        self.waiting.extend(left);
    }

    /// The segments that a sync has to cover now.
    pub fn begin_sync(&mut self) -> Vec<u64> {
        self.syncing.append(&mut self.unsynced);
        self.syncing.clone()
    }

    /// That sync is over, and was good.
    pub fn end_sync(&mut self) -> Vec<u64> {
        std::mem::take(&mut self.syncing)
    }

    /// Whether lines of a segment were overwritten since its last sync.
    pub fn is_unsynced(&self, first: u64) -> bool {
        self.unsynced.contains(&first)
    }

    /// What takes a record's place, as far as records up to `through` say.
    fn latest(&self, target: u64, through: u64) -> Option<&[u8]> {
        let found = self.waiting.iter().rev().find(|amend| amend.target == target && amend.by <= through);
        found.map(|amend| &*amend.replacement)
    }

    pub fn check_invariants(&self, buffer_bytes: usize, next: u64) {
        debug_assert!(self.waiting.iter().is_sorted_by_key(|amend| amend.by));
        debug_assert!(self.waiting.back().is_none_or(|amend| amend.by < next));
        debug_assert!(self.holds.iter().is_sorted() && self.holds.back().is_none_or(|&at| at < buffer_bytes));
    }
}

/// Where a record's line is.
#[derive(Debug)]
struct Place {
    offset: u64,
    barrier: bool,
    /// Bytes between framing and line feed.
    bytes: usize,
    /// Its checksum is wrong.
    is_torn: bool,
    /// Which records it changes itself.
    amends: Vec<u64>,
}

/// A record's line in an open room.
struct Located<F> {
    /// The first sequence of its segment.
    segment: u64,
    file: Arc<F>,
    place: Place,
}

impl Place {
    /// The line that takes this one's place; `None` if it would be longer.
    fn line(&self, seed: u32, sequence: u64, replacement: &[u8]) -> Option<Vec<u8>> {
        let mut payload = replacement.to_vec();
        (payload.len() <= self.bytes).then(|| payload.resize(self.bytes, b' '))?;
        let mut line = Vec::new();
        record::encode(&mut line, seed, sequence, self.barrier, &payload);
        Some(line)
    }
}

impl<D: Disk> Store<D> {
    /// As [`Store::append`], and from when this record is visible each of the earlier records in `amendments` has another
    /// payload: the one given, filled up with spaces. Their lines are overwritten once this record is durable.
    ///
    /// A record that changes others is changed only together with all of those: what it brings for them is overwritten,
    /// too, and must not be needed any more.
    ///
    /// # Errors
    /// As `append`; `NoSuchRecord` when one of them is not there, `TooLong` when its replacement is longer than it is,
    /// `Reserved` also for a tab, and when one of them changes another that is not in `amendments`. Nothing is changed then.
    ///
    /// # Panics
    /// As `append`.
    pub fn append_amending(
        &mut self,
        id: LogId,
        sequence: u64,
        payload: &[u8],
        amendments: &[(u64, &[u8])],
    ) -> Result<(), LogError> {
        let mut amends = Vec::new();
        for &(target, replacement) in amendments {
            let is_reserved = |bytes: &[u8]| bytes.iter().any(|&byte| byte == b'\n' || byte == AMENDMENT_MARK);
            if is_reserved(payload) || is_reserved(replacement) || replacement.starts_with(CONTROL_PREFIX) {
                return Err(LogError::Reserved);
            }
            let (bytes, changes) = self.reach_of(id.0, target)?;
            if replacement.len() > bytes {
                return Err(LogError::TooLong);
            }
            if !changes.iter().all(|&other| amendments.iter().any(|&(target, _)| target == other)) {
                return Err(LogError::Reserved);
            }
            record::push_amendment(&mut amends, target, replacement);
        }
        let buffered = self.rooms[id.index()].log.as_ref().map_or(0, |log| log.buffer.len());
        self.push_record(id, sequence, payload, &amends)?;
        let log = log_of(&mut self.rooms[id.index()]);
        if amendments.iter().any(|&(target, _)| target > log.durable) {
            log.amends.holds.push_back(buffered);
        }
        let waiting = amendments.iter().map(|&(target, replacement)| {
            let replacement = replacement.into();
            Amend { by: sequence, target, replacement }
        });
        log.amends.waiting.extend(waiting);
        Ok(())
    }

    /// Whether changes of a room's records wait to be carried out or to be durable. Such a room should not be closed yet.
    #[must_use]
    pub fn is_amending(&self, id: LogId) -> bool {
        let room = &self.rooms[id.index()];
        !room.read_only && room.log.as_ref().is_some_and(|log| !log.amends.is_settled(log.written))
    }

    /// Reads one visible record as it will be when all that was appended is visible.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub fn read_latest(&mut self, id: LogId, sequence: u64, out: &mut ReadBuffer) -> Result<(), LogError> {
        self.read_files(id, sequence, 1, 1, out)?;
        self.replace(id, u64::MAX, out);
        Ok(())
    }

    /// Replaces what was read from the files and is changed by records up to `through`.
    pub(super) fn replace(&self, id: LogId, through: u64, out: &mut ReadBuffer) {
        let Some(log) = self.rooms[id.index()].log.as_deref() else { return };
        if !log.amends.is_due(through) {
            return;
        }
        let records = out.records().len();
        for index in 0..records {
            if let Some(replacement) = log.amends.latest(out.sequence(index), through) {
                out.replace(index, replacement);
            }
        }
    }

    /// Bytes that a record's line has for a replacement, and the records that it changes itself.
    fn reach_of(&mut self, id: u32, target: u64) -> Result<(usize, Vec<u64>), LogError> {
        let room = &self.rooms[id as usize];
        let log = room.log.as_deref().filter(|log| (log.floor()..room.next).contains(&target));
        let log = log.ok_or(LogError::NoSuchRecord)?;
        if target > log.written {
            let nth = usize::try_from(target - log.written - 1).map_err(|_| LogError::NoSuchRecord)?;
            let offset = record::line_sizes(&log.buffer).take(nth).sum::<usize>();
            let Parsed::Record(record) = record::parse(&log.buffer[offset..], log.seed) else {
                return Err(LogError::NoSuchRecord);
            };
            return Ok((record.payload.len() + record.amends.len(), targets(record.amends)));
        }
        let found = self.locate(id, target).map_err(|error| {
            ::log::error!("room {:?} cannot be read at {target}: {error}", self.rooms[id as usize].name);
            LogError::Unavailable
        })?;
        found.map(|found| (found.place.bytes, found.place.amends)).ok_or(LogError::NoSuchRecord)
    }

    /// Where a written record is; `None` if retention has taken it, or damage.
    fn locate(&mut self, id: u32, target: u64) -> io::Result<Option<Located<D::File>>> {
        let log = log_ref(&self.rooms[id as usize]);
        let (seed, active) = (log.seed, log.active.as_ref().map(|active| (active.first, active.bytes)));
        let Some((first, _)) = log.segment_of(target) else { return Ok(None) };
        let file = match self.file(id, first) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let end = match active.filter(|&(active, _)| active == first) {
            Some((_, bytes)) => bytes,
            None => file.len()?,
        };
        let near = self.find(id, first, target, &file)?.map_or(0, |(_, offset)| offset);
        Ok(find_line(&*file, seed, near, end, target)?.map(|place| Located { segment: first, file, place }))
    }

    /// Overwrites what durable records change, and asks for a sync of that. `false` when the disk fails: what is left stays
    /// replaced when it is read, and a later start carries it out. The room has to be closed for writing then.
    pub(super) fn carry_out_amends(&mut self, id: u32, now: Now) -> bool {
        let (mut is_any, mut is_good) = (false, true);
        while is_good && !self.rooms[id as usize].read_only {
            let log = log_of(&mut self.rooms[id as usize]);
            if !log.amends.is_due(log.durable) {
                break;
            }
            let Some(amend) = log.amends.waiting.pop_front() else { break };
            match self.overwrite(id, &amend) {
                Ok(None) => {}
                Ok(Some(first)) => {
                    is_any = true;
                    let amends = &mut log_of(&mut self.rooms[id as usize]).amends;
                    if !amends.is_unsynced(first) {
                        amends.unsynced.push(first);
                        self.files.pin((id, first), true);
                    }
                }
                Err(error) => {
                    is_good = false;
                    ::log::error!("record {} of {:?}: {error}", amend.target, self.rooms[id as usize].name);
                    log_of(&mut self.rooms[id as usize]).amends.waiting.push_front(amend);
                }
            }
        }
        if is_any {
            self.want_sync(id, Wanted::Urgent, now);
        }
        is_good
    }

    /// Overwrites one line; the segment it is in. `None` if retention has taken it, or damage.
    fn overwrite(&mut self, id: u32, amend: &Amend) -> io::Result<Option<u64>> {
        let Some(Located { segment, file, place }) = self.locate(id, amend.target)? else { return Ok(None) };
        let seed = log_ref(&self.rooms[id as usize]).seed;
        let Some(line) = place.line(seed, amend.target, &amend.replacement) else { return Ok(None) };
        write_full(&*file, &line, place.offset).map_err(|(_, error)| error)?;
        Ok(Some(segment))
    }

    /// Carries out, durably, what is written of a room that is about to be closed.
    pub(super) fn settle_amends(&mut self, id: u32) {
        while self.is_amending(LogId(id)) {
            let log = log_of(&mut self.rooms[id as usize]);
            if log.in_flight {
                // The batch that is out has taken the folders over, and nobody knows yet what becomes of it.
                log.folders = Folders::RoomAndParent;
            }
            self.sync_now(id);
        }
    }

    /// Carries out what `amends` say, again: they are in a room's last segment and durable, and nobody knows whether what
    /// they change is. `is_known`: what can be read is on the disk, so what is right already is left alone. Tells whether
    /// a torn line was made whole.
    pub(super) fn redo(
        &self,
        room: &str,
        firsts: &[u64],
        last: &Index,
        amends: &[Amend],
        is_known: bool,
    ) -> io::Result<bool> {
        // Of several changes of a record the last counts.
        let amends: BTreeMap<u64, &[u8]> = amends.iter().map(|amend| (amend.target, &*amend.replacement)).collect();
        let (mut is_repaired, mut rest) = (false, &amends.into_iter().collect::<Vec<_>>()[..]);
        for (at, &first) in firsts.iter().enumerate() {
            let end = firsts.get(at + 1).map_or(rest.len(), |&next| rest.partition_point(|&(target, _)| target < next));
            let (here, behind) = rest.split_at(end);
            rest = behind;
            // What is before the first segment, retention has taken.
            let here = &here[here.partition_point(|&(target, _)| target < first)..];
            if !here.is_empty() {
                let index = (at + 1 == firsts.len()).then_some(last);
                is_repaired |= self.redo_segment(room, first, index, here, is_known)?;
            }
        }
        Ok(is_repaired)
    }

    fn redo_segment(
        &self,
        room: &str,
        first: u64,
        index: Option<&Index>,
        amends: &[(u64, &[u8])],
        is_known: bool,
    ) -> io::Result<bool> {
        let file = match self.disk.open(&self.room_dir(room).join(name::segment(first))) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(false),
            file => file?,
        };
        let (seed, end) = (record::seed(room), file.len()?);
        let sidecar = if index.is_none() { self.read_sidecar(room, first, end) } else { None };
        let index = index.or(sidecar.as_ref().map(|sidecar| &sidecar.index));
        let (mut is_repaired, mut is_dirty, mut old) = (false, false, Vec::new());
        for &(target, replacement) in amends {
            let near = index.and_then(|index| index.find(target)).map_or(0, |(_, offset)| offset);
            let Some(place) = find_line(&file, seed, near, end, target)? else { continue };
            let Some(line) = place.line(seed, target, replacement) else { continue };
            old.resize(line.len(), 0);
            let read = read_full(&file, &mut old, place.offset)?;
            if is_known && old[..read] == line {
                continue;
            }
            // Also where it is right already: the kernel may have dropped what it could not write, and call it clean.
            write_full(&file, &line, place.offset).map_err(|(_, error)| error)?;
            (is_dirty, is_repaired) = (true, is_repaired | place.is_torn);
        }
        if is_dirty {
            file.sync_data()?;
        }
        Ok(is_repaired)
    }
}

fn targets(amends: &[u8]) -> Vec<u64> {
    record::amendments(amends).map(|(target, _)| target).collect()
}

/// Looks for a record's line between two offsets, at first from `near` on, where an index says that a line begins.
fn find_line(file: &impl DiskFile, seed: u32, near: u64, end: u64, target: u64) -> io::Result<Option<Place>> {
    if near > 0
        && let Some(place) = find_line_in(file, seed, near..end, target)?
    {
        return Ok(Some(place));
    }
    // The index led to something else, or there is none.
    find_line_in(file, seed, 0..end, target)
}

fn find_line_in(file: &impl DiskFile, seed: u32, range: Range<u64>, target: u64) -> io::Result<Option<Place>> {
    let (start, mut window) = (range.start, Vec::new());
    let mut scanner = Scanner::new(file, seed, range, &mut window).in_chunks_of(FIND_CHUNK_BYTES);
    while let Some(line) = scanner.next()? {
        match line {
            Line::Record { sequence, offset, barrier, payload, amends } if !scanner.is_control(&payload) => {
                let bytes = payload.len() + amends.len();
                if sequence >= target {
                    let amends = targets(scanner.payload(&amends));
                    let place = Place { offset, barrier, bytes, is_torn: false, amends };
                    return Ok((sequence == target).then_some(place));
                }
            }
            // An index that leads into the middle of a line could find there what only looks like a torn one.
            Line::Damage { offset, .. } if offset == start && start > 0 => return Ok(None),
            Line::Damage { offset, torn: Some((sequence, barrier, bytes)) } if sequence == target => {
                return Ok(Some(Place { offset, barrier, bytes, is_torn: true, amends: Vec::new() }));
            }
            Line::Record { .. } | Line::Damage { .. } => {}
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::control::Control;
    use super::super::sim::SimDisk;
    use super::*;

    const SEED: u32 = 5;

    /// A file of these lines, and where each begins.
    fn file(lines: &[Vec<u8>]) -> (impl DiskFile, Vec<u64>, u64) {
        let disk = SimDisk::new();
        disk.create_dir(Path::new("/d")).unwrap();
        let file = disk.create(Path::new("/d/f")).unwrap();
        let (mut starts, mut end) = (Vec::new(), 0);
        for line in lines {
            starts.push(end);
            write_full(&file, line, end).unwrap();
            end += line.len() as u64;
        }
        (file, starts, end)
    }

    fn line(sequence: u64, payload: &[u8]) -> Vec<u8> {
        let mut line = Vec::new();
        record::encode(&mut line, SEED, sequence, false, payload);
        line
    }

    /// Where a record's line is found from `near` on, and whether it is torn.
    fn found(file: &impl DiskFile, near: u64, end: u64, target: u64) -> Option<(u64, bool)> {
        find_line(file, SEED, near, end, target).unwrap().map(|place| (place.offset, place.is_torn))
    }

    #[test]
    fn a_line_is_found_wherever_the_index_leads() {
        let mut torn = line(3, b"three");
        torn[36] ^= 1;
        let (file, starts, end) = file(&[line(1, b"one"), line(2, b"two"), torn, line(5, b"five")]);
        for near in 0..end {
            assert_eq!(found(&file, near, end, 1), Some((starts[0], false)), "{near}");
            assert_eq!(found(&file, near, end, 2), Some((starts[1], false)), "{near}");
            assert_eq!(found(&file, near, end, 3), Some((starts[2], true)), "{near}");
            assert_eq!(found(&file, near, end, 4), None, "{near}");
            assert_eq!(found(&file, near, end, 5), Some((starts[3], false)), "{near}");
            assert_eq!(found(&file, near, end, 6), None, "{near}");
        }
    }

    #[test]
    fn what_looks_like_a_torn_line_inside_another_is_none() {
        let inner = b"00000000 0000003 0000000000000002 abc";
        let outer = line(1, &[b"..........", &inner[..]].concat());
        let near = (outer.len() - 1 - inner.len()) as u64;
        assert_eq!(record::torn(&outer[near as usize..]), Some((2, false, 3)));
        let (file, starts, end) = file(&[outer, line(2, b"two")]);
        assert_eq!(found(&file, near, end, 2), Some((starts[1], false)));
    }

    #[test]
    fn a_record_of_the_log_itself_is_never_taken_for_a_message() {
        let closing = Control::Closing(7).line(SEED, 2);
        let (file, starts, end) = file(&[line(1, b"one"), closing, line(3, b"three")]);
        assert_eq!(found(&file, 0, end, 2), None);
        assert_eq!(found(&file, 0, end, 3), Some((starts[2], false)));
    }
}

//! Opening a room: what of it survived, and whether its numbering goes on.
//!
//! Owns: recovery of the last segment and the epoch rules. Must never know: appends, reads.

use std::io;
use std::path::Path;

use super::amend::Amend;
use super::control::{Control, Header, Mark, OLD_EPOCHS_MAX};
use super::disk::{Disk, DiskFile, is_full, read_full, write_full};
use super::index::{Index, Sidecar};
use super::room::{Active, Folders, Marked, Room, RoomLog, Sealed};
use super::scan::{Line, SCAN_CHUNK_BYTES, Scanner};
use super::store::{Store, true_name};
use super::types::{Epoch, LogError, LogId};
use super::{name, record};
use crate::clock::Now;

/// How the last run that wrote to a room ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// Cleanly, or it is this run, or nothing was written since the last recovery: every byte must be there.
    Clean,
    /// By a crash of the process. The page cache, and so every finished write, is there.
    Crash,
    /// Perhaps by a power cut: of what was not synced, any sector may be missing.
    PowerCut,
}

/// What is known before the last segment is judged.
#[derive(Clone, Copy)]
struct Before {
    /// The numbering may not go on under the old epoch.
    anew: bool,
    /// A segment behind it never became one.
    lost_segment: bool,
}

/// What follows from a tail.
struct Verdict {
    /// Where the torn part begins.
    cut: Option<u64>,
    new_epoch: bool,
}

/// What a scan of the last segment found.
struct Tail {
    first: u64,
    header: Option<Header>,
    /// The last sequence.
    last: u64,
    /// Where the last good line ends.
    end: u64,
    /// Size of the file.
    len: u64,
    /// The last run's mark.
    mark: Option<Mark>,
    /// The last good line says that nothing before it is missing: a closing, or a header that no run has marked.
    closed: bool,
    index: Index,
    /// The first damage behind the last barrier: where the torn part begins if there was a power cut. A barrier proves
    /// that what stands before it had been on the disk.
    suspect: Option<Suspect>,
    /// Damage with good records behind it: where it begins, the sequence it begins with, and the one behind it.
    damage: Option<(u64, u64, u64)>,
    /// A barrier was seen.
    barrier: bool,
    /// What records of it change of earlier ones, with the place of the record that says so.
    amends: Vec<(u64, Amend)>,
    /// Lines that may have been torn while they were overwritten.
    torn: Vec<u64>,
    /// Changes that could not be carried out: they are replaced when they are read.
    left: Vec<Amend>,
    /// The header is missing and there are zeros in its place: it never reached the disk.
    hole: bool,
    is_copy: bool,
}

/// Damage that may be the start of what never reached the disk.
#[derive(Clone, Copy)]
struct Suspect {
    offset: u64,
    /// The last sequence before it.
    last: u64,
    /// `Tail::closed` before it.
    closed: bool,
    /// There are zeros in it.
    hole: bool,
}

impl Tail {
    /// Whether the segment never was one: nothing in it can be used, and nothing proves that it was on the disk.
    fn never_was(&self) -> bool {
        let empty = self.last < self.first;
        self.header.is_none() && (empty || (self.hole && !self.barrier))
    }

    /// Takes in a record, unless its sequence shows that it stands in the wrong place.
    fn accept(&mut self, sequence: u64, barrier: bool, control: Option<Control>, offset: u64) -> bool {
        let in_order = if control.is_some() { sequence >= self.last } else { sequence > self.last };
        if !in_order {
            return false;
        }
        self.last = sequence;
        if barrier {
            (self.suspect, self.barrier) = (None, true);
        }
        self.closed = matches!(control, Some(Control::Closing(_)));
        match control {
            Some(Control::Mark(mark)) => self.mark = Some(mark),
            Some(Control::Closing(_) | Control::Lost { .. }) => {}
            None => self.index.note(sequence, offset),
        }
        true
    }

    /// Takes in what a record changes. A line of it that is torn was being overwritten, which nobody does before that record
    /// is on the disk: it proves as much as a barrier.
    fn accept_amends(&mut self, by: u64, offset: u64, amends: &[u8]) {
        for (target, replacement) in record::amendments(amends) {
            if self.torn.contains(&target) {
                (self.suspect, self.barrier) = (None, true);
            }
            self.amends.push((offset, Amend { by, target, replacement: replacement.into() }));
        }
    }

    /// Drops everything from the suspect on.
    fn cut_at(&mut self, suspect: Suspect) {
        (self.end, self.last, self.closed) = (suspect.offset, suspect.last, suspect.closed);
        self.index.truncate(suspect.offset);
    }
}

impl<D: Disk> Store<D> {
    /// Opens a room; the caller opens each at most once at a time. `entropy` is a random number, used if a new epoch
    /// begins. Creates nothing for a room that was never written.
    ///
    /// # Errors
    /// `Unavailable` when its files cannot be read or belong to another room.
    pub fn open_room(&mut self, room: &str, entropy: u64, now: Now) -> Result<LogId, LogError> {
        debug_assert!(self.rooms.iter().all(|(_, open)| *open.name != *room), "{room} is open already");
        self.generation = self.generation.wrapping_add(1);
        let mut opened = self.recover_room(room, Epoch(entropy), now, false).map_err(|error| {
            self.troubled.insert(room.into());
            ::log::error!("room {room:?} cannot be opened: {error}");
            LogError::Unavailable
        })?;
        if let Some(loose) = self.take_loose(&self.room_dir(room))
            && let Some(log) = opened.log.as_deref_mut()
            && let Some(active) = log.active.as_mut().filter(|active| active.first == loose.first)
        {
            active.durable_bytes = active.durable_bytes.min(loose.durable_bytes);
            log.durable = 0;
            log.folders = log.folders.max(loose.folders);
        }
        match opened.read_only {
            true => self.troubled.insert(room.into()),
            false => self.troubled.remove(room),
        };
        opened.check_invariants();
        Ok(LogId(self.rooms.insert(opened) as u32))
    }

    /// `anew`: the numbering may not go on under the old epoch, whatever the files say.
    pub(super) fn recover_room(&mut self, room: &str, fresh: Epoch, now: Now, anew: bool) -> io::Result<Room> {
        let dir = self.room_dir(room);
        let mut firsts = match self.segments(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Vec::new(),
            firsts => firsts?,
        };
        let mut before = Before { anew, lost_segment: false };
        let tail = loop {
            let Some(&first) = firsts.last() else { return Ok(Room::fresh(room, fresh, self.generation)) };
            let mut tail = self.scan_tail(room, first)?;
            if !tail.never_was() {
                self.settle(&dir, first, tail.mark)?;
                if self.redo_tail(room, &firsts, &mut tail) {
                    tail = self.scan_tail(room, first)?;
                }
                break tail;
            }
            self.set_aside(&dir, first, tail.len)?;
            (before.lost_segment, _) = (true, firsts.pop());
        };
        self.restore(room, fresh, now, &firsts, tail, before)
    }

    /// The first sequences of the segments in a room's folder, ascending.
    fn segments(&self, dir: &Path) -> io::Result<Vec<u64>> {
        let mut firsts: Vec<u64> = self.disk.list(dir)?.iter().filter_map(|file| name::segment_first(file)).collect();
        firsts.sort_unstable();
        Ok(firsts)
    }

    /// What a run left that did not end may be in the page cache only, and must be on the disk before it is shown. Of a
    /// room's files that can be the last segment only: all before it are durable.
    fn settle(&self, dir: &Path, first: u64, mark: Option<Mark>) -> io::Result<()> {
        if self.is_known(mark) {
            return Ok(());
        }
        self.disk.open(&dir.join(name::segment(first)))?.sync_data()?;
        self.disk.sync_dir(dir)
    }

    /// Whether what can be read of a room is on the disk, or this run knows what is not.
    fn is_known(&self, mark: Option<Mark>) -> bool {
        let is_this_run = mark.is_some_and(|mark| mark.run == self.options.run_id);
        is_this_run || mark.is_some_and(|mark| self.clean_runs.contains(&mark.run)) && !self.after_unclean
    }

    /// Carries out what the records that stay say of earlier ones, before anything is built upon it: behind the sidecar
    /// of the last segment stands everything of which it may not be durable. Whether lines are whole now that were not.
    fn redo_tail(&self, room: &str, firsts: &[u64], tail: &mut Tail) -> bool {
        let end = self.torn(tail).map_or(tail.end, |suspect| suspect.offset);
        let amends = std::mem::take(&mut tail.amends).into_iter();
        let amends: Vec<Amend> = amends.filter(|(offset, _)| *offset < end).map(|(_, amend)| amend).collect();
        // What a room holds whose sync failed may not be on the disk, and what it says must not overwrite what is.
        let redone = match self.failed_rooms.contains(room) {
            true => Err(io::Error::other("its log failed before")),
            false => self.redo(room, firsts, &tail.index, &amends, self.is_known(tail.mark)),
        };
        redone.unwrap_or_else(|error| {
            if !amends.is_empty() {
                ::log::error!("room {room:?}: changes of its messages could not be carried out: {error}");
            }
            tail.left = amends;
            false
        })
    }

    /// Carries out what a room's records change of earlier ones, where that was cut short, in a room that is not open. So
    /// lines are made whole that were torn by it.
    ///
    /// # Errors
    /// Its files cannot be read.
    pub fn redo_room(&mut self, room: &str) -> io::Result<()> {
        let dir = self.room_dir(room);
        let firsts = self.segments(&dir)?;
        let Some(&first) = firsts.last() else { return Ok(()) };
        let mut tail = self.scan_tail(room, first)?;
        if !tail.never_was() {
            self.settle(&dir, first, tail.mark)?;
            self.redo_tail(room, &firsts, &mut tail);
        }
        Ok(())
    }

    /// Cuts what is torn, begins a new epoch where one is due, and gives the room its place in memory.
    fn restore(
        &mut self,
        name: &str,
        fresh: Epoch,
        now: Now,
        firsts: &[u64],
        mut tail: Tail,
        before: Before,
    ) -> io::Result<Room> {
        let Verdict { cut, new_epoch } = self.judge(&mut tail, before);
        self.note_tail(name, &tail);
        let dir = self.room_dir(name);
        let (first, len, is_known) = (tail.first, tail.len, tail.header.is_some());
        let (mut room, mut log) = self.recovered(name, now, &firsts[..firsts.len() - 1], tail)?;
        let mut result = cut.map_or(Ok(()), |at| self.keep_torn(&dir, first, at, len));
        if new_epoch && result.is_ok() && !room.read_only {
            result = self.begin_epoch(&mut room, &mut log, fresh, is_known, now, cut.is_some());
        }
        // A segment that the new epoch has replaced is gone as a whole.
        let cut = cut.filter(|_| log.sealed.last().is_some_and(|s| s.first == first) || !new_epoch);
        if let Some(at) = cut.filter(|_| result.is_ok() && !room.read_only) {
            result = self.truncate(&dir, first, at);
        }
        if let Err(error) = result {
            ::log::error!("room {name:?} is read-only, it cannot be recovered: {error}");
            room.read_only = true;
        }
        log.roll_due = self.is_roll_due(&log, now);
        room.log = Some(Box::new(log));
        Ok(room)
    }

    /// Where the tail is torn, although good records follow.
    fn torn(&self, tail: &Tail) -> Option<Suspect> {
        tail.suspect.filter(|suspect| match self.end_of(tail.mark) {
            // The next run's mark never reached the disk, so nothing that it wrote was visible.
            End::Clean => suspect.closed && suspect.hole,
            End::Crash => false,
            // What a volatile run wrote behind the damage was visible: it stays, and the damage is a gap.
            End::PowerCut => !tail.mark.is_some_and(|mark| mark.volatile),
        })
    }

    /// What of the tail goes, and whether the numbering may not go on as if nothing had happened.
    fn judge(&self, tail: &mut Tail, before: Before) -> Verdict {
        let end = self.end_of(tail.mark);
        let volatile = tail.mark.is_some_and(|mark| mark.volatile);
        if let Some(suspect) = self.torn(tail) {
            tail.cut_at(suspect);
        }
        let cut = (tail.end < tail.len).then_some(tail.end);
        let is_this_run = tail.mark.is_some_and(|mark| mark.run == self.options.run_id);
        let is_tail_lost = match end {
            End::Clean if is_this_run => cut.is_some(),
            End::Clean => !tail.closed || before.lost_segment,
            End::Crash | End::PowerCut => volatile,
        };
        Verdict { cut, new_epoch: tail.header.is_none() || tail.is_copy || is_tail_lost || before.anew }
    }

    /// Tells of damage in the last segment that stays, because there are good records behind it.
    fn note_tail(&mut self, room: &str, tail: &Tail) {
        if let Some((offset, from, behind)) = tail.damage.filter(|&(offset, ..)| offset < tail.end) {
            let path = self.room_dir(room).join(name::segment(tail.first));
            self.note_damage(room, from, behind, format_args!("{} at byte {offset}", path.display()));
        }
    }

    /// The room as its files have it.
    fn recovered(&self, name: &str, now: Now, sealed: &[u64], tail: Tail) -> io::Result<(Room, RoomLog)> {
        let (dir, wall_ms) = (self.room_dir(name), self.wall_ms(now));
        let mut room = Room::fresh(name, Epoch(0), self.generation);
        (room.visible, room.next) = (tail.last, tail.last + 1);
        room.read_only = self.failed_rooms.contains(name) || !tail.left.is_empty();
        let mut log = RoomLog { written: tail.last, durable: tail.last, ..RoomLog::fresh(name) };
        log.amends.take_over(tail.left);
        for &first in sealed {
            let bytes = self.disk.len(&dir.join(name::segment(first)))?;
            log.sealed.push(Sealed { first, bytes, until_ms: None });
        }
        let created_ms = tail.header.as_ref().map_or(wall_ms, |header| header.created_ms.min(wall_ms));
        (room.epoch, log.old_epochs) = match tail.header {
            Some(header) => (header.epoch, header.epochs),
            None => self.epochs_before(&dir, &log.sealed),
        };
        let (first, bytes, index) = (tail.first, tail.end, tail.index);
        log.active = Some(Active { first, bytes, durable_bytes: bytes, indexed_bytes: 0, created_ms, index });
        log.mark = if tail.mark.is_some_and(|m| m.run == self.options.run_id) { Marked::Durable } else { Marked::No };
        Ok((room, log))
    }

    fn end_of(&self, mark: Option<Mark>) -> End {
        match mark {
            None => End::Clean,
            Some(mark) if mark.run == self.options.run_id || self.clean_runs.contains(&mark.run) => End::Clean,
            Some(mark) if mark.boot == self.boot && self.boot != 0 => End::Crash,
            Some(_) => End::PowerCut,
        }
    }

    /// Ends the room's epoch at the recovered head. The new one is written down at once, because clients will be told of
    /// it; if the disk is full it lives in memory until the next append finds space. `must_last`: it has to be on the disk
    /// before what is torn is cut off, which may be the only sign that records are missing.
    fn begin_epoch(
        &self,
        room: &mut Room,
        log: &mut RoomLog,
        fresh: Epoch,
        is_known: bool,
        now: Now,
        must_last: bool,
    ) -> io::Result<()> {
        let Some(active) = log.active.take() else { return Ok(()) };
        // Of a segment without a header nobody knows the epoch; its predecessor's ended before it.
        let last = if is_known { log.written } else { active.first - 1 };
        if is_known || !log.sealed.is_empty() {
            log.old_epochs.push((room.epoch, last));
        }
        let surplus = log.old_epochs.len().saturating_sub(OLD_EPOCHS_MAX);
        log.old_epochs.drain(..surplus);
        (room.epoch, log.mark) = (fresh, Marked::No);
        let replaces = active.first == room.next;
        if !replaces {
            log.sealed.push(Sealed { first: active.first, bytes: active.bytes, until_ms: Some(self.wall_ms(now)) });
        }
        match self.create_segment(room, log, None, now, replaces) {
            Ok((created, file)) => {
                let created = log.active.insert(created);
                if must_last {
                    file.sync_data()?;
                    self.disk.sync_dir(&self.room_dir(&room.name))?;
                    created.durable_bytes = created.bytes;
                }
                Ok(())
            }
            Err(error) if is_full(&error) && !replaces && !must_last => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Creates the segment for the room's next record, with its header. `replaces`: a segment of that name is there and
    /// holds nothing but a header, so the new one takes its place in one durable step.
    pub(super) fn create_segment(
        &self,
        room: &Room,
        log: &mut RoomLog,
        mark: Option<Mark>,
        now: Now,
        replaces: bool,
    ) -> io::Result<(Active, D::File)> {
        let dir = self.room_dir(&room.name);
        let first = log.written + 1;
        let is_new = self.disk.create_dir(&dir)?;
        log.folders = log.folders.max(if is_new { Folders::RoomAndParent } else { Folders::Room });
        let path = dir.join(name::segment(first));
        let temporary = dir.join(name::segment(first) + ".new");
        let target = if replaces { &temporary } else { &path };
        if replaces {
            super::store::remove_if_there(&*self.disk, target)?;
        }
        // A folder that is there would be taken, by whoever opens the room anew, for one whose name is on the disk.
        let forget_folder = || if is_new { self.disk.remove_dir(&dir) } else { Ok(()) };
        let file = self.disk.create(target).inspect_err(|_| drop(forget_folder()))?;
        let filled = || -> io::Result<u64> {
            let mut header = Header::new(&room.name, room.epoch, first, now.unix_ms);
            (header.epochs, header.file, header.mark) = (log.old_epochs.clone(), file.identity()?, mark);
            let line = header.line(log.seed);
            write_full(&file, &line, 0).map_err(|(_, error)| error)?;
            if replaces {
                file.sync_data()?;
                self.disk.rename(&temporary, &path)?;
            }
            Ok(line.len() as u64)
        };
        let bytes = filled().inspect_err(|_| {
            // An empty file in the way would stop the next attempt.
            drop(self.disk.remove(target).and_then(|()| forget_folder()));
        })?;
        let index = Index::new(first);
        let active = Active { first, bytes, durable_bytes: 0, indexed_bytes: 0, created_ms: self.wall_ms(now), index };
        Ok((active, file))
    }

    /// Reads the last segment: from its sidecar on, if that can be used, else from the start.
    fn scan_tail(&self, room: &str, first: u64) -> io::Result<Tail> {
        let file = self.disk.open(&self.room_dir(room).join(name::segment(first)))?;
        let (seed, len) = (record::seed(room), file.len()?);
        let mut window = Vec::new();
        let header = read_header(&file, seed, len, &mut window)?.filter(|header| header.first == first);
        if header.is_none() && true_name(&file).is_some_and(|name| name != room) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "its folder holds another room's log"));
        }
        let is_copy = match &header {
            Some(header) => header.file != file.identity()?,
            None => false,
        };
        let hole = header.is_none() && has_hole(&file, 0)?;
        let sidecar = self.read_sidecar(room, first, len).filter(|_| header.is_some() && !is_copy);
        if sidecar.is_none() {
            // One that is wrong now would look right again once the segment has grown.
            super::store::remove_if_there(&*self.disk, &self.room_dir(room).join(name::sidecar(first)))?;
        }
        let mark = header.as_ref().and_then(|header| header.mark);
        let scanned = sidecar.unwrap_or(Sidecar { covered_bytes: 0, last: first - 1, mark, index: Index::new(first) });
        let mut tail = Tail {
            first,
            header,
            last: scanned.last,
            end: scanned.covered_bytes,
            len,
            closed: scanned.mark.is_none(),
            mark: scanned.mark,
            index: scanned.index,
            suspect: None,
            damage: None,
            barrier: false,
            amends: Vec::new(),
            torn: Vec::new(),
            left: Vec::new(),
            hole,
            is_copy,
        };
        let mut scanner = Scanner::new(&file, seed, tail.end..len, &mut window);
        let mut unreadable = None;
        while let Some(line) = scanner.next()? {
            if let Line::Record { offset, sequence, barrier, payload, amends } = &line {
                let is_control = scanner.is_control(payload);
                let control = if is_control { Control::parse(scanner.payload(payload)) } else { None };
                // A header was read on its own, and what a later version may add between the messages is none of ours.
                let is_neutral = is_control && control.is_none();
                if is_neutral || tail.accept(*sequence, *barrier, control, *offset) {
                    if let Some((offset, from)) = unreadable.take() {
                        tail.damage.get_or_insert((offset, from, 0)).2 = *sequence;
                    }
                    tail.accept_amends(*sequence, *offset, scanner.payload(amends));
                    tail.end = scanner.offset();
                    continue;
                }
            }
            let (Line::Record { offset, .. } | Line::Damage { offset, .. }) = line;
            if let Line::Damage { torn: Some((sequence, ..)), .. } = line {
                tail.torn.push(sequence);
            }
            unreadable.get_or_insert((offset, tail.last + 1));
            if tail.suspect.is_none() {
                let (last, closed, hole) = (tail.last, tail.closed, has_hole(&file, offset)?);
                tail.suspect = Some(Suspect { offset, last, closed, hole });
            }
        }
        Ok(tail)
    }

    /// The epoch before a segment whose header is unreadable, and those before that.
    fn epochs_before(&self, dir: &Path, sealed: &[Sealed]) -> (Epoch, Vec<(Epoch, u64)>) {
        let header = sealed.last().and_then(|segment| self.segment_header(dir, segment.first));
        header.map_or((Epoch(0), Vec::new()), |header| (header.epoch, header.epochs))
    }

    /// A segment's header, when it is there and right.
    pub(super) fn segment_header(&self, dir: &Path, first: u64) -> Option<Header> {
        let file = self.disk.open(&dir.join(name::segment(first))).ok()?;
        let room = true_name(&file)?;
        read_header(&file, record::seed(&room), file.len().ok()?, &mut Vec::new()).ok()?
    }

    /// Takes a file that never became a segment out of the way.
    fn set_aside(&self, dir: &Path, first: u64, bytes: u64) -> io::Result<()> {
        let beside = self.free_path(dir, |n| name::torn(first, n))?;
        ::log::warn!("{bytes} torn bytes, a segment that was not finished, were put aside as {}", beside.display());
        self.disk.rename(&dir.join(name::segment(first)), &beside)?;
        self.disk.sync_dir(dir)
    }

    /// Copies what is about to be cut off to a file beside the segment.
    fn keep_torn(&self, dir: &Path, first: u64, at: u64, len: u64) -> io::Result<()> {
        let path = dir.join(name::segment(first));
        let beside = self.free_path(dir, |n| name::torn(first, n))?;
        ::log::warn!("{}: {} torn bytes are cut off and kept in {}", path.display(), len - at, beside.display());
        let (file, copy) = (self.disk.open(&path)?, self.disk.create(&beside)?);
        let mut buffer = vec![0; SCAN_CHUNK_BYTES.min((len - at) as usize)];
        let mut done = 0;
        while at + done < len {
            let wanted = buffer.len().min((len - at - done) as usize);
            let read = read_full(&file, &mut buffer[..wanted], at + done)?;
            if read == 0 {
                break;
            }
            write_full(&copy, &buffer[..read], done).map_err(|(_, error)| error)?;
            done += read as u64;
        }
        copy.sync_data()?;
        self.disk.sync_dir(dir)
    }

    /// Cuts a segment, durably: were the cut itself lost, old bytes could come back behind new ones.
    fn truncate(&self, dir: &Path, first: u64, at: u64) -> io::Result<()> {
        let file = self.disk.open(&dir.join(name::segment(first)))?;
        file.set_len(at)?;
        file.sync_data()
    }

    /// The first name of a series that is free in a folder.
    pub(super) fn free_path(&self, dir: &Path, named: impl Fn(u32) -> String) -> io::Result<std::path::PathBuf> {
        let taken = self.disk.list(dir)?;
        let free = (1..).map(named).find(|name| !taken.contains(name));
        Ok(dir.join(free.expect("a folder holds fewer than 2^32 files")))
    }
}

fn read_header(file: &impl DiskFile, seed: u32, len: u64, window: &mut Vec<u8>) -> io::Result<Option<Header>> {
    let mut scanner = Scanner::new(file, seed, 0..len, window);
    Ok(match scanner.next()? {
        Some(Line::Record { payload, .. }) => Header::parse(scanner.payload(&payload)),
        _ => None,
    })
}

/// Whether there are zeros where a line should be, as in a sector that was never written. A flipped bit leaves none.
fn has_hole(file: &impl DiskFile, offset: u64) -> io::Result<bool> {
    let mut start = vec![0; 4096];
    let read = read_full(file, &mut start, offset)?;
    let line = start[..read].split(|&b| b == b'\n').next().unwrap_or_default();
    Ok(line.windows(8).any(|bytes| bytes == [0; 8]))
}

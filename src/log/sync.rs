//! Group commit: what was written becomes durable, in batches, on another thread.
//!
//! Owns: which files wait for a sync and what follows from its answer. Must never know: records.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use super::disk::{Disk, DiskFile, FileSystem};
use super::room::{Folders, Marked, Wanted};
use super::run::Loose;
use super::store::Store;
use super::types::{LogError, LogEvent, LogId, SyncPolicy};
use super::write::log_of;
use crate::clock::Now;

/// From so many files on, one sync of the file system takes the place of those of the files where it is known to say as
/// much, and goes ahead of them elsewhere. See docs/LOG_FORMAT.md for the measurement.
const SYNC_ALL_FILES_MIN: usize = 16;
/// At the end of a run the file system is synced as a whole only for more files than this: on a machine that is busy
/// writing something else that takes seconds, while so many files take a tenth of one.
pub(super) const SYNC_EACH_FILES_MAX: usize = 512;
/// Closed rooms that are made durable in one batch, once so many wait for it.
const LOOSE_PER_BATCH: usize = 32;

/// What a batch knows about one room.
#[derive(Debug)]
struct Item {
    room: u32,
    generation: u32,
    /// How much of the file the sync will cover, and the last record in there.
    bytes: u64,
    through: u64,
    folders: Folders,
}

/// One room's part of a batch.
struct Work<F> {
    item: Item,
    /// The active segment, if it has bytes that are not durable.
    file: Option<io::Result<Arc<F>>>,
    /// Other segments of which lines were overwritten.
    amended: Vec<io::Result<Arc<F>>>,
    /// The room's folder, if its entries changed.
    dir: PathBuf,
}

/// Files to make durable. Sent to another thread and run there.
pub struct SyncBatch<D: Disk> {
    disk: Arc<D>,
    rooms_dir: PathBuf,
    file_system: Arc<D::FileSystem>,
    items: Vec<Work<D::File>>,
    orphans: Vec<Arc<D::File>>,
    loose: Vec<Loose>,
}

/// What became of a batch; given back to `Store::synced`.
#[derive(Debug)]
pub struct SyncOutcome {
    rooms: Vec<(Item, io::Result<()>)>,
    /// What became of rooms that were closed.
    closed: io::Result<()>,
}

impl<D: Disk> SyncBatch<D> {
    /// Number of files in the batch.
    pub fn files(&self) -> usize {
        let amended = self.items.iter().map(|work| work.amended.len()).sum::<usize>();
        self.items.len() + amended + self.orphans.len() + self.loose.len()
    }

    /// Syncs each file once, then the folders that changed. Blocks for as long as the disk takes.
    pub fn run(self) -> SyncOutcome {
        // An error could be about anybody's file on the file system: the syncs of ours will tell.
        let is_synced = self.files() >= SYNC_ALL_FILES_MIN && self.file_system.sync().is_ok();
        self.run_each(is_synced)
    }

    /// As `run`, but does not wait for what other programs have written, unless there are very many files.
    pub fn run_at_end(self) -> SyncOutcome {
        if self.files() > SYNC_EACH_FILES_MAX { self.run() } else { self.run_each(false) }
    }

    /// Syncs what a sync of the file system, if there was one, has not made durable.
    fn run_each(self, is_synced: bool) -> SyncOutcome {
        let mut parent = None;
        let mut rooms = Vec::with_capacity(self.items.len());
        let is_durable =
            |file: &D::File| is_synced && file.device().is_ok_and(|device| self.file_system.answers_for(device));
        let sync = |file: io::Result<Arc<D::File>>| match file {
            Ok(file) if is_durable(&file) => Ok(()),
            file => file.and_then(|file| file.sync_data()),
        };
        for Work { item, file, amended, dir } in self.items {
            // Every one is tried, as below.
            let amended = amended.into_iter().map(sync).fold(Ok(()), io::Result::and);
            let mut result = match file {
                // The file is on the rooms' file system, and so are the folders above it.
                Some(Ok(file)) if is_durable(&file) => {
                    rooms.push((item, amended));
                    continue;
                }
                Some(file) => sync(file).and(amended),
                None => amended,
            };
            if item.folders >= Folders::Room {
                result = result.and_then(|()| self.disk.sync_dir(&dir));
            }
            if item.folders == Folders::RoomAndParent {
                let synced = parent.get_or_insert_with(|| self.disk.sync_dir(&self.rooms_dir).map_err(|e| e.kind()));
                result = result.and(synced.map_err(io::Error::from));
            }
            rooms.push((item, result));
        }
        // Every one is tried: one failure must not leave the others unsynced.
        let orphans = self.orphans.iter().map(|file| file.sync_data());
        let loose = self.loose.iter().map(|loose| loose.sync(&*self.disk));
        SyncOutcome { rooms, closed: orphans.chain(loose).fold(Ok(()), io::Result::and) }
    }
}

impl<D: Disk> Store<D> {
    /// The next batch to run, if one is due and none is out. Its outcome must come back through `synced`; call
    /// `write_dirty` after that, then `next_sync` again.
    pub fn next_sync(&mut self, now: Now) -> Option<SyncBatch<D>> {
        if self.in_flight {
            return None;
        }
        let mut ids = std::mem::take(&mut self.urgent);
        let mut orphans = Vec::new();
        if self.starved || self.lazy_due_ms().is_some_and(|due| now.monotonic_ms >= due) {
            ids.append(&mut self.lazy);
            orphans = std::mem::take(&mut self.orphans);
            self.starved = false;
        }
        let items: Vec<_> = ids.into_iter().filter_map(|id| self.sync_item(id)).collect();
        let mut loose = Vec::new();
        if self.loose.len() >= LOOSE_PER_BATCH && self.options.policy != SyncPolicy::Never {
            loose = self.loose.split_off(self.loose.len() - LOOSE_PER_BATCH);
        }
        if items.is_empty() && orphans.is_empty() && loose.is_empty() {
            return None;
        }
        self.in_flight = true;
        Some(SyncBatch { orphans, loose, ..self.batch(items) })
    }

    fn batch(&self, items: Vec<Work<D::File>>) -> SyncBatch<D> {
        SyncBatch {
            disk: Arc::clone(&self.disk),
            rooms_dir: self.rooms_dir.clone(),
            file_system: Arc::clone(&self.file_system),
            items,
            orphans: Vec::new(),
            loose: Vec::new(),
        }
    }

    fn sync_item(&mut self, id: u32) -> Option<Work<D::File>> {
        let log = self.log_mut(id).filter(|log| log.wanted != Wanted::No)?;
        log.wanted = Wanted::No;
        log.in_flight = true;
        let (folders, through) = (log.folders, log.written);
        // Entries that change while the batch is out need another one.
        log.folders = Folders::Synced;
        let active = log.active.as_ref().map(|active| (active.first, active.bytes, active.durable_bytes));
        let (first, bytes, durable_bytes) = active.unwrap_or_default();
        let amended = log.amends.begin_sync();
        let file = (bytes > durable_bytes || amended.contains(&first)).then(|| self.file(id, first));
        let amended = amended.into_iter().filter(|&other| other != first).map(|other| self.file(id, other)).collect();
        let room = &self.rooms[id as usize];
        let dir = if folders == Folders::Synced { PathBuf::new() } else { self.room_dir(&room.name) };
        let item = Item { room: id, generation: room.generation, bytes, through, folders };
        Some(Work { item, file, amended, dir })
    }

    /// Takes a batch's outcome: what it made durable becomes visible, rooms whose sync failed become read-only.
    pub fn synced(&mut self, outcome: SyncOutcome, now: Now, events: &mut Vec<LogEvent>) {
        self.in_flight = false;
        if let Err(error) = outcome.closed {
            ::log::error!("the log of a room that was closed could not be synced: {error}");
            self.failed = true;
        }
        self.rooms_synced(outcome.rooms, now, events);
    }

    /// Syncs one room on this thread.
    pub(super) fn sync_now(&mut self, id: u32) {
        let now = self.options.opened;
        self.want_sync(id, Wanted::Urgent, now);
        if let Some(item) = self.sync_item(id) {
            let outcome = self.batch(vec![item]).run_each(false);
            self.rooms_synced(outcome.rooms, now, &mut Vec::new());
        }
    }

    fn rooms_synced(&mut self, rooms: Vec<(Item, io::Result<()>)>, now: Now, events: &mut Vec<LogEvent>) {
        for (item, result) in rooms {
            let is_open = self.rooms.get(item.room as usize).is_some_and(|room| room.generation == item.generation);
            match result {
                Ok(()) if is_open => self.item_synced(&item, now, events),
                Ok(()) => {}
                Err(error) => {
                    ::log::error!("a sync failed: {error}");
                    self.failed = true;
                    if is_open {
                        self.item_failed(&item, events);
                    }
                }
            }
        }
    }

    fn item_synced(&mut self, item: &Item, now: Now, events: &mut Vec<LogEvent>) {
        let log = log_of(&mut self.rooms[item.room as usize]);
        log.in_flight = false;
        log.durable = log.durable.max(item.through);
        for first in log.amends.end_sync() {
            self.files.pin((item.room, first), false);
        }
        // Before anything is shown, so that who reads of a change reads what it changed.
        let is_good = self.carry_out_amends(item.room, now);
        let room = &mut self.rooms[item.room as usize];
        let log = log_of(room);
        if log.mark == Marked::Written {
            log.mark = Marked::Durable;
        }
        let through = if self.options.policy.is_volatile() { log.written } else { item.through };
        if let Some(active) = log.active.as_mut() {
            active.durable_bytes = active.durable_bytes.max(item.bytes);
            let is_durable = active.durable_bytes == active.bytes && !log.amends.is_unsynced(active.first);
            let is_pinned = !is_durable && self.options.policy != SyncPolicy::Never;
            self.files.pin((item.room, active.first), is_pinned);
        }
        if through > room.visible {
            room.visible = through;
            events.push(LogEvent::Visible { id: LogId(item.room), through });
        }
        room.check_invariants();
        match is_good {
            true => self.retain_room(item.room, now),
            false => self.refuse_unwritten(item.room, events),
        }
    }

    /// Closes a room for writing, of which all that is written stays.
    fn refuse_unwritten(&mut self, id: u32, events: &mut Vec<LogEvent>) {
        let room = &mut self.rooms[id as usize];
        let log = log_of(room);
        let from = log.written + 1;
        log.buffer = Vec::new();
        log.amends.forget_from(from);
        if from < room.next {
            room.next = from;
            events.push(LogEvent::Refused { id: LogId(id), from, why: LogError::Unavailable });
        }
        self.close_for_writing(id, events);
    }

    /// The kernel may have dropped what it could not write, so the sync is not tried again. What was not visible yet is
    /// cut off as well as may be, so that a restart does not bring back what was refused.
    fn item_failed(&mut self, item: &Item, events: &mut Vec<LogEvent>) {
        let id = item.room;
        let room = &mut self.rooms[id as usize];
        let visible = room.visible;
        let log = log_of(room);
        log.in_flight = false;
        // Where something is not visible, all that is visible is durable: by policy, or because the run's mark is not.
        let hidden = log.active.as_ref().filter(|_| visible < log.written);
        if let Some((first, bytes)) = hidden.map(|active| (active.first, active.durable_bytes))
            && let Ok(file) = self.file(id, first)
            && file.set_len(bytes).is_ok()
            && let Some(active) = log_of(&mut self.rooms[id as usize]).active.as_mut()
        {
            active.bytes = bytes;
            active.index.truncate(bytes);
        }
        let room = &mut self.rooms[id as usize];
        let from = room.visible + 1;
        if from < room.next {
            let log = log_of(room);
            log.buffer = Vec::new();
            log.written = from - 1;
            log.durable = log.durable.min(log.written);
            log.amends.forget_from(from);
            room.next = from;
            events.push(LogEvent::Refused { id: LogId(id), from, why: LogError::Unavailable });
        }
        self.close_for_writing(id, events);
    }

    /// When the server has to call `next_sync` or `write_dirty` although nothing else happens, in milliseconds on the
    /// monotonic clock.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let lazy = self.lazy_due_ms().filter(|_| !self.in_flight);
        [lazy, self.retain_at_ms].into_iter().flatten().min()
    }

    fn lazy_due_ms(&self) -> Option<u64> {
        match self.options.policy {
            SyncPolicy::Interval { ms } if !self.lazy.is_empty() || !self.orphans.is_empty() => {
                Some(self.lazy_since_ms.saturating_add(ms))
            }
            _ => None,
        }
    }

    /// Puts a room on the list for the next batch, or for the one at the end of the interval.
    pub(super) fn want_sync(&mut self, id: u32, wanted: Wanted, now: Now) {
        let policy = self.options.policy;
        let Some(log) = self.log_mut(id) else { return };
        let first = log.active.as_ref().map(|active| active.first);
        if wanted > log.wanted {
            log.wanted = wanted;
            if wanted == Wanted::Urgent {
                self.urgent.push(id);
            } else {
                if self.lazy.is_empty() {
                    self.lazy_since_ms = now.monotonic_ms;
                }
                self.lazy.push(id);
            }
        }
        if let Some(first) = first.filter(|_| policy != SyncPolicy::Never) {
            self.files.pin((id, first), true);
        }
    }
}

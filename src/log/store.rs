//! The store: the data folder, its lock, its runs, and the rooms that are open.
//!
//! Owns: what is open. The other parts of `Store` stand in `run`, `open`, `write`, `sync`, `read` and `retain`.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use slab::Slab;

use super::control::{Header, Mark};
use super::disk::{Disk, DiskFile, read_full, write_full};
use super::files::{FileKey, Files};
use super::index::{Index, Sidecar};
use super::name;
use super::room::{Marked, Room, Wanted};
use super::run::{Loose, begin_run, lock, read_clean_runs};
use super::scan::{Line, Scanner};
use super::types::{Epoch, LogId, Options, Position, Retention, StoreError};
use super::{RealDisk, record};
use crate::clock::Now;

/// Segments whose index is kept in memory for readers of history; 128 KiB each when a segment has 64 MiB.
pub(super) const SEALED_INDEXES_MAX: usize = 8;
/// A sidecar for the active segment is worth writing when it saves scanning this much.
const SIDECAR_WORTH_BYTES: u64 = 256 * 1024;
/// Files larger than this could not be indexed with 32-bit offsets.
const SEGMENT_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// All rooms of one data folder. One thread owns it; only a [`SyncBatch`](super::SyncBatch) leaves that thread.
pub struct Store<D: Disk = RealDisk> {
    pub(super) disk: Arc<D>,
    pub(super) options: Options,
    pub(super) rooms_dir: PathBuf,
    /// Where the rooms are. Open from the start, so that no error escapes it.
    pub(super) file_system: Arc<D::FileSystem>,
    pub(super) boot: u64,
    pub(super) clean_runs: HashSet<u64>,
    /// The run before this one did not end: what it wrote may be in the page cache only.
    pub(super) after_unclean: bool,
    pub(super) rooms: Slab<Room>,
    pub(super) generation: u32,
    pub(super) files: Files<D::File>,
    /// Indexes of sealed segments, the most recently used last.
    pub(super) sealed_indexes: Vec<(FileKey, Index)>,
    /// Rooms with something in their buffers.
    pub(super) dirty: Vec<u32>,
    /// Buffers that no room uses at the moment.
    pub(super) spare: Vec<Vec<u8>>,
    /// Rooms by `Wanted`; one that wants it no more may still be listed.
    pub(super) urgent: Vec<u32>,
    pub(super) lazy: Vec<u32>,
    pub(super) lazy_since_ms: u64,
    /// Files of closed rooms that wait for the interval's sync.
    pub(super) orphans: Vec<Arc<D::File>>,
    /// Closed rooms that are not durable as a whole; each at most once.
    pub(super) loose: Vec<Loose>,
    /// There were more of them.
    pub(super) loose_overflow: bool,
    pub(super) in_flight: bool,
    /// A room waits for a descriptor that only a sync can free.
    pub(super) starved: bool,
    /// A write or a sync failed in this run, which therefore cannot end cleanly.
    pub(super) failed: bool,
    /// Rooms that stay read-only until the process ends, even if closed in between.
    pub(super) failed_rooms: HashSet<Box<str>>,
    /// Rooms that could not be opened, or only for reading; the next opening tries again.
    pub(super) troubled: HashSet<Box<str>>,
    /// Rooms in which damage was found that is not written down as lost.
    pub(super) damaged_rooms: HashSet<Box<str>>,
    /// When to look for segments that are too old.
    pub(super) retain_at_ms: Option<u64>,
    _lock: D::File,
}

pub(super) fn io_error(path: &Path) -> impl FnOnce(io::Error) -> StoreError + '_ {
    move |source| StoreError::Io { path: path.to_owned(), source }
}

impl<D: Disk> Store<D> {
    /// Opens the data folder, creates it if need be, and takes its lock. Reads no room.
    ///
    /// # Errors
    /// `InUse` when another process has the folder, `Io` when it cannot be used.
    pub fn open(disk: D, mut options: Options) -> Result<Store<D>, StoreError> {
        options.segment_bytes = options.segment_bytes.min(SEGMENT_BYTES_MAX);
        let dir = options.dir.clone();
        let rooms_dir = dir.join("rooms");
        for path in [&dir, &rooms_dir] {
            disk.create_dir(path).map_err(io_error(path))?;
        }
        let lock = lock(&disk, &dir)?;
        let clean_runs = read_clean_runs(&disk, &dir).map_err(io_error(&dir))?;
        let after_unclean = begin_run(&disk, &dir, options.run_id, clean_runs.is_empty())?;
        let boot = disk.boot_id();
        let file_system = Arc::new(disk.file_system(&rooms_dir).map_err(io_error(&rooms_dir))?);
        Ok(Store {
            disk: Arc::new(disk),
            rooms_dir,
            file_system,
            boot,
            clean_runs,
            after_unclean,
            rooms: Slab::new(),
            generation: 0,
            files: Files::new(options.files_open_max),
            sealed_indexes: Vec::new(),
            dirty: Vec::new(),
            spare: Vec::new(),
            urgent: Vec::new(),
            lazy: Vec::new(),
            lazy_since_ms: 0,
            orphans: Vec::new(),
            loose: Vec::new(),
            loose_overflow: false,
            in_flight: false,
            starved: false,
            failed: false,
            failed_rooms: HashSet::new(),
            troubled: HashSet::new(),
            damaged_rooms: HashSet::new(),
            retain_at_ms: (options.retention != Retention::default()).then_some(0),
            options,
            _lock: lock,
        })
    }

    /// The time of day for ages: that at the start of the run, and the monotonic time since. A wall clock that jumps while
    /// the server runs makes nothing old, and nothing young.
    pub(super) fn wall_ms(&self, now: Now) -> u64 {
        let opened = self.options.opened;
        opened.unix_ms.saturating_add(now.monotonic_ms.saturating_sub(opened.monotonic_ms))
    }

    /// Where a room stands.
    pub fn position(&self, id: LogId) -> Position {
        self.rooms[id.index()].position()
    }

    /// The room's earlier epochs with their last sequences, oldest first: a position of one of them is still good up to
    /// that sequence.
    pub fn epochs(&self, id: LogId) -> &[(Epoch, u64)] {
        self.rooms[id.index()].log.as_ref().map_or(&[], |log| &log.old_epochs)
    }

    /// Whether the room refuses appends until the process is restarted.
    pub fn is_read_only(&self, id: LogId) -> bool {
        self.rooms[id.index()].read_only
    }

    /// Rooms that take no appends, open or not: their log failed in this run, or could not be opened.
    pub fn rooms_read_only(&self) -> usize {
        self.failed_rooms.union(&self.troubled).count()
    }

    /// Rooms, open or not, in which this run found damage that no repair has written down.
    pub fn rooms_damaged(&self) -> usize {
        self.damaged_rooms.len()
    }

    /// Allows another number of open log files, at least 1.
    pub fn set_files_open_max(&mut self, max: usize) {
        self.files.set_max(max);
    }

    /// Log files that are open now.
    pub fn files_open(&self) -> usize {
        self.files.len()
    }

    /// Names of all rooms that have a folder, in no order. Lists the folder at once and looks into rooms as they are
    /// asked for.
    ///
    /// # Errors
    /// `Io` when the folder cannot be listed.
    pub fn rooms(&self) -> Result<impl Iterator<Item = String> + use<'_, D>, StoreError> {
        let folders = self.disk.list(&self.rooms_dir).map_err(io_error(&self.rooms_dir))?;
        Ok(folders.into_iter().filter_map(|folder| name::room(&folder).or_else(|| self.name_inside(&folder))))
    }

    /// The name in a folder's first readable segment header.
    fn name_inside(&self, folder: &str) -> Option<String> {
        let dir = self.rooms_dir.join(folder);
        let segments = self.disk.list(&dir).ok()?;
        let names = segments.iter().filter(|file| name::segment_first(file).is_some());
        let mut names = names.filter_map(|file| true_name(&self.disk.open(&dir.join(file)).ok()?));
        names.find(|room| name::folder(room) == folder)
    }

    /// Gives back the room's memory and files. Nothing appended may wait to be written or, with `Always`, to be synced.
    /// Blocks for as long as the disk takes if [`Store::is_amending`].
    pub fn close_room(&mut self, id: LogId) {
        self.settle_amends(id.0);
        self.save_sidecar(id.0);
        self.write_closing(id.0);
        let room = self.rooms.remove(id.index());
        room.check_invariants();
        self.sealed_indexes.retain(|((of, _), _)| *of != id.0);
        if let Some(log) = room.log {
            if !room.read_only {
                self.note_loose(self.room_dir(&room.name), &log);
            }
            debug_assert!(log.buffer.is_empty(), "appends to {} are pending", room.name);
            debug_assert!(self.options.policy.is_volatile() || room.visible == log.written || room.read_only);
            let file = log.active.and_then(|active| self.files.remove((id.0, active.first)));
            if log.wanted != Wanted::No {
                self.orphans.extend(file);
            }
        }
        self.files.remove_room(id.0);
    }

    /// Writes the sidecar of a room's active segment when it would save the next opening a long scan. Only what is
    /// durable may be in it: a power cut must not leave an index of bytes that never reached the disk.
    pub(super) fn save_sidecar(&mut self, id: u32) {
        let Some(log) = self.log_mut(id) else { return };
        // Recovery looks for changes to carry out only behind it.
        let is_settled = log.is_settled();
        let Some(active) = log.active.as_mut() else { return };
        if is_settled && active.bytes >= active.indexed_bytes + SIDECAR_WORTH_BYTES {
            active.indexed_bytes = active.bytes;
            self.write_active_sidecar(id);
        }
    }

    /// Writes the sidecar of a room's active segment, all of which is durable.
    pub(super) fn write_active_sidecar(&self, id: u32) {
        let room = &self.rooms[id as usize];
        let Some((log, active)) = room.log.as_ref().and_then(|log| Some((log, log.active.as_ref()?))) else { return };
        let mark = (log.mark != Marked::No).then(|| self.mark());
        let (covered_bytes, index) = (active.bytes, active.index.clone());
        let sidecar = Sidecar { covered_bytes, last: log.written, mark, index };
        self.write_sidecar(&room.name, active.first, &sidecar);
    }

    /// Writes a sidecar; a failure only costs a scan later.
    pub(super) fn write_sidecar(&self, room: &str, first: u64, sidecar: &Sidecar) {
        let path = self.room_dir(room).join(name::sidecar(first));
        let bytes = sidecar.encode(record::seed(room));
        let written = remove_if_there(&*self.disk, &path)
            .and_then(|()| self.disk.create(&path))
            .and_then(|file| write_full(&file, &bytes, 0).map_err(|(_, e)| e));
        if let Err(error) = written {
            ::log::warn!("{}: the index could not be written: {error}", path.display());
        }
    }

    /// A segment's sidecar, when it is there and right.
    pub(super) fn read_sidecar(&self, room: &str, first: u64, len: u64) -> Option<Sidecar> {
        let file = self.disk.open(&self.room_dir(room).join(name::sidecar(first))).ok()?;
        let mut bytes = vec![0; usize::try_from(file.len().ok()?).ok()?];
        let read = read_full(&file, &mut bytes, 0).ok()?;
        Sidecar::decode(&bytes[..read], record::seed(room), first, len)
    }

    /// This run's mark.
    pub(super) fn mark(&self) -> Mark {
        Mark { run: self.options.run_id, boot: self.boot, volatile: self.options.policy.is_volatile() }
    }

    pub(super) fn room_dir(&self, room: &str) -> PathBuf {
        self.rooms_dir.join(name::folder(room))
    }

    pub(super) fn log_mut(&mut self, id: u32) -> Option<&mut super::room::RoomLog> {
        self.rooms.get_mut(id as usize)?.log.as_deref_mut()
    }

    /// A segment's file, opened if it is not.
    pub(super) fn file(&mut self, id: u32, first: u64) -> io::Result<Arc<D::File>> {
        if let Some(file) = self.files.get((id, first)) {
            return Ok(file);
        }
        let path = self.room_dir(&self.rooms[id as usize].name).join(name::segment(first));
        let file = self.disk.open(&path)?;
        Ok(self.files.insert((id, first), file))
    }
}

/// The room that a segment's header names, when the header's checksum fits that name.
pub(super) fn true_name(file: &impl DiskFile) -> Option<String> {
    let mut window = vec![0; record::FRAMING_BYTES];
    read_full(file, &mut window, 0).ok()?;
    let payload_bytes = record::payload_bytes(window.first_chunk()?)?;
    window.resize(record::FRAMING_BYTES + payload_bytes, 0);
    read_full(file, &mut window, 0).ok()?;
    let room = Header::parse(&window[record::FRAMING_BYTES..])?.room;
    let end = file.len().ok()?;
    let first = Scanner::new(file, record::seed(&room), 0..end, &mut Vec::new()).next().ok()?;
    matches!(first, Some(Line::Record { .. })).then_some(room)
}

pub(super) fn remove_if_there<D: Disk>(disk: &D, path: &Path) -> io::Result<()> {
    match disk.remove(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

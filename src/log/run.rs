//! Start and end of a run: the folder's lock, what an unclean end leaves behind, and the proof of a clean one.
//!
//! Owns: `lock`, `running`, `clean_runs`, and the list of closed rooms that are not durable yet. Must never know: records.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};

use super::disk::{Disk, DiskFile, FileSystem, is_full, read_full, write_full};
use super::name;
use super::room::{Folders, RoomLog, Wanted};
use super::store::{Store, io_error};
use super::sync::SYNC_EACH_FILES_MAX;
use super::types::{Epoch, StoreError};
use crate::clock::Now;

/// A line of `clean_runs`: 16 hex digits and a line feed.
const RUN_LINE_BYTES: usize = 17;
/// Closed rooms that are remembered because something in them, if only their closing, is not durable; about 100 bytes
/// each. With more, the end of the run syncs the whole file system.
const LOOSE_MAX: usize = 4096;

/// What was closed before all of it was durable.
pub(super) struct Loose {
    pub dir: PathBuf,
    /// The room's active segment.
    pub first: u64,
    /// How much of it is durable.
    pub durable_bytes: u64,
    pub folders: Folders,
}

impl Loose {
    /// Makes it durable. The file is opened anew: a closed room keeps no descriptor.
    pub fn sync<D: Disk>(&self, disk: &D) -> io::Result<()> {
        disk.open(&self.dir.join(name::segment(self.first)))?.sync_data()?;
        if self.folders >= Folders::Room {
            disk.sync_dir(&self.dir)?;
        }
        match self.dir.parent() {
            Some(parent) if self.folders == Folders::RoomAndParent => disk.sync_dir(parent),
            _ => Ok(()),
        }
    }
}

impl<D: Disk> Store<D> {
    /// Remembers a room that is being closed, if something in it is not durable.
    pub(super) fn note_loose(&mut self, dir: PathBuf, log: &RoomLog) {
        let Some(active) = log.active.as_ref().filter(|_| !log.is_durable()) else { return };
        if self.loose.len() >= LOOSE_MAX {
            self.loose_overflow = true;
            return;
        }
        // A batch that is out has taken the folders' entries over; if it fails, the run does not end cleanly.
        let (first, durable_bytes) = (active.first, active.durable_bytes);
        self.loose.push(Loose { dir, first, durable_bytes, folders: log.folders });
    }

    /// What is known of a room that was closed before all of it was durable, and is opened again.
    pub(super) fn take_loose(&mut self, dir: &Path) -> Option<Loose> {
        let at = self.loose.iter().position(|loose| loose.dir == dir)?;
        Some(self.loose.swap_remove(at))
    }

    /// Writes and syncs everything and marks the run as cleanly ended. The last batch must have been given back to
    /// `synced`. The store is of no use afterwards; drop it.
    ///
    /// Waits for this store's files only, not for what other programs have written, unless it has very many of them.
    ///
    /// # Errors
    /// `NotDurable` or `Io`: the next start will treat this run as one that crashed.
    pub fn shutdown(&mut self, now: Now) -> Result<(), StoreError> {
        if self.in_flight {
            return Err(StoreError::NotDurable);
        }
        let mut events = Vec::new();
        self.write_dirty(now, &mut events);
        self.want_all(now);
        // A room that has to roll first needs two rounds, one that waits for a descriptor more.
        while let Some(batch) = self.next_sync(Now { monotonic_ms: u64::MAX, ..now }) {
            self.synced(batch.run_at_end(), now, &mut events);
            self.write_dirty(now, &mut events);
        }
        for id in self.open_ids() {
            self.save_sidecar(id);
            self.write_closing(id);
            let room = &mut self.rooms[id as usize];
            if let Some(log) = room.log.take() {
                let dir = self.room_dir(&self.rooms[id as usize].name);
                self.note_loose(dir, &log);
                self.rooms[id as usize].log = Some(log);
            }
        }
        if self.failed || !self.dirty.is_empty() {
            return Err(StoreError::NotDurable);
        }
        self.sync_loose()?;
        self.append_clean_run().map_err(io_error(&self.options.dir.join("clean_runs")))?;
        let running = self.options.dir.join("running");
        self.disk.remove(&running).map_err(io_error(&running))
    }

    fn open_ids(&self) -> Vec<u32> {
        self.rooms.iter().map(|(id, _)| id as u32).collect()
    }

    /// Puts on the list what a policy would leave to the kernel.
    fn want_all(&mut self, now: Now) {
        for id in self.open_ids() {
            let is_read_only = self.rooms[id as usize].read_only;
            if self.log_mut(id).is_some_and(|log| !is_read_only && log.active.is_some() && !log.is_settled()) {
                self.want_sync(id, Wanted::Urgent, now);
            }
        }
    }

    /// Makes the closings durable, and what else was left in closed rooms.
    fn sync_loose(&mut self) -> Result<(), StoreError> {
        let loose = std::mem::take(&mut self.loose);
        if self.loose_overflow || loose.len() > SYNC_EACH_FILES_MAX {
            return self.file_system.sync().map_err(io_error(&self.rooms_dir));
        }
        loose.iter().try_for_each(|loose| loose.sync(&*self.disk).map_err(io_error(&loose.dir)))
    }

    fn append_clean_run(&self) -> io::Result<()> {
        let path = self.options.dir.join("clean_runs");
        let file = match self.disk.open(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.disk.create(&path)?,
            other => other?,
        };
        let line = format!("{}\n", Epoch(self.options.run_id));
        // A line torn by a power cut is overwritten.
        let end = file.len()? / RUN_LINE_BYTES as u64 * RUN_LINE_BYTES as u64;
        write_full(&file, line.as_bytes(), end).map_err(|(_, e)| e)?;
        file.sync_data()?;
        self.disk.sync_dir(&self.options.dir)
    }
}

/// Takes a data folder's lock, which lasts as long as the file that is given.
///
/// # Errors
/// `InUse` when another process has it, `Io` when there is no such folder or it cannot be used.
pub fn lock<D: Disk>(disk: &D, dir: &Path) -> Result<D::File, StoreError> {
    let path = dir.join("lock");
    let file = match disk.create(&path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => disk.open(&path),
        other => other,
    };
    let file = file.map_err(io_error(&path))?;
    match file.try_lock().map_err(io_error(&path))? {
        true => Ok(file),
        false => Err(StoreError::InUse { dir: dir.to_owned() }),
    }
}

/// The runs that ended cleanly. Lines that are torn or damaged name no run, so their rooms count as unclean.
pub(super) fn read_clean_runs<D: Disk>(disk: &D, dir: &Path) -> io::Result<HashSet<u64>> {
    let file = match disk.open(&dir.join("clean_runs")) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(HashSet::new()),
        other => other?,
    };
    let mut bytes = vec![0; usize::try_from(file.len()?).unwrap_or(usize::MAX)];
    read_full(&file, &mut bytes, 0)?;
    let lines = bytes.chunks_exact(RUN_LINE_BYTES).filter_map(|line| line.strip_suffix(b"\n"));
    let runs = lines.filter_map(|line| std::str::from_utf8(line).ok()?.parse::<Epoch>().ok());
    Ok(runs.map(|run| run.0).collect())
}

/// Begins a run; tells whether the one before it did not end. Then what it wrote may be in the page cache only: the
/// folders' entries and the list of clean runs are made durable here, each room when it is opened. (After a power cut
/// the page cache is gone, and with it perhaps the file that tells: then there is nothing to sync.)
pub(super) fn begin_run<D: Disk>(disk: &D, dir: &Path, run_id: u64, is_first: bool) -> Result<bool, StoreError> {
    let path = dir.join("running");
    let (file, is_unclean) = match disk.create(&path) {
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => (disk.open(&path), true),
        other => (other, false),
    };
    let file = file.map_err(io_error(&path))?;
    if is_unclean || is_first {
        let parent = dir.parent().filter(|parent| parent.components().next().is_some());
        for folder in [parent.unwrap_or(Path::new(".")), dir, &dir.join("rooms")] {
            disk.sync_dir(folder).map_err(io_error(folder))?;
        }
    }
    let clean_runs = dir.join("clean_runs");
    if is_unclean && !is_first {
        disk.open(&clean_runs).and_then(|file| file.sync_data()).map_err(io_error(&clean_runs))?;
    }
    match write_full(&file, format!("{}\n", Epoch(run_id)).as_bytes(), 0) {
        // What the file says is for people; that it exists is what counts. A full disk must not keep the server down.
        Err((_, error)) if !is_full(&error) => Err(io_error(&path)(error)),
        _ => Ok(is_unclean),
    }
}

//! Looking at a data folder without touching it: no lock, no writing, whether a server uses it or it is a copy.
//!
//! Owns: the way from a folder to everything in it, damage included. Must never know: recovery, which changes files; how
//! findings are shown.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use super::control::{Control, Header};
use super::disk::{Disk, DiskFile, RealDisk};
use super::index::{Index, Sidecar};
use super::scan::{FIND_CHUNK_BYTES, Line, SCAN_CHUNK_BYTES, Scanner};
use super::store::{io_error, true_name};
use super::types::{Epoch, StoreError};
use super::{name, record};

/// Bytes from the end of a room in which its last record is looked for at first.
const END_BYTES: u64 = 16 * 1024;

/// A data folder, read only.
pub struct Inspector {
    rooms_dir: PathBuf,
}

/// A room's files as they were when it was looked up.
#[derive(Clone, Debug)]
pub struct RoomFiles {
    /// The room's name.
    pub room: String,
    /// Its folder.
    pub dir: PathBuf,
    /// Its segments, ascending.
    pub segments: Vec<SegmentFile>,
}

/// A segment's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFile {
    /// The sequence in its name.
    pub first: u64,
    /// Its size.
    pub bytes: u64,
}

/// Where a room stands, as far as its files tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The first sequence that retention has left.
    pub floor: u64,
    /// The last sequence in the files; a server with `--fsync always` may not have shown it yet.
    pub head: u64,
    /// The present epoch; `None` when the last header is unreadable.
    pub epoch: Option<Epoch>,
    /// Earlier epochs with their last sequences, oldest first.
    pub old_epochs: Vec<(Epoch, u64)>,
    /// Bytes in segments.
    pub bytes: u64,
}

/// The end of a room's log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// The first sequence that retention has left.
    pub floor: u64,
    /// The last sequence in the files; a server with `--fsync always` may not have shown it yet.
    pub head: u64,
    /// The present epoch; `None` when the last header is unreadable.
    pub epoch: Option<Epoch>,
    /// The payload of the last record that is there; empty when there is none in the last segment.
    pub last: Vec<u8>,
}

/// What stands in a room's files, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A message.
    Message {
        /// Its number.
        sequence: u64,
        /// Where its payload is in the batch.
        payload: Range<usize>,
    },
    /// Bytes that are no record in their place.
    Damage {
        /// The segment's file.
        segment: u64,
        /// Where they begin in it.
        offset: u64,
        /// How many.
        bytes: u64,
        /// They are the last bytes of the last segment: a write that was torn, or is under way. Nobody was shown them.
        is_tail: bool,
    },
    /// Sequences, both ends included, of which there is nothing.
    Lost {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
        /// A repair has written it down.
        is_known: bool,
    },
}

/// A part of what is in a room. Made once and reused.
#[derive(Debug, Default)]
pub struct Batch {
    window: Vec<u8>,
    /// In order.
    pub found: Vec<Found>,
}

impl Batch {
    /// The payload of a message of this batch.
    pub fn payload(&self, range: &Range<usize>) -> &[u8] {
        &self.window[range.clone()]
    }
}

impl Inspector {
    /// A data folder, or a copy of one.
    ///
    /// # Errors
    /// `Io` when it is none, or cannot be read.
    pub fn open(dir: &Path) -> Result<Inspector, StoreError> {
        let rooms_dir = dir.join("rooms");
        std::fs::read_dir(&rooms_dir).map_err(io_error(&rooms_dir))?;
        Ok(Inspector { rooms_dir })
    }

    /// All rooms that have segments, by name.
    ///
    /// # Errors
    /// `Io` when a folder cannot be listed.
    pub fn rooms(&self) -> Result<Vec<RoomFiles>, StoreError> {
        let folders = RealDisk.list(&self.rooms_dir).map_err(io_error(&self.rooms_dir))?;
        let mut rooms = Vec::new();
        for folder in folders {
            let dir = self.rooms_dir.join(&folder);
            let segments = segments(&dir).map_err(io_error(&dir))?;
            let room = name::room(&folder).or_else(|| name_inside(&dir, &segments));
            rooms.extend(room.filter(|_| !segments.is_empty()).map(|room| RoomFiles { room, dir, segments }));
        }
        rooms.sort_unstable_by(|a, b| a.room.cmp(&b.room));
        Ok(rooms)
    }

    /// Names of rooms that have segments, in the order of their bytes: those behind `after`, at most `limit`. Lists the
    /// folder of rooms each time, and looks into those rooms only that it names.
    ///
    /// # Errors
    /// A folder cannot be listed.
    pub fn names_after(&self, after: Option<&str>, limit: usize) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for folder in RealDisk.list(&self.rooms_dir)? {
            let inside = || {
                let dir = self.rooms_dir.join(&folder);
                name_inside(&dir, &segments(&dir).ok()?)
            };
            let name = name::room(&folder).or_else(inside);
            names.extend(name.filter(|name| after.is_none_or(|after| name.as_str() > after)));
        }
        names.sort_unstable();
        let mut page = Vec::new();
        for name in names {
            if page.len() >= limit {
                break;
            }
            if !segments(&self.rooms_dir.join(name::folder(&name)))?.is_empty() {
                page.push(name);
            }
        }
        Ok(page)
    }

    /// One room; `None` when nothing of it is stored.
    ///
    /// # Errors
    /// `Io` when its folder cannot be listed.
    pub fn room(&self, room: &str) -> Result<Option<RoomFiles>, StoreError> {
        let dir = self.rooms_dir.join(name::folder(room));
        let segments = segments(&dir).map_err(io_error(&dir))?;
        Ok((!segments.is_empty()).then(|| RoomFiles { room: room.to_owned(), dir, segments }))
    }
}

fn segments(dir: &Path) -> io::Result<Vec<SegmentFile>> {
    let names = match RealDisk.list(dir) {
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => Vec::new(),
        names => names?,
    };
    let mut segments = Vec::new();
    for first in names.iter().filter_map(|name| name::segment_first(name)) {
        match RealDisk.len(&dir.join(name::segment(first))) {
            // Retention may take a segment at any moment.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            bytes => segments.push(SegmentFile { first, bytes: bytes? }),
        }
    }
    segments.sort_unstable_by_key(|segment| segment.first);
    Ok(segments)
}

fn name_inside(dir: &Path, segments: &[SegmentFile]) -> Option<String> {
    segments.iter().find_map(|segment| true_name(&File::open(dir.join(name::segment(segment.first))).ok()?))
}

impl RoomFiles {
    /// The path of a segment.
    pub fn path(&self, first: u64) -> PathBuf {
        self.dir.join(name::segment(first))
    }

    /// Where the room stands. Reads headers and the end of the last segment.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn summary(&self) -> io::Result<Summary> {
        let (Some(first), Some(last)) = (self.segments.first(), self.segments.last()) else {
            return Ok(Summary { floor: 1, head: 0, epoch: None, old_epochs: Vec::new(), bytes: 0 });
        };
        let header = header(&self.path(last.first), record::seed(&self.room))?;
        let (epoch, old_epochs) = header.map_or((None, Vec::new()), |header| (Some(header.epoch), header.epochs));
        let bytes = self.segments.iter().map(|segment| segment.bytes).sum();
        Ok(Summary { floor: first.first, head: self.head()?, epoch, old_epochs, bytes })
    }

    fn head(&self) -> io::Result<u64> {
        let Some(last) = self.segments.last() else { return Ok(0) };
        let sidecar = std::fs::read(self.dir.join(name::sidecar(last.first))).ok();
        let sidecar = sidecar.and_then(|b| Sidecar::decode(&b, record::seed(&self.room), last.first, last.bytes));
        let mut walk = Walk::new(self.clone(), last.first);
        if let Some(Sidecar { covered_bytes, last, .. }) = sidecar {
            (walk.offset, walk.last) = (covered_bytes, last);
        }
        let mut batch = Batch::default();
        while walk.next(&mut batch)? {}
        Ok(walk.last)
    }

    /// Where the room ends, and its last record: reads a header and the last bytes of the last segment. Good beside a
    /// server that writes to it.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn stand(&self) -> io::Result<Stand> {
        let (Some(first), Some(segment)) = (self.segments.first(), self.segments.last()) else {
            return Ok(Stand { floor: 1, head: 0, epoch: None, last: Vec::new() });
        };
        let (path, seed) = (self.path(segment.first), record::seed(&self.room));
        let epoch = header(&path, seed)?.map(|header| header.epoch);
        let mut stand = Stand { floor: first.first, head: segment.first - 1, epoch, last: Vec::new() };
        let (file, mut window, mut bytes) = (File::open(&path)?, Vec::new(), END_BYTES);
        // What the first line is cut off of is no record; a longer look finds it, if nothing else is there.
        loop {
            let start = segment.bytes.saturating_sub(bytes);
            let mut scanner = Scanner::new(&file, seed, start..segment.bytes, &mut window);
            while let Some(line) = scanner.next()? {
                let Line::Record { sequence, payload, .. } = line else { continue };
                stand.head = stand.head.max(sequence);
                if !scanner.is_control(&payload) {
                    stand.last = scanner.payload(&payload).to_vec();
                }
            }
            if start == 0 || !stand.last.is_empty() {
                return Ok(stand);
            }
            bytes = bytes.saturating_mul(8);
        }
    }

    /// Everything from the segment on in which `sequence` would be.
    pub fn walk_from(&self, sequence: u64) -> Walk {
        let at = self.segments.partition_point(|segment| segment.first <= sequence).saturating_sub(1);
        Walk::new(self.clone(), self.segments.get(at).map_or(1, |segment| segment.first))
    }
}

/// A segment's header, if it is readable.
pub(super) fn header(path: &Path, seed: u32) -> io::Result<Option<Header>> {
    let file = File::open(path)?;
    let (mut window, len) = (Vec::new(), DiskFile::len(&file)?);
    let mut scanner = Scanner::new(&file, seed, 0..len, &mut window);
    Ok(match scanner.next()? {
        Some(Line::Record { payload, .. }) => Header::parse(scanner.payload(&payload)),
        _ => None,
    })
}

/// Finds single records of a room.
pub struct Lookup {
    files: RoomFiles,
    /// Of segments that were looked into, with their first sequences.
    indexes: Vec<(u64, Index)>,
}

impl Lookup {
    /// A lookup in these files.
    pub fn new(files: &RoomFiles) -> Lookup {
        Lookup { files: files.clone(), indexes: Vec::new() }
    }

    /// The payload of a record; `None` when it is not there.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn record(&mut self, sequence: u64) -> io::Result<Option<Vec<u8>>> {
        let at = self.files.segments.partition_point(|segment| segment.first <= sequence);
        let Some(&SegmentFile { first, bytes }) = self.files.segments.get(at.wrapping_sub(1)) else { return Ok(None) };
        let (seed, file) = (record::seed(&self.files.room), File::open(self.files.path(first))?);
        let known = self.indexes.iter().position(|&(known, _)| known == first);
        let known = match known {
            Some(known) => known,
            None => {
                self.indexes.push((first, super::read::index_of(&file, seed, first, bytes)?.0));
                self.indexes.len() - 1
            }
        };
        let start = self.indexes[known].1.find(sequence).map_or(0, |(_, offset)| offset);
        let mut window = Vec::new();
        let mut scanner = Scanner::new(&file, seed, start..bytes, &mut window).in_chunks_of(FIND_CHUNK_BYTES);
        while let Some(line) = scanner.next()? {
            if let Line::Record { sequence: found, payload, .. } = line
                && found >= sequence
                && !scanner.is_control(&payload)
            {
                return Ok((found == sequence).then(|| scanner.payload(&payload).to_vec()));
            }
        }
        Ok(None)
    }
}

/// A walk over a room's files, batch by batch.
pub struct Walk {
    files: RoomFiles,
    /// Which segment is next, or under way.
    at: usize,
    file: Option<File>,
    /// Where the next batch begins in it.
    offset: u64,
    /// The last sequence found, or known to be lost.
    last: u64,
}

impl Walk {
    fn new(files: RoomFiles, first: u64) -> Walk {
        let at = files.segments.partition_point(|segment| segment.first < first);
        Walk { files, at, file: None, offset: 0, last: first - 1 }
    }

    /// Reads on; `false` at the end.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn next(&mut self, batch: &mut Batch) -> io::Result<bool> {
        batch.found.clear();
        let Some(&SegmentFile { first, .. }) = self.files.segments.get(self.at) else { return Ok(false) };
        let file = match self.file.take() {
            Some(file) => file,
            None => match File::open(self.files.path(first)) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    self.at += 1; // retention took it meanwhile
                    return Ok(true);
                }
                file => file?,
            },
        };
        if self.offset == 0 {
            self.lose_until(first, false, &mut batch.found);
        }
        // Not more than there was at the start: a walk ends although a server writes on.
        let end = self.files.segments[self.at].bytes;
        self.scan(&file, first, end, batch)?;
        self.file = (self.offset < end).then_some(file);
        if self.file.is_none() {
            (self.at, self.offset) = (self.at + 1, 0);
        }
        Ok(true)
    }

    fn scan(&mut self, file: &File, first: u64, end: u64, batch: &mut Batch) -> io::Result<()> {
        let (start, seed) = (self.offset, record::seed(&self.files.room));
        let is_last = self.at + 1 == self.files.segments.len();
        let Batch { window, found } = batch;
        let mut scanner = Scanner::keeping(file, seed, start..end, window, 0, SCAN_CHUNK_BYTES);
        while scanner.offset() < start + SCAN_CHUNK_BYTES as u64 {
            let Some(line) = scanner.next()? else {
                self.offset = end;
                return Ok(());
            };
            let next = scanner.offset();
            match line {
                Line::Record { sequence, payload, .. } if scanner.is_control(&payload) && sequence >= self.last => {
                    let lost = match Control::parse(scanner.payload(&payload)) {
                        Some(Control::Lost { from, .. }) => Some(from),
                        _ => None,
                    };
                    self.lose_until(lost.unwrap_or(sequence + 1), false, found);
                    self.lose_until(sequence + 1, true, found);
                }
                Line::Record { sequence, payload, .. } if sequence > self.last => {
                    self.lose_until(sequence, false, found);
                    self.last = sequence;
                    found.push(Found::Message { sequence, payload });
                }
                Line::Record { offset, .. } | Line::Damage { offset, .. } => {
                    let is_tail = is_last && next >= end;
                    note_damage(found, first, offset, next - offset, is_tail);
                }
            }
            self.offset = next;
        }
        Ok(())
    }

    /// Notes what is missing before `sequence`.
    fn lose_until(&mut self, sequence: u64, is_known: bool, found: &mut Vec<Found>) {
        if sequence > self.last + 1 {
            found.push(Found::Lost { from: self.last + 1, to: sequence - 1, is_known });
            self.last = sequence - 1;
        }
    }
}

/// Neighbouring damaged lines are one damage.
fn note_damage(found: &mut Vec<Found>, segment: u64, offset: u64, bytes: u64, is_tail: bool) {
    match found.last_mut() {
        Some(Found::Damage { segment: before, offset: start, bytes: so_far, is_tail: tail })
            if *before == segment && *start + *so_far == offset =>
        {
            (*so_far, *tail) = (*so_far + bytes, is_tail);
        }
        _ => found.push(Found::Damage { segment, offset, bytes, is_tail }),
    }
}

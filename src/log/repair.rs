//! Repair: damaged segments are written anew without what is unreadable, and a new epoch begins.
//!
//! Owns: the rewriting. Must never know: how anybody is told. The damaged files stay beside the new ones.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use super::control::{Control, Header};
use super::disk::{Disk, DiskFile, RealDisk, write_full};
use super::inspect::{Batch, Found, RoomFiles, header};
use super::scan::{Line, Scanner};
use super::store::{Store, remove_if_there};
use super::types::{Epoch, LogId};
use super::{name, record};
use crate::clock::Now;

/// Bytes gathered before they are written.
const CHUNK_BYTES: usize = 1024 * 1024;

/// What is wrong with a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Unreadable bytes: segment, offset, how many. The torn end of the last segment is not among them: the next opening
    /// cuts it off.
    pub spots: Vec<(u64, u64, u64)>,
    /// Sequences that are lost, both ends included, and not written down as such.
    pub lost: Vec<(u64, u64)>,
    /// Sequences that an earlier repair has written down as lost.
    pub known: Vec<(u64, u64)>,
    /// The torn end of the last segment, or a write under way.
    pub tail: Option<(u64, u64, u64)>,
    /// Messages that are there.
    pub messages: u64,
}

impl Damage {
    /// Reads everything that is in a room, every checksum.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn find(files: &RoomFiles) -> io::Result<Damage> {
        let (mut damage, mut batch, mut walk) = (Damage::default(), Batch::default(), files.walk_from(0));
        while walk.next(&mut batch)? {
            for found in &batch.found {
                match *found {
                    Found::Message { .. } => damage.messages += 1,
                    Found::Damage { segment, offset, bytes, is_tail: true } => {
                        damage.tail = Some((segment, offset, bytes))
                    }
                    Found::Damage { segment, offset, bytes, .. } => damage.spots.push((segment, offset, bytes)),
                    Found::Lost { from, to, is_known: true } => damage.known.push((from, to)),
                    Found::Lost { from, to, .. } => damage.lost.push((from, to)),
                }
            }
        }
        Ok(damage)
    }

    /// Whether there is anything to repair.
    pub fn is_none(&self) -> bool {
        self.spots.is_empty() && self.lost.is_empty()
    }
}

/// What a repair has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repaired {
    /// Where the damaged segments are kept.
    pub kept: Vec<PathBuf>,
    /// The epoch that has begun.
    pub epoch: Epoch,
}

impl Store<RealDisk> {
    /// Writes down what is lost in a room that is not open, and begins the epoch `fresh`. Each segment is replaced in one
    /// durable step; done again after a crash, a repair goes on where it was.
    ///
    /// # Errors
    /// What the operating system says; every file is still there then, under its name or beside it.
    pub fn repair_room(&mut self, files: &RoomFiles, damage: &Damage, fresh: u64, now: Now) -> io::Result<Repaired> {
        let of = |sequence: u64| {
            let at = files.segments.partition_point(|segment| segment.first <= sequence);
            files.segments.get(at.saturating_sub(1)).map(|segment| segment.first)
        };
        let spots = damage.spots.iter().map(|&(segment, ..)| segment);
        let damaged: BTreeSet<u64> = spots.chain(damage.lost.iter().filter_map(|&(from, _)| of(from))).collect();
        let mut kept = Vec::new();
        // A last segment that is written anew counts as a copy, so an opening after a crash begins an epoch by itself. One
        // that stays does not: there the epoch comes first, while the damage that asks for it is still to be found.
        let epoch_first = files.segments.last().is_some_and(|last| !damaged.contains(&last.first));
        let begun = epoch_first.then(|| self.begin_epoch_of(&files.room, fresh, now)).transpose()?;
        for &first in &damaged {
            kept.push(self.rewrite(files, first, fresh, now)?);
        }
        let epoch = begun.map_or_else(|| self.begin_epoch_of(&files.room, fresh, now), Ok)?;
        Ok(Repaired { kept, epoch })
    }

    fn begin_epoch_of(&mut self, room: &str, fresh: u64, now: Now) -> io::Result<Epoch> {
        let opened = self.recover_room(room, Epoch(fresh), now, true)?;
        if opened.read_only {
            return Err(io::Error::other("the new epoch could not be written"));
        }
        let id = LogId(self.rooms.insert(opened) as u32);
        let epoch = self.position(id).epoch;
        self.close_room(id);
        Ok(epoch)
    }

    /// Keeps a segment beside, and puts one without damage in its place.
    fn rewrite(&self, files: &RoomFiles, first: u64, fresh: u64, now: Now) -> io::Result<PathBuf> {
        let (path, beside) = (files.path(first), self.free_path(&files.dir, |n| name::damaged(first, n))?);
        std::fs::copy(&path, &beside)?;
        File::open(&beside)?.sync_data()?;
        let temporary = files.dir.join(name::segment(first) + ".new");
        remove_if_there(&*self.disk, &temporary)?;
        let new = self.disk.create(&temporary)?;
        let seed = record::seed(&files.room);
        let out = match header(&path, seed)? {
            Some(_) => Vec::new(),
            None => new_header(files, first, Epoch(!fresh), now)?.line(seed),
        };
        Rewrite { files, first, out, written: 0, last: first - 1, new: &new }.run(&File::open(&path)?)?;
        new.sync_data()?;
        remove_if_there(&*self.disk, &files.dir.join(name::sidecar(first)))?;
        self.disk.sync_dir(&files.dir)?;
        self.disk.rename(&temporary, &path)?;
        self.disk.sync_dir(&files.dir)?;
        Ok(beside)
    }
}

/// A header in place of one that is unreadable. A later segment's tells which epoch it was. Where there is none it is
/// `unknown`, a name that no client has: the epoch before may have ended with its segment, and a position of it that is
/// honoured too far would hide messages.
fn new_header(files: &RoomFiles, first: u64, unknown: Epoch, now: Now) -> io::Result<Header> {
    let seed = record::seed(&files.room);
    let (before, after) = files.segments.split_at(files.segments.partition_point(|segment| segment.first < first));
    for later in after.iter().filter(|segment| segment.first > first) {
        if let Some(Header { epoch, mut epochs, created_ms, .. }) = header(&files.path(later.first), seed)? {
            let ended = epochs.partition_point(|&(_, last)| last < first);
            let epoch = epochs.get(ended).map_or(epoch, |&(epoch, _)| epoch);
            epochs.truncate(ended);
            let mut fresh = Header::new(&files.room, epoch, first, created_ms);
            fresh.epochs = epochs;
            return Ok(fresh);
        }
    }
    let mut end = first - 1;
    for earlier in before.iter().rev() {
        if let Some(Header { epoch, mut epochs, created_ms, .. }) = header(&files.path(earlier.first), seed)? {
            epochs.push((epoch, end));
            let mut fresh = Header::new(&files.room, unknown, first, created_ms);
            fresh.epochs = epochs;
            return Ok(fresh);
        }
        end = earlier.first - 1;
    }
    Ok(Header::new(&files.room, unknown, first, now.unix_ms))
}

/// One segment on its way to a new file.
struct Rewrite<'a> {
    files: &'a RoomFiles,
    first: u64,
    out: Vec<u8>,
    written: u64,
    last: u64,
    new: &'a File,
}

impl Rewrite<'_> {
    fn run(mut self, old: &File) -> io::Result<()> {
        let seed = record::seed(&self.files.room);
        let mut window = Vec::new();
        let mut scanner = Scanner::new(old, seed, 0..DiskFile::len(old)?, &mut window);
        while let Some(line) = scanner.next()? {
            let Line::Record { sequence, barrier, payload, amends, .. } = line else { continue };
            let is_control = scanner.is_control(&payload);
            let before = if is_control { sequence } else { sequence - 1 };
            if before < self.last {
                continue;
            }
            match Control::parse(scanner.payload(&payload)).filter(|_| is_control) {
                Some(Control::Lost { from, .. }) => self.lose_through(from.saturating_sub(1), seed),
                _ => self.lose_through(before, seed),
            }
            self.last = sequence;
            let (payload, amends) = (scanner.payload(&payload), scanner.payload(&amends));
            record::encode_amending(&mut self.out, seed, sequence, barrier, payload, amends);
            if self.out.len() >= CHUNK_BYTES {
                self.flush()?;
            }
        }
        let next = self.files.segments.iter().find(|segment| segment.first > self.first);
        self.lose_through(next.map_or(self.last, |next| next.first - 1), seed);
        self.flush()
    }

    fn lose_through(&mut self, to: u64, seed: u32) {
        if to > self.last {
            let lost = Control::Lost { from: self.last + 1, to };
            self.out.extend(lost.line(seed, to));
            self.last = to;
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        write_full(self.new, &self.out, self.written).map_err(|(_, error)| error)?;
        self.written += self.out.len() as u64;
        self.out.clear();
        Ok(())
    }
}

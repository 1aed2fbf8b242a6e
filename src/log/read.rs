//! Reading by position: every record's checksum is verified, damage becomes an explicit gap.
//!
//! Owns: the way from a sequence to the bytes. Must never know: what a payload means.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use super::control::Control;
use super::disk::{Disk, DiskFile};
use super::index::{Index, Sidecar};
use super::record;
use super::room::RoomLog;
use super::scan::{Line, Scanner};
use super::store::{SEALED_INDEXES_MAX, Store};
use super::types::{LogError, LogId};
use crate::limits::INDEX_STRIDE_BYTES;

/// Largest single read, in bytes; larger requests take several.
const CHUNK_BYTES_MAX: usize = 1024 * 1024;

/// What one read found. Made once and reused: its memory is, and stays, that of the largest read.
///
/// Invariant: `spans` point into `bytes` and ascend by sequence.
#[derive(Debug, Default)]
pub struct ReadBuffer {
    bytes: Vec<u8>,
    filled: usize,
    spans: Vec<(u64, Range<usize>)>,
    payload_bytes: usize,
    /// The gap is damage that no repair has written down.
    is_damage: bool,
    /// The sequence to continue from; what asked for less than `head` and got nothing is beyond the head.
    pub next: u64,
    /// Sequences, both ends included, that are damaged beyond reading. Records before and after may be in the same read.
    pub gap: Option<(u64, u64)>,
}

/// How much a read may return; the first record is returned whatever its size.
#[derive(Clone, Copy)]
struct Bounds {
    records_max: usize,
    bytes_max: usize,
}

impl ReadBuffer {
    /// The records, ascending: sequence and payload.
    pub fn records(&self) -> impl ExactSizeIterator<Item = (u64, &[u8])> {
        self.spans.iter().map(|(sequence, span)| (*sequence, &self.bytes[span.clone()]))
    }

    /// Sum of the payloads' sizes, in bytes.
    pub fn payload_bytes(&self) -> usize {
        self.payload_bytes
    }

    /// The sequence of the record with this index.
    ///
    /// # Panics
    /// If there is none.
    pub fn sequence(&self, index: usize) -> u64 {
        self.spans[index].0
    }

    /// The payload of the record with this index.
    ///
    /// # Panics
    /// If there is none.
    pub fn payload(&self, index: usize) -> &[u8] {
        &self.bytes[self.spans[index].1.clone()]
    }

    /// Gives the record with this index another payload.
    ///
    /// # Panics
    /// If there is none.
    pub fn replace(&mut self, index: usize, payload: &[u8]) {
        let span = &mut self.spans[index].1;
        self.payload_bytes = self.payload_bytes - span.len() + payload.len();
        self.bytes.truncate(self.filled);
        self.bytes.extend_from_slice(payload);
        *span = self.filled..self.bytes.len();
        self.filled = self.bytes.len();
    }

    /// Drops all records but the first few; what follows is for the next read.
    pub fn truncate(&mut self, records: usize) {
        if let Some((next, _)) = self.spans.get(records) {
            self.next = *next;
            self.gap = self.gap.filter(|(from, _)| from < next);
            self.payload_bytes -= self.spans[records..].iter().map(|(_, span)| span.len()).sum::<usize>();
            self.spans.truncate(records);
        }
    }

    /// Drops what is beyond `last`; that is for the next read. Where records are lost, as many as there are numbers are more.
    pub fn end_at(&mut self, last: u64) {
        self.truncate(self.spans.partition_point(|(sequence, _)| *sequence <= last));
        if self.next > last.saturating_add(1) {
            self.next = last + 1;
            self.gap = self.gap.filter(|(from, _)| *from <= last).map(|(from, to)| (from, to.min(last)));
        }
    }

    /// Tells that from `from` on to before `floor`, with which the read began, there is nothing any more. A gap further on is
    /// left to the next read.
    pub fn lacks(&mut self, from: u64, floor: u64) {
        let to = match self.gap {
            Some((start, end)) if start == floor => end,
            Some((start, _)) => {
                self.end_at(start - 1);
                floor - 1
            }
            None => floor - 1,
        };
        self.gap = Some((from, to));
    }

    fn reset(&mut self, next: u64) {
        self.spans.clear();
        (self.filled, self.payload_bytes, self.next) = (0, 0, next);
        (self.gap, self.is_damage) = (None, false);
    }

    /// Notes that `next..=to` is lost; a second gap is left to the next read.
    fn skip_to(&mut self, sequence: u64, known: Option<(u64, u64)>) -> bool {
        let fits = self.gap.is_none();
        if fits {
            self.gap = Some((self.next, sequence - 1));
            self.is_damage = !known.is_some_and(|(from, to)| from <= self.next && sequence - 1 <= to);
            self.next = sequence;
        }
        fits
    }

    fn has_space(&self, bounds: Bounds, payload: &Range<usize>) -> bool {
        self.spans.is_empty()
            || (self.spans.len() < bounds.records_max && self.payload_bytes + payload.len() <= bounds.bytes_max)
    }
}

impl<D: Disk> Store<D> {
    /// Reads visible records from `from` on (or from the floor, if that is later), ascending, at most `records_max` and
    /// at most `bytes_max` bytes of payload, but at least one record if there is one.
    ///
    /// # Errors
    /// `Unavailable` when the operating system cannot read; damaged bytes are no error but a gap.
    pub fn read(
        &mut self,
        id: LogId,
        from: u64,
        records_max: usize,
        bytes_max: usize,
        out: &mut ReadBuffer,
    ) -> Result<(), LogError> {
        self.read_files(id, from, records_max, bytes_max, out)?;
        self.replace(id, self.position(id).head, out);
        Ok(())
    }

    /// The same, as the files have it.
    pub(super) fn read_files(
        &mut self,
        id: LogId,
        from: u64,
        records_max: usize,
        bytes_max: usize,
        out: &mut ReadBuffer,
    ) -> Result<(), LogError> {
        let position = self.position(id);
        out.reset(from.max(position.floor));
        let bounds = Bounds { records_max, bytes_max };
        while out.next <= position.head {
            let Some(log) = self.rooms[id.index()].log.as_deref() else { break };
            let Some((first, range)) = log.segment_of(out.next) else { break };
            let until = range.end.min(position.head + 1);
            let goes_on = self.read_segment(id.0, first, until, bounds, out).map_err(|error| {
                ::log::error!("room {:?} cannot be read at {}: {error}", self.rooms[id.index()].name, out.next);
                LogError::Unavailable
            })?;
            if !goes_on || out.spans.len() >= records_max || out.payload_bytes >= bytes_max {
                break;
            }
        }
        if let Some((from, to)) = out.gap.filter(|_| out.is_damage) {
            let room = self.rooms[id.index()].name.clone();
            self.note_damage(&room, from, to + 1, format_args!("its files"));
        }
        Ok(())
    }

    /// Counts a room as damaged and tells the operator, once.
    pub(super) fn note_damage(&mut self, room: &str, from: u64, behind: u64, place: std::fmt::Arguments<'_>) {
        if self.damaged_rooms.insert(room.into()) {
            let what = match behind.saturating_sub(from) {
                0 => "no message is lost".to_owned(),
                1 => format!("message {from} is lost"),
                _ => format!("messages {from} to {} are lost", behind - 1),
            };
            ::log::error!(
                "room {room:?}: damage in {place}: {what}; the rest can be used, and readers are told of the gap. \
                 To see all: roomlog log verify; to write it down: stop the server, then roomlog log repair"
            );
        }
    }

    /// Reads records below `until` from one segment; `false` when `out` takes no more.
    fn read_segment(
        &mut self,
        id: u32,
        first: u64,
        until: u64,
        bounds: Bounds,
        out: &mut ReadBuffer,
    ) -> io::Result<bool> {
        let file = match self.file(id, first) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(out.skip_to(until, None)),
            other => other?,
        };
        let end = match self.log_mut(id).and_then(|log| log.active.as_ref()).filter(|active| active.first == first) {
            Some(active) => active.bytes,
            None => file.len()?,
        };
        let seed = self.rooms[id as usize].log.as_ref().map_or(0, |log| log.seed);
        let hint = self.find(id, first, out.next, &file)?;
        let filled = out.filled;
        if let Some((sequence, offset)) = hint {
            if let Some(goes_on) = collect(&*file, seed, offset..end, Some(sequence), until, bounds, out)? {
                return Ok(goes_on);
            }
            // The index led to something else. Without it the segment tells.
            out.filled = filled;
        }
        Ok(collect(&*file, seed, 0..end, None, until, bounds, out)?.unwrap_or(true))
    }

    /// Where to start looking for `sequence` in a segment: an indexed sequence at or before it, and its offset.
    pub(super) fn find(
        &mut self,
        id: u32,
        first: u64,
        sequence: u64,
        file: &Arc<D::File>,
    ) -> io::Result<Option<(u64, u64)>> {
        let active = self.rooms[id as usize].log.as_deref().and_then(|log: &RoomLog| log.active.as_ref());
        if let Some(active) = active.filter(|active| active.first == first) {
            return Ok(active.index.find(sequence));
        }
        let cached = self.sealed_indexes.iter().position(|(key, _)| *key == (id, first));
        let index = match cached {
            Some(at) => self.sealed_indexes.remove(at).1,
            None => self.sealed_index(id, first, file)?,
        };
        let found = index.find(sequence);
        if self.sealed_indexes.len() >= SEALED_INDEXES_MAX {
            self.sealed_indexes.remove(0);
        }
        self.sealed_indexes.push(((id, first), index));
        Ok(found)
    }

    /// The index of a sealed segment from its sidecar, or made anew (and written) when that is missing, wrong or short.
    fn sealed_index(&self, id: u32, first: u64, file: &Arc<D::File>) -> io::Result<Index> {
        let room = &self.rooms[id as usize];
        let len = file.len()?;
        if let Some(sidecar) = self.read_sidecar(&room.name, first, len).filter(|s| s.covered_bytes == len) {
            return Ok(sidecar.index);
        }
        let (index, last) = index_of(&**file, record::seed(&room.name), first, len)?;
        let sidecar = Sidecar { covered_bytes: len, last, mark: None, index };
        self.write_sidecar(&room.name, first, &sidecar);
        Ok(sidecar.index)
    }
}

/// The index of a segment's first bytes, and the last sequence in there.
pub(super) fn index_of(file: &impl DiskFile, seed: u32, first: u64, bytes: u64) -> io::Result<(Index, u64)> {
    let (mut index, mut last, mut window) = (Index::new(first), first - 1, Vec::new());
    let mut scanner = Scanner::new(file, seed, 0..bytes, &mut window);
    while let Some(line) = scanner.next()? {
        if let Line::Record { offset, sequence, payload, .. } = line
            && sequence > last
            && !scanner.is_control(&payload)
        {
            index.note(sequence, offset);
            last = sequence;
        }
    }
    Ok((index, last))
}

/// Adds the records from `out.next` to before `until`. `expected` is the sequence that must stand at the range's start;
/// `None` when another stands there. Otherwise tells whether `out` takes more.
fn collect<F: DiskFile>(
    file: &F,
    seed: u32,
    range: Range<u64>,
    mut expected: Option<u64>,
    until: u64,
    bounds: Bounds,
    out: &mut ReadBuffer,
) -> io::Result<Option<bool>> {
    let mut bytes = std::mem::take(&mut out.bytes);
    // A fifth more for framing, and what the index may be too early.
    let chunk_bytes = bounds.bytes_max.saturating_sub(out.payload_bytes).min(CHUNK_BYTES_MAX);
    let chunk_bytes = chunk_bytes + chunk_bytes / 5 + INDEX_STRIDE_BYTES as usize;
    let mut scanner = Scanner::keeping(file, seed, range, &mut bytes, out.filled, chunk_bytes);
    let mut known = None;
    let result = loop {
        let line = match scanner.next() {
            Ok(Some(line)) => line,
            Ok(None) => break Ok(Some(out.skip_to_end(until, known))),
            Err(error) => break Err(error),
        };
        let found = match &line {
            Line::Record { sequence, payload, .. } if !scanner.is_control(payload) => {
                Some((*sequence, payload.clone()))
            }
            Line::Record { payload, .. } => {
                if let Some(Control::Lost { from, to }) = Control::parse(scanner.payload(payload)) {
                    // Repairs after repairs leave several, side by side, where one gap is.
                    known = match known {
                        Some((start, end)) if from <= end + 1 => Some((start, to)),
                        _ => Some((from, to)),
                    };
                }
                None
            }
            Line::Damage { .. } => None,
        };
        if expected.is_some() && found.as_ref().map(|(sequence, _)| *sequence) != expected.take() {
            break Ok(None);
        }
        let Some((sequence, payload)) = found.filter(|(sequence, _)| *sequence >= out.next) else { continue };
        if sequence >= until {
            break Ok(Some(out.skip_to_end(until, known)));
        }
        if (sequence > out.next && !out.skip_to(sequence, known)) || !out.has_space(bounds, &payload) {
            break Ok(Some(false));
        }
        out.payload_bytes += payload.len();
        out.spans.push((sequence, payload));
        out.next = sequence + 1;
        if out.next == until {
            break Ok(Some(true));
        }
    };
    out.filled = scanner.filled();
    out.bytes = bytes;
    result
}

impl ReadBuffer {
    /// The segment holds nothing more below `until`.
    fn skip_to_end(&mut self, until: u64, known: Option<(u64, u64)>) -> bool {
        self.next >= until || self.skip_to(until, known)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a read found: records of these sizes from these sequences on, and a gap.
    fn found(records: &[(u64, usize)], next: u64, gap: Option<(u64, u64)>) -> ReadBuffer {
        let mut buffer = ReadBuffer { next, gap, ..ReadBuffer::default() };
        for &(sequence, size) in records {
            let start = buffer.bytes.len();
            buffer.bytes.resize(start + size, b'x');
            buffer.spans.push((sequence, start..start + size));
            buffer.payload_bytes += size;
        }
        buffer.filled = buffer.bytes.len();
        buffer
    }

    fn sizes(buffer: &ReadBuffer) -> Vec<(u64, usize)> {
        buffer.records().map(|(sequence, payload)| (sequence, payload.len())).collect()
    }

    #[test]
    fn a_replaced_payload_counts_with_its_own_size() {
        let mut buffer = found(&[(3, 10), (4, 20)], 5, None);
        buffer.replace(0, b"four");
        assert_eq!((sizes(&buffer), buffer.payload_bytes()), (vec![(3, 4), (4, 20)], 24));
        buffer.replace(1, &[b'y'; 30]);
        assert_eq!((sizes(&buffer), buffer.payload_bytes()), (vec![(3, 4), (4, 30)], 34));
        assert_eq!((buffer.payload(0), buffer.payload(1), buffer.sequence(1)), (&b"four"[..], &[b'y'; 30][..], 4));
    }

    #[test]
    fn what_is_dropped_is_left_to_the_next_read() {
        let all = || found(&[(3, 10), (4, 20), (8, 40)], 9, Some((5, 7)));
        let state = |buffer: &ReadBuffer| (sizes(buffer), buffer.payload_bytes(), buffer.next, buffer.gap);
        for (records, left) in [
            (3, (vec![(3, 10), (4, 20), (8, 40)], 70, 9, Some((5, 7)))),
            (2, (vec![(3, 10), (4, 20)], 30, 8, Some((5, 7)))),
            (1, (vec![(3, 10)], 10, 4, None)),
            (0, (vec![], 0, 3, None)),
        ] {
            let mut buffer = all();
            buffer.truncate(records);
            assert_eq!(state(&buffer), left);
        }
        for (last, left) in [
            (8, (vec![(3, 10), (4, 20), (8, 40)], 70, 9, Some((5, 7)))),
            (7, (vec![(3, 10), (4, 20)], 30, 8, Some((5, 7)))),
            (6, (vec![(3, 10), (4, 20)], 30, 7, Some((5, 6)))),
            (5, (vec![(3, 10), (4, 20)], 30, 6, Some((5, 5)))),
            (4, (vec![(3, 10), (4, 20)], 30, 5, None)),
        ] {
            let mut buffer = all();
            buffer.end_at(last);
            assert_eq!(state(&buffer), left, "{last}");
        }
    }

    #[test]
    fn what_is_lacking_at_the_start_is_one_gap_and_a_later_one_waits() {
        for (mut buffer, left) in [
            (found(&[(10, 1), (11, 1)], 12, None), (vec![10, 11], 12, Some((4, 9)))),
            (found(&[(13, 1)], 14, Some((10, 12))), (vec![13], 14, Some((4, 12)))),
            (found(&[(10, 1), (14, 1)], 15, Some((11, 13))), (vec![10], 11, Some((4, 9)))),
        ] {
            buffer.lacks(4, 10);
            let sequences: Vec<u64> = buffer.records().map(|(sequence, _)| sequence).collect();
            assert_eq!((sequences, buffer.next, buffer.gap), left);
        }
    }
}

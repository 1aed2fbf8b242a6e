//! The sparse index of one segment and its sidecar file.
//!
//! Owns: which offset to start from when looking for a sequence. Must never know: what stands there; whoever follows an
//! entry checks the record it finds, because an index is a hint.

use super::control::Mark;
use super::record;
use crate::limits::INDEX_STRIDE_BYTES;

const MAGIC: &[u8; 16] = b"roomlog index 1\n";
const FIXED_BYTES: usize = 16 + 5 * 8 + 4 + 4;
const ENTRY_BYTES: usize = 8;

/// Offsets of some records, about one per `INDEX_STRIDE_BYTES`; eight bytes each.
///
/// Invariant: both columns ascend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Index {
    first: u64,
    entries: Vec<(u32, u32)>,
}

impl Index {
    /// The index of an empty segment that begins with `first`.
    pub fn new(first: u64) -> Index {
        Index { first, entries: Vec::new() }
    }

    /// Notes that the record `sequence` stands at `offset`, if that is far enough from the last entry.
    pub fn note(&mut self, sequence: u64, offset: u64) {
        let last = self.entries.last().map_or(0, |&(_, offset)| u64::from(offset));
        let (Ok(delta), Ok(at)) = (u32::try_from(sequence - self.first), u32::try_from(offset)) else { return };
        if offset >= last + INDEX_STRIDE_BYTES {
            self.entries.push((delta, at));
        }
    }

    /// Notes the lines of a buffer that was written at `offset`; the first has the number `sequence`.
    pub fn note_lines(&mut self, lines: &[u8], sequence: u64, offset: u64) {
        self.note(sequence, offset);
        // Walking the lines pays only if a second entry may be due.
        if lines.len() as u64 > INDEX_STRIDE_BYTES {
            let (mut sequence, mut offset) = (sequence, offset);
            for size in record::line_sizes(lines) {
                self.note(sequence, offset);
                (sequence, offset) = (sequence + 1, offset + size as u64);
            }
        }
    }

    /// The last entry at or before `sequence`: its sequence and offset.
    pub fn find(&self, sequence: u64) -> Option<(u64, u64)> {
        let after = self.entries.partition_point(|&(delta, _)| self.first + u64::from(delta) <= sequence);
        let &(delta, offset) = self.entries.get(after.checked_sub(1)?)?;
        Some((self.first + u64::from(delta), u64::from(offset)))
    }

    /// Forgets everything from `offset` on.
    pub fn truncate(&mut self, offset: u64) {
        self.entries.retain(|&(_, at)| u64::from(at) < offset);
    }
}

/// What a sidecar file says about the first `covered_bytes` of its segment, all of which were durable when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sidecar {
    /// Where the index ends, in bytes from the segment's start.
    pub covered_bytes: u64,
    /// The last sequence in there.
    pub last: u64,
    /// The last run's mark in there.
    pub mark: Option<Mark>,
    /// The index.
    pub index: Index,
}

impl Sidecar {
    /// The file's bytes: little-endian numbers, a CRC-32 over room and content at the end.
    pub fn encode(&self, seed: u32) -> Vec<u8> {
        let mark = self.mark.unwrap_or(Mark { run: 0, boot: 0, volatile: false });
        let flags = u32::from(self.mark.is_some()) | u32::from(mark.volatile) << 1;
        let mut out = Vec::with_capacity(FIXED_BYTES + self.index.entries.len() * ENTRY_BYTES + 4);
        out.extend_from_slice(MAGIC);
        for number in [self.index.first, self.covered_bytes, self.last, mark.run, mark.boot] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&(self.index.entries.len() as u32).to_le_bytes());
        for &(delta, offset) in &self.index.entries {
            out.extend_from_slice(&delta.to_le_bytes());
            out.extend_from_slice(&offset.to_le_bytes());
        }
        let crc = checksum(&out, seed);
        out.extend_from_slice(&crc.to_le_bytes());
        out
    }

    /// Reads a sidecar of the segment `first`, whose file has `len` bytes; `None` when anything is wrong with it.
    pub fn decode(bytes: &[u8], seed: u32, first: u64, len: u64) -> Option<Sidecar> {
        let (body, crc) = bytes.split_last_chunk::<4>()?;
        if u32::from_le_bytes(*crc) != checksum(body, seed) || !body.starts_with(MAGIC) {
            return None;
        }
        let number = |at: usize| Some(u64::from_le_bytes(*body.get(16 + at * 8..)?.first_chunk()?));
        let small = |at: usize| Some(u32::from_le_bytes(*body.get(at..)?.first_chunk()?));
        let (flags, count) = (small(56)?, small(60)? as usize);
        let (entries, rest) = body.get(FIXED_BYTES..)?.as_chunks::<ENTRY_BYTES>();
        if number(0)? != first || number(1)? > len || entries.len() != count || !rest.is_empty() {
            return None;
        }
        let mark = Mark { run: number(3)?, boot: number(4)?, volatile: flags & 2 != 0 };
        let entries = entries.iter().map(|e| {
            let half = |at: usize| u32::from_le_bytes([e[at], e[at + 1], e[at + 2], e[at + 3]]);
            (half(0), half(4))
        });
        Some(Sidecar {
            covered_bytes: number(1)?,
            last: number(2)?,
            mark: (flags & 1 != 0).then_some(mark),
            index: Index { first, entries: entries.collect() },
        })
    }
}

fn checksum(bytes: &[u8], seed: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Index {
        let mut index = Index::new(100);
        for n in 0..100 {
            index.note(100 + n, 300 + n * 1000);
        }
        index
    }

    #[test]
    fn nearest_entry_before_is_found() {
        let index = sample();
        assert_eq!(index.find(100), None);
        assert_eq!(index.find(103), None);
        assert_eq!(index.find(104), Some((104, 4300)));
        assert_eq!(index.find(108), Some((104, 4300)));
        assert_eq!(index.find(u64::MAX), Some((199, 99_300)));
    }

    #[test]
    fn an_entry_is_at_least_a_stride_behind_the_last() {
        let mut index = Index::new(1);
        for (sequence, offset) in [(2, 4095), (3, 4096), (4, 8191), (5, 8192)] {
            index.note(sequence, offset);
        }
        assert_eq!(index.entries, [(2, 4096), (4, 8192)]);
    }

    #[test]
    fn what_does_not_fit_into_32_bits_is_not_noted() {
        let mut index = Index::new(1);
        index.note(2, 1 << 32);
        index.note(2 + (1 << 32), 5_000);
        assert_eq!(index.entries, []);
    }

    #[test]
    fn truncating_forgets_entries_from_the_offset_on() {
        let mut index = sample();
        index.truncate(99_300);
        assert_eq!(index.find(u64::MAX), Some((194, 94_300)));
        index.truncate(4_300);
        assert_eq!(index.find(u64::MAX), None);
    }

    #[test]
    fn long_writes_are_indexed_inside() {
        let mut lines = Vec::new();
        for n in 0..100 {
            record::encode(&mut lines, 0, 7 + n, false, &[b'x'; 965]);
        }
        let mut index = Index::new(1);
        index.note_lines(&lines, 7, 5000);
        assert_eq!(index.find(7), Some((7, 5000)));
        assert_eq!(index.find(12), Some((12, 10_000)));
        assert_eq!(index.find(106), Some((102, 100_000)));
        let mut short = Index::new(1);
        short.note_lines(&lines[..4000], 7, 5000);
        assert_eq!(short.entries, [(6, 5000)]);
    }

    #[test]
    fn sidecar_comes_back_and_every_flipped_bit_is_found() {
        let mark = Some(Mark { run: 1, boot: 2, volatile: true });
        let sidecar = Sidecar { covered_bytes: 100_300, last: 199, mark, index: sample() };
        let bytes = sidecar.encode(5);
        assert_eq!(Sidecar::decode(&bytes, 5, 100, 100_300), Some(sidecar));
        assert_eq!(Sidecar::decode(&bytes, 6, 100, 100_300), None, "another room");
        assert_eq!(Sidecar::decode(&bytes, 5, 101, 100_300), None, "another segment");
        assert_eq!(Sidecar::decode(&bytes, 5, 100, 100_299), None, "a shorter segment");
        for mark in [None, Some(Mark { run: 1, boot: 2, volatile: false })] {
            let other = Sidecar { covered_bytes: 0, last: 1, mark, index: Index::new(2) };
            assert_eq!(Sidecar::decode(&other.encode(5), 5, 2, 0), Some(other));
        }
        for bit in 0..bytes.len() * 8 {
            let mut bad = bytes.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Sidecar::decode(&bad, 5, 100, 100_300), None, "bit {bit}");
        }
        for cut in 0..bytes.len() {
            assert_eq!(Sidecar::decode(&bytes[..cut], 5, 100, 100_300), None, "cut {cut}");
        }
    }
}

//! Reading a segment line by line, over damage.
//!
//! Owns: the window of bytes being looked at, and finding the next line after bytes that are none. Must never know: which
//! sequence is expected, or what to do about damage.

use std::io;
use std::ops::Range;

use super::disk::{DiskFile, read_full};
use super::record::{self, CONTROL_PREFIX, Parsed};

/// Bytes per read when a whole segment is scanned.
pub(crate) const SCAN_CHUNK_BYTES: usize = 256 * 1024;
/// Bytes per read when one line is looked for: an index entry is seldom further away.
pub(crate) const FIND_CHUNK_BYTES: usize = 8 * 1024;

/// What stands at some offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A record whose checksum is right.
    Record {
        /// Where its line begins.
        offset: u64,
        /// Its number.
        sequence: u64,
        /// See `record::Record`.
        barrier: bool,
        /// Where its payload is in the window.
        payload: Range<usize>,
        /// Where that is in the window which it changes of earlier records.
        amends: Range<usize>,
    },
    /// Bytes that are no record, up to the next line feed.
    Damage {
        /// Where they begin.
        offset: u64,
        /// What their framing says, if it is one: see `record::torn`.
        torn: Option<(u64, bool, usize)>,
    },
}

/// Walks the lines of a file.
///
/// Invariants: `start <= filled <= window.len()`; `window[start..filled]` are the file's bytes from `offset` on.
pub(crate) struct Scanner<'a, F> {
    file: &'a F,
    seed: u32,
    window: &'a mut Vec<u8>,
    start: usize,
    filled: usize,
    offset: u64,
    end: u64,
    chunk_bytes: usize,
    /// Bytes before this one stay where they are: payloads found earlier point to them.
    kept: bool,
}

impl<'a, F: DiskFile> Scanner<'a, F> {
    /// Scans `range` of the file and forgets what it has passed.
    pub fn new(file: &'a F, seed: u32, range: Range<u64>, window: &'a mut Vec<u8>) -> Scanner<'a, F> {
        let (offset, end, chunk_bytes) = (range.start, range.end, SCAN_CHUNK_BYTES);
        Scanner { file, seed, window, start: 0, filled: 0, offset, end, chunk_bytes, kept: false }
    }

    /// Scans `range` in reads of `chunk_bytes`, puts bytes behind the first `filled` of the window and keeps all of them.
    pub fn keeping(
        file: &'a F,
        seed: u32,
        range: Range<u64>,
        window: &'a mut Vec<u8>,
        filled: usize,
        chunk_bytes: usize,
    ) -> Scanner<'a, F> {
        let (offset, end) = (range.start, range.end);
        Scanner { file, seed, window, start: filled, filled, offset, end, chunk_bytes, kept: true }
    }

    /// Reads so many bytes at a time.
    pub fn in_chunks_of(self, chunk_bytes: usize) -> Scanner<'a, F> {
        Scanner { chunk_bytes, ..self }
    }

    /// Where the next line begins.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Bytes of the window in use.
    pub fn filled(&self) -> usize {
        self.filled
    }

    /// The payload of the line that `next` has just returned.
    pub fn payload(&self, range: &Range<usize>) -> &[u8] {
        &self.window[range.clone()]
    }

    /// Whether that payload belongs to the log itself.
    pub fn is_control(&self, range: &Range<usize>) -> bool {
        self.payload(range).starts_with(CONTROL_PREFIX)
    }

    /// The next line; `None` at the end.
    pub fn next(&mut self) -> io::Result<Option<Line>> {
        while self.offset < self.end {
            match record::parse(&self.window[self.start..self.filled], self.seed) {
                Parsed::Record(record) => {
                    let (sequence, barrier, bytes) = (record.sequence, record.barrier, record.line_bytes());
                    let start = self.start + record::FRAMING_BYTES;
                    let payload = start..start + record.payload.len();
                    let amends = payload.end..payload.end + record.amends.len();
                    let offset = self.offset;
                    self.pass(bytes);
                    return Ok(Some(Line::Record { offset, sequence, barrier, payload, amends }));
                }
                Parsed::Short(bytes) if bytes as u64 <= self.end - self.offset => self.fill(bytes)?,
                Parsed::Short(_) | Parsed::Bad => return self.skip_damage().map(Some),
            }
        }
        Ok(None)
    }

    fn skip_damage(&mut self) -> io::Result<Line> {
        let (offset, torn) = (self.offset, record::torn(&self.window[self.start..self.filled]));
        while self.offset < self.end {
            let line_feed = self.window[self.start..self.filled].iter().position(|&b| b == b'\n');
            if let Some(at) = line_feed {
                self.pass(at + 1);
                break;
            }
            self.pass(self.filled - self.start);
            if self.offset < self.end {
                self.fill(1)?;
            }
        }
        Ok(Line::Damage { offset, torn })
    }

    fn pass(&mut self, bytes: usize) {
        self.start += bytes;
        self.offset += bytes as u64;
    }

    /// Gets at least `bytes` bytes into the window, or moves `end` to where the file ends.
    fn fill(&mut self, bytes: usize) -> io::Result<()> {
        if !self.kept {
            self.window.copy_within(self.start..self.filled, 0);
            (self.start, self.filled) = (0, self.filled - self.start);
        }
        let present = self.filled - self.start;
        let left = usize::try_from(self.end - self.offset).unwrap_or(usize::MAX) - present;
        let wanted = self.chunk_bytes.max(bytes - present.min(bytes)).min(left);
        if self.window.len() < self.filled + wanted {
            self.window.resize(self.filled + wanted, 0);
        }
        let at = self.offset + present as u64;
        let read = read_full(self.file, &mut self.window[self.filled..self.filled + wanted], at)?;
        self.filled += read;
        if read < wanted {
            self.end = at + read as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::disk::{Disk, write_full};
    use super::super::sim::SimDisk;
    use super::*;

    const SEED: u32 = 5;

    fn line(sequence: u64, payload: &[u8]) -> Vec<u8> {
        let mut line = Vec::new();
        record::encode(&mut line, SEED, sequence, false, payload);
        line
    }

    fn file(bytes: &[u8]) -> impl DiskFile {
        let disk = SimDisk::new();
        disk.create_dir(Path::new("/d")).unwrap();
        let file = disk.create(Path::new("/d/f")).unwrap();
        write_full(&file, bytes, 0).unwrap();
        file
    }

    /// Sequence and payload of each record, and where each damage begins.
    type Lines = Vec<Result<(u64, Vec<u8>), u64>>;

    fn scanned<F: DiskFile>(mut scanner: Scanner<'_, F>) -> Lines {
        let mut lines = Vec::new();
        while let Some(line) = scanner.next().unwrap() {
            lines.push(match line {
                Line::Record { sequence, payload, .. } => Ok((sequence, scanner.payload(&payload).to_vec())),
                Line::Damage { offset, .. } => Err(offset),
            });
        }
        lines
    }

    #[test]
    fn a_scan_finds_what_is_in_its_range_whatever_is_read_at_a_time() {
        let (one, two, three) = (line(1, b"one"), line(2, &[b'2'; 200]), line(3, b"three"));
        let (after_one, after_two) = (one.len() as u64, (one.len() + two.len()) as u64);
        let bytes = [&one[..], &two, &three].concat();
        let file = file(&bytes);
        let expected = [Ok((1, b"one".to_vec())), Ok((2, vec![b'2'; 200])), Ok((3, b"three".to_vec()))];
        for chunk_bytes in 1..bytes.len() + 10 {
            for (range, which) in
                [(0..bytes.len() as u64, 0..3), (0..after_two, 0..2), (after_one..after_two, 1..2), (0..0, 0..0)]
            {
                let mut window = Vec::new();
                let scanner = Scanner::new(&file, SEED, range.clone(), &mut window).in_chunks_of(chunk_bytes);
                assert_eq!(scanned(scanner), expected[which.clone()], "{range:?} by {chunk_bytes}");
                let mut window = b"kept".to_vec();
                let scanner = Scanner::keeping(&file, SEED, range.clone(), &mut window, 4, chunk_bytes);
                assert_eq!(scanned(scanner), expected[which], "{range:?} by {chunk_bytes}, kept");
                assert!(window.starts_with(b"kept"));
            }
        }
    }

    #[test]
    fn damage_goes_up_to_the_next_line_feed_or_the_end() {
        let (one, two) = (line(1, b"one"), line(2, b"two"));
        let start = one.len() as u64;
        let bytes = [&one[..], b"nonsense\n", &two, b"half a li"].concat();
        let (file, torn) = (file(&bytes), start + 9 + two.len() as u64);
        let expected = [Ok((1, b"one".to_vec())), Err(start), Ok((2, b"two".to_vec())), Err(torn)];
        for chunk_bytes in 1..bytes.len() + 10 {
            let mut window = Vec::new();
            let scanner = Scanner::new(&file, SEED, 0..bytes.len() as u64, &mut window).in_chunks_of(chunk_bytes);
            assert_eq!(scanned(scanner), expected, "by {chunk_bytes}");
        }
    }
}

//! What a fuzzer calls of the log: any bytes where a segment is expected, any room name, any file name.
//!
//! Owns: the promises about lines, scanning and the names of folders. Must never know: whole stores (see `sim`).

use std::io;

use super::disk::DiskFile;
use super::name;
use super::record::{self, AMENDMENT_MARK, FRAMING_BYTES, Parsed};
use super::scan::{Line, SCAN_CHUNK_BYTES, Scanner};

const ROOM: &str = "fuzz";

/// A file that is there to be read.
struct Bytes(Vec<u8>);

impl DiskFile for Bytes {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = self.0.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, _: &[u8], _: u64) -> io::Result<usize> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn len(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn set_len(&self, _: u64) -> io::Result<()> {
        Err(io::ErrorKind::ReadOnlyFilesystem.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn identity(&self) -> io::Result<String> {
        Ok(String::new())
    }

    fn device(&self) -> io::Result<u64> {
        Ok(0)
    }

    fn try_lock(&self) -> io::Result<bool> {
        Ok(true)
    }
}

/// The content of a segment, as it is, with its checksums put right, and as payloads: lines are found the same in reads of
/// any size; they and the damage between them cover the file; a record comes through encoded again; damage to one line
/// takes no other with it.
///
/// # Panics
/// If a promise is broken.
pub fn records(bytes: &[u8]) {
    scan_all(bytes);
    scan_all(&with_checksums(bytes));
    damage_one(bytes);
}

/// Gives each line the checksum it should have; a fuzzer does not guess it.
fn with_checksums(bytes: &[u8]) -> Vec<u8> {
    let seed = record::seed(ROOM);
    let mut fixed = bytes.to_vec();
    for line in fixed.split_mut(|&byte| byte == b'\n').filter(|line| line.len() >= FRAMING_BYTES) {
        let crc = record::hex8(record::checksum(seed, &line[9..]));
        line[..8].copy_from_slice(&crc);
    }
    fixed
}

fn scan_all(bytes: &[u8]) {
    let file = Bytes(bytes.to_vec());
    let whole = scan(&file, SCAN_CHUNK_BYTES);
    for chunk_bytes in [1, 7, 64] {
        let lines = scan(&file, chunk_bytes);
        assert_eq!(offsets(&lines), offsets(&whole), "in reads of {chunk_bytes}");
    }
    let mut end = 0;
    for line in &whole {
        let (Line::Record { offset, .. } | Line::Damage { offset, .. }) = line;
        assert_eq!(*offset, end, "a gap");
        end += bytes[end as usize..].iter().position(|&byte| byte == b'\n').map_or(bytes.len() as u64 - end, |at| {
            let record = match record::parse(&bytes[end as usize..], record::seed(ROOM)) {
                Parsed::Record(record) => record.line_bytes(),
                Parsed::Short(_) | Parsed::Bad => 0,
            };
            record.max(at + 1) as u64
        });
        if matches!(line, Line::Record { .. }) {
            round_trip(&bytes[*offset as usize..]);
        }
    }
    assert_eq!(end, bytes.len() as u64, "the lines cover the file");
}

/// Where lines begin, and the numbers of records.
fn offsets(lines: &[Line]) -> Vec<(u64, Option<(u64, bool)>)> {
    let each = lines.iter().map(|line| match line {
        Line::Record { offset, sequence, barrier, .. } => (*offset, Some((*sequence, *barrier))),
        Line::Damage { offset, .. } => (*offset, None),
    });
    each.collect()
}

fn scan(file: &Bytes, chunk_bytes: usize) -> Vec<Line> {
    let mut window = Vec::new();
    let range = 0..file.0.len() as u64;
    let mut scanner = Scanner::new(file, record::seed(ROOM), range, &mut window).in_chunks_of(chunk_bytes);
    let mut lines = Vec::new();
    while let Some(line) = scanner.next().expect("memory can be read") {
        lines.push(line);
    }
    lines
}

/// Encodes the record at the start of `bytes` again.
fn round_trip(bytes: &[u8]) {
    let seed = record::seed(ROOM);
    let Parsed::Record(record) = record::parse(bytes, seed) else { panic!("the scanner has found a record") };
    let mut out = Vec::new();
    record::encode_amending(&mut out, seed, record.sequence, record.barrier, record.payload, record.amends);
    assert_eq!(record::parse(&out, seed), Parsed::Record(record));
    let mut amends = Vec::new();
    let found: Vec<_> = record::amendments(record.amends).collect();
    for (target, replacement) in &found {
        record::push_amendment(&mut amends, *target, replacement);
    }
    assert_eq!(record::amendments(&amends).collect::<Vec<_>>(), found);
}

/// Makes lines of the input, spoils one byte, and looks for the others.
fn damage_one(bytes: &[u8]) {
    let [at, flip, rest @ ..] = bytes else { return };
    let seed = record::seed(ROOM);
    let payloads = || rest.split(|&byte| byte == b'\n' || byte == AMENDMENT_MARK);
    let mut segment = Vec::new();
    let mut starts = Vec::new();
    for (sequence, payload) in payloads().enumerate() {
        starts.push(segment.len());
        record::encode(&mut segment, seed, sequence as u64, *flip & 1 == 1, payload);
    }
    let spoiled = usize::from(*at) * segment.len() / 256;
    segment[spoiled] ^= flip;
    let hit = starts.partition_point(|start| *start <= spoiled) - 1;
    // A spoiled line feed takes the next line with it.
    let next = if segment.get(spoiled + 1).is_none() || starts.contains(&(spoiled + 1)) { hit + 1 } else { hit };
    for (index, line) in scan(&Bytes(segment.clone()), SCAN_CHUNK_BYTES).iter().enumerate() {
        let Line::Record { offset, sequence, .. } = line else { continue };
        assert_eq!(starts[*sequence as usize] as u64, *offset, "line {index} is one of ours");
        assert!(*flip == 0 || *sequence as usize != hit, "a spoiled line is no record");
    }
    let found = scan(&Bytes(segment), SCAN_CHUNK_BYTES);
    let whole = found.iter().filter(|line| matches!(line, Line::Record { .. })).count();
    let lost = if *flip == 0 { 0 } else { next.min(starts.len() - 1) - hit + 1 };
    assert_eq!(whole, starts.len() - lost, "all other lines are found");
}

/// A room's name and a file's: a folder is safe, short, and of one room; only names that are made here are understood.
///
/// # Panics
/// If a promise is broken.
pub fn folders(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let (one, two) = text.split_once('\n').unwrap_or((&text, ""));
    for room in [one, two, &text] {
        let folder = name::folder(room);
        assert!(folder.len() <= 200, "{folder}");
        assert!(folder.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-%~".contains(&byte)), "{folder}");
        assert_eq!(folder.is_empty(), room.is_empty());
        let shortened = folder.contains('~');
        assert_eq!(name::room(&folder).as_deref(), (!shortened).then_some(room), "{folder}");
        if let Some(owner) = name::room(room) {
            assert_eq!(name::folder(&owner), room, "one folder per room");
        }
        if let Some(first) = name::segment_first(room) {
            assert_eq!(name::segment(first), room);
        }
    }
    assert_eq!(name::folder(one) == name::folder(two), one == two);
    if let [a, b, c, d, e, f, g, h, ..] = *bytes {
        let first = u64::from_be_bytes([a, b, c, d, e, f, g, h]);
        assert_eq!(name::segment_first(&name::segment(first)), Some(first));
    }
}

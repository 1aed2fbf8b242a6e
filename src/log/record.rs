//! One record, one line: `CCCCCCCC LLLLLLL SSSSSSSSSSSSSSSS payload\n`.
//!
//! Owns: the bytes of a line and its checksum. Must never know: files, segments, what a payload means.

use crate::limits::RECORD_BYTES_MAX;

/// Bytes before the payload: checksum, length, sequence, each followed by one byte.
pub(crate) const FRAMING_BYTES: usize = 8 + 1 + 7 + 1 + 16 + 1;
/// How the payloads begin that belong to the log itself.
pub(crate) const CONTROL_PREFIX: &[u8] = br#"{"roomlog":"#;
/// Where the byte is that says whether a barrier stands before the record.
const BARRIER_AT: usize = FRAMING_BYTES - 1;

/// The checksum of what comes before every line of a room: its name and a line feed. Binds each record to its room.
pub(crate) fn seed(room: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(room.as_bytes());
    hasher.update(b"\n");
    hasher.finalize()
}

fn checksum(seed: u32, line: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(line);
    hasher.finalize()
}

/// A record as read: its checksum was right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// Position in the room; a control record carries that of the record before it.
    pub sequence: u64,
    /// Everything before this record was on the disk when it was written.
    pub barrier: bool,
    /// The opaque bytes.
    pub payload: &'a [u8],
}

impl Record<'_> {
    /// Bytes of the whole line, line feed included.
    pub fn line_bytes(&self) -> usize {
        FRAMING_BYTES + self.payload.len() + 1
    }
}

/// What stands at the start of some bytes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// A record with the right checksum.
    Record(Record<'a>),
    /// The start of one, perhaps: this many bytes are needed to know.
    Short(usize),
    /// No record.
    Bad,
}

/// Adds one line to `out`. The payload is at most `RECORD_BYTES_MAX` bytes and holds no line feed.
pub(crate) fn encode(out: &mut Vec<u8>, seed: u32, sequence: u64, barrier: bool, payload: &[u8]) {
    debug_assert!(payload.len() <= RECORD_BYTES_MAX && sequence < 10_000_000_000_000_000);
    let start = out.len();
    let mut framing = *b"CCCCCCCC LLLLLLL SSSSSSSSSSSSSSSS ";
    framing[8..16].copy_from_slice(&decimal8(payload.len() as u32));
    framing[8] = b' ';
    framing[17..25].copy_from_slice(&decimal8((sequence / 100_000_000) as u32));
    framing[25..33].copy_from_slice(&decimal8((sequence % 100_000_000) as u32));
    if barrier {
        framing[BARRIER_AT] = b'|';
    }
    out.reserve(FRAMING_BYTES + payload.len() + 1);
    out.extend_from_slice(&framing);
    out.extend_from_slice(payload);
    let crc = checksum(seed, &out[start + 9..]);
    out.push(b'\n');
    out[start..start + 8].copy_from_slice(&hex8(crc));
}

/// Reads the line at the start of `bytes`.
pub(crate) fn parse(bytes: &[u8], seed: u32) -> Parsed<'_> {
    let Some(framing) = bytes.first_chunk::<FRAMING_BYTES>() else { return Parsed::Short(FRAMING_BYTES) };
    let Some(length) = payload_bytes(framing) else { return Parsed::Bad };
    let end = FRAMING_BYTES + length;
    let Some(&last) = bytes.get(end) else { return Parsed::Short(end + 1) };
    if last != b'\n' || framing[..8] != hex8(checksum(seed, &bytes[9..end])) {
        return Parsed::Bad;
    }
    let (Some(high), Some(low)) = (digits8(&framing[17..25]), digits8(&framing[25..33])) else { return Parsed::Bad };
    let sequence = u64::from(high) * 100_000_000 + u64::from(low);
    Parsed::Record(Record { sequence, barrier: framing[BARRIER_AT] == b'|', payload: &bytes[FRAMING_BYTES..end] })
}

/// The payload length in a line's framing, when the framing has the right shape.
pub(crate) fn payload_bytes(framing: &[u8; FRAMING_BYTES]) -> Option<usize> {
    let shape = framing[8] == b' ' && framing[16] == b' ' && matches!(framing[BARRIER_AT], b' ' | b'|');
    let mut length: [u8; 8] = framing[8..16].try_into().expect("eight bytes were sliced");
    length[0] = b'0';
    digits8(&length).map(|n| n as usize).filter(|_| shape)
}

/// The whole lines at the start of `bytes`, which this module encoded: their sizes, without checking the checksums.
pub(crate) fn line_sizes(mut bytes: &[u8]) -> impl Iterator<Item = usize> {
    std::iter::from_fn(move || {
        let size = FRAMING_BYTES + payload_bytes(bytes.first_chunk()?)? + 1;
        bytes = bytes.get(size..)?;
        Some(size)
    })
}

/// Eight lowercase hex digits.
pub(super) fn hex8(value: u32) -> [u8; 8] {
    // Spread the eight nibbles over eight bytes, then add '0' or, above nine, 'a' - 10, to all of them at once.
    let mut nibbles = u64::from(value);
    nibbles = (nibbles | nibbles << 16) & 0x0000_ffff_0000_ffff;
    nibbles = (nibbles | nibbles << 8) & 0x00ff_00ff_00ff_00ff;
    nibbles = (nibbles | nibbles << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = ((nibbles + 0x0606_0606_0606_0606) >> 4) & 0x0101_0101_0101_0101;
    (nibbles + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10)).to_be_bytes()
}

/// Eight decimal digits of a number below 10^8: fours, then pairs, then single ones, all lanes at once.
fn decimal8(value: u32) -> [u8; 8] {
    let fours = u64::from(value / 10_000) | u64::from(value % 10_000) << 32;
    let hundreds = ((fours * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | (fours - hundreds * 100) << 16;
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    ((tens | (pairs - tens * 10) << 8) + 0x3030_3030_3030_3030).to_le_bytes()
}

/// Eight decimal digits at once: pairs, then fours, then all.
fn digits8(text: &[u8]) -> Option<u32> {
    let word = u64::from_le_bytes(text.try_into().ok()?);
    let digits = word ^ 0x3030_3030_3030_3030;
    if (digits | digits.wrapping_add(0x7676_7676_7676_7676)) & 0x8080_8080_8080_8080 != 0 {
        return None;
    }
    let pairs = (digits * 10 + (digits >> 8)) & 0x00ff_00ff_00ff_00ff;
    let fours = (pairs * 100 + (pairs >> 16)) & 0x0000_ffff_0000_ffff;
    Some((fours * 10_000 + (fours >> 32)) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(room: &str, sequence: u64, payload: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        encode(&mut out, seed(room), sequence, false, payload);
        out
    }

    #[test]
    fn line_has_the_documented_shape() {
        // zlib.crc32(b'0000002 0000000000000007 hi', zlib.crc32(b'general\n')), by Python.
        assert_eq!(line("general", 7, b"hi"), b"a1c6b3c2 0000002 0000000000000007 hi\n");
    }

    #[test]
    fn record_comes_back_as_it_went_in() {
        for (sequence, payload) in [(0, &b""[..]), (1, b"x"), (9_999_999_999_999_999, br#"{"type":"message"}"#)] {
            let mut out = Vec::new();
            encode(&mut out, seed("r"), sequence, sequence == 1, payload);
            let expected = Record { sequence, barrier: sequence == 1, payload };
            assert_eq!(parse(&out, seed("r")), Parsed::Record(expected));
            assert_eq!(expected.line_bytes(), out.len());
        }
    }

    #[test]
    fn record_of_another_room_is_bad() {
        assert_eq!(parse(&line("one", 1, b"x"), seed("two")), Parsed::Bad);
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let good = line("general", 12, br#"{"type":"message","content":"hello"}"#);
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(parse(&bad, seed("general")), Parsed::Record(_)), "bit {bit}");
        }
    }

    #[test]
    fn every_cut_line_is_short() {
        let good = line("general", 12, b"hello");
        for cut in 0..good.len() {
            assert!(matches!(parse(&good[..cut], seed("general")), Parsed::Short(n) if n > cut), "cut at {cut}");
        }
    }

    #[test]
    fn hex_and_decimal_agree_with_the_standard_library() {
        for value in [0, 9, 10, 0xa, 0x9f, 0xf9, 0x0123_4567, 0x89ab_cdef, u32::MAX] {
            assert_eq!(hex8(value), format!("{value:08x}").as_bytes());
        }
        for value in (0..100_000_000).step_by(9_973).chain([1, 9_999, 10_000, 99_999_999]) {
            assert_eq!(decimal8(value), format!("{value:08}").as_bytes());
            assert_eq!(digits8(&decimal8(value)), Some(value));
        }
        for byte in 0..=255u8 {
            for at in 0..8 {
                let mut text = *b"00000000";
                text[at] = byte;
                assert_eq!(digits8(&text).is_some(), byte.is_ascii_digit(), "{byte} at {at}");
            }
        }
    }
}

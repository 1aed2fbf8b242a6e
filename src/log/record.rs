//! One record, one line: `CCCCCCCC LLLLLLL SSSSSSSSSSSSSSSS payload\n`, and behind the payload, in a line that says so, what
//! the record changes of earlier ones: `\t42 replacement` for each.
//!
//! Owns: the bytes of a line and its checksum. Must never know: files, segments, what a payload means.

use crate::limits::RECORD_BYTES_MAX;

/// Bytes before the payload: checksum, length, sequence, each followed by one byte.
pub(crate) const FRAMING_BYTES: usize = 8 + 1 + 7 + 1 + 16 + 1;
/// How the payloads begin that belong to the log itself.
pub(crate) const CONTROL_PREFIX: &[u8] = br#"{"roomlog":"#;
/// Where the byte is that says whether a barrier stands before the record, and whether amendments follow the payload.
const FLAGS_AT: usize = FRAMING_BYTES - 1;
/// That byte: neither, barrier, amendments, both.
const FLAGS: [u8; 4] = *b" |+*";
/// Stands before each amendment, and so in neither payload nor replacement of such a record.
pub(crate) const AMENDMENT_MARK: u8 = b'\t';

/// The checksum of what comes before every line of a room: its name and a line feed. Binds each record to its room.
pub(crate) fn seed(room: &str) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(room.as_bytes());
    hasher.update(b"\n");
    hasher.finalize()
}

/// The checksum of a line: of what stands in it behind its own place.
pub(super) fn checksum(seed: u32, line: &[u8]) -> u32 {
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
    /// What it changes of earlier records; see [`amendments`].
    pub amends: &'a [u8],
}

impl Record<'_> {
    /// Bytes of the whole line, line feed included.
    pub fn line_bytes(&self) -> usize {
        FRAMING_BYTES + self.payload.len() + self.amends.len() + 1
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
    encode_amending(out, seed, sequence, barrier, payload, &[]);
}

/// Adds a line that changes earlier records. `amends` is made of [`push_amendment`]; together with the payload it is at
/// most `RECORD_BYTES_MAX` bytes.
pub(crate) fn encode_amending(
    out: &mut Vec<u8>,
    seed: u32,
    sequence: u64,
    barrier: bool,
    payload: &[u8],
    amends: &[u8],
) {
    let bytes = payload.len() + amends.len();
    debug_assert!(bytes <= RECORD_BYTES_MAX && sequence < 10_000_000_000_000_000);
    let start = out.len();
    let mut framing = *b"CCCCCCCC LLLLLLL SSSSSSSSSSSSSSSS ";
    framing[8..16].copy_from_slice(&decimal8(bytes as u32));
    framing[8] = b' ';
    framing[17..25].copy_from_slice(&decimal8((sequence / 100_000_000) as u32));
    framing[25..33].copy_from_slice(&decimal8((sequence % 100_000_000) as u32));
    framing[FLAGS_AT] = FLAGS[usize::from(barrier) + 2 * usize::from(!amends.is_empty())];
    out.reserve(FRAMING_BYTES + bytes + 1);
    out.extend_from_slice(&framing);
    out.extend_from_slice(payload);
    out.extend_from_slice(amends);
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
    let Some(sequence) = sequence(framing) else { return Parsed::Bad };
    let (payload, amends) = match framing[FLAGS_AT] {
        b' ' | b'|' => (&bytes[FRAMING_BYTES..end], &[][..]),
        _ => {
            let both = &bytes[FRAMING_BYTES..end];
            both.split_at(memchr::memchr(AMENDMENT_MARK, both).unwrap_or(both.len()))
        }
    };
    Parsed::Record(Record { sequence, barrier: barrier(framing), payload, amends })
}

fn sequence(framing: &[u8; FRAMING_BYTES]) -> Option<u64> {
    let (high, low) = (digits8(&framing[17..25])?, digits8(&framing[25..33])?);
    Some(u64::from(high) * 100_000_000 + u64::from(low))
}

fn barrier(framing: &[u8; FRAMING_BYTES]) -> bool {
    matches!(framing[FLAGS_AT], b'|' | b'*')
}

/// What the framing at the start of `bytes` says of a line whose checksum is wrong and whose line feed is where it should
/// be: its sequence, whether there is a barrier, the bytes behind the framing. An overwriting that was cut short leaves
/// such a line, because it changes neither length nor sequence.
pub(crate) fn torn(bytes: &[u8]) -> Option<(u64, bool, usize)> {
    let framing = bytes.first_chunk::<FRAMING_BYTES>()?;
    let length = payload_bytes(framing)?;
    let is_line = memchr::memchr(b'\n', bytes) == Some(FRAMING_BYTES + length);
    Some((sequence(framing)?, barrier(framing), length)).filter(|_| is_line)
}

/// Adds the replacement of an earlier record to those that a record brings. Holds neither a line feed nor a tab.
pub(crate) fn push_amendment(out: &mut Vec<u8>, target: u64, replacement: &[u8]) {
    out.push(AMENDMENT_MARK);
    out.extend_from_slice(target.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(replacement);
}

/// The replacements that a record brings, with the sequences of the records they are for.
pub(crate) fn amendments(amends: &[u8]) -> impl Iterator<Item = (u64, &[u8])> {
    amends.split(|&byte| byte == AMENDMENT_MARK).skip(1).filter_map(|part| {
        let (target, replacement) = part.split_at(memchr::memchr(b' ', part)?);
        Some((std::str::from_utf8(target).ok()?.parse().ok()?, &replacement[1..]))
    })
}

/// The payload length in a line's framing, when the framing has the right shape.
pub(crate) fn payload_bytes(framing: &[u8; FRAMING_BYTES]) -> Option<usize> {
    let shape = framing[8] == b' ' && framing[16] == b' ' && FLAGS.contains(&framing[FLAGS_AT]);
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
            let expected = Record { sequence, barrier: sequence == 1, payload, amends: b"" };
            assert_eq!(parse(&out, seed("r")), Parsed::Record(expected));
            assert_eq!(expected.line_bytes(), out.len());
        }
    }

    #[test]
    fn amendments_stand_in_the_line_of_the_record_that_brings_them() {
        for barrier in [false, true] {
            let (mut out, mut amends) = (Vec::new(), Vec::new());
            push_amendment(&mut amends, 42, br#"{"a b":1}"#);
            push_amendment(&mut amends, 7, b"");
            encode_amending(&mut out, seed("r"), 57, barrier, b"hello", &amends);
            let Parsed::Record(record) = parse(&out, seed("r")) else { panic!("no record") };
            assert_eq!((record.payload, record.barrier, record.line_bytes()), (&b"hello"[..], barrier, out.len()));
            let found: Vec<_> = amendments(record.amends).collect();
            assert_eq!(found, [(42, &br#"{"a b":1}"#[..]), (7, b"")]);
        }
    }

    #[test]
    fn torn_line_still_tells_its_length_and_sequence() {
        let mut bad = line("general", 12, b"hello");
        bad[36] ^= 1;
        assert_eq!(torn(&bad), Some((12, false, 5)));
        bad[38] = b'\n';
        assert_eq!(torn(&bad), None, "it ends elsewhere");
        assert_eq!(torn(&bad[..20]), None);
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

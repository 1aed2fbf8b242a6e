//! Room names as folder names, and segment file names.
//!
//! Owns: the mapping, which is one to one. Must never know: what is in the files.

/// Escaped names longer than this are shortened and hashed; file systems allow 255 bytes.
const ESCAPED_BYTES_MAX: usize = 200;
/// Bytes of a long escaped name that are kept for the reader's eye.
const PREFIX_BYTES: usize = 120;

/// The folder of a room: every byte but `[A-Za-z0-9_-]` becomes `%XX`. So there is no `.` and no `/` in it, and two names
/// never share one. A name that gets too long keeps a readable start, then `~` and a 64-bit FNV-1a hash in hex; the
/// true name is in every segment's header, which is checked against it.
pub(crate) fn folder(room: &str) -> String {
    let mut name = String::with_capacity(room.len());
    for byte in room.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => name.push(byte as char),
            _ => {
                const HEX: &[u8; 16] = b"0123456789ABCDEF";
                name.extend(['%', HEX[usize::from(byte >> 4)] as char, HEX[usize::from(byte & 15)] as char]);
            }
        }
    }
    if name.len() <= ESCAPED_BYTES_MAX {
        return name;
    }
    let escape = name[PREFIX_BYTES - 2..PREFIX_BYTES].find('%');
    name.truncate(escape.map_or(PREFIX_BYTES, |at| PREFIX_BYTES - 2 + at));
    name + &format!("~{:016x}", fnv1a(room.as_bytes()))
}

/// The room of a folder; `None` when the name was shortened (ask a segment's header) or is not one of ours.
pub(crate) fn room(folder: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(folder.len());
    let mut rest = folder.bytes();
    while let Some(byte) = rest.next() {
        let plain = match byte {
            b'%' => {
                let (high, low) = (rest.next()? as char, rest.next()? as char);
                (high.to_digit(16)? * 16 + low.to_digit(16)?) as u8
            }
            _ => byte,
        };
        bytes.push(plain);
    }
    // Only the spelling that `folder` itself gives counts, so no two folders are one room.
    String::from_utf8(bytes).ok().filter(|room| self::folder(room) == folder)
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

/// The file name of a segment that begins with the record `first`.
pub(crate) fn segment(first: u64) -> String {
    format!("{first:020}.log")
}

/// The sidecar of that segment.
pub(crate) fn sidecar(first: u64) -> String {
    format!("{first:020}.idx")
}

/// The `n`th piece cut off that segment.
pub(crate) fn torn(first: u64, n: u32) -> String {
    format!("{first:020}.torn-{n}")
}

/// That segment as it was before its `n`th repair.
pub(crate) fn damaged(first: u64, n: u32) -> String {
    format!("{first:020}.damaged-{n}")
}

/// The first sequence that a segment's file name tells; `None` for every other file.
pub(crate) fn segment_first(file: &str) -> Option<u64> {
    let digits = file.strip_suffix(".log")?;
    let valid = digits.len() == 20 && digits.bytes().all(|b| b.is_ascii_digit());
    digits.parse().ok().filter(|_| valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_names_stay_inside_their_folder_and_come_back() {
        for name in ["general", "../../etc", ".", "..", "a b", "a%20b", "Ünï", "🦀", "CON", "a/b", "-rf", "~"] {
            let folder = folder(name);
            assert!(folder.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-%".contains(&b)), "{folder}");
            assert_eq!(room(&folder).as_deref(), Some(name));
        }
        assert_eq!(folder("../x"), "%2E%2E%2Fx");
    }

    #[test]
    fn long_names_fit_a_file_name_and_differ() {
        let one = "🦀".repeat(64);
        let two = "🦀".repeat(63) + "🦞";
        assert!(folder(&one).len() <= 200, "{}", folder(&one).len());
        assert_ne!(folder(&one), folder(&two));
        assert_eq!(room(&folder(&one)), None);
    }

    #[test]
    fn a_long_name_keeps_120_bytes_and_no_half_escape() {
        assert_eq!(folder(&"a".repeat(200)), "a".repeat(200));
        assert_eq!(folder(&"a".repeat(201)), "a".repeat(120) + "~9a253eda0ce95884");
        for (plain, end) in [(117, "%F0~5f65f6bbda565d9c"), (118, "~f9450ecdca06eb1f"), (119, "~168acedc61ae0512")] {
            assert_eq!(folder(&("a".repeat(plain) + &"🦀".repeat(10))), "a".repeat(plain) + end);
        }
    }

    #[test]
    fn hashes_are_those_of_fnv_1a() {
        for (bytes, hash) in [(&b""[..], 0xcbf2_9ce4_8422_2325), (b"a", 0xaf63_dc4c_8601_ec8c)] {
            assert_eq!(fnv1a(bytes), hash);
        }
        assert_eq!(fnv1a(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn only_the_canonical_spelling_is_a_room() {
        assert_eq!(room("a%2eb"), None);
        assert_eq!(room("%61"), None);
        assert_eq!(room("a.b"), None);
        assert_eq!(room("%"), None);
    }

    #[test]
    fn segment_names_sort_and_parse() {
        assert_eq!(segment(7), "00000000000000000007.log");
        assert_eq!(segment_first("00000000000000000007.log"), Some(7));
        for other in ["7.log", "00000000000000000007.idx", "0000000000000000000x.log", "+0000000000000000007.log"] {
            assert_eq!(segment_first(other), None);
        }
        for digits in [19, 21] {
            assert_eq!(segment_first(&format!("{:0digits$}.log", 7)), None);
        }
        let others = (sidecar(7), torn(7, 2), damaged(7, 3));
        assert_eq!(others.0, "00000000000000000007.idx");
        assert_eq!(others.1, "00000000000000000007.torn-2");
        assert_eq!(others.2, "00000000000000000007.damaged-3");
    }
}

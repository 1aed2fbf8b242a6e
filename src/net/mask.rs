//! Frames as a client sends them: masked (RFC 6455 section 5.3).
//!
//! Owns: the masking keys and the layout of a masked frame. Must never know: sockets.
//!
//! A mask hides nothing. It keeps scripts in browsers from choosing the bytes on the wire, which could poison the caches
//! of intermediaries that misread them. The programs here run nobody else's scripts, so a fast generator that is seeded by
//! the system will do, where a browser must use an unpredictable one.

use std::hash::{BuildHasher, RandomState};

use tungstenite::protocol::frame::FrameHeader;

/// Where masking keys come from: SplitMix64, seeded once per reactor with what the system's entropy gave the standard
/// library.
#[derive(Debug)]
pub(super) struct Masks(u64);

impl Masks {
    pub fn seeded() -> Self {
        Masks(RandomState::new().hash_one(std::process::id()))
    }

    fn next(&mut self) -> [u8; 4] {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) as u32).to_ne_bytes()
    }

    /// Appends an unfragmented frame. `opcode` is that of RFC 6455 section 5.2.
    pub fn append(&mut self, opcode: u8, payload: &[u8], out: &mut Vec<u8>) {
        let mask = self.next();
        let header = FrameHeader { opcode: opcode.into(), mask: Some(mask), ..FrameHeader::default() };
        header.format(payload.len() as u64, out).expect("writing to a Vec cannot fail");
        let start = out.len();
        out.extend_from_slice(payload);
        apply(mask, &mut out[start..]);
    }
}

/// Eight bytes at a time.
fn apply(mask: [u8; 4], bytes: &mut [u8]) {
    let wide = u64::from(u32::from_ne_bytes(mask));
    let wide = wide << 32 | wide;
    let (chunks, rest) = bytes.as_chunks_mut::<8>();
    for chunk in chunks {
        *chunk = (u64::from_ne_bytes(*chunk) ^ wide).to_ne_bytes();
    }
    for (byte, mask) in rest.iter_mut().zip(mask) {
        *byte ^= mask;
    }
    // Fewer than eight are left, and the mask begins anew after four.
    if let Some(tail) = rest.get_mut(4..) {
        for (byte, mask) in tail.iter_mut().zip(mask) {
            *byte ^= mask;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use tungstenite::protocol::{Message, Role, WebSocket};

    use super::*;

    #[test]
    fn a_server_reads_what_was_masked() {
        let mut masks = Masks::seeded();
        let texts: Vec<String> = [0, 1, 3, 4, 5, 7, 8, 9, 125, 126, 127, 65_535, 65_536]
            .map(|len| "abcdefg".repeat(len)[..len].to_owned())
            .into();
        let mut wire = Vec::new();
        for text in &texts {
            masks.append(1, text.as_bytes(), &mut wire);
        }
        let mut server = WebSocket::from_raw_socket(Cursor::new(wire), Role::Server, None);
        for text in &texts {
            assert_eq!(server.read().unwrap(), Message::text(text.as_str()));
        }
    }

    #[test]
    fn keys_differ() {
        let mut masks = Masks::seeded();
        let keys: std::collections::HashSet<_> = (0..1_000).map(|_| masks.next()).collect();
        assert!(keys.len() > 990, "{} of 1,000", keys.len());
    }
}

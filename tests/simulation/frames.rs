//! WebSocket frames as a client sends and reads them (RFC 6455), made independently of the server's.
//!
//! Owns: bytes in, frames out. Must never know: what they say.

pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A masked frame; `first` has the FIN bit and the opcode.
pub fn masked(first: u8, payload: &[u8], key: u32) -> Vec<u8> {
    let mut out = vec![first];
    match payload.len() {
        len @ 0..126 => out.push(0x80 | len as u8),
        len @ 126..65_536 => {
            out.push(0x80 | 126);
            out.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            out.push(0x80 | 127);
            out.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    let key = key.to_be_bytes();
    out.extend_from_slice(&key);
    out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    out
}

/// The next whole frame at the start of `bytes`: opcode, payload, bytes used. An error is a sentence.
pub fn next(bytes: &[u8]) -> Result<Option<(u8, Vec<u8>, usize)>, String> {
    let (Some(&first), Some(&second)) = (bytes.first(), bytes.get(1)) else { return Ok(None) };
    let opcode = first & 0x0f;
    if first & 0xf0 != 0x80 || ![TEXT, CLOSE, PING, PONG].contains(&opcode) || second & 0x80 != 0 {
        return Err(format!("a frame that begins with {first:#04x} {second:#04x}"));
    }
    let (head, len) = match second {
        126 if bytes.len() < 4 => return Ok(None),
        126 => (4, usize::from(u16::from_be_bytes([bytes[2], bytes[3]]))),
        127 if bytes.len() < 10 => return Ok(None),
        127 => (10, u64::from_be_bytes(bytes[2..10].try_into().expect("eight bytes")) as usize),
        len => (2, usize::from(len)),
    };
    if len > 8 << 20 {
        return Err(format!("a frame of {len} bytes"));
    }
    Ok(bytes.get(head..head + len).map(|payload| (opcode, payload.to_vec(), head + len)))
}

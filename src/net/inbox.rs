//! What one read of a dialled connection brought, decoded where it lies.
//!
//! Owns: the buffer that such connections are read into, and the WebSocket decoder of a client (RFC 6455 section 5).
//! Must never know: sockets, what a message says.
//!
//! A client of a busy room gets many messages with one read. None is copied or allocated for: what lies whole in the
//! buffer is handed out as a slice of it. Only a message that is cut by the end of a read is moved, to its connection's
//! own carry, and back before the next read; one in fragments is put together there.

use std::ops::Range;

/// Bytes that can be read at a time.
const READ_BYTES: usize = 256 * 1024;
/// Longest payload of a control frame, in bytes (RFC 6455 section 5.5).
const CONTROL_BYTES_MAX: u64 = 125;

/// The messages of one connection that one [`Reactor::receive`](super::Reactor::receive) brought. To be kept and used
/// again: its buffer is the only large thing.
#[derive(Debug, Default)]
pub struct Inbox {
    /// Never shorter than what was needed once.
    bytes: Vec<u8>,
    filled: usize,
    /// Bytes that belong to whole frames.
    used: usize,
    messages: Vec<Message>,
    /// The payloads of messages that came in fragments.
    joined: Vec<u8>,
    pub(super) controls: Vec<Control>,
}

#[derive(Debug)]
enum Message {
    /// In `bytes`.
    Whole(Range<usize>),
    /// In `joined`.
    Joined(Range<usize>),
}

/// What a connection has to do about a frame.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Control {
    /// Answer with this payload.
    Ping(Vec<u8>),
    /// The peer's last frame, with its code if it has one.
    Close(Option<u16>),
    /// A violation; to be told with this code.
    Failure(u16),
}

/// What a connection keeps between two reads.
#[derive(Debug, Default)]
pub(super) struct Carry {
    /// The beginning of a frame.
    pub bytes: Vec<u8>,
    /// The beginning of a message that comes in fragments.
    fragments: Option<Vec<u8>>,
}

impl Inbox {
    /// An empty one; its buffer is made with the first read.
    pub fn new() -> Inbox {
        Inbox::default()
    }

    /// The text messages, in order. Each is UTF-8.
    pub fn texts(&self) -> impl ExactSizeIterator<Item = &[u8]> {
        self.messages.iter().map(|message| match message {
            Message::Whole(range) => &self.bytes[range.clone()],
            Message::Joined(range) => &self.joined[range.clone()],
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.messages.is_empty()
    }

    pub(super) fn clear(&mut self) {
        self.messages.clear();
        self.joined.clear();
        self.controls.clear();
    }

    /// Begins a read of the connection whose carry this is: where its bytes are to be put.
    pub(super) fn begin(&mut self, carry: &Carry) -> &mut [u8] {
        self.clear();
        self.filled = carry.bytes.len();
        self.used = 0;
        if self.bytes.len() < self.filled + READ_BYTES {
            self.bytes.resize(self.filled + READ_BYTES, 0);
        }
        self.bytes[..self.filled].copy_from_slice(&carry.bytes);
        &mut self.bytes[self.filled..]
    }

    /// Ends it: `count` bytes were read. Decodes them and leaves the rest in the carry.
    pub(super) fn end(&mut self, count: usize, carry: &mut Carry, message_bytes_max: usize) {
        self.filled += count;
        while let Some(frame) = self.next_frame(message_bytes_max) {
            let taken = frame.and_then(|(first, payload)| self.take(first, payload, carry, message_bytes_max));
            if let Err(code) = taken {
                self.controls.push(Control::Failure(code));
            }
            if matches!(self.controls.last(), Some(Control::Close(_) | Control::Failure(_))) {
                self.used = self.filled; // nothing that follows counts
            }
        }
        carry.bytes.clear();
        carry.bytes.extend_from_slice(&self.bytes[self.used..self.filled]);
        if carry.bytes.is_empty() && carry.bytes.capacity() > 1024 {
            carry.bytes = Vec::new();
        }
    }

    /// The next whole frame: its first byte and where its payload is; or the code of what is wrong with it.
    fn next_frame(&mut self, message_bytes_max: usize) -> Option<Result<(u8, Range<usize>), u16>> {
        let bytes = &self.bytes[self.used..self.filled];
        let (&first, &second) = (bytes.first()?, bytes.get(1)?);
        let (header_bytes, payload_bytes) = match second & 0x7f {
            126 => (4, u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?))),
            127 => (10, u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?)),
            short => (2, u64::from(short)),
        };
        let is_control = first & 0x08 != 0;
        // Reserved bits without an extension, a mask from a server, a control frame that is long or in fragments.
        if first & 0x70 != 0
            || second & 0x80 != 0
            || is_control && (first & 0x80 == 0 || payload_bytes > CONTROL_BYTES_MAX)
        {
            return Some(Err(1002));
        }
        if payload_bytes > message_bytes_max as u64 {
            return Some(Err(1009));
        }
        let frame_bytes = header_bytes + payload_bytes as usize;
        if bytes.len() < frame_bytes {
            return None;
        }
        let start = self.used + header_bytes;
        self.used += frame_bytes;
        Some(Ok((first, start..self.used)))
    }

    fn take(&mut self, first: u8, payload: Range<usize>, carry: &mut Carry, max: usize) -> Result<(), u16> {
        let bytes = &self.bytes[payload.clone()];
        let is_final = first & 0x80 != 0;
        match first & 0x0f {
            1 if carry.fragments.is_some() => return Err(1002),
            1 if is_final => {
                std::str::from_utf8(bytes).map_err(|_| 1007_u16)?;
                self.messages.push(Message::Whole(payload));
            }
            1 => carry.fragments = Some(bytes.to_vec()),
            0 => {
                let fragments = carry.fragments.as_mut().ok_or(1002_u16)?;
                fragments.extend_from_slice(bytes);
                if fragments.len() > max {
                    return Err(1009);
                }
                if is_final {
                    let whole = carry.fragments.take().unwrap_or_default();
                    std::str::from_utf8(&whole).map_err(|_| 1007_u16)?;
                    let start = self.joined.len();
                    self.joined.extend_from_slice(&whole);
                    self.messages.push(Message::Joined(start..self.joined.len()));
                }
            }
            2 => return Err(1003),
            8 => self.controls.push(Control::Close(close_code(bytes)?)),
            9 => self.controls.push(Control::Ping(bytes.to_vec())),
            10 => {}
            _ => return Err(1002),
        }
        Ok(())
    }
}

/// The code of a close frame (RFC 6455 section 7.4).
fn close_code(payload: &[u8]) -> Result<Option<u16>, u16> {
    let Some((code, reason)) = payload.split_first_chunk() else {
        return if payload.is_empty() { Ok(None) } else { Err(1002) };
    };
    std::str::from_utf8(reason).map_err(|_| 1007_u16)?;
    match u16::from_be_bytes(*code) {
        code @ (1000..=1003 | 1007..=1014 | 3000..=4999) => Ok(Some(code)),
        _ => Err(1002),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 100_000;

    /// A frame as a server sends it; `first` is the first byte: FIN, RSV bits and opcode.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        match payload.len() {
            len @ 0..126 => frame.push(len as u8),
            len @ 126..65_536 => {
                frame.push(126);
                frame.extend_from_slice(&(len as u16).to_be_bytes());
            }
            len => {
                frame.push(127);
                frame.extend_from_slice(&(len as u64).to_be_bytes());
            }
        }
        frame.extend_from_slice(payload);
        frame
    }

    /// Reads `chunks` one after the other; what came of it.
    fn read<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<String>, Vec<Control>, Carry) {
        let (mut inbox, mut carry) = (Inbox::new(), Carry::default());
        let (mut texts, mut controls) = (Vec::new(), Vec::new());
        for chunk in chunks {
            inbox.begin(&carry)[..chunk.len()].copy_from_slice(chunk);
            inbox.end(chunk.len(), &mut carry, MAX);
            texts.extend(inbox.texts().map(|text| String::from_utf8(text.to_vec()).unwrap()));
            controls.append(&mut inbox.controls);
        }
        (texts, controls, carry)
    }

    #[test]
    fn messages_are_the_same_however_they_are_cut() {
        let long = "l".repeat(200);
        let longer = "ü".repeat(40_000);
        let stream = [
            frame(0x81, "hä".as_bytes()),
            frame(0x89, b"ping"),
            frame(0x81, long.as_bytes()),
            frame(0x01, b"in "),
            frame(0x00, &"ü".as_bytes()[..1]),
            frame(0x89, b""),
            frame(0x80, &"ü".as_bytes()[1..]),
            frame(0x8a, b"pong"),
            frame(0x81, b""),
            frame(0x81, longer.as_bytes()),
            frame(0x88, &[3, 232]),
            frame(0x81, b"late"),
        ]
        .concat();
        let texts = ["hä", &long, "in ü", "", &longer];
        let controls = [Control::Ping(b"ping".to_vec()), Control::Ping(Vec::new()), Control::Close(Some(1000))];
        let head = 300;
        let cuts = (0..head).chain([head + 40_000, stream.len() - 8, stream.len()]);
        for cut in cuts {
            let (left, right) = stream.split_at(cut);
            let (heard, did, carry) = read([left, right]);
            assert_eq!((heard.len(), heard.iter().eq(texts)), (texts.len(), true), "cut at {cut}");
            assert_eq!(did[..3], controls, "cut at {cut}");
            assert!(cut == stream.len() - 8 || carry.bytes.is_empty(), "cut at {cut}");
        }
        let (heard, ..) = read(stream[..head].chunks(1));
        assert_eq!(heard, texts[..4], "byte by byte");
    }

    #[test]
    fn violations_have_their_codes() {
        let cases: [(&str, Vec<u8>, u16); 15] = [
            ("masked", vec![0x81, 0x81, 1, 2, 3, 4, b'x'], 1002),
            ("reserved opcode", frame(0x83, b"x"), 1002),
            ("reserved control opcode", frame(0x8b, b""), 1002),
            ("RSV1", frame(0xc1, b"x"), 1002),
            ("RSV3", frame(0x91, b"x"), 1002),
            ("continuation of nothing", frame(0x80, b"x"), 1002),
            ("text within a message", [frame(0x01, b"a"), frame(0x81, b"b")].concat(), 1002),
            ("fragmented ping", frame(0x09, b""), 1002),
            ("long ping", frame(0x89, &[0; 126]), 1002),
            ("close of one byte", frame(0x88, &[3]), 1002),
            ("close of a reserved code", frame(0x88, &[3, 237]), 1002),
            ("text that is not UTF-8", frame(0x81, &[0xc0, 0xaf]), 1007),
            ("fragments that are not UTF-8", [frame(0x01, &[0xc0]), frame(0x80, b"a")].concat(), 1007),
            ("frame too big, told by its header", frame(0x81, &[b'x'; MAX + 1])[..10].to_vec(), 1009),
            ("message too big", [frame(0x01, &[b'x'; MAX]), frame(0x80, b"x")].concat(), 1009),
        ];
        for (name, input, code) in cases {
            assert_eq!(read([&input[..]]).1, [Control::Failure(code)], "{name}");
        }
        assert_eq!(read([&frame(0x82, b"x")[..]]).1, [Control::Failure(1003)], "binary");
    }

    #[test]
    fn nothing_is_kept_between_messages() {
        let big = frame(0x81, &[b'x'; 50_000]);
        let (_, _, carry) = read([&big[..30_000], &big[30_000..]]);
        assert_eq!((carry.bytes.capacity(), carry.fragments), (0, None));
    }
}

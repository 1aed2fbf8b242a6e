//! What waits to be written to one socket: shared frames in order, and how they leave in one write.
//!
//! Owns: the queue and its byte count. Must never know: what a frame says, or whose it is.

use std::collections::VecDeque;
use std::io;
use std::iter;
use std::ops::Range;
use std::rc::Rc;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};

use super::connection::Socket;

/// Bytes gathered for one write when several frames are queued.
pub(super) const GATHER_BYTES: usize = 64 * 1024;
/// Longest payload of a control frame, in bytes (RFC 6455 section 5.5).
const CONTROL_BYTES_MAX: usize = 125;

/// Longest header of an unmasked frame, in bytes (RFC 6455 section 5.2).
pub const HEADER_BYTES_MAX: usize = 10;

/// What a frame carries (RFC 6455 section 5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opcode {
    /// UTF-8 text.
    Text,
    /// Any bytes.
    Binary,
    /// A ping, at most 125 bytes.
    Ping,
    /// A close, at most 125 bytes.
    Close,
}

/// Appends the header of an unfragmented, unmasked frame of `payload_len` bytes (RFC 6455 section 5.2).
///
/// With this, many frames are built back to back in one buffer that becomes one [`Frame`].
pub fn encode_header(opcode: Opcode, payload_len: usize, out: &mut Vec<u8>) {
    let opcode = match opcode {
        Opcode::Text => OpCode::Data(Data::Text),
        Opcode::Binary => OpCode::Data(Data::Binary),
        Opcode::Ping => OpCode::Control(Control::Ping),
        Opcode::Close => OpCode::Control(Control::Close),
    };
    let header = FrameHeader { opcode, ..FrameHeader::default() };
    header.format(payload_len as u64, out).expect("writing to a Vec cannot fail");
}

/// Where the payloads are of unmasked frames that stand back to back (RFC 6455 section 5.2).
pub fn payloads(bytes: &[u8]) -> impl Iterator<Item = Range<usize>> {
    let mut end = 0;
    iter::from_fn(move || {
        let header = &bytes[end..];
        let (header_len, len) = match *header.get(1)? {
            126 => (4, usize::from(u16::from_be_bytes([header[2], header[3]]))),
            127 => {
                let len = u64::from_be_bytes(header[2..10].try_into().expect("eight bytes"));
                (10, usize::try_from(len).expect("encoded from memory"))
            }
            len => (2, usize::from(len)),
        };
        let start = end + header_len;
        end = start + len;
        Some(start..end)
    })
}

/// The payload of a close frame (RFC 6455 section 5.5.1); empty without a code. A reason that is too long is cut between
/// two characters.
pub(super) fn close_payload(code: Option<u16>, reason: &str) -> Vec<u8> {
    let Some(code) = code else { return Vec::new() };
    let cut = reason.floor_char_boundary(CONTROL_BYTES_MAX - size_of_val(&code));
    [&code.to_be_bytes(), &reason.as_bytes()[..cut]].concat()
}

/// A text frame whose payload is written in place: the header, whose size depends on it, comes last.
#[derive(Debug)]
pub struct TextFrame {
    /// Begins with room for the longest header.
    bytes: Vec<u8>,
}

impl Default for TextFrame {
    fn default() -> Self {
        TextFrame { bytes: vec![0; HEADER_BYTES_MAX] }
    }
}

impl TextFrame {
    /// Where the payload, which must be UTF-8, is to be appended.
    pub fn payload(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The frame.
    ///
    /// # Panics
    /// If the payload has 4 GiB or more, or something that was there before it was written is gone.
    pub fn finish(mut self) -> Frame {
        let payload_len = self.bytes.len().checked_sub(HEADER_BYTES_MAX).expect("the payload was only appended to");
        let mut header = Vec::with_capacity(HEADER_BYTES_MAX);
        encode_header(Opcode::Text, payload_len, &mut header);
        let start = HEADER_BYTES_MAX - header.len();
        self.bytes[start..HEADER_BYTES_MAX].copy_from_slice(&header);
        Frame { start: start as u32, ..Frame::from_encoded(self.bytes) }
    }
}

/// Bytes ready for the wire, shared by everyone they go to: one or several whole WebSocket frames, an HTTP response, or
/// a part of one.
///
/// Cloning counts a reference. A slice shares the buffer of the frame it was cut from.
#[derive(Debug, Clone)]
pub struct Frame {
    /// Not `Rc<[u8]>`: a queue of one is half as large with a thin pointer, and a `Vec` need not be copied into it.
    #[expect(clippy::rc_buffer, reason = "see above")]
    bytes: Rc<Vec<u8>>,
    start: u32,
    end: u32,
}

impl Frame {
    /// A text frame. `payload` must be UTF-8, or the peer will close with 1007.
    pub fn text(payload: &[u8]) -> Frame {
        Frame::encode(Opcode::Text, payload)
    }

    /// A binary frame.
    pub fn binary(payload: &[u8]) -> Frame {
        Frame::encode(Opcode::Binary, payload)
    }

    /// A ping frame.
    ///
    /// # Panics
    /// If `payload` is longer than 125 bytes.
    pub fn ping(payload: &[u8]) -> Frame {
        assert!(payload.len() <= CONTROL_BYTES_MAX, "a ping carries at most {CONTROL_BYTES_MAX} bytes");
        Frame::encode(Opcode::Ping, payload)
    }

    /// A close frame; see [`close_payload`].
    pub(super) fn close(code: Option<u16>, reason: &str) -> Frame {
        Frame::encode(Opcode::Close, &close_payload(code, reason))
    }

    /// Bytes that are encoded already.
    ///
    /// # Panics
    /// If they are 4 GiB or more.
    pub fn from_encoded(bytes: Vec<u8>) -> Frame {
        let end = u32::try_from(bytes.len()).expect("a frame is shorter than 4 GiB");
        Frame { bytes: Rc::new(bytes), start: 0, end }
    }

    fn encode(opcode: Opcode, payload: &[u8]) -> Frame {
        let mut bytes = Vec::with_capacity(payload.len() + 10);
        encode_header(opcode, payload.len(), &mut bytes);
        bytes.extend_from_slice(payload);
        Frame::from_encoded(bytes)
    }

    /// A part of this frame, sharing its buffer. `range` counts from this frame's start.
    ///
    /// # Panics
    /// If `range` is not within the frame.
    pub fn slice(&self, range: Range<usize>) -> Frame {
        assert!(range.start <= range.end && range.end <= self.len(), "{range:?} of {} bytes", self.len());
        let start = self.start + range.start as u32;
        Frame { bytes: Rc::clone(&self.bytes), start, end: start + range.len() as u32 }
    }

    /// Whether both are the same part of the same buffer, so that what was made of one serves for the other.
    pub fn is_same(&self, other: &Frame) -> bool {
        Rc::ptr_eq(&self.bytes, &other.bytes) && (self.start, self.end) == (other.start, other.end)
    }

    /// Length in bytes.
    pub fn len(&self) -> usize {
        (self.end - self.start) as usize
    }

    /// Whether it holds no bytes.
    pub fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// The bytes as they go out.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[self.start as usize..self.end as usize]
    }

    /// Takes `next` in if it is the following part of the same buffer.
    fn extend_with(&mut self, next: &Frame) -> bool {
        let follows = self.end == next.start && Rc::ptr_eq(&self.bytes, &next.bytes);
        if follows {
            self.end = next.end;
        }
        follows
    }
}

/// How an attempt to write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drain {
    /// Everything queued is sent.
    Emptied,
    /// The socket takes no more for now, or could not send all that it took; about `written` bytes went out.
    Blocked { written: usize },
}

/// What a queue holds beyond one piece that nothing is written of.
#[derive(Debug, Default)]
struct Rest {
    pieces: VecDeque<Frame>,
    /// The sum of the pieces.
    bytes: usize,
    /// The first piece of the queue is partly written, and has been cut accordingly.
    begun: bool,
    /// Since when the socket, which is full, has taken nothing.
    blocked_since_ms: Option<u64>,
}

/// The queue of one connection.
///
/// Most sockets have nothing queued, most others one piece: neither allocates, so an idle connection pays for two
/// pointers and a range.
///
/// Invariants: no piece is empty; without a first piece there are no others; `Rest::bytes` is the sum of its pieces.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    first: Option<Frame>,
    rest: Option<Box<Rest>>,
}

impl Outbox {
    /// Bytes queued and not written.
    pub fn bytes(&self) -> usize {
        self.first.as_ref().map_or(0, Frame::len) + self.rest.as_ref().map_or(0, |rest| rest.bytes)
    }

    /// Queues `frame` behind the others.
    pub fn push(&mut self, frame: Frame) {
        if frame.is_empty() {
            return;
        }
        let Some(first) = &mut self.first else {
            self.first = Some(frame);
            return;
        };
        match self.rest.as_mut().filter(|rest| !rest.pieces.is_empty()) {
            None if first.extend_with(&frame) => {}
            None => self.rest.get_or_insert_default().push(frame),
            Some(rest) => rest.push(frame),
        }
        self.check_invariants();
    }

    /// Drops everything but a piece that is partly written: nothing may be put inside a frame.
    pub fn abandon(&mut self) {
        match &mut self.rest {
            Some(rest) if rest.begun => (rest.pieces, rest.bytes) = (VecDeque::new(), 0),
            _ => *self = Outbox::default(),
        }
        self.check_invariants();
    }

    /// Writes until the queue or the socket's buffer is exhausted: a single piece from where it lies, several through
    /// `gather`, because for frames as short as these a copy costs less than the kernel's walk over a
    /// list of them.
    ///
    /// `is_last`: when all is written, the sending side is shut.
    ///
    /// # Errors
    /// The socket's; the connection is of no more use.
    pub fn write_to<S: Socket>(&mut self, socket: &mut S, gather: &mut Vec<u8>, is_last: bool) -> io::Result<Drain> {
        // What the socket held before goes out first, and is progress too.
        let mut written = socket.unsent_bytes();
        let blocked =
            |written: usize, socket: &S| Ok(Drain::Blocked { written: written.saturating_sub(socket.unsent_bytes()) });
        while let Some(first) = &self.first {
            let bytes = match self.rest.as_ref().filter(|rest| !rest.pieces.is_empty()) {
                Some(rest) => {
                    collect(first, &rest.pieces, gather);
                    &gather[..]
                }
                None => first.as_bytes(),
            };
            let is_end = is_last && bytes.len() == self.bytes();
            let result = if is_end { socket.write_last(bytes) } else { socket.write(bytes) };
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => {
                    self.advance(count);
                    written += count;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return blocked(written, socket),
                Err(error) => return Err(error),
            }
        }
        match socket.flush() {
            Ok(()) => {
                self.rest = None;
                Ok(Drain::Emptied)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => blocked(written, socket),
            Err(error) => Err(error),
        }
    }

    /// Since when the socket has taken nothing, in milliseconds, as last told.
    pub fn blocked_since_ms(&self) -> Option<u64> {
        self.rest.as_ref()?.blocked_since_ms
    }

    /// Remembers since when the socket has taken nothing. Kept here, because only who has to wait pays for it.
    pub fn set_blocked_since_ms(&mut self, since_ms: u64) {
        self.rest.get_or_insert_default().blocked_since_ms = Some(since_ms);
    }

    /// Forgets `count` bytes that were written.
    fn advance(&mut self, mut count: usize) {
        while let Some(first) = &mut self.first {
            if first.len() > count {
                if count > 0 {
                    first.start += count as u32;
                    self.rest.get_or_insert_default().begun = true;
                }
                break;
            }
            count -= first.len();
            self.first = self.rest.as_mut().and_then(|rest| rest.pop());
        }
        if self.first.is_none() {
            self.rest = None;
        }
        self.check_invariants();
    }

    fn check_invariants(&self) {
        if cfg!(debug_assertions) {
            let rest = self.rest.iter().flat_map(|rest| &rest.pieces);
            assert!(self.first.iter().chain(rest.clone()).all(|piece| !piece.is_empty()), "an empty piece");
            assert!(self.first.is_some() || rest.clone().count() == 0, "others without a first piece");
            let bytes: usize = rest.map(Frame::len).sum();
            assert_eq!(self.rest.as_ref().map_or(0, |rest| rest.bytes), bytes, "bytes queued");
        }
    }
}

impl Rest {
    fn push(&mut self, frame: Frame) {
        self.bytes += frame.len();
        if !self.pieces.back_mut().is_some_and(|last| last.extend_with(&frame)) {
            self.pieces.push_back(frame);
        }
    }

    /// The piece that becomes the first one.
    fn pop(&mut self) -> Option<Frame> {
        self.begun = false;
        let next = self.pieces.pop_front()?;
        self.bytes -= next.len();
        Some(next)
    }
}

/// Copies queued pieces, up to [`GATHER_BYTES`].
fn collect(first: &Frame, rest: &VecDeque<Frame>, gather: &mut Vec<u8>) {
    gather.clear();
    for piece in iter::once(first).chain(rest) {
        let bytes = piece.as_bytes();
        let room = GATHER_BYTES - gather.len();
        gather.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if gather.len() == GATHER_BYTES {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::{ScriptedSocket, Step};

    fn frames() -> Vec<Frame> {
        let batch = Frame::from_encoded((0..40).collect());
        vec![Frame::text(b"one"), batch.slice(0..10), batch.slice(10..30), Frame::ping(b""), batch.slice(30..40)]
    }

    fn bytes_of(frames: &[Frame]) -> Vec<u8> {
        frames.iter().flat_map(|frame| frame.as_bytes().to_vec()).collect()
    }

    #[test]
    fn headers_use_the_shortest_length_form() {
        for (len, header) in
            [(0, &[0x81, 0][..]), (125, &[0x81, 125]), (126, &[0x81, 126, 0, 126]), (65_535, &[0x81, 126, 255, 255])]
        {
            assert_eq!(Frame::text(&vec![b'x'; len]).as_bytes()[..header.len()], *header);
        }
        let mut out = Vec::new();
        encode_header(Opcode::Binary, 65_536, &mut out);
        assert_eq!(out, [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_frame_written_in_place_is_the_same_frame() {
        for len in [0, 125, 126, 65_535, 65_536] {
            let mut frame = TextFrame::default();
            frame.payload().extend(vec![b'x'; len]);
            let frame = frame.finish();
            assert_eq!(frame.as_bytes(), Frame::text(&vec![b'x'; len]).as_bytes());
            assert_eq!(frame.slice(1..2).as_bytes(), &frame.as_bytes()[1..2]);
        }
    }

    #[test]
    fn close_reason_is_cut_between_characters() {
        let frame = Frame::close(Some(1000), &"ä".repeat(100));
        assert_eq!(frame.as_bytes()[..4], [0x88, 124, 3, 232]);
        assert!(std::str::from_utf8(&frame.as_bytes()[4..]).is_ok());
        assert_eq!(Frame::close(None, "unused").as_bytes(), [0x88, 0]);
    }

    #[test]
    fn queue_survives_a_socket_that_takes_any_number_of_bytes_at_a_time() {
        let want = bytes_of(&frames());
        for at in 0..want.len() {
            let mut outbox = Outbox::default();
            frames().into_iter().for_each(|frame| outbox.push(frame));
            let steps = [Step::Take(at), Step::Block, Step::Take(1), Step::Block];
            let mut socket = ScriptedSocket::writing(steps.into_iter().filter(|step| !matches!(step, Step::Take(0))));
            let mut gather = Vec::new();
            let first = outbox.write_to(&mut socket, &mut gather, false).unwrap();
            assert_eq!(first, Drain::Blocked { written: at });
            assert_eq!(outbox.bytes(), want.len() - at);
            while outbox.write_to(&mut socket, &mut gather, false).unwrap() != Drain::Emptied {}
            assert_eq!(socket.written, want, "cut at {at}");
            assert!(outbox.first.is_none() && outbox.rest.is_none(), "storage is given back");
        }
    }

    #[test]
    fn neighbouring_slices_become_one_piece() {
        let batch = Frame::from_encoded(vec![7; 30]);
        let mut outbox = Outbox::default();
        outbox.push(batch.slice(0..10));
        outbox.push(batch.slice(10..30));
        assert!(outbox.rest.is_none());
        outbox.push(batch.slice(0..10));
        assert_eq!(
            outbox.rest.as_ref().map(|rest| rest.pieces.len()),
            Some(1),
            "a gap or repeat is a piece of its own"
        );
        assert_eq!(outbox.bytes(), 40);
    }

    #[test]
    fn several_pieces_leave_in_one_write() {
        let mut outbox = Outbox::default();
        frames().into_iter().for_each(|frame| outbox.push(frame));
        let mut socket = ScriptedSocket::writing([]);
        assert_eq!(outbox.write_to(&mut socket, &mut Vec::new(), false).unwrap(), Drain::Emptied);
        assert_eq!((socket.writes, socket.written), (1, bytes_of(&frames())));
    }

    #[test]
    fn abandon_keeps_only_the_piece_that_is_partly_sent() {
        for (sent, kept) in [(0, 0), (2, 3), (5, 0), (9, 26)] {
            let mut outbox = Outbox::default();
            frames().into_iter().for_each(|frame| outbox.push(frame));
            let steps = [Step::Take(sent), Step::Block];
            let mut socket = ScriptedSocket::writing(steps.into_iter().filter(|step| !matches!(step, Step::Take(0))));
            outbox.write_to(&mut socket, &mut Vec::new(), false).unwrap();
            outbox.abandon();
            assert_eq!(outbox.bytes(), kept, "after {sent} bytes");
        }
    }

    #[test]
    fn a_long_queue_leaves_in_contiguous_writes() {
        let mut outbox = Outbox::default();
        let long: Vec<Frame> = (0..5).map(|n| Frame::binary(&vec![n; 30_000])).collect();
        long.iter().for_each(|frame| outbox.push(frame.clone()));
        let mut socket = ScriptedSocket::writing([]);
        outbox.write_to(&mut socket, &mut Vec::new(), false).unwrap();
        assert_eq!((socket.writes, socket.written == bytes_of(&long)), (3, true));
    }
}

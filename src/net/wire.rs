//! WebSocket input: what tungstenite reads from, and how little of it a quiet connection keeps.
//!
//! Owns: the stream that tungstenite sees and the state of a half received message. Must never know: sockets,
//! outboxes.
//!
//! A [`WebSocketContext`] that has consumed whole messages only is as good as new, so connections between messages
//! share one. Whether input ends between messages is told by [`Boundary`], which reads frame headers and judges
//! nothing; tungstenite stays the judge of everything else.

use std::io::{self, Cursor, Read, Write};
use std::mem;

use tungstenite::protocol::frame::FrameHeader;
use tungstenite::protocol::frame::coding::{Data, OpCode};
use tungstenite::protocol::{Message, Role, WebSocketConfig, WebSocketContext};
use tungstenite::{Bytes, Error, Utf8Bytes};

/// Longest frame header, in bytes (RFC 6455 section 5.2).
const HEADER_BYTES_MAX: usize = 14;
/// tungstenite zero-fills this much per read and allocates it per context, in bytes.
const READ_CHUNK_BYTES: usize = 256;

/// One read's bytes in, control frames in answer out.
struct Wire<'a> {
    input: &'a [u8],
    output: &'a mut Vec<u8>,
}

impl Read for Wire<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.input.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.input.read(buffer)
    }
}

impl Write for Wire<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.output.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where the input stands within a frame and a message.
#[derive(Debug, Clone, Copy, Default)]
struct Boundary {
    /// A header that has begun to arrive.
    header: [u8; HEADER_BYTES_MAX],
    header_len: usize,
    /// Payload bytes of the current frame still to come.
    payload_left: u64,
    /// Between the first and the last fragment of a message.
    fragmented: bool,
}

impl Boundary {
    /// Whether what has been seen so far ends between two messages.
    fn is_clean(&self) -> bool {
        self.header_len == 0 && self.payload_left == 0 && !self.fragmented
    }

    /// Moves over `input`. Costs one step per frame, however long its payload. Input that is no frame leaves it
    /// unclean. Tells how many fragments of nothing there were: they end no message and make none longer, so no other
    /// bound ever meets them.
    fn advance(&mut self, mut input: &[u8]) -> u32 {
        let mut empty_fragments = 0;
        loop {
            let skipped = self.payload_left.min(input.len() as u64);
            self.payload_left -= skipped;
            input = &input[skipped as usize..];
            if input.is_empty() {
                return empty_fragments;
            }
            let carried = self.header_len;
            let fresh = input.len().min(HEADER_BYTES_MAX - carried);
            self.header[carried..carried + fresh].copy_from_slice(&input[..fresh]);
            let mut cursor = Cursor::new(&self.header[..carried + fresh]);
            match FrameHeader::parse(&mut cursor) {
                Ok(Some((header, payload_len))) => {
                    // A header that was incomplete before ends within the new input.
                    input = &input[cursor.position() as usize - carried..];
                    self.header_len = 0;
                    self.payload_left = payload_len;
                    if let OpCode::Data(data) = header.opcode {
                        self.fragmented = !header.is_final;
                        empty_fragments += u32::from(self.fragmented && payload_len == 0);
                        debug_assert!(!matches!(data, Data::Reserved(_)), "parse refuses reserved opcodes");
                    }
                }
                Ok(None) | Err(_) => {
                    self.header_len = carried + fresh;
                    return empty_fragments;
                }
            }
        }
    }
}

/// The state of a connection that is amid a message, or that brought bytes along with its request head.
#[derive(Debug)]
pub(super) struct Partial {
    context: WebSocketContext,
    boundary: Boundary,
    /// Bytes that arrived behind the request head and are still to be fed.
    pub unread: Vec<u8>,
}

/// What a peer sent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Incoming {
    Text(Utf8Bytes),
    Binary(Bytes),
    /// A close frame, with its code if it carried one.
    Close(Option<u16>),
    /// A violation; the connection is to be closed with this code (RFC 6455 section 7.4.1).
    Failure(u16),
}

/// The decoder of all connections of a loop.
#[derive(Debug)]
pub(super) struct Decoder {
    config: WebSocketConfig,
    /// Has always consumed whole messages only.
    context: WebSocketContext,
}

impl Decoder {
    /// A decoder of messages up to `message_bytes_max` bytes.
    pub fn new(message_bytes_max: usize) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_CHUNK_BYTES)
            .write_buffer_size(0)
            .max_frame_size(Some(message_bytes_max))
            .max_message_size(Some(message_bytes_max));
        Decoder { config, context: WebSocketContext::new(Role::Server, Some(config)) }
    }

    /// The state of a connection that has sent `unread` before it was a WebSocket.
    pub fn partial(&self, unread: Vec<u8>) -> Option<Box<Partial>> {
        (!unread.is_empty()).then(|| Box::new(Partial { context: self.fresh(), boundary: Boundary::default(), unread }))
    }

    /// Decodes `input` of the connection whose state is `partial`, into `incoming`. Pongs are appended to `answer`. Tells
    /// how many pings and pongs there were, and fragments of nothing, which are as good as those.
    ///
    /// Nothing follows an [`Incoming::Close`] or [`Incoming::Failure`]; the connection must not be fed again.
    pub fn feed(
        &mut self,
        partial: &mut Option<Box<Partial>>,
        input: &[u8],
        answer: &mut Vec<u8>,
        incoming: &mut Vec<Incoming>,
    ) -> u32 {
        let mut boundary = partial.as_ref().map_or_else(Boundary::default, |partial| partial.boundary);
        let empty_fragments = boundary.advance(input);
        let context = partial.as_mut().map_or(&mut self.context, |partial| &mut partial.context);
        let (ended, controls) = read_all(context, Wire { input, output: answer }, incoming);
        match partial {
            Some(_) if ended || boundary.is_clean() => *partial = None,
            Some(partial) => partial.boundary = boundary,
            None if ended => self.context = self.fresh(),
            None if boundary.is_clean() => {}
            None => {
                let fresh = self.fresh();
                let context = mem::replace(&mut self.context, fresh);
                *partial = Some(Box::new(Partial { context, boundary, unread: Vec::new() }));
            }
        }
        controls + empty_fragments
    }

    fn fresh(&self) -> WebSocketContext {
        WebSocketContext::new(Role::Server, Some(self.config))
    }
}

/// Reads until the wire is exhausted. True when the context has seen its last frame; and how many pings and pongs were
/// among them.
fn read_all(context: &mut WebSocketContext, mut wire: Wire<'_>, incoming: &mut Vec<Incoming>) -> (bool, u32) {
    let mut controls = 0;
    loop {
        let item = match context.read(&mut wire) {
            Ok(Message::Text(text)) => Incoming::Text(text),
            Ok(Message::Binary(data)) => Incoming::Binary(data),
            // The pong leaves with the next read; a raw frame is never read.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {
                controls += 1;
                continue;
            }
            Ok(Message::Close(frame)) => Incoming::Close(frame.map(|frame| frame.code.into())),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return (false, controls),
            Err(Error::Capacity(_)) => Incoming::Failure(1009),
            Err(Error::Utf8(_)) => Incoming::Failure(1007),
            Err(_) => Incoming::Failure(1002),
        };
        let ended = matches!(item, Incoming::Close(_) | Incoming::Failure(_));
        incoming.push(item);
        if ended {
            return (true, controls);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::testing::client_frame;

    const MESSAGE_BYTES_MAX: usize = 100_000;

    /// Everything a connection may send that is legal, in one stream.
    fn conversation(name: &str) -> Vec<u8> {
        let long = name.repeat(300);
        [
            client_frame(0x81, format!("{name} says hä").as_bytes()),
            client_frame(0x01, format!("{name} begins ").as_bytes()),
            client_frame(0x89, b"ping"),
            client_frame(0x00, &"ü".as_bytes()[..1]),
            client_frame(0x80, &"ü".as_bytes()[1..]),
            client_frame(0x82, long.as_bytes()),
            client_frame(0x8a, b""),
            client_frame(0x81, b""),
        ]
        .concat()
    }

    fn feed(decoder: &mut Decoder, partial: &mut Option<Box<Partial>>, input: &[u8]) -> (Vec<Incoming>, Vec<u8>) {
        let (mut answer, mut incoming) = (Vec::new(), Vec::new());
        decoder.feed(partial, input, &mut answer, &mut incoming);
        (incoming, answer)
    }

    fn alone(input: &[u8]) -> Vec<Incoming> {
        feed(&mut Decoder::new(MESSAGE_BYTES_MAX), &mut None, input).0
    }

    #[test]
    fn connections_that_share_a_decoder_never_see_each_other() {
        let (left, right) = (conversation("left"), conversation("right"));
        for cut in 0..left.len() {
            let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
            let (mut first, mut second) = (None, None);
            let mut heard = feed(&mut decoder, &mut first, &left[..cut]).0;
            assert_eq!(feed(&mut decoder, &mut second, &right).0, alone(&right), "cut at {cut}");
            heard.extend(feed(&mut decoder, &mut first, &left[cut..]).0);
            assert_eq!(heard, alone(&left), "cut at {cut}");
            assert!(first.is_none() && second.is_none(), "nothing is kept between messages");
        }
    }

    #[test]
    fn state_is_kept_only_amid_a_message() {
        let input = conversation("x");
        let mut whole = 0;
        let mut boundary = Boundary::default();
        let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
        let mut partial = None;
        for (at, byte) in input.iter().enumerate() {
            boundary.advance(&[*byte]);
            feed(&mut decoder, &mut partial, &[*byte]);
            assert_eq!(partial.is_none(), boundary.is_clean(), "at byte {at}");
            whole += usize::from(partial.is_none());
        }
        assert_eq!(whole, 5, "four messages and a pong; the ping lies amid a message");
    }

    #[test]
    fn a_ping_is_answered_with_its_payload() {
        let (incoming, answer) = feed(&mut Decoder::new(10), &mut None, &client_frame(0x89, b"abc"));
        assert_eq!((incoming, answer.as_slice()), (vec![], &b"\x8a\x03abc"[..]));
    }

    #[test]
    fn fragments_of_nothing_are_counted_and_others_are_not() {
        let frames =
            [(0x01, &b""[..], 1), (0x00, b"", 1), (0x00, b"x", 0), (0x89, b"", 1), (0x80, b"", 0), (0x81, b"", 0)];
        let (mut decoder, mut partial) = (Decoder::new(MESSAGE_BYTES_MAX), None);
        for (first, payload, expected) in frames {
            let input = client_frame(first, payload);
            let bytes = input.iter().map(std::slice::from_ref);
            let counted = bytes.map(|byte| decoder.feed(&mut partial, byte, &mut Vec::new(), &mut Vec::new()));
            assert_eq!(counted.sum::<u32>(), expected, "{first:x} {payload:?}, a byte at a time");
        }
    }

    #[test]
    fn violations_have_their_codes_and_leave_no_trace() {
        let cases: [(&str, Vec<u8>, u16); 13] = [
            ("reserved opcode", client_frame(0x83, b"x"), 1002),
            ("reserved control opcode", client_frame(0x8b, b""), 1002),
            ("RSV1", client_frame(0xc1, b"x"), 1002),
            ("RSV3", client_frame(0x91, b"x"), 1002),
            ("unmasked", vec![0x81, 1, b'x'], 1002),
            ("continuation of nothing", client_frame(0x80, b"x"), 1002),
            ("text within a message", [client_frame(0x01, b"a"), client_frame(0x81, b"b")].concat(), 1002),
            ("fragmented ping", client_frame(0x09, b""), 1002),
            ("long ping", client_frame(0x89, &[0; 126]), 1002),
            ("close of one byte", client_frame(0x88, &[3]), 1002),
            ("text that is not UTF-8", client_frame(0x81, &[0xc0, 0xaf]), 1007),
            ("frame too big", client_frame(0x82, &vec![0; MESSAGE_BYTES_MAX + 1]), 1009),
            (
                "message too big",
                [client_frame(0x02, &vec![0; MESSAGE_BYTES_MAX]), client_frame(0x80, b"x")].concat(),
                1009,
            ),
        ];
        let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
        for (name, input, code) in cases {
            let mut partial = None;
            assert_eq!(feed(&mut decoder, &mut partial, &input).0, [Incoming::Failure(code)], "{name}");
            assert!(partial.is_none(), "{name}");
            let good = conversation("after");
            assert_eq!(feed(&mut decoder, &mut None, &good).0, alone(&good), "{name} spoils the next connection");
        }
    }

    #[test]
    fn close_frames_give_their_code() {
        assert_eq!(alone(&client_frame(0x88, &[3, 232])), [Incoming::Close(Some(1000))]);
        assert_eq!(alone(&client_frame(0x88, b"")), [Incoming::Close(None)]);
        assert_eq!(alone(&client_frame(0x88, &[3, 237])), [Incoming::Close(Some(1002))], "1005 is never sent");
        assert_eq!(alone(&client_frame(0x88, &[3, 232, 0xff])), [Incoming::Failure(1007)]);
        let behind = [client_frame(0x88, &[3, 232]), client_frame(0x81, b"late")].concat();
        assert_eq!(alone(&behind), [Incoming::Close(Some(1000))]);
    }
}

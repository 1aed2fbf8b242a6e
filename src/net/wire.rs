//! WebSocket input: what tungstenite reads from, and how little of it a quiet connection keeps.
//!
//! Owns: the stream that tungstenite sees and the state of a half received message. Must never know: sockets, outboxes.
//!
//! A [`WebSocketContext`] that has consumed whole messages only is as good as new, so connections between messages share
//! one. Whether input ends between messages is told by [`Boundary`], which reads frame headers and judges nothing;
//! tungstenite stays the judge of everything else.

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

    /// Moves over `input`. Costs one step per frame, however long its payload. Input that is no frame leaves it unclean.
    fn advance(&mut self, mut input: &[u8]) {
        loop {
            let skipped = self.payload_left.min(input.len() as u64);
            self.payload_left -= skipped;
            input = &input[skipped as usize..];
            if input.is_empty() {
                return;
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
                        debug_assert!(!matches!(data, Data::Reserved(_)), "parse refuses reserved opcodes");
                    }
                }
                Ok(None) | Err(_) => {
                    self.header_len = carried + fresh;
                    return;
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

    /// Decodes `input` of the connection whose state is `partial`, into `incoming`. Pongs are appended to `answer`.
    ///
    /// Nothing follows an [`Incoming::Close`] or [`Incoming::Failure`]; the connection must not be fed again.
    pub fn feed(
        &mut self,
        partial: &mut Option<Box<Partial>>,
        input: &[u8],
        answer: &mut Vec<u8>,
        incoming: &mut Vec<Incoming>,
    ) {
        let mut boundary = partial.as_ref().map_or_else(Boundary::default, |partial| partial.boundary);
        boundary.advance(input);
        let context = partial.as_mut().map_or(&mut self.context, |partial| &mut partial.context);
        let ended = read_all(context, Wire { input, output: answer }, incoming);
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
    }

    fn fresh(&self) -> WebSocketContext {
        WebSocketContext::new(Role::Server, Some(self.config))
    }
}

/// Reads until the wire is exhausted. True when the context has seen its last frame.
fn read_all(context: &mut WebSocketContext, mut wire: Wire<'_>, incoming: &mut Vec<Incoming>) -> bool {
    loop {
        let item = match context.read(&mut wire) {
            Ok(Message::Text(text)) => Incoming::Text(text),
            Ok(Message::Binary(data)) => Incoming::Binary(data),
            // The pong leaves with the next read; a raw frame is never read.
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => continue,
            Ok(Message::Close(frame)) => Incoming::Close(frame.map(|frame| frame.code.into())),
            Err(Error::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => return false,
            Err(Error::Capacity(_)) => Incoming::Failure(1009),
            Err(Error::Utf8(_)) => Incoming::Failure(1007),
            Err(_) => Incoming::Failure(1002),
        };
        let ended = matches!(item, Incoming::Close(_) | Incoming::Failure(_));
        incoming.push(item);
        if ended {
            return true;
        }
    }
}

//! One dialled connection, from its first SYN to its last byte.
//!
//! Owns: the phase it is in, its deadlines, and the only ways in which it ends. Must never know: other connections, a
//! clock, what messages mean.

use std::io::{self, Read, Write};
use std::mem;

use mio::net::TcpStream;

use super::config::NetConfig;
use super::event::{CloseReason, ConnId, NetEvent};
use super::handshake::{DialError, Handshake};
use super::inbox::{Carry, Control, Inbox};
use super::mask::Masks;
use super::outbox::close_payload;

const HANDSHAKE_READ_BYTES: usize = 4 * 1024;
/// Capacity that an emptied queue may keep, in bytes.
const QUEUE_BYTES_KEPT: usize = 1024;
const TEXT: u8 = 1;
const CLOSE: u8 = 8;
const PONG: u8 = 10;

#[derive(Debug)]
enum Phase {
    /// The kernel connects.
    Connecting {
        handshake: Box<Handshake>,
    },
    /// The upgrade is asked for.
    Upgrading {
        handshake: Box<Handshake>,
    },
    Open,
    /// Our close frame is queued; then input is discarded until the peer ends.
    Closing,
    /// To be dropped.
    Closed,
}

/// The surroundings in which a dialled connection is driven.
pub(super) struct ClientTurn<'a> {
    pub now_ms: u64,
    pub config: &'a NetConfig,
    pub masks: &'a mut Masks,
    pub events: &'a mut Vec<NetEvent>,
}

/// A dialled connection.
///
/// Invariants: `blocked` only while bytes are queued; in `Closed` nothing more happens.
#[derive(Debug)]
pub(super) struct Client {
    id: ConnId,
    socket: TcpStream,
    phase: Phase,
    /// When the current wait ends; `u64::MAX` is never.
    deadline_ms: u64,
    queue: Vec<u8>,
    /// Bytes of the queue that are written.
    sent: usize,
    carry: Carry,
    blocked: bool,
    held: bool,
    readable: bool,
    /// The peer has finished sending; only the end itself says so to `read`.
    read_closed: bool,
    /// The lists of the loop that it is in.
    pub in_ready: bool,
    pub in_marked: bool,
    pub in_finished: bool,
}

impl Client {
    /// A connection that the kernel was told to make; `request` goes out once it is made.
    pub fn new(id: ConnId, socket: TcpStream, request: Vec<u8>, handshake: Handshake, deadline_ms: u64) -> Self {
        Client {
            id,
            socket,
            phase: Phase::Connecting { handshake: Box::new(handshake) },
            deadline_ms,
            queue: request,
            sent: 0,
            carry: Carry::default(),
            blocked: false,
            held: false,
            readable: false,
            read_closed: false,
            in_ready: false,
            in_marked: false,
            in_finished: false,
        }
    }

    pub fn id(&self) -> ConnId {
        self.id
    }

    pub fn socket(&self) -> &TcpStream {
        &self.socket
    }

    pub fn deadline_ms(&self) -> u64 {
        self.deadline_ms
    }

    pub fn queued_bytes(&self) -> usize {
        self.queue.len() - self.sent
    }

    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether [`Client::progress`] is what to call when something happens, not [`Client::receive`].
    pub fn is_opening(&self) -> bool {
        matches!(self.phase, Phase::Connecting { .. } | Phase::Upgrading { .. })
    }

    /// Whether [`Client::receive`] has something to do.
    pub fn wants_read(&self) -> bool {
        match self.phase {
            Phase::Open => self.readable && !self.held,
            Phase::Closing => self.readable,
            _ => false,
        }
    }

    pub fn wants_write(&self) -> bool {
        self.queued_bytes() > 0 && !self.blocked && matches!(self.phase, Phase::Open | Phase::Closing)
    }

    pub fn mark_readable(&mut self, ended: bool) {
        self.readable = true;
        self.read_closed |= ended;
    }

    /// Goes on with the opening: the socket became writable or readable.
    pub fn progress(&mut self, turn: &mut ClientTurn<'_>) {
        if let Err(error) = self.try_progress(turn) {
            self.phase = Phase::Closed;
            turn.events.push(NetEvent::DialFailed { conn: self.id, error });
        }
    }

    fn try_progress(&mut self, turn: &mut ClientTurn<'_>) -> Result<(), DialError> {
        if let Phase::Connecting { .. } = &self.phase {
            if let Some(error) = self.socket.take_error()? {
                return Err(error.into());
            }
            match self.socket.peer_addr() {
                Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(()),
                connected => connected?,
            };
            let Phase::Connecting { handshake } = mem::replace(&mut self.phase, Phase::Closed) else { return Ok(()) };
            self.phase = Phase::Upgrading { handshake };
        }
        self.write_queue()?;
        let mut buffer = [0; HANDSHAKE_READ_BYTES];
        while let Phase::Upgrading { handshake } = &mut self.phase {
            match self.socket.read(&mut buffer) {
                Ok(0) => return Err(DialError::Ended),
                Ok(count) => {
                    let Some(behind) = handshake.take(&buffer[..count], turn.config.head_bytes_max)? else { continue };
                    self.carry.bytes = behind;
                    self.phase = Phase::Open;
                    self.deadline_ms = u64::MAX;
                    // What came along waits in the carry, and more may be in the socket: this makes no new edge.
                    self.readable = true;
                    turn.events.push(NetEvent::Opened { conn: self.id });
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Err(DialError::Ended),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// One read; its messages are in `inbox` then.
    pub fn receive(&mut self, inbox: &mut Inbox, turn: &mut ClientTurn<'_>) {
        let buffer = inbox.begin(&self.carry);
        let asked = buffer.len();
        let count = match self.socket.read(buffer) {
            Ok(0) => return self.on_end(CloseReason::Eof, turn),
            Ok(count) => {
                self.readable = count == asked || self.read_closed;
                count
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => 0,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.readable = false;
                0
            }
            Err(_) => return self.on_end(CloseReason::Reset, turn),
        };
        if !matches!(self.phase, Phase::Open) {
            return; // after our last word input is only read so that closing does not reset the connection
        }
        inbox.end(count, &mut self.carry, turn.config.message_bytes_max);
        for control in mem::take(&mut inbox.controls) {
            let (code, reason) = match control {
                Control::Ping(payload) => {
                    turn.masks.append(PONG, &payload, &mut self.queue);
                    continue;
                }
                Control::Close(code) => (code, CloseReason::PeerClosed { code }),
                Control::Failure(code) => (Some(code), CloseReason::Protocol { code }),
            };
            self.finish(code, "", reason, turn);
        }
    }

    fn on_end(&mut self, reason: CloseReason, turn: &mut ClientTurn<'_>) {
        if matches!(mem::replace(&mut self.phase, Phase::Closed), Phase::Open) {
            turn.events.push(NetEvent::Closed { conn: self.id, reason });
        }
    }

    /// Queues a text message; nothing before the opening and after the end.
    pub fn send_text(&mut self, payload: &[u8], turn: &mut ClientTurn<'_>) {
        if matches!(self.phase, Phase::Open) {
            turn.masks.append(TEXT, payload, &mut self.queue);
        }
    }

    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Closes at the program's wish, behind what is queued. What is not open yet is dropped.
    pub fn close(&mut self, code: u16, text: &str, turn: &mut ClientTurn<'_>) {
        match self.phase {
            Phase::Open => self.finish(Some(code), text, CloseReason::Local { code }, turn),
            Phase::Connecting { .. } | Phase::Upgrading { .. } => {
                self.phase = Phase::Closed;
                turn.events.push(NetEvent::Closed { conn: self.id, reason: CloseReason::Local { code } });
            }
            Phase::Closing | Phase::Closed => {}
        }
    }

    fn finish(&mut self, code: Option<u16>, text: &str, reason: CloseReason, turn: &mut ClientTurn<'_>) {
        turn.masks.append(CLOSE, &close_payload(code, text), &mut self.queue);
        self.phase = Phase::Closing;
        // The server is the one to end the connection (RFC 6455 section 7.1.1), for so long.
        self.deadline_ms = turn.now_ms + turn.config.close_timeout_ms;
        turn.events.push(NetEvent::Closed { conn: self.id, reason });
    }

    /// Does what is due: gives up what did not open or end in time.
    pub fn on_deadline(&mut self, turn: &mut ClientTurn<'_>) {
        if turn.now_ms < self.deadline_ms {
            return; // the deadline of a wait that is over
        }
        if self.is_opening() {
            turn.events.push(NetEvent::DialFailed { conn: self.id, error: DialError::Timeout });
        }
        self.phase = Phase::Closed;
    }

    /// Writes what is queued.
    pub fn write(&mut self, turn: &mut ClientTurn<'_>) {
        if self.write_queue().is_err() {
            self.on_end(CloseReason::Reset, turn);
        }
    }

    /// The socket can be written again: does so, and says when there is room for more.
    pub fn on_writable(&mut self, turn: &mut ClientTurn<'_>) {
        self.write(turn);
        if matches!(self.phase, Phase::Open) && self.queued_bytes() < turn.config.outbox_low_water_bytes {
            turn.events.push(NetEvent::Drained { conn: self.id });
        }
    }

    fn write_queue(&mut self) -> io::Result<()> {
        self.blocked = false;
        while self.sent < self.queue.len() {
            match self.socket.write(&self.queue[self.sent..]) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.blocked = true;
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.sent = 0;
        self.queue.clear();
        self.queue.shrink_to(QUEUE_BYTES_KEPT);
        Ok(())
    }
}

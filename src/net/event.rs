//! What the network layer tells the program, and the names it gives to connections.
//!
//! Owns: the vocabulary. Must never know: how any of it comes about.

use tungstenite::{Bytes, Utf8Bytes};

use super::handshake::DialError;
use super::http::Request;

/// Names a connection for as long as the process lives; when it is gone, its name does nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(u64);

/// The bit of a slot that says that the connection was dialled. The two kinds are kept apart.
const DIALLED: u32 = 1 << 31;

impl ConnId {
    /// The name of a dialled connection.
    pub(super) fn dialled(index: u32, generation: u32) -> Self {
        ConnId::new(DIALLED | index, generation)
    }

    /// Whether this end made the connection.
    pub fn is_dialled(self) -> bool {
        self.0 as u32 & DIALLED != 0
    }

    /// A small number that no other open connection of the same kind (dialled or accepted) has, for tables.
    pub fn index(self) -> usize {
        (self.0 as u32 & !DIALLED) as usize
    }

    pub(super) fn new(slot: u32, generation: u32) -> Self {
        ConnId(u64::from(generation) << 32 | u64::from(slot))
    }

    pub(super) fn slot(self) -> usize {
        self.0 as u32 as usize
    }

    /// Zero is never the generation of a connection.
    pub(super) fn generation(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// As a number that [`ConnId::from_bits`] takes back.
    pub fn to_bits(self) -> u64 {
        self.0
    }

    /// The name whose [`ConnId::to_bits`] this is.
    pub fn from_bits(bits: u64) -> Self {
        ConnId(bits)
    }
}

/// What happened on the network.
#[derive(Debug)]
pub enum NetEvent {
    /// A request is complete. To be answered by `respond` or `upgrade`, at once or later. With its first request a
    /// connection becomes known; from then on it ends with exactly one [`NetEvent::Closed`].
    Request {
        /// Who asks.
        conn: ConnId,
        /// What for.
        request: Box<Request>,
    },
    /// A dialled connection is a WebSocket from here on. It ends with exactly one [`NetEvent::Closed`].
    Opened {
        /// Which.
        conn: ConnId,
    },
    /// A dialled connection did not become a WebSocket, and is gone.
    DialFailed {
        /// Which.
        conn: ConnId,
        /// Why.
        error: DialError,
    },
    /// A text message of an accepted connection; dialled ones have [`Reactor::receive`](super::Reactor::receive).
    Text {
        /// From whom.
        conn: ConnId,
        /// All of it.
        text: Utf8Bytes,
    },
    /// A binary message; only where `accept_binary` is set.
    Binary {
        /// From whom.
        conn: ConnId,
        /// All of it.
        data: Bytes,
    },
    /// An accepted connection has sent pings or pongs, which are answered already, or fragments of nothing: for a program
    /// that bounds how many it takes. Told once for each read that brought any, before the messages of that read.
    Control {
        /// Who.
        conn: ConnId,
        /// How many.
        count: u32,
    },
    /// Time to push a ping (and whatever else) to this WebSocket, or something to this stream.
    HeartbeatDue {
        /// To whom.
        conn: ConnId,
    },
    /// A socket that had been full has taken bytes, and less than `outbox_low_water_bytes` are queued for it.
    Drained {
        /// Whose.
        conn: ConnId,
    },
    /// The conversation is over: nothing more will come from this connection, and what is pushed to it is dropped.
    /// (The socket may take up to `close_timeout_ms` more to say goodbye.)
    Closed {
        /// Whose.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// A source that was registered with this key is ready, or its waker was called.
    External {
        /// The key.
        key: usize,
    },
}

/// Why a connection ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseReason {
    /// The peer sent a close frame.
    PeerClosed {
        /// Its code, if it had one.
        code: Option<u16>,
    },
    /// The peer's end of the stream, without a close frame.
    Eof,
    /// The connection was reset, or failed otherwise.
    Reset,
    /// Nothing arrived for `idle_timeout_ms`.
    IdleTimeout,
    /// The peer took nothing for `write_timeout_ms`, or the system found so.
    Stalled,
    /// The peer broke the WebSocket protocol or a bound.
    Protocol {
        /// The code it was told.
        code: u16,
    },
    /// Closed by the program.
    Local {
        /// The code it gave.
        code: u16,
    },
    /// The next request did not arrive in time.
    HandshakeTimeout,
    /// The last HTTP exchange is over.
    HttpDone,
}

//! Sockets, HTTP heads, WebSocket frames, timers: what a server of messages, or a client of one, needs below its own
//! meaning.
//!
//! Owns: connections from accept or connect to the last byte, and their deadlines. Must never know: what a message says. It may
//! import `limits` and `network`, and nothing else of this crate.
//!
//! A server's turn is: [`Reactor::wait`], read the clock, [`Reactor::collect`], handle the events (calling back into
//! the reactor at will), [`Reactor::flush`]. A program that dials calls [`Reactor::receive`] before the flush, until
//! there is nothing more to receive.

mod addresses;
mod alarm;
mod client;
mod config;
mod connection;
mod counters;
mod descriptors;
mod event;
mod forwarded;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod handshake;
pub mod http;
mod inbox;
mod mask;
mod outbox;
mod port;
mod reactor;
#[cfg(test)]
mod testing;
mod tls;
mod wheel;
mod wire;

pub use config::NetConfig;
pub use connection::Socket;
pub use counters::Counters;
pub use descriptors::raise_descriptors;
pub use event::{CloseReason, ConnId, NetEvent};
pub use handshake::{Dial, DialError};
pub use inbox::Inbox;
pub use outbox::{Frame, HEADER_BYTES_MAX, Opcode, TextFrame, encode_header, payloads};
pub use port::{Awaited, Edge, Port, SystemPort};
pub use reactor::Reactor;
pub use tls::{SystemSocket, Tls, TlsError};
pub use wheel::{TICK_MS, Wheel};

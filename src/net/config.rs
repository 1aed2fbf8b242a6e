//! The bounds and intervals of the network layer.
//!
//! Owns: their defaults, which come from `limits`. Must never know: where an operator sets them.

#[cfg(doc)]
use super::event::NetEvent;
use crate::limits;
use crate::network::Network;

/// What an operator, or a program with other needs than a chat server, may set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetConfig {
    /// Interval of [`NetEvent::HeartbeatDue`]; 0 is never.
    pub heartbeat_ms: u64,
    /// Silence after which a WebSocket is closed; 0 is never.
    pub idle_timeout_ms: u64,
    /// The code it is closed with.
    pub idle_close_code: u16,
    /// Time for a request to arrive, and the longest pause between two requests.
    pub handshake_timeout_ms: u64,
    /// Time a socket with queued bytes may take none of them; of a stream, also time its peer may acknowledge nothing.
    pub write_timeout_ms: u64,
    /// Time from our close frame (or last response) to the end of the connection.
    pub close_timeout_ms: u64,
    /// Largest request head; 431 beyond it.
    pub head_bytes_max: usize,
    /// Largest request body; 413 beyond it.
    pub body_bytes_max: usize,
    /// Largest WebSocket message and frame; 1009 beyond it.
    pub message_bytes_max: usize,
    /// Whether binary messages are taken; 1003 if not.
    pub accept_binary: bool,
    /// Queued bytes below which a connection that was blocked is [`NetEvent::Drained`] and read again.
    pub outbox_low_water_bytes: usize,
    /// Queued bytes above which a connection is not read.
    pub outbox_high_water_bytes: usize,
    /// Connections at a time; 503 beyond it.
    pub connections_max: usize,
    /// Connections at a time from one IPv4 address or one /64 of IPv6; 503 beyond it. 0 is no bound. Those of
    /// `trusted_proxies` have none.
    pub connections_per_address_max: usize,
    /// Whose `X-Forwarded-For` is believed: a request from one of them comes from where that says.
    pub trusted_proxies: Vec<Network>,
}

impl Default for NetConfig {
    fn default() -> Self {
        NetConfig {
            heartbeat_ms: limits::HEARTBEAT_MS,
            idle_timeout_ms: limits::OFFLINE_TIMEOUT_MS,
            idle_close_code: 4000,
            handshake_timeout_ms: limits::HANDSHAKE_TIMEOUT_MS,
            write_timeout_ms: limits::WRITE_TIMEOUT_MS,
            close_timeout_ms: limits::CLOSE_TIMEOUT_MS,
            head_bytes_max: limits::HEAD_BYTES_MAX,
            body_bytes_max: 0,
            message_bytes_max: limits::MESSAGE_BYTES_MAX,
            accept_binary: false,
            outbox_low_water_bytes: limits::OUTBOX_LOW_WATER_BYTES,
            outbox_high_water_bytes: limits::OUTBOX_HIGH_WATER_BYTES,
            connections_max: u32::MAX as usize,
            connections_per_address_max: 0,
            trusted_proxies: Vec::new(),
        }
    }
}

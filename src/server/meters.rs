//! What operators can measure: `GET /metrics`.
//!
//! Owns: which numbers there are, their names and meaning. Must never know: who reads them. No name of a user or room and no
//! address is among them, whoever may read them.
//!
//! Source: the naming rules of Prometheus.

use std::collections::BTreeMap;

use super::{Census, Server, World, pace::Pace};
use crate::{
    metrics::{CONTENT_TYPE, Exposition, Histogram, Kind, Seconds, labels},
    net::{CloseReason, http::Response},
    protocol::ErrorCode,
};

const SYNC_BOUNDS_US: &[u64] = &[
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000,
    10_000_000,
];

/// What the system knows of the process; `None` where it does not say.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// CPU time that it has used, in microseconds.
    pub cpu_us: Option<u64>,
    /// Memory that it has in RAM, in bytes.
    pub resident_bytes: Option<u64>,
    /// Files and sockets that are open.
    pub descriptors: Option<u64>,
}

/// What the server counts itself.
#[derive(Debug)]
pub(super) struct Meters {
    pub pace: Pace,
    /// From handing a sync to its thread until the loop knows that it is done.
    pub syncs: Histogram,
    /// Messages, edits and deletions that were stored.
    pub stored: u64,
    /// Errors beside those of the core.
    pub errors: [u64; ErrorCode::ALL.len()],
    /// Connections with a request that have ended, by why.
    closed: BTreeMap<(&'static str, u16), u64>,
    /// When the process started, Unix milliseconds.
    started_unix_ms: u64,
}

impl Meters {
    pub fn new(started_unix_ms: u64) -> Self {
        Self {
            pace: Pace::default(),
            syncs: Histogram::new(SYNC_BOUNDS_US),
            stored: 0,
            errors: [0; ErrorCode::ALL.len()],
            closed: BTreeMap::new(),
            started_unix_ms,
        }
    }

    pub fn count_error(&mut self, code: ErrorCode) {
        self.errors[code as usize] += 1;
    }

    pub fn count_closed(&mut self, reason: CloseReason) {
        *self.closed.entry(ended(reason)).or_default() += 1;
    }
}

/// Why, and with which code; 0 for none. What a peer sends may be any number, so only those that mean something here are kept
/// apart.
fn ended(reason: CloseReason) -> (&'static str, u16) {
    let known = |code: u16| if matches!(code, 1000..=1014 | 4000 | 4500 | 4501) { code } else { 0 };
    match reason {
        CloseReason::PeerClosed { code } => ("peer", code.map_or(1005, known)),
        CloseReason::Eof => ("eof", 0),
        CloseReason::Reset => ("reset", 0),
        CloseReason::IdleTimeout => ("silent", 0),
        CloseReason::Stalled => ("stalled", 0),
        CloseReason::Protocol { code } => ("protocol", code),
        CloseReason::Local { code } => ("server", code),
        CloseReason::HandshakeTimeout => ("handshake_timeout", 0),
        CloseReason::HttpDone => ("http_done", 0),
    }
}

impl<W: World> Server<W> {
    pub(super) fn metrics(&self) -> Response {
        let mut out = Exposition::default();
        self.describe_state(&mut out);
        self.describe_traffic(&mut out);
        self.describe_log(&mut out);
        self.describe_process(&mut out);
        Response::new(200)
            .header("Content-Type", CONTENT_TYPE)
            .header("Cache-Control", "no-store")
            .body(out.into_bytes())
    }

    fn describe_state(&self, out: &mut Exposition) {
        let Census { connections, users, rooms, waiting, .. } = self.census();
        let (chats, streams) = (self.links.connections().count(), self.streams.count());
        let others = connections.saturating_sub(chats + streams);
        let kinds = [("websocket", chats), ("stream", streams), ("http", others)];
        let kinds = kinds.map(|(kind, count)| (labels(&[("kind", kind)]), count as u64));
        let name = "roomlog_connections";
        out.numbers(Kind::Gauge, name, "Open connections: chats, event streams, others", kinds);
        out.number(Kind::Gauge, "roomlog_users", "Users, those that may come back included", users);
        out.number(Kind::Gauge, "roomlog_rooms", "Rooms in use", rooms);
        out.number(Kind::Gauge, "roomlog_waiting", "Requests and commands that wait for their turn", waiting);
        let slow = self.net.slow_readers();
        out.number(Kind::Gauge, "roomlog_slow_readers", "Connections that take less than there is for them", slow);
        let draining = u8::from(self.drain.is_some());
        out.number(Kind::Gauge, "roomlog_draining", "Whether the server ends", draining);
        out.histogram("roomlog_turn_seconds", "Work of the loop between two waits", self.meters.pace.turns());
    }

    fn describe_traffic(&self, out: &mut Exposition) {
        let net = self.net.counters();
        let mut counter = |name: &str, help: &str, value| out.number(Kind::Counter, name, help, value);
        counter("roomlog_connections_accepted_total", "Connections that were accepted", net.accepted);
        counter("roomlog_connections_refused_total", "Connections beyond a bound on connections", net.refused);
        counter("roomlog_received_bytes_total", "Bytes read from sockets", net.received_bytes);
        counter("roomlog_sent_bytes_total", "Bytes written to sockets", net.sent_bytes);
        counter("roomlog_commands_total", "Text messages from WebSockets", net.texts);
        counter("roomlog_messages_total", "Messages, edits and deletions that were stored", self.meters.stored);
        counter("roomlog_deliveries_total", "Messages times readers, live and caught up", self.feed.delivered());
        let classes = ["1xx", "2xx", "3xx", "4xx", "5xx"].map(|class| labels(&[("class", class)]));
        let name = "roomlog_http_responses_total";
        out.numbers(
            Kind::Counter,
            name,
            "Answers to requests, upgrades included",
            classes.into_iter().zip(net.responses),
        );
        let errors = ErrorCode::ALL.map(|code| {
            (labels(&[("code", code.as_str())]), self.chat.errors(code) + self.meters.errors[code as usize])
        });
        let name = "roomlog_errors_total";
        out.numbers(Kind::Counter, name, "Commands and calls that were refused", errors);
        let closed = self.meters.closed.iter().map(|((why, code), count)| {
            let code = if *code == 0 { String::new() } else { code.to_string() };
            (labels(&[("reason", why), ("code", &code)]), *count)
        });
        let name = "roomlog_connections_closed_total";
        out.numbers(Kind::Counter, name, "Connections that ended after a request, by why and close code", closed);
    }

    fn describe_log(&self, out: &mut Exposition) {
        out.histogram(
            "roomlog_log_sync_seconds",
            "From asking for a sync until it is known to be done",
            &self.meters.syncs,
        );
        let (read_only, damaged) = (self.feed.rooms_read_only(), self.feed.rooms_damaged());
        out.number(Kind::Gauge, "roomlog_rooms_read_only", "Rooms whose logs failed", read_only);
        out.number(Kind::Gauge, "roomlog_rooms_damaged", "Rooms in whose logs damage was found", damaged);
    }

    fn describe_process(&self, out: &mut Exposition) {
        let version = [(labels(&[("version", env!("CARGO_PKG_VERSION"))]), 1)];
        out.numbers(Kind::Gauge, "roomlog_build_info", "The version that runs", version);
        let started = Seconds(self.meters.started_unix_ms.saturating_mul(1_000));
        out.number(Kind::Gauge, "process_start_time_seconds", "When it started, since 1970", started);
        let Process { cpu_us, resident_bytes, descriptors } = self.world.process();
        if let Some(us) = cpu_us {
            out.number(Kind::Counter, "process_cpu_seconds_total", "CPU time that was used", Seconds(us));
        }
        if let Some(bytes) = resident_bytes {
            out.number(Kind::Gauge, "process_resident_memory_bytes", "Memory in RAM", bytes);
        }
        if let Some(open) = descriptors {
            out.number(Kind::Gauge, "process_open_fds", "Files and sockets that are open", open);
        }
        out.number(Kind::Gauge, "process_max_fds", "Files and sockets that may be open", self.descriptors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_cannot_make_more_numbers_than_there_are_codes() {
        let mut meters = Meters::new(0);
        for code in (0..=u16::MAX).map(Some).chain([None]) {
            meters.count_closed(CloseReason::PeerClosed { code });
        }
        assert_eq!(meters.closed.len(), 19);
        assert_eq!(meters.closed[&("peer", 1005)], 2, "no code is 1005");
    }
}

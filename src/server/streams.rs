//! Event streams: what a cursor reads, as Server-Sent Events.
//!
//! Owns: which connections are streams, and the form of an event. Must never know: rooms, accounts.
//! Source: the Server-Sent Events chapter of the HTML standard.

use crate::{
    net::{ConnId, Frame, http::Response, payloads},
    protocol::{Reset, recorded},
};

/// Which connections are streams, by slot: looked at for each delivery, so a bit each.
#[derive(Debug, Default)]
pub(super) struct Streams {
    bits: Vec<u64>,
    count: usize,
}

impl Streams {
    /// Whether a connection is one.
    pub fn contains(&self, conn: ConnId) -> bool {
        self.count > 0 && self.bits.get(conn.index() / 64).is_some_and(|bits| bits >> (conn.index() % 64) & 1 == 1)
    }

    pub fn count(&self) -> usize {
        self.count
    }

    pub fn insert(&mut self, conn: ConnId) {
        if !self.contains(conn) {
            self.bits.resize(self.bits.len().max(conn.index() / 64 + 1), 0);
            self.bits[conn.index() / 64] |= 1 << (conn.index() % 64);
            self.count += 1;
        }
    }

    /// False if it was none.
    pub fn remove(&mut self, conn: ConnId) -> bool {
        let was_one = self.contains(conn);
        if was_one {
            self.bits[conn.index() / 64] &= !(1 << (conn.index() % 64));
            self.count -= 1;
        }
        was_one
    }
}

/// The head of a stream.
pub(super) fn head() -> Response {
    Response::new(200)
        .header("Content-Type", "text/event-stream")
        .header("Cache-Control", "no-store")
        // nginx would wait for more.
        .header("X-Accel-Buffering", "no")
}

/// A comment, which shows that the stream is alive.
pub(super) fn heartbeat() -> Frame {
    Frame::from_encoded(b":\n\n".to_vec())
}

/// The first event where the reader's position could not be honoured.
pub(super) fn reset(why: Reset, epoch: &str, next: u64) -> Frame {
    let why = serde_json::to_string(&why).expect("a reason is a string");
    let event = format!("event: reset\ndata: {{\"reset\":{why},\"epoch\":\"{epoch}\",\"next\":{next}}}\n\n");
    Frame::from_encoded(event.into_bytes())
}

/// WebSocket frames, back to back, as events. JSON has no line breaks, so each is one line of data.
pub(super) fn events(frames: &Frame) -> Frame {
    let bytes = frames.as_bytes();
    let mut out = Vec::with_capacity(bytes.len() + 128);
    for payload in payloads(bytes) {
        let payload = &bytes[payload];
        match recorded::object(payload) {
            Some(object) => push_message(object, &mut out),
            None => push_other(payload, &mut out),
        }
    }
    Frame::from_encoded(out)
}

fn push_message(object: &[u8], out: &mut Vec<u8>) {
    // A message's id is epoch and sequence, just what a position in the log is.
    if let Some(id) = object.strip_prefix(br#"{"id":""#).and_then(|rest| rest.split(|&byte| byte == b'"').next()) {
        out.extend_from_slice(b"id: ");
        out.extend_from_slice(id);
        out.push(b'\n');
    }
    push_data(object, out);
}

/// What is no message is a history frame that tells of a gap.
fn push_other(payload: &[u8], out: &mut Vec<u8>) {
    let Some(data) = recorded::history_data(payload) else { return };
    out.extend_from_slice(b"event: history\n");
    push_data(data, out);
}

fn push_data(data: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(b"data: ");
    out.extend_from_slice(data);
    out.extend_from_slice(b"\n\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_known_by_their_slot() {
        let mut streams = Streams::default();
        let conn = |slot: u64| ConnId::from_bits(1 << 32 | slot);
        for slot in [0, 63, 64, 1_000] {
            assert!(!streams.contains(conn(slot)) && !streams.remove(conn(slot)));
            streams.insert(conn(slot));
            streams.insert(conn(slot));
        }
        assert_eq!(streams.count, 4);
        assert!(streams.contains(conn(63)) && !streams.contains(conn(62)) && !streams.contains(conn(5_000)));
        assert!(streams.remove(conn(63)) && !streams.contains(conn(63)) && streams.contains(conn(64)));
    }

    #[test]
    fn frames_become_events_with_the_position_as_their_id() {
        let message = br#"{"type":"message","data":{"id":"00000000000000ff:7","content":"a\nb"}}"#;
        let gap = br#"{"type":"history","data":{"room":"r","messages":[],"gap":{"from":1,"to":2}}}"#;
        let mut bytes = Frame::text(message).as_bytes().to_vec();
        bytes.extend_from_slice(Frame::text(gap).as_bytes());
        let events = events(&Frame::from_encoded(bytes));
        let text = std::str::from_utf8(events.as_bytes()).expect("text");
        assert_eq!(
            text,
            "id: 00000000000000ff:7\ndata: {\"id\":\"00000000000000ff:7\",\"content\":\"a\\nb\"}\n\n\
             event: history\ndata: {\"room\":\"r\",\"messages\":[],\"gap\":{\"from\":1,\"to\":2}}\n\n"
        );
    }
}

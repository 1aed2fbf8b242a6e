//! The JSON: parsing each command, encoding the events of a message's life.
//!
//! Owns: the sample frames. Must never know: who would send them.

use std::fmt;

use divan::counter::BytesCount;
use divan::{Bencher, black_box};
use roomlog::protocol::{Event, Member, MessageIdentity, StoredMessage, encode_message, parse};

/// A frame as a client sends it; the benchmark is named after its command.
struct Sample {
    name: &'static str,
    text: &'static str,
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)
    }
}

const COMMANDS: [Sample; 13] = [
    Sample { name: "hello", text: r#"{"type":"hello","user":"ada","id":1}"# },
    Sample { name: "join", text: r#"{"type":"join","room":"general"}"# },
    Sample {
        name: "join_since",
        text: r#"{"type":"join","room":"general","since":123456,"epoch":"b96f2f33cd774d8a","id":7}"#,
    },
    Sample { name: "leave", text: r#"{"type":"leave","room":"general"}"# },
    Sample {
        name: "message",
        text: r#"{"type":"message","data":{"room":"general","content":"The quick brown fox jumps over the lazy dog"}}"#,
    },
    Sample {
        name: "message_escaped",
        text: r#"{"type":"message","data":{"room":"general","content":"\"quoted\"\n\tand \u00e9"}}"#,
    },
    Sample {
        name: "message_flat_nonce",
        text: r#"{"type":"message","room":"general","content":"The quick brown fox","nonce":"c0-1:1795445556606","id":12}"#,
    },
    Sample { name: "presence", text: r#"{"type":"presence","room":"general"}"# },
    Sample { name: "status", text: r#"{"type":"status","status":"away"}"# },
    Sample { name: "history", text: r#"{"type":"history","room":"general","before":1000,"limit":100,"id":"h"}"# },
    Sample { name: "typing", text: r#"{"type":"typing","room":"general","isTyping":true}"# },
    Sample { name: "private", text: r#"{"type":"private","to":"bob","content":"The quick brown fox"}"# },
    Sample { name: "ping", text: r#"{"type":"ping","timestamp":1795445556606}"# },
];

#[divan::bench(args = &COMMANDS)]
fn parse_command(bencher: Bencher, sample: &Sample) {
    assert!(parse(sample.text).is_ok(), "{sample} is a command");
    bencher.counter(BytesCount::of_str(sample.text)).bench(|| parse(black_box(sample.text)).is_ok());
}

/// A message that is its own record and frame, into a buffer that is used again: what the feed does.
#[divan::bench(args = [16, 200, 1024, 4096])]
fn encode_message_of_bytes(bencher: Bencher, content_bytes: usize) {
    let content = "x".repeat(content_bytes);
    let message = StoredMessage {
        id: MessageIdentity { epoch: "b96f2f33cd774d8a", sequence: 123_456 },
        room: "general",
        user: "ada",
        content: &content,
        sequence: 123_456,
        timestamp: 1_795_445_556_606,
        nonce: None,
        change: None,
    };
    let mut out = Vec::with_capacity(2 * content_bytes + 512);
    bencher.counter(BytesCount::new(content_bytes)).bench_local(|| {
        out.clear();
        encode_message(black_box(&message), &mut out);
        out.len()
    });
}

#[divan::bench]
fn encode_message_ack(bencher: Bencher) {
    let identity = MessageIdentity { epoch: "b96f2f33cd774d8a", sequence: 123_456 };
    let (room, timestamp) = ("general", 1_795_445_556_606);
    let event = Event::MessageAck { room, sequence: 123_456, id: identity, timestamp, duplicate: false };
    encode(bencher, &event, Some("12"));
}

#[divan::bench]
fn encode_typing(bencher: Bencher) {
    encode(bencher, &Event::Typing { room: "general", user: "ada", is_typing: true }, None);
}

/// The largest list that is told in full.
#[divan::bench]
fn encode_presence_of_100(bencher: Bencher) {
    let users = vec![Member { user: "somebody", status: "online", last_seen: 1_795_445_556_606 }; 100];
    encode(bencher, &Event::Presence { room: "general", users: &users, count: 100, more: false }, None);
}

fn encode(bencher: Bencher, event: &Event<'_>, id: Option<&str>) {
    let mut out = Vec::with_capacity(64 * 1024);
    bencher.bench_local(|| {
        out.clear();
        black_box(event).encode(id, &mut out);
        out.len()
    });
}

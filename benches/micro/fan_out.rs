//! From a room to its members: the reactor with real sockets, alone and under a feed.
//!
//! Owns: both ends of the sockets; the far end is emptied between the samples, outside of what is timed. Must never
//! know: how a frame gets from a queue to a socket.
//!
//! Allocations are those of one iteration: divided by its deliveries they are the allocations of a delivery.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::net::TcpStream;

use divan::Bencher;
use divan::counter::ItemsCount;
use roomlog::clock::Now;
use roomlog::feed::{Draft, Feed, RoomId, Sink, Start, SubscriberId};
use roomlog::log::{RealDisk, SyncPolicy};
use roomlog::net::{ConnId, Frame, NetConfig, NetEvent, Reactor};

use crate::disk::Folder;

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const NOW: Now = Now { monotonic_ms: 0, fraction_us: 0, unix_ms: 1_795_442_400_000 };
/// What is said is published in its own turn.
const LINGER_US: u64 = 0;
const ROOM: RoomId = RoomId(0);
const CONTENT: &str = "The quick brown fox jumps over the lazy dog, and everybody is told";

/// A reactor and as many peers as it has connections.
struct Rig {
    net: Reactor,
    members: Vec<ConnId>,
    peers: Vec<TcpStream>,
    events: Vec<NetEvent>,
    buffer: Vec<u8>,
    /// Sent to each peer, and not read by it yet.
    unread_bytes: usize,
}

impl Rig {
    fn new(members: usize) -> Rig {
        let mut net =
            Reactor::bind(([127, 0, 0, 1], 0).into(), NetConfig::default(), NOW.monotonic_ms).expect("loopback");
        let (mut peers, mut names, mut events) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..members {
            let mut peer = TcpStream::connect(net.local_addr()).expect("it listens");
            peer.write_all(UPGRADE).expect("the kernel has room");
            peers.push(peer);
        }
        while names.len() < members {
            net.wait(None).expect("poll works");
            net.collect(NOW.monotonic_ms, &mut events);
            for event in events.drain(..) {
                if let NetEvent::Request { conn, .. } = event {
                    net.upgrade(conn, None);
                    names.push(conn);
                }
            }
            net.flush(NOW.monotonic_ms, &mut events);
        }
        peers.iter_mut().for_each(read_head);
        Rig { net, members: names, peers, events, buffer: Vec::new(), unread_bytes: 0 }
    }

    /// Everything that was sent is read. The kernel has it there when a write returns.
    fn drain(&mut self) {
        self.buffer.resize(self.unread_bytes, 0);
        for peer in &mut self.peers {
            peer.read_exact(&mut self.buffer).expect("what was written arrives");
        }
        self.unread_bytes = 0;
    }

    fn flush(&mut self) {
        self.net.flush(NOW.monotonic_ms, &mut self.events);
        self.events.clear();
    }
}

fn read_head(peer: &mut TcpStream) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        peer.read_exact(&mut byte).expect("an answer");
        head.push(byte[0]);
    }
}

/// As in the server: a subscriber is a connection's slot and generation.
fn subscriber(conn: ConnId) -> SubscriberId {
    SubscriberId { slot: conn.to_bits() as u32, generation: (conn.to_bits() >> 32) as u32 }
}

fn connection(id: SubscriberId) -> ConnId {
    ConnId::from_bits(u64::from(id.generation) << 32 | u64::from(id.slot))
}

struct Outgoing<'a> {
    net: &'a mut Reactor,
    /// Bytes pushed, over all subscribers.
    bytes: usize,
}

impl Sink for Outgoing<'_> {
    fn accepts(&self, who: SubscriberId) -> bool {
        !self.net.is_blocked(connection(who))
    }

    fn is_blocked(&self, who: SubscriberId) -> bool {
        self.net.is_blocked(connection(who))
    }

    fn push(&mut self, who: SubscriberId, frame: &Frame) {
        self.bytes += frame.len();
        self.net.push(connection(who), frame);
    }
}

/// One frame to each member, and one write for each: the reactor's part of a delivery, the kernel's included.
#[divan::bench(args = [1, 32, 1_000], sample_size = 1, sample_count = 200)]
fn push_and_flush(bencher: Bencher, members: usize) {
    let rig = RefCell::new(Rig::new(members));
    let frame = Frame::text(&[b'x'; 200]);
    bencher.counter(ItemsCount::new(members)).with_inputs(|| rig.borrow_mut().drain()).bench_local_values(|()| {
        let rig = &mut *rig.borrow_mut();
        for &member in &rig.members {
            rig.net.push(member, &frame);
        }
        rig.flush();
        rig.unread_bytes += frame.len();
    });
}

/// The same with several frames a member, which share a write: what coalescing is worth.
#[divan::bench(args = [2, 8, 32], sample_size = 1, sample_count = 200)]
fn push_several_to_32(bencher: Bencher, frames: usize) {
    let rig = RefCell::new(Rig::new(32));
    let frame = Frame::text(&[b'x'; 200]);
    bencher.counter(ItemsCount::new(32 * frames)).with_inputs(|| rig.borrow_mut().drain()).bench_local_values(|()| {
        let rig = &mut *rig.borrow_mut();
        for &member in &rig.members {
            for _ in 0..frames {
                rig.net.push(member, &frame);
            }
        }
        rig.flush();
        rig.unread_bytes += frames * frame.len();
    });
}

/// One message to a room of so many: encoded, appended, written, delivered, flushed.
#[divan::bench(args = [1, 32, 1_000], sample_size = 1, sample_count = 200)]
fn say_to_room_of(bencher: Bencher, members: usize) {
    say(bencher, members, 1);
}

/// So many messages of one turn to a room of 32.
#[divan::bench(args = [8, 32], sample_size = 1, sample_count = 200)]
fn say_several_to_32(bencher: Bencher, messages: usize) {
    say(bencher, 32, messages);
}

fn say(bencher: Bencher, members: usize, messages: usize) {
    let folder = Folder::fresh(true);
    let mut feed: Feed<RealDisk, ()> = Feed::new(folder.store(SyncPolicy::Never), LINGER_US);
    feed.open(ROOM, "general".into(), 7, NOW);
    let rig = RefCell::new(Rig::new(members));
    for &member in &rig.borrow().members {
        feed.subscribe(subscriber(member), ROOM, Start::Recent).expect("the log is open");
    }
    feed.pull(&mut Outgoing { net: &mut rig.borrow_mut().net, bytes: 0 });
    let draft = Draft { user: "ada", content: CONTENT, nonce: None };
    let mut outcomes = Vec::new();
    let mut turn = || {
        let rig = &mut *rig.borrow_mut();
        for _ in 0..messages {
            feed.append(ROOM, &draft, NOW, (), &mut outcomes);
        }
        feed.write(NOW, &mut outcomes);
        while let Some(batch) = feed.next_sync(NOW) {
            feed.synced(batch.run(), NOW, &mut outcomes);
        }
        outcomes.clear();
        let mut sink = Outgoing { net: &mut rig.net, bytes: 0 };
        feed.deliver(&mut sink);
        rig.unread_bytes += sink.bytes / members;
        rig.flush();
    };
    // The first turn makes the file and what a room in use has.
    turn();
    assert_ne!(rig.borrow().unread_bytes, 0, "what was said is delivered");
    let deliveries = ItemsCount::new(members * messages);
    bencher.counter(deliveries).with_inputs(|| rig.borrow_mut().drain()).bench_local_values(|()| turn());
    feed.shutdown(NOW).expect("the run ends cleanly");
}

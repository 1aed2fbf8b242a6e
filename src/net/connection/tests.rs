//! A connection driven by hand: a scripted socket below, the program's calls from above, and time as a number.

use super::*;
use crate::net::testing::{ScriptedSocket, Step, client_frame};

const UPGRADE: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const GET: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n";

struct Rig {
    connection: Connection<ScriptedSocket>,
    shared: Shared,
    config: NetConfig,
    now_ms: u64,
    events: Vec<NetEvent>,
}

impl Rig {
    fn new() -> Self {
        Rig::with(NetConfig::default())
    }

    fn with(config: NetConfig) -> Self {
        Rig {
            connection: Connection::new(ScriptedSocket::default(), 0),
            shared: Shared::new(&config),
            config,
            now_ms: 0,
            events: Vec::new(),
        }
    }

    /// An upgraded connection that has sent and written everything so far.
    fn upgraded() -> Self {
        Rig::upgraded_with(NetConfig::default())
    }

    fn upgraded_with(config: NetConfig) -> Self {
        let mut rig = Rig::with(config);
        rig.receive(UPGRADE);
        rig.step(|connection, turn| connection.upgrade(None, turn));
        rig.step(|connection, turn| connection.write(turn));
        assert!(rig.socket().written.starts_with(b"HTTP/1.1 101 "));
        rig.socket().written.clear();
        rig.events.clear();
        rig
    }

    /// A stream that has written everything so far.
    fn streaming() -> Self {
        let mut rig = Rig::new();
        rig.receive(GET);
        rig.step(|connection, turn| connection.stream(&Response::new(200).header("X", "y").body(&b"first"[..]), turn));
        rig.write();
        assert_eq!(rig.socket().written, b"HTTP/1.1 200 OK\r\nX: y\r\nConnection: close\r\n\r\nfirst");
        rig.socket().written.clear();
        rig.events.clear();
        rig
    }

    fn socket(&mut self) -> &mut ScriptedSocket {
        &mut self.connection.socket
    }

    fn step(&mut self, step: impl FnOnce(&mut Connection<ScriptedSocket>, &mut Turn<'_>)) {
        let Rig { connection, shared, config, now_ms, events } = self;
        step(connection, &mut Turn { conn: ConnId::new(3, 9), now_ms: *now_ms, config, shared, events, proxied: None });
    }

    fn read(&mut self) {
        while self.connection.wants_read() {
            self.step(|connection, turn| connection.read(turn));
        }
    }

    fn write(&mut self) {
        self.step(|connection, turn| connection.write(turn));
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.socket().incoming.push_back(Some(bytes.to_vec()));
        self.connection.mark_readable(false);
        self.read();
    }

    fn receive_end(&mut self) {
        self.socket().incoming.push_back(None);
        self.connection.mark_readable(true);
        self.read();
    }

    fn push(&mut self, frame: &Frame) {
        self.connection.push(frame.clone(), &self.config);
    }

    /// Lets time pass up to `now_ms`, from deadline to deadline.
    fn run_until(&mut self, now_ms: u64) {
        while self.connection.deadline_ms(&self.config) <= now_ms {
            self.now_ms = self.connection.deadline_ms(&self.config);
            self.step(|connection, turn| connection.on_deadline(0, turn));
        }
        self.now_ms = now_ms;
    }

    fn block_writes(&mut self) {
        self.socket().steps.push_back(Step::Block);
    }

    fn closed(&self) -> Vec<CloseReason> {
        let reason = |event: &NetEvent| match event {
            NetEvent::Closed { reason, .. } => Some(*reason),
            _ => None,
        };
        self.events.iter().filter_map(reason).collect()
    }

    fn controls(&self) -> Vec<u32> {
        let count = |event: &NetEvent| match event {
            NetEvent::Control { count, .. } => Some(*count),
            _ => None,
        };
        self.events.iter().filter_map(count).collect()
    }

    fn texts<'a>(&'a self) -> Vec<&'a str> {
        let text = |event: &'a NetEvent| match event {
            NetEvent::Text { text, .. } => Some(text.as_str()),
            _ => None,
        };
        self.events.iter().filter_map(text).collect()
    }
}

fn close_frame(code: u16) -> Vec<u8> {
    client_frame(0x88, &code.to_be_bytes())
}

#[test]
fn frames_behind_the_request_head_are_not_lost() {
    let frames = [client_frame(0x81, b"early"), client_frame(0x81, b"bird")].concat();
    for cut in 0..=frames.len() {
        let mut rig = Rig::new();
        rig.receive(&[UPGRADE, &frames[..cut]].concat());
        assert!(rig.texts().is_empty(), "not before the program has granted the upgrade");
        rig.step(|connection, turn| connection.upgrade(None, turn));
        rig.read();
        rig.receive(&frames[cut..]);
        assert_eq!(rig.texts(), ["early", "bird"], "cut at {cut}");
    }
}

#[test]
fn nothing_is_read_until_the_request_is_answered() {
    let mut rig = Rig::new();
    rig.receive(&[GET, GET].concat());
    rig.socket().incoming.push_back(Some(GET.to_vec()));
    rig.connection.mark_readable(false);
    for answered in 1..=3 {
        rig.read();
        assert_eq!(rig.events.len(), answered, "pipelined requests come one at a time");
        rig.step(|connection, turn| connection.respond(&Response::new(204), turn));
    }
    rig.read();
    rig.write();
    assert_eq!(rig.socket().written, b"HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\n\r\n".repeat(3));
    rig.receive_end();
    assert_eq!(rig.closed(), [CloseReason::HttpDone]);
}

#[test]
fn a_half_closed_client_still_gets_its_answer() {
    let mut rig = Rig::new();
    rig.socket().incoming.extend([Some(GET.to_vec()), None]);
    rig.connection.mark_readable(true);
    rig.read();
    rig.step(|connection, turn| connection.respond(&Response::new(204), turn));
    rig.read();
    assert!(!rig.connection.is_closed());
    rig.write();
    assert!(rig.socket().written.starts_with(b"HTTP/1.1 204"));
    assert!(rig.connection.is_closed());
    assert_eq!(rig.closed(), [CloseReason::HttpDone]);
}

#[test]
fn refused_requests_are_answered_and_never_announced() {
    let mut rig = Rig::new();
    rig.receive(b"BREW\r\n\r\n");
    rig.write();
    assert!(rig.socket().written.starts_with(b"HTTP/1.1 400 ") && rig.socket().shut);
    rig.receive(GET);
    rig.receive_end();
    assert!(rig.connection.is_closed() && rig.events.is_empty());
}

#[test]
fn an_upgrade_that_was_not_asked_for_is_answered_426() {
    let mut rig = Rig::new();
    rig.receive(GET);
    rig.step(|connection, turn| connection.upgrade(None, turn));
    rig.write();
    assert!(rig.socket().written.starts_with(b"HTTP/1.1 426 "));
}

#[test]
fn a_peers_close_is_echoed_with_its_code_and_ends_the_connection() {
    let mut rig = Rig::upgraded();
    rig.receive(&[client_frame(0x81, b"bye"), close_frame(1001), client_frame(0x81, b"late")].concat());
    assert!(!rig.connection.is_closed(), "it has not been answered");
    rig.write();
    assert_eq!(rig.socket().written, [0x88, 2, 3, 233]);
    assert_eq!(rig.socket().last_writes, 1, "it leaves in one segment with the end");
    assert!(rig.connection.is_closed());
    assert_eq!((rig.texts(), rig.closed()), (vec!["bye"], vec![CloseReason::PeerClosed { code: Some(1001) }]));
}

#[test]
fn a_peers_close_with_more_behind_it_is_not_answered_by_a_reset() {
    let mut rig = Rig::upgraded();
    let text = client_frame(0x82, &vec![0; READ_BYTES - 8 - close_frame(1001).len()]);
    let full = [text, close_frame(1001)].concat();
    assert_eq!(full.len(), READ_BYTES, "the read cannot know that it was all");
    rig.config.accept_binary = true;
    rig.shared = Shared::new(&NetConfig { message_bytes_max: READ_BYTES, ..NetConfig::default() });
    rig.socket().incoming.push_back(Some(full));
    rig.connection.mark_readable(false);
    rig.step(|connection, turn| connection.read(turn));
    rig.write();
    assert!(rig.socket().shut && !rig.connection.is_closed(), "the peer closes first, or the timer does");
    rig.receive(b"anything");
    rig.receive_end();
    assert!(rig.connection.is_closed());
    assert_eq!(rig.closed(), [CloseReason::PeerClosed { code: Some(1001) }]);
}

#[test]
fn a_close_never_lands_inside_a_frame() {
    let queued = [Frame::text(b"first"), Frame::text(b"second")];
    for sent in 0..=queued[0].len() {
        let mut rig = Rig::upgraded();
        queued.iter().for_each(|frame| rig.push(frame));
        if sent > 0 {
            rig.socket().steps.push_back(Step::Take(sent));
        }
        rig.block_writes();
        rig.write();
        rig.receive(&close_frame(1000));
        rig.step(|connection, turn| connection.on_writable(turn));
        let begun = if sent == 0 { &b""[..] } else { queued[0].as_bytes() };
        assert_eq!(rig.socket().written, [begun, &[0x88, 2, 3, 232]].concat(), "after {sent} bytes");
    }
}

#[test]
fn our_close_goes_behind_what_was_pushed_and_nothing_follows() {
    let mut rig = Rig::upgraded();
    rig.push(&Frame::text(b"why"));
    rig.step(|connection, turn| connection.close(1008, "no", turn));
    rig.step(|connection, turn| connection.close(1001, "", turn));
    rig.push(&Frame::text(b"late"));
    rig.receive(&client_frame(0x81, b"late"));
    rig.write();
    assert_eq!(rig.socket().written, b"\x81\x03why\x88\x04\x03\xf0no");
    assert_eq!((rig.texts(), rig.closed()), (vec![], vec![CloseReason::Local { code: 1008 }]));
    let deadline_ms = rig.now_ms + rig.config.close_timeout_ms;
    rig.run_until(deadline_ms - 1);
    assert!(!rig.connection.is_closed());
    rig.run_until(deadline_ms);
    assert!(rig.connection.is_closed());
    assert_eq!(rig.closed().len(), 1, "told once");
}

#[test]
fn a_stream_that_ends_without_goodbye_is_over_at_once() {
    let mut rig = Rig::upgraded();
    rig.socket().incoming.extend([Some(client_frame(0x81, b"last words")), None]);
    rig.connection.mark_readable(true);
    rig.read();
    assert_eq!((rig.texts(), rig.closed()), (vec!["last words"], vec![CloseReason::Eof]));
    assert!(rig.connection.is_closed());

    let mut rig = Rig::upgraded();
    rig.push(&Frame::text(b"x"));
    rig.socket().steps.push_back(Step::Reset);
    rig.write();
    assert_eq!(rig.closed(), [CloseReason::Reset]);
    assert!(rig.connection.is_closed());
}

#[test]
fn violations_are_answered_with_their_code() {
    for (input, code) in [
        (client_frame(0x82, b"binary"), 1003),
        (client_frame(0x81, b"\xff"), 1007),
        (client_frame(0xf1, b"reserved bits"), 1002),
        (client_frame(0x81, &[b'x'; crate::limits::MESSAGE_BYTES_MAX + 1]), 1009),
    ] {
        let mut rig = Rig::upgraded();
        rig.receive(&input);
        rig.write();
        assert_eq!(rig.socket().written[2..4], u16::to_be_bytes(code));
        assert_eq!(rig.closed(), [CloseReason::Protocol { code }]);
    }
}

#[test]
fn what_precedes_a_violation_is_delivered_and_what_follows_is_not() {
    let mut rig = Rig::upgraded();
    rig.receive(&[client_frame(0x81, b"a"), client_frame(0x82, b"b"), client_frame(0x81, b"c")].concat());
    assert_eq!((rig.texts(), rig.closed()), (vec!["a"], vec![CloseReason::Protocol { code: 1003 }]));
}

#[test]
fn a_full_outbox_stops_reading_until_it_has_drained() {
    let mut rig = Rig::upgraded();
    rig.push(&Frame::from_encoded(vec![0; rig.config.outbox_high_water_bytes + 1]));
    rig.block_writes();
    rig.write();
    rig.receive(&client_frame(0x81, b"more"));
    assert!(rig.texts().is_empty() && rig.connection.is_blocked());
    // Above low water still.
    let half = rig.config.outbox_high_water_bytes / 2;
    rig.socket().steps.extend([Step::Take(half), Step::Block]);
    rig.step(|connection, turn| connection.on_writable(turn));
    rig.read();
    assert!(rig.texts().is_empty() && rig.events.is_empty());
    rig.step(|connection, turn| connection.on_writable(turn));
    assert!(matches!(rig.events[..], [NetEvent::Drained { .. }]), "{:?}", rig.events);
    rig.read();
    assert_eq!(rig.texts(), ["more"]);
}

#[test]
fn a_reader_that_takes_nothing_is_closed_1013_and_one_that_takes_a_little_is_not() {
    let quiet = NetConfig { idle_timeout_ms: 0, heartbeat_ms: 0, ..NetConfig::default() };
    let mut rig = Rig::upgraded_with(quiet);
    rig.push(&Frame::from_encoded(vec![0; 100]));
    rig.block_writes();
    rig.write();
    for turn in 1..=10 {
        rig.run_until(turn * (rig.config.write_timeout_ms - 1));
        rig.socket().steps.extend([Step::Take(1), Step::Block]);
        rig.step(|connection, turn| connection.on_writable(turn));
    }
    assert_eq!(rig.closed(), []);
    let stalled_at_ms = rig.now_ms + rig.config.write_timeout_ms;
    rig.run_until(stalled_at_ms - 1);
    assert_eq!(rig.closed(), []);
    rig.run_until(stalled_at_ms);
    assert_eq!(rig.closed(), [CloseReason::Stalled]);
    rig.run_until(stalled_at_ms + rig.config.close_timeout_ms);
    assert!(rig.connection.is_closed());
}

#[test]
fn silence_is_met_with_heartbeats_and_then_closed() {
    let mut rig = Rig::upgraded();
    rig.run_until(59_999);
    assert!(matches!(rig.events[..], [NetEvent::HeartbeatDue { .. }]), "{:?}", rig.events);
    rig.run_until(60_000);
    assert_eq!(rig.closed(), [CloseReason::IdleTimeout]);
    rig.write();
    assert_eq!(rig.socket().written[2..4], 4000_u16.to_be_bytes());
}

#[test]
fn any_byte_keeps_a_connection_alive() {
    let mut rig = Rig::upgraded();
    for turn in 1..=10 {
        rig.run_until(turn * 59_000);
        rig.receive(&client_frame(0x8a, b""));
    }
    assert_eq!(rig.closed(), []);
}

#[test]
fn time_in_which_the_process_was_stopped_is_not_silence() {
    let mut rig = Rig::upgraded();
    rig.now_ms = 130_000;
    rig.step(|connection, turn| connection.on_deadline(100_000, turn));
    assert!(matches!(rig.events[..], [NetEvent::HeartbeatDue { .. }]), "{:?}", rig.events);
    rig.run_until(159_999);
    assert_eq!(rig.closed(), []);
    rig.run_until(160_000);
    assert_eq!(rig.closed(), [CloseReason::IdleTimeout]);
}

#[test]
fn a_request_has_a_deadline_however_slowly_it_comes() {
    let mut silent = Rig::new();
    silent.run_until(silent.config.handshake_timeout_ms);
    assert!(silent.connection.is_closed() && silent.events.is_empty());

    let mut slow = Rig::new();
    for byte in &GET[..9] {
        slow.receive(&[*byte]);
        slow.run_until(slow.now_ms + 1_000);
    }
    slow.run_until(slow.config.handshake_timeout_ms);
    slow.write();
    assert!(slow.socket().written.starts_with(b"HTTP/1.1 408 ") && slow.socket().shut);
}

#[test]
fn pings_are_answered_in_order_and_a_flood_of_them_stops_reading() {
    let mut rig = Rig::upgraded();
    rig.receive(&[client_frame(0x89, b"1"), client_frame(0x89, b"2")].concat());
    rig.write();
    assert_eq!(rig.socket().written, b"\x8a\x011\x8a\x012");
    rig.block_writes();
    rig.receive(&client_frame(0x89, b"3"));
    rig.write();
    let flood = client_frame(0x89, &[0; 125]).repeat(10_000);
    rig.receive(&flood);
    assert!(rig.connection.queued_bytes() <= rig.config.outbox_high_water_bytes + READ_BYTES);
    assert!(!rig.socket().incoming.is_empty(), "the rest waits in the kernel");
    let (heard, queued_bytes) = (rig.controls(), rig.connection.queued_bytes());
    rig.receive(&flood);
    assert_eq!((rig.controls(), rig.connection.queued_bytes()), (heard, queued_bytes), "and nothing more is answered");
    // Once the peer takes its answers, it is heard again.
    rig.step(|connection, turn| connection.on_writable(turn));
    rig.read();
    assert!(rig.connection.queued_bytes() > 0);
}

#[test]
fn a_flood_behind_the_upgrade_is_bounded_as_well() {
    let mut rig = Rig::new();
    rig.receive(&[UPGRADE, &client_frame(0x89, &[0; 125]).repeat(10_000)].concat());
    rig.step(|connection, turn| connection.upgrade(None, turn));
    let high_water_bytes = rig.config.outbox_high_water_bytes;
    rig.push(&Frame::from_encoded(vec![0; high_water_bytes / 2]));
    rig.read();
    assert!(rig.connection.queued_bytes() <= high_water_bytes + READ_BYTES, "{}", rig.connection.queued_bytes());
    assert_eq!(rig.controls().len(), 1, "what waited in memory was enough");
}

#[test]
fn control_frames_are_counted_once_for_each_read() {
    let mut rig = Rig::upgraded();
    let (ping, pong, text) = (client_frame(0x89, b"1"), client_frame(0x8a, b""), client_frame(0x81, b"text"));
    rig.receive(&[&text[..], &ping, &pong, &pong, &text].concat());
    assert!(matches!(rig.events[0], NetEvent::Control { count: 3, .. }), "first of all: {:?}", rig.events);
    assert_eq!((rig.events.len(), rig.texts().len()), (3, 2));
    rig.receive(&text);
    rig.receive(&ping[..3]);
    assert_eq!(rig.controls(), [3], "nothing is told where there was none, or not all of one");
    rig.receive(&ping[3..]);
    rig.receive(&[pong, close_frame(1000)].concat());
    assert_eq!(rig.controls(), [3, 1, 1], "a close is told of otherwise");
    assert_eq!(rig.closed(), [CloseReason::PeerClosed { code: Some(1000) }]);
}

#[test]
fn a_stream_carries_what_is_pushed_as_it_is_until_it_is_closed() {
    let mut rig = Rig::streaming();
    let chunk = Frame::from_encoded(b"data: a\n\n".to_vec());
    rig.push(&chunk);
    rig.push(&chunk);
    rig.step(|connection, turn| connection.close(1001, "unheard", turn));
    rig.push(&chunk);
    rig.write();
    assert_eq!(rig.socket().written, b"data: a\n\ndata: a\n\n");
    assert!(rig.socket().shut && !rig.connection.is_closed(), "the peer closes first, or the timer does");
    assert_eq!(rig.closed(), [CloseReason::Local { code: 1001 }]);
    rig.receive_end();
    assert!(rig.connection.is_closed());
    assert_eq!(rig.closed().len(), 1, "told once");
}

#[test]
fn a_stream_has_heartbeats_and_no_idle_timeout() {
    let mut rig = Rig::streaming();
    assert_eq!(rig.connection.socket().user_timeout_ms, Some(rig.config.write_timeout_ms), "so they find who vanished");
    rig.run_until(10 * rig.config.idle_timeout_ms);
    let heartbeats = rig.events.iter().filter(|event| matches!(event, NetEvent::HeartbeatDue { .. })).count();
    assert_eq!((heartbeats, rig.events.len()), (20, 20));

    let mut rig = Rig::upgraded();
    assert_eq!(rig.socket().user_timeout_ms, None, "a WebSocket has its idle timeout");
}

#[test]
fn what_a_stream_is_sent_is_forgotten_and_its_end_is_told() {
    let mut rig = Rig::streaming();
    // Even of a peer that takes nothing.
    rig.push(&Frame::from_encoded(vec![0; rig.config.outbox_high_water_bytes + 1]));
    rig.block_writes();
    rig.write();
    for chunk in [GET, &client_frame(0x88, b"")] {
        rig.receive(&chunk.repeat(1_000));
    }
    assert!(rig.events.is_empty() && rig.socket().incoming.is_empty(), "{:?}", rig.events);
    rig.receive_end();
    assert_eq!(rig.closed(), [CloseReason::Eof]);

    let mut rig = Rig::streaming();
    rig.receive_end();
    assert_eq!(rig.closed(), [CloseReason::Eof]);
    assert!(rig.connection.is_closed());

    let mut rig = Rig::streaming();
    rig.push(&Frame::from_encoded(vec![0]));
    rig.socket().steps.push_back(Step::Reset);
    rig.write();
    assert_eq!(rig.closed(), [CloseReason::Reset]);
}

#[test]
fn what_a_client_sent_behind_the_request_for_a_stream_is_no_request() {
    let mut rig = Rig::new();
    rig.receive(&[GET, GET].concat());
    rig.step(|connection, turn| connection.stream(&Response::new(200), turn));
    rig.receive(GET);
    assert_eq!(rig.events.len(), 1, "{:?}", rig.events);
}

#[test]
fn a_stream_that_takes_nothing_is_dropped_and_one_with_room_again_is_told() {
    let mut rig = Rig::streaming();
    rig.push(&Frame::from_encoded(vec![0; 100]));
    rig.block_writes();
    rig.write();
    rig.step(|connection, turn| connection.on_writable(turn));
    assert!(matches!(rig.events[..], [NetEvent::Drained { .. }]), "{:?}", rig.events);

    rig.push(&Frame::from_encoded(vec![0; 100]));
    rig.block_writes();
    rig.write();
    let stalled_at_ms = rig.now_ms + rig.config.write_timeout_ms;
    rig.run_until(stalled_at_ms - 1);
    assert_eq!(rig.closed(), []);
    rig.run_until(stalled_at_ms);
    assert_eq!(rig.closed(), [CloseReason::Stalled]);
    assert!(rig.connection.is_closed(), "there is nothing to say goodbye with");
}

#[test]
fn where_no_body_may_follow_a_stream_is_its_head() {
    let head = [&b"HEAD"[..], &GET[3..]].concat();
    for (request, status) in [(&head[..], 200), (GET, 204), (GET, 304)] {
        let mut rig = Rig::new();
        rig.receive(request);
        rig.step(|connection, turn| connection.stream(&Response::new(status).body(&b"first"[..]), turn));
        rig.push(&Frame::from_encoded(b"second".to_vec()));
        rig.write();
        assert!(rig.socket().written.ends_with(b"\r\nConnection: close\r\n\r\n"), "{status}");
        assert_eq!((rig.socket().shut, rig.closed()), (true, vec![CloseReason::HttpDone]), "{status}");
    }
}

#[test]
fn a_request_may_wait_for_its_answer_for_as_long_as_it_takes() {
    let mut rig = Rig::new();
    rig.receive(GET);
    rig.run_until(10 * rig.config.handshake_timeout_ms);
    assert_eq!(rig.closed(), []);
    rig.step(|connection, turn| connection.respond(&Response::new(204), turn));
    rig.write();
    rig.receive(GET);
    assert_eq!(rig.events.len(), 2, "and the next one is heard");
}

#[test]
fn a_reset_while_a_request_waits_is_told_at_once_and_the_answer_goes_nowhere() {
    let mut rig = Rig::new();
    rig.receive(&[GET, GET].concat());
    rig.connection.mark_broken();
    rig.read();
    assert_eq!((rig.closed(), rig.connection.is_closed()), (vec![CloseReason::Reset], true));
    rig.step(|connection, turn| connection.respond(&Response::new(204), turn));
    rig.step(|connection, turn| connection.stream(&Response::new(200), turn));
    rig.step(|connection, turn| connection.upgrade(None, turn));
    rig.write();
    assert_eq!((rig.socket().written.len(), rig.events.len()), (0, 2), "{:?}", rig.events);
}

#[test]
fn an_ending_process_still_answers_what_it_was_asked() {
    let ending = || {
        let mut rig = Rig::new();
        rig.receive(&[UPGRADE, GET].concat());
        rig.step(|connection, turn| connection.end(1001, "bye", turn));
        rig.run_until(rig.config.close_timeout_ms - 1);
        assert_eq!(rig.closed(), []);
        rig
    };
    let mut rig = ending();
    rig.step(|connection, turn| connection.respond(&Response::new(204), turn));
    rig.write();
    assert_eq!(rig.socket().written, b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n");
    assert_eq!((rig.socket().shut, rig.closed()), (true, vec![CloseReason::HttpDone]));

    let mut rig = ending();
    rig.step(|connection, turn| connection.stream(&Response::new(200), turn));
    rig.write();
    assert_eq!((rig.socket().shut, rig.closed()), (true, vec![CloseReason::Local { code: 1001 }]));

    let mut rig = ending();
    rig.step(|connection, turn| connection.upgrade(None, turn));
    rig.write();
    assert!(rig.socket().written.ends_with(&[0x88, 2, 0x03, 0xE9]));

    let mut rig = ending();
    rig.run_until(rig.config.close_timeout_ms);
    assert_eq!((rig.connection.is_closed(), rig.closed()), (true, vec![CloseReason::Local { code: 1001 }]));
    rig.step(|connection, turn| connection.respond(&Response::new(204), turn));
    assert_eq!(rig.closed().len(), 1, "a late answer does nothing");
}

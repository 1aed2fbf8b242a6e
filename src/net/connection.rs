//! One connection, from its first byte to its last, over any [`Socket`].
//!
//! Owns: the phase a connection is in, its deadlines, and the only ways in which it ends. Must never know: mio, other
//! connections, a clock, what messages mean.

use std::io;
use std::mem;

use super::config::NetConfig;
use super::counters::Counters;
use super::event::{CloseReason, ConnId, NetEvent};
use super::forwarded::Proxied;
use super::http::{self, Progress, Refusal, RequestReader, Response};
use super::outbox::{Drain, Frame, GATHER_BYTES, Outbox};
use super::wire::{Decoder, Incoming, Partial};

/// Bytes read from one socket per turn, so that none can keep the others waiting.
const READ_BYTES: usize = 64 * 1024;
const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// A non-blocking stream socket, as far as a connection uses one.
///
/// Some translate, and so may hold bytes: what `write` has taken and [`Socket::flush`] has not sent. The defaults are those
/// of one that holds nothing.
pub trait Socket {
    /// Like [`io::Read::read`].
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Whether the last `read`, which returned `count` bytes where it was asked for `asked`, has taken all that there was.
    /// The end, of which a finished peer's socket tells next, does not count.
    fn has_emptied(&self, count: usize, asked: usize) -> bool {
        count < asked
    }
    /// Like [`io::Write::write`].
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Sends what it holds; [`io::ErrorKind::WouldBlock`] if it still holds something then.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
    /// Bytes that it holds.
    fn unsent_bytes(&self) -> usize {
        0
    }
    /// Whether a `write` that would have blocked may do better since the last `read`: that had to come first, and no edge
    /// tells of it. Says so once.
    fn unblocks(&mut self) -> bool {
        false
    }
    /// Like `write`, for bytes behind which the sending side is shut at once: they may wait for that, to leave in one
    /// segment with the end.
    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Tells the peer that nothing more will be sent.
    fn shutdown_write(&mut self) -> io::Result<()>;
    /// Has the system give the connection up, with [`io::ErrorKind::TimedOut`], when the peer has not acknowledged what
    /// was sent for so long. Does nothing where the system cannot.
    fn set_user_timeout(&mut self, timeout_ms: u64) -> io::Result<()>;
}

/// What all connections of a loop share, because each needs it for moments only.
pub(super) struct Shared {
    decoder: Decoder,
    /// Where sockets are read into.
    scratch: Box<[u8]>,
    /// Where several frames become one write.
    gather: Vec<u8>,
    /// Where pongs are put until a read is decoded.
    pongs: Vec<u8>,
    incoming: Vec<Incoming>,
    pub counters: Counters,
}

impl Shared {
    pub fn new(config: &NetConfig) -> Self {
        Shared {
            decoder: Decoder::new(config.message_bytes_max),
            scratch: vec![0; READ_BYTES].into_boxed_slice(),
            gather: Vec::with_capacity(GATHER_BYTES),
            pongs: Vec::new(),
            incoming: Vec::new(),
            counters: Counters::default(),
        }
    }
}

/// The surroundings in which a connection is driven.
pub(super) struct Turn<'a> {
    /// The name of the connection, under which its events go.
    pub conn: ConnId,
    pub now_ms: u64,
    pub config: &'a NetConfig,
    pub shared: &'a mut Shared,
    pub events: &'a mut Vec<NetEvent>,
    /// For the connection of a trusted proxy that has no request with the program: where the next one is placed.
    pub proxied: Option<Proxied<'a>>,
}

impl Turn<'_> {
    /// Whether there is a place for where this request comes from.
    fn admits(&mut self, request: &http::Request) -> bool {
        self.proxied.as_mut().is_none_or(|proxied| proxied.place(request, self.config))
    }

    fn next_heartbeat_ms(&self) -> u64 {
        let interval_ms = self.config.heartbeat_ms;
        if interval_ms == 0 { u64::MAX } else { self.now_ms + interval_ms }
    }
}

/// Collecting a request.
#[derive(Debug)]
struct Head {
    reader: RequestReader,
    /// When this wait began.
    since_ms: u64,
    /// Bytes that arrived behind the previous request.
    unread: Vec<u8>,
}

/// A request is with the program, for as long as that takes; nothing is read until it is answered.
#[derive(Debug)]
struct Answer {
    keep_alive: bool,
    with_body: bool,
    /// The accept value, if an upgrade was asked for.
    accept_key: Option<String>,
    /// Bytes that arrived behind the request.
    unread: Vec<u8>,
    /// The process is about to end: this answer is the last.
    ending: Option<Ending>,
}

/// How long an ending process lets a request wait for its answer, and what it says of that.
#[derive(Debug, Clone, Copy)]
struct Ending {
    deadline_ms: u64,
    code: u16,
}

/// Boxed where the data lives briefly: a WebSocket between messages is what there are many of.
#[derive(Debug)]
enum Phase {
    Head(Box<Head>),
    Answer(Box<Answer>),
    WebSocket {
        partial: Option<Box<Partial>>,
        heartbeat_at_ms: u64,
    },
    /// An answer without an end. What the peer sends is read and forgotten.
    Stream {
        heartbeat_at_ms: u64,
    },
    /// The last bytes are queued. Written, the sending side is shut; then input is discarded until the peer ends too.
    Draining {
        deadline_ms: u64,
        peer_ended: bool,
        shut: bool,
    },
    /// To be dropped.
    Closed,
}

/// A connection.
///
/// It does not know its own name: whoever drives it does, and once is enough.
///
/// Invariants: `announced` exactly while the program knows of it and has not been told that it ended; `blocked` only
/// while bytes are queued; in `Draining` and `Closed` nothing more is queued, and `announced` is false.
#[derive(Debug)]
pub(super) struct Connection<S> {
    socket: S,
    phase: Phase,
    outbox: Outbox,
    last_seen_ms: u64,
    /// The last write found the socket full; the next writable edge is awaited.
    blocked: bool,
    /// Not read until the outbox is below low water.
    paused: bool,
    /// Not read until the program has worked off what it has.
    held: bool,
    /// There may be something to read.
    readable: bool,
    /// The peer has finished sending; only the end itself says so to `read`.
    read_closed: bool,
    /// The socket has failed; it can tell with the next read or write only.
    broken: bool,
    announced: bool,
    /// For whoever drives it: fills a gap that would cost eight bytes a connection elsewhere. Not looked at here.
    pub listed: Listed,
}

/// On which of a loop's lists a connection is.
#[derive(Debug, Default)]
pub(super) struct Listed {
    pub ready: bool,
    pub marked: bool,
    pub finished: bool,
}

impl<S: Socket> Connection<S> {
    /// The socket, to ask it about itself.
    pub fn socket(&self) -> &S {
        &self.socket
    }

    /// A connection that was just accepted.
    pub fn new(socket: S, now_ms: u64) -> Self {
        Connection {
            socket,
            phase: Phase::Head(Box::new(Head {
                reader: RequestReader::default(),
                since_ms: now_ms,
                unread: Vec::new(),
            })),
            outbox: Outbox::default(),
            last_seen_ms: now_ms,
            blocked: false,
            paused: false,
            held: false,
            // Its request often comes along with the connection.
            readable: true,
            read_closed: false,
            broken: false,
            announced: false,
            listed: Listed::default(),
        }
    }

    /// Bytes that have yet to be sent, those that the socket holds included.
    pub fn queued_bytes(&self) -> usize {
        self.outbox.bytes() + self.socket.unsent_bytes()
    }

    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether no request is with the program, and none will be without another read.
    pub fn awaits_request(&self) -> bool {
        matches!(self.phase, Phase::Head(_))
    }

    /// Whether [`Connection::write`] has something to do.
    pub fn wants_write(&self) -> bool {
        !self.blocked && (self.queued_bytes() > 0 || matches!(self.phase, Phase::Draining { shut: false, .. }))
    }

    /// Whether [`Connection::read`] has something to do.
    pub fn wants_read(&self) -> bool {
        match &self.phase {
            Phase::Head(head) => !self.paused && (self.readable || !head.unread.is_empty()),
            Phase::WebSocket { partial, .. } => {
                let has_unread = partial.as_ref().is_some_and(|partial| !partial.unread.is_empty());
                (has_unread || self.readable) && !self.paused && !self.held
            }
            // Paused or not: nothing comes of what is read, and the end is heard the sooner.
            Phase::Stream { .. } => self.readable,
            Phase::Draining { peer_ended, .. } => self.readable && !peer_ended,
            // The end of the stream is no reason not to answer.
            Phase::Answer(_) => self.broken,
            Phase::Closed => false,
        }
    }

    /// When [`Connection::on_deadline`] should be called, in milliseconds.
    pub fn deadline_ms(&self, config: &NetConfig) -> u64 {
        let phase_ms = match &self.phase {
            // Who is still given answers is not expected to ask; the write timeout watches over it.
            Phase::Head(_) if self.queued_bytes() > 0 => u64::MAX,
            Phase::Head(head) => head.since_ms + config.handshake_timeout_ms,
            Phase::WebSocket { heartbeat_at_ms, .. } => self.idle_at_ms(config).min(*heartbeat_at_ms),
            Phase::Stream { heartbeat_at_ms } => *heartbeat_at_ms,
            Phase::Answer(answer) => answer.ending.map_or(u64::MAX, |ending| ending.deadline_ms),
            // Neither waits for room in the socket.
            Phase::Draining { deadline_ms, .. } => return *deadline_ms,
            Phase::Closed => return u64::MAX,
        };
        phase_ms.min(self.stalled_at_ms(config))
    }

    fn idle_at_ms(&self, config: &NetConfig) -> u64 {
        // What is not read cannot be heard; a reader that takes nothing is found by the write timeout.
        let deaf = self.paused || self.held || config.idle_timeout_ms == 0;
        if deaf { u64::MAX } else { self.last_seen_ms + config.idle_timeout_ms }
    }

    fn stalled_at_ms(&self, config: &NetConfig) -> u64 {
        let since_ms = self.outbox.blocked_since_ms().filter(|_| self.blocked);
        since_ms.map_or(u64::MAX, |since_ms| since_ms + config.write_timeout_ms)
    }

    /// The socket became readable, or (`ended`) the peer finished or broke off.
    pub fn mark_readable(&mut self, ended: bool) {
        self.readable = true;
        self.read_closed |= ended;
    }

    /// The connection was reset, or has failed otherwise.
    pub fn mark_broken(&mut self) {
        self.mark_readable(true);
        self.broken = true;
    }

    /// Takes in what waits in memory, then at most one read.
    pub fn read(&mut self, turn: &mut Turn<'_>) {
        if !self.wants_read() {
            return; // paused since it was listed
        }
        if matches!(self.phase, Phase::Answer(_)) {
            return self.lose(CloseReason::Reset, turn);
        }
        let unread = match &mut self.phase {
            Phase::Head(head) => mem::take(&mut head.unread),
            Phase::WebSocket { partial: Some(partial), .. } => mem::take(&mut partial.unread),
            _ => Vec::new(),
        };
        if !unread.is_empty() {
            self.take_in(&unread, turn);
            self.pause_above_high_water(turn.config);
        }
        if self.wants_read() {
            let mut scratch = mem::take(&mut turn.shared.scratch);
            self.read_socket(&mut scratch, turn);
            turn.shared.scratch = scratch;
            self.blocked &= !self.socket.unblocks();
        }
        self.pause_above_high_water(turn.config);
        self.check_invariants();
    }

    fn pause_above_high_water(&mut self, config: &NetConfig) {
        self.paused |= self.queued_bytes() > config.outbox_high_water_bytes;
    }

    fn read_socket(&mut self, scratch: &mut [u8], turn: &mut Turn<'_>) {
        match self.socket.read(scratch) {
            Ok(0) => self.on_end(turn),
            Ok(count) => {
                // Less than asked for was all there is; but behind it may wait the end, which makes no new edge.
                self.readable = !self.socket.has_emptied(count, scratch.len()) || self.read_closed;
                self.last_seen_ms = turn.now_ms;
                turn.shared.counters.received_bytes += count as u64;
                self.take_in(&scratch[..count], turn);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.readable = false,
            Err(error) => self.lose(failed(&error), turn),
        }
    }

    fn take_in(&mut self, input: &[u8], turn: &mut Turn<'_>) {
        match &self.phase {
            Phase::Head(_) => self.take_request(input, turn),
            Phase::WebSocket { .. } => self.take_frames(input, turn),
            // A stream has one direction. After our last word input is only read so that closing does not reset the
            // connection.
            Phase::Answer(_) | Phase::Stream { .. } | Phase::Draining { .. } | Phase::Closed => {}
        }
    }

    fn take_request(&mut self, input: &[u8], turn: &mut Turn<'_>) {
        let Phase::Head(head) = &mut self.phase else { return };
        match head.reader.take(input, turn.config.head_bytes_max, turn.config.body_bytes_max) {
            Ok(Progress::Incomplete) => {}
            Ok(Progress::ExpectsContinue) => self.outbox.push(Frame::from_encoded(CONTINUE.to_vec())),
            Ok(Progress::Complete { request, .. }) if !turn.admits(&request) => {
                turn.shared.counters.refused += 1;
                self.refuse(Refusal::Overloaded, turn);
            }
            Ok(Progress::Complete { request, rest }) => {
                self.phase = Phase::Answer(Box::new(Answer {
                    keep_alive: request.keeps_alive(),
                    with_body: request.method() != "HEAD",
                    accept_key: request.accept_key(),
                    unread: rest,
                    ending: None,
                }));
                self.announced = true;
                turn.events.push(NetEvent::Request { conn: turn.conn, request });
            }
            Err(refusal) => self.refuse(refusal, turn),
        }
    }

    fn take_frames(&mut self, input: &[u8], turn: &mut Turn<'_>) {
        let Phase::WebSocket { partial, .. } = &mut self.phase else { return };
        let mut incoming = mem::take(&mut turn.shared.incoming);
        let controls = turn.shared.decoder.feed(partial, input, &mut turn.shared.pongs, &mut incoming);
        if controls > 0 {
            turn.events.push(NetEvent::Control { conn: turn.conn, count: controls });
        }
        if !turn.shared.pongs.is_empty() {
            self.outbox.push(Frame::from_encoded(turn.shared.pongs.clone()));
            turn.shared.pongs.clear();
        }
        for item in incoming.drain(..) {
            match item {
                Incoming::Text(text) => {
                    turn.shared.counters.texts += 1;
                    turn.events.push(NetEvent::Text { conn: turn.conn, text });
                }
                Incoming::Binary(data) if turn.config.accept_binary => {
                    turn.events.push(NetEvent::Binary { conn: turn.conn, data });
                }
                Incoming::Binary(_) => {
                    self.fail(1003, "text only", CloseReason::Protocol { code: 1003 }, turn);
                    break;
                }
                Incoming::Close(code) => {
                    self.outbox.abandon();
                    self.finish(Frame::close(code, ""), CloseReason::PeerClosed { code }, turn);
                    if !self.readable || self.read_closed {
                        // It has said its last word, and nothing unread is left that would make closing a reset.
                        self.set_peer_ended();
                    }
                }
                Incoming::Failure(code) => self.fail(code, failure(code), CloseReason::Protocol { code }, turn),
            }
        }
        turn.shared.incoming = incoming;
    }

    /// The peer sends no more.
    fn on_end(&mut self, turn: &mut Turn<'_>) {
        self.readable = false;
        match &mut self.phase {
            Phase::Head(_) if self.socket.unsent_bytes() + self.outbox.bytes() > 0 => {
                // Half closed: it still waits for its answers.
                self.start_draining(CloseReason::HttpDone, turn);
                self.set_peer_ended();
            }
            Phase::Stream { .. } if self.socket.unsent_bytes() + self.outbox.bytes() > 0 => {
                self.start_draining(CloseReason::Eof, turn);
                self.set_peer_ended();
            }
            Phase::Head(_) => self.lose(CloseReason::HttpDone, turn),
            Phase::Draining { shut: true, .. } => self.phase = Phase::Closed,
            Phase::Draining { .. } => self.set_peer_ended(),
            Phase::WebSocket { .. } | Phase::Stream { .. } | Phase::Answer(_) | Phase::Closed => {
                self.lose(CloseReason::Eof, turn);
            }
        }
    }

    fn set_peer_ended(&mut self) {
        if let Phase::Draining { peer_ended, .. } = &mut self.phase {
            *peer_ended = true;
        }
    }

    /// Writes what is queued, if the socket is not known to be full.
    pub fn write(&mut self, turn: &mut Turn<'_>) {
        if self.blocked || self.is_closed() {
            return;
        }
        self.drain(false, turn);
        self.check_invariants();
    }

    /// The socket can be written again: does so, and says when there is room for more.
    pub fn on_writable(&mut self, turn: &mut Turn<'_>) {
        if !self.blocked {
            return;
        }
        self.blocked = false;
        self.drain(true, turn);
        if self.has_room(turn.config) && self.is_open() {
            turn.events.push(NetEvent::Drained { conn: turn.conn });
        }
        self.check_invariants();
    }

    fn drain(&mut self, was_blocked: bool, turn: &mut Turn<'_>) {
        let is_last = matches!(self.phase, Phase::Draining { .. });
        let queued = self.outbox.bytes();
        let drained = self.outbox.write_to(&mut self.socket, &mut turn.shared.gather, is_last);
        turn.shared.counters.sent_bytes += (queued - self.outbox.bytes()) as u64;
        match drained {
            Ok(Drain::Emptied) => {
                if let Phase::Head(head) = &mut self.phase {
                    head.since_ms = turn.now_ms;
                }
                self.shut_if_draining();
            }
            Ok(Drain::Blocked { written }) => {
                self.blocked = true;
                if written > 0 || !was_blocked {
                    self.outbox.set_blocked_since_ms(turn.now_ms);
                }
            }
            Err(error) => self.lose(failed(&error), turn),
        }
        if self.paused && self.has_room(turn.config) {
            self.paused = false;
            // It could not be heard until now.
            self.last_seen_ms = turn.now_ms;
        }
    }

    fn has_room(&self, config: &NetConfig) -> bool {
        self.queued_bytes() < config.outbox_low_water_bytes
    }

    fn shut_if_draining(&mut self) {
        let Phase::Draining { peer_ended, shut, .. } = &mut self.phase else { return };
        // Where nothing more comes there is nothing to wait for: dropping the socket sends the rest, and the end.
        if *peer_ended || (!mem::replace(shut, true) && self.socket.shutdown_write().is_err()) {
            self.phase = Phase::Closed;
        }
    }

    /// Does what is due. `late_ms` is how long the loop did not run when it should have (the process was stopped,
    /// say): time in which nobody could be heard is not held against the peer.
    pub fn on_deadline(&mut self, late_ms: u64, turn: &mut Turn<'_>) {
        let now_ms = turn.now_ms;
        self.last_seen_ms = now_ms.min(self.last_seen_ms + late_ms);
        if let Some(since_ms) = self.outbox.blocked_since_ms() {
            self.outbox.set_blocked_since_ms(now_ms.min(since_ms + late_ms));
        }
        match &self.phase {
            Phase::Draining { deadline_ms, .. } if now_ms >= *deadline_ms => self.phase = Phase::Closed,
            Phase::Draining { .. } | Phase::Closed => {}
            _ if now_ms >= self.stalled_at_ms(turn.config) => self.on_stall(turn),
            Phase::Head(head) if now_ms >= self.deadline_ms(turn.config) => {
                let silent = head.reader.is_empty();
                if silent {
                    self.lose(CloseReason::HandshakeTimeout, turn)
                } else {
                    self.refuse(Refusal::Timeout, turn)
                }
            }
            Phase::WebSocket { .. } if now_ms >= self.idle_at_ms(turn.config) => {
                self.fail(turn.config.idle_close_code, "idle timeout", CloseReason::IdleTimeout, turn);
            }
            Phase::WebSocket { heartbeat_at_ms, .. } | Phase::Stream { heartbeat_at_ms }
                if now_ms >= *heartbeat_at_ms =>
            {
                self.on_heartbeat(turn);
            }
            Phase::Answer(answer) => {
                if let Some(Ending { code, .. }) = answer.ending.filter(|ending| now_ms >= ending.deadline_ms) {
                    self.lose(CloseReason::Local { code }, turn);
                }
            }
            _ => {}
        }
        self.check_invariants();
    }

    fn on_heartbeat(&mut self, turn: &mut Turn<'_>) {
        if let Phase::WebSocket { heartbeat_at_ms, .. } | Phase::Stream { heartbeat_at_ms } = &mut self.phase {
            *heartbeat_at_ms = turn.next_heartbeat_ms();
        }
        turn.events.push(NetEvent::HeartbeatDue { conn: turn.conn });
    }

    fn on_stall(&mut self, turn: &mut Turn<'_>) {
        if matches!(self.phase, Phase::WebSocket { .. }) {
            self.fail(1013, "too slow", CloseReason::Stalled, turn);
        } else {
            self.lose(CloseReason::Stalled, turn);
        }
    }

    /// Whether the program may push.
    fn is_open(&self) -> bool {
        matches!(self.phase, Phase::WebSocket { .. } | Phase::Stream { .. })
    }

    /// Queues a frame; nothing before the conversation has begun and after it is over.
    pub fn push(&mut self, frame: Frame, config: &NetConfig) {
        if self.is_open() {
            self.outbox.push(frame);
            self.pause_above_high_water(config);
        }
    }

    /// Stops reading, or goes on with it.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Accepts the upgrade. A request that did not ask for one is told to.
    pub fn upgrade(&mut self, subprotocol: Option<&str>, turn: &mut Turn<'_>) {
        let Phase::Answer(answer) = &mut self.phase else { return };
        let Some(accept_key) = answer.accept_key.take() else {
            self.respond(&Refusal::UpgradeRequired.response(), turn);
            return;
        };
        turn.shared.counters.count_response(101);
        self.outbox.push(Frame::from_encoded(http::encode_upgrade(&accept_key, subprotocol)));
        let partial = turn.shared.decoder.partial(mem::take(&mut answer.unread));
        let ending = answer.ending;
        self.phase = Phase::WebSocket { partial, heartbeat_at_ms: turn.next_heartbeat_ms() };
        self.last_seen_ms = turn.now_ms;
        if let Some(Ending { code, .. }) = ending {
            self.close(code, "", turn);
        }
    }

    /// Answers the request at hand with a head, and what `response` has of a body, behind which anything may be pushed.
    /// The end of the connection is the end of the body (RFC 9112 section 6.3, rule 8). Where no body may follow, the
    /// answer is complete with this.
    pub fn stream(&mut self, response: &Response, turn: &mut Turn<'_>) {
        let Phase::Answer(answer) = &mut self.phase else { return };
        let has_body = answer.with_body && response.may_have_body();
        let ending = answer.ending;
        turn.shared.counters.count_response(response.status());
        self.outbox.push(Frame::from_encoded(response.encode_stream(has_body)));
        if !has_body {
            return self.start_draining(CloseReason::HttpDone, turn);
        }
        // Nothing is expected from this peer, so one that vanished without a word shows by what it does not acknowledge;
        // without this the system would go on for a quarter of an hour.
        if let Err(error) = self.socket.set_user_timeout(turn.config.write_timeout_ms) {
            log::debug!("a stream without a bound on silence: {error}");
        }
        self.phase = Phase::Stream { heartbeat_at_ms: turn.next_heartbeat_ms() };
        self.pause_above_high_water(turn.config);
        if let Some(Ending { code, .. }) = ending {
            self.close(code, "", turn);
        }
    }

    /// Answers the request at hand.
    pub fn respond(&mut self, response: &Response, turn: &mut Turn<'_>) {
        let Phase::Answer(answer) = &mut self.phase else { return };
        turn.shared.counters.count_response(response.status());
        self.outbox.push(Frame::from_encoded(response.encode(answer.with_body, answer.keep_alive)));
        if answer.keep_alive {
            let unread = mem::take(&mut answer.unread);
            let head = Head { reader: RequestReader::default(), since_ms: turn.now_ms, unread };
            self.phase = Phase::Head(Box::new(head));
            self.pause_above_high_water(turn.config);
        } else {
            self.start_draining(CloseReason::HttpDone, turn);
        }
    }

    /// Closes at the program's wish, behind what it has pushed. Without a WebSocket there is nothing to say goodbye
    /// with.
    pub fn close(&mut self, code: u16, reason: &str, turn: &mut Turn<'_>) {
        let why = CloseReason::Local { code };
        match self.phase {
            Phase::WebSocket { .. } => self.finish(Frame::close(Some(code), reason), why, turn),
            Phase::Head(_) | Phase::Answer(_) | Phase::Stream { .. } => self.start_draining(why, turn),
            Phase::Draining { .. } | Phase::Closed => {}
        }
        self.check_invariants();
    }

    /// Ends because the process does: with a goodbye where there is somebody to say it to, at once where the peer only
    /// kept the connection for a request that never came. A request that the program has is given `close_timeout_ms` to
    /// be answered: whether it was carried out is not for this layer to say.
    pub fn end(&mut self, code: u16, reason: &str, turn: &mut Turn<'_>) {
        match &mut self.phase {
            Phase::Answer(answer) => {
                answer.keep_alive = false;
                let deadline_ms = turn.now_ms + turn.config.close_timeout_ms;
                answer.ending.get_or_insert(Ending { deadline_ms, code });
            }
            Phase::Head(_) if self.socket.unsent_bytes() + self.outbox.bytes() == 0 => {
                self.lose(CloseReason::Local { code }, turn)
            }
            _ => self.close(code, reason, turn),
        }
    }

    /// Answers what cannot be served, before the program hears of it.
    pub fn refuse(&mut self, refusal: Refusal, turn: &mut Turn<'_>) {
        let response = refusal.response();
        turn.shared.counters.count_response(response.status());
        self.outbox.push(Frame::from_encoded(response.encode(true, false)));
        self.start_draining(CloseReason::HttpDone, turn);
    }

    /// Closes with `code`, ahead of what is queued: the peer is wrong, gone or not listening.
    fn fail(&mut self, code: u16, text: &str, why: CloseReason, turn: &mut Turn<'_>) {
        self.outbox.abandon();
        self.finish(Frame::close(Some(code), text), why, turn);
    }

    fn finish(&mut self, close_frame: Frame, why: CloseReason, turn: &mut Turn<'_>) {
        self.outbox.push(close_frame);
        self.start_draining(why, turn);
    }

    fn start_draining(&mut self, why: CloseReason, turn: &mut Turn<'_>) {
        let deadline_ms = turn.now_ms + turn.config.close_timeout_ms;
        self.phase = Phase::Draining { deadline_ms, peer_ended: false, shut: false };
        self.report(why, turn);
    }

    /// Ends it here and now.
    fn lose(&mut self, why: CloseReason, turn: &mut Turn<'_>) {
        self.phase = Phase::Closed;
        self.report(why, turn);
    }

    fn report(&mut self, reason: CloseReason, turn: &mut Turn<'_>) {
        if mem::take(&mut self.announced) {
            turn.events.push(NetEvent::Closed { conn: turn.conn, reason });
        }
    }

    fn check_invariants(&self) {
        debug_assert!(!self.blocked || self.queued_bytes() > 0, "blocked with nothing to write");
        let over = matches!(self.phase, Phase::Draining { .. } | Phase::Closed);
        debug_assert!(!(over && self.announced), "over, and the program was not told");
    }
}

/// What a socket's error says of the end.
fn failed(error: &io::Error) -> CloseReason {
    // The system has waited in vain for the peer to take what was sent.
    if error.kind() == io::ErrorKind::TimedOut { CloseReason::Stalled } else { CloseReason::Reset }
}

fn failure(code: u16) -> &'static str {
    match code {
        1007 => "invalid UTF-8",
        1009 => "message too big",
        _ => "protocol error",
    }
}

#[cfg(test)]
mod tests;

//! A load: members of rooms, some of which send, beside members that never read and connections that come and go.
//!
//! Owns: the phases of a run and the state of its connections. Must never know: how a result is printed.

use std::ops::Range;

use slab::Slab;

use super::BenchError;
use super::check::{Faults, Sequence};
use super::churn::Cycle;
use super::engine::Engine;
use super::measure::Figures;
use super::pace::Pace;
use super::procfs::Memory;
use super::progress::Progress;
use super::result::{Outcome, Snapshot};
use super::wire::{Kind, Mark, Wire};
use crate::config::Bench;
use crate::net::{CloseReason, ConnId, DialError, NetEvent};

/// Connections that may be opening at a time: as many as fast as possible, or by a plan.
const OPENING_MAX: usize = 256;
const OPENING_BY_PLAN_MAX: usize = 4_096;
/// How long a loop without a plan sleeps at most, in nanoseconds.
const TICK_NS: u64 = 20_000_000;
/// Between two probes of a room, in nanoseconds.
const PROBE_NS: u64 = 250_000_000;
/// How long a server without acks may take to join everybody before the first probe, in nanoseconds.
const JOIN_NS: u64 = 100_000_000;
/// How long a server may take to greet before it is taken for one that does not, in nanoseconds.
const GREETING_NS: u64 = 250_000_000;
/// How long a server may take until every room works, in nanoseconds.
const READY_NS: u64 = 30_000_000_000;
/// How long one waits for what is still under way at the end: without news, and in all; in nanoseconds.
const QUIET_NS: u64 = 3_000_000_000;
const DRAIN_NS: u64 = 15_000_000_000;
/// Messages sent in one turn at most, so that answers are read in between.
const SENDS_PER_TURN: usize = 4_096;

/// A connection that joins a room and receives.
#[derive(Debug)]
pub(super) struct Member {
    /// `None` before it is dialled and after it was lost.
    pub conn: Option<ConnId>,
    pub room: u32,
    pub dialled_ns: u64,
    pub sequence: Sequence,
    /// Messages of the load, without repeated ones.
    pub received: u64,
    pub sent: u64,
    pub refused: u64,
    /// Own messages that came back.
    pub own: u64,
    pub joined: bool,
    pub probed: bool,
    /// Never reads once it is in its room.
    pub slow: bool,
}

#[derive(Debug, Default)]
pub(super) struct Room {
    /// Messages of the load that each member has to receive.
    pub sent: u64,
    /// Who sends the probes.
    first: u32,
    /// Members that have not seen one.
    unprobed: u32,
}

/// Whose connection it is.
#[derive(Debug, Clone, Copy)]
pub(super) enum Role {
    Nobody,
    Member(u32),
    Churn(u32),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Opening,
    /// All are open; rooms are tried out.
    Readying {
        since_ns: u64,
        probe_at_ns: u64,
    },
    /// The warm-up and the time that is measured.
    Running,
    Draining {
        since_ns: u64,
    },
    Done,
}

/// A run.
pub(super) struct Load<'a> {
    pub options: &'a Bench,
    pub engine: Engine,
    pub wire: Wire,
    pub figures: Figures,
    pub faults: Faults,
    /// Lost by connections that are gone in good order.
    pub lost_by_churn: u64,
    /// Those that read first, then those that do not.
    pub members: Vec<Member>,
    pub rooms: Vec<Room>,
    pub cycles: Slab<Cycle>,
    roles: Vec<Role>,
    pub phase: Phase,
    /// Messages planned for a time in here are measured.
    pub window: Range<u64>,
    sends: Pace,
    pub churns: Pace,
    dialled: usize,
    opening: usize,
    joined: usize,
    unprobed: usize,
    /// The server greets with the protocol's version, so commands may carry an `id`; `None` until it is known. Others are spoken to
    /// in the plainest form: the simplest of them read by position.
    greets: Option<bool>,
    first_opened_ns: u64,
    /// Members that are open and wait for this to be known.
    waiting: Vec<u32>,
    /// The server sends acks.
    pub acks: bool,
    last_news_ns: u64,
    memory: [Option<Memory>; 2],
    snapshots: [Snapshot; 2],
    started: bool,
    progress: Progress,
    pub scratch: Vec<u8>,
}

impl<'a> Load<'a> {
    pub fn new(options: &'a Bench, engine: Engine, run: u32) -> Self {
        let rooms = options.rooms();
        let member = |n: u32, slow: bool| Member {
            conn: None,
            room: n % rooms,
            dialled_ns: 0,
            sequence: Sequence::default(),
            received: 0,
            sent: 0,
            refused: 0,
            own: 0,
            joined: false,
            probed: false,
            slow,
        };
        let readers = (0..options.conns).map(|n| member(n, false));
        let members: Vec<Member> = readers.chain((0..options.slow).map(|n| member(n, true))).collect();
        let mut room_states: Vec<Room> = (0..rooms).map(|first| Room { first, ..Room::default() }).collect();
        for member in &members {
            room_states[member.room as usize].unprobed += 1;
        }
        Load {
            wire: Wire::new(run, options.room.as_deref(), options.size_bytes),
            figures: Figures::new(),
            faults: Faults::default(),
            lost_by_churn: 0,
            unprobed: members.len(),
            members,
            rooms: room_states,
            cycles: Slab::new(),
            roles: Vec::new(),
            phase: Phase::Opening,
            window: 0..0,
            sends: Pace::new(0, 0),
            churns: Pace::new(0, 0),
            dialled: 0,
            opening: 0,
            joined: 0,
            greets: None,
            first_opened_ns: 0,
            waiting: Vec::new(),
            acks: false,
            last_news_ns: 0,
            memory: [Snapshot::memory(options), None],
            snapshots: [Snapshot::default(), Snapshot::default()],
            started: false,
            progress: Progress::new(),
            scratch: Vec::new(),
            options,
            engine,
        }
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Result<Outcome, BenchError> {
        while self.phase != Phase::Done {
            let until_ns = self.next_ns();
            self.engine.wait(until_ns)?;
            self.take_events()?;
            self.receive()?;
            self.act()?;
            self.engine.flush();
            self.note_lag(until_ns);
        }
        self.progress.finish();
        self.finish()
    }

    fn next_ns(&self) -> u64 {
        let tick_ns = self.engine.now_ns() + TICK_NS;
        match self.phase {
            Phase::Opening => self.next_dial_ns().min(tick_ns),
            Phase::Running => {
                let edge_ns = if self.started { self.window.end } else { self.window.start };
                self.sends.next_ns().min(self.churns.next_ns()).min(edge_ns).min(tick_ns)
            }
            _ => tick_ns,
        }
    }

    /// Does what the time has come for.
    fn act(&mut self) -> Result<(), BenchError> {
        let now_ns = self.engine.now_ns();
        if std::mem::take(&mut self.engine.interrupts) > 0 {
            self.interrupt(now_ns);
        }
        if self.first_opened_ns > 0 && now_ns > self.first_opened_ns + GREETING_NS {
            self.learn(false);
        }
        match self.phase {
            Phase::Opening => self.open(now_ns)?,
            Phase::Readying { since_ns, probe_at_ns } => self.make_ready(since_ns, probe_at_ns, now_ns)?,
            Phase::Running => self.drive(now_ns),
            Phase::Draining { since_ns } => {
                let over = now_ns > self.last_news_ns.max(since_ns) + QUIET_NS || now_ns > since_ns + DRAIN_NS;
                if over || self.is_complete() {
                    self.phase = Phase::Done;
                }
            }
            Phase::Done => {}
        }
        if self.phase == Phase::Running && self.members.iter().all(|member| member.conn.is_none()) {
            // The server is gone: there is nothing left to measure.
            self.snapshots[1] = self.snapshot(now_ns);
            self.phase = Phase::Done;
        }
        self.progress.show(now_ns, self.phase, &mut self.figures);
        Ok(())
    }

    fn interrupt(&mut self, now_ns: u64) {
        self.figures.interrupted = true;
        match self.phase {
            Phase::Running => {
                self.window.start = self.window.start.min(now_ns);
                self.window.end = now_ns;
            }
            _ => self.phase = Phase::Done,
        }
    }

    fn next_dial_ns(&self) -> u64 {
        let (done, all) = (self.dialled as u64, self.members.len() as u64);
        let by_plan = self.options.ramp_ms > 0;
        let most = if by_plan { OPENING_BY_PLAN_MAX } else { OPENING_MAX };
        if done == all || self.opening >= most {
            return u64::MAX;
        }
        if by_plan { self.options.ramp_ms * 1_000_000 * done / all } else { 0 }
    }

    fn open(&mut self, now_ns: u64) -> Result<(), BenchError> {
        loop {
            let at_ns = self.next_dial_ns();
            if at_ns > now_ns {
                break;
            }
            let number = self.dialled;
            let conn = self.engine.dial(self.members[number].slow).map_err(|error| self.cannot_open(&error.into()))?;
            let dialled_ns = if self.options.ramp_ms > 0 { at_ns } else { self.engine.now_ns() };
            let member = &mut self.members[number];
            (member.conn, member.dialled_ns) = (Some(conn), dialled_ns);
            self.set_role(conn, Role::Member(number as u32));
            self.dialled += 1;
            self.opening += 1;
        }
        if self.dialled == self.members.len() && self.opening == 0 && self.greets.is_some() {
            self.phase = Phase::Readying { since_ns: now_ns, probe_at_ns: now_ns };
        }
        Ok(())
    }

    fn make_ready(&mut self, since_ns: u64, probe_at_ns: u64, now_ns: u64) -> Result<(), BenchError> {
        let all_joined = self.joined == self.members.len();
        if self.unprobed == 0 || (self.options.idle && all_joined) {
            self.start(now_ns);
            return Ok(());
        }
        if now_ns > since_ns + READY_NS {
            let ready = self.members.len() - self.unprobed;
            let first_error = self.figures.first_error.take();
            return Err(BenchError::NotReady { ready, all: self.members.len(), first_error });
        }
        // A server with acks has said when everybody is in; of one without, it is guessed, and tried again.
        let patience_ns = if self.options.idle { 5 * JOIN_NS } else { JOIN_NS };
        let can_probe = if self.joined > 0 { all_joined } else { now_ns > since_ns + patience_ns };
        if can_probe && now_ns >= probe_at_ns {
            for number in 0..self.rooms.len() {
                if self.rooms[number].unprobed > 0 {
                    self.say(self.rooms[number].first as usize, Kind::Probe, now_ns);
                }
            }
            self.phase = Phase::Readying { since_ns, probe_at_ns: now_ns + PROBE_NS };
        }
        Ok(())
    }

    fn start(&mut self, now_ns: u64) {
        self.memory[1] = Snapshot::memory(self.options);
        let measured_ns = now_ns + self.options.warmup_ms * 1_000_000;
        self.window = measured_ns..measured_ns + self.options.duration_ms * 1_000_000;
        self.phase = Phase::Running;
        self.churns = Pace::new(now_ns, self.options.churn);
        let senders = self.options.senders() as usize;
        if self.options.closed {
            for number in 0..senders {
                for _ in 0..self.options.window() {
                    self.send(number, now_ns);
                }
            }
        } else if senders > 0 {
            self.sends = Pace::new(now_ns, self.options.rate());
        }
    }

    fn drive(&mut self, now_ns: u64) {
        if !self.started && now_ns >= self.window.start {
            self.started = true;
            self.snapshots[0] = self.snapshot(now_ns);
        }
        let due_ns = now_ns.min(self.window.end.saturating_sub(1));
        for _ in 0..SENDS_PER_TURN {
            let Some((number, at_ns)) = self.sends.take(due_ns) else { break };
            self.send((number % u64::from(self.options.senders())) as usize, at_ns);
        }
        self.churn(due_ns);
        let all_sent = self.sends.next_ns().min(self.churns.next_ns()) >= self.window.end;
        if now_ns >= self.window.end && all_sent {
            self.snapshots[1] = self.snapshot(now_ns);
            self.phase = Phase::Draining { since_ns: now_ns };
        }
    }

    /// Sends a message of the load, planned for `at_ns`.
    pub fn send(&mut self, number: usize, at_ns: u64) {
        if self.say(number, Kind::Load, at_ns) {
            let member = &mut self.members[number];
            member.sent += 1;
            self.rooms[member.room as usize].sent += 1;
            self.figures.sent += 1;
        }
    }

    fn say(&mut self, number: usize, kind: Kind, at_ns: u64) -> bool {
        let Member { conn: Some(conn), room, .. } = self.members[number] else { return false };
        let asks = self.acks || kind == Kind::Probe && self.greets == Some(true);
        let ack = asks && !self.options.no_ack;
        let mark = Mark { kind, author: number as u32, at_ns };
        self.wire.message(room, mark, ack, &mut self.scratch);
        self.engine.net.send_text(conn, &self.scratch);
        true
    }

    fn take_events(&mut self) -> Result<(), BenchError> {
        for event in std::mem::take(&mut self.engine.events) {
            match event {
                NetEvent::Opened { conn } => self.on_opened(conn),
                NetEvent::DialFailed { conn, error } => self.on_failed(conn, &error)?,
                NetEvent::Closed { conn, reason } => self.on_closed(conn, reason)?,
                _ => {}
            }
        }
        Ok(())
    }

    fn on_opened(&mut self, conn: ConnId) {
        let now_ns = self.engine.now_ns();
        self.figures.opened += 1;
        match self.role(conn) {
            Role::Member(number) => {
                let member = &self.members[number as usize];
                self.figures.connect.record(now_ns.saturating_sub(member.dialled_ns));
                self.opening -= 1;
                match self.greets {
                    Some(ack) => {
                        let join = self.wire.join(member.room, ack);
                        self.engine.net.send_text(conn, join.as_bytes());
                    }
                    None => self.waiting.push(number),
                }
                self.first_opened_ns = if self.first_opened_ns == 0 { now_ns } else { self.first_opened_ns };
            }
            Role::Churn(key) => self.on_churn_opened(key as usize, conn, now_ns),
            Role::Nobody => {}
        }
    }

    /// It is known now whether the server greets: those that waited for it join.
    pub fn learn(&mut self, greets: bool) {
        if self.greets.is_some() {
            return;
        }
        self.greets = Some(greets);
        for number in std::mem::take(&mut self.waiting) {
            let member = &self.members[number as usize];
            let join = self.wire.join(member.room, greets);
            if let Some(conn) = member.conn {
                self.engine.net.send_text(conn, join.as_bytes());
            }
        }
    }

    fn on_failed(&mut self, conn: ConnId, error: &DialError) -> Result<(), BenchError> {
        match self.role(conn) {
            Role::Churn(key) => {
                self.figures.failed += 1;
                self.figures.note(|| error.to_string());
                self.cycles.remove(key as usize);
                self.set_role(conn, Role::Nobody);
                Ok(())
            }
            _ => Err(self.cannot_open(error)),
        }
    }

    fn cannot_open(&self, error: &DialError) -> BenchError {
        BenchError::Open {
            target: self.options.target.to_string(),
            opened: self.figures.opened,
            all: self.members.len(),
            reason: error.to_string(),
        }
    }

    fn on_closed(&mut self, conn: ConnId, reason: CloseReason) -> Result<(), BenchError> {
        let role = self.role(conn);
        self.set_role(conn, Role::Nobody);
        match role {
            Role::Member(number) => {
                let member = &mut self.members[number as usize];
                member.conn = None;
                if matches!(self.phase, Phase::Opening | Phase::Readying { .. }) {
                    let first_error = self.figures.first_error.take();
                    return Err(BenchError::LostEarly { reason: told(reason), first_error });
                }
                // A server may well give up one that never reads.
                self.figures.closed += u64::from(!member.slow);
                self.figures.slow_closed += u64::from(member.slow);
                self.figures.note(|| format!("a connection was lost: {}", told(reason)));
            }
            Role::Churn(key) => self.on_churn_closed(key as usize, reason),
            Role::Nobody => {}
        }
        Ok(())
    }

    /// A member is in its room, by word of the server or by what it received.
    pub fn on_joined(&mut self, number: usize, by_probe: bool) {
        let member = &mut self.members[number];
        if !by_probe {
            self.acks = true;
            self.joined += usize::from(!std::mem::replace(&mut member.joined, true));
        }
        // One that will not read cannot see a probe.
        if (by_probe || member.slow) && !std::mem::replace(&mut member.probed, true) {
            self.unprobed -= 1;
            self.rooms[member.room as usize].unprobed -= 1;
        }
        if let (true, Some(conn)) = (member.slow, member.conn) {
            self.engine.net.hold(conn, true);
        }
    }

    /// Notes that something of the load arrived.
    pub fn note_news(&mut self, now_ns: u64) {
        self.last_news_ns = now_ns;
    }

    fn is_complete(&self) -> bool {
        let has_all = |member: &Member| {
            let room = &self.rooms[member.room as usize];
            member.received >= room.sent && member.own + member.refused >= member.sent
        };
        let mut readers = self.members.iter().filter(|member| !member.slow && member.conn.is_some());
        self.cycles.is_empty() && readers.all(has_all)
    }

    fn note_lag(&mut self, until_ns: u64) {
        if self.phase == Phase::Running && self.started {
            let turn_ns = self.engine.now_ns() - self.engine.woken_ns;
            self.figures.lag.record(turn_ns.max(self.engine.woken_ns.saturating_sub(until_ns)).max(1));
        }
    }

    fn snapshot(&self, now_ns: u64) -> Snapshot {
        Snapshot::take(self.options, now_ns, &self.figures)
    }

    fn finish(mut self) -> Result<Outcome, BenchError> {
        let heads: Vec<u64> = self.rooms.iter().enumerate().map(|(number, _)| self.head(number as u32)).collect();
        let (mut lost, mut unconfirmed, mut expected) = (self.lost_by_churn, 0, 0);
        for member in self.members.iter().filter(|member| !member.slow && member.conn.is_some()) {
            let room = &self.rooms[member.room as usize];
            let next = member.sequence.next();
            let tail = if next > 0 { heads[member.room as usize].saturating_sub(next) } else { 0 };
            // By its numbers, or by the count of messages, whichever shows more: a server may drop before it numbers.
            lost += (member.sequence.missing() + tail).max(room.sent.saturating_sub(member.received));
            unconfirmed += (member.sent - member.refused).saturating_sub(member.own);
            expected += room.sent;
        }
        self.figures.delivery.absorb(&mut self.figures.delivery_fresh);
        let acks = self.acks && !self.options.no_ack;
        Ok(Outcome {
            acks,
            lost,
            repeated: self.faults.repeated,
            reordered: self.faults.reordered,
            unconfirmed,
            expected,
            connections: self.members.len() as u64,
            memory: [self.memory[0], self.memory[1], Snapshot::memory(self.options)],
            snapshots: self.snapshots,
            figures: self.figures,
            replay: None,
        })
    }

    /// The number after the last that any member of a room has seen.
    fn head(&self, room: u32) -> u64 {
        let of_room = self.members.iter().skip(room as usize).step_by(self.rooms.len());
        let seen = of_room.filter(|member| member.room == room).map(|member| member.sequence.next());
        seen.max().unwrap_or(0)
    }

    pub fn set_role(&mut self, conn: ConnId, role: Role) {
        if self.roles.len() <= conn.index() {
            self.roles.resize(conn.index() + 1, Role::Nobody);
        }
        self.roles[conn.index()] = role;
    }

    pub fn role(&self, conn: ConnId) -> Role {
        self.roles.get(conn.index()).copied().unwrap_or(Role::Nobody)
    }
}

/// An end in words.
pub(super) fn told(reason: CloseReason) -> String {
    match reason {
        CloseReason::PeerClosed { code: Some(code) } => format!("the server closed it with {code}"),
        CloseReason::PeerClosed { code: None } => "the server closed it without a code".to_owned(),
        CloseReason::Eof => "the server ended it without a close frame".to_owned(),
        CloseReason::Reset => "it was reset".to_owned(),
        CloseReason::Protocol { code } => format!("the server broke the protocol ({code})"),
        other => format!("{other:?}"),
    }
}

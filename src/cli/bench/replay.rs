//! A replay: a room with many messages, which all connections join at once from its beginning.
//!
//! Owns: the filling, the reading, and the phases of both. Must never know: how a result is printed.

use super::BenchError;
use super::check::{Faults, Sequence};
use super::engine::Engine;
use super::load::{Phase, told};
use super::measure::Figures;
use super::procfs::Memory;
use super::progress::Progress;
use super::result::{Outcome, Replayed, Snapshot};
use super::wire::{Heard, Kind, Mark, Wire};
use crate::config::Bench;
use crate::net::{ConnId, Inbox, NetEvent};
use crate::protocol::close;

/// What the room's name begins with, so that a second run finds what a first one has filled in.
const ROOM: &str = "bench-replay";
/// Messages under way while the room is filled.
const FILL_WINDOW: u64 = 1_024;
/// Connections that may be opening at a time.
const OPENING_MAX: usize = 256;
/// How long a loop without news sleeps, in nanoseconds.
const TICK_NS: u64 = 50_000_000;
/// How long nothing may arrive, in nanoseconds.
const QUIET_NS: u64 = 10_000_000_000;

#[derive(Debug, Default)]
struct Reader {
    conn: Option<ConnId>,
    dialled_ns: u64,
    sequence: Sequence,
    done: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Filling,
    Opening,
    Reading,
    Done,
}

/// A run.
pub(super) struct Replay<'a> {
    options: &'a Bench,
    engine: Engine,
    wire: Wire,
    figures: Figures,
    faults: Faults,
    step: Step,
    filler: Option<ConnId>,
    wanted: u64,
    found: u64,
    sent: u64,
    /// The server has said what the room has.
    joined: bool,
    /// The room's last number.
    head: u64,
    readers: Vec<Reader>,
    /// Reader by the connection's index.
    roles: Vec<usize>,
    dialled: usize,
    opened: usize,
    done: usize,
    started_ns: u64,
    last_news_ns: u64,
    memory: [Option<Memory>; 2],
    snapshots: [Snapshot; 2],
    progress: Progress,
    scratch: Vec<u8>,
}

impl<'a> Replay<'a> {
    pub fn new(options: &'a Bench, engine: Engine, run: u32, wanted: u64) -> Self {
        Replay {
            wire: Wire::new(run, Some(options.room.as_deref().unwrap_or(ROOM)), options.size_bytes),
            figures: Figures::new(),
            faults: Faults::default(),
            step: Step::Filling,
            filler: None,
            wanted,
            found: 0,
            sent: 0,
            joined: false,
            head: 0,
            readers: (0..options.conns).map(|_| Reader::default()).collect(),
            roles: Vec::new(),
            dialled: 0,
            opened: 0,
            done: 0,
            started_ns: 0,
            last_news_ns: 0,
            memory: [None; 2],
            snapshots: [Snapshot::default(); 2],
            progress: Progress::new(),
            scratch: Vec::new(),
            options,
            engine,
        }
    }

    /// Runs it to its end.
    pub fn run(mut self) -> Result<Outcome, BenchError> {
        self.filler = Some(self.engine.dial(false).map_err(|error| self.cannot_open(&error))?);
        while self.step != Step::Done {
            let until_ns = self.engine.now_ns() + TICK_NS;
            self.engine.wait(until_ns)?;
            self.take_events()?;
            self.receive()?;
            self.act()?;
            self.engine.flush();
        }
        self.progress.finish();
        Ok(self.finish())
    }

    fn act(&mut self) -> Result<(), BenchError> {
        let now_ns = self.engine.now_ns();
        let quiet = now_ns > self.last_news_ns + QUIET_NS;
        let interrupted = self.engine.interrupts > 0;
        self.figures.interrupted |= interrupted;
        match self.step {
            _ if interrupted => self.end(now_ns),
            Step::Filling if quiet && !self.joined => return Err(BenchError::NoHead),
            Step::Filling if quiet => {
                let first_error = self.figures.first_error.take();
                return Err(BenchError::NotFilled { filled: self.head, all: self.wanted, first_error });
            }
            Step::Opening => self.open(now_ns)?,
            Step::Reading if quiet || self.done == self.readers.len() => self.end(now_ns),
            _ => {}
        }
        let phase = if self.step == Step::Reading { Phase::Running } else { Phase::Opening };
        self.progress.show(now_ns, phase, &mut self.figures);
        Ok(())
    }

    fn end(&mut self, now_ns: u64) {
        self.snapshots[1] = Snapshot::take(self.options, now_ns, &self.figures);
        self.step = Step::Done;
    }

    fn open(&mut self, now_ns: u64) -> Result<(), BenchError> {
        if self.dialled == 0 {
            self.memory[0] = Snapshot::memory(self.options);
        }
        while self.dialled < self.readers.len() && self.dialled - self.opened < OPENING_MAX {
            let conn = self.engine.dial(false).map_err(|error| self.cannot_open(&error))?;
            let reader = &mut self.readers[self.dialled];
            (reader.conn, reader.dialled_ns) = (Some(conn), now_ns);
            if self.roles.len() <= conn.index() {
                self.roles.resize(conn.index() + 1, usize::MAX);
            }
            self.roles[conn.index()] = self.dialled;
            self.dialled += 1;
        }
        if self.opened == self.readers.len() {
            self.memory[1] = Snapshot::memory(self.options);
            self.snapshots[0] = Snapshot::take(self.options, now_ns, &self.figures);
            (self.step, self.started_ns, self.last_news_ns) = (Step::Reading, now_ns, now_ns);
            let join = self.wire.join_from_start(0);
            for conn in self.readers.iter().filter_map(|reader| reader.conn) {
                self.engine.net.send_text(conn, join.as_bytes());
            }
        }
        Ok(())
    }

    fn take_events(&mut self) -> Result<(), BenchError> {
        let now_ns = self.engine.now_ns();
        for event in std::mem::take(&mut self.engine.events) {
            match event {
                NetEvent::Opened { conn } if Some(conn) == self.filler => {
                    let join = self.wire.join(0, true);
                    self.engine.net.send_text(conn, join.as_bytes());
                }
                NetEvent::Opened { conn } => {
                    let dialled_ns = self.reader(conn).map_or(now_ns, |reader| reader.dialled_ns);
                    self.figures.connect.record(now_ns - dialled_ns);
                    self.figures.opened += 1;
                    self.opened += 1;
                }
                NetEvent::DialFailed { error, .. } => return Err(self.cannot_open(&error)),
                NetEvent::Closed { conn, .. } if Some(conn) == self.filler && self.step != Step::Filling => {}
                NetEvent::Closed { reason, .. } if self.step != Step::Reading => {
                    let first_error = self.figures.first_error.take();
                    return Err(BenchError::LostEarly { reason: told(reason), first_error });
                }
                NetEvent::Closed { conn, reason } => {
                    self.figures.closed += 1;
                    self.figures.note(|| format!("a connection was lost: {}", told(reason)));
                    if let Some(reader) = self.reader(conn).filter(|reader| !reader.done) {
                        reader.done = true;
                        self.done += 1;
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn cannot_open(&self, error: &dyn std::fmt::Display) -> BenchError {
        BenchError::Open {
            target: self.options.target.to_string(),
            opened: self.figures.opened,
            all: self.readers.len(),
            reason: error.to_string(),
        }
    }

    fn reader(&mut self, conn: ConnId) -> Option<&mut Reader> {
        let number = *self.roles.get(conn.index())?;
        self.readers.get_mut(number).filter(|reader| reader.conn == Some(conn))
    }

    fn receive(&mut self) -> Result<(), BenchError> {
        let mut inbox = std::mem::take(&mut self.engine.inbox);
        while let Some(conn) = self.engine.net.receive(&mut inbox) {
            self.last_news_ns = self.engine.now_ns();
            if Some(conn) == self.filler {
                self.fill(conn, &inbox)?;
            } else {
                self.read(conn, &inbox);
            }
        }
        self.engine.inbox = inbox;
        Ok(())
    }

    fn fill(&mut self, conn: ConnId, inbox: &Inbox) -> Result<(), BenchError> {
        for text in inbox.texts() {
            match self.wire.hear(text) {
                Heard::Joined { head } => {
                    self.found = head.ok_or(BenchError::NoHead)?;
                    (self.head, self.joined) = (self.found, true);
                }
                Heard::Ack { .. } => self.head += 1,
                Heard::Error { text, .. } => return Err(BenchError::Refused { text: text.to_owned() }),
                _ => continue,
            }
            while self.found + self.sent < self.wanted && self.found + self.sent < self.head + FILL_WINDOW {
                let mark = Mark { kind: Kind::Fill, author: 0, at_ns: self.sent };
                self.wire.message(0, mark, true, &mut self.scratch);
                self.engine.net.send_text(conn, &self.scratch);
                self.sent += 1;
            }
            if self.head >= self.wanted && self.step == Step::Filling {
                self.engine.net.close(conn, close::NORMAL, "");
                self.step = Step::Opening;
            }
        }
        Ok(())
    }

    fn read(&mut self, conn: ConnId, inbox: &Inbox) {
        let Some(&number) = self.roles.get(conn.index()) else { return };
        for text in inbox.texts() {
            let more = match self.wire.hear(text) {
                Heard::History { more } => more,
                Heard::Error { text, .. } => {
                    self.figures.note(|| text.to_owned());
                    continue;
                }
                _ => continue,
            };
            let reader = &mut self.readers[number];
            let mut count = 0;
            for sequence in self.wire.sequences(text) {
                reader.sequence.see(sequence, &mut self.faults);
                count += 1;
            }
            self.figures.deliveries += count;
            self.figures.delivery_bytes += text.len() as u64;
            if !more && !std::mem::replace(&mut reader.done, true) {
                self.done += 1;
                self.figures.replay.record(self.last_news_ns - self.started_ns);
            }
        }
    }

    fn finish(mut self) -> Outcome {
        let gone = self.head + 1;
        let missing = |reader: &Reader| {
            let next = reader.sequence.next();
            reader.sequence.missing() + if next == 0 { self.head } else { gone.saturating_sub(next) }
        };
        let lost = self.readers.iter().filter(|_| self.started_ns > 0).map(missing).sum();
        self.figures.sent = self.sent;
        self.figures.confirmed = self.head - self.found;
        Outcome {
            acks: true,
            lost,
            repeated: self.faults.repeated,
            reordered: self.faults.reordered,
            unconfirmed: self.sent - (self.head - self.found).min(self.sent),
            expected: self.head * self.readers.len() as u64,
            connections: self.readers.len() as u64,
            memory: [self.memory[0], self.memory[1], Snapshot::memory(self.options)],
            snapshots: self.snapshots,
            replay: Some(Replayed { messages: self.head, found: self.found }),
            figures: self.figures,
        }
    }
}

//! Virtual time: what happens next, to the server, its clients, its network and its disk.
//!
//! Owns: the queue of events, the faults. Must never know: what is right (oracle), what clients do (client).

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use roomlog::log::sim::{Fault, SimDisk};
use roomlog::net::Awaited;
use roomlog::server::{SIGNALS, WAKER};

use super::client::Client;
use super::dice::Dice;
use super::network::{Link, Network};
use super::oracle::Oracle;
use super::plan::Plan;
use super::trace::Trace;

pub type Shared = Rc<RefCell<Core>>;

/// The farthest that the wall clock jumps.
const TEN_YEARS_MS: u64 = 10 * 365 * 24 * 3_600 * 1_000;

/// What is to happen at some time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A connection reaches the server.
    Connect(usize),
    /// A piece of what a client has sent arrives.
    ToServer(usize, Vec<u8>),
    EndToServer(usize),
    ResetToServer(usize),
    /// A piece of what the server has written arrives.
    ToClient(usize),
    ResetToClient(usize),
    /// A slow reader goes on.
    Unstick(usize),
    /// A helper does its next job.
    Job {
        helper: usize,
        life: u32,
    },
    /// It is a client's turn.
    Act(usize),
    /// Something goes wrong.
    Mishap,
    /// The process is stopped or killed.
    EndLife(End),
    /// There is room on the disk again.
    Room,
    /// The scenario goes on.
    Phase(Phase),
}

/// How the process ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    Stop,
    Crash,
    PowerCut,
    /// The simulation is over.
    Over,
}

/// Where in the scenario we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Everything goes wrong.
    Storm,
    /// Nothing does. Everybody comes back.
    Calm,
    /// One goes for good, and the others are to notice.
    Retire,
    /// Who is there is what everybody was told; somebody new reads all that is kept.
    Audit,
    /// Everybody goes.
    Leave,
    /// Nothing may be left.
    Empty,
}

pub struct Core {
    pub now_us: u64,
    pub dice: Dice,
    pub plan: Plan,
    pub phase: Phase,
    queue: BinaryHeap<Reverse<(u64, u64)>>,
    events: BTreeMap<u64, Event>,
    events_made: u64,
    pub network: Network,
    pub disk: SimDisk,
    pub helpers: Vec<Box<dyn FnMut()>>,
    pub clients: Vec<Option<Client>>,
    pub oracle: Oracle,
    pub trace: Trace,
    /// How often the process was started.
    pub life: u32,
    pub is_signalled: bool,
    pub end: Option<End>,
    /// What it means if the disk says that the power is off.
    off_means: End,
    wall_jump_ms: i64,
    pub failure: Option<String>,
}

impl Core {
    pub fn new(plan: Plan, dice: Dice, is_loud: bool) -> Self {
        Self {
            now_us: 1_000_000,
            dice,
            phase: Phase::Storm,
            queue: BinaryHeap::new(),
            events: BTreeMap::new(),
            events_made: 0,
            network: Network::default(),
            disk: SimDisk::new(),
            helpers: Vec::new(),
            clients: Vec::new(),
            oracle: Oracle::new(&plan),
            plan,
            trace: Trace::new(is_loud),
            life: 0,
            is_signalled: false,
            end: None,
            off_means: End::PowerCut,
            wall_jump_ms: 0,
            failure: None,
        }
    }

    pub fn unix_ms(&self) -> u64 {
        u64::try_from(1_790_000_000_000 + (self.now_us / 1_000) as i64 + self.wall_jump_ms).unwrap_or(0)
    }

    pub fn at(&mut self, time_us: u64, event: Event) {
        self.events_made += 1;
        self.queue.push(Reverse((time_us, self.events_made)));
        self.events.insert(self.events_made, event);
    }

    pub fn after(&mut self, wait_us: u64, event: Event) {
        self.at(self.now_us + wait_us, event);
    }

    pub fn say(&mut self, what: std::fmt::Arguments<'_>) {
        self.trace.line(self.now_us, what);
    }

    /// A promise is broken: the simulation ends here.
    pub fn fail(&mut self, what: String) {
        if self.failure.is_none() {
            self.say(format_args!("BROKEN: {what}"));
            self.failure = Some(what);
        }
        self.end = Some(End::Over);
    }

    /// Whether the process is gone, though its code may still run to the end of a turn.
    pub fn is_dead(&self) -> bool {
        self.end.is_some() || self.disk.is_off()
    }

    /// How it ended, if it has.
    pub fn ended(&self) -> Option<End> {
        self.end.or(self.disk.is_off().then_some(self.off_means))
    }

    /// Lets time pass until there is news for the server, it has ended, or `timeout` is over.
    pub fn pass_time(&mut self, timeout: Option<Duration>) {
        self.now_us += self.dice.within(1, 60);
        if self.phase == Phase::Storm && self.plan.stalls && self.dice.roll().is_multiple_of(3_000) {
            let stall_us = self.dice.within(10_000, 12_000_000);
            self.now_us += stall_us;
            self.say(format_args!("the process was not scheduled for {} ms", stall_us / 1_000));
        }
        let until_us = timeout.map(|timeout| self.now_us + timeout.as_micros() as u64);
        while !self.is_dead() {
            let next_us = self.queue.peek().map(|Reverse((time_us, _))| *time_us);
            let is_due = next_us.is_some_and(|next_us| next_us <= self.now_us);
            if !is_due && !self.network.news.is_empty() {
                return;
            }
            if let Some(until_us) = until_us
                && next_us.is_none_or(|next_us| next_us > until_us)
            {
                self.now_us = self.now_us.max(until_us);
                return;
            }
            let Some(Reverse((time_us, number))) = self.queue.pop() else {
                return self.fail("nothing will happen any more".into());
            };
            self.now_us = self.now_us.max(time_us);
            let event = self.events.remove(&number).expect("each event is in the queue once");
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Connect(link) => self.on_connect(link),
            Event::ToServer(link, bytes) => {
                if let Some(to) = self.network.links.get_mut(&link).filter(|to| !to.is_cut) {
                    to.inbound.extend(bytes);
                    self.network.tell_of(link, |edge| edge.readable = true);
                }
            }
            Event::EndToServer(link) => {
                if let Some(to) = self.network.links.get_mut(&link).filter(|to| !to.is_cut) {
                    to.fin_in = true;
                    self.network.tell_of(link, |edge| (edge.readable, edge.ended) = (true, true));
                }
            }
            Event::ResetToServer(link) => {
                if let Some(to) = self.network.links.get_mut(&link).filter(|to| !to.is_cut) {
                    to.reset_in = true;
                    self.network.tell_of(link, |edge| {
                        (edge.readable, edge.writable, edge.ended, edge.failed) = (true, true, true, true);
                    });
                }
            }
            Event::ToClient(link) => self.on_arrival(link),
            Event::ResetToClient(link) => {
                let link_gone = self.network.links.remove(&link).filter(|link| !link.is_left && !link.is_cut);
                if let Some(gone) = link_gone {
                    self.with_client(gone.client, |client, core| client.on_lost(link, core));
                }
            }
            Event::Unstick(link) => {
                if let Some(to) = self.network.links.get_mut(&link) {
                    to.is_stuck = false;
                    self.move_outbound(link);
                }
            }
            Event::Job { helper, life } => {
                if life == self.life
                    && let Some(work) = self.helpers.get_mut(helper)
                {
                    work();
                    self.network.tell(Awaited::External(WAKER), |edge| edge.readable = true);
                }
            }
            Event::Act(client) => self.with_client(client, |client, core| client.act(core)),
            Event::Mishap => self.mishap(),
            Event::EndLife(end) => self.end_life(end),
            Event::Room => {
                self.disk.set_capacity(None);
                self.say(format_args!("the disk has room"));
            }
            Event::Phase(phase) => self.enter(phase),
        }
    }

    pub fn with_client(&mut self, number: usize, what: impl FnOnce(&mut Client, &mut Core)) {
        if let Some(mut client) = self.clients[number].take() {
            what(&mut client, self);
            self.clients[number] = Some(client);
        }
    }

    /// A client connects; the number of the link.
    pub fn connect(&mut self, client: usize, window: usize) -> usize {
        self.network.made += 1;
        let link = self.network.made;
        self.network.links.insert(link, Link::new(client, window));
        let wait_us = self.latency_us();
        self.after(wait_us, Event::Connect(link));
        link
    }

    fn on_connect(&mut self, link: usize) {
        if !self.network.is_listening {
            return self.after(200, Event::ResetToClient(link));
        }
        self.network.waiting.push_back(link);
        self.network.tell(Awaited::Listener, |edge| edge.readable = true);
    }

    pub fn latency_us(&mut self) -> u64 {
        if self.dice.chance(2) { self.dice.within(20_000, 200_000) } else { self.dice.within(50, 5_000) }
    }

    /// A client sends: in pieces, which arrive in order, each when it likes.
    pub fn send(&mut self, link: usize, mut bytes: Vec<u8>) {
        while !bytes.is_empty() {
            let cut = if self.dice.chance(80) { bytes.len() } else { 1 + self.dice.below(bytes.len()) };
            let rest = bytes.split_off(cut);
            let arrives_us = self.arrival_us(link);
            self.at(arrives_us, Event::ToServer(link, bytes));
            bytes = rest;
        }
    }

    fn arrival_us(&mut self, link: usize) -> u64 {
        let arrives_us = self.now_us + self.latency_us();
        let Some(link) = self.network.links.get_mut(&link) else { return arrives_us };
        link.inbound_at_us = link.inbound_at_us.max(arrives_us);
        link.inbound_at_us
    }

    /// A client lets go of a connection: with an end, a reset, or without a word.
    pub fn leave(&mut self, link: usize, how: Parting) {
        let arrives_us = self.arrival_us(link);
        let Some(left) = self.network.links.get_mut(&link) else { return };
        left.is_left = true;
        match how {
            Parting::End => self.at(arrives_us, Event::EndToServer(link)),
            Parting::Reset => self.at(arrives_us, Event::ResetToServer(link)),
            Parting::Vanish => left.is_cut = true,
        }
        self.move_outbound(link);
    }

    /// Sees to it that what the server has written moves on.
    pub fn move_outbound(&mut self, link: usize) {
        let wait_us = self.latency_us();
        let Some(to) = self.network.links.get_mut(&link) else { return };
        if !to.is_moving && !to.is_stuck && !to.is_cut && (!to.outbound.is_empty() || to.fin_out) {
            to.is_moving = true;
            self.after(wait_us, Event::ToClient(link));
        }
    }

    fn on_arrival(&mut self, link: usize) {
        let Some(to) = self.network.links.get_mut(&link) else { return };
        to.is_moving = false;
        if to.is_stuck || to.is_cut {
            return;
        }
        let all = to.outbound.len();
        let count = if all < 2 || self.dice.chance(70) { all } else { 1 + self.dice.below(all) };
        let bytes: Vec<u8> = to.outbound.drain(..count).collect();
        if std::mem::take(&mut to.is_full) {
            self.network.tell_of(link, |edge| edge.writable = true);
        }
        let to = &self.network.links[&link];
        let (client, is_left) = (to.client, to.is_left);
        if to.outbound.is_empty() && to.fin_out {
            // Both ends know that it is over; what the server still holds is only the number.
            self.network.links.get_mut(&link).expect("it is there").fin_in |= is_left;
            if !bytes.is_empty() && !is_left {
                self.with_client(client, |client, core| client.on_bytes(link, &bytes, core));
            }
            if !is_left {
                self.with_client(client, |client, core| client.on_lost(link, core));
            }
            return;
        }
        if !bytes.is_empty() && !is_left {
            self.trace.bytes(&bytes);
            self.with_client(client, |client, core| client.on_bytes(link, &bytes, core));
        }
        self.move_outbound(link);
    }

    fn mishap(&mut self) {
        if self.phase != Phase::Storm {
            return;
        }
        let wait_us = self.dice.within(500_000, 2 * self.plan.mishap_every_us);
        self.after(wait_us, Event::Mishap);
        let kinds = self.plan.mishaps.clone();
        if kinds.is_empty() {
            return;
        }
        let next_call = self.disk.calls() + self.dice.within(0, 60);
        let kind = *self.dice.pick(&kinds);
        self.say(format_args!("mishap: {kind:?}"));
        match kind {
            Mishap::Stop => self.end_life(End::Stop),
            Mishap::Crash | Mishap::PowerCut => {
                let end = if kind == Mishap::Crash { End::Crash } else { End::PowerCut };
                if self.dice.chance(50) {
                    self.end_life(end);
                } else {
                    // Amid whatever the process does then.
                    self.off_means = end;
                    self.disk.fail_at(next_call, Fault::PowerOff);
                }
            }
            Mishap::BadWrite => {
                let short = Fault::Short(self.dice.below(80));
                let fault = if self.dice.chance(50) { short } else { Fault::Error(ErrorKind::Other) };
                self.disk.fail_at(next_call, fault);
                if self.dice.chance(50) {
                    self.disk.fail_at(next_call + 1, Fault::Error(ErrorKind::Other));
                }
                self.oracle.disk_failed = true;
                // A room that failed stays read-only until then.
                let wait_us = self.dice.within(1_000_000, 6_000_000);
                let end = *self.dice.pick(&[End::Stop, End::Crash]);
                self.after(wait_us, Event::EndLife(end));
            }
            Mishap::Full => {
                self.disk.set_capacity(Some(self.disk.used() + self.dice.within(0, 2_000)));
                let wait_us = self.dice.within(200_000, 4_000_000);
                self.after(wait_us, Event::Room);
            }
            Mishap::ClockJump => {
                self.wall_jump_ms += self.dice.within(0, 2 * TEN_YEARS_MS) as i64 - TEN_YEARS_MS as i64
            }
        }
    }

    pub fn end_life(&mut self, end: End) {
        self.say(format_args!("the process ends: {end:?}"));
        if end == End::Stop {
            self.is_signalled = true;
            self.oracle.is_stopping = true;
            self.network.tell(Awaited::External(SIGNALS), |edge| edge.readable = true);
        } else {
            self.end = Some(end);
        }
    }

    /// The process is gone, and all of it that was in memory.
    pub fn bury(&mut self, end: End) {
        self.say(format_args!("gone: {end:?}"));
        self.life += 1;
        (self.end, self.is_signalled, self.oracle.is_stopping) = (None, false, false);
        self.helpers.clear();
        self.network.news.clear();
        self.network.is_listening = false;
        for link in std::mem::take(&mut self.network.waiting) {
            self.after(300, Event::ResetToClient(link));
        }
        self.disk.clear_faults();
        match end {
            End::PowerCut => {
                let seed = self.dice.roll();
                self.disk.power_cut(seed);
                self.oracle.on_power_cut(self.now_us);
            }
            _ => self.disk.crash(),
        }
        self.oracle.unclean_ends |= end != End::Stop;
    }

    fn enter(&mut self, phase: Phase) {
        self.say(format_args!("— {phase:?}"));
        self.phase = phase;
        let (away_us, now_us) = (self.plan.away_us(), self.now_us);
        match phase {
            Phase::Storm => {}
            Phase::Calm => {
                self.disk.clear_faults();
                self.disk.set_capacity(None);
                let end = *self.dice.pick(&self.plan.last_ends.clone());
                self.end_life(end);
                self.at(now_us + 2 * away_us + 12_000_000, Event::Phase(Phase::Retire));
            }
            Phase::Retire => {
                let last = self.clients.len() - 2;
                self.with_client(last, |client, core| client.retire(core));
                self.at(now_us + away_us + 3_000_000, Event::Phase(Phase::Audit));
            }
            Phase::Audit => {
                self.check_calm();
                let auditor = self.clients.len() - 1;
                self.after(1, Event::Act(auditor));
                self.at(now_us + 10_000_000, Event::Phase(Phase::Leave));
            }
            Phase::Leave => {
                self.check_log();
                for number in 0..self.clients.len() {
                    self.with_client(number, |client, core| client.retire(core));
                }
                self.at(now_us + away_us + 45_000_000, Event::Phase(Phase::Empty));
            }
            Phase::Empty => self.end = Some(End::Over),
        }
    }

    /// Everybody who is here is settled, and knows who is.
    fn check_calm(&mut self) {
        let clients: Vec<&Client> = self.clients.iter().flatten().collect();
        let broken = clients.iter().find_map(|client| client.unsettled(&clients));
        if let Some(what) = broken {
            self.fail(what);
        }
    }

    /// What everybody was told is what is kept.
    fn check_log(&mut self) {
        let clients: Vec<&Client> = self.clients.iter().flatten().collect();
        let (auditor, others) = clients.split_last().expect("there is an auditor");
        if let Err(what) = self.oracle.check_log(auditor, others) {
            self.fail(what);
        }
    }
}

/// How a client lets go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parting {
    End,
    Reset,
    Vanish,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    Stop,
    Crash,
    PowerCut,
    BadWrite,
    Full,
    ClockJump,
}

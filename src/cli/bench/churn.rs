//! Connections that come, say one thing, and go.
//!
//! Owns: the life of such a connection. Must never know: how members are counted.

use super::check::Sequence;
use super::load::{Load, Phase, Role, told};
use super::wire::{Heard, Kind, Mark};
use crate::net::{CloseReason, ConnId, Inbox};
use crate::protocol::close;

/// Such connections under way at a time: beyond it the plan waits, and the latency counts.
const CYCLES_MAX: usize = 2_048;
/// A connection that is not done after so long is given up, in nanoseconds.
const CYCLE_NS: u64 = 10_000_000_000;

/// One of them.
#[derive(Debug)]
pub(super) struct Cycle {
    conn: ConnId,
    room: u32,
    planned_ns: u64,
    sequence: Sequence,
    /// Its message came back, and it has said goodbye.
    done: bool,
}

impl Load<'_> {
    /// Starts what is due.
    pub fn churn(&mut self, now_ns: u64) {
        while self.cycles.len() < CYCLES_MAX {
            let Some((number, planned_ns)) = self.churns.take(now_ns) else { break };
            match self.engine.dial(false) {
                Ok(conn) => {
                    let room = (number % self.rooms.len() as u64) as u32;
                    let cycle = Cycle { conn, room, planned_ns, sequence: Sequence::default(), done: false };
                    let key = self.cycles.insert(cycle);
                    self.set_role(conn, Role::Churn(key as u32));
                }
                Err(error) => {
                    self.figures.failed += 1;
                    self.figures.note(|| error.to_string());
                }
            }
        }
        let overdue = self.cycles.iter().filter(|(_, cycle)| now_ns > cycle.planned_ns + CYCLE_NS && !cycle.done);
        for conn in overdue.map(|(_, cycle)| cycle.conn).collect::<Vec<_>>() {
            self.engine.net.close(conn, close::NORMAL, "");
        }
    }

    pub fn on_churn_opened(&mut self, key: usize, conn: ConnId, now_ns: u64) {
        let Cycle { room, planned_ns, .. } = self.cycles[key];
        if self.window.contains(&planned_ns) {
            self.figures.connect.record(now_ns.saturating_sub(planned_ns));
        }
        // Commands of a connection are carried out in order, so the message need not wait for the join.
        let join = self.wire.join(room, false);
        self.engine.net.send_text(conn, join.as_bytes());
        let mark = Mark { kind: Kind::Churn, author: key as u32, at_ns: planned_ns };
        self.wire.message(room, mark, false, &mut self.scratch);
        self.engine.net.send_text(conn, &self.scratch);
    }

    pub fn hear_churn(&mut self, key: usize, inbox: &Inbox, now_ns: u64) {
        for text in inbox.texts() {
            match self.wire.hear(text) {
                Heard::Delivery(delivery) => {
                    let cycle = &mut self.cycles[key];
                    cycle.sequence.see(delivery.sequence, &mut self.faults);
                    let own = Mark { kind: Kind::Churn, author: key as u32, at_ns: cycle.planned_ns };
                    if delivery.mark == own && !cycle.done {
                        self.end_cycle(key, now_ns);
                    }
                }
                Heard::Error { text, .. } => {
                    self.figures.refused += 1;
                    self.figures.note(|| text.to_owned());
                }
                _ => {}
            }
        }
    }

    fn end_cycle(&mut self, key: usize, now_ns: u64) {
        let cycle = &mut self.cycles[key];
        cycle.done = true;
        let (conn, room, planned_ns) = (cycle.conn, cycle.room, cycle.planned_ns);
        // What came back to its author was sent to every member.
        self.rooms[room as usize].sent += 1;
        self.figures.sent += 1;
        self.figures.confirmed += 1;
        if self.window.contains(&planned_ns) {
            self.figures.churn.record(now_ns.saturating_sub(planned_ns));
        }
        let leave = self.wire.leave(room);
        self.engine.net.send_text(conn, leave.as_bytes());
        self.engine.net.close(conn, close::NORMAL, "");
        self.note_news(now_ns);
    }

    pub fn on_churn_closed(&mut self, key: usize, reason: CloseReason) {
        let cycle = self.cycles.remove(key);
        let missing = cycle.sequence.missing();
        self.lost_by_churn += missing;
        if !cycle.done && !matches!(self.phase, Phase::Done) {
            self.figures.failed += 1;
            self.figures.note(|| format!("a connection that came and went was lost: {}", told(reason)));
        }
    }
}

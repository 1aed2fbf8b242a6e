//! What members hear.
//!
//! Owns: the bookkeeping for each delivery, which is the hot path. Must never know: when a run begins or ends.

use super::BenchError;
use super::check::Seen;
use super::load::{Load, Phase, Role};
use super::wire::{Delivery, Heard, Kind};
use crate::net::Inbox;

impl Load<'_> {
    /// Takes in everything that has arrived.
    pub fn receive(&mut self) -> Result<(), BenchError> {
        let mut inbox = std::mem::take(&mut self.engine.inbox);
        while let Some(conn) = self.engine.net.receive(&mut inbox) {
            let now_ns = self.engine.now_ns();
            match self.role(conn) {
                Role::Member(number) => self.hear(number as usize, &inbox, now_ns)?,
                Role::Churn(key) => self.hear_churn(key as usize, &inbox, now_ns),
                Role::Nobody => {}
            }
        }
        self.engine.inbox = inbox;
        Ok(())
    }

    fn hear(&mut self, number: usize, inbox: &Inbox, now_ns: u64) -> Result<(), BenchError> {
        let mut own = 0;
        for text in inbox.texts() {
            match self.wire.hear(text) {
                Heard::Delivery(delivery) => own += self.deliver(number, delivery, text.len(), now_ns),
                Heard::Ack { id } => {
                    self.acks = true;
                    if self.window.contains(&id) {
                        self.figures.ack.record(now_ns.saturating_sub(id));
                    }
                }
                Heard::Joined { .. } => self.on_joined(number, false),
                Heard::Greeting { versioned } => self.learn(versioned),
                Heard::Error { id, text } => self.on_error(number, id, text)?,
                Heard::History { .. } | Heard::Other => {}
            }
        }
        if own > 0 && self.options.closed && self.phase == Phase::Running && now_ns < self.window.end {
            for _ in 0..own {
                self.send(number, now_ns);
            }
        }
        Ok(())
    }

    /// Counts one delivery; 1 if it is one of the member's own.
    #[inline]
    fn deliver(&mut self, number: usize, delivery: Delivery, bytes: usize, now_ns: u64) -> u32 {
        let member = &mut self.members[number];
        if member.slow {
            self.on_joined(number, true);
            return 0;
        }
        if member.sequence.see(delivery.sequence, &mut self.faults) == Seen::Repeated {
            return 0;
        }
        self.figures.damaged += u64::from(delivery.damaged);
        let mark = delivery.mark;
        if mark.kind == Kind::Probe {
            self.on_joined(number, true);
            return 0;
        }
        member.received += 1;
        self.figures.deliveries += 1;
        self.figures.delivery_bytes += bytes as u64;
        let measured = self.window.contains(&mark.at_ns);
        if measured {
            self.figures.delivery_fresh.record(now_ns.saturating_sub(mark.at_ns));
        }
        let own = mark.kind == Kind::Load && mark.author as usize == number;
        if own {
            member.own += 1;
            self.figures.confirmed += 1;
            if measured && (!self.acks || self.options.no_ack) {
                self.figures.ack.record(now_ns.saturating_sub(mark.at_ns));
            }
        }
        self.note_news(now_ns);
        u32::from(own)
    }

    fn on_error(&mut self, number: usize, id: Option<u64>, text: &str) -> Result<(), BenchError> {
        self.figures.note(|| text.to_owned());
        if matches!(self.phase, Phase::Opening | Phase::Readying { .. }) {
            return Err(BenchError::Refused { text: text.to_owned() });
        }
        if id.is_some() || self.options.no_ack || !self.acks {
            let member = &mut self.members[number];
            member.refused += 1;
            self.figures.refused += 1;
            let room = &mut self.rooms[member.room as usize];
            room.sent = room.sent.saturating_sub(1);
        }
        Ok(())
    }
}

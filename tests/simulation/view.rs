//! One client's picture of one room.
//!
//! Owns: where its cursor has to stand, what it holds, who it believes to be there. Must never know: connections.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::client::text;

/// What is to come next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Nothing.
    #[default]
    Out,
    /// History; without a number from wherever it starts.
    Replay { next: Option<u64>, head: u64, is_first: bool },
    /// Messages.
    Live { next: u64 },
}

#[derive(Debug, Default)]
pub struct View {
    pub is_wanted: bool,
    /// On this connection.
    pub is_joined: bool,
    pub joined_us: u64,
    pub was_joined_at_end: bool,
    /// Whether it is a member is not known: the log could not be read.
    pub is_dubious: bool,
    pub phase: Phase,
    /// The last number, and the epoch that goes with it.
    last: u64,
    epoch: Option<String>,
    /// Ids by number.
    pub held: BTreeMap<u64, String>,
    last_acked: u64,
    pub members: BTreeSet<String>,
    /// When others left, and when they went offline.
    pub left: BTreeMap<String, u64>,
    pub offline: BTreeMap<String, u64>,
    /// Since when this client is not there, or has not said that it is.
    absent_us: Option<u64>,
    /// It has come back since, and not said that it is there.
    is_resumed: bool,
    /// When there was last a reason for others to see it leave.
    tainted_us: Option<u64>,
}

impl View {
    pub fn position(&self) -> Option<(u64, String)> {
        Some((self.last, self.epoch.clone()?))
    }

    pub fn taint(&mut self, now_us: u64) {
        self.tainted_us = Some(now_us);
    }

    /// For others this client may be gone from now on.
    pub fn doubt(&mut self, now_us: u64) {
        self.absent_us.get_or_insert(now_us);
    }

    pub fn lose(&mut self, now_us: u64) {
        self.was_joined_at_end = self.is_joined;
        if self.is_joined {
            self.absent_us.get_or_insert(now_us);
        } else if self.absent_us.is_none() {
            self.taint(now_us);
        }
        (self.is_joined, self.phase, self.last_acked) = (false, Phase::Out, 0);
        self.members.clear();
    }

    pub fn on_connected(&mut self, is_resumed: bool, now_us: u64) {
        if is_resumed && self.absent_us.is_some() {
            // As long again to join, however often it comes back until then.
            if !std::mem::replace(&mut self.is_resumed, true) {
                self.absent_us = Some(now_us);
            }
        } else {
            self.taint(now_us);
        }
    }

    pub fn on_left(&mut self, now_us: u64) {
        (self.is_joined, self.phase) = (false, Phase::Out);
        self.members.clear();
        self.taint(now_us);
    }

    /// Whether others may hear that this client leaves.
    pub fn check_leave(&self, now_us: u64, grace_us: u64) -> Result<(), String> {
        let is_tainted = self.tainted_us.is_some_and(|at_us| now_us < at_us + 120_000_000);
        // The server counts in whole milliseconds.
        let is_over = self.absent_us.is_some_and(|since_us| now_us + 1_000 >= since_us + grace_us);
        let is_unknown = !self.is_joined && self.absent_us.is_none();
        if is_tainted || is_over || is_unknown { Ok(()) } else { Err("was said to leave, and had grace".into()) }
    }

    pub fn on_join_ack(&mut self, since: Option<u64>, data: &Value, now_us: u64, grace_us: u64) -> Result<(), String> {
        let head = data["head"].as_u64().ok_or("no head")?;
        if self.absent_us.take().is_some_and(|since_us| now_us >= since_us + grace_us) {
            self.taint(now_us);
        }
        if !self.is_joined {
            self.joined_us = now_us;
        }
        (self.is_joined, self.is_dubious, self.is_resumed) = (true, false, false);
        self.phase = match since {
            None if head == 0 => {
                self.epoch = Some(text(data, "epoch").to_owned());
                Phase::Live { next: 1 }
            }
            None => {
                self.held.clear();
                self.epoch = None;
                Phase::Replay { next: None, head, is_first: true }
            }
            Some(since) => {
                self.last = since;
                Phase::Replay { next: Some(since + 1), head, is_first: true }
            }
        };
        if head == 0 && since.is_none() {
            self.last = 0;
            self.held.clear();
        }
        Ok(())
    }

    pub fn on_message_ack(&mut self, data: &Value) -> Result<(), String> {
        let sequence = data["sequence"].as_u64().ok_or("no sequence")?;
        if data["duplicate"] == true {
            return Ok(());
        }
        if sequence <= self.last_acked {
            return Err(format!("acked after {}", self.last_acked));
        }
        self.last_acked = sequence;
        match self.phase {
            Phase::Live { next } if sequence < next => Err("shown before it was acked".into()),
            _ => Ok(()),
        }
    }

    fn hold(&mut self, message: &Value, number: u64) {
        self.last = number;
        self.held.insert(number, text(message, "id").to_owned());
    }

    pub fn on_message(&mut self, message: &Value) -> Result<(), String> {
        let Phase::Live { next } = self.phase else { return Err(format!("a message while {:?}", self.phase)) };
        let number = message["sequence"].as_u64().unwrap_or_default();
        if number != next {
            return Err(format!("{next} was to come"));
        }
        self.hold(message, number);
        self.phase = Phase::Live { next: next + 1 };
        Ok(())
    }

    pub fn on_history(&mut self, data: &Value, messages: &[Value]) -> Result<(), String> {
        // Not with the ack: what is held belongs to the old epoch until a reset has said from where on not.
        self.epoch = Some(text(data, "epoch").to_owned());
        let gap_to = data["gap"]["to"].as_u64();
        let Phase::Replay { mut next, head, is_first } = self.phase else {
            return match (self.phase, gap_to) {
                (Phase::Live { .. }, Some(to)) => {
                    let last = messages.iter().filter_map(|message| message["sequence"].as_u64()).max();
                    self.last = last.unwrap_or(to).max(to);
                    self.phase = Phase::Live { next: self.last + 1 };
                    Ok(())
                }
                _ => Err(format!("a history while {:?}", self.phase)),
            };
        };
        if data["head"] != head {
            return Err(format!("the head was {head}"));
        }
        if data.get("reset").is_some() {
            if !is_first {
                return Err("reset in the middle".into());
            }
            next = None;
            let first = messages.first().and_then(|message| message["sequence"].as_u64());
            let floor = data["floor"].as_u64().unwrap_or_default();
            self.held.split_off(&first.unwrap_or(floor.min(head + 1)));
            self.last = first.unwrap_or(head + 1) - 1;
        } else if is_first && next.is_some_and(|next| next > head + 1) {
            return Err("a position beyond the end was honoured".into());
        }
        let gap_from = data["gap"]["from"].as_u64();
        for message in messages {
            let number = message["sequence"].as_u64().unwrap_or_default();
            if gap_from.is_some() && next == gap_from {
                next = gap_to.map(|to| to + 1);
            }
            if next.is_some_and(|next| number != next) {
                return Err(format!("{next:?} was to come"));
            }
            self.hold(message, number);
            next = Some(number + 1);
        }
        if gap_from.is_some() && (next == gap_from || next.is_none()) {
            next = gap_to.map(|to| to + 1);
        }
        let is_over = data["more"] == false;
        let next_due = next.unwrap_or(head + 1);
        if is_over != (next_due > head) {
            return Err(format!("more, or not, at {next_due} of {head}"));
        }
        self.phase =
            if is_over { Phase::Live { next: head + 1 } } else { Phase::Replay { next, head, is_first: false } };
        if is_over {
            self.last = head;
        }
        Ok(())
    }

    pub fn on_presence(&mut self, data: &Value) {
        let users = data["users"].as_array().into_iter().flatten();
        self.members = users.map(|user| text(user, "user").to_owned()).collect();
    }
}

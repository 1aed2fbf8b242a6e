//! The protocol as the terminal client speaks it (PROTOCOL.md): one person, over as many connections as it takes.
//!
//! Owns: the link's state, the rooms, what is asked of the server and what its answers mean. Pure: `now_ms` and dice come
//! in, effects go out. Must never know: a socket, a terminal, a clock.

mod answers;

use std::collections::HashMap;

use serde_json::{Value, json};

use super::Exit;
use super::line::Line;
use super::link::{DEAD_AFTER_HEARTBEATS, Link, STABLE_MS, backoff_ms, is_terminal};
use super::room::{Pending, Phase, Room};
use crate::limits;
use crate::protocol::close;

/// Beyond every number that a room may have, and exact in every JSON reader.
const BEYOND: u64 = (1 << 53) - 1;
/// How long a message waits that the server could not store.
const RETRY_MS: u64 = 1_000;

/// What the program is to do.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Effect {
    /// Connect; with a session, to come back to it.
    Dial(Option<String>),
    Send(String),
    /// Close the connection with this code.
    Close(u16),
    Show(Line),
    /// An event as it came, or without the messages that are not to be shown.
    Event(String),
    /// Ask the server which rooms it has.
    AskRooms,
    Exit(Exit),
}

/// Who one wants to be, and what one wants to see.
#[derive(Debug, Clone)]
pub(super) struct Wishes {
    pub user: Option<String>,
    /// An account's.
    pub token: Option<String>,
    pub rooms: Vec<String>,
    pub tail: u64,
    /// Events are shown as they come.
    pub json: bool,
    /// It is over when everything that was to be said is stored.
    pub ends: bool,
    /// How long a server that is gone is looked for, in milliseconds; `None` for ever.
    pub patience_ms: Option<u64>,
    /// Whether one that was never there is looked for as long.
    pub waits_at_first: bool,
}

/// What a command was about, until its answer.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Asked {
    Hello,
    Join { room: String, is_first: bool },
    Message { room: String, nonce: String },
    Private { to: String },
    Who { room: String },
    History { room: String },
    Other,
}

/// A conversation with a server.
///
/// Invariant: nothing is in flight, and no command waits for its answer, without a connection.
pub(super) struct Session {
    wishes: Wishes,
    pub(super) user: Option<String>,
    resume: Option<String>,
    pub(super) rooms: Vec<Room>,
    /// The room that what is typed goes to.
    active: usize,
    pub(super) link: Link,
    heartbeat_ms: u64,
    content_bytes_max: usize,
    heard_at_ms: u64,
    /// Nothing is sent before.
    hold_until_ms: u64,
    attempt: u32,
    /// Since when the server is gone.
    lost_at_ms: Option<u64>,
    has_been_connected: bool,
    asked: HashMap<u64, Asked>,
    next_id: u64,
    next_nonce: u64,
    /// Makes the nonces of this run its own.
    run: String,
    is_away: bool,
    input_ended: bool,
    /// Lines that the server did not take.
    refused: u64,
    effects: Vec<Effect>,
}

impl Session {
    /// `run` is a text that no other run has.
    pub fn new(wishes: Wishes, run: String) -> Self {
        let rooms = wishes.rooms.iter().map(|name| Room::new(name, wishes.tail)).collect();
        Self {
            user: wishes.user.clone(),
            wishes,
            resume: None,
            rooms,
            active: 0,
            link: Link::Idle,
            heartbeat_ms: limits::HEARTBEAT_MS,
            content_bytes_max: limits::CONTENT_BYTES_MAX,
            heard_at_ms: 0,
            hold_until_ms: 0,
            attempt: 0,
            lost_at_ms: None,
            has_been_connected: false,
            asked: HashMap::new(),
            next_id: 1,
            next_nonce: 0,
            run,
            is_away: false,
            input_ended: false,
            refused: 0,
            effects: Vec::new(),
        }
    }

    pub fn drain(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    pub fn has_been_connected(&self) -> bool {
        self.has_been_connected
    }

    /// Messages that are not stored yet.
    pub fn unsent(&self) -> usize {
        self.rooms.iter().map(|room| room.outbox.len()).sum()
    }

    pub fn active(&self) -> Option<&Room> {
        self.rooms.get(self.active)
    }

    /// The next moment at which `tick` has something to do.
    pub fn wake_at_ms(&self) -> Option<u64> {
        let link = match self.link {
            Link::Waiting { retry_at_ms } => Some(retry_at_ms),
            Link::Connected { .. } => Some(self.dead_at_ms()),
            _ => None,
        };
        let is_held = |room: &Room| room.can_send() && room.outbox.front().is_some_and(|next| !next.is_sent);
        let waits = self.rooms.iter().any(is_held);
        let hold = (waits && self.hold_until_ms > 0).then_some(self.hold_until_ms);
        [link, hold, self.gives_up_at_ms()].into_iter().flatten().min()
    }

    // -- the connection

    pub fn start(&mut self, now_ms: u64) {
        self.lost_at_ms = Some(now_ms);
        self.dial();
    }

    fn dial(&mut self) {
        self.link = Link::Connecting;
        self.effects.push(Effect::Dial(self.resume.clone()));
    }

    pub fn opened(&mut self, now_ms: u64) {
        self.heard_at_ms = now_ms;
        self.link = Link::Greeting { has_said_hello: false };
    }

    /// The connection could not be made, or is gone. `dice` is in 0..1.
    pub fn lost(&mut self, code: Option<u16>, why: &str, dice: f64, now_ms: u64) {
        let was = std::mem::replace(&mut self.link, Link::Idle);
        if matches!(was, Link::Stopped) {
            self.link = was;
            return;
        }
        if let Link::Connected { since_ms } = was
            && now_ms.saturating_sub(since_ms) >= STABLE_MS
        {
            self.attempt = 0;
        }
        self.forget_connection();
        if let Some(code) = code.filter(|code| is_terminal(*code)) {
            return self.stop(exit_of(code), &format!("The server ended the connection: {why}"));
        }
        if !self.has_been_connected && !self.wishes.waits_at_first {
            return self.stop(Exit::Unreachable, why);
        }
        let since_ms = *self.lost_at_ms.get_or_insert(now_ms);
        let wait_ms = backoff_ms(self.attempt, dice);
        self.attempt += 1;
        self.link = Link::Waiting { retry_at_ms: now_ms + wait_ms };
        if since_ms == now_ms || self.attempt == 1 {
            self.trouble(&format!("{why}. Trying again, and keeping what you write"));
        }
    }

    fn forget_connection(&mut self) {
        let mut asked: Vec<_> = self.asked.drain().collect();
        asked.sort_by_key(|(id, _)| *id);
        for (_, asked) in asked {
            if let Asked::Private { to } = asked {
                self.refused += 1;
                self.trouble(&format!("What you wrote to {to} may not have arrived"));
            }
        }
        self.rooms.iter_mut().for_each(Room::lose);
    }

    fn stop(&mut self, exit: Exit, why: &str) {
        self.link = Link::Stopped;
        self.trouble(why);
        let exit = if exit == Exit::Unreachable && self.owes() { Exit::Unacked } else { exit };
        self.effects.push(Effect::Exit(exit));
    }

    /// Whether something that was to be stored is not.
    fn owes(&self) -> bool {
        self.has_been_connected && (self.unsent() > 0 || self.refused > 0 || (self.wishes.ends && !self.input_ended))
    }

    fn dead_at_ms(&self) -> u64 {
        self.heard_at_ms + DEAD_AFTER_HEARTBEATS * self.heartbeat_ms / 2
    }

    fn gives_up_at_ms(&self) -> Option<u64> {
        Some(self.lost_at_ms? + self.wishes.patience_ms?)
    }

    pub fn tick(&mut self, dice: f64, now_ms: u64) {
        if self.gives_up_at_ms().is_some_and(|at_ms| now_ms >= at_ms) && !matches!(self.link, Link::Stopped) {
            self.effects.push(Effect::Close(close::NORMAL));
            return self.stop(Exit::Unreachable, "The server cannot be reached");
        }
        match self.link {
            Link::Waiting { retry_at_ms } if now_ms >= retry_at_ms => self.dial(),
            Link::Connected { .. } if now_ms >= self.dead_at_ms() => {
                self.effects.push(Effect::Close(close::NO_HEARTBEAT));
                self.lost(None, "Nothing was heard from the server", dice, now_ms);
            }
            _ => {}
        }
        for at in 0..self.rooms.len() {
            self.pump(at, now_ms);
        }
    }

    // -- what a person wants

    /// Says `content` in the room one is in.
    pub fn say(&mut self, content: &str, now_ms: u64) {
        if self.is_away {
            self.is_away = false;
            self.command("status", json!({"status": "online"}), Asked::Other);
        }
        self.queue(self.active, content, now_ms);
    }

    fn queue(&mut self, at: usize, content: &str, now_ms: u64) {
        let nonce = self.nonce();
        let Some(room) = self.rooms.get_mut(at) else { return self.trouble("Join a room first: /join ROOM") };
        room.outbox.push_back(Pending { nonce, content: content.to_owned(), is_sent: false });
        self.pump(at, now_ms);
    }

    /// A text that no other message has.
    fn nonce(&mut self) -> String {
        self.next_nonce += 1;
        format!("{}-{}", self.run, self.next_nonce)
    }

    pub fn join(&mut self, name: &str) {
        self.active = self.find(name).unwrap_or_else(|| self.add(Room::new(name, self.wishes.tail)));
    }

    fn add(&mut self, room: Room) -> usize {
        self.rooms.push(room);
        let at = self.rooms.len() - 1;
        if self.is_connected() {
            self.enter(at);
        }
        at
    }

    pub fn leave(&mut self, name: Option<&str>) {
        let at = name.map_or(Some(self.active), |name| self.find(name)).filter(|at| *at < self.rooms.len());
        let Some(at) = at else { return self.trouble("You are not in this room") };
        let room = self.rooms.remove(at);
        if room.phase != Phase::Out {
            self.command("leave", json!({"room": room.name}), Asked::Other);
        }
        if self.active > at || self.active >= self.rooms.len() {
            self.active = self.active.saturating_sub(1);
        }
        self.info(&format!("You left {}", room.title()));
    }

    /// Says something to one user: in the log of the two, where one is known, else as it comes.
    pub fn private(&mut self, to: &str, content: &str, now_ms: u64) {
        if let Some(at) = self.rooms.iter().position(|room| room.peer.as_deref() == Some(to)) {
            return self.queue(at, content, now_ms);
        }
        if !self.is_connected() {
            return self.trouble("Not connected: not sent");
        }
        let nonce = self.nonce();
        let asked = Asked::Private { to: to.to_owned() };
        self.command("private", json!({"to": to, "content": content, "nonce": nonce}), asked);
    }

    pub fn who(&mut self, name: Option<&str>) {
        let Some(room) = name.map(str::to_owned).or_else(|| Some(self.active()?.name.clone())) else {
            return self.trouble("Join a room first: /join ROOM");
        };
        self.ask("presence", json!({"room": room}), Asked::Who { room: room.clone() });
    }

    pub fn history(&mut self, count: u64) {
        let Some(room) = self.active().map(|room| room.name.clone()) else {
            return self.trouble("Join a room first: /join ROOM");
        };
        let fields = json!({"room": room, "before": BEYOND, "limit": count.max(1)});
        self.ask("history", fields, Asked::History { room: room.clone() });
    }

    pub fn list_rooms(&mut self) {
        let titles: Vec<String> = self.rooms.iter().map(Room::title).collect();
        self.info(&format!("You are in {}", if titles.is_empty() { "no room".to_owned() } else { titles.join(", ") }));
        self.effects.push(Effect::AskRooms);
    }

    pub fn nick(&mut self, name: &str) {
        self.ask("hello", json!({"user": name}), Asked::Hello);
    }

    pub fn away(&mut self) {
        self.is_away = true;
        self.ask("status", json!({"status": "away"}), Asked::Other);
        self.info("You are away, until you say something");
    }

    /// Nothing more will be typed.
    pub fn end_input(&mut self) {
        self.input_ended = true;
        self.end_if_done();
    }

    pub fn quit(&mut self) {
        self.link = Link::Stopped;
        self.effects.push(Effect::Close(close::NORMAL));
        let exit = if self.unsent() > 0 || self.refused > 0 { Exit::Unacked } else { Exit::Good };
        self.effects.push(Effect::Exit(exit));
    }

    /// Ends when everything is stored that was to be, and everything was shown.
    fn end_if_done(&mut self) {
        let is_done = self.unsent() == 0 && self.rooms.iter().all(|room| room.phase == Phase::Live);
        if self.wishes.ends && self.input_ended && is_done && self.is_connected() {
            self.quit();
        }
    }

    // -- to the server

    fn is_connected(&self) -> bool {
        matches!(self.link, Link::Connected { .. })
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.rooms.iter().position(|room| room.name == name)
    }

    pub(super) fn info(&mut self, text: &str) {
        self.effects.push(Effect::Show(Line::Info(text.to_owned())));
    }

    pub(super) fn trouble(&mut self, text: &str) {
        self.effects.push(Effect::Show(Line::Trouble(text.to_owned())));
    }

    /// As `command`, for what somebody is waiting for.
    fn ask(&mut self, kind: &str, fields: Value, asked: Asked) {
        if self.is_connected() {
            self.command(kind, fields, asked);
        } else {
            self.trouble("Not connected");
        }
    }

    fn command(&mut self, kind: &str, mut fields: Value, asked: Asked) {
        if matches!(self.link, Link::Idle | Link::Connecting | Link::Waiting { .. } | Link::Stopped) {
            return;
        }
        fields["type"] = kind.into();
        fields["id"] = self.next_id.into();
        self.asked.insert(self.next_id, asked);
        self.next_id += 1;
        self.effects.push(Effect::Send(fields.to_string()));
    }

    fn hello(&mut self) {
        let fields = match &self.wishes.token {
            Some(token) => json!({"token": token}),
            None => json!({"user": self.user}),
        };
        self.command("hello", fields, Asked::Hello);
    }

    fn enter(&mut self, at: usize) {
        let room = &mut self.rooms[at];
        let name = room.name.clone();
        let is_first = room.last.is_none();
        if is_first && room.tail > limits::JOIN_HISTORY_MESSAGES {
            room.phase = Phase::Peeking;
            let fields = json!({"room": name, "before": BEYOND, "limit": room.tail});
            return self.command("history", fields, Asked::Other);
        }
        room.phase = Phase::Joining;
        let mut fields = json!({"room": name});
        if let Some(last) = room.last {
            fields["since"] = last.into();
            if let Some(epoch) = &room.epoch {
                fields["epoch"] = epoch.as_str().into();
            }
        }
        self.command("join", fields, Asked::Join { room: name, is_first });
    }

    /// Sends the room's next message unless one is in flight.
    fn pump(&mut self, at: usize, now_ms: u64) {
        if !self.is_connected() || now_ms < self.hold_until_ms {
            return;
        }
        while let Some(over) = self.over(at) {
            let Some(pending) = self.rooms[at].outbox.pop_front() else { return };
            self.refuse(&format!("Too long by {over} bytes"), &pending.content);
        }
        let Some(room) = self.rooms.get_mut(at).filter(|room| room.can_send()) else { return };
        let name = room.name.clone();
        let Some(next) = room.outbox.front_mut().filter(|next| !next.is_sent) else { return };
        next.is_sent = true;
        let fields = json!({"room": name, "content": next.content, "nonce": next.nonce});
        let asked = Asked::Message { room: name, nonce: next.nonce.clone() };
        self.command("message", fields, asked);
    }

    /// By how many bytes the room's next message is longer than the server takes.
    fn over(&self, at: usize) -> Option<usize> {
        let next = self.rooms.get(at)?.outbox.front().filter(|next| !next.is_sent)?;
        next.content.len().checked_sub(self.content_bytes_max).filter(|over| *over > 0)
    }

    /// Something that was to be said is not, and will not be.
    pub fn refuse(&mut self, why: &str, content: &str) {
        self.refused += 1;
        let start: String = content.chars().take(40).collect();
        self.trouble(&format!("Not sent: {why} ({start}{})", if start == content { "" } else { "…" }));
    }
}

fn exit_of(code: u16) -> Exit {
    match code {
        1000 | 1002 | 1003 | 1007 | 1009 => Exit::Failed,
        _ => Exit::Refused,
    }
}

#[cfg(test)]
mod tests;

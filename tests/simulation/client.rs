//! A client that follows the protocol, believes nothing, and is rude to the network.
//!
//! Owns: one user's connection and what it was told. Must never know: the server, other clients but by what it hears.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde_json::{Value, json};

use super::core::{Core, Event, Parting, Phase as Scene};
use super::dice::Dice;
use super::frames;
use super::view::{Phase, View};

/// A message that was not acknowledged yet.
#[derive(Clone, Debug)]
pub struct Draft {
    pub room: String,
    pub nonce: String,
    pub content: String,
    /// Whose number it asks to change.
    pub target: Option<u64>,
    pub is_asked: bool,
}

/// A command that is to be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Asked {
    Message(String),
    Join { room: String, since: Option<(u64, Option<String>)> },
    Leave(String),
    History { room: String, since: u64, limit: u64 },
    Bad(&'static str),
    Other,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Off,
    Asking { since_us: u64 },
    Open,
}

pub struct Client {
    number: usize,
    pub name: String,
    dice: Dice,
    link: Option<usize>,
    state: State,
    inbox: Vec<u8>,
    session: Option<String>,
    /// In which life of the server that began.
    session_life: u32,
    /// When a connection was lost last.
    lost_us: u64,
    pub rooms: BTreeMap<String, View>,
    asked: BTreeMap<u64, Asked>,
    /// Messages that were not answered before the connection was lost: a session that goes on may still hear.
    elder: BTreeMap<u64, Draft>,
    histories: VecDeque<(String, u64, u64)>,
    next_id: u64,
    pub drafts: Vec<Draft>,
    nonces: u64,
    /// Codes with which this connection may be closed.
    allowed: BTreeSet<u16>,
    /// Errors without an `id` that may come.
    errors_due: u32,
    is_over: bool,
    /// When this connection was asked for.
    asked_us: u64,
    asked_life: u32,
    /// It was told on its last connection who it is.
    is_greeted: bool,
    /// Since when the server has a reason to end this connection, of which this end may hear later.
    doubted_us: Option<u64>,
    /// Answers no pings.
    is_mute: bool,
    /// Was slow, or fell behind: what is ephemeral may be missing.
    pub is_lossy: bool,
    pub is_retired: bool,
    /// What it does not come back from before.
    rests_until_us: u64,
    /// Only reads, and from the first number on.
    is_auditor: bool,
}

impl Client {
    pub fn new(number: usize, dice: Dice, is_auditor: bool) -> Self {
        Self {
            number,
            name: if is_auditor { "auditor".into() } else { format!("client {number}") },
            dice,
            link: None,
            state: State::Off,
            inbox: Vec::new(),
            session: None,
            session_life: 0,
            lost_us: 0,
            rooms: BTreeMap::new(),
            asked: BTreeMap::new(),
            elder: BTreeMap::new(),
            histories: VecDeque::new(),
            next_id: 0,
            drafts: Vec::new(),
            nonces: 0,
            allowed: BTreeSet::new(),
            errors_due: 0,
            is_over: false,
            asked_us: 0,
            asked_life: 0,
            is_greeted: false,
            doubted_us: None,
            is_mute: false,
            is_lossy: false,
            is_retired: false,
            rests_until_us: 0,
            is_auditor,
        }
    }

    pub fn is_open(&self) -> bool {
        self.state == State::Open
    }

    /// Does something, and then something else.
    pub fn act(&mut self, core: &mut Core) {
        if self.is_retired || (self.is_auditor && core.phase < Scene::Audit) {
            return;
        }
        let think_us = if core.phase == Scene::Storm { core.plan.think_us } else { 200_000 };
        let wait_us = self.dice.within(1_000, think_us);
        core.after(wait_us, Event::Act(self.number));
        if core.phase > Scene::Storm {
            self.calm_down(core);
        }
        match self.state {
            State::Off if core.now_us >= self.rests_until_us => self.connect(core),
            State::Off => {}
            State::Asking { since_us } => {
                if core.now_us > since_us + 8_000_000 {
                    self.let_go(Parting::Reset, core);
                }
            }
            State::Open if core.phase == Scene::Storm => self.act_wildly(core),
            State::Open => self.settle(core),
        }
    }

    fn calm_down(&mut self, core: &mut Core) {
        self.rests_until_us = self.rests_until_us.min(core.now_us);
        if let Some(link) = self.link
            && core.network.links.get(&link).is_some_and(|link| link.is_stuck || link.is_cut)
        {
            self.let_go(Parting::Reset, core);
        }
        if std::mem::take(&mut self.is_mute) && self.link.is_some() {
            self.let_go(Parting::Reset, core);
        }
    }

    fn connect(&mut self, core: &mut Core) {
        let tiny = core.plan.rude && core.phase == Scene::Storm && self.dice.chance(20);
        let window = if tiny { self.dice.within(64, 2_000) } else { self.dice.within(4_000, 80_000) };
        let window = if self.is_auditor { 1 << 20 } else { window };
        let link = core.connect(self.number, window as usize);
        let session = self.session.as_ref().filter(|_| self.is_auditor || !self.dice.chance(10));
        let query = match session {
            Some(session) => format!("?user={}&session={session}", self.name.replace(' ', "%20")),
            None => format!("?user={}", self.name.replace(' ', "%20")),
        };
        if session.is_none() {
            self.session = None;
            self.rooms.values_mut().for_each(|view| view.taint(core.now_us));
        }
        let request = format!(
            "GET /ws{query} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        core.say(format_args!("{} connects by link {link}, {query}", self.name));
        core.send(link, request.into_bytes());
        self.link = Some(link);
        (self.asked_us, self.asked_life) = (core.now_us, core.life);
        self.state = State::Asking { since_us: core.now_us };
        self.inbox.clear();
        // Its name may be held by a session that it does not know, or has not heard of.
        let is_known = self.session.is_some() && std::mem::take(&mut self.is_greeted);
        self.allowed = if is_known { BTreeSet::new() } else { [1008].into() };
        (self.is_over, self.is_mute, self.is_lossy, self.errors_due) = (false, false, tiny, 0);
        self.doubted_us = None;
        if tiny {
            self.allowed.extend([1013, 4000]);
        }
        // It may be shown out for slowness, or for too many messages.
        if tiny || (core.plan.config.rate_per_second > 0 && core.plan.burst > 6) {
            self.doubt(core.now_us);
        }
    }

    fn doubt(&mut self, now_us: u64) {
        self.doubted_us.get_or_insert(now_us);
        self.rooms.values_mut().filter(|view| view.is_joined).for_each(|view| view.doubt(now_us));
    }

    fn act_wildly(&mut self, core: &mut Core) {
        let wanting: Vec<String> = core.plan.rooms.clone();
        let room = self.dice.pick(&wanting).clone();
        let is_member = self.rooms.get(&room).is_some_and(|view| view.is_joined);
        match self.dice.below(100) {
            0..44 if !is_member && self.dice.chance(95) => self.join(&room, core),
            0..44 => (0..=self.dice.below(core.plan.burst)).for_each(|_| self.say_something(&room, core)),
            44..56 => self.join(&room, core),
            56..59 => self.leave_room(&room, core),
            59..66 => self.change(&room, core),
            66..70 => self.read_history(&room, core),
            70..72 => self.ask(json!({"type": "presence", "room": room}), Asked::Other, core),
            72..75 => {
                let status = *self.dice.pick(&["away", "online"]);
                self.ask(json!({"type": "status", "status": status}), Asked::Other, core);
            }
            75..78 => {
                let command = json!({"type": "typing", "room": room, "isTyping": self.dice.chance(60)});
                self.ask(command, Asked::Bad("not_subscribed"), core);
            }
            78..81 => self.ask(json!({"type": "ping", "timestamp": 5}), Asked::Other, core),
            81..85 if core.plan.private => self.whisper(core),
            85..87 => self.resend(core),
            87..90 => self.misspeak(core),
            90..92 => self.ping(core),
            92..100 if core.plan.rude => self.be_rude(core),
            _ => {}
        }
    }

    /// In the calm: comes back into its rooms, and sends again what was not acknowledged.
    fn settle(&mut self, core: &mut Core) {
        let rooms: Vec<String> = core.plan.rooms.clone();
        for room in rooms {
            let view = self.rooms.entry(room.clone()).or_default();
            let wants = if self.is_auditor { !view.is_joined } else { view.is_wanted && !view.is_joined };
            if wants
                && !self.asked.values().any(|asked| matches!(asked, Asked::Join { room: other, .. } if *other == room))
            {
                self.join(&room, core);
            }
        }
        self.resend(core);
    }

    fn send_frame(&mut self, first: u8, payload: &[u8], core: &mut Core) {
        let key = self.dice.roll() as u32;
        if let Some(link) = self.link {
            core.send(link, frames::masked(first, payload, key));
        }
    }

    fn ask(&mut self, mut command: Value, asked: Asked, core: &mut Core) {
        self.next_id += 1;
        command["id"] = self.next_id.into();
        self.asked.insert(self.next_id, asked);
        let text = command.to_string();
        core.say(format_args!("{} asks {text:.160}", self.name));
        if text.len() > 2 && self.dice.chance(10) {
            // In fragments, with a ping between them.
            let (first, second) = text.as_bytes().split_at(1 + self.dice.below(text.len() - 1));
            self.send_frame(0x01, first, core);
            self.send_frame(0x89, b"between", core);
            self.send_frame(0x80, second, core);
        } else {
            self.send_frame(0x81, text.as_bytes(), core);
        }
    }

    fn say_something(&mut self, room: &str, core: &mut Core) {
        if self.drafts.len() > 60 {
            return;
        }
        self.nonces += 1;
        let nonce = format!("{}-{}", self.number, self.nonces);
        let length = self.dice.below(core.plan.content_bytes);
        let content = format!("{nonce} {}", "é\"x".repeat(length / 4));
        self.submit(Draft { room: room.into(), nonce, content, target: None, is_asked: false }, core);
    }

    fn change(&mut self, room: &str, core: &mut Core) {
        let own = core.oracle.own_messages(room, &self.name);
        if own.is_empty() || self.drafts.len() > 60 {
            return;
        }
        self.nonces += 1;
        let nonce = format!("{}-{}", self.number, self.nonces);
        let is_deletion = self.dice.chance(25);
        let content = if is_deletion { String::new() } else { format!("{nonce} edited") };
        let target = *self.dice.pick(&own);
        self.submit(Draft { room: room.into(), nonce, content, target: Some(target), is_asked: false }, core);
    }

    fn submit(&mut self, draft: Draft, core: &mut Core) {
        core.oracle.on_submit(&draft);
        self.drafts.push(draft);
        self.send_draft(self.drafts.len() - 1, core);
    }

    fn send_draft(&mut self, index: usize, core: &mut Core) {
        let draft = &mut self.drafts[index];
        draft.is_asked = true;
        let draft = draft.clone();
        let command = match draft.target {
            None => {
                json!({"type": "message", "data": {"room": draft.room, "content": draft.content, "nonce": draft.nonce}})
            }
            Some(target) if draft.content.is_empty() => {
                json!({"type": "delete", "room": draft.room, "sequence": target})
            }
            Some(target) => {
                json!({"type": "edit", "room": draft.room, "sequence": target, "content": draft.content, "nonce": draft.nonce})
            }
        };
        self.ask(command, Asked::Message(draft.nonce), core);
    }

    fn resend(&mut self, core: &mut Core) {
        for index in 0..self.drafts.len() {
            if !self.drafts[index].is_asked {
                self.send_draft(index, core);
            }
        }
    }

    fn join(&mut self, room: &str, core: &mut Core) {
        if self.histories.iter().any(|(asked, ..)| asked == room)
            || self.asked.values().any(|asked| matches!(asked, Asked::Join { room: other, .. } | Asked::History { room: other, .. } if other == room))
        {
            return;
        }
        let view = self.rooms.entry(room.into()).or_default();
        view.is_wanted = true;
        let mut command = json!({"type": "join", "room": room});
        let since = if self.is_auditor {
            Some((0, None))
        } else {
            view.position().filter(|_| self.dice.chance(85)).map(|(last, epoch)| (last, Some(epoch)))
        };
        if let Some((since, epoch)) = &since {
            command["since"] = (*since).into();
            epoch.iter().for_each(|epoch| command["epoch"] = epoch.as_str().into());
        }
        self.ask(command, Asked::Join { room: room.into(), since }, core);
    }

    fn leave_room(&mut self, room: &str, core: &mut Core) {
        let now_us = core.now_us;
        if let Some(view) = self.rooms.get_mut(room).filter(|view| view.is_joined) {
            view.is_wanted = false;
            view.taint(now_us);
            self.ask(json!({"type": "leave", "room": room}), Asked::Leave(room.into()), core);
        }
    }

    fn read_history(&mut self, room: &str, core: &mut Core) {
        let is_free = self.rooms.get(room).is_none_or(|view| matches!(view.phase, Phase::Out | Phase::Live { .. }));
        let joins = self.asked.values().any(|asked| matches!(asked, Asked::Join { room: other, .. } if other == room));
        if is_free && !joins {
            let head = core.oracle.head(room);
            let since = self.dice.within(0, head + 2);
            let limit = self.dice.within(1, 60);
            let command = json!({"type": "history", "room": room, "since": since, "limit": limit});
            self.ask(command, Asked::History { room: room.into(), since, limit }, core);
        }
    }

    fn whisper(&mut self, core: &mut Core) {
        let to = format!("client {}", self.dice.below(core.plan.clients));
        let content = "p".repeat(1 + self.dice.below(4_000));
        self.ask(json!({"type": "private", "to": to, "content": content}), Asked::Bad("no_such_user"), core);
    }

    fn misspeak(&mut self, core: &mut Core) {
        let kind = self.dice.below(7);
        if kind >= 4 {
            self.doubt(core.now_us);
        }
        match kind {
            0 => {
                self.errors_due += 1;
                self.send_frame(0x81, b"{\"type\":", core);
            }
            1 => self.ask(json!({"type": "message", "room": "room 0", "content": "  "}), Asked::Bad("empty"), core),
            2 => {
                let content = "x".repeat(4_097);
                let command = json!({"type": "message", "room": "room 0", "content": content});
                self.ask(command, Asked::Bad("too_long"), core);
            }
            3 => self.ask(json!({"type": "nonsense"}), Asked::Bad("unknown_type"), core),
            4 => {
                self.allowed.insert(1009);
                self.send_frame(0x81, &[b'x'; 17 * 1024], core);
            }
            5 => {
                self.allowed.insert(1003);
                self.send_frame(0x82, b"binary", core);
            }
            _ => {
                self.allowed.insert(1002);
                self.send_frame(0x83, b"reserved", core);
            }
        }
    }

    fn ping(&mut self, core: &mut Core) {
        self.send_frame(0x89, b"are you there", core);
    }

    fn be_rude(&mut self, core: &mut Core) {
        let Some(link) = self.link else { return };
        let rest_us = self.dice.within(1_000, 2 * core.plan.away_us());
        match self.dice.below(12) {
            0..4 => {
                core.say(format_args!("{} reads nothing for {} ms", self.name, rest_us / 1_000));
                self.allowed.extend([1013, 4000]);
                self.is_lossy = true;
                self.doubt(core.now_us);
                if let Some(link) = core.network.links.get_mut(&link) {
                    link.is_stuck = true;
                }
                return core.after(rest_us, Event::Unstick(link));
            }
            4..6 => {
                core.say(format_args!("{} answers no pings", self.name));
                self.allowed.insert(4000);
                self.is_mute = true;
                self.doubt(core.now_us);
                return;
            }
            6..8 => self.let_go(Parting::Vanish, core),
            8..10 => self.let_go(Parting::Reset, core),
            10 => self.let_go(Parting::End, core),
            _ => self.say_goodbye(core),
        }
        if self.dice.chance(50) {
            self.rests_until_us = core.now_us + rest_us;
        }
    }

    fn say_goodbye(&mut self, core: &mut Core) {
        self.send_frame(0x88, &1000_u16.to_be_bytes(), core);
        self.allowed.insert(1000);
        self.session = None;
        self.rooms.values_mut().for_each(|view| view.taint(core.now_us));
        self.let_go(Parting::End, core);
    }

    /// Goes for good.
    pub fn retire(&mut self, core: &mut Core) {
        self.is_retired = true;
        if self.link.is_some() {
            match self.dice.below(4) {
                0 => self.say_goodbye(core),
                1 => self.let_go(Parting::Reset, core),
                2 => self.let_go(Parting::End, core),
                _ => self.let_go(Parting::Vanish, core),
            }
        }
    }

    fn let_go(&mut self, how: Parting, core: &mut Core) {
        if let Some(link) = self.link.take() {
            core.say(format_args!("{} lets go of link {link}: {how:?}", self.name));
            core.leave(link, how);
            self.lose(core);
        }
    }

    /// The connection is gone, by the server or the network.
    pub fn on_lost(&mut self, link: usize, core: &mut Core) {
        if self.link == Some(link) {
            core.say(format_args!("{} has lost link {link}", self.name));
            core.leave(link, Parting::End);
            self.link = None;
            self.lose(core);
        }
    }

    fn lose(&mut self, core: &mut Core) {
        if self.state == State::Open {
            self.lost_us = self.doubted_us.unwrap_or(core.now_us);
        }
        self.state = State::Off;
        for (id, asked) in std::mem::take(&mut self.asked) {
            if let Asked::Message(nonce) = asked
                && let Some(draft) = self.drafts.iter().find(|draft| draft.nonce == nonce)
            {
                self.elder.insert(id, draft.clone());
            }
        }
        self.histories.clear();
        self.drafts.iter_mut().for_each(|draft| draft.is_asked = false);
        self.rooms.values_mut().for_each(|view| view.lose(core.now_us));
        // A deletion has no nonce: whether it was done is not known.
        self.drafts.retain(|draft| draft.target.is_none() || !draft.content.is_empty());
    }

    pub fn on_bytes(&mut self, link: usize, bytes: &[u8], core: &mut Core) {
        if self.link != Some(link) {
            return;
        }
        self.inbox.extend_from_slice(bytes);
        if matches!(self.state, State::Asking { .. }) && !self.take_head(core) {
            return;
        }
        let mut inbox = std::mem::take(&mut self.inbox);
        let mut used = 0;
        while self.link == Some(link) && core.failure.is_none() {
            match frames::next(&inbox[used..]) {
                Ok(None) => break,
                Ok(Some((opcode, payload, len))) => {
                    used += len;
                    if self.is_over {
                        core.fail(format!("{}: a frame after the close frame", self.name));
                    }
                    self.on_frame(opcode, &payload, core);
                }
                Err(why) => core.fail(format!("{}: {why}", self.name)),
            }
        }
        if self.link == Some(link) {
            inbox.drain(..used);
            self.inbox = inbox;
        }
    }

    /// False if the answer to the upgrade is not there yet, or is another one.
    fn take_head(&mut self, core: &mut Core) -> bool {
        let Some(end) = self.inbox.windows(4).position(|four| four == b"\r\n\r\n") else { return false };
        if !self.inbox.starts_with(b"HTTP/1.1 101 ") {
            core.say(format_args!("{} is refused", self.name));
            self.let_go(Parting::End, core);
            return false;
        }
        self.inbox.drain(..end + 4);
        self.state = State::Open;
        true
    }

    fn on_frame(&mut self, opcode: u8, payload: &[u8], core: &mut Core) {
        match opcode {
            frames::PING if !self.is_mute => self.send_frame(0x8a, payload, core),
            frames::CLOSE => self.on_close(payload, core),
            frames::TEXT => match serde_json::from_slice::<Value>(payload) {
                Ok(event) => {
                    core.trace.aside(core.now_us, &self.name, payload);
                    if let Err(why) = self.on_event(&event, core) {
                        core.fail(format!("{}: {why}: {:.400}", self.name, event.to_string()));
                    }
                }
                Err(error) => core.fail(format!("{}: not JSON: {error}", self.name)),
            },
            _ => {}
        }
    }

    fn on_close(&mut self, payload: &[u8], core: &mut Core) {
        let code = payload.get(..2).map_or(1005, |code| u16::from_be_bytes([code[0], code[1]]));
        core.say(format_args!("{} is closed with {code}", self.name));
        let is_known =
            self.allowed.contains(&code) || (code == 1001 && (core.oracle.is_stopping || self.asked_life < core.life));
        if !is_known {
            core.fail(format!("{} is closed with {code} for no reason", self.name));
        }
        if code == 1008 {
            self.rests_until_us = core.now_us + 500_000;
            if self.session.is_some() {
                self.session = None;
            }
        }
        self.is_over = true;
        self.let_go(Parting::End, core);
    }

    fn on_event(&mut self, event: &Value, core: &mut Core) -> Result<(), String> {
        let data = &event["data"];
        match event["type"].as_str().unwrap_or_default() {
            "connected" => self.on_connected(data, core),
            "ack" => self.on_ack(event["id"].as_u64(), data, core),
            "error" => self.on_error(event["id"].as_u64(), data, core),
            "message" if data["ephemeral"] == true => self.on_announcement(data, core),
            "message" => {
                let view = self.rooms.get_mut(text(data, "room")).ok_or("a message of a room that was not joined")?;
                core.oracle.see(data)?;
                view.on_message(data)
            }
            "history" => self.on_history(data, core),
            "presence" => {
                if let Some(view) = self.rooms.get_mut(text(data, "room")) {
                    view.on_presence(data);
                }
                Ok(())
            }
            "status" => {
                if let Some(view) = self.rooms.get_mut(text(data, "room")).filter(|_| data["status"] == "offline") {
                    view.offline.insert(text(data, "user").into(), core.now_us);
                }
                Ok(())
            }
            "heartbeat" | "pong" | "typing" | "private" => Ok(()),
            _ => Err("an unknown event".into()),
        }
    }

    fn on_connected(&mut self, data: &Value, core: &mut Core) -> Result<(), String> {
        let session = text(data, "session").to_owned();
        if let Some(known) = &self.session {
            let is_early = core.now_us + 1_000 < self.lost_us + core.plan.config.grace_ms * 1_000;
            let is_early = is_early && self.session_life == core.life;
            if *known != session && is_early {
                return Err(format!("within the grace period the session {known} was over"));
            }
        }
        let is_resumed = self.session.as_ref() == Some(&session);
        if !is_resumed {
            self.elder.clear();
        }
        for view in self.rooms.values_mut() {
            view.on_connected(is_resumed, self.asked_us);
        }
        if data["user"] != self.name.as_str() {
            return Err("a wrong name".into());
        }
        self.is_greeted = true;
        self.allowed.remove(&1008);
        if core.plan.config.rate_per_second > 0 {
            self.allowed.insert(1008);
        }
        (self.session, self.session_life) = (Some(session), core.life);
        Ok(())
    }

    fn on_ack(&mut self, id: Option<u64>, data: &Value, core: &mut Core) -> Result<(), String> {
        if let Some(draft) = id.and_then(|id| self.elder.remove(&id)) {
            return core.oracle.on_acked(&self.name, &draft, data, core.now_us);
        }
        let asked = id.and_then(|id| self.asked.remove(&id)).ok_or("an ack that nobody waits for")?;
        match asked {
            Asked::Message(nonce) => {
                let index = self.drafts.iter().position(|draft| draft.nonce == nonce).ok_or("acked twice")?;
                let draft = self.drafts.remove(index);
                let view = self.rooms.entry(draft.room.clone()).or_default();
                view.on_message_ack(data)?;
                core.oracle.on_acked(&self.name, &draft, data, core.now_us)
            }
            Asked::Join { room, since } => {
                let view = self.rooms.entry(room).or_default();
                let doubted_us = self.doubted_us;
                view.on_join_ack(since.map(|(since, _)| since), data, core.now_us, core.plan.config.grace_ms * 1_000)?;
                if let Some(since_us) = doubted_us {
                    view.doubt(since_us);
                }
                Ok(())
            }
            Asked::Leave(room) => {
                self.rooms.entry(room).or_default().on_left(core.now_us);
                Ok(())
            }
            Asked::History { room, since, limit } => {
                self.histories.push_back((room, since, limit));
                Ok(())
            }
            Asked::Bad("no_such_user" | "not_subscribed") | Asked::Other => Ok(()),
            Asked::Bad(code) => Err(format!("{code} was due")),
        }
    }

    fn on_error(&mut self, id: Option<u64>, data: &Value, core: &mut Core) -> Result<(), String> {
        let code = text(data, "code");
        let Some(id) = id else {
            // In the place of a history.
            if code == "storage_unavailable" && core.oracle.may_fail() && self.histories.pop_front().is_some() {
                return Ok(());
            }
            let is_due = self.errors_due > 0;
            self.errors_due = self.errors_due.saturating_sub(1);
            return if is_due { Ok(()) } else { Err("an error out of the blue".into()) };
        };
        if self.elder.remove(&id).is_some() {
            return Ok(());
        }
        let Some(asked) = self.asked.remove(&id) else {
            return Err("an error that nobody waits for".into());
        };
        core.say(format_args!("{} is told {code} of {asked:?}", self.name));
        let storage = code == "storage_unavailable" && core.oracle.may_fail();
        let is_known = code == "rate_limited" && core.plan.config.rate_per_second > 0 || storage;
        match asked {
            Asked::Message(nonce) => {
                let index = self.drafts.iter().position(|draft| draft.nonce == nonce).ok_or("refused after its ack")?;
                let draft = &mut self.drafts[index];
                draft.is_asked = false;
                let is_change = draft.target.is_some();
                let is_member = self.rooms.get(&draft.room).is_some_and(|view| view.is_joined && view.is_wanted);
                let known = match code {
                    "not_subscribed" => !is_member,
                    "forbidden" | "no_such_message" | "nonce_conflict" => is_change,
                    "too_long" => is_change,
                    _ => is_known,
                };
                if is_change || (code == "not_subscribed" && self.dice.chance(50)) {
                    self.drafts.remove(index);
                }
                if known { Ok(()) } else { Err(format!("{code} for no reason")) }
            }
            Asked::Join { room, .. } if storage => {
                self.rooms.entry(room).or_default().is_dubious = true;
                Ok(())
            }
            Asked::Leave(room) if code == "not_subscribed" => {
                self.rooms.entry(room).or_default().on_left(core.now_us);
                Ok(())
            }
            Asked::Bad(due) if code == due || code == "not_subscribed" => Ok(()),
            _ if is_known => Ok(()),
            _ => Err(format!("{code} for no reason")),
        }
    }

    fn on_history(&mut self, data: &Value, core: &mut Core) -> Result<(), String> {
        let room = text(data, "room");
        let messages = data["messages"].as_array().ok_or("a history without messages")?;
        for message in messages {
            core.oracle.see(message)?;
        }
        if self.histories.front().is_some_and(|(asked, ..)| asked == room) {
            let (_, since, limit) = self.histories.pop_front().expect("looked at above");
            let numbers: Vec<u64> = messages.iter().filter_map(|message| message["sequence"].as_u64()).collect();
            let floor = data["floor"].as_u64().unwrap_or_default();
            let first = (since + 1).max(floor);
            let due: Vec<u64> = (first..first + numbers.len() as u64).collect();
            let is_whole = data["more"] == true
                || numbers.len() as u64 == limit
                || numbers.last().copied().unwrap_or(since.max(floor.saturating_sub(1)))
                    >= data["head"].as_u64().unwrap_or_default().min(since + limit);
            if data.get("gap").is_some() {
                return if numbers.is_sorted() { Ok(()) } else { Err("out of order".into()) };
            }
            return if numbers == due && numbers.len() as u64 <= limit && is_whole {
                Ok(())
            } else {
                Err(format!("a history since {since} limit {limit} has {numbers:?}"))
            };
        }
        let view = self.rooms.get_mut(room).ok_or("a history of a room that was not joined")?;
        if let Some(why) = data["reset"].as_str() {
            core.oracle.check_reset(why)?;
        }
        // A change that could be overwritten by half only is missing until the next start, which makes it whole.
        let may_lack = core.plan.config.retain_messages.is_some() || core.oracle.may_lose() || core.oracle.disk_failed;
        let has_gap = data.get("gap").is_some() && !may_lack;
        if has_gap {
            return Err("a gap in a log that nothing happened to".into());
        }
        view.on_history(data, messages)
    }

    fn on_announcement(&mut self, data: &Value, core: &mut Core) -> Result<(), String> {
        let (room, subject) = (text(data, "room").to_owned(), text(data, "subject").to_owned());
        if let Some(view) = self.rooms.get_mut(&room)
            && data["kind"] == "leave"
        {
            view.left.insert(subject.clone(), core.now_us);
            let grace_us = core.plan.config.grace_ms * 1_000;
            let now_us = core.now_us;
            let other = core.clients.iter().flatten().find(|client| client.name == subject);
            if let Some(of) = other.and_then(|client| client.rooms.get(&room)) {
                return of.check_leave(now_us, grace_us).map_err(|why| format!("{subject}: {why}"));
            }
        }
        Ok(())
    }

    /// What is wrong with this client's picture in the calm, if anything is.
    pub fn unsettled(&self, all: &[&Client]) -> Option<String> {
        if self.is_retired || self.is_auditor {
            return None;
        }
        let name = &self.name;
        if !self.is_open() {
            return Some(format!("{name} cannot come back"));
        }
        if let Some((id, asked)) = self.asked.iter().next() {
            return Some(format!("{name}: command {id} was never answered: {asked:?}"));
        }
        if let Some(draft) = self.drafts.iter().find(|draft| draft.target.is_none()) {
            let view = self.rooms.get(&draft.room);
            if view.is_some_and(|view| view.is_joined) {
                return Some(format!("{name}: {draft:?} cannot be stored"));
            }
        }
        self.rooms.iter().filter(|(_, view)| view.is_joined && !view.is_dubious).find_map(|(room, view)| {
            let there = all.iter().filter(|client| client.rooms.get(room).is_some_and(|view| view.is_joined));
            let there: BTreeSet<String> = there.map(|client| client.name.clone()).collect();
            let dubious = all.iter().any(|client| client.rooms.get(room).is_some_and(|view| view.is_dubious));
            if view.members != there && !dubious {
                return Some(format!("{name} was told that {:?} are in {room:?}, but {there:?} are", view.members));
            }
            let gone = all.iter().filter(|client| {
                client.is_retired && client.rooms.get(room).is_some_and(|view| view.was_joined_at_end)
            });
            let mut gone = gone.filter(|client| view.joined_us < client.lost_us);
            gone.find_map(|client| {
                let since_us = client.lost_us;
                let told =
                    |what: &BTreeMap<String, u64>| what.get(&client.name).is_some_and(|&at_us| at_us >= since_us);
                let is_told = told(&view.offline) && told(&view.left);
                (!is_told && !self.is_lossy)
                    .then(|| format!("{name} was not told that {} is gone from {room:?}", client.name))
            })
        })
    }
}

pub fn text<'a>(data: &'a Value, key: &str) -> &'a str {
    data[key].as_str().unwrap_or_default()
}

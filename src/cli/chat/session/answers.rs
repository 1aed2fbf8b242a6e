//! What the server says, and what it means for the conversation.
//!
//! Owns: the events. Must never know: what a person types.

use serde_json::{Value, json};

use super::super::Exit;
use super::super::line::{Line, Said};
use super::super::link::Link;
use super::super::room::{Phase, Room};
use super::{Asked, Effect, RETRY_MS, Session};
use crate::limits;

impl Session {
    /// An event. What is no event of this protocol is passed over.
    pub fn received(&mut self, text: &str, now_ms: u64) {
        self.heard_at_ms = now_ms;
        let Ok(event) = serde_json::from_str::<Value>(text) else { return };
        let asked = event["id"].as_u64().and_then(|id| self.asked.remove(&id));
        let data = &event["data"];
        let at = data["room"].as_str().and_then(|name| self.find(name));
        match event["type"].as_str().unwrap_or_default() {
            "connected" => self.on_connected(data, now_ms),
            "ack" => self.on_ack(asked, data, now_ms),
            "error" => self.on_error(asked, data, now_ms),
            "message" => at.into_iter().for_each(|at| self.on_message(at, data, now_ms)),
            "history" => at.into_iter().for_each(|at| self.on_history(at, &event, text, now_ms)),
            "private" => self.on_private(data),
            "presence" => at.into_iter().for_each(|at| self.on_presence(at, data)),
            "status" => at.into_iter().for_each(|at| self.on_status(at, data)),
            _ => {}
        }
        if self.wishes.json && event["type"] != "history" {
            self.effects.push(Effect::Event(text.to_owned()));
        }
        self.end_if_done();
    }

    fn on_connected(&mut self, data: &Value, now_ms: u64) {
        self.resume = data["session"].as_str().map(str::to_owned);
        self.heartbeat_ms = data["heartbeatMs"].as_u64().unwrap_or(limits::HEARTBEAT_MS);
        if let Some(bytes) = data["limits"]["contentBytes"].as_u64() {
            self.content_bytes_max = bytes as usize;
        }
        let user = data["user"].as_str().unwrap_or_default();
        let is_wanted = match &self.wishes.token {
            Some(_) => data["role"].is_string(),
            None => self.user.as_deref().is_none_or(|wanted| wanted == user),
        };
        if let Link::Greeting { has_said_hello: false } = self.link
            && !is_wanted
        {
            self.link = Link::Greeting { has_said_hello: true };
            return self.hello();
        }
        let is_news = self.user.as_deref() != Some(user) || !self.has_been_connected;
        self.user = Some(user.to_owned());
        let was_connected = self.is_connected();
        if is_news {
            self.info(&format!("You are {user}"));
        } else if !was_connected {
            self.info("Connected again");
        }
        self.on_direct(data);
        if was_connected {
            // Who takes another name is a guest from then on.
            self.wishes.token.take_if(|_| !data["role"].is_string());
            return;
        }
        self.link = Link::Connected { since_ms: now_ms };
        self.lost_at_ms = None;
        self.has_been_connected = true;
        if self.is_away {
            self.command("status", json!({"status": "away"}), Asked::Other);
        }
        for at in 0..self.rooms.len() {
            self.enter(at);
        }
    }

    /// Private conversations that a log holds are followed like rooms. Of one that began while this client was away,
    /// everything is news; of those it finds at first, nothing.
    fn on_direct(&mut self, data: &Value) {
        let most = data["limits"]["roomsPerConnection"]
            .as_u64()
            .map_or(limits::ROOMS_PER_CONNECTION_MAX, |most| most as usize);
        let last = self.has_been_connected.then_some(0);
        for direct in data["direct"].as_array().into_iter().flatten() {
            let (Some(name), Some(peer)) = (direct["room"].as_str(), direct["user"].as_str()) else { continue };
            if self.find(name).is_none() && self.rooms.len() < most {
                self.add(Room::private(name, peer, last));
            }
        }
    }

    fn on_ack(&mut self, asked: Option<Asked>, data: &Value, now_ms: u64) {
        match asked {
            Some(Asked::Join { room, is_first }) => {
                let Some(at) = self.find(&room) else { return };
                let room = &mut self.rooms[at];
                let head = data["head"].as_u64().unwrap_or(0);
                if is_first {
                    // Later ones come with a history. What one has belongs to the old epoch until that has said from where on not.
                    room.epoch = data["epoch"].as_str().map(str::to_owned);
                    room.last = Some(head.saturating_sub(room.tail));
                }
                // An empty room sends no history on a first join.
                room.phase = if is_first && head == 0 { Phase::Live } else { Phase::Replaying };
                self.pump(at, now_ms);
            }
            Some(Asked::Message { room, nonce }) => {
                let Some(at) = self.find(&room) else { return };
                self.rooms[at].take(&nonce);
                self.lost_at_ms = None;
                self.pump(at, now_ms);
            }
            Some(Asked::Who { room }) => self.mark(&room, |room| room.is_asking = true),
            Some(Asked::History { room }) => self.mark(&room, |room| room.is_reading = true),
            _ => {}
        }
    }

    fn mark(&mut self, name: &str, mark: fn(&mut Room)) {
        if let Some(at) = self.find(name) {
            mark(&mut self.rooms[at]);
        }
    }

    fn on_error(&mut self, asked: Option<Asked>, data: &Value, now_ms: u64) {
        let code = data["code"].as_str().unwrap_or_default();
        let why = data["message"].as_str().unwrap_or(code).to_owned();
        match asked {
            Some(Asked::Message { room, nonce }) => {
                if let Some(at) = self.find(&room) {
                    self.on_refused(at, &nonce, code, &why, data["retryAfterMs"].as_u64(), now_ms);
                }
            }
            Some(Asked::Hello) if !self.is_connected() => {
                self.effects.push(Effect::Close(1000));
                self.stop(Exit::Refused, &why);
            }
            Some(Asked::Join { room, is_first }) => {
                self.trouble(&format!("#{room}: {why}"));
                if is_first && self.wishes.ends {
                    self.effects.push(Effect::Close(1000));
                    return self.stop(Exit::Refused, "The room cannot be joined");
                }
                if let Some(at) = self.find(&room) {
                    self.rooms.remove(at);
                    self.active = self.active.min(self.rooms.len().saturating_sub(1));
                }
            }
            Some(Asked::Private { to }) => {
                self.refused += 1;
                self.trouble(&format!("Not sent to {to}: {why}"));
            }
            _ => self.trouble(&why),
        }
    }

    fn on_refused(&mut self, at: usize, nonce: &str, code: &str, why: &str, retry_ms: Option<u64>, now_ms: u64) {
        match code {
            "rate_limited" => {
                self.rooms[at].unsend(nonce);
                self.hold_until_ms = now_ms + retry_ms.unwrap_or(RETRY_MS);
            }
            "storage_unavailable" => {
                self.rooms[at].unsend(nonce);
                self.hold_until_ms = now_ms + RETRY_MS;
                self.lost_at_ms.get_or_insert(now_ms);
                self.trouble(&format!("Not stored yet: {why}"));
            }
            "not_subscribed" => {
                self.rooms[at].unsend(nonce);
                self.enter(at);
            }
            _ => {
                let content = self.rooms[at].take(nonce).map(|pending| pending.content).unwrap_or_default();
                self.refuse(why, &content);
                self.pump(at, now_ms);
            }
        }
    }

    fn on_message(&mut self, at: usize, data: &Value, now_ms: u64) {
        if data["ephemeral"] == true {
            return self.on_announcement(at, data);
        }
        let room = &mut self.rooms[at];
        // A resumed session may deliver from its old cursor until the join is acknowledged; the replay has all of it.
        if !room.can_send() {
            return;
        }
        let (Some(sequence), Some(last)) = (data["sequence"].as_u64(), room.last) else { return };
        if sequence > last + 1 && room.phase == Phase::Live {
            return self.enter(at); // this cursor and the server's have come apart; joining from here mends it
        }
        room.phase = Phase::Live;
        self.show(at, data);
        self.pump(at, now_ms);
    }

    fn on_history(&mut self, at: usize, event: &Value, text: &str, now_ms: u64) {
        let data = &event["data"];
        let messages: Vec<&Value> = data["messages"].as_array().into_iter().flatten().collect();
        let room = &mut self.rooms[at];
        if std::mem::take(&mut room.is_reading) {
            messages.into_iter().for_each(|message| self.said(at, message));
            return;
        }
        let first = messages.first().and_then(|message| message["sequence"].as_u64());
        let head = data["head"].as_u64().unwrap_or(0);
        if let Some(reset) = data["reset"].as_str() {
            room.last = Some(first.map_or(head, |first| first - 1));
            self.info(reset_text(reset));
        }
        let is_peek = self.rooms[at].phase == Phase::Peeking;
        if is_peek {
            let room = &mut self.rooms[at];
            room.last = Some(first.map_or(head, |first| first - 1));
        }
        let count = messages.len();
        let news: Vec<Value> = messages.into_iter().filter(|message| self.show(at, message)).cloned().collect();
        if let (Some(from), Some(to)) = (data["gap"]["from"].as_u64(), data["gap"]["to"].as_u64()) {
            self.info(&format!("Messages {from} to {to} cannot be read"));
        }
        let room = &mut self.rooms[at];
        room.epoch = data["epoch"].as_str().map(str::to_owned).or(room.epoch.take());
        if self.wishes.json && news.len() == count {
            self.effects.push(Effect::Event(text.to_owned()));
        } else if self.wishes.json && !news.is_empty() {
            let mut event = event.clone();
            event["data"]["messages"] = news.into();
            self.effects.push(Effect::Event(event.to_string()));
        }
        if is_peek {
            return self.enter(at);
        }
        if data["more"] != true {
            self.rooms[at].phase = Phase::Live;
        }
        self.pump(at, now_ms);
    }

    /// Shows a message if it is one that was not shown; its author's pending one is then done.
    fn show(&mut self, at: usize, message: &Value) -> bool {
        let room = &mut self.rooms[at];
        let Some(sequence) =
            message["sequence"].as_u64().filter(|sequence| room.last.is_none_or(|last| *sequence > last))
        else {
            return false;
        };
        room.last = Some(sequence);
        if let Some(nonce) = message["nonce"].as_str().filter(|nonce| nonce.starts_with(&self.run)) {
            room.take(nonce);
        }
        self.said(at, message);
        true
    }

    fn said(&mut self, at: usize, message: &Value) {
        let text = |key: &str| message[key].as_str().unwrap_or_default().to_owned();
        let room = &self.rooms[at];
        let said = Said {
            room: room.title(),
            is_private: room.peer.is_some(),
            is_elsewhere: at != self.active,
            user: text("user"),
            is_own: message["user"].as_str() == self.user.as_deref(),
            content: if message["deleted"].is_object() { None } else { Some(text("content")) },
            change: message["kind"].as_str().and(message["target"].as_u64()),
            is_edited: message["edited"].is_object(),
            unix_ms: message["timestamp"].as_u64().unwrap_or(0),
        };
        let said = Said { content: said.content.filter(|_| message["kind"] != "delete"), ..said };
        self.effects.push(Effect::Show(Line::Said(said)));
    }

    fn on_announcement(&mut self, at: usize, data: &Value) {
        let room = &mut self.rooms[at];
        let subject = data["subject"].as_str().unwrap_or_default();
        match data["kind"].as_str() {
            Some("leave") => drop(room.members.remove(subject)),
            _ => drop(room.members.insert(subject.to_owned(), "online".to_owned())),
        }
        if room.peer.is_some() || Some(subject) == self.user.as_deref() {
            return;
        }
        let text = data["content"].as_str().unwrap_or_default();
        let line = Line::Aside(format!("{} {text}", room.title()));
        self.effects.push(Effect::Show(line));
    }

    fn on_private(&mut self, data: &Value) {
        let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
        let (from, to) = (text("from"), text("to"));
        let is_own = Some(from.as_str()) == self.user.as_deref();
        let peer = if is_own { &to } else { &from };
        if let Some(name) = data["room"].as_str() {
            // The log of the two has it; following that shows it.
            if self.find(name).is_none() {
                self.add(Room::private(name, peer, Some(data["sequence"].as_u64().unwrap_or(1).saturating_sub(1))));
            }
            return;
        }
        let said = Said {
            room: format!("@{peer}"),
            is_private: true,
            is_elsewhere: true,
            user: from,
            is_own,
            content: Some(text("content")),
            change: None,
            is_edited: false,
            unix_ms: data["timestamp"].as_u64().unwrap_or(0),
        };
        self.effects.push(Effect::Show(Line::Said(said)));
    }

    fn on_presence(&mut self, at: usize, data: &Value) {
        let room = &mut self.rooms[at];
        let users = data["users"].as_array().into_iter().flatten();
        let members =
            users.filter_map(|user| Some((user["user"].as_str()?, user["status"].as_str().unwrap_or("online"))));
        room.members = members.map(|(user, status)| (user.to_owned(), status.to_owned())).collect();
        if std::mem::take(&mut room.is_asking) {
            let count = data["count"].as_u64().unwrap_or(room.members.len() as u64);
            let members = room.members.clone().into_iter().collect();
            let line = Line::Members { room: room.title(), members, count };
            self.effects.push(Effect::Show(line));
        }
    }

    fn on_status(&mut self, at: usize, data: &Value) {
        let Some(user) = data["user"].as_str() else { return };
        let status = data["status"].as_str().unwrap_or("online");
        let members = &mut self.rooms[at].members;
        if status == "offline" {
            members.remove(user);
        } else if let Some(known) = members.get_mut(user) {
            status.clone_into(known);
        }
    }
}

fn reset_text(reason: &str) -> &'static str {
    match reason {
        "expired" => "Some messages are older than the server keeps; this is what it still has",
        "ahead" => "The server's log ends before what was shown here; this is what it has now",
        _ => "The server's log was restored, and its numbers began anew; this is what it has now",
    }
}

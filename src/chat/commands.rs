//! Commands: what each is allowed to do and what it leads to.
//!
//! Owns: the rules of the protocol's command table. Must never know: how frames or records are encoded or kept.

use std::borrow::Cow;

use super::{Chat, ClientKey, Effect, RoomKey, users::UserKey};
use crate::{
    clock::Now,
    limits, names,
    protocol::{
        Announcement, BadCommand, Command, DEFAULT_ROOM, ErrorCode, Event, HistoryRange, Request, Serial, close,
    },
};

/// Why a command is not carried out.
#[derive(Debug)]
pub(super) struct Refusal {
    code: ErrorCode,
    message: Cow<'static, str>,
    retry_after_ms: Option<u64>,
}

impl Refusal {
    fn new(code: ErrorCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self { code, message: message.into(), retry_after_ms: None }
    }
}

type Outcome<T = ()> = Result<T, Refusal>;

impl Chat {
    pub(super) fn command(
        &mut self,
        now: Now,
        client: ClientKey,
        request: Result<Request<'_>, BadCommand<'_>>,
        effects: &mut Vec<Effect>,
    ) {
        let user = self.clients.get(client).user;
        self.users.get_mut(user).set_last_seen_ms(now.unix_ms);
        let (id, outcome) = match request {
            Ok(Request { id, command }) => (id, self.carry_out(now, client, id, command, effects)),
            Err(BadCommand { id, code, message }) => (id, Err(Refusal::new(code, message))),
        };
        if let Err(refusal) = outcome {
            self.refuse(client, id, &refusal, effects);
        }
    }

    pub(super) fn refuse(&self, client: ClientKey, id: Option<&str>, refusal: &Refusal, effects: &mut Vec<Effect>) {
        let Refusal { code, ref message, retry_after_ms } = *refusal;
        let json = Event::Error { code, message, retry_after_ms }.to_vec(id);
        effects.push(Effect::Send { client, json });
    }

    fn carry_out(
        &mut self,
        now: Now,
        client: ClientKey,
        id: Option<&str>,
        command: Command<'_>,
        effects: &mut Vec<Effect>,
    ) -> Outcome {
        match command {
            Command::Message { room, content, nonce } => {
                self.message(now, client, id, (&room, content, nonce), effects)
            }
            Command::Join { room, since, epoch, username } => {
                if let Some(name) = username {
                    self.rename(now, client, &name, effects)?;
                    self.greet(client, effects);
                }
                let room = room.unwrap_or(DEFAULT_ROOM.into());
                self.join(now, client, id, &room, (since, epoch.as_deref()), effects)
            }
            Command::Leave { room } => self.leave(now, client, id, &room, effects),
            Command::Hello { user, token, session } => {
                self.hello(now, client, id, (user.as_deref(), token.is_some(), session.as_deref()), effects)
            }
            Command::Presence { room } => self.who(client, id, &room, effects),
            Command::Status { away } => self.status(now, client, id, away, effects),
            Command::History { room, range } => self.history(client, id, &room, range, effects),
            Command::Typing { room, is_typing } => self.typing(client, id, &room, is_typing, effects),
            Command::Private { to, content, nonce } => {
                self.private(now, client, id, (&to, &content, nonce.as_deref()), effects)
            }
            Command::Ping { timestamp } => {
                effects.push(Effect::Send { client, json: Event::Pong { timestamp }.to_vec(None) });
                ack(client, id, None, effects);
                Ok(())
            }
            Command::Heartbeat => {
                ack(client, id, None, effects);
                Ok(())
            }
        }
    }

    fn message(
        &mut self,
        now: Now,
        client: ClientKey,
        id: Option<&str>,
        (room, content, nonce): (&str, Cow<'_, str>, Option<Cow<'_, str>>),
        effects: &mut Vec<Effect>,
    ) -> Outcome {
        let room = self.joined(client, room)?;
        self.check_content(&content)?;
        self.check_rate(now, client, effects)?;
        self.rooms.get_mut(room).in_flight += 1;
        let user = self.users.get(self.clients.get(client).user).name.clone();
        let (id, content) = (id.map(Box::from), content.into_owned().into_boxed_str());
        let nonce = nonce.map(|nonce| nonce.into_owned().into_boxed_str());
        effects.push(Effect::Append { client, id, room, user, content, nonce });
        Ok(())
    }

    pub(super) fn join(
        &mut self,
        now: Now,
        client: ClientKey,
        id: Option<&str>,
        name: &str,
        (since, epoch): (Option<u64>, Option<&str>),
        effects: &mut Vec<Effect>,
    ) -> Outcome {
        check_room_name(name)?;
        let known = self.rooms.by_name(name);
        let rooms = &self.clients.get(client).rooms;
        let is_member = known.is_some_and(|room| rooms.iter().any(|membership| membership.room == room));
        if !is_member && rooms.len() >= limits::ROOMS_PER_CONNECTION_MAX {
            let message = format!("At most {} rooms at once", limits::ROOMS_PER_CONNECTION_MAX);
            return Err(Refusal::new(ErrorCode::TooManyRooms, message));
        }
        let room = known.unwrap_or_else(|| self.open_room(name, effects));
        let (id, epoch) = (id.map(Box::from), epoch.map(Box::from));
        effects.push(Effect::Subscribe { client, id, room, since, epoch });
        self.enter(now, client, room, effects);
        Ok(())
    }

    fn leave(
        &mut self,
        now: Now,
        client: ClientKey,
        id: Option<&str>,
        name: &str,
        effects: &mut Vec<Effect>,
    ) -> Outcome {
        let room = self.joined(client, name)?;
        self.exit(now, client, room, effects);
        ack(client, id, Some(name), effects);
        Ok(())
    }

    fn hello(
        &mut self,
        now: Now,
        client: ClientKey,
        id: Option<&str>,
        (user, has_token, session): (Option<&str>, bool, Option<&str>),
        effects: &mut Vec<Effect>,
    ) -> Outcome {
        if has_token {
            return Err(Refusal::new(ErrorCode::BadToken, "The token is not known"));
        }
        if let Some(session) = session {
            return self.resume(now, client, id, session, effects);
        }
        if let Some(name) = user {
            self.rename(now, client, name, effects)?;
        }
        ack(client, id, None, effects);
        self.greet(client, effects);
        Ok(())
    }

    /// Moves a connection from the guest it is to the client it was.
    fn resume(
        &mut self,
        now: Now,
        client: ClientKey,
        id: Option<&str>,
        session: &str,
        effects: &mut Vec<Effect>,
    ) -> Outcome {
        let resumed = self.clients.by_session(session);
        let resumed = resumed.ok_or_else(|| Refusal::new(ErrorCode::BadSession, "The session is over"))?;
        if resumed != client {
            let link = self.clients.get(client).link().expect("a client that speaks has a connection");
            self.remove_client(now, client, effects);
            self.attach(now, resumed, link, effects);
        }
        ack(resumed, id, None, effects);
        self.greet(resumed, effects);
        Ok(())
    }

    /// Gives the client's user another name. Its rooms see one leave and another join.
    fn rename(&mut self, now: Now, client: ClientKey, name: &str, effects: &mut Vec<Effect>) -> Outcome {
        let name = names::user(name).map_err(|message| Refusal::new(ErrorCode::BadName, message))?;
        let user = self.clients.get(client).user;
        if self.users.get(user).name == name {
            return Ok(());
        }
        if self.users.by_name(name.as_str()).is_some_and(|owner| owner != user) {
            return Err(Refusal::new(ErrorCode::NameTaken, "This name is taken"));
        }
        let rooms: Vec<RoomKey> = self.users.get(user).rooms.iter().map(|place| place.room).collect();
        for &room in &rooms {
            self.announce(user, room, Announcement::Leave, effects);
        }
        self.users.rename(user, name).expect("the name was free a moment ago");
        for &room in &rooms {
            self.announce(user, room, Announcement::Join, effects);
            self.touch_presence(now, room, None, effects);
        }
        Ok(())
    }

    fn who(&mut self, client: ClientKey, id: Option<&str>, name: &str, effects: &mut Vec<Effect>) -> Outcome {
        check_room_name(name)?;
        ack(client, id, Some(name), effects);
        match self.rooms.by_name(name) {
            Some(room) => self.send_presence(client, room, effects),
            None => {
                let json = Event::Presence { room: name, users: &[], count: 0, more: false }.to_vec(None);
                effects.push(Effect::Send { client, json });
            }
        }
        Ok(())
    }

    fn status(
        &mut self,
        now: Now,
        client: ClientKey,
        id: Option<&str>,
        away: bool,
        effects: &mut Vec<Effect>,
    ) -> Outcome {
        let key = self.clients.get(client).user;
        let user = self.users.get_mut(key);
        if user.is_away() != away {
            user.set_away(away);
            let status = user.status();
            self.tell_status(now, key, status, effects);
        }
        ack(client, id, None, effects);
        Ok(())
    }

    fn history(
        &mut self,
        client: ClientKey,
        id: Option<&str>,
        name: &str,
        range: HistoryRange,
        effects: &mut Vec<Effect>,
    ) -> Outcome {
        check_room_name(name)?;
        let room = self.rooms.by_name(name).unwrap_or_else(|| self.open_room(name, effects));
        ack(client, id, Some(name), effects);
        effects.push(Effect::History { client, room, range });
        self.close_if_unused(room, effects);
        Ok(())
    }

    fn typing(
        &mut self,
        client: ClientKey,
        id: Option<&str>,
        name: &str,
        is_typing: bool,
        effects: &mut Vec<Effect>,
    ) -> Outcome {
        let room = self.joined(client, name)?;
        let user = self.users.get(self.clients.get(client).user).name.as_str();
        let json = Event::Typing { room: name, user, is_typing }.to_vec(None);
        effects.push(Effect::Broadcast { room, except: Some(client), json });
        ack(client, id, Some(name), effects);
        Ok(())
    }

    fn private(
        &mut self,
        now: Now,
        client: ClientKey,
        id: Option<&str>,
        (to, content, nonce): (&str, &str, Option<&str>),
        effects: &mut Vec<Effect>,
    ) -> Outcome {
        self.check_content(content)?;
        self.check_rate(now, client, effects)?;
        let recipient = self.users.by_name(to).filter(|&user| self.is_connected(user));
        let recipient = recipient.ok_or_else(|| Refusal::new(ErrorCode::NoSuchUser, "This user is not here"))?;
        let sender = self.clients.get(client).user;
        let id_of_event = Serial { timestamp: now.unix_ms, serial: self.next_serial() };
        let event = Event::Private {
            id: id_of_event,
            from: self.users.get(sender).name.as_str(),
            to: self.users.get(recipient).name.as_str(),
            content,
            timestamp: now.unix_ms,
            nonce,
        };
        let json = event.to_vec(None);
        ack(client, id, None, effects);
        for (place, user) in [recipient, sender].into_iter().enumerate() {
            if place == 0 || user != recipient {
                let devices = self.users.get(user).clients.iter();
                effects.extend(devices.map(|&client| Effect::Send { client, json: json.clone() }));
            }
        }
        Ok(())
    }

    fn is_connected(&self, user: UserKey) -> bool {
        self.users.get(user).clients.iter().any(|&client| self.clients.get(client).link().is_some())
    }

    /// The room of this name, if the client is a member of it.
    fn joined(&self, client: ClientKey, name: &str) -> Outcome<RoomKey> {
        let rooms = &self.clients.get(client).rooms;
        let room = self.rooms.by_name(name).filter(|&room| rooms.iter().any(|membership| membership.room == room));
        room.ok_or_else(|| {
            let room: String = name.chars().take(limits::ROOM_NAME_CHARS_MAX).collect();
            Refusal::new(ErrorCode::NotSubscribed, format!("Not subscribed to room {room}"))
        })
    }

    fn open_room(&mut self, name: &str, effects: &mut Vec<Effect>) -> RoomKey {
        let room = self.rooms.insert(name);
        let name = self.rooms.get(room).name.clone();
        effects.push(Effect::OpenRoom { room, name });
        room
    }

    fn check_content(&self, content: &str) -> Outcome {
        if content.len() > self.settings.content_bytes_max {
            let message = format!("A message has at most {} bytes", self.settings.content_bytes_max);
            return Err(Refusal::new(ErrorCode::TooLong, message));
        }
        if content.trim().is_empty() {
            return Err(Refusal::new(ErrorCode::Empty, "The message is empty"));
        }
        Ok(())
    }

    /// Counts a message against the client's rate; who goes on and on is shown out.
    fn check_rate(&mut self, now: Now, key: ClientKey, effects: &mut Vec<Effect>) -> Outcome {
        let client = self.clients.get_mut(key);
        let Err(retry_after_ms) = client.bucket.take(self.rate, now.monotonic_ms) else {
            client.refused = client.refused.saturating_sub(1);
            return Ok(());
        };
        client.refused = client.refused.saturating_add(1);
        if u32::from(client.refused) == limits::RATE_ABUSE_MAX
            && let Some(link) = client.link()
        {
            effects.push(Effect::Refuse { link, code: close::POLICY, reason: "Too many messages" });
        }
        let message = "Too many messages; slow down".into();
        Err(Refusal { code: ErrorCode::RateLimited, message, retry_after_ms: Some(retry_after_ms) })
    }
}

fn check_room_name(name: &str) -> Outcome {
    if names::is_room(name) {
        return Ok(());
    }
    Err(Refusal::new(ErrorCode::BadRoom, "A room name has 1 to 64 characters, none of them a control character"))
}

fn ack(client: ClientKey, id: Option<&str>, room: Option<&str>, effects: &mut Vec<Effect>) {
    if id.is_some() {
        effects.push(Effect::Send { client, json: Event::Ack { room }.to_vec(id) });
    }
}

//! Commands: what each is allowed to do and what it leads to.
//!
//! Owns: the protocol's command table, and the rules of the plainer commands. Must never know: how frames or records are
//! encoded or kept.

use super::{
    AddressKey, Chat, ClientKey, Effect, Recipient, RoomKey, Step,
    messages::Change,
    moderation::Ban,
    rights::{Outcome, Refusal, check_room},
};
use crate::{
    limits,
    protocol::{BadCommand, Command, DEFAULT_ROOM, ErrorCode, Event, HistoryRange, Request},
};

impl Chat {
    pub(super) fn command(
        &mut self,
        client: ClientKey,
        address: AddressKey,
        request: Result<Request<'_>, BadCommand<'_>>,
        step: &mut Step<'_>,
    ) {
        // It may have been shown out while the command waited.
        let Some(entry) = self.clients.try_get(client) else { return };
        self.users.get_mut(entry.user).set_last_seen_ms(step.now.unix_ms);
        let (id, outcome) = match request {
            Ok(Request { command, .. }) if self.must_log_in(client) && !is_for_anybody(&command) => {
                return self.show_out_guest(client, step);
            }
            Ok(Request { id, command }) => (id, self.count_and_carry_out(client, address, id, command, step)),
            Err(BadCommand { id, code, message }) => {
                let counted = self.check_commands(client, step);
                (id, counted.and(Err(Refusal::new(code, message))))
            }
        };
        if let Err(refusal) = outcome {
            self.refuse(Recipient::client(client, id), refusal, step);
        }
    }

    /// Messages are counted where they are known to be good; all else is counted here.
    fn count_and_carry_out(
        &mut self,
        client: ClientKey,
        address: AddressKey,
        id: Option<&str>,
        command: Command<'_>,
        step: &mut Step<'_>,
    ) -> Outcome {
        let from = (client, address);
        match command {
            Command::Message { room, content, nonce } => self.message(from, id, (&room, content, nonce), step),
            Command::Edit { room, sequence: target, content, nonce } => {
                let (content, nonce) = (Some(&*content), nonce.as_deref());
                self.change(from, id, &Change { room: &room, target, content, nonce }, step)
            }
            Command::Delete { room, sequence: target } => {
                self.change(from, id, &Change { room: &room, target, content: None, nonce: None }, step)
            }
            Command::Private { to, content, nonce } => self.private(from, id, (&to, &content, nonce.as_deref()), step),
            other => {
                self.check_commands(client, step)?;
                self.carry_out(client, id, other, step)
            }
        }
    }

    fn carry_out(&mut self, client: ClientKey, id: Option<&str>, command: Command<'_>, step: &mut Step<'_>) -> Outcome {
        match command {
            Command::Join { room, since, epoch, username } => {
                if let Some(name) = username {
                    self.rename(client, &name, step)?;
                    self.greet(client, step);
                }
                let room = room.unwrap_or(DEFAULT_ROOM.into());
                self.join(client, id, &room, (since, epoch.as_deref()), step)
            }
            Command::Leave { room } => self.leave(client, id, &room, step),
            Command::Hello { user, token, session } => {
                self.hello(client, id, (user.as_deref(), token.as_deref(), session.as_deref()), step)
            }
            Command::Presence { room } => self.who(client, id, &room, step),
            Command::Status { away } => self.status(client, id, away, step),
            Command::History { room, range } => self.history(client, id, &room, range, step),
            Command::Typing { room, is_typing } => self.typing(client, id, &room, is_typing, step),
            Command::Kick { user, reason } => self.kick(client, id, (&user, reason.as_deref()), step),
            Command::Ban { user, with_address, duration_ms, reason } => {
                let reason = reason.as_deref();
                self.ban(client, id, Ban { user: &user, with_address, duration_ms, reason }, step)
            }
            Command::Unban { user } => self.unban(client, id, &user, step),
            Command::Ping { timestamp } => {
                step.push(Effect::Send { client, json: Event::Pong { timestamp }.to_vec(None) });
                self.ack(client, id, None, step);
                Ok(())
            }
            Command::Heartbeat => {
                self.ack(client, id, None, step);
                Ok(())
            }
            Command::Message { .. } | Command::Edit { .. } | Command::Delete { .. } | Command::Private { .. } => {
                unreachable!("messages have gone another way")
            }
        }
    }

    pub(super) fn join(
        &mut self,
        client: ClientKey,
        id: Option<&str>,
        name: &str,
        (since, epoch): (Option<u64>, Option<&str>),
        step: &mut Step<'_>,
    ) -> Outcome {
        check_room(name, self.account_of(client))?;
        let known = self.rooms.by_name(name);
        let rooms = &self.clients.get(client).rooms;
        let is_member = known.is_some_and(|room| rooms.iter().any(|membership| membership.room == room));
        if !is_member && rooms.len() >= limits::ROOMS_PER_CONNECTION_MAX {
            let message = format!("At most {} rooms at once", limits::ROOMS_PER_CONNECTION_MAX);
            return Err(Refusal::new(ErrorCode::TooManyRooms, message));
        }
        let room = self.use_room(name, step);
        let (id, epoch) = (id.map(Box::from), epoch.map(Box::from));
        step.push(Effect::Subscribe { client, id, room, since, epoch });
        self.enter(client, room, step);
        Ok(())
    }

    fn leave(&mut self, client: ClientKey, id: Option<&str>, name: &str, step: &mut Step<'_>) -> Outcome {
        let room = self.joined(client, name)?;
        self.exit(client, room, step);
        self.ack(client, id, Some(name), step);
        Ok(())
    }

    fn who(&mut self, client: ClientKey, id: Option<&str>, name: &str, step: &mut Step<'_>) -> Outcome {
        check_room(name, self.account_of(client))?;
        self.ack(client, id, Some(name), step);
        match self.rooms.by_name(name) {
            Some(room) => self.send_presence(client, room, step),
            None => {
                let json = Event::Presence { room: name, users: &[], count: 0, more: false }.to_vec(None);
                step.push(Effect::Send { client, json });
            }
        }
        Ok(())
    }

    fn status(&mut self, client: ClientKey, id: Option<&str>, away: bool, step: &mut Step<'_>) -> Outcome {
        let key = self.clients.get(client).user;
        let user = self.users.get_mut(key);
        if user.is_away() != away {
            user.set_away(away);
            let status = user.status();
            self.tell_status(key, status, step);
        }
        self.ack(client, id, None, step);
        Ok(())
    }

    fn history(
        &mut self,
        client: ClientKey,
        id: Option<&str>,
        name: &str,
        range: HistoryRange,
        step: &mut Step<'_>,
    ) -> Outcome {
        check_room(name, self.account_of(client))?;
        let room = self.use_room(name, step);
        self.ack(client, id, Some(name), step);
        // The ack has been sent: what goes wrong from here on is told without an id.
        step.push(Effect::History { to: Recipient::client(client, None), room, range });
        self.close_if_unused(room, step);
        Ok(())
    }

    /// The room of this name, if the client is a member of it.
    pub(super) fn joined(&self, client: ClientKey, name: &str) -> Outcome<RoomKey> {
        let rooms = &self.clients.get(client).rooms;
        let room = self.rooms.by_name(name).filter(|&room| rooms.iter().any(|membership| membership.room == room));
        room.ok_or_else(|| {
            let room: String = name.chars().take(limits::ROOM_NAME_CHARS_MAX).collect();
            Refusal::new(ErrorCode::NotSubscribed, format!("Not subscribed to room {room}"))
        })
    }

    /// The room of this name, taken into use if it was not.
    pub(super) fn use_room(&mut self, name: &str, step: &mut Step<'_>) -> RoomKey {
        self.rooms.by_name(name).unwrap_or_else(|| {
            let room = self.rooms.insert(name);
            let name = self.rooms.get(room).name.clone();
            step.push(Effect::OpenRoom { room, name });
            room
        })
    }

    pub(super) fn ack(&self, client: ClientKey, id: Option<&str>, room: Option<&str>, step: &mut Step<'_>) {
        if id.is_some() {
            step.push(Effect::Send { client, json: Event::Ack { room }.to_vec(id) });
        }
    }
}

/// What somebody may say who has yet to log in.
fn is_for_anybody(command: &Command<'_>) -> bool {
    match command {
        Command::Hello { token, session, .. } => token.is_some() || session.is_some(),
        Command::Ping { .. } | Command::Heartbeat => true,
        _ => false,
    }
}

//! What is said: messages, their changes, private ones.
//!
//! Owns: the rules for content and for whose message may be changed. Must never know: how a message is numbered or kept.

use std::borrow::Cow;

use super::{
    AddressKey, Chat, ClientKey, Effect, Recipient, RoomKey, Step, direct,
    presence::Standing,
    rights::{Outcome, Refusal, check_room, with_first},
    users::UserKey,
};
use crate::{
    accounts::AccountId,
    protocol::{ErrorCode, Event, Serial},
};

/// What a message is to become.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub room: &'a str,
    pub target: u64,
    /// `None` to take it away.
    pub content: Option<&'a str>,
    pub nonce: Option<&'a str>,
}

impl Chat {
    pub(super) fn message(
        &mut self,
        (client, address): (ClientKey, AddressKey),
        id: Option<&str>,
        (name, content, nonce): (&str, Cow<'_, str>, Option<Cow<'_, str>>),
        step: &mut Step<'_>,
    ) -> Outcome {
        let room = self.joined(client, name)?;
        self.check_content(&content)?;
        self.check_rate(client, address, step)?;
        self.rooms.get_mut(room).in_flight += 1;
        let sender = self.clients.get(client).user;
        self.stop_typing(sender, room, step);
        let entry = self.users.get(sender);
        let pair = direct::pair(name).zip(entry.account()).map(|(pair, own)| with_first(pair, own));
        let user = entry.name.clone();
        let to = Recipient::client(client, id);
        let nonce = nonce.map(|nonce| nonce.into_owned().into_boxed_str());
        let content = content.into_owned().into_boxed_str();
        step.push(Effect::Append { to, room, user, content, nonce, pair });
        Ok(())
    }

    /// Authors change their own messages; administrators may take anybody's away.
    pub(super) fn change(
        &mut self,
        (client, address): (ClientKey, AddressKey),
        id: Option<&str>,
        change: &Change<'_>,
        step: &mut Step<'_>,
    ) -> Outcome {
        let Change { room: name, target, content, nonce } = *change;
        let account = self.account_of(client);
        let pair = check_room(name, account)?.zip(account).map(|(pair, own)| with_first(pair, own));
        let is_admin = content.is_none() && pair.is_none() && self.check_admin(client, step.accounts).is_ok();
        content.map_or(Ok(()), |content| self.check_content(content))?;
        if !is_admin {
            self.joined(client, name)?;
        }
        self.check_rate(client, address, step)?;
        let room = self.use_room(name, step);
        self.rooms.get_mut(room).in_flight += 1;
        step.push(Effect::Amend {
            to: Recipient::client(client, id),
            room,
            user: self.users.get(self.clients.get(client).user).name.clone(),
            target,
            content: content.map(Box::from),
            nonce: nonce.map(Box::from),
            own_since_ms: if is_admin { None } else { Some(self.own_since_ms(client, step.accounts)) },
            pair,
        });
        Ok(())
    }

    /// Between two accounts a private message is one of a room that only they can read; otherwise it is for those who are
    /// here.
    pub(super) fn private(
        &mut self,
        (client, address): (ClientKey, AddressKey),
        id: Option<&str>,
        (to, content, nonce): (&str, &str, Option<&str>),
        step: &mut Step<'_>,
    ) -> Outcome {
        self.check_content(content)?;
        let own = self.account_of(client);
        let pair = own.zip(step.accounts.directory.by_name(to).map(|account| account.id));
        let recipient = self.users.by_name(to).filter(|&user| self.standing(user, step.now).is_here());
        if pair.is_none() && recipient.is_none() {
            return Err(Refusal::new(ErrorCode::NoSuchUser, "This user is not here"));
        }
        self.check_rate(client, address, step)?;
        match (pair, recipient) {
            (Some(pair), _) => self.write_to(client, id, pair, (content, nonce), step),
            (None, Some(recipient)) => self.say_to(client, id, recipient, (content, nonce), step),
            (None, None) => unreachable!("refused above"),
        }
        Ok(())
    }

    /// Appends to the conversation of two accounts.
    fn write_to(
        &mut self,
        client: ClientKey,
        id: Option<&str>,
        pair: (AccountId, AccountId),
        (content, nonce): (&str, Option<&str>),
        step: &mut Step<'_>,
    ) {
        if step.accounts.directory.get(pair.0).is_some_and(|account| !account.peers.contains(&pair.1)) {
            step.push(Effect::Converse { pair });
        }
        let room = self.use_room(&direct::room(pair.0, pair.1), step);
        self.rooms.get_mut(room).in_flight += 1;
        let user = self.users.get(self.clients.get(client).user).name.clone();
        let to = Recipient::client(client, id);
        let (content, nonce) = (content.into(), nonce.map(Box::from));
        step.push(Effect::Append { to, room, user, content, nonce, pair: Some(pair) });
    }

    /// Tells somebody who is here, and keeps nothing.
    fn say_to(
        &mut self,
        client: ClientKey,
        id: Option<&str>,
        recipient: UserKey,
        (content, nonce): (&str, Option<&str>),
        step: &mut Step<'_>,
    ) {
        let sender = self.clients.get(client).user;
        let timestamp = step.now.unix_ms;
        let id_of_event = Serial { timestamp, serial: self.next_serial() }.to_string();
        let event = Event::Private {
            id: &id_of_event,
            from: self.users.get(sender).name.as_str(),
            to: self.users.get(recipient).name.as_str(),
            content,
            timestamp,
            room: None,
            sequence: None,
            nonce,
            kind: None,
            target: None,
        };
        let json = event.to_vec(None);
        self.ack(client, id, None, step);
        for (place, user) in [recipient, sender].into_iter().enumerate() {
            if place == 0 || user != recipient {
                let devices = self.users.get(user).clients.iter();
                step.effects.extend(devices.map(|&client| Effect::Send { client, json: json.clone() }));
            }
        }
    }

    /// Sends what was said between two accounts to each of their devices that has not joined the room: those that have
    /// get it from the log.
    pub(super) fn tell_both(&mut self, pair: (AccountId, AccountId), room: RoomKey, json: &[u8], step: &mut Step<'_>) {
        let mut accounts = vec![pair.0, pair.1];
        accounts.dedup();
        for account in accounts.into_iter().filter_map(|id| step.accounts.directory.get(id)) {
            let Some(user) = self.users.by_name(account.name.as_str()) else { continue };
            let user = self.users.get(user);
            for &client in user.clients.iter().filter(|_| user.account() == Some(account.id)) {
                let is_subscribed = |held: &super::clients::Membership| held.room == room && held.subscribed;
                if !self.clients.get(client).rooms.iter().any(is_subscribed) {
                    step.push(Effect::Send { client, json: json.to_vec() });
                }
            }
        }
    }

    pub(super) fn check_content(&self, content: &str) -> Outcome {
        if content.len() > self.settings.content_bytes_max {
            let message = format!("A message has at most {} bytes", self.settings.content_bytes_max);
            return Err(Refusal::new(ErrorCode::TooLong, message));
        }
        if content.trim().is_empty() {
            return Err(Refusal::new(ErrorCode::Empty, "The message is empty"));
        }
        Ok(())
    }
}

impl Standing {
    /// Whether somebody would see a message now.
    fn is_here(self) -> bool {
        matches!(self, Standing::Online | Standing::Away)
    }
}

//! What comes over HTTP: messages, reading, event streams.
//!
//! Owns: who listens to what by an event stream. Must never know: paths, headers, how an answer looks.
//!
//! A request has no membership: nobody is told of a reader, and a message that comes this way makes nobody present.

use super::{
    AddressKey, Chat, Effect, LinkId, Recipient, RoomKey, Step,
    rights::{Outcome, check_room, with_first},
};
use crate::{
    accounts::{AccountId, TokenId},
    protocol::{HistoryRange, close},
};

/// An event stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listener {
    pub room: RoomKey,
    /// The account, and by which token it came.
    pub reader: Option<(AccountId, TokenId)>,
}

impl Chat {
    pub(super) fn post(
        &mut self,
        (link, address): (LinkId, AddressKey),
        author: AccountId,
        message: (&str, &str, Option<&str>),
        step: &mut Step<'_>,
    ) {
        if let Err(refusal) = self.try_post((link, address), author, message, step) {
            self.refuse(Recipient::Request(link), refusal, step);
        }
    }

    fn try_post(
        &mut self,
        (link, address): (LinkId, AddressKey),
        author: AccountId,
        (name, content, nonce): (&str, &str, Option<&str>),
        step: &mut Step<'_>,
    ) -> Outcome {
        let pair = check_room(name, Some(author))?.map(|pair| with_first(pair, author));
        let account = step.accounts.directory.get(author).expect("a token belongs to an account");
        let user = account.name.clone();
        self.check_content(content)?;
        self.check_post(author, address, step)?;
        let room = self.use_room(name, step);
        self.rooms.get_mut(room).in_flight += 1;
        let (content, nonce) = (content.into(), nonce.map(Box::from));
        step.push(Effect::Append { to: Recipient::Request(link), room, user, content, nonce, pair });
        Ok(())
    }

    pub(super) fn read(
        &mut self,
        link: LinkId,
        reader: Option<AccountId>,
        name: &str,
        range: HistoryRange,
        step: &mut Step<'_>,
    ) {
        match check_room(name, reader) {
            Ok(_) => {
                let room = self.use_room(name, step);
                step.push(Effect::History { to: Recipient::Request(link), room, range });
                self.close_if_unused(room, step);
            }
            Err(refusal) => self.refuse(Recipient::Request(link), refusal, step),
        }
    }

    pub(super) fn listen(
        &mut self,
        link: LinkId,
        reader: Option<(AccountId, TokenId)>,
        name: &str,
        (since, epoch): (Option<u64>, Option<&str>),
        step: &mut Step<'_>,
    ) {
        let account = reader.map(|(account, _)| account);
        match check_room(name, account) {
            Ok(_) => {
                let room = self.use_room(name, step);
                self.rooms.get_mut(room).listeners += 1;
                self.listeners.insert(link, Listener { room, reader });
                step.push(Effect::Follow { link, room, since, epoch: epoch.map(Box::from) });
            }
            Err(refusal) => self.refuse(Recipient::Request(link), refusal, step),
        }
    }

    pub(super) fn hangup(&mut self, link: LinkId, step: &mut Step<'_>) {
        if let Some(Listener { room, .. }) = self.listeners.remove(&link) {
            self.rooms.get_mut(room).listeners -= 1;
            self.close_if_unused(room, step);
        }
    }

    /// Closes the event streams that these are; the network tells when each is gone.
    pub(super) fn end_listeners(&mut self, whose: impl Fn(&Listener) -> bool, step: &mut Step<'_>) {
        for (&link, listener) in &self.listeners {
            if whose(listener) {
                step.push(Effect::Refuse { link, code: close::LOG_IN, reason: "The token is over".into() });
            }
        }
    }
}

//! Coming and going: connections, sessions, and who somebody is.
//!
//! Owns: what a client is from its connection to its end. Must never know: what is said.

use super::{
    Chat, ClientKey, Departure, Effect, Entropy, LinkId, Recipient, RoomKey, Step, Timer,
    clients::Client,
    direct,
    rights::{Outcome, Refusal, check_room},
    users::{Identity, UserKey},
};
use crate::{
    accounts::{Account, AccountId, Role, Tables, TokenId},
    clock::Now,
    limits,
    names::{self, UserName},
    protocol::{AccountView, Announcement, DirectView, ErrorCode, Event, Wish, close},
};

/// Why a connection is closed before it was a client: the code and the reason.
type Rejected = (u16, &'static str);

const TAKEN: &str = "This name is taken";
const LOG_IN: &str = "Log in first: guests are not allowed here";
const BANNED: &str = "You are banned";

impl Chat {
    pub(super) fn connect(
        &mut self,
        link: LinkId,
        wish: &Wish,
        token: Option<&str>,
        entropy: Entropy,
        step: &mut Step<'_>,
    ) {
        let resumed = wish.session.as_deref().and_then(|session| self.clients.by_session(session));
        let client = match resumed {
            Some(client) => {
                self.attach(client, link, step);
                client
            }
            None => match self.new_client(link, wish, token, entropy, step) {
                Ok(client) => client,
                Err((code, reason)) => return step.push(Effect::Refuse { link, code, reason: reason.into() }),
            },
        };
        self.greet(client, step);
        let since = wish.since.filter(|_| wish.rooms.len() == 1);
        for room in &wish.rooms {
            if let Err(refusal) = self.join(client, None, room, (since, None), step) {
                self.refuse(Recipient::client(client, None), refusal, step);
            }
        }
    }

    fn new_client(
        &mut self,
        link: LinkId,
        wish: &Wish,
        token: Option<&str>,
        entropy: Entropy,
        step: &mut Step<'_>,
    ) -> Result<ClientKey, Rejected> {
        let (guest, secret) = entropy.split_first_chunk().expect("it is longer");
        let (guest, secret) = (u32::from_le_bytes(*guest), secret.try_into().expect("the rest is a secret"));
        let login =
            token.map(|token| step.accounts.tokens.find(token, step.now).ok_or((close::LOG_IN, "Log in again")));
        let login = login.transpose()?;
        if !self.settings.guests && login.is_none() && (wish.user.is_some() || !wish.rooms.is_empty()) {
            return Err((close::LOG_IN, LOG_IN));
        }
        let name = match wish.user.as_deref().filter(|_| login.is_none()) {
            Some(name) => {
                self.free_name(name, None, step.accounts, step.now).map_err(|refusal| match refusal.code {
                    ErrorCode::Banned => (close::BANNED, BANNED),
                    ErrorCode::BadName => (close::POLICY, "This name cannot be used"),
                    _ => (close::POLICY, TAKEN),
                })?
            }
            None => self.guest_name(guest, step.accounts),
        };
        let user = self.users.claim(name, self.guest(), step.now.unix_ms).expect("the name was free a moment ago");
        let client = self.clients.insert(Client::new(user, link, secret));
        self.users.get_mut(user).clients.push(client);
        step.push(Effect::Attach { link, client });
        match login {
            Some(login) => {
                let entered = self.log_in(client, login, step);
                entered.map_err(|_| {
                    self.forget(client);
                    (close::BANNED, BANNED)
                })?;
            }
            None if !self.settings.guests => {
                let at_ms = step.now.monotonic_ms + limits::HANDSHAKE_TIMEOUT_MS;
                step.push(Effect::Timer { at_ms, timer: Timer::LogIn(client) });
            }
            None => {}
        }
        Ok(client)
    }

    /// A name that nobody has, for somebody who chose none.
    fn guest_name(&self, seed: u32, accounts: &Tables) -> UserName {
        self.users.guest_name(seed, |name| accounts.directory.by_name(name.as_str()).is_none())
    }

    /// Who somebody is that takes a name now.
    fn guest(&self) -> Identity {
        Identity::Guest { since_ms: self.latest_unix_ms }
    }

    /// A name that `user`, or somebody new, may take.
    fn free_name(&self, name: &str, user: Option<UserKey>, accounts: &Tables, now: Now) -> Outcome<UserName> {
        let name = names::user(name).map_err(|message| Refusal::new(ErrorCode::BadName, message))?;
        if accounts.bans.of_name(name.as_str(), now).is_some() {
            return Err(Refusal::new(ErrorCode::Banned, "This name is banned"));
        }
        if accounts.directory.by_name(name.as_str()).is_some() {
            return Err(Refusal::new(ErrorCode::NameTaken, "This name is registered; log in to use it"));
        }
        if self.users.owner_of(&name, user).is_some() || accounts.directory.look_alike(&name).is_some() {
            return Err(Refusal::new(ErrorCode::NameTaken, TAKEN));
        }
        Ok(name)
    }

    /// Gives a session its new connection. What it was subscribed to it keeps as a member for the grace period, in
    /// which its rooms have to be joined again: only the client knows its position in them.
    fn attach(&mut self, key: ClientKey, link: LinkId, step: &mut Step<'_>) {
        let client = self.clients.get_mut(key);
        if let Some(old) = client.replace_link(Some(link)) {
            step.push(Effect::Refuse { link: old, code: close::POLICY, reason: "Session resumed elsewhere".into() });
        }
        client.expires_ms = step.now.monotonic_ms + self.settings.grace_ms;
        let at_ms = client.expires_ms;
        self.unsubscribe_all(key, step);
        step.push(Effect::Attach { link, client: key });
        step.push(Effect::Timer { at_ms, timer: Timer::Grace(key) });
    }

    pub(super) fn greet(&self, key: ClientKey, step: &mut Step<'_>) {
        let client = self.clients.get(key);
        let user = self.users.get(client.user);
        let (id, session) = (key.to_string(), client.session(key));
        let limits = self.settings.limits();
        let mut event = Event::connected(&id, user.name.as_str(), &session, self.settings.heartbeat_ms, limits);
        if let Event::Connected { account, .. } = &mut event {
            *account = user.account().and_then(|id| view(id, step.accounts));
        }
        let json = event.to_vec(None);
        step.push(Effect::Send { client: key, json });
    }

    pub(super) fn disconnect(&mut self, key: ClientKey, goodbye: bool, step: &mut Step<'_>) {
        // It may have been shown out before its connection was closed.
        let Some(client) = self.clients.try_get_mut(key) else { return };
        client.replace_link(None);
        if goodbye || self.settings.grace_ms == 0 {
            return self.remove_client(key, if goodbye { Departure::Goodbye } else { Departure::GraceOver }, step);
        }
        for membership in client.rooms.iter_mut() {
            membership.subscribed = false;
        }
        client.expires_ms = step.now.monotonic_ms + self.settings.grace_ms;
        step.push(Effect::Timer { at_ms: client.expires_ms, timer: Timer::Grace(key) });
    }

    /// A client that is still away is forgotten; one that came back leaves the rooms it did not join again.
    pub(super) fn grace_over(&mut self, key: ClientKey, step: &mut Step<'_>) {
        let Some(client) = self.clients.try_get(key) else { return };
        if client.expires_ms > step.now.monotonic_ms {
            return; // it came back and has a later timer
        }
        if client.link().is_none() {
            return self.remove_client(key, Departure::GraceOver, step);
        }
        let held: Vec<RoomKey> = client.rooms.iter().filter(|held| !held.subscribed).map(|held| held.room).collect();
        for room in held {
            self.exit(key, room, step);
        }
    }

    /// The time in which one has to log in is over.
    pub(super) fn log_in_due(&mut self, key: ClientKey, step: &mut Step<'_>) {
        if self.clients.try_get(key).is_some() && self.must_log_in(key) {
            self.show_out_guest(key, step);
        }
    }

    /// Shows out somebody who had to log in first.
    pub(super) fn show_out_guest(&mut self, key: ClientKey, step: &mut Step<'_>) {
        self.show_out(key, (close::LOG_IN, LOG_IN), Departure::ShownOut, step);
    }

    /// Closes a client's connection for good: it has no grace period.
    pub(super) fn show_out(&mut self, key: ClientKey, why: (u16, &str), departure: Departure, step: &mut Step<'_>) {
        if let Some(link) = self.clients.get_mut(key).replace_link(None) {
            // It unsubscribes while the connection is still the client's.
            self.unsubscribe_all(key, step);
            step.push(Effect::Refuse { link, code: why.0, reason: why.1.into() });
        }
        self.remove_client(key, departure, step);
    }

    fn unsubscribe_all(&mut self, key: ClientKey, step: &mut Step<'_>) {
        for membership in self.clients.get_mut(key).rooms.iter_mut() {
            if std::mem::replace(&mut membership.subscribed, false) {
                step.push(Effect::Unsubscribe { client: key, room: membership.room });
            }
        }
    }

    pub(super) fn remove_client(&mut self, key: ClientKey, why: Departure, step: &mut Step<'_>) {
        let user = self.clients.get(key).user;
        self.depart(user, key, why, step);
        while let Some(membership) = self.clients.get(key).rooms.last() {
            let room = membership.room;
            self.exit(key, room, step);
        }
        self.forget(key);
    }

    /// Tells of a user that goes with this client, if it is the last one.
    fn depart(&mut self, user: UserKey, key: ClientKey, why: Departure, step: &mut Step<'_>) {
        let entry = self.users.get(user);
        if *entry.clients == [key] {
            step.push(Effect::Offline { user: entry.name.clone(), why });
            self.tell_status(user, "offline", step);
        }
    }

    /// Forgets a client that is in no room.
    fn forget(&mut self, key: ClientKey) {
        let user = self.clients.get(key).user;
        self.clients.remove(key);
        self.logins.remove(&key);
        self.users.drop_client(user, key);
    }

    pub(super) fn hello(
        &mut self,
        client: ClientKey,
        id: Option<&str>,
        (user, token, session): (Option<&str>, Option<&str>, Option<&str>),
        step: &mut Step<'_>,
    ) -> Outcome {
        if let Some(token) = token {
            let login = step.accounts.tokens.find(token, step.now);
            let login = login.ok_or_else(|| Refusal::new(ErrorCode::BadToken, "The token is not known, or is over"))?;
            let name = step.accounts.directory.get(login.0).map(|account| account.name.key());
            if user.is_some_and(|user| Some(names::fold(user)) != name) {
                return Err(Refusal::new(ErrorCode::BadToken, "The token is another account's"));
            }
            self.log_in(client, login, step)?;
        } else if let Some(session) = session {
            return self.resume(client, id, session, step);
        } else if let Some(name) = user {
            self.rename(client, name, step)?;
        }
        self.ack(client, id, None, step);
        self.greet(client, step);
        Ok(())
    }

    /// Moves a connection from the guest it is to the client it was.
    fn resume(&mut self, client: ClientKey, id: Option<&str>, session: &str, step: &mut Step<'_>) -> Outcome {
        let resumed = self.clients.by_session(session);
        let resumed = resumed.ok_or_else(|| Refusal::new(ErrorCode::BadSession, "The session is over"))?;
        if resumed != client {
            let link = self.clients.get(client).link().expect("a client that speaks has a connection");
            self.remove_client(client, Departure::BecameAnother, step);
            self.attach(resumed, link, step);
        }
        self.ack(resumed, id, None, step);
        self.greet(resumed, step);
        Ok(())
    }

    /// Gives a client another name. Its rooms see one leave and another join.
    pub(super) fn rename(&mut self, client: ClientKey, name: &str, step: &mut Step<'_>) -> Outcome {
        let user = self.clients.get(client).user;
        let entry = self.users.get(user);
        if entry.account().is_some() {
            if names::fold(name) == entry.name.key() {
                return Ok(());
            }
            // Whoever is logged in and takes another name is a guest from here on.
            self.check_guest()?;
            let name = self.free_name(name, None, step.accounts, step.now)?;
            let guest = self.users.claim(name, self.guest(), step.now.unix_ms).expect("the name was free a moment ago");
            self.logins.remove(&client);
            self.move_client(client, guest, step);
            return Ok(());
        }
        self.check_guest()?;
        if entry.name.as_str() == name {
            return Ok(());
        }
        let name = self.free_name(name, Some(user), step.accounts, step.now)?;
        self.rename_user(user, name, step);
        let identity = self.guest();
        self.users.get_mut(user).set_identity(identity);
        Ok(())
    }

    fn check_guest(&self) -> Outcome {
        let refusal = || Refusal::new(ErrorCode::Forbidden, LOG_IN);
        if self.settings.guests { Ok(()) } else { Err(refusal()) }
    }

    fn rename_user(&mut self, user: UserKey, name: UserName, step: &mut Step<'_>) {
        let rooms: Vec<RoomKey> = self.users.get(user).rooms.iter().map(|place| place.room).collect();
        for &room in &rooms {
            self.end_typing(user, room, step);
            self.announce(user, room, Announcement::Leave, step);
        }
        self.users.rename(user, name).expect("the name was free a moment ago");
        for &room in &rooms {
            self.announce(user, room, Announcement::Join, step);
            self.touch_presence(room, None, step);
        }
    }

    /// Makes a client one of an account's.
    fn log_in(&mut self, client: ClientKey, (id, token): (AccountId, TokenId), step: &mut Step<'_>) -> Outcome {
        let account = step.accounts.directory.get(id).expect("a token belongs to an account");
        if step.accounts.bans.of_name(account.name.as_str(), step.now).is_some() {
            return Err(Refusal::new(ErrorCode::Banned, "This account is banned"));
        }
        self.become_account(client, account, step);
        self.logins.insert(client, token);
        Ok(())
    }

    fn become_account(&mut self, client: ClientKey, account: &Account, step: &mut Step<'_>) {
        let (own, identity) = (self.clients.get(client).user, Identity::Account(account.id));
        if self.users.get(own).account() == Some(account.id) {
            return;
        }
        while let Some(owner) = self.users.owner_of(&account.name, Some(own)) {
            if self.users.get(owner).account() == Some(account.id) {
                return self.move_client(client, owner, step);
            }
            // A guest took the name, or one that is taken for it, before it was registered.
            let name = self.guest_name(account.id.0, step.accounts);
            self.rename_user(owner, name, step);
            let identity = self.guest();
            self.users.get_mut(owner).set_identity(identity);
            let told: Vec<ClientKey> = self.users.get(owner).clients.to_vec();
            told.into_iter().for_each(|client| self.greet(client, step));
        }
        if self.users.get(own).account().is_some() {
            let user = self.users.claim(account.name.clone(), identity, step.now.unix_ms);
            return self.move_client(client, user.expect("nobody else has an account's name"), step);
        }
        if self.users.get(own).name != account.name {
            self.rename_user(own, account.name.clone(), step);
        }
        self.users.get_mut(own).set_identity(identity);
    }

    /// Makes a client another user's. Its cursors stay where they are.
    fn move_client(&mut self, client: ClientKey, to: UserKey, step: &mut Step<'_>) {
        let from = self.clients.get(client).user;
        self.depart(from, client, Departure::BecameAnother, step);
        self.leave_conversations(client, self.users.get(to).account(), step);
        let rooms: Vec<RoomKey> = self.clients.get(client).rooms.iter().map(|held| held.room).collect();
        for &room in &rooms {
            self.leave_as(from, room, step);
        }
        self.clients.get_mut(client).user = to;
        self.users.get_mut(to).clients.push(client);
        for &room in &rooms {
            self.enter_as(to, room, None, step);
        }
        self.users.drop_client(from, client);
    }

    /// Takes a client that is to be somebody else out of the conversations that are not for that one to read.
    fn leave_conversations(&mut self, client: ClientKey, who: Option<AccountId>, step: &mut Step<'_>) {
        let rooms = self.clients.get(client).rooms.iter().map(|held| held.room);
        let foreign: Vec<RoomKey> =
            rooms.filter(|&room| check_room(&self.rooms.get(room).name, who).is_err()).collect();
        for room in foreign {
            self.exit(client, room, step);
        }
    }

    /// Shows out whoever came with one of these tokens.
    pub(super) fn end_tokens(&mut self, tokens: &[TokenId], step: &mut Step<'_>) {
        const REASON: &str = "Log in again: the token is over";
        let ended: Vec<ClientKey> =
            self.logins.iter().filter(|(_, token)| tokens.contains(token)).map(|(&client, _)| client).collect();
        for client in ended {
            self.show_out(client, (close::LOG_IN, REASON), Departure::TokenEnded, step);
        }
        self.end_listeners(|listener| listener.reader.is_some_and(|(_, token)| tokens.contains(&token)), step);
    }
}

/// What an account is told of itself.
fn view(id: AccountId, accounts: &Tables) -> Option<AccountView<'_>> {
    let account = accounts.directory.get(id)?;
    let peer = |&peer: &AccountId| {
        Some(DirectView { room: direct::room(id, peer), user: accounts.directory.get(peer)?.name.as_str() })
    };
    Some(AccountView {
        role: Role::as_str(account.role),
        rooms: account.rooms.iter().map(|room| &**room).collect(),
        direct: account.peers.iter().filter_map(peer).collect(),
    })
}

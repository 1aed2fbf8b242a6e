//! The pure core of the chat: who is here, who is in which room, what a command means.
//!
//! Owns: clients, users, rooms and their relations. Must never know: sockets, files, clocks, randomness. Everything
//! comes in as an [`Input`] with a [`Now`] and a view of the accounts; everything goes out as an [`Effect`], in the order
//! it has to happen.
//!
//! A *link* is a connection, a *client* is what survives it for the grace period (a session), a *user* is a name with
//! one or more clients: an account, or a guest. A user is in a room as long as one of its clients is.

mod allowance;
mod clients;
mod commands;
pub mod direct;
mod interface;
mod messages;
mod moderation;
mod presence;
mod requests;
mod rights;
mod rooms;
mod sessions;
mod typing;
mod users;

use std::collections::HashMap;

pub use clients::ClientKey;
pub use interface::{AddressKey, Departure, Effect, Entropy, Input, LinkId, Recipient, Settings, Timer, Typist};
pub use rooms::RoomKey;

use self::{allowance::Allowances, clients::Clients, requests::Listener, rooms::Rooms, typing::Typing, users::Users};
use crate::{
    accounts::{Tables, TokenId},
    clock::Now,
    protocol::ErrorCode,
};

/// One input's surroundings: when it is, who has accounts, and what it leads to.
struct Step<'a> {
    now: Now,
    accounts: &'a Tables,
    effects: &'a mut Vec<Effect>,
}

impl Step<'_> {
    fn push(&mut self, effect: Effect) {
        self.effects.push(effect);
    }
}

/// The core. Invariants: a client is in its user's list and vice versa; a user is in a room exactly once if any of its
/// clients is, with their number; a room exists while it has users, listeners or appends in flight; who is in `logins`
/// is a client of an account's user.
#[derive(Debug)]
pub struct Chat {
    settings: Settings,
    allowances: Allowances,
    clients: Clients,
    users: Users,
    rooms: Rooms,
    typing: Typing,
    /// By which token a client has proved who it is.
    logins: HashMap<ClientKey, TokenId>,
    /// Event streams.
    listeners: HashMap<LinkId, Listener>,
    serial: u64,
    /// `error` events by code, for metrics.
    errors: [u64; ErrorCode::ALL.len()],
    /// The latest time of day that was seen: names are taken from then on, though the clock may jump back.
    latest_unix_ms: u64,
}

impl Chat {
    /// An empty chat.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            allowances: Allowances::new(&settings),
            clients: Clients::default(),
            users: Users::default(),
            rooms: Rooms::default(),
            typing: Typing::default(),
            logins: HashMap::new(),
            listeners: HashMap::new(),
            serial: 0,
            errors: [0; ErrorCode::ALL.len()],
            latest_unix_ms: 0,
        }
    }

    /// Takes one input and adds what it leads to.
    pub fn handle(&mut self, now: Now, accounts: &Tables, input: Input<'_>, effects: &mut Vec<Effect>) {
        self.latest_unix_ms = self.latest_unix_ms.max(now.unix_ms);
        let step = &mut Step { now, accounts, effects };
        match input {
            Input::Connect { link, wish, token, entropy } => self.connect(link, &wish, token, entropy, step),
            Input::Command { client, address, request } => self.command(client, address, request, step),
            Input::Control { client, count } => self.control(client, count, step),
            Input::Disconnect { client, goodbye } => self.disconnect(client, goodbye, step),
            Input::Post { link, address, author, room, content, nonce } => {
                self.post((link, address), author, (room, content, nonce), step);
            }
            Input::Read { link, reader, room, range } => self.read(link, reader, room, range, step),
            Input::Listen { link, reader, room, since, epoch } => self.listen(link, reader, room, (since, epoch), step),
            Input::Hangup { link } => self.hangup(link, step),
            Input::Ended { tokens } => self.end_tokens(tokens, step),
            Input::Told { pair, room, json } => self.tell_both(pair, room, json, step),
            Input::Missed { client } => self.show_rooms(client, step),
            Input::Settled { room, count } => {
                self.rooms.get_mut(room).in_flight -= count;
                self.close_if_unused(room, step);
            }
            Input::Timer(Timer::Grace(client)) => self.grace_over(client, step),
            Input::Timer(Timer::LogIn(client)) => self.log_in_due(client, step),
            Input::Timer(Timer::Presence(room)) => self.presence_due(room, step),
            Input::Timer(Timer::Typing(Typist(user), room)) => self.typing_due(user, room, step),
        }
        self.check_invariants();
    }

    fn next_serial(&mut self) -> u64 {
        self.serial += 1;
        self.serial
    }

    /// Users that are here, for metrics and tests.
    #[must_use]
    pub fn user_count(&self) -> usize {
        self.users.len()
    }

    /// How many `error` events with this code were sent.
    #[must_use]
    pub fn errors(&self, code: ErrorCode) -> u64 {
        self.errors[code as usize]
    }

    /// Rooms in use, for metrics and tests.
    #[must_use]
    pub fn room_count(&self) -> usize {
        self.rooms.len()
    }

    /// The rooms in use, with their names and how many users are in them.
    pub fn rooms(&self) -> impl Iterator<Item = (RoomKey, &str, usize)> {
        self.rooms.iter().map(|(key, room)| (key, &*room.name, room.users.len()))
    }

    /// The room of this name, if it is in use, and how many users are in it.
    #[must_use]
    pub fn room(&self, name: &str) -> Option<(RoomKey, usize)> {
        let key = self.rooms.by_name(name)?;
        Some((key, self.rooms.get(key).users.len()))
    }

    /// The connections of all event streams.
    pub fn listeners(&self) -> impl Iterator<Item = LinkId> {
        self.listeners.keys().copied()
    }

    /// Whether a guest who is here has this name, or one that is taken for it, and is not the one whose session this is.
    #[must_use]
    pub fn is_held_by_another(&self, name: &crate::names::UserName, session: Option<&str>) -> bool {
        let own = session.and_then(|session| self.clients.by_session(session));
        self.users.owner_of(name, own.map(|client| self.clients.get(client).user)).is_some()
    }

    /// Checks the invariants of the struct. Debug builds do so after every input while the chat is small.
    fn check_invariants(&self) {
        const SMALL: usize = 64;
        if cfg!(debug_assertions) && self.clients.len() <= SMALL {
            self.check_clients();
            self.check_rooms();
        }
    }

    fn check_clients(&self) {
        for (key, client) in self.clients.iter() {
            let user = self.users.get(client.user);
            assert!(user.clients.contains(&key), "a client is in its user's list");
            assert!(user.account().is_some() || user.clients.len() == 1, "a guest is one client");
            for membership in client.rooms.iter() {
                assert!(
                    user.rooms.iter().any(|place| place.room == membership.room),
                    "a user is where its clients are"
                );
                assert!(client.link().is_some() || !membership.subscribed, "no subscription without a connection");
            }
        }
        for &client in self.logins.keys() {
            let user = self.users.get(self.clients.get(client).user);
            assert!(user.account().is_some(), "who is logged in is an account");
        }
    }

    fn check_rooms(&self) {
        let listeners: usize = self.rooms.iter().map(|(_, room)| room.listeners as usize).sum();
        assert_eq!(listeners, self.listeners.len(), "a room counts its listeners");
        for (key, room) in self.rooms.iter() {
            assert!(!room.is_unused(), "a room in use has a user");
            for (slot, &user) in room.users.iter().enumerate() {
                let user = self.users.get(user);
                let place = user.rooms.iter().find(|place| place.room == key).expect("a member knows its room");
                assert_eq!(place.slot as usize, slot, "a member knows its place");
                let clients = user.clients.iter().map(|&client| self.clients.get(client));
                let inside = clients.filter(|client| client.rooms.iter().any(|m| m.room == key)).count();
                assert_eq!(place.clients as usize, inside, "a member counts its clients");
            }
        }
    }
}

#[cfg(test)]
mod tests;

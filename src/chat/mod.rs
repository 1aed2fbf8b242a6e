//! The pure core of the chat: who is here, who is in which room, what a command means.
//!
//! Owns: clients, users, rooms and their relations. Must never know: sockets, files, clocks, randomness. Everything
//! comes in as an [`Input`] with a [`Now`]; everything goes out as an [`Effect`], in the order it has to happen.
//!
//! A *link* is a connection, a *client* is what survives it for the grace period (a session), a *user* is a name with
//! one or more clients. A user is in a room as long as one of its clients is.

mod clients;
mod commands;
mod presence;
mod rooms;
mod users;

use std::rc::Rc;

pub use clients::ClientKey;
pub use rooms::RoomKey;

use self::{
    clients::{Client, Clients},
    rooms::Rooms,
    users::Users,
};
use crate::{
    clock::Now,
    limits,
    names::{self, UserName},
    protocol::{Announcement, BadCommand, Event, HistoryRange, Limits, Request, Wish, close},
    rate::Rate,
};

/// What the core needs to know of the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// How long a vanished client keeps its name and rooms, in milliseconds.
    pub grace_ms: u64,
    /// Told to clients, in milliseconds.
    pub heartbeat_ms: u64,
    /// Messages per second and client; 0 for no limit.
    pub messages_per_second: u32,
    /// Longest content, in bytes.
    pub content_bytes_max: usize,
    /// Told to clients, in bytes.
    pub message_bytes_max: usize,
}

impl Settings {
    fn limits(&self) -> Limits {
        Limits {
            content_bytes: self.content_bytes_max,
            message_bytes: self.message_bytes_max,
            rooms_per_connection: limits::ROOMS_PER_CONNECTION_MAX,
            messages_per_second: self.messages_per_second,
        }
    }
}

/// Names a connection, and is never 0; the core gives it back and never looks inside.
pub type LinkId = u64;

/// Fresh random bytes: a guest name and a secret are made of them.
pub type Entropy = [u8; 4 + size_of::<clients::Secret>()];

/// What happens to the core.
#[derive(Debug)]
pub enum Input<'a> {
    /// A connection is open. Answered by [`Effect::Attach`], or by [`Effect::Refuse`].
    Connect {
        /// The connection.
        link: LinkId,
        /// What its URL asks for.
        wish: Wish,
        /// For this connection only.
        entropy: Entropy,
    },
    /// A client said something.
    Command {
        /// Who.
        client: ClientKey,
        /// What, or what is wrong with it.
        request: Result<Request<'a>, BadCommand<'a>>,
    },
    /// A client's connection is gone.
    Disconnect {
        /// Whose.
        client: ClientKey,
        /// The peer said goodbye (1000): no grace period.
        goodbye: bool,
    },
    /// Appends of a room reached the log, or were refused: the room may be given up when nobody is in it.
    Settled {
        /// The room.
        room: RoomKey,
        /// How many.
        count: u32,
    },
    /// A timer of [`Effect::Timer`] is due.
    Timer(Timer),
}

/// A timer of the core. It may fire after what it was for is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timer {
    /// A client's grace period is over.
    Grace(ClientKey),
    /// A room's members are to be told who is there.
    Presence(RoomKey),
}

/// What the core wants done, in this order.
#[derive(Debug, PartialEq, Eq)]
pub enum Effect {
    /// The connection belongs to this client from now on.
    Attach {
        /// The connection.
        link: LinkId,
        /// The client.
        client: ClientKey,
    },
    /// Close a connection.
    Refuse {
        /// The connection.
        link: LinkId,
        /// The WebSocket close code.
        code: u16,
        /// The close reason, for people.
        reason: &'static str,
    },
    /// Send a reply.
    Send {
        /// To whom.
        client: ClientKey,
        /// The frame's JSON.
        json: Vec<u8>,
    },
    /// Tell everybody who is subscribed to a room; slow readers may miss it.
    Broadcast {
        /// The room.
        room: RoomKey,
        /// Everybody but this one.
        except: Option<ClientKey>,
        /// The frame's JSON.
        json: Vec<u8>,
    },
    /// Broadcast that a user came or went; it carries the room's current sequence.
    Announce {
        /// The room.
        room: RoomKey,
        /// Who.
        user: UserName,
        /// Came or went.
        kind: Announcement,
        /// Tells it apart from others.
        serial: u64,
    },
    /// A room is in use from now on.
    OpenRoom {
        /// Its key until it is closed.
        room: RoomKey,
        /// Its name.
        name: Rc<str>,
    },
    /// Nobody uses the room any more, and nothing of it is in flight; the key may come again.
    CloseRoom {
        /// The room.
        room: RoomKey,
    },
    /// Put a cursor for this client on the room's log (moving it if there is one) and acknowledge the join.
    Subscribe {
        /// The client.
        client: ClientKey,
        /// The id of the command, if it is to be acknowledged.
        id: Option<Box<str>>,
        /// The room.
        room: RoomKey,
        /// The last sequence the client has; the last few messages if absent.
        since: Option<u64>,
        /// The epoch of that sequence.
        epoch: Option<Box<str>>,
    },
    /// Take the cursor away.
    Unsubscribe {
        /// The client.
        client: ClientKey,
        /// The room.
        room: RoomKey,
    },
    /// Append to the room's log; acknowledge and publish when it is as durable as configured.
    Append {
        /// The author's client.
        client: ClientKey,
        /// The id of the command, if it is to be acknowledged.
        id: Option<Box<str>>,
        /// The room.
        room: RoomKey,
        /// The author.
        user: UserName,
        /// The text.
        content: Box<str>,
        /// Makes it idempotent.
        nonce: Option<Box<str>>,
    },
    /// Read the room's log and send it.
    History {
        /// To whom.
        client: ClientKey,
        /// The room.
        room: RoomKey,
        /// Which part.
        range: HistoryRange,
    },
    /// Wake the core.
    Timer {
        /// When, on the monotonic clock.
        at_ms: u64,
        /// With what.
        timer: Timer,
    },
}

/// The core. Invariants: a client is in its user's list and vice versa; a user is in a room exactly once if any of its
/// clients is, with their number; a room exists while it has users or appends in flight.
#[derive(Debug)]
pub struct Chat {
    settings: Settings,
    rate: Rate,
    clients: Clients,
    users: Users,
    rooms: Rooms,
    serial: u64,
}

impl Chat {
    /// An empty chat.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        let burst = settings.messages_per_second.saturating_mul(limits::RATE_BURST_FACTOR);
        Self {
            settings,
            rate: Rate::new(settings.messages_per_second, burst),
            clients: Clients::default(),
            users: Users::default(),
            rooms: Rooms::default(),
            serial: 0,
        }
    }

    /// Takes one input and adds what it leads to.
    pub fn handle(&mut self, now: Now, input: Input<'_>, effects: &mut Vec<Effect>) {
        match input {
            Input::Connect { link, wish, entropy } => self.connect(now, link, wish, entropy, effects),
            Input::Command { client, request } => self.command(now, client, request, effects),
            Input::Disconnect { client, goodbye } => self.disconnect(now, client, goodbye, effects),
            Input::Settled { room, count } => {
                self.rooms.get_mut(room).in_flight -= count;
                self.close_if_unused(room, effects);
            }
            Input::Timer(Timer::Grace(client)) => self.grace_over(now, client, effects),
            Input::Timer(Timer::Presence(room)) => self.presence_due(now, room, effects),
        }
        self.check_invariants();
    }

    fn connect(&mut self, now: Now, link: LinkId, wish: Wish, entropy: Entropy, effects: &mut Vec<Effect>) {
        let resumed = wish.session.as_deref().and_then(|session| self.clients.by_session(session));
        let client = match resumed {
            Some(client) => {
                self.attach(now, client, link, effects);
                client
            }
            None => match self.new_client(now, link, wish.user.as_deref(), entropy) {
                Ok(client) => {
                    effects.push(Effect::Attach { link, client });
                    client
                }
                Err(reason) => return effects.push(Effect::Refuse { link, code: close::POLICY, reason }),
            },
        };
        self.greet(client, effects);
        let since = wish.since.filter(|_| wish.rooms.len() == 1);
        for room in &wish.rooms {
            if let Err(refusal) = self.join(now, client, None, room, (since, None), effects) {
                self.refuse(client, None, &refusal, effects);
            }
        }
    }

    fn new_client(
        &mut self,
        now: Now,
        link: LinkId,
        name: Option<&str>,
        entropy: Entropy,
    ) -> Result<ClientKey, &'static str> {
        let (guest, secret) = entropy.split_first_chunk().expect("it is longer");
        let (guest, secret) = (u32::from_le_bytes(*guest), secret.try_into().expect("the rest is a secret"));
        let user = match name {
            Some(name) => self.users.claim(names::user(name)?, now.unix_ms).map_err(|()| "This name is taken")?,
            None => self.users.guest(guest, now.unix_ms),
        };
        let client = self.clients.insert(Client::new(user, link, secret));
        self.users.get_mut(user).clients.push(client);
        Ok(client)
    }

    /// Gives a session its new connection. What it was subscribed to it keeps as a member for the grace period, in
    /// which its rooms have to be joined again: only the client knows its position in them.
    fn attach(&mut self, now: Now, key: ClientKey, link: LinkId, effects: &mut Vec<Effect>) {
        let client = self.clients.get_mut(key);
        if let Some(old) = client.replace_link(Some(link)) {
            effects.push(Effect::Refuse { link: old, code: close::POLICY, reason: "Session resumed elsewhere" });
        }
        client.expires_ms = now.monotonic_ms + self.settings.grace_ms;
        let at_ms = client.expires_ms;
        for membership in client.rooms.iter_mut() {
            if std::mem::replace(&mut membership.subscribed, false) {
                effects.push(Effect::Unsubscribe { client: key, room: membership.room });
            }
        }
        effects.push(Effect::Attach { link, client: key });
        effects.push(Effect::Timer { at_ms, timer: Timer::Grace(key) });
    }

    fn greet(&self, key: ClientKey, effects: &mut Vec<Effect>) {
        let client = self.clients.get(key);
        let event_user = self.users.get(client.user).name.as_str();
        let (id, session) = (key.to_string(), client.session(key));
        let event = Event::connected(&id, event_user, &session, self.settings.heartbeat_ms, self.settings.limits());
        effects.push(Effect::Send { client: key, json: event.to_vec(None) });
    }

    fn disconnect(&mut self, now: Now, key: ClientKey, goodbye: bool, effects: &mut Vec<Effect>) {
        let client = self.clients.get_mut(key);
        client.replace_link(None);
        if goodbye || self.settings.grace_ms == 0 {
            return self.remove_client(now, key, effects);
        }
        for membership in client.rooms.iter_mut() {
            membership.subscribed = false;
        }
        client.expires_ms = now.monotonic_ms + self.settings.grace_ms;
        effects.push(Effect::Timer { at_ms: client.expires_ms, timer: Timer::Grace(key) });
    }

    /// A client that is still away is forgotten; one that came back leaves the rooms it did not join again.
    fn grace_over(&mut self, now: Now, key: ClientKey, effects: &mut Vec<Effect>) {
        let Some(client) = self.clients.try_get(key) else { return };
        if client.expires_ms > now.monotonic_ms {
            return; // it came back and has a later timer
        }
        if client.link().is_none() {
            return self.remove_client(now, key, effects);
        }
        let held: Vec<RoomKey> = client.rooms.iter().filter(|held| !held.subscribed).map(|held| held.room).collect();
        for room in held {
            self.exit(now, key, room, effects);
        }
    }

    fn remove_client(&mut self, now: Now, key: ClientKey, effects: &mut Vec<Effect>) {
        let user = self.clients.get(key).user;
        if self.users.get(user).clients.len() == 1 {
            self.tell_status(now, user, "offline", effects);
        }
        while let Some(membership) = self.clients.get(key).rooms.last() {
            let room = membership.room;
            self.exit(now, key, room, effects);
        }
        self.clients.remove(key);
        self.users.drop_client(user, key);
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

    /// Rooms in use, for metrics and tests.
    #[must_use]
    pub fn room_count(&self) -> usize {
        self.rooms.len()
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
            for membership in client.rooms.iter() {
                assert!(
                    user.rooms.iter().any(|place| place.room == membership.room),
                    "a user is where its clients are"
                );
                assert!(client.link().is_some() || !membership.subscribed, "no subscription without a connection");
            }
        }
    }

    fn check_rooms(&self) {
        for (key, room) in self.rooms.iter() {
            assert!(!room.users.is_empty() || room.in_flight > 0, "a room in use has a user");
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

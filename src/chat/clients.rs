//! Clients: what a connection stands for, and what outlives it for the grace period.
//!
//! Owns: the table of clients and the secrets of their sessions. Must never know: names, rooms' members, sockets.

use std::{
    fmt,
    num::{NonZeroU32, NonZeroU64},
};

use slab::Slab;

use super::{LinkId, RoomKey, users::UserKey};
use crate::{few::Few, rate::Bucket};

/// Names a client: a place in the table and a number that no other client of this process has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ClientKey {
    index: u32,
    generation: NonZeroU32,
}

impl ClientKey {
    /// The place in the table: small, and free again when the client is gone.
    #[must_use]
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// A key for tests of those who only carry keys.
    #[cfg(test)]
    pub(crate) fn testing(index: u32, generation: u32) -> Self {
        Self { index, generation: NonZeroU32::new(generation).expect("keys count from one") }
    }
}

impl fmt::Display for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "c{:x}-{:x}", self.index, self.generation)
    }
}

/// What proves that a session is one's own: 112 random bits.
pub(super) type Secret = [u8; 14];

fn secret_bits(secret: &Secret) -> u128 {
    secret.iter().fold(0, |bits, &byte| bits << 8 | u128::from(byte))
}

/// A client's place in a room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Membership {
    pub room: RoomKey,
    /// False for a room that a resumed client has not joined again yet.
    pub subscribed: bool,
}

#[derive(Debug)]
pub(super) struct Client {
    pub user: UserKey,
    generation: NonZeroU32,
    link: Option<NonZeroU64>,
    /// On the monotonic clock: without a link, when the client is forgotten; with one, when held rooms are left.
    pub expires_ms: u64,
    pub rooms: Few<Membership>,
    /// Counts messages.
    pub bucket: Bucket,
    /// Counts everything else that a client can send.
    pub commands: Bucket,
    /// How many more messages were refused than accepted.
    pub refused: u16,
    secret: Secret,
}

impl Client {
    pub fn new(user: UserKey, link: LinkId, secret: Secret) -> Self {
        let (generation, link) = (NonZeroU32::MIN, NonZeroU64::new(link));
        let (rooms, bucket, commands) = (Few::None, Bucket::default(), Bucket::default());
        Self { user, generation, link, expires_ms: 0, rooms, bucket, commands, refused: 0, secret }
    }

    /// The connection, if there is one.
    pub fn link(&self) -> Option<LinkId> {
        self.link.map(NonZeroU64::get)
    }

    /// Gives the client another connection, or none; the one before.
    pub fn replace_link(&mut self, link: Option<LinkId>) -> Option<LinkId> {
        std::mem::replace(&mut self.link, link.and_then(NonZeroU64::new)).map(NonZeroU64::get)
    }

    /// The session token: the place in the table, and the secret.
    pub fn session(&self, key: ClientKey) -> String {
        format!("{:x}.{:028x}", key.index, secret_bits(&self.secret))
    }

    pub fn membership(&mut self, room: RoomKey) -> Option<&mut Membership> {
        self.rooms.iter_mut().find(|membership| membership.room == room)
    }
}

#[derive(Debug, Default)]
pub(super) struct Clients {
    slab: Slab<Client>,
    /// Clients there have been.
    inserted: u32,
}

impl Clients {
    pub fn insert(&mut self, mut client: Client) -> ClientKey {
        self.inserted = self.inserted.wrapping_add(1);
        client.generation = NonZeroU32::new(self.inserted).unwrap_or(NonZeroU32::MIN);
        let generation = client.generation;
        let index = u32::try_from(self.slab.insert(client)).expect("fewer clients than descriptors");
        ClientKey { index, generation }
    }

    pub fn remove(&mut self, key: ClientKey) {
        debug_assert!(self.try_get(key).is_some());
        self.slab.remove(key.index());
    }

    pub fn try_get(&self, key: ClientKey) -> Option<&Client> {
        self.slab.get(key.index()).filter(|client| client.generation == key.generation)
    }

    /// The caller knows that the client is there: it has a connection, or was just looked up.
    pub fn get(&self, key: ClientKey) -> &Client {
        self.try_get(key).expect("a key that is held names a client")
    }

    pub fn try_get_mut(&mut self, key: ClientKey) -> Option<&mut Client> {
        self.slab.get_mut(key.index()).filter(|client| client.generation == key.generation)
    }

    /// As [`Clients::get`].
    pub fn get_mut(&mut self, key: ClientKey) -> &mut Client {
        self.try_get_mut(key).expect("a key that is held names a client")
    }

    /// The client that a session token names, if its secret is right.
    pub fn by_session(&self, session: &str) -> Option<ClientKey> {
        let (index, secret) = session.split_once('.')?;
        let index = u32::from_str_radix(index, 16).ok()?;
        let client = self.slab.get(index as usize)?;
        let secret = u128::from_str_radix(secret, 16).ok()?;
        // Compared as a whole: the time tells nothing about how much of a guess was right.
        (secret_bits(&client.secret) ^ secret == 0).then_some(ClientKey { index, generation: client.generation })
    }

    pub fn len(&self) -> usize {
        self.slab.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (ClientKey, &Client)> {
        self.slab.iter().map(|(index, client)| {
            let index = u32::try_from(index).expect("checked at insertion");
            (ClientKey { index, generation: client.generation }, client)
        })
    }
}

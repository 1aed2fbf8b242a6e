//! Clients: what a connection stands for, and what outlives it for the grace period.
//!
//! Owns: the table of clients and the secrets of their sessions. Must never know: names, rooms' members, sockets.

use std::{fmt, num::NonZeroU32};

use slab::Slab;
use smallvec::SmallVec;

use super::{LinkId, RoomKey, rate::Bucket, users::UserKey};

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
    pub link: Option<LinkId>,
    /// On the monotonic clock: without a link, when the client is forgotten; with one, when held rooms are left.
    pub expires_ms: u64,
    pub rooms: SmallVec<[Membership; 1]>,
    pub bucket: Bucket,
    /// How many more messages were refused than accepted.
    pub refused: u32,
    secret: [u8; 16],
}

impl Client {
    pub fn new(user: UserKey, link: LinkId, secret: [u8; 16]) -> Self {
        let (rooms, bucket) = (SmallVec::new(), Bucket::default());
        Self { user, generation: NonZeroU32::MIN, link: Some(link), expires_ms: 0, rooms, bucket, refused: 0, secret }
    }

    /// The session token: the place in the table, and the secret.
    pub fn session(&self, key: ClientKey) -> String {
        format!("{:x}.{:032x}", key.index, u128::from_be_bytes(self.secret))
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

    pub fn get_mut(&mut self, key: ClientKey) -> &mut Client {
        let client = self.slab.get_mut(key.index()).filter(|client| client.generation == key.generation);
        client.expect("a key that is held names a client")
    }

    /// The client that a session token names, if its secret is right.
    pub fn by_session(&self, session: &str) -> Option<ClientKey> {
        let (index, secret) = session.split_once('.')?;
        let index = u32::from_str_radix(index, 16).ok()?;
        let client = self.slab.get(index as usize)?;
        let secret = u128::from_str_radix(secret, 16).ok()?.to_be_bytes();
        // No early exit: the time tells nothing about how much of a guess was right.
        let difference = client.secret.iter().zip(secret).fold(0, |all, (ours, theirs)| all | (ours ^ theirs));
        (difference == 0).then_some(ClientKey { index, generation: client.generation })
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

//! Users: names and the clients behind them.
//!
//! Owns: who has which name, in which rooms a user is. Must never know: what is said there.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use slab::Slab;

use super::{ClientKey, RoomKey};
use crate::{
    accounts::AccountId,
    few::Few,
    names::{self, UserName},
};

/// A place in the table of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct UserKey(u32);

/// Whose a name is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Identity {
    /// Of whoever took it, since then (Unix milliseconds).
    Guest { since_ms: u64 },
    /// Of an account.
    Account(AccountId),
}

/// An [`Identity`] in eight bytes: the highest bit is an account's.
#[derive(Clone, Copy, Debug)]
struct PackedIdentity(u64);

const IS_ACCOUNT: u64 = 1 << 63;

impl From<Identity> for PackedIdentity {
    fn from(identity: Identity) -> Self {
        match identity {
            Identity::Guest { since_ms } => Self(since_ms & !IS_ACCOUNT),
            Identity::Account(id) => Self(IS_ACCOUNT | u64::from(id.0)),
        }
    }
}

impl From<PackedIdentity> for Identity {
    fn from(PackedIdentity(bits): PackedIdentity) -> Self {
        if bits & IS_ACCOUNT == 0 {
            Identity::Guest { since_ms: bits }
        } else {
            Identity::Account(AccountId(bits as u32))
        }
    }
}

/// A user's place in a room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub room: RoomKey,
    /// Where the user stands in the room's list.
    pub slot: u32,
    /// How many of the user's clients are in the room.
    pub clients: u32,
}

#[derive(Debug)]
pub(super) struct User {
    pub name: UserName,
    pub clients: Few<ClientKey>,
    pub rooms: Few<Place>,
    identity: PackedIdentity,
    /// Unix milliseconds, doubled; the lowest bit says whether the user is away. A bit of its own would cost eight bytes.
    seen: u64,
}

impl User {
    fn new(name: UserName, identity: Identity, now_unix_ms: u64) -> Self {
        Self { name, clients: Few::None, rooms: Few::None, identity: identity.into(), seen: now_unix_ms << 1 }
    }

    pub fn identity(&self) -> Identity {
        self.identity.into()
    }

    pub fn set_identity(&mut self, identity: Identity) {
        self.identity = identity.into();
    }

    /// The account whose user this is.
    pub fn account(&self) -> Option<AccountId> {
        match self.identity() {
            Identity::Account(id) => Some(id),
            Identity::Guest { .. } => None,
        }
    }

    pub fn status(&self) -> &'static str {
        if self.is_away() { "away" } else { "online" }
    }

    pub fn is_away(&self) -> bool {
        self.seen & 1 == 1
    }

    pub fn set_away(&mut self, away: bool) {
        self.seen = self.seen & !1 | u64::from(away);
    }

    /// Unix milliseconds.
    pub fn last_seen_ms(&self) -> u64 {
        self.seen >> 1
    }

    pub fn set_last_seen_ms(&mut self, unix_ms: u64) {
        self.seen = unix_ms << 1 | self.seen & 1;
    }

    pub fn place(&mut self, room: RoomKey) -> Option<&mut Place> {
        self.rooms.iter_mut().find(|place| place.room == room)
    }
}

/// Invariant: every user in the slab is in `by_look` once, under the hash of its name's skeleton.
#[derive(Debug, Default)]
pub(super) struct Users {
    slab: Slab<User>,
    /// By what the names look like, so that one look finds who has a name and who has one that is taken for it. Neither
    /// names nor hashes are kept here: they are where they are needed, or quickly made.
    by_look: HashTable<UserKey>,
    hasher: RandomState,
}

impl Users {
    /// Takes a name that nobody has, nor one that looks like it.
    pub fn claim(&mut self, name: UserName, identity: Identity, now_unix_ms: u64) -> Result<UserKey, ()> {
        if self.owner_of(&name, None).is_some() {
            return Err(());
        }
        let user = self.slab.insert(User::new(name, identity, now_unix_ms));
        let key = UserKey(u32::try_from(user).expect("fewer users than descriptors"));
        self.list(key);
        Ok(key)
    }

    /// Who has this name, or one that is taken for it, besides this one. There may be several: they need not be taken for
    /// each other.
    pub fn owner_of(&self, name: &UserName, besides: Option<UserKey>) -> Option<UserKey> {
        let (skeleton, key) = (name.skeleton(), name.key());
        let is_it = |&other: &UserKey| {
            if Some(other) == besides {
                return false;
            }
            let other = &self.get(other).name;
            other.skeleton() == skeleton && (other.key() == key || names::is_spoof(other.as_str(), name.as_str()))
        };
        self.by_look.find(self.hasher.hash_one(&*skeleton), is_it).copied()
    }

    /// Puts a user into the index under its present name.
    fn list(&mut self, key: UserKey) {
        let Self { slab, by_look, hasher } = self;
        let hash = |key: &UserKey| hasher.hash_one(&*slab[key.0 as usize].name.skeleton());
        by_look.insert_unique(hash(&key), key, hash);
    }

    /// Takes a user out of the index; its name is still the one it is listed under.
    fn unlist(&mut self, key: UserKey) {
        let hash = self.hasher.hash_one(&*self.get(key).name.skeleton());
        let entry = self.by_look.find_entry(hash, |&other| other == key);
        entry.expect("every user is listed").remove();
    }

    /// The first guest name from `seed` on that nobody here has and `is_free` allows.
    pub fn guest_name(&self, seed: u32, is_free: impl Fn(&UserName) -> bool) -> UserName {
        let mut numbers = (0..=u32::MAX).map(|step| seed.wrapping_add(step));
        let name = |number| names::user(&format!("user_{number:08x}")).expect("guest names follow the rules");
        let free = numbers
            .find_map(|number| Some(name(number)).filter(|name| self.owner_of(name, None).is_none() && is_free(name)));
        free.expect("fewer users than guest names")
    }

    /// Gives a user another name: at once, unless somebody else has it, or one that is taken for it.
    pub fn rename(&mut self, user: UserKey, name: UserName) -> Result<(), ()> {
        if self.owner_of(&name, Some(user)).is_some() {
            return Err(());
        }
        self.unlist(user);
        self.get_mut(user).name = name;
        self.list(user);
        Ok(())
    }

    /// Takes a client from its user; a user without clients is gone, and its name is free.
    pub fn drop_client(&mut self, user: UserKey, client: ClientKey) {
        let entry = self.get_mut(user);
        let index = entry.clients.iter().position(|&other| other == client).expect("a client is in its user's list");
        entry.clients.swap_remove(index);
        if entry.clients.is_empty() {
            debug_assert!(entry.rooms.is_empty(), "a user leaves its rooms first");
            self.unlist(user);
            self.slab.remove(user.0 as usize);
        }
    }

    pub fn by_name(&self, name: &str) -> Option<UserKey> {
        let (skeleton, key) = (names::skeleton(name), names::fold(name));
        let is_it = |&other: &UserKey| self.get(other).name.key() == key;
        self.by_look.find(self.hasher.hash_one(&*skeleton), is_it).copied()
    }

    pub fn get(&self, key: UserKey) -> &User {
        &self.slab[key.0 as usize]
    }

    pub fn get_mut(&mut self, key: UserKey) -> &mut User {
        &mut self.slab[key.0 as usize]
    }

    pub fn len(&self) -> usize {
        self.slab.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_exists_once_per_connection_is_small() {
        assert_eq!((size_of::<User>(), size_of::<crate::chat::clients::Client>()), (72, 64));
    }

    #[test]
    fn an_identity_survives_being_packed() {
        for identity in [Identity::Guest { since_ms: 1_790_000_000_000 }, Identity::Account(AccountId(u32::MAX))] {
            assert_eq!(Identity::from(PackedIdentity::from(identity)), identity);
        }
    }

    #[test]
    fn being_away_and_being_seen_are_independent() {
        let mut user = User::new(names::user("a").expect("valid"), Identity::Guest { since_ms: 7 }, 7);
        user.set_away(true);
        user.set_last_seen_ms(9);
        assert_eq!((user.status(), user.last_seen_ms()), ("away", 9));
        user.set_away(false);
        assert_eq!((user.status(), user.last_seen_ms()), ("online", 9));
    }
}

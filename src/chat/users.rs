//! Users: names and the clients behind them.
//!
//! Owns: who has which name, in which rooms a user is. Must never know: what is said there.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;
use slab::Slab;

use super::{ClientKey, RoomKey};
use crate::{
    few::Few,
    names::{self, UserName},
};

/// A place in the table of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct UserKey(u32);

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
    /// Unix milliseconds, doubled; the lowest bit says whether the user is away. A bit of its own would cost eight bytes.
    seen: u64,
}

impl User {
    fn new(name: UserName, now_unix_ms: u64) -> Self {
        Self { name, clients: Few::None, rooms: Few::None, seen: now_unix_ms << 1 }
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

/// Invariant: every user in the slab is in `by_name` once, under the hash of its name's key.
#[derive(Debug, Default)]
pub(super) struct Users {
    slab: Slab<User>,
    /// Neither names nor hashes are kept here: they are where they are needed, or quickly made.
    by_name: HashTable<UserKey>,
    hasher: RandomState,
}

impl Users {
    /// Takes a name that nobody has.
    pub fn claim(&mut self, name: UserName, now_unix_ms: u64) -> Result<UserKey, ()> {
        if self.find(&name.key()).is_some() {
            return Err(());
        }
        let user = self.slab.insert(User::new(name, now_unix_ms));
        let key = UserKey(u32::try_from(user).expect("fewer users than descriptors"));
        self.list(key);
        Ok(key)
    }

    fn find(&self, folded: &str) -> Option<UserKey> {
        let is_it = |key: &UserKey| self.get(*key).name.key() == folded;
        self.by_name.find(self.hasher.hash_one(folded), is_it).copied()
    }

    /// Puts a user into the index under its present name.
    fn list(&mut self, key: UserKey) {
        let Self { slab, by_name, hasher } = self;
        let hash = |key: &UserKey| hasher.hash_one(&*slab[key.0 as usize].name.key());
        by_name.insert_unique(hash(&key), key, hash);
    }

    /// Takes a user out of the index; its name is still the one it is listed under.
    fn unlist(&mut self, key: UserKey) {
        let hash = self.hasher.hash_one(&*self.get(key).name.key());
        let entry = self.by_name.find_entry(hash, |&other| other == key);
        entry.expect("every user is listed").remove();
    }

    /// Takes the first free guest name from `seed` on.
    pub fn guest(&mut self, seed: u32, now_unix_ms: u64) -> UserKey {
        let mut numbers = (0..=u32::MAX).map(|step| seed.wrapping_add(step));
        numbers
            .find_map(|number| {
                let name = names::user(&format!("user_{number:08x}")).expect("guest names follow the rules");
                self.claim(name, now_unix_ms).ok()
            })
            .expect("fewer users than guest names")
    }

    /// Gives a user another name: at once, unless somebody else has it.
    pub fn rename(&mut self, user: UserKey, name: UserName) -> Result<(), ()> {
        if self.find(&name.key()).is_some_and(|owner| owner != user) {
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
        self.find(&names::fold(name))
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
        assert_eq!((size_of::<User>(), size_of::<crate::chat::clients::Client>()), (64, 64));
    }

    #[test]
    fn being_away_and_being_seen_are_independent() {
        let mut user = User::new(names::user("a").expect("valid"), 7);
        user.set_away(true);
        user.set_last_seen_ms(9);
        assert_eq!((user.status(), user.last_seen_ms()), ("away", 9));
        user.set_away(false);
        assert_eq!((user.status(), user.last_seen_ms()), ("online", 9));
    }
}

//! Users: names and the clients behind them.
//!
//! Owns: who has which name, in which rooms a user is. Must never know: what is said there.

use std::{collections::HashMap, rc::Rc};

use slab::Slab;
use smallvec::SmallVec;

use super::{
    ClientKey, RoomKey,
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
    pub clients: SmallVec<[ClientKey; 1]>,
    pub rooms: SmallVec<[Place; 1]>,
    pub away: bool,
    /// Unix milliseconds.
    pub last_seen_ms: u64,
}

impl User {
    pub fn status(&self) -> &'static str {
        if self.away { "away" } else { "online" }
    }

    pub fn place(&mut self, room: RoomKey) -> Option<&mut Place> {
        self.rooms.iter_mut().find(|place| place.room == room)
    }
}

#[derive(Debug, Default)]
pub(super) struct Users {
    slab: Slab<User>,
    by_name: HashMap<Rc<str>, UserKey>,
}

impl Users {
    /// Takes a name that nobody has.
    pub fn claim(&mut self, name: UserName, now_unix_ms: u64) -> Result<UserKey, ()> {
        if self.by_name.contains_key(&name.key) {
            return Err(());
        }
        let name_key = Rc::clone(&name.key);
        let (clients, rooms) = (SmallVec::new(), SmallVec::new());
        let user = User { name, clients, rooms, away: false, last_seen_ms: now_unix_ms };
        let key = UserKey(u32::try_from(self.slab.insert(user)).expect("fewer users than descriptors"));
        self.by_name.insert(name_key, key);
        Ok(key)
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
        match self.by_name.get(&name.key) {
            Some(&owner) if owner != user => return Err(()),
            Some(_) => {}
            None => {
                let old = Rc::clone(&self.get(user).name.key);
                self.by_name.remove(&old);
                self.by_name.insert(Rc::clone(&name.key), user);
            }
        }
        self.get_mut(user).name = name;
        Ok(())
    }

    /// Takes a client from its user; a user without clients is gone, and its name is free.
    pub fn drop_client(&mut self, user: UserKey, client: ClientKey) {
        let entry = self.get_mut(user);
        entry.clients.retain(|&mut other| other != client);
        if entry.clients.is_empty() {
            debug_assert!(entry.rooms.is_empty(), "a user leaves its rooms first");
            let gone = self.slab.remove(user.0 as usize);
            self.by_name.remove(&gone.name.key);
        }
    }

    pub fn by_name(&self, name: &str) -> Option<UserKey> {
        self.by_name.get(names::fold(name).as_str()).copied()
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

//! Rooms in use: names, members, and when the members were last told.
//!
//! Owns: the table of rooms. Must never know: what was said in them.

use std::{
    hash::{BuildHasher, RandomState},
    rc::Rc,
};

use hashbrown::HashTable;
use slab::Slab;
use smallvec::SmallVec;

use super::users::UserKey;

/// A place in the table of rooms, valid from `OpenRoom` to `CloseRoom`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RoomKey(u32);

impl RoomKey {
    /// The place in the table: small, and used again.
    #[must_use]
    pub fn to_bits(self) -> u32 {
        self.0
    }

    /// The key whose [`RoomKey::to_bits`] this is.
    #[must_use]
    pub fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    fn index(self) -> usize {
        self.0 as usize
    }

    fn from_index(index: usize) -> Self {
        Self(u32::try_from(index).expect("fewer rooms than four billion"))
    }
}

#[derive(Debug)]
pub(super) struct Room {
    pub name: Rc<str>,
    pub users: SmallVec<[UserKey; 1]>,
    /// Appends that are not settled yet.
    pub in_flight: u32,
    /// Event streams that read it.
    pub listeners: u32,
    /// When the members may be told again, on the monotonic clock.
    pub presence_after_ms: u64,
    /// Whether a timer is set to tell them.
    pub presence_pending: bool,
}

impl Room {
    /// Whether nobody needs it any more.
    pub fn is_unused(&self) -> bool {
        self.users.is_empty() && self.in_flight == 0 && self.listeners == 0
    }
}

#[derive(Debug, Default)]
pub(super) struct Rooms {
    slab: Slab<Room>,
    by_name: HashTable<RoomKey>,
    hasher: RandomState,
}

impl Rooms {
    pub fn by_name(&self, name: &str) -> Option<RoomKey> {
        let hash = self.hasher.hash_one(name);
        self.by_name.find(hash, |&key| &*self.get(key).name == name).copied()
    }

    pub fn insert(&mut self, name: &str) -> RoomKey {
        let room = Room {
            name: name.into(),
            users: SmallVec::new(),
            in_flight: 0,
            listeners: 0,
            presence_after_ms: 0,
            presence_pending: false,
        };
        let key = RoomKey::from_index(self.slab.insert(room));
        let Self { slab, by_name, hasher } = self;
        let hash = |key: &RoomKey| hasher.hash_one(&*slab[key.index()].name);
        by_name.insert_unique(hash(&key), key, hash);
        key
    }

    pub fn remove(&mut self, key: RoomKey) {
        let room = self.slab.remove(key.index());
        let entry = self.by_name.find_entry(self.hasher.hash_one(&*room.name), |&other| other == key);
        entry.expect("every room is listed").remove();
    }

    pub fn try_get_mut(&mut self, key: RoomKey) -> Option<&mut Room> {
        self.slab.get_mut(key.index())
    }

    pub fn get(&self, key: RoomKey) -> &Room {
        &self.slab[key.index()]
    }

    pub fn get_mut(&mut self, key: RoomKey) -> &mut Room {
        &mut self.slab[key.index()]
    }

    pub fn len(&self) -> usize {
        self.slab.len()
    }

    pub fn iter(&self) -> impl Iterator<Item = (RoomKey, &Room)> {
        self.slab.iter().map(|(index, room)| (RoomKey::from_index(index), room))
    }
}

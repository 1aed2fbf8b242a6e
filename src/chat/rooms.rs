//! Rooms in use: names, members, and when the members were last told.
//!
//! Owns: the table of rooms. Must never know: what was said in them.

use std::{collections::HashMap, rc::Rc};

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
    /// When the members may be told again, on the monotonic clock.
    pub presence_after_ms: u64,
    /// Whether a timer is set to tell them.
    pub presence_pending: bool,
}

#[derive(Debug, Default)]
pub(super) struct Rooms {
    slab: Slab<Room>,
    by_name: HashMap<Rc<str>, RoomKey>,
}

impl Rooms {
    pub fn by_name(&self, name: &str) -> Option<RoomKey> {
        self.by_name.get(name).copied()
    }

    pub fn insert(&mut self, name: &str) -> RoomKey {
        let name: Rc<str> = name.into();
        let room = Room {
            name: Rc::clone(&name),
            users: SmallVec::new(),
            in_flight: 0,
            presence_after_ms: 0,
            presence_pending: false,
        };
        let key = RoomKey::from_index(self.slab.insert(room));
        self.by_name.insert(name, key);
        key
    }

    pub fn remove(&mut self, key: RoomKey) {
        let room = self.slab.remove(key.index());
        self.by_name.remove(&room.name);
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

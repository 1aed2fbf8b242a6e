//! Who is in a room, and who is told about it when.
//!
//! Owns: entering and leaving, announcements, member lists. Must never know: how a frame travels.
//!
//! Small rooms hear of everybody who comes and goes; in rooms of more than [`limits::PRESENCE_USERS_MAX`] members
//! only the count is told. Either way the list or count goes out at most once a second and room, the first at once, so
//! that a burst of joins costs the room O(1) each.

use smallvec::SmallVec;

use super::{Chat, ClientKey, Effect, RoomKey, Timer, clients::Membership, users::Place, users::UserKey};
use crate::{
    clock::Now,
    few::push_tightly,
    limits,
    protocol::{Announcement, Event, Member},
};

impl Chat {
    /// Makes a client a member, or a held membership a subscription again.
    pub(super) fn enter(&mut self, now: Now, key: ClientKey, room: RoomKey, effects: &mut Vec<Effect>) {
        let client = self.clients.get_mut(key);
        if let Some(membership) = client.membership(room) {
            membership.subscribed = true;
            self.send_presence(key, room, effects);
            return;
        }
        client.rooms.push(Membership { room, subscribed: true });
        let user = client.user;
        let is_new = self.add_to_room(user, room);
        self.send_presence(key, room, effects);
        if is_new {
            self.announce(user, room, Announcement::Join, effects);
            self.touch_presence(now, room, Some(key), effects);
        }
    }

    /// Ends a client's membership; the user leaves the room with the last of its clients.
    pub(super) fn exit(&mut self, now: Now, key: ClientKey, room: RoomKey, effects: &mut Vec<Effect>) {
        let client = self.clients.get_mut(key);
        let user = client.user;
        let place = client.rooms.iter().position(|membership| membership.room == room).expect("exit follows enter");
        let membership = client.rooms.swap_remove(place);
        if membership.subscribed && client.link().is_some() {
            effects.push(Effect::Unsubscribe { client: key, room });
        }
        if self.take_from_room(user, room) {
            self.announce(user, room, Announcement::Leave, effects);
            self.touch_presence(now, room, None, effects);
        }
        self.close_if_unused(room, effects);
    }

    /// True if the user was not in the room before.
    fn add_to_room(&mut self, user: UserKey, room: RoomKey) -> bool {
        let entry = self.users.get_mut(user);
        if let Some(place) = entry.place(room) {
            place.clients += 1;
            return false;
        }
        let users = &mut self.rooms.get_mut(room).users;
        let slot = u32::try_from(users.len()).expect("fewer members than four billion");
        push_tightly(users, user);
        entry.rooms.push(Place { room, slot, clients: 1 });
        true
    }

    /// True if the user is not in the room any more.
    fn take_from_room(&mut self, user: UserKey, room: RoomKey) -> bool {
        let entry = self.users.get_mut(user);
        let index = entry.rooms.iter().position(|place| place.room == room).expect("a member has a place");
        entry.rooms[index].clients -= 1;
        if entry.rooms[index].clients > 0 {
            return false;
        }
        let slot = entry.rooms.swap_remove(index).slot;
        let users = &mut self.rooms.get_mut(room).users;
        users.swap_remove(slot as usize);
        if let Some(&moved) = users.get(slot as usize) {
            self.users.get_mut(moved).place(room).expect("a member has a place").slot = slot;
        }
        true
    }

    /// Tells a small room that a user came or went. A user that went still counts for the size.
    pub(super) fn announce(&mut self, user: UserKey, room: RoomKey, kind: Announcement, effects: &mut Vec<Effect>) {
        let others = usize::from(kind == Announcement::Leave);
        if self.rooms.get(room).users.len() + others <= limits::PRESENCE_USERS_MAX {
            let (user, serial) = (self.users.get(user).name.clone(), self.next_serial());
            effects.push(Effect::Announce { room, user, kind, serial });
        }
    }

    /// Tells every small room of a user that its status changed; large rooms learn it from the next list.
    pub(super) fn tell_status(&self, now: Now, user: UserKey, status: &'static str, effects: &mut Vec<Effect>) {
        let user = self.users.get(user);
        let last_seen = if status == "offline" { user.last_seen_ms() } else { now.unix_ms };
        for place in user.rooms.iter() {
            let room = self.rooms.get(place.room);
            if room.users.len() <= limits::PRESENCE_USERS_MAX {
                let event = Event::Status { room: &room.name, user: user.name.as_str(), status, last_seen };
                effects.push(Effect::Broadcast { room: place.room, except: None, json: event.to_vec(None) });
            }
        }
    }

    /// Sends a room's member list to one client.
    pub(super) fn send_presence(&self, client: ClientKey, room: RoomKey, effects: &mut Vec<Effect>) {
        effects.push(Effect::Send { client, json: self.presence(room, limits::PRESENCE_USERS_MAX) });
    }

    /// The members changed: tell them now, or when the last time is a second ago.
    pub(super) fn touch_presence(
        &mut self,
        now: Now,
        key: RoomKey,
        except: Option<ClientKey>,
        effects: &mut Vec<Effect>,
    ) {
        let room = self.rooms.get_mut(key);
        if room.presence_pending || room.users.is_empty() {
            return;
        }
        if now.monotonic_ms < room.presence_after_ms {
            room.presence_pending = true;
            effects.push(Effect::Timer { at_ms: room.presence_after_ms, timer: Timer::Presence(key) });
            return;
        }
        room.presence_after_ms = now.monotonic_ms + limits::PRESENCE_COUNT_INTERVAL_MS;
        if except.is_none() || room.users.len() > 1 {
            let listed = if room.users.len() > limits::PRESENCE_USERS_MAX { 0 } else { room.users.len() };
            let json = self.presence(key, listed);
            effects.push(Effect::Broadcast { room: key, except, json });
        }
    }

    pub(super) fn presence_due(&mut self, now: Now, room: RoomKey, effects: &mut Vec<Effect>) {
        // The room may be gone, or another by now: then it has nothing pending.
        if let Some(entry) = self.rooms.try_get_mut(room)
            && entry.presence_pending
            && entry.presence_after_ms <= now.monotonic_ms
        {
            entry.presence_pending = false;
            self.touch_presence(now, room, None, effects);
        }
    }

    fn presence(&self, room: RoomKey, listed: usize) -> Vec<u8> {
        let room = self.rooms.get(room);
        let member = |&user: &UserKey| {
            let user = self.users.get(user);
            Member { user: user.name.as_str(), status: user.status(), last_seen: user.last_seen_ms() }
        };
        let users: SmallVec<[Member<'_>; 8]> = room.users.iter().take(listed).map(member).collect();
        let (count, more) = (room.users.len(), room.users.len() > users.len());
        Event::Presence { room: &room.name, users: &users, count, more }.to_vec(None)
    }

    pub(super) fn close_if_unused(&mut self, room: RoomKey, effects: &mut Vec<Effect>) {
        let entry = self.rooms.get(room);
        if entry.users.is_empty() && entry.in_flight == 0 {
            self.rooms.remove(room);
            effects.push(Effect::CloseRoom { room });
        }
    }
}

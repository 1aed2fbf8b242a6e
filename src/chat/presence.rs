//! Who is in a room, and who is told about it when.
//!
//! Owns: entering and leaving, announcements, member lists. Must never know: how a frame travels.
//!
//! Small rooms hear of everybody who comes and goes; in rooms of more than [`limits::PRESENCE_USERS_MAX`] members
//! only the count is told. Either way the list or count goes out at most once a second and room, the first at once, so
//! that a burst of joins costs the room O(1) each.

use smallvec::SmallVec;

use super::{Chat, ClientKey, Effect, RoomKey, Step, Timer, clients::Membership, users::Place, users::UserKey};
use crate::{
    clock::Now,
    few::push_tightly,
    limits,
    protocol::{Announcement, Event, Member},
};

/// How a user is, as a function of its connections, what it last said of itself, and the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// Connected.
    Online,
    /// Connected, and says that it is away.
    Away,
    /// Not connected, but may come back until then and has been here all the time (on the monotonic clock).
    Held { until_ms: u64 },
    /// Neither.
    Offline,
}

/// `connections`: for each device whether it is connected, and if not until when it may come back.
pub(super) fn standing(connections: impl IntoIterator<Item = (bool, u64)>, is_away: bool, now_ms: u64) -> Standing {
    let mut until_ms = 0;
    for (is_connected, held_until_ms) in connections {
        if is_connected {
            return if is_away { Standing::Away } else { Standing::Online };
        }
        until_ms = until_ms.max(held_until_ms);
    }
    if until_ms > now_ms { Standing::Held { until_ms } } else { Standing::Offline }
}

impl Chat {
    /// How a user is.
    pub(super) fn standing(&self, user: UserKey, now: Now) -> Standing {
        let user = self.users.get(user);
        let clients = user.clients.iter().map(|&client| self.clients.get(client));
        standing(clients.map(|client| (client.link().is_some(), client.expires_ms)), user.is_away(), now.monotonic_ms)
    }

    /// Makes a client a member, or a held membership a subscription again.
    pub(super) fn enter(&mut self, key: ClientKey, room: RoomKey, step: &mut Step<'_>) {
        let client = self.clients.get_mut(key);
        if let Some(membership) = client.membership(room) {
            membership.subscribed = true;
            return self.send_presence(key, room, step);
        }
        client.rooms.push(Membership { room, subscribed: true });
        let user = client.user;
        self.enter_as(user, room, Some(key), step);
    }

    /// Counts a client of a user in; `newcomer` is shown who is there first.
    pub(super) fn enter_as(&mut self, user: UserKey, room: RoomKey, newcomer: Option<ClientKey>, step: &mut Step<'_>) {
        let is_new = self.add_to_room(user, room);
        if let Some(key) = newcomer {
            self.send_presence(key, room, step);
        }
        if is_new {
            self.announce(user, room, Announcement::Join, step);
            self.touch_presence(room, newcomer, step);
        }
    }

    /// Ends a client's membership; the user leaves the room with the last of its clients.
    pub(super) fn exit(&mut self, key: ClientKey, room: RoomKey, step: &mut Step<'_>) {
        let client = self.clients.get_mut(key);
        let user = client.user;
        let place = client.rooms.iter().position(|membership| membership.room == room).expect("exit follows enter");
        let membership = client.rooms.swap_remove(place);
        if membership.subscribed && client.link().is_some() {
            step.push(Effect::Unsubscribe { client: key, room });
        }
        self.leave_as(user, room, step);
        self.close_if_unused(room, step);
    }

    /// Counts a client of a user out.
    pub(super) fn leave_as(&mut self, user: UserKey, room: RoomKey, step: &mut Step<'_>) {
        let is_last = self.users.get_mut(user).place(room).is_some_and(|place| place.clients == 1);
        if is_last {
            self.end_typing(user, room, step);
        }
        if self.take_from_room(user, room) {
            self.announce(user, room, Announcement::Leave, step);
            self.touch_presence(room, None, step);
        }
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
    pub(super) fn announce(&mut self, user: UserKey, room: RoomKey, kind: Announcement, step: &mut Step<'_>) {
        let others = usize::from(kind == Announcement::Leave);
        if self.rooms.get(room).users.len() + others <= limits::PRESENCE_USERS_MAX {
            let (user, serial) = (self.users.get(user).name.clone(), self.next_serial());
            step.push(Effect::Announce { room, user, kind, serial });
        }
    }

    /// Tells every small room of a user that its status changed; large rooms learn it from the next list.
    pub(super) fn tell_status(&self, user: UserKey, status: &'static str, step: &mut Step<'_>) {
        let user = self.users.get(user);
        let last_seen = if status == "offline" { user.last_seen_ms() } else { step.now.unix_ms };
        for place in user.rooms.iter() {
            let room = self.rooms.get(place.room);
            if room.users.len() <= limits::PRESENCE_USERS_MAX {
                let event = Event::Status { room: &room.name, user: user.name.as_str(), status, last_seen };
                step.push(Effect::Broadcast { room: place.room, except: None, json: event.to_vec(None) });
            }
        }
    }

    /// Sends a room's member list to one client.
    pub(super) fn send_presence(&self, client: ClientKey, room: RoomKey, step: &mut Step<'_>) {
        step.push(Effect::Send { client, json: self.presence(room, limits::PRESENCE_USERS_MAX) });
    }

    /// Sends the member lists of all rooms of a client, which may have missed some.
    pub(super) fn show_rooms(&mut self, client: ClientKey, step: &mut Step<'_>) {
        let rooms = self.clients.get(client).rooms.iter().filter(|membership| membership.subscribed);
        rooms.for_each(|membership| self.send_presence(client, membership.room, step));
    }

    /// The members changed: tell them now, or when the last time is a second ago.
    pub(super) fn touch_presence(&mut self, key: RoomKey, except: Option<ClientKey>, step: &mut Step<'_>) {
        let room = self.rooms.get_mut(key);
        if room.presence_pending || room.users.is_empty() {
            return;
        }
        let now = step.now;
        if now.monotonic_ms < room.presence_after_ms {
            room.presence_pending = true;
            step.push(Effect::Timer { at_ms: room.presence_after_ms, timer: Timer::Presence(key) });
            return;
        }
        room.presence_after_ms = now.monotonic_ms + limits::PRESENCE_COUNT_INTERVAL_MS;
        if except.is_none() || room.users.len() > 1 {
            let listed = if room.users.len() > limits::PRESENCE_USERS_MAX { 0 } else { room.users.len() };
            let json = self.presence(key, listed);
            step.push(Effect::Broadcast { room: key, except, json });
        }
    }

    pub(super) fn presence_due(&mut self, room: RoomKey, step: &mut Step<'_>) {
        // The room may be gone, or another by now: then it has nothing pending.
        if let Some(entry) = self.rooms.try_get_mut(room)
            && entry.presence_pending
            && entry.presence_after_ms <= step.now.monotonic_ms
        {
            entry.presence_pending = false;
            self.touch_presence(room, None, step);
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

    pub(super) fn close_if_unused(&mut self, room: RoomKey, step: &mut Step<'_>) {
        let entry = self.rooms.get(room);
        if entry.is_unused() {
            self.rooms.remove(room);
            step.push(Effect::CloseRoom { room });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn standing_follows_from_connections_status_and_time() {
        let (here, held) = (|until_ms| (true, until_ms), |until_ms| (false, until_ms));
        for (connections, is_away, now_ms, expected) in [
            (vec![], false, 5, Standing::Offline),
            (vec![here(0)], false, 5, Standing::Online),
            (vec![here(0)], true, 5, Standing::Away),
            (vec![held(9), here(0)], false, 5, Standing::Online),
            (vec![held(9), here(0)], true, 5, Standing::Away),
            (vec![held(9)], false, 8, Standing::Held { until_ms: 9 }),
            (vec![held(9)], true, 8, Standing::Held { until_ms: 9 }),
            (vec![held(7), held(9)], false, 8, Standing::Held { until_ms: 9 }),
            (vec![held(9)], false, 9, Standing::Offline),
            (vec![held(7), held(9)], true, 50, Standing::Offline),
        ] {
            assert_eq!(standing(connections.clone(), is_away, now_ms), expected, "{connections:?} {is_away} {now_ms}");
        }
    }
}

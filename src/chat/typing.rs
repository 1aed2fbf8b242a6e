//! Who is typing where.
//!
//! Owns: what the members of a room were last told of each typist, and when they may be told again. Must never know: what
//! is typed.
//!
//! At most once a second something goes out for a typist in a room: what is said in between waits, and what was said last
//! counts. A typist who falls silent is forgotten after six seconds, and one who sends the message has stopped.

use std::collections::{HashMap, hash_map::Entry};

use super::{Chat, ClientKey, Effect, RoomKey, Step, Timer, Typist, rights::Outcome, users::UserKey};
use crate::{limits, protocol::Event};

/// Invariant: who is listed is a member of the room, and has a timer.
#[derive(Debug, Default)]
pub(super) struct Typing {
    typists: HashMap<(UserKey, RoomKey), State>,
}

impl Typing {
    /// Whether nobody types.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.typists.is_empty()
    }
}

/// All times on the monotonic clock.
#[derive(Clone, Copy, Debug, Default)]
struct State {
    /// What the typist said last.
    is_typing: bool,
    /// What the members were told last.
    told: bool,
    /// There is something to tell them.
    is_news: bool,
    may_tell_at_ms: u64,
    /// When silence counts as having stopped.
    silent_at_ms: u64,
    /// When the next timer fires.
    timer_at_ms: u64,
}

impl State {
    /// When there is something to do.
    fn next_ms(&self) -> u64 {
        if self.is_news || !self.is_typing { self.may_tell_at_ms } else { self.silent_at_ms }
    }
}

impl Chat {
    pub(super) fn typing(
        &mut self,
        client: ClientKey,
        id: Option<&str>,
        name: &str,
        is_typing: bool,
        step: &mut Step<'_>,
    ) -> Outcome {
        let room = self.joined(client, name)?;
        let user = self.clients.get(client).user;
        let now_ms = step.now.monotonic_ms;
        let state = match self.typing.typists.entry((user, room)) {
            Entry::Occupied(entry) => Some(entry.into_mut()),
            Entry::Vacant(entry) => is_typing.then(|| entry.insert(State::default())),
        };
        if let Some(state) = state {
            state.is_typing = is_typing;
            state.is_news = is_typing || state.told;
            state.silent_at_ms = now_ms + limits::TYPING_MS;
            self.settle_typing(user, room, step);
        }
        self.ack(client, id, Some(name), step);
        Ok(())
    }

    /// Tells the members what is due, and sees to the next time.
    fn settle_typing(&mut self, user: UserKey, room: RoomKey, step: &mut Step<'_>) {
        let now_ms = step.now.monotonic_ms;
        let Some(state) = self.typing.typists.get_mut(&(user, room)) else { return };
        if state.is_typing && state.silent_at_ms <= now_ms {
            (state.is_typing, state.is_news) = (false, state.told);
        }
        if state.is_news && state.may_tell_at_ms <= now_ms {
            (state.is_news, state.told) = (false, state.is_typing);
            state.may_tell_at_ms = now_ms + limits::TYPING_INTERVAL_MS;
            let is_typing = state.is_typing;
            self.tell_typing(user, room, is_typing, step);
        }
        let Some(state) = self.typing.typists.get_mut(&(user, room)) else { return };
        if !state.is_typing && !state.is_news && state.may_tell_at_ms <= now_ms {
            self.typing.typists.remove(&(user, room));
            return;
        }
        let at_ms = state.next_ms();
        if state.timer_at_ms <= now_ms || at_ms < state.timer_at_ms {
            state.timer_at_ms = at_ms;
            step.push(Effect::Timer { at_ms, timer: Timer::Typing(Typist(user), room) });
        }
    }

    pub(super) fn typing_due(&mut self, user: UserKey, room: RoomKey, step: &mut Step<'_>) {
        // A timer that was overtaken by an earlier one finds a later one set, or nobody.
        let state = self.typing.typists.get(&(user, room));
        if state.is_some_and(|state| state.timer_at_ms <= step.now.monotonic_ms) {
            self.settle_typing(user, room, step);
        }
    }

    /// A user sends what was typed: the members are told at once, so that nobody shows both.
    pub(super) fn stop_typing(&mut self, user: UserKey, room: RoomKey, step: &mut Step<'_>) {
        let Some(state) = self.typing.typists.get_mut(&(user, room)) else { return };
        let told = std::mem::replace(&mut state.told, false);
        (state.is_typing, state.is_news) = (false, false);
        if told {
            self.tell_typing(user, room, false, step);
        }
    }

    /// A user leaves the room, or its name.
    pub(super) fn end_typing(&mut self, user: UserKey, room: RoomKey, step: &mut Step<'_>) {
        self.stop_typing(user, room, step);
        self.typing.typists.remove(&(user, room));
    }

    fn tell_typing(&self, user: UserKey, room: RoomKey, is_typing: bool, step: &mut Step<'_>) {
        let (entry, name) = (self.users.get(user), &self.rooms.get(room).name);
        let json = Event::Typing { room: name, user: entry.name.as_str(), is_typing }.to_vec(None);
        // To everybody but the typist; of one with several devices, the others may show it.
        let except = match *entry.clients {
            [only] => Some(only),
            _ => None,
        };
        step.push(Effect::Broadcast { room, except, json });
    }
}

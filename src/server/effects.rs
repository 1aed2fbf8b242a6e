//! Effects of the core and events of the feed, carried out.
//!
//! Owns: the translation between clients, connections and subscribers. Must never know: rules.

use super::{Server, ServerError, Ticket, links};
use crate::{
    chat::{ClientKey, Effect, Input, RoomKey},
    clock::Now,
    feed::{Draft, FeedEvent, Rejection, RoomId, Sink, Start, SubscriberId},
    limits,
    log::LogError,
    net::{ConnId, Frame, Reactor},
    protocol::{ErrorCode, Event, HistoryRange, MessageIdentity, Serial, close},
};

/// The network as the feed sees it.
pub(super) struct Outgoing<'a> {
    pub net: &'a mut Reactor,
}

impl Sink for Outgoing<'_> {
    fn accepts(&self, subscriber: SubscriberId) -> bool {
        self.net.queued_bytes(links::connection(subscriber)) < limits::OUTBOX_LOW_WATER_BYTES
    }

    fn is_blocked(&self, subscriber: SubscriberId) -> bool {
        self.net.is_blocked(links::connection(subscriber))
    }

    fn push(&mut self, subscriber: SubscriberId, frame: &Frame) {
        self.net.push(links::connection(subscriber), frame);
    }
}

fn room_id(room: RoomKey) -> RoomId {
    RoomId(room.to_bits())
}

impl Server {
    pub(super) fn apply(&mut self, now: Now, effect: Effect) -> Result<(), ServerError> {
        match effect {
            Effect::Attach { link, client } => self.links.join(ConnId::from_bits(link), client),
            Effect::Refuse { link, code, reason } => self.net.close(ConnId::from_bits(link), code, reason),
            Effect::Send { client, json } => self.send(client, &json),
            Effect::Broadcast { room, except, json } => self.broadcast(room_id(room), except, &json),
            Effect::Announce { room, user, kind, serial } => {
                let room = room_id(room);
                let sequence = self.feed.position(room).map_or(0, |position| position.head);
                let serial = Serial { timestamp: now.unix_ms, serial };
                let event = Event::announcement(self.feed.name(room), user.as_str(), kind, sequence, serial);
                self.broadcast(room, None, &event.to_vec(None));
            }
            Effect::OpenRoom { room, name } => self.feed.open(room_id(room), name, self.entropy.u64()?, now),
            Effect::CloseRoom { room } => self.feed.close(room_id(room), now),
            Effect::Subscribe { client, id, room, since, epoch } => {
                let start = match since {
                    None => Start::Recent,
                    Some(since) => Start::After { since, epoch: epoch.as_deref() },
                };
                self.subscribe(client, id.as_deref(), room_id(room), start);
            }
            Effect::Unsubscribe { client, room } => {
                if let Some(conn) = self.links.connection(client) {
                    self.feed.unsubscribe(links::subscriber(conn), room_id(room));
                }
            }
            Effect::Append { client, id, room, user, content, nonce } => {
                let draft = Draft { user: user.as_str(), content: &content, nonce: nonce.as_deref() };
                self.feed.append(room_id(room), &draft, now, Ticket { client, id }, &mut self.feed_events);
            }
            Effect::History { client, room, range } => self.history(client, room_id(room), range),
            Effect::Timer { at_ms, timer } => self.timers.insert(at_ms, timer),
        }
        Ok(())
    }

    pub(super) fn on_feed(&mut self, now: Now, event: FeedEvent<Ticket>) -> Result<(), ServerError> {
        match event {
            FeedEvent::Stored { ticket: Ticket { id: None, .. }, .. } => {}
            FeedEvent::Stored { ticket, room, sequence, timestamp, duplicate } => {
                let epoch = self.feed.epoch_of(room, sequence).expect("a room that stores has a log").to_string();
                let id = MessageIdentity { epoch: epoch.as_str(), sequence };
                let event = Event::MessageAck { room: self.feed.name(room), sequence, id, timestamp, duplicate };
                let json = event.to_vec(ticket.id.as_deref());
                self.send(ticket.client, &json);
            }
            FeedEvent::Rejected { ticket, why } => self.reject(ticket.client, ticket.id.as_deref(), why),
            FeedEvent::Settled { room, count } => {
                self.input(now, Input::Settled { room: RoomKey::from_bits(room.0), count })?;
            }
            FeedEvent::ReadOnly { name } => {
                log::error!("room {name:?}: the log failed; it takes no messages until the server is restarted");
            }
        }
        Ok(())
    }

    /// Queues a reply or a private message. A client that is away misses it; one that lets them pile up is closed.
    fn send(&mut self, client: ClientKey, json: &[u8]) {
        self.send_frame(client, &Frame::text(json));
    }

    fn send_frame(&mut self, client: ClientKey, frame: &Frame) {
        let Some(conn) = self.links.connection(client) else { return };
        if self.net.queued_bytes(conn) > limits::OUTBOX_BYTES_MAX {
            self.net.close(conn, close::TRY_AGAIN_LATER, "Too much that was not read");
        } else {
            self.net.push(conn, frame);
        }
    }

    /// Queues an ephemeral event for everybody in a room who is not slow.
    fn broadcast(&mut self, room: RoomId, except: Option<ClientKey>, json: &[u8]) {
        let except = except.and_then(|client| self.links.connection(client)).map(links::subscriber);
        let frame = Frame::text(json);
        let mut sink = Outgoing { net: &mut self.net };
        for subscriber in self.feed.subscribers(room) {
            if Some(subscriber) != except && sink.accepts(subscriber) {
                sink.push(subscriber, &frame);
            }
        }
    }

    fn subscribe(&mut self, client: ClientKey, id: Option<&str>, room: RoomId, start: Start<'_>) {
        let Some(conn) = self.links.connection(client) else { return };
        match self.feed.subscribe(links::subscriber(conn), room, start) {
            Err(why) => self.reject(client, id, Rejection::Log(why)),
            Ok(position) if id.is_some() => {
                let epoch = position.epoch.to_string();
                let event = Event::JoinAck { room: self.feed.name(room), epoch: &epoch, head: position.head };
                let json = event.to_vec(id);
                self.send(client, &json);
            }
            Ok(_) => {}
        }
    }

    fn history(&mut self, client: ClientKey, room: RoomId, range: HistoryRange) {
        match self.feed.history(room, range) {
            Ok(frame) => self.send_frame(client, &frame),
            Err(why) => self.reject(client, None, Rejection::Log(why)),
        }
    }

    fn reject(&mut self, client: ClientKey, id: Option<&str>, why: Rejection) {
        let (code, message) = match why {
            Rejection::NonceConflict => (ErrorCode::NonceConflict, "This nonce was used with other content"),
            Rejection::NoSuchMessage | Rejection::Log(LogError::NoSuchRecord) => {
                (ErrorCode::BadRequest, "There is no such message")
            }
            Rejection::NotAuthor => (ErrorCode::BadRequest, "This message cannot be changed by you, or no more"),
            Rejection::Log(LogError::TooLong) => (ErrorCode::TooLong, "The message is too long"),
            Rejection::Log(LogError::Full) => (ErrorCode::StorageUnavailable, "There is no space for messages"),
            Rejection::Log(LogError::Unavailable | LogError::Reserved) => {
                (ErrorCode::StorageUnavailable, "The room's log is not available")
            }
        };
        let json = Event::Error { code, message, retry_after_ms: None }.to_vec(id);
        self.send(client, &json);
    }
}

//! Effects of the core and events of the feed, carried out.
//!
//! Owns: the translation between clients, connections and subscribers. Must never know: rules.

use super::{Server, ServerError, Ticket, Told, World, links, people::PeopleTicket, streams, streams::Streams};
use crate::{
    accounts::Change,
    chat::{ClientKey, Effect, Input, Recipient, RoomKey},
    clock::Now,
    feed::{Amendment, Author, Draft, FeedEvent, Rejection, RoomId, Sink, Start, SubscriberId},
    limits,
    log::LogError,
    net::{ConnId, Frame, Port, Reactor},
    protocol::{ErrorCode, Event, HistoryRange, MessageIdentity, Serial, close},
};

/// The network as the feed sees it.
pub(super) struct Outgoing<'a, P: Port> {
    net: &'a mut Reactor<P>,
    streams: &'a Streams,
    /// The frame that was written as events last, and those events: most readers of a room are given the same.
    last: Option<(Frame, Frame)>,
}

impl<'a, P: Port> Outgoing<'a, P> {
    pub fn new(net: &'a mut Reactor<P>, streams: &'a Streams) -> Self {
        Self { net, streams, last: None }
    }

    fn events(&mut self, frame: &Frame) -> Frame {
        match &self.last {
            Some((made_of, events)) if made_of.is_same(frame) => events.clone(),
            _ => {
                let events = streams::events(frame);
                self.last = Some((frame.clone(), events.clone()));
                events
            }
        }
    }
}

impl<P: Port> Sink for Outgoing<'_, P> {
    fn accepts(&self, subscriber: SubscriberId) -> bool {
        has_room(self.net, links::connection(subscriber))
    }

    fn is_blocked(&self, subscriber: SubscriberId) -> bool {
        self.net.is_blocked(links::connection(subscriber))
    }

    fn push(&mut self, subscriber: SubscriberId, frame: &Frame) {
        let conn = links::connection(subscriber);
        if self.streams.contains(conn) {
            let events = self.events(frame);
            self.net.push(conn, &events);
        } else {
            self.net.push(conn, frame);
        }
    }
}

/// Whether so little is queued for a connection that it can be given more.
pub(super) fn has_room<P: Port>(net: &Reactor<P>, conn: ConnId) -> bool {
    net.queued_bytes(conn) < limits::OUTBOX_LOW_WATER_BYTES
}

pub(super) fn room_id(room: RoomKey) -> RoomId {
    RoomId(room.to_bits())
}

impl<W: World> Server<W> {
    pub(super) fn apply(&mut self, now: Now, effect: Effect) -> Result<(), ServerError> {
        match effect {
            Effect::Attach { link, client } => self.links.join(ConnId::from_bits(link), client),
            Effect::Refuse { link, code, reason } => self.net.close(ConnId::from_bits(link), code, &reason),
            Effect::Deny { link, code, message, retry_after_ms } => {
                self.deny(ConnId::from_bits(link), code, &message, retry_after_ms);
            }
            Effect::Send { client, json } => self.send(client, &json),
            Effect::Broadcast { room, except, json } => self.broadcast(room_id(room), except, &json),
            Effect::Announce { room, user, kind, serial } => {
                let room = room_id(room);
                let sequence = self.feed.position(room).map_or(0, |position| position.head);
                let serial = Serial { timestamp: now.unix_ms, serial };
                let event = Event::announcement(self.feed.name(room), user.as_str(), kind, sequence, serial);
                self.broadcast(room, None, &event.to_vec(None));
            }
            Effect::OpenRoom { room, name } => {
                let entropy = self.world.u64()?;
                let open = |server: &mut Self| server.feed.open(room_id(room), name, entropy, now);
                self.timed("opening", room_id(room), open);
            }
            Effect::CloseRoom { room } => self.feed.close(room_id(room), now),
            Effect::Subscribe { client, id, room, since, epoch } => {
                let start = start(since, epoch.as_deref(), Start::Recent);
                let room = room_id(room);
                self.timed("joining", room, |server| server.subscribe(client, id.as_deref(), room, start));
            }
            Effect::Unsubscribe { client, room } => {
                if let Some(conn) = self.links.connection(client) {
                    self.feed.unsubscribe(links::subscriber(conn), room_id(room));
                }
            }
            Effect::Follow { link, room, since, epoch } => {
                let start = start(since, epoch.as_deref(), Start::Head);
                let (conn, room) = (ConnId::from_bits(link), room_id(room));
                self.timed("following", room, |server| server.follow(now, conn, room, start))?;
            }
            Effect::History { to, room, range } => {
                let room = room_id(room);
                self.timed("history of", room, |server| server.history(to, room, range));
            }
            Effect::Timer { at_ms, timer } => self.timers.insert(at_ms, timer),
            Effect::Append { .. } => self.write(now, effect),
            Effect::Amend { room, .. } => self.timed("a change in", room_id(room), |server| server.write(now, effect)),
            Effect::Converse { pair: (account, with) } => {
                self.submit(now, Change::DirectBegun { account, with }, PeopleTicket::Nobody);
            }
            Effect::Ban { to, by, user, links, until_ms, reason } => {
                self.ban(now, (to, by.as_str()), &user, &links, (until_ms, &reason));
            }
            Effect::Unban { to, whom } => self.unban(now, to, &whom),
            Effect::Offline { user, why } => log::debug!("{:?} is offline: {why:?}", user.as_str()),
        }
        Ok(())
    }

    /// Does what may wait for a room's log, and remembers how long that took.
    fn timed<R>(&mut self, what: &str, room: RoomId, step: impl FnOnce(&mut Self) -> R) -> R {
        self.timed_as(step, |server| format!("{what} {:?}", server.feed.name(room)))
    }

    /// What goes into a room's log.
    fn write(&mut self, now: Now, effect: Effect) {
        match effect {
            Effect::Append { to, room, user, content, nonce, pair } => {
                let draft = Draft { user: user.as_str(), content: &content, nonce: nonce.as_deref() };
                let told = pair.map(|pair| Told::new(pair, &user, Some(&content), nonce.as_deref(), None));
                self.feed.append(room_id(room), &draft, now, Ticket { to, told }, &mut self.feed_events);
            }
            Effect::Amend { to, room, user, target, content, nonce, own_since_ms, pair } => {
                let author = own_since_ms.map(|since_ms| Author { user: user.as_str(), since_ms });
                let (content, nonce) = (content.as_deref(), nonce.as_deref());
                let amendment = Amendment { user: user.as_str(), target, content, nonce, author };
                let told = pair.map(|pair| Told::new(pair, &user, content, nonce, Some(target)));
                self.feed.amend(room_id(room), &amendment, now, Ticket { to, told }, &mut self.feed_events);
            }
            _ => unreachable!("nothing else goes into a room's log"),
        }
    }

    pub(super) fn on_feed(&mut self, now: Now, event: FeedEvent<Ticket>) -> Result<(), ServerError> {
        match event {
            FeedEvent::Stored { ticket, room, sequence, timestamp, duplicate } => {
                self.meters.stored += u64::from(!duplicate);
                let epoch = self.feed.epoch_of(room, sequence).expect("a room that stores has a log").to_string();
                let id = MessageIdentity { epoch: epoch.as_str(), sequence };
                match &ticket.to {
                    Recipient::Client { id: None, .. } => {}
                    Recipient::Client { client, id: command } => {
                        let event =
                            Event::MessageAck { room: self.feed.name(room), sequence, id, timestamp, duplicate };
                        let json = event.to_vec(command.as_deref());
                        self.send(*client, &json);
                    }
                    Recipient::Request(link) => self.posted(ConnId::from_bits(*link), room, sequence, duplicate),
                }
                if let Some(told) = ticket.told.filter(|_| !duplicate) {
                    self.tell_both(now, &told, room, (sequence, timestamp, &id.to_string()))?;
                }
            }
            FeedEvent::Rejected { ticket, why } => self.reject(&ticket.to, why),
            FeedEvent::Settled { room, count } => {
                self.input(now, Input::Settled { room: RoomKey::from_bits(room.0), count })?;
            }
            FeedEvent::ReadOnly { name } => {
                log::error!("room {name:?}: the log failed; it takes no messages until the server is restarted");
            }
        }
        Ok(())
    }

    /// A message of a direct conversation goes to both.
    fn tell_both(
        &mut self,
        now: Now,
        told: &Told,
        room: RoomId,
        (sequence, timestamp, id): (u64, u64, &str),
    ) -> Result<(), ServerError> {
        let directory = &self.accounts.tables().directory;
        let to = directory.get(told.pair.1).map_or("", |account| account.name.as_str());
        let event = Event::Private {
            id,
            from: &told.from,
            to,
            content: told.content.as_deref().unwrap_or_default(),
            timestamp,
            room: Some(self.feed.name(room)),
            sequence: Some(sequence),
            nonce: told.nonce.as_deref(),
            kind: told.target.map(|_| if told.content.is_some() { "edit" } else { "delete" }),
            target: told.target,
        };
        let json = event.to_vec(None);
        self.input(now, Input::Told { pair: told.pair, room: RoomKey::from_bits(room.0), json: &json })
    }

    /// Queues a reply or a private message. A client that is away misses it; one that lets them pile up is closed.
    pub(super) fn send(&mut self, client: ClientKey, json: &[u8]) {
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

    /// Queues an ephemeral event for everybody in a room who is not slow. Event streams have messages only.
    fn broadcast(&mut self, room: RoomId, except: Option<ClientKey>, json: &[u8]) {
        let except = except.and_then(|client| self.links.connection(client)).map(links::subscriber);
        let frame = Frame::text(json);
        let mut sink = Outgoing::new(&mut self.net, &self.streams);
        for subscriber in self.feed.subscribers(room) {
            let is_stream = self.streams.contains(links::connection(subscriber));
            if Some(subscriber) == except || is_stream {
                continue;
            }
            if sink.accepts(subscriber) {
                sink.push(subscriber, &frame);
            } else {
                self.missed.note(links::connection(subscriber));
            }
        }
    }

    fn subscribe(&mut self, client: ClientKey, id: Option<&str>, room: RoomId, start: Start<'_>) {
        let Some(conn) = self.links.connection(client) else { return };
        match self.feed.subscribe(links::subscriber(conn), room, start) {
            Err(why) => self.reject(&Recipient::client(client, id), Rejection::Log(why)),
            Ok(position) if id.is_some() => {
                let epoch = position.epoch.to_string();
                let event = Event::JoinAck { room: self.feed.name(room), epoch: &epoch, head: position.head };
                let json = event.to_vec(id);
                self.send(client, &json);
            }
            Ok(_) => {}
        }
    }

    /// Makes a request's connection an event stream.
    fn follow(&mut self, now: Now, conn: ConnId, room: RoomId, start: Start<'_>) -> Result<(), ServerError> {
        match self.feed.follow(links::subscriber(conn), room, start) {
            Err(why) => {
                self.unreadable(conn, why);
                self.input(now, Input::Hangup { link: conn.to_bits() })?;
            }
            Ok((position, next, reset)) => {
                self.start_stream(conn);
                if let Some(why) = reset {
                    self.net.push(conn, &streams::reset(why, &position.epoch.to_string(), next));
                }
            }
        }
        Ok(())
    }

    fn history(&mut self, to: Recipient, room: RoomId, range: HistoryRange) {
        match to {
            Recipient::Request(link) => self.answer_history(ConnId::from_bits(link), room, range),
            Recipient::Client { client, .. } => match self.feed.history(room, range) {
                Ok(frame) => self.send_frame(client, &frame),
                Err(why) => self.reject(&to, Rejection::Log(why)),
            },
        }
    }

    pub(super) fn reject(&mut self, to: &Recipient, why: Rejection) {
        let (code, message) = match why {
            Rejection::NonceConflict => (ErrorCode::NonceConflict, "This nonce was used with other content"),
            Rejection::NoSuchMessage | Rejection::Log(LogError::NoSuchRecord) => {
                (ErrorCode::NoSuchMessage, "There is no such message that can be changed")
            }
            Rejection::TooManyEdits => (ErrorCode::Forbidden, "This message was edited too often"),
            Rejection::NotAuthor => (ErrorCode::Forbidden, "This message cannot be changed by you, or no more"),
            Rejection::Log(LogError::TooLong) => (ErrorCode::TooLong, "The message is too long"),
            Rejection::Log(LogError::Full) => (ErrorCode::StorageUnavailable, "There is no space for messages"),
            Rejection::Log(LogError::Unavailable | LogError::Reserved) => {
                (ErrorCode::StorageUnavailable, "The room's log is not available")
            }
        };
        self.refuse(to, code, message);
    }

    /// Tells whoever asked for something of a room's log that it cannot be had.
    pub(super) fn unreadable(&mut self, conn: ConnId, why: LogError) {
        self.reject(&Recipient::Request(conn.to_bits()), Rejection::Log(why));
    }

    /// Tells whoever waits that something is not done.
    pub(super) fn refuse(&mut self, to: &Recipient, code: ErrorCode, message: &str) {
        match to {
            Recipient::Request(link) => self.deny(ConnId::from_bits(*link), code, message, None),
            Recipient::Client { client, id } => {
                self.meters.count_error(code);
                let json = Event::Error { code, message, retry_after_ms: None }.to_vec(id.as_deref());
                self.send(*client, &json);
            }
        }
    }
}

/// Where a cursor is to start; without a position at `otherwise`.
fn start<'a>(since: Option<u64>, epoch: Option<&'a str>, otherwise: Start<'a>) -> Start<'a> {
    since.map_or(otherwise, |since| Start::After { since, epoch })
}

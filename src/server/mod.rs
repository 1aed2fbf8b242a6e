//! The server: one turn after the other, joining network, chat, feed and helper thread.
//!
//! Owns: the loop, the clock reading, start and end of the process. Must never know: what a command means (chat), how a
//! log is kept (log), how bytes travel (net). It routes; what needs a decision is an effect of somebody else's.

mod api;
mod backlog;
mod console;
mod drain;
mod effects;
mod links;
mod meters;
mod missed;
mod pace;
mod people;
mod process;
mod streams;
mod supervisor;
mod work;
mod world;

use std::{io, net::SocketAddr, path::PathBuf, time::Duration};

pub use self::meters::Process;
pub use self::world::{SIGNALS, Stage, System, WAKER, World};
use self::{
    api::Api,
    backlog::Backlog,
    drain::Drain,
    links::Links,
    meters::Meters,
    missed::Missed,
    pace::Part,
    people::PeopleTicket,
    streams::Streams,
    work::{Done, Work},
};
use crate::{
    accounts::{self, AccountEvent, AccountId, Accounts, Attempts, Token, TokenHash},
    chat::{Chat, Effect, Input, Recipient, Settings, Timer},
    clock::Now,
    config::{Config, Fsync},
    feed::{Feed, FeedEvent},
    jobs::{Jobs, Worker},
    limits,
    log::{Options, Retention, Store, StoreError, SyncOutcome, SyncPolicy},
    names::UserName,
    net::{CloseReason, ConnId, Frame, NetConfig, NetEvent, Reactor, TlsError, Wheel, http::Request},
    protocol::{Event, close},
    web::{Answer, Health, Web, problem},
};

/// Why the server could not start, or ended.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken or not ours. Choose another.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// What the operating system said.
        source: io::Error,
    },
    /// TLS cannot be spoken as asked for.
    #[error("TLS: {0}")]
    Tls(#[from] TlsError),
    /// The data folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operating system refused something that the loop cannot do without.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Whom the outcome of an append is for.
#[derive(Debug)]
struct Ticket {
    to: Recipient,
    /// The two to be told, if it is a direct conversation's.
    told: Option<Box<Told>>,
}

/// What the two of a direct conversation are told when it is stored.
#[derive(Debug)]
struct Told {
    /// The author first.
    pair: (AccountId, AccountId),
    from: Box<str>,
    /// `None` if a message was taken away.
    content: Option<Box<str>>,
    nonce: Option<Box<str>>,
    /// The message that was changed, if one was.
    target: Option<u64>,
}

impl Told {
    fn new(
        pair: (AccountId, AccountId),
        from: &UserName,
        content: Option<&str>,
        nonce: Option<&str>,
        target: Option<u64>,
    ) -> Box<Self> {
        let (content, nonce) = (content.map(Box::from), nonce.map(Box::from));
        Box::new(Self { pair, from: from.as_str().into(), content, nonce, target })
    }
}

/// What lets whoever can read the data folder look after the accounts of a running server.
#[derive(Debug)]
struct Operator(TokenHash);

impl Operator {
    fn is(&self, token: &str) -> bool {
        TokenHash::of(token) == Some(self.0)
    }
}

/// Whose a batch is that the jobs thread syncs.
const OF_FEED: u8 = 0;
const OF_ACCOUNTS: u8 = 1;

/// What connections are told at the end.
const SHUTTING_DOWN: &str = "The server is shutting down";

/// Serves until SIGTERM or SIGINT.
///
/// # Errors
/// [`ServerError`] says what to tell the operator.
pub fn run(config: Config) -> Result<(), ServerError> {
    let mut server = Server::start(System::of(&config)?, config)?;
    while !server.turn()? {}
    server.stop()
}

/// What a server holds at a moment, for whoever watches over it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Connections whose sockets are open.
    pub connections: usize,
    /// Users, those that may come back included.
    pub users: usize,
    /// Rooms in use.
    pub rooms: usize,
    /// Requests that wait for their answer, commands that wait behind others, event streams.
    pub waiting: usize,
    /// Most bytes queued for one connection.
    pub queued_bytes_max: usize,
}

/// A server that runs in some world.
pub struct Server<W: World> {
    world: W,
    net: Reactor<W::Port>,
    chat: Chat,
    feed: Feed<W::Disk, Ticket>,
    accounts: Accounts<W::Disk, PeopleTicket>,
    attempts: Attempts,
    operator: Operator,
    jobs: Jobs<W::Disk, W::Helpers>,
    worker: Worker<ConnId, Work, Done, W::Helpers>,
    web: Web,
    api: Api,
    streams: Streams,
    data: PathBuf,
    /// Whether anybody may make an account.
    registration: bool,
    /// Whether one may be here without an account.
    guests: bool,
    /// How long a token is good, in milliseconds.
    token_age_ms: u64,
    /// Descriptors that the process may have.
    descriptors: usize,
    links: Links,
    backlog: Backlog,
    missed: Missed,
    timers: Wheel<Timer>,
    /// The heartbeat of this turn, made when the first connection needs it.
    heartbeat: Option<Frame>,
    /// Cursors that could go on at once: the next turn does not wait.
    is_busy: bool,
    is_stopping: bool,
    /// From the first turn after that.
    drain: Option<Drain>,
    /// When the world wants the loop to have gone round once more, in milliseconds.
    tend_at_ms: Option<u64>,
    meters: Meters,
    net_events: Vec<NetEvent>,
    effects: Vec<Effect>,
    feed_events: Vec<FeedEvent<Ticket>>,
    account_events: Vec<AccountEvent<PeopleTicket>>,
    due: Vec<Timer>,
}

impl<W: World> Server<W> {
    /// Opens the data folder, and listens.
    ///
    /// # Errors
    /// [`ServerError`] says what to tell the operator.
    pub fn start(mut world: W, config: Config) -> Result<Self, ServerError> {
        let now = world.now();
        let store = Store::open(world.disk(), store_options(&config, world.u64()?, now))?;
        let people = accounts::Options { data: config.data.clone(), run_id: world.u64()?, opened: now };
        let accounts = Accounts::open(world.disk(), people)?;
        let descriptors = world.descriptors();
        let (port, helpers) = world.listen(config.address())?;
        let operator = Token::new(world.bytes()?);
        world.announce(&config, &operator)?;
        Ok(Self {
            world,
            net: Reactor::new(port, net_config(&config, descriptors), now.monotonic_ms),
            chat: Chat::new(chat_settings(&config)),
            feed: Feed::new(store, config.linger_ms * 1_000),
            accounts,
            attempts: Attempts::default(),
            operator: Operator(operator.hash()),
            jobs: Jobs::start(&helpers)?,
            worker: Worker::new(helpers, work::run::<W>),
            web: Web::new(config.public, config.allow_origin),
            api: Api::default(),
            streams: Streams::default(),
            data: config.data,
            registration: config.is_registration_open,
            guests: config.allows_guests,
            token_age_ms: config.token_age_ms,
            descriptors,
            links: Links::default(),
            backlog: Backlog::default(),
            missed: Missed::default(),
            timers: Wheel::new(now.monotonic_ms),
            heartbeat: None,
            is_busy: false,
            is_stopping: false,
            drain: None,
            tend_at_ms: Some(now.monotonic_ms),
            meters: Meters::new(now.unix_ms),
            net_events: Vec::new(),
            effects: Vec::new(),
            feed_events: Vec::new(),
            account_events: Vec::new(),
            due: Vec::new(),
        })
    }

    /// One turn: what arrived, what is due, what was said goes to the log, what is durable goes out. True to stop.
    ///
    /// # Errors
    /// The world has failed in something that the loop cannot do without.
    pub fn turn(&mut self) -> Result<bool, ServerError> {
        self.net.wait(self.timeout())?;
        let now = self.world.now();
        self.meters.pace.begin(now.monotonic_us());
        self.heartbeat = None;
        self.tend_at_ms = self.world.tend(now);
        let mut events = std::mem::take(&mut self.net_events);
        self.net.collect(now.monotonic_ms, &mut events);
        self.meters.pace.note_events(events.len());
        self.end_part(Part::Network);
        for event in events.drain(..) {
            self.on_network(now, event)?;
        }
        self.net_events = events;
        self.work_off(now)?;
        self.make_up(now)?;
        self.fire_timers(now)?;
        self.end_tokens(now)?;
        // One change may lead to the next, which is to be written in this turn.
        self.tell_changes(now)?;
        self.end_part(Part::Input);
        // Half of what connections leave is for logs, which give it back as they come.
        let free = self.descriptors.saturating_sub(self.net.open_connections());
        self.feed.set_files_open_max((free / 2).clamp(limits::LOG_FILES_OPEN_MIN, limits::LOG_FILES_OPEN_MAX));
        self.feed.write(now, &mut self.feed_events);
        self.accounts.write(now, &mut self.account_events);
        self.end_part(Part::Log);
        self.publish(now)?;
        self.end_part(Part::Publish);
        self.net.flush(now.monotonic_ms, &mut self.net_events);
        self.end_part(Part::Flush);
        if let Some(line) = self.meters.pace.finish() {
            log::warn!("{line}");
        }
        if self.is_stopping { self.drain(now) } else { Ok(false) }
    }

    fn end_part(&mut self, part: Part) {
        self.meters.pace.end(part, self.world.monotonic_us());
    }

    /// Takes a step that may be long, and remembers how long it took; `what` says which, if it was.
    fn timed_as<R>(&mut self, step: impl FnOnce(&mut Self) -> R, what: impl FnOnce(&Self) -> String) -> R {
        let started_us = self.world.monotonic_us();
        let result = step(self);
        let took_us = self.world.monotonic_us().saturating_sub(started_us);
        if self.meters.pace.is_longest(took_us) {
            let what = what(self);
            self.meters.pace.note_step(took_us, what);
        }
        result
    }

    /// Counts what there is. Looks at every connection.
    pub fn census(&self) -> Census {
        let queued = self.net.connections().map(|conn| self.net.queued_bytes(conn));
        Census {
            connections: self.net.open_connections(),
            users: self.chat.user_count(),
            rooms: self.chat.room_count(),
            waiting: self.api.exchanges.len() + self.backlog.len() + self.chat.listeners().count(),
            queued_bytes_max: queued.max().unwrap_or(0),
        }
    }

    /// How long nothing needs to be done; `None` for as long as nobody says anything.
    fn timeout(&self) -> Option<Duration> {
        if self.is_busy || self.backlog.is_ready() || self.missed.is_pending() || !self.net_events.is_empty() {
            return Some(Duration::ZERO);
        }
        let now = self.world.now();
        let deadlines = [
            self.net.next_deadline_ms(),
            self.timers.next_deadline_ms(),
            self.feed.next_deadline_ms(),
            self.accounts.next_expiry_ms(now),
            self.drain.as_ref().map(Drain::next_ms),
            self.tend_at_ms,
        ];
        let next_us = deadlines.into_iter().flatten().min().map(|next_ms| next_ms.saturating_mul(1_000));
        let next_us = [next_us, self.feed.lingers_until_us()].into_iter().flatten().min()?;
        Some(Duration::from_micros(next_us.saturating_sub(now.monotonic_us())))
    }

    fn on_network(&mut self, now: Now, event: NetEvent) -> Result<(), ServerError> {
        match event {
            NetEvent::Text { conn, text } => self.on_text(now, conn, text)?,
            NetEvent::Request { conn, request } => {
                let what = |_: &Self| format!("{} {:?}", request.method(), request.path());
                self.timed_as(|server| server.on_request(now, conn, &request), what)?;
            }
            NetEvent::Closed { conn, reason } => self.on_closed(now, conn, reason)?,
            NetEvent::Drained { conn } => {
                self.feed.resume(links::subscriber(conn));
                self.backlog.resume(conn);
                self.missed.resume(conn);
            }
            NetEvent::HeartbeatDue { conn } if self.streams.contains(conn) => {
                self.net.push(conn, &streams::heartbeat());
            }
            NetEvent::HeartbeatDue { conn } => {
                let frame = self.heartbeat.get_or_insert_with(|| heartbeat(now));
                self.net.push(conn, frame);
            }
            NetEvent::External { key: WAKER } => {
                while let Some((whose, outcome, since_us)) = self.jobs.try_take() {
                    self.meters.syncs.record(self.world.monotonic_us().saturating_sub(since_us));
                    self.synced(now, whose, outcome);
                }
                while let Some((conn, done)) = self.worker.try_take() {
                    self.on_work_done(now, conn, done)?;
                }
            }
            NetEvent::External { .. } if self.world.is_told_to_stop() => self.be_told_to_stop(),
            NetEvent::External { .. } => {}
            NetEvent::Control { conn, count } => {
                if let Some(client) = self.links.client(conn) {
                    self.input(now, Input::Control { client, count })?;
                }
            }
            NetEvent::Binary { .. } => unreachable!("binary messages are refused below"),
            NetEvent::Opened { .. } | NetEvent::DialFailed { .. } => unreachable!("the server dials nobody"),
        }
        Ok(())
    }

    fn on_request(&mut self, now: Now, conn: ConnId, request: &Request) -> Result<(), ServerError> {
        let health = Health {
            draining: self.is_stopping,
            rooms_read_only: self.feed.rooms_read_only(),
            rooms_damaged: self.feed.rooms_damaged(),
        };
        match self.web.answer(request, health) {
            Answer::Respond(response) => self.net.respond(conn, &response),
            Answer::Metrics => {
                let response = self.metrics();
                self.net.respond(conn, &response);
            }
            Answer::Upgrade { subprotocol, .. } if self.is_banned(now, conn) => {
                self.net.upgrade(conn, subprotocol);
                self.net.close(conn, close::BANNED, "You are banned");
            }
            Answer::Upgrade { wish, subprotocol, token } => {
                self.net.upgrade(conn, subprotocol);
                let (link, entropy, token) = (conn.to_bits(), self.world.bytes()?, token.as_deref());
                self.input(now, Input::Connect { link, wish, token, entropy })?;
            }
            Answer::Call(_) if self.is_banned(now, conn) => {
                self.net.respond(conn, &problem::problem(403, "banned", "This address is banned"));
            }
            Answer::Call(asked) => self.on_call(now, conn, asked)?,
        }
        Ok(())
    }

    fn on_closed(&mut self, now: Now, conn: ConnId, reason: CloseReason) -> Result<(), ServerError> {
        self.backlog.remove(conn);
        self.missed.remove(conn);
        self.feed.drop_subscriber(links::subscriber(conn));
        self.drop_exchange(now, conn)?;
        self.meters.count_closed(reason);
        let Some(client) = self.links.remove(conn) else { return Ok(()) };
        log::debug!("{client} is gone: {reason:?}");
        let goodbye = reason == CloseReason::PeerClosed { code: Some(close::NORMAL) };
        self.input(now, Input::Disconnect { client, goodbye })
    }

    /// Shows those who have room again who is there: they may have missed who came and went.
    fn make_up(&mut self, now: Now) -> Result<(), ServerError> {
        for conn in self.missed.take() {
            if effects::has_room(&self.net, conn) {
                let client = self.links.client(conn).filter(|_| self.missed.made_up(conn));
                client.map_or(Ok(()), |client| self.input(now, Input::Missed { client }))?;
            } else if !self.net.is_blocked(conn) {
                self.missed.retry(conn);
            }
        }
        Ok(())
    }

    fn fire_timers(&mut self, now: Now) -> Result<(), ServerError> {
        let mut due = std::mem::take(&mut self.due);
        self.timers.expire(now.monotonic_ms, &mut due);
        for timer in due.drain(..) {
            self.input(now, Input::Timer(timer))?;
        }
        self.due = due;
        Ok(())
    }

    /// Shows out whoever came with a token whose time is over.
    fn end_tokens(&mut self, now: Now) -> Result<(), ServerError> {
        if self.accounts.next_expiry_ms(now).is_none_or(|due_ms| due_ms > now.monotonic_ms) {
            return Ok(());
        }
        let tokens = self.accounts.expired(now);
        self.input(now, Input::Ended { tokens: &tokens })
    }

    /// Tells those who wait what became of changes of accounts.
    fn tell_changes(&mut self, now: Now) -> Result<(), ServerError> {
        let mut events = std::mem::take(&mut self.account_events);
        for event in events.drain(..) {
            self.on_account(now, event)?;
        }
        self.account_events = events;
        Ok(())
    }

    /// Takes what became of a sync to whose it was.
    fn synced(&mut self, now: Now, whose: u8, outcome: SyncOutcome) {
        match whose {
            OF_ACCOUNTS => self.accounts.synced(outcome, now, &mut self.account_events),
            _ => self.feed.synced(outcome, now, &mut self.feed_events),
        }
    }

    /// Hands the core one input and does what it asks for.
    fn input(&mut self, now: Now, input: Input<'_>) -> Result<(), ServerError> {
        let mut effects = std::mem::take(&mut self.effects);
        self.chat.handle(now, self.accounts.tables(), input, &mut effects);
        for effect in effects.drain(..) {
            self.apply(now, effect)?;
        }
        self.effects = effects;
        Ok(())
    }

    /// Tells authors what became of their messages, and readers what there is to read.
    fn publish(&mut self, now: Now) -> Result<(), ServerError> {
        // What a message belongs to goes first: whose conversation it is in is known when it is acknowledged.
        if let Some(batch) = self.accounts.next_sync(now) {
            self.jobs.submit(OF_ACCOUNTS, batch, self.world.monotonic_us());
        }
        if let Some(batch) = self.feed.next_sync(now) {
            self.jobs.submit(OF_FEED, batch, self.world.monotonic_us());
        }
        self.tell_changes(now)?;
        let mut events = std::mem::take(&mut self.feed_events);
        for event in events.drain(..) {
            self.on_feed(now, event)?;
        }
        self.feed_events = events;
        let mut sink = effects::Outgoing::new(&mut self.net, &self.streams);
        self.feed.deliver(&mut sink);
        self.is_busy = self.feed.pull(&mut sink);
        Ok(())
    }

    /// Writes and syncs until nothing waits any more.
    fn settle_all(&mut self, now: Now) {
        loop {
            self.feed.write(now, &mut self.feed_events);
            self.accounts.write(now, &mut self.account_events);
            let outcome = self.jobs.wait();
            let outcome = outcome.or_else(|| Some((OF_FEED, self.feed.next_sync(now)?.run_at_end())));
            let outcome = outcome.or_else(|| Some((OF_ACCOUNTS, self.accounts.next_sync(now)?.run_at_end())));
            let Some((whose, outcome)) = outcome else { return };
            self.synced(now, whose, outcome);
        }
    }

    fn be_told_to_stop(&mut self) {
        self.is_stopping = true;
        // Told twice, somebody is in a hurry.
        self.drain.iter_mut().for_each(Drain::hurry);
    }

    /// Closes connections, some in each round, while the others go on; what they have said is stored and acknowledged
    /// before. True when all were closed.
    fn drain(&mut self, now: Now) -> Result<bool, ServerError> {
        if self.drain.is_none() {
            self.world.tell(Stage::Stopping);
            self.net.stop_accepting();
            self.feed.end_linger();
            self.drain = Some(Drain::begin(self.net.connections().collect(), now.monotonic_ms));
        }
        let Some(round) = self.drain.as_mut().and_then(|drain| drain.round(now.monotonic_ms)) else { return Ok(false) };
        self.settle_all(now);
        self.publish(now)?;
        for conn in round {
            self.net.end(conn, close::GOING_AWAY, SHUTTING_DOWN);
        }
        self.net.flush(now.monotonic_ms, &mut self.net_events);
        Ok(self.drain.as_ref().is_some_and(Drain::is_over))
    }

    /// Ends in good order: everything said is stored and acknowledged, everybody is told, the run is marked as clean.
    ///
    /// # Errors
    /// Not all could be made durable.
    pub fn stop(mut self) -> Result<(), ServerError> {
        let started = self.world.now();
        self.settle_all(started);
        self.publish(started)?;
        self.net.close_all(close::GOING_AWAY, SHUTTING_DOWN);
        self.net.flush(started.monotonic_ms, &mut self.net_events);
        // The disk comes before the peers: whoever loses patience with us now loses nothing.
        let result = self.feed.shutdown(started).and(self.accounts.shutdown(started));
        self.world.withdraw(&self.data)?;
        let began_ms = self.drain.as_ref().map_or(started.monotonic_ms, Drain::began_ms);
        let deadline_ms = began_ms + limits::SHUTDOWN_MS;
        while self.net.open_connections() > 0 {
            let now = self.world.now();
            self.net_events.clear();
            self.net.collect(now.monotonic_ms, &mut self.net_events);
            self.net.flush(now.monotonic_ms, &mut self.net_events);
            if now.monotonic_ms >= deadline_ms || self.net.open_connections() == 0 {
                break; // the last may have gone just now, and nothing else would wake it
            }
            let next_ms = self.net.next_deadline_ms().map_or(deadline_ms, |next_ms| next_ms.min(deadline_ms));
            self.net.wait(Some(Duration::from_millis(next_ms.saturating_sub(now.monotonic_ms))))?;
        }
        result?;
        self.world.tell(Stage::Stopped);
        Ok(())
    }
}

/// What the core needs to know of the configuration.
fn chat_settings(config: &Config) -> Settings {
    Settings {
        grace_ms: config.grace_ms,
        heartbeat_ms: config.heartbeat_ms,
        messages_per_second: config.rate_per_second,
        account_messages_per_second: config.account_rate_per_second(),
        address_messages_per_second: config.address_rate_per_second(),
        content_bytes_max: config.content_bytes_max,
        message_bytes_max: config.message_bytes_max(),
        guests: config.allows_guests,
    }
}

/// A ping frame, which peers answer by themselves, and the event that a script can see.
fn heartbeat(now: Now) -> Frame {
    let event = Event::Heartbeat { timestamp: now.unix_ms }.to_vec(None);
    let mut bytes = Frame::ping(&[]).as_bytes().to_vec();
    bytes.extend_from_slice(Frame::text(&event).as_bytes());
    Frame::from_encoded(bytes)
}

fn store_options(config: &Config, run_id: u64, opened: Now) -> Options {
    let policy = match config.fsync {
        Fsync::Always => SyncPolicy::Always,
        Fsync::Interval { ms } => SyncPolicy::Interval { ms },
        Fsync::Never => SyncPolicy::Never,
    };
    Options {
        dir: config.data.clone(),
        policy,
        segment_bytes: limits::SEGMENT_BYTES,
        files_open_max: limits::LOG_FILES_OPEN_MIN,
        retention: Retention {
            age_ms: config.retain_age_ms,
            messages: config.retain_messages,
            bytes: config.retain_bytes,
        },
        run_id,
        opened,
    }
}

fn net_config(config: &Config, descriptors: usize) -> NetConfig {
    NetConfig {
        heartbeat_ms: config.heartbeat_ms,
        idle_timeout_ms: config.offline_timeout_ms,
        idle_close_code: close::NO_HEARTBEAT,
        write_timeout_ms: config.write_timeout_ms,
        message_bytes_max: config.message_bytes_max(),
        body_bytes_max: limits::BODY_BYTES_MAX.max(config.message_bytes_max()),
        connections_per_address_max: config.connections_per_address_max() as usize,
        trusted_proxies: config.trusted_proxies.clone(),
        connections_max: descriptors.saturating_sub(limits::DESCRIPTORS_RESERVED).max(16),
        ..NetConfig::default()
    }
}

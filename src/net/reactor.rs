//! The readiness loop: slab, accept, ready list, timers.
//!
//! Owns: every connection. Must never know: what is in the bytes, or what waits for them (`port`).
//!
//! A port reports edges: a socket that is not read to its end is not reported again. So who is to be served is this
//! loop's own list, and one read per connection and turn keeps it fair.

use std::collections::HashMap;
use std::io;
use std::mem;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mio::Waker;
use mio::event::Source;
use slab::Slab;

use super::addresses::Addresses;
use super::config::NetConfig;
use super::connection::{Connection, Shared, Socket, Turn};
use super::counters::Counters;
use super::event::{ConnId, NetEvent};
use super::forwarded::{Proxied, is_trusted};
use super::http::{Refusal, Response};
use super::outbox::Frame;
use super::port::{Awaited, Edge, Port, SystemPort};
use super::wheel::Wheel;
use dial::Dialled;

mod dial;

/// One takes up to 90 µs, and everybody waits for all of a turn.
const ACCEPTS_PER_TURN: usize = 64;
/// Pause after an accept that failed for lack of descriptors or memory. There is no new edge for what waits already.
const ACCEPT_RETRY_MS: u64 = 100;
/// Connections beyond `connections_max`, and beyond `connections_per_address_max` of one address, that may be hearing
/// their refusal; more are dropped without a word.
const REFUSALS_MAX: usize = 64;

/// A connection with what the loop keeps about it.
struct Slot<S> {
    connection: Connection<S>,
    /// The earliest entry in the wheel for it; others are stale.
    timer_at_ms: u64,
    /// With the place in the slab, the name.
    generation: u32,
    /// Where it comes from: a number in `addresses`, which still knows when the socket does not.
    address: u32,
}

/// Listens, and drives all connections of a process on one thread.
///
/// Invariants: a slot is in each list at most once and knows it; every connection with a deadline has a wheel entry
/// at or before it; a connection that wants to be read is in `ready`, one that wants to write in `marked`.
pub struct Reactor<P: Port = SystemPort> {
    config: NetConfig,
    port: P,
    /// The listener has not been emptied since its last edge.
    acceptable: bool,
    accept_retry_ms: Option<u64>,
    /// The last accept failed, and that has been logged.
    accept_failing: bool,
    slots: Slab<Slot<P::Socket>>,
    addresses: Addresses,
    /// Connections of trusted proxies, by their slots, with the address of each proxy. While a request is with the program
    /// such a connection counts as the client's, else as the proxy's.
    proxied: HashMap<u32, IpAddr>,
    generation: u32,
    shared: Shared,
    /// To be read in the next `collect`.
    ready: Vec<ConnId>,
    /// To be written in this `collect`: a full socket has room again.
    writable: Vec<ConnId>,
    /// To be written in the next `flush`.
    marked: Vec<ConnId>,
    /// To be dropped at the end of the next `flush`.
    finished: Vec<ConnId>,
    /// An empty list that takes the place of the one that is worked off.
    spare: Vec<ConnId>,
    external: Vec<usize>,
    wheel: Wheel<ConnId>,
    due: Vec<ConnId>,
    /// Events of calls made between `collect` and `flush`.
    pending: Vec<NetEvent>,
    /// The connections that this end made; a server has none.
    dialled: Option<Box<Dialled>>,
    now_ms: u64,
}

impl Reactor {
    /// Listens on `addr`.
    ///
    /// # Errors
    /// The address cannot be used, or the process is out of descriptors.
    pub fn bind(addr: SocketAddr, config: NetConfig, now_ms: u64) -> io::Result<Reactor> {
        Ok(Reactor::new(SystemPort::bind(addr)?, config, now_ms))
    }

    /// Listens nowhere: for a program that only dials.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn without_listener(config: NetConfig, now_ms: u64) -> io::Result<Reactor> {
        Ok(Reactor::new(SystemPort::without_listener()?, config, now_ms))
    }

    /// The address in use; port 0 if there is no listener.
    pub fn local_addr(&self) -> SocketAddr {
        self.port.local_addr()
    }

    /// A handle by which another thread ends a [`Reactor::wait`]. There is one per reactor, to be kept as long as it
    /// is wanted: dropped, it takes back a wake that was not yet seen.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn waker(&self, key: usize) -> io::Result<Waker> {
        self.port.waker(key)
    }

    /// Reports `source` as [`NetEvent::External`] with `key` when it becomes readable (an edge: it must then be
    /// emptied).
    ///
    /// # Errors
    /// The source cannot be polled.
    pub fn register(&mut self, source: &mut impl Source, key: usize) -> io::Result<()> {
        self.port.register(source, key)
    }

    /// The other end of `conn`.
    pub fn peer_addr(&self, conn: ConnId) -> Option<SocketAddr> {
        if let Some(client) = self.client(conn) {
            return client.socket().peer_addr().ok();
        }
        self.slot(conn)?.connection.socket().peer_addr().ok()
    }
}

impl<P: Port> Reactor<P> {
    /// Drives the connections that come through `port`.
    pub fn new(port: P, config: NetConfig, now_ms: u64) -> Self {
        Reactor {
            shared: Shared::new(&config),
            config,
            port,
            acceptable: false,
            accept_retry_ms: None,
            accept_failing: false,
            slots: Slab::new(),
            addresses: Addresses::default(),
            proxied: HashMap::new(),
            generation: 0,
            ready: Vec::new(),
            writable: Vec::new(),
            marked: Vec::new(),
            finished: Vec::new(),
            spare: Vec::new(),
            external: Vec::new(),
            wheel: Wheel::new(now_ms),
            due: Vec::new(),
            pending: Vec::new(),
            dialled: None,
            now_ms,
        }
    }

    /// Waits until something happens or `timeout` has passed (`None`: however long).
    ///
    /// # Errors
    /// Only such as mean that polling is broken.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let busy = !self.ready.is_empty() || !self.pending.is_empty() || !self.marked.is_empty() || self.dialled_busy();
        let accepting = self.acceptable && self.accept_retry_ms.is_none();
        let timeout = if busy || accepting { Some(Duration::ZERO) } else { timeout };
        let sources = self.open_connections();
        let Reactor { port, slots, ready, writable, external, acceptable, dialled, .. } = self;
        port.wait(timeout, sources, |edge| match edge.of {
            Awaited::Listener => *acceptable = true,
            Awaited::External(key) => external.push(key),
            Awaited::Connection(id) if id.is_dialled() => {
                dialled.iter_mut().for_each(|dialled| dialled.take_edge(id, edge));
            }
            Awaited::Connection(id) => {
                if let Some(slot) = get(slots, id) {
                    take_edge(&mut slot.connection, id, edge, ready, writable);
                }
            }
        })
    }

    /// Accepts, reads and decodes what arrived, then does what is due by `now_ms`, appending what happened to
    /// `events`.
    pub fn collect(&mut self, now_ms: u64, events: &mut Vec<NetEvent>) {
        self.now_ms = self.now_ms.max(now_ms);
        events.append(&mut self.pending);
        events.extend(self.external.drain(..).map(|key| NetEvent::External { key }));
        self.accept();
        let mut ready = mem::replace(&mut self.ready, mem::take(&mut self.spare));
        for id in ready.drain(..) {
            if let Some(slot) = get(&mut self.slots, id) {
                slot.connection.listed.ready = false;
            }
            self.drive(id, events, |connection, turn| connection.read(turn));
        }
        self.spare = ready;
        for id in mem::take(&mut self.writable) {
            self.drive(id, events, |connection, turn| connection.on_writable(turn));
            self.give_back(id);
        }
        self.expire(events);
        self.collect_dialled(events);
    }

    /// Writes to every connection that something was queued for, once, and drops those that are over.
    pub fn flush(&mut self, now_ms: u64, events: &mut Vec<NetEvent>) {
        self.now_ms = self.now_ms.max(now_ms);
        let mut marked = mem::replace(&mut self.marked, mem::take(&mut self.spare));
        for id in marked.drain(..) {
            if let Some(slot) = get(&mut self.slots, id) {
                slot.connection.listed.marked = false;
            }
            self.drive(id, events, |connection, turn| connection.write(turn));
            self.give_back(id);
        }
        self.spare = marked;
        self.flush_dialled();
        events.append(&mut self.pending);
        for id in mem::take(&mut self.finished) {
            // Dropping closes the descriptor, and that takes it out of the poll.
            let slot = self.slots.remove(id.slot());
            self.addresses.remove(slot.address);
            self.proxied.remove(&(id.slot() as u32));
            debug_assert_eq!(slot.generation, id.generation(), "only finished connections leave their slot");
            self.accept_retry_ms = None;
        }
    }

    /// When [`Reactor::collect`] has to be called even if nothing happens, in milliseconds.
    pub fn next_deadline_ms(&self) -> Option<u64> {
        let dialled_ms = self.dialled.as_ref().and_then(|dialled| dialled.next_deadline_ms());
        self.wheel.next_deadline_ms().into_iter().chain(self.accept_retry_ms).chain(dialled_ms).min()
    }

    /// Grants the upgrade that `conn` asked for; it is a WebSocket from here on. A request that did not ask for one
    /// is answered 426.
    pub fn upgrade(&mut self, conn: ConnId, subprotocol: Option<&str>) {
        self.call(conn, |connection, turn| connection.upgrade(subprotocol, turn));
    }

    /// Answers the request of `conn`, in this turn or any later one. Does nothing if the connection has ended meanwhile;
    /// [`NetEvent::Closed`] has told then.
    ///
    /// A peer that has finished sending still gets its answer, so it may be gone and only a reset tells of it earlier.
    pub fn respond(&mut self, conn: ConnId, response: &Response) {
        self.call(conn, |connection, turn| connection.respond(response, turn));
    }

    /// Answers the request of `conn` with `response`, to which there is no end: whatever is pushed to `conn` from here on
    /// goes out behind it as it is, until [`Reactor::close`]. `response` is sent without a length; what it has of a body
    /// comes first. In answer to HEAD, and with a status that has no body, the head is all, and the connection is closed.
    ///
    /// The stream has one direction. What the peer sends is read and forgotten, and its end is [`NetEvent::Closed`], of the
    /// sending side alone as well. Heartbeats are due and room is told of as for a WebSocket; there is no idle timeout, but
    /// a peer that acknowledges nothing for `write_timeout_ms` is given up as [`CloseReason::Stalled`], so something
    /// should be pushed to it with each heartbeat.
    ///
    /// [`CloseReason::Stalled`]: super::event::CloseReason::Stalled
    pub fn stream(&mut self, conn: ConnId, response: &Response) {
        self.call(conn, |connection, turn| connection.stream(response, turn));
    }

    /// Queues `frame` for the accepted WebSocket or stream `conn`; one that is gone or closing gets nothing. (A dialled one is sent
    /// to by [`Reactor::send_text`], because no two of its frames are the same.)
    pub fn push(&mut self, conn: ConnId, frame: &Frame) {
        let Some(slot) = get(&mut self.slots, conn) else { return };
        slot.connection.push(frame.clone(), &self.config);
        let wants_write = slot.connection.wants_write();
        enlist(&mut self.marked, &mut slot.connection.listed.marked, conn, wants_write);
    }

    /// Bytes queued for `conn` and not yet taken by its socket.
    pub fn queued_bytes(&self, conn: ConnId) -> usize {
        if let Some(client) = self.client(conn) {
            return client.queued_bytes();
        }
        self.slot(conn).map_or(0, |slot| slot.connection.queued_bytes())
    }

    /// Whether the socket of `conn` was full at the last write.
    pub fn is_blocked(&self, conn: ConnId) -> bool {
        if let Some(client) = self.client(conn) {
            return client.is_blocked();
        }
        self.slot(conn).is_some_and(|slot| slot.connection.is_blocked())
    }

    /// Stops reading from the WebSocket `conn` (`held`), or goes on with it: for a program that has more from this peer
    /// than it can answer. Messages that were reported already stay reported.
    pub fn hold(&mut self, conn: ConnId, held: bool) {
        if conn.is_dialled() {
            return self.call_client(conn, |client, _| client.hold(held));
        }
        self.call(conn, |connection, _| connection.hold(held));
    }

    /// Closes `conn` with `code`, behind what was pushed before. A `reason` beyond 123 bytes is cut. Who is no WebSocket
    /// hears neither; a request that was not answered is not answered then.
    pub fn close(&mut self, conn: ConnId, code: u16, reason: &str) {
        if conn.is_dialled() {
            return self.call_client(conn, |client, turn| client.close(code, reason, turn));
        }
        self.call(conn, |connection, turn| connection.close(code, reason, turn));
    }

    /// Closes the accepted connection `conn` with `code`, because the program ends; one that was only kept open for another
    /// request is dropped. A request that the program has may still be answered, for `close_timeout_ms`; no other follows.
    pub fn end(&mut self, conn: ConnId, code: u16, reason: &str) {
        self.call(conn, |connection, turn| connection.end(code, reason, turn));
    }

    /// As [`Reactor::end`], every connection.
    pub fn close_all(&mut self, code: u16, reason: &str) {
        for conn in self.connections().collect::<Vec<_>>() {
            self.end(conn, code, reason);
        }
        for conn in self.dialled.iter().flat_map(|dialled| dialled.ids()).collect::<Vec<_>>() {
            self.close(conn, code, reason);
        }
    }

    /// Closes the listener; connections stay.
    pub fn stop_accepting(&mut self) {
        self.port.stop_accepting();
        self.acceptable = false;
        self.accept_retry_ms = None;
    }

    /// All accepted connections.
    pub fn connections(&self) -> impl Iterator<Item = ConnId> {
        self.slots.iter().map(|(at, slot)| ConnId::new(at as u32, slot.generation))
    }

    /// Connections whose sockets are open, those that are closing included.
    pub fn open_connections(&self) -> usize {
        self.slots.len() + self.dialled.as_ref().map_or(0, |dialled| dialled.len())
    }

    /// What was done so far.
    pub fn counters(&self) -> Counters {
        self.shared.counters
    }

    /// Accepted connections whose sockets are full and who have so much queued that they are given no more. Looks at every
    /// connection.
    pub fn slow_readers(&self) -> usize {
        let low_water = self.config.outbox_low_water_bytes;
        let is_slow =
            |connection: &Connection<P::Socket>| connection.is_blocked() && connection.queued_bytes() >= low_water;
        self.slots.iter().filter(|(_, slot)| is_slow(&slot.connection)).count()
    }

    /// The address that the accepted connection `conn` is counted by: IPv4 as such even if it comes mapped into IPv6, and of
    /// IPv6 the first half. Of a proxy that is trusted, where the request comes from that it has passed on. Known without
    /// asking the socket, which forgets it after a reset.
    pub fn peer_ip(&self, conn: ConnId) -> Option<IpAddr> {
        self.slot(conn).map(|slot| self.addresses.ip(slot.address))
    }

    /// The address that the accepted connection `conn` is counted by (IPv4 as mapped into IPv6, or a /64 of IPv6), as a
    /// number. `None` once its slot is free, and for dialled ones.
    pub fn address_bits(&self, conn: ConnId) -> Option<u128> {
        self.slot(conn).map(|slot| self.addresses.bits(slot.address))
    }

    fn slot(&self, id: ConnId) -> Option<&Slot<P::Socket>> {
        self.slots.get(id.slot()).filter(|slot| slot.generation == id.generation())
    }

    /// Runs a step that the program asked for; its events wait for the next `collect` or `flush`.
    fn call(&mut self, id: ConnId, step: impl FnOnce(&mut Connection<P::Socket>, &mut Turn<'_>)) {
        let mut events = mem::take(&mut self.pending);
        self.drive(id, &mut events, step);
        self.pending = events;
    }

    /// Runs one step of a connection and puts it on the lists it then belongs to.
    fn drive(
        &mut self,
        id: ConnId,
        events: &mut Vec<NetEvent>,
        step: impl FnOnce(&mut Connection<P::Socket>, &mut Turn<'_>),
    ) {
        let Some(slot) = get(&mut self.slots, id) else { return };
        let proxy = if slot.connection.awaits_request() { self.proxied.get(&(id.slot() as u32)) } else { None };
        let (place, addresses) = (&mut slot.address, &mut self.addresses);
        let proxied = proxy.map(|&proxy| Proxied { proxy, place, addresses });
        let (config, shared) = (&self.config, &mut self.shared);
        step(&mut slot.connection, &mut Turn { conn: id, now_ms: self.now_ms, config, shared, events, proxied });
        let connection = &mut slot.connection;
        let (wants_read, wants_write) = (connection.wants_read(), connection.wants_write());
        enlist(&mut self.ready, &mut connection.listed.ready, id, wants_read);
        enlist(&mut self.marked, &mut connection.listed.marked, id, wants_write);
        let is_closed = connection.is_closed();
        enlist(&mut self.finished, &mut connection.listed.finished, id, is_closed);
        let deadline_ms = connection.deadline_ms(&self.config);
        if deadline_ms < slot.timer_at_ms {
            slot.timer_at_ms = deadline_ms;
            self.wheel.insert(deadline_ms, id);
        }
    }

    /// A proxy's connection that is between two requests is the proxy's own again: it may be kept for another client.
    fn give_back(&mut self, id: ConnId) {
        let Some(&proxy) = self.proxied.get(&(id.slot() as u32)) else { return };
        let Some(slot) = get(&mut self.slots, id).filter(|slot| slot.connection.awaits_request()) else { return };
        self.addresses.relocate(&mut slot.address, proxy);
    }

    fn expire(&mut self, events: &mut Vec<NetEvent>) {
        let mut due = mem::take(&mut self.due);
        self.wheel.expire(self.now_ms, &mut due);
        for id in due.drain(..) {
            // An entry that was overtaken by an earlier one finds the next deadline ahead, or nothing left to do.
            let Some(slot) = get(&mut self.slots, id).filter(|slot| slot.timer_at_ms <= self.now_ms) else { continue };
            let late_ms = self.now_ms - mem::replace(&mut slot.timer_at_ms, u64::MAX);
            self.drive(id, events, |connection, turn| connection.on_deadline(late_ms, turn));
        }
        self.due = due;
    }

    fn accept(&mut self) {
        if self.accept_retry_ms.is_some_and(|retry_ms| self.now_ms < retry_ms) {
            return;
        }
        self.accept_retry_ms = None;
        for _ in 0..ACCEPTS_PER_TURN {
            if !self.acceptable {
                return;
            }
            match self.port.accept() {
                Ok((socket, peer)) => {
                    self.accept_failing = false;
                    self.shared.counters.accepted += 1;
                    self.admit(socket, peer);
                }
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => self.acceptable = false,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => {}
                    _ => {
                        if !mem::replace(&mut self.accept_failing, true) {
                            log::warn!("cannot accept for now: {error}");
                        }
                        self.accept_retry_ms = Some(self.now_ms + ACCEPT_RETRY_MS);
                        return;
                    }
                },
            }
        }
    }

    fn admit(&mut self, mut socket: P::Socket, peer: IpAddr) {
        let is_proxy = is_trusted(peer, &self.config.trusted_proxies);
        let excess = self.excess(peer, is_proxy);
        self.shared.counters.refused += u64::from(excess > 0);
        if excess > REFUSALS_MAX {
            return;
        }
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        let slot = u32::try_from(self.slots.vacant_key()).expect("descriptors are fewer than 2^32");
        let id = ConnId::new(slot, self.generation);
        if let Err(error) = self.port.watch(&mut socket, id) {
            // The peer is gone already, or the kernel is out of memory: nothing to tell, nobody to tell it to.
            log::debug!("dropped a new connection: {error}");
            return;
        }
        let connection = Connection::new(socket, self.now_ms);
        let address = self.addresses.add(peer);
        self.slots.insert(Slot { connection, timer_at_ms: u64::MAX, generation: self.generation, address });
        if is_proxy {
            self.proxied.insert(slot, peer);
        }
        self.call(id, |connection, turn| {
            if excess > 0 {
                connection.refuse(Refusal::Overloaded, turn);
            }
        });
    }

    /// By how many connections one more from `peer` would be too many, of all or of its address. Those that are being
    /// refused count, so an address that goes on trying takes no more than `REFUSALS_MAX` places of others. A proxy is
    /// everybody's, and its clients are bounded once they have said what they want.
    fn excess(&self, peer: IpAddr, is_proxy: bool) -> usize {
        let of_all = (self.slots.len() + 1).saturating_sub(self.config.connections_max);
        match self.config.connections_per_address_max {
            0 => of_all,
            _ if is_proxy => of_all,
            bound => of_all.max((self.addresses.count(peer) + 1).saturating_sub(bound)),
        }
    }
}

fn take_edge<S: Socket>(
    connection: &mut Connection<S>,
    id: ConnId,
    edge: Edge,
    ready: &mut Vec<ConnId>,
    writable: &mut Vec<ConnId>,
) {
    if edge.readable || edge.ended {
        connection.mark_readable(edge.ended);
        if edge.failed {
            connection.mark_broken();
        }
        let wants_read = connection.wants_read();
        enlist(ready, &mut connection.listed.ready, id, wants_read);
    }
    if (edge.writable || edge.failed) && connection.is_blocked() {
        writable.push(id);
    }
}

fn get<S>(slots: &mut Slab<Slot<S>>, id: ConnId) -> Option<&mut Slot<S>> {
    slots.get_mut(id.slot()).filter(|slot| slot.generation == id.generation())
}

/// Puts `id` on a list that it belongs on and is not yet on.
fn enlist(list: &mut Vec<ConnId>, listed: &mut bool, id: ConnId, wanted: bool) {
    if wanted && !*listed {
        *listed = true;
        list.push(id);
    }
}

#[cfg(test)]
mod tests;

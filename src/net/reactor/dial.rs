//! The dialling side of the loop: the connections that this end made.
//!
//! Owns: their table, and the lists of those that have something to do. Must never know: what is in the bytes.
//!
//! They are kept apart from accepted connections, of which there may be very many: a dialled connection may be larger,
//! and a server pays nothing for what it does not do.

use std::collections::VecDeque;
use std::io;
use std::mem;
use std::net::SocketAddr;

use mio::net::TcpStream;
use slab::Slab;
use socket2::{Domain, Socket as RawSocket, Type};

use super::Reactor;
use crate::net::client::{Client, ClientTurn};
use crate::net::event::ConnId;
use crate::net::handshake::{Dial, ask};
use crate::net::inbox::Inbox;
use crate::net::mask::Masks;
use crate::net::port::{Edge, Port};
use crate::net::wheel::Wheel;

/// Every dialled connection.
///
/// Invariants: a connection is in `ready` and in `marked` at most once each and knows it; one that wants to be read is in
/// `ready`, one that wants to write in `marked`; one with a deadline has an entry in the wheel.
#[derive(Debug)]
pub(super) struct Dialled {
    clients: Slab<Client>,
    generation: u32,
    masks: Masks,
    /// An event for a connection that is opening.
    opening: Vec<ConnId>,
    /// A full socket has room again.
    writable: Vec<ConnId>,
    ready: VecDeque<ConnId>,
    /// How many of `ready` are to be read in this turn: those that follow had their turn.
    due_reads: usize,
    marked: Vec<ConnId>,
    finished: Vec<ConnId>,
    wheel: Wheel<ConnId>,
}

impl Dialled {
    fn new(now_ms: u64) -> Self {
        Dialled {
            clients: Slab::new(),
            generation: 0,
            masks: Masks::seeded(),
            opening: Vec::new(),
            writable: Vec::new(),
            ready: VecDeque::new(),
            due_reads: 0,
            marked: Vec::new(),
            finished: Vec::new(),
            wheel: Wheel::new(now_ms),
        }
    }

    pub fn len(&self) -> usize {
        self.clients.len()
    }

    pub fn ids(&self) -> impl Iterator<Item = ConnId> {
        self.clients.iter().map(|(_, client)| client.id())
    }

    pub fn next_deadline_ms(&self) -> Option<u64> {
        self.wheel.next_deadline_ms()
    }

    /// Notes what the port said.
    pub fn take_edge(&mut self, id: ConnId, edge: Edge) {
        let Some(client) = self.clients.get_mut(id.index()).filter(|client| client.id() == id) else { return };
        if edge.readable || edge.ended {
            client.mark_readable(edge.ended);
        }
        if client.is_opening() {
            self.opening.push(id);
        } else if client.is_blocked() && (edge.writable || edge.failed) {
            self.writable.push(id);
        }
        self.enlist(id);
    }

    fn get(&self, id: ConnId) -> Option<&Client> {
        self.clients.get(id.index()).filter(|client| client.id() == id)
    }

    /// Puts a connection on the lists it belongs to.
    fn enlist(&mut self, id: ConnId) {
        let Some(client) = self.clients.get_mut(id.index()).filter(|client| client.id() == id) else { return };
        if client.wants_read() && !mem::replace(&mut client.in_ready, true) {
            self.ready.push_back(id);
        }
        if client.wants_write() && !mem::replace(&mut client.in_marked, true) {
            self.marked.push(id);
        }
        if client.is_closed() && !mem::replace(&mut client.in_finished, true) {
            self.finished.push(id);
        }
    }
}

impl Reactor {
    /// Begins to connect, and to ask for a WebSocket. What becomes of it is told by
    /// [`NetEvent::Opened`](crate::net::NetEvent::Opened) or [`NetEvent::DialFailed`](crate::net::NetEvent::DialFailed),
    /// within `handshake_timeout_ms`.
    ///
    /// A dialled connection answers pings by itself. It has no heartbeat, no idle timeout and no bound on what is queued:
    /// those are for the program, which is the one to know what it sends. Binary messages end it with 1003.
    ///
    /// # Errors
    /// The kernel refuses at once: no descriptor, no port or no such source address.
    ///
    /// # Panics
    /// If host, target or a header contains a line break.
    pub fn dial(&mut self, dial: &Dial<'_>) -> io::Result<ConnId> {
        let mut socket = connect(dial)?;
        let now_ms = self.now_ms;
        let dialled = self.dialled.get_or_insert_with(|| Box::new(Dialled::new(now_ms)));
        dialled.generation = dialled.generation.checked_add(1).unwrap_or(1);
        let index = u32::try_from(dialled.clients.vacant_key()).expect("descriptors are fewer than 2^31");
        let id = ConnId::dialled(index, dialled.generation);
        self.port.watch_tcp(&mut socket, id)?;
        let (request, handshake) = ask(dial);
        let deadline_ms = now_ms + self.config.handshake_timeout_ms;
        dialled.clients.insert(Client::new(id, socket, request, handshake, deadline_ms));
        dialled.wheel.insert(deadline_ms, id);
        Ok(id)
    }
}

impl<P: Port> Reactor<P> {
    /// Reads one dialled connection that has something to read, once, and returns its name; the messages are in `inbox`
    /// then. To be called after [`Reactor::collect`] until there is none.
    pub fn receive(&mut self, inbox: &mut Inbox) -> Option<ConnId> {
        loop {
            let dialled = self.dialled.as_mut().filter(|dialled| dialled.due_reads > 0)?;
            dialled.due_reads -= 1;
            let id = dialled.ready.pop_front()?;
            if let Some(client) = dialled.clients.get_mut(id.index()).filter(|client| client.id() == id) {
                client.in_ready = false;
                if !client.wants_read() {
                    continue; // held since it was listed
                }
            }
            inbox.clear();
            self.call_client(id, |client, turn| client.receive(inbox, turn));
            if !inbox.is_empty() {
                return Some(id);
            }
        }
    }

    /// Queues a text message for the dialled WebSocket `conn`; one that is not open gets nothing. `payload` must be UTF-8, or
    /// the peer will close with 1007. All that is queued for it goes out with the next [`Reactor::flush`], in one write.
    pub fn send_text(&mut self, conn: ConnId, payload: &[u8]) {
        self.call_client(conn, |client, turn| client.send_text(payload, turn));
    }

    pub(super) fn client(&self, conn: ConnId) -> Option<&Client> {
        self.dialled.as_ref().filter(|_| conn.is_dialled())?.get(conn)
    }

    pub(super) fn dialled_busy(&self) -> bool {
        self.dialled.as_ref().is_some_and(|dialled| {
            !dialled.ready.is_empty() || !dialled.marked.is_empty() || !dialled.finished.is_empty()
        })
    }

    /// Runs one step of a dialled connection and puts it on the lists it then belongs to. Its events wait for the next
    /// `collect` or `flush`.
    pub(super) fn call_client(&mut self, id: ConnId, step: impl FnOnce(&mut Client, &mut ClientTurn<'_>)) {
        let Reactor { dialled: Some(dialled), config, pending, now_ms, .. } = self else { return };
        let Dialled { clients, masks, wheel, .. } = &mut **dialled;
        let Some(client) = clients.get_mut(id.index()).filter(|client| client.id() == id) else { return };
        let deadline_ms = client.deadline_ms();
        step(client, &mut ClientTurn { now_ms: *now_ms, config, masks, events: pending });
        if client.deadline_ms() != deadline_ms && client.deadline_ms() < u64::MAX {
            wheel.insert(client.deadline_ms(), id);
        }
        dialled.enlist(id);
    }

    /// The part of `collect` for dialled connections: what opens, what has room again, what is due.
    pub(super) fn collect_dialled(&mut self, events: &mut Vec<crate::net::event::NetEvent>) {
        let Some(dialled) = &mut self.dialled else { return };
        let mut due = Vec::new();
        dialled.wheel.expire(self.now_ms, &mut due);
        let (opening, writable) = (mem::take(&mut dialled.opening), mem::take(&mut dialled.writable));
        for id in opening {
            self.call_client(id, |client, turn| client.progress(turn));
        }
        for id in writable {
            self.call_client(id, |client, turn| client.on_writable(turn));
        }
        for id in due {
            self.call_client(id, |client, turn| client.on_deadline(turn));
        }
        events.append(&mut self.pending);
        if let Some(dialled) = &mut self.dialled {
            dialled.due_reads = dialled.ready.len();
        }
    }

    /// The part of `flush` for dialled connections.
    pub(super) fn flush_dialled(&mut self) {
        let Some(dialled) = &mut self.dialled else { return };
        for id in mem::take(&mut dialled.marked) {
            self.call_client(id, |client, turn| {
                client.in_marked = false;
                client.write(turn);
            });
        }
        let Some(dialled) = &mut self.dialled else { return };
        for id in mem::take(&mut dialled.finished) {
            // Dropping closes the descriptor, and that takes it out of the poll.
            let client = dialled.clients.remove(id.index());
            debug_assert_eq!(client.id(), id, "only finished connections leave their slot");
        }
    }
}

/// A socket that is connecting.
fn connect(dial: &Dial<'_>) -> io::Result<TcpStream> {
    let socket = RawSocket::new(Domain::for_address(dial.addr), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    if let Some(bytes) = dial.receive_buffer_bytes {
        // Before connecting: it decides the window that the peer is told.
        socket.set_recv_buffer_size(bytes)?;
    }
    if let Some(source) = dial.source {
        socket.bind(&SocketAddr::new(source, 0).into())?;
    }
    match socket.connect(&dial.addr.into()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock || is_in_progress(&error) => {}
        Err(error) => return Err(error),
    }
    Ok(TcpStream::from_std(socket.into()))
}

fn is_in_progress(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error())
}

#[cfg(test)]
mod tests;

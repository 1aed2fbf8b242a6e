//! Sockets in memory: bounded buffers, bytes that come in pieces and late, resets, peers that vanish.
//!
//! Owns: what is under way between the server and its clients. Must never know: what the bytes say.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use roomlog::net::{Awaited, ConnId, Edge, Port, Socket};

use super::core::{Event, Shared};

/// One connection, as both ends see it.
#[derive(Debug)]
pub struct Link {
    /// The server's name for it, while it has the socket.
    pub conn: Option<ConnId>,
    pub client: usize,
    /// What the server can read.
    pub inbound: VecDeque<u8>,
    /// When the last piece for the server arrives: later ones do not overtake it.
    pub inbound_at_us: u64,
    /// What the server has written and the client has not got.
    pub outbound: VecDeque<u8>,
    /// Most bytes that wait there.
    pub window: usize,
    /// The server found it full and is to be told when it is not.
    pub is_full: bool,
    /// A delivery is scheduled.
    pub is_moving: bool,
    /// The client does not read.
    pub is_stuck: bool,
    /// Nothing passes any more, and nobody is told.
    pub is_cut: bool,
    /// The client sends no more, and the server can know.
    pub fin_in: bool,
    /// The server sends no more.
    pub fin_out: bool,
    /// For the server it is broken.
    pub reset_in: bool,
    /// The client has let go of it.
    pub is_left: bool,
}

impl Link {
    pub fn new(client: usize, window: usize) -> Self {
        Self {
            conn: None,
            client,
            inbound: VecDeque::new(),
            inbound_at_us: 0,
            outbound: VecDeque::new(),
            window,
            is_full: false,
            is_moving: false,
            is_stuck: false,
            is_cut: false,
            fin_in: false,
            fin_out: false,
            reset_in: false,
            is_left: false,
        }
    }
}

/// All connections, by number. A number is never used again.
#[derive(Debug, Default)]
pub struct Network {
    pub links: BTreeMap<usize, Link>,
    pub made: usize,
    /// Not accepted yet.
    pub waiting: VecDeque<usize>,
    /// News for the server.
    pub news: Vec<Edge>,
    pub is_listening: bool,
}

impl Network {
    pub fn tell(&mut self, of: Awaited, what: impl FnOnce(&mut Edge)) {
        let mut edge = Edge { of, readable: false, writable: false, ended: false, failed: false };
        what(&mut edge);
        self.news.push(edge);
    }

    /// Tells the server of a connection, if it has it.
    pub fn tell_of(&mut self, link: usize, what: impl FnOnce(&mut Edge)) {
        if let Some(conn) = self.links.get(&link).and_then(|link| link.conn) {
            self.tell(Awaited::Connection(conn), what);
        }
    }
}

/// The server's end of a connection.
pub struct SimSocket {
    pub shared: Shared,
    pub link: usize,
}

impl SimSocket {
    fn write_some(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let core = &mut *self.shared.borrow_mut();
        if core.is_dead() {
            return Ok(bytes.len()); // the process is gone: nothing of this happens
        }
        let Some(link) = core.network.links.get_mut(&self.link) else { return Err(io::ErrorKind::BrokenPipe.into()) };
        if link.reset_in {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        assert!(!link.fin_out, "written after the end");
        let free = link.window.saturating_sub(link.outbound.len());
        let mut taken = bytes.len().min(free);
        if taken > 1 && core.dice.chance(10) {
            taken = 1 + core.dice.below(taken);
        }
        if taken < bytes.len() {
            link.is_full = true;
        }
        if taken == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        link.outbound.extend(&bytes[..taken]);
        core.move_outbound(self.link);
        Ok(taken)
    }
}

impl Socket for SimSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let core = &mut *self.shared.borrow_mut();
        let Some(link) = core.network.links.get_mut(&self.link) else { return Ok(0) };
        if link.reset_in {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        if link.inbound.is_empty() {
            return if link.fin_in { Ok(0) } else { Err(io::ErrorKind::WouldBlock.into()) };
        }
        let count = link.inbound.len().min(buffer.len());
        link.inbound.drain(..count).zip(buffer).for_each(|(byte, place)| *place = byte);
        Ok(count)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_some(bytes)
    }

    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_some(bytes)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        let core = &mut *self.shared.borrow_mut();
        let is_dead = core.is_dead();
        if let Some(link) = core.network.links.get_mut(&self.link).filter(|_| !is_dead) {
            if link.reset_in {
                return Err(io::ErrorKind::NotConnected.into());
            }
            link.fin_out = true;
            core.move_outbound(self.link);
        }
        Ok(())
    }

    fn set_user_timeout(&mut self, _timeout_ms: u64) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for SimSocket {
    fn drop(&mut self) {
        let Ok(mut core) = self.shared.try_borrow_mut() else { return };
        let core = &mut *core;
        let is_dead = core.is_dead();
        let Some(link) = core.network.links.get_mut(&self.link) else { return };
        link.conn = None;
        // What is closed with bytes unread, and what the system closes for a process that died amid work, is reset.
        if is_dead || !link.inbound.is_empty() {
            link.outbound.clear();
            core.after(500, Event::ResetToClient(self.link));
        } else {
            link.fin_out = true;
            core.move_outbound(self.link);
        }
    }
}

/// The server's view of the network.
pub struct SimPort(pub Shared);

impl Port for SimPort {
    type Socket = SimSocket;

    fn wait(&mut self, timeout: Option<Duration>, _sources: usize, news: impl FnMut(Edge)) -> io::Result<()> {
        let mut core = self.0.borrow_mut();
        core.pass_time(timeout);
        std::mem::take(&mut core.network.news).into_iter().for_each(news);
        Ok(())
    }

    fn accept(&mut self) -> io::Result<(SimSocket, IpAddr)> {
        let link = self.0.borrow_mut().network.waiting.pop_front().ok_or(io::ErrorKind::WouldBlock)?;
        let client = self.0.borrow().network.links.get(&link).map_or(0, |link| link.client);
        Ok((SimSocket { shared: self.0.clone(), link }, Ipv4Addr::new(10, 0, 0, client as u8).into()))
    }

    fn watch(&mut self, socket: &mut SimSocket, conn: ConnId) -> io::Result<()> {
        let mut core = self.0.borrow_mut();
        let link = core.network.links.get_mut(&socket.link).ok_or(io::ErrorKind::NotConnected)?;
        link.conn = Some(conn);
        let (readable, ended, failed) = (!link.inbound.is_empty(), link.fin_in, link.reset_in);
        if readable || ended || failed {
            core.network.tell(Awaited::Connection(conn), |edge| {
                (edge.readable, edge.ended, edge.failed) = (readable, ended || failed, failed);
            });
        }
        Ok(())
    }

    fn stop_accepting(&mut self) {
        let core = &mut *self.0.borrow_mut();
        core.network.is_listening = false;
        for link in std::mem::take(&mut core.network.waiting) {
            core.after(300, Event::ResetToClient(link));
        }
    }
}

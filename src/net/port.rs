//! What is outside of the loop: where connections come from, and how one waits for them. The operating system, by mio, or
//! something that stands in for it.
//!
//! Owns: mio, the listener. Must never know: connections, or what is in the bytes.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::time::Duration;

use mio::event::{Event, Source};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token, Waker};
#[cfg(target_os = "linux")]
use rustix::net::sockopt::set_tcp_user_timeout;
use rustix::net::{SendFlags, send};
use socket2::{Domain, Socket as RawSocket, Type};

use super::alarm::Alarm;
use super::connection::Socket;
use super::event::ConnId;
use super::tls::{SystemSocket, Tls, tcp};

const BACKLOG: i32 = 4096;
pub(super) const POLL_EVENTS: usize = 1024;
/// Tokens below this are keys of external sources: generation 0 belongs to no connection.
const TOKEN_LISTENER: Token = Token(u32::MAX as usize);
const TOKEN_ALARM: Token = Token(u32::MAX as usize - 1);
/// Timeouts below this, just over two milliseconds, are kept to the microsecond.
const PRECISE_BELOW: Duration = Duration::from_micros(2_001);

const _: () = assert!(usize::BITS == 64, "a token holds a connection's slot and generation");

/// What a loop waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Awaited {
    /// Somebody wants to connect.
    Listener,
    /// Something else, by its key.
    External(usize),
    /// A connection.
    Connection(ConnId),
}

/// News of something that is waited for. It is told once: what is not used up is not told of again.
#[derive(Debug, Clone, Copy)]
pub struct Edge {
    /// Of what.
    pub of: Awaited,
    /// There is something to read.
    pub readable: bool,
    /// There is room to write.
    pub writable: bool,
    /// The peer sends no more.
    pub ended: bool,
    /// It is broken.
    pub failed: bool,
}

/// The world of sockets, as far as a loop uses it.
pub trait Port {
    /// A connection's socket; dropping it closes it, and nothing is told of it any more.
    type Socket: Socket;

    /// Waits until there is news or `timeout` has passed (`None`: however long), and takes all news, up to some for each
    /// of `sources`.
    ///
    /// # Errors
    /// Only such as mean that waiting is broken.
    fn wait(&mut self, timeout: Option<Duration>, sources: usize, news: impl FnMut(Edge)) -> io::Result<()>;

    /// The next connection that somebody has made.
    ///
    /// # Errors
    /// `WouldBlock` until there is news of the listener; others as accept(2) has them.
    fn accept(&mut self) -> io::Result<(Self::Socket, IpAddr)>;

    /// Has news of `socket` told under this name.
    ///
    /// # Errors
    /// It cannot be watched; it may be gone.
    fn watch(&mut self, socket: &mut Self::Socket, conn: ConnId) -> io::Result<()>;

    /// Closes the listener.
    fn stop_accepting(&mut self);
}

/// The operating system's.
pub struct SystemPort {
    poll: Poll,
    /// Made when it is first needed.
    alarm: Option<Alarm>,
    events: Events,
    listener: Option<TcpListener>,
    local_addr: SocketAddr,
    /// What is spoken with those who connect, if not plain TCP.
    tls: Option<Tls>,
}

impl SystemPort {
    /// Listens on `addr`.
    ///
    /// # Errors
    /// The address cannot be used, or the process is out of descriptors.
    pub fn bind(addr: SocketAddr) -> io::Result<SystemPort> {
        let socket = RawSocket::new(Domain::for_address(addr), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(BACKLOG)?;
        SystemPort::listen_on(socket.into())
    }

    /// Takes over a socket that listens already.
    ///
    /// # Errors
    /// It does not, or the process is out of descriptors.
    pub fn listen_on(listener: std::net::TcpListener) -> io::Result<SystemPort> {
        let socket = RawSocket::from(listener);
        // Linux hands it on to the sockets that are accepted.
        socket.set_tcp_nodelay(true)?;
        socket.set_nonblocking(true)?;
        let mut listener = TcpListener::from_std(socket.into());
        let local_addr = listener.local_addr()?;
        let port = SystemPort::without_listener()?;
        port.poll.registry().register(&mut listener, TOKEN_LISTENER, Interest::READABLE)?;
        Ok(SystemPort { listener: Some(listener), local_addr, ..port })
    }

    /// Has TLS spoken with those who connect from here on.
    #[must_use]
    pub fn with_tls(self, tls: Option<Tls>) -> SystemPort {
        SystemPort { tls, ..self }
    }

    /// Listens nowhere.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn without_listener() -> io::Result<SystemPort> {
        Ok(SystemPort {
            poll: Poll::new()?,
            alarm: None,
            events: Events::with_capacity(POLL_EVENTS),
            listener: None,
            local_addr: SocketAddr::from(([0; 4], 0)),
            tls: None,
        })
    }

    /// The address in use; port 0 if there is no listener.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// See [`Reactor::waker`](super::Reactor::waker).
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn waker(&self, key: usize) -> io::Result<Waker> {
        Waker::new(self.poll.registry(), external_token(key))
    }

    /// See [`Reactor::register`](super::Reactor::register).
    ///
    /// # Errors
    /// The source cannot be polled.
    pub fn register(&mut self, source: &mut impl Source, key: usize) -> io::Result<()> {
        self.poll.registry().register(source, external_token(key), Interest::READABLE)
    }

    /// As [`Port::watch`], for a socket that was not accepted.
    pub(super) fn watch_tcp(&mut self, socket: &mut TcpStream, conn: ConnId) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        self.poll.registry().register(socket, Token(conn.to_bits() as usize), interest)
    }
}

impl Port for SystemPort {
    type Socket = SystemSocket;

    fn wait(&mut self, timeout: Option<Duration>, sources: usize, mut news: impl FnMut(Edge)) -> io::Result<()> {
        // The poll's own timeouts end up to a millisecond late, which is as long as some things may wait at all.
        if let Some(timeout) = timeout.filter(|timeout| !timeout.is_zero() && *timeout < PRECISE_BELOW) {
            if self.alarm.is_none() {
                // Without a descriptor for it, late is better than never again.
                self.alarm = Alarm::new(self.poll.registry(), TOKEN_ALARM).ok();
            }
            self.alarm.iter().try_for_each(|alarm| alarm.set(timeout))?;
        }
        let mut timeout = timeout;
        // Whoever has sent something is to be heard before anyone is declared silent, so all edges are taken at once;
        // the bound is for sockets that gain new ones meanwhile.
        for _ in 0..=sources / POLL_EVENTS {
            match self.poll.poll(&mut self.events, timeout) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
                Err(error) => return Err(error),
            }
            self.events.iter().filter_map(edge).for_each(&mut news);
            if self.events.iter().count() < POLL_EVENTS {
                break;
            }
            timeout = Some(Duration::ZERO);
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<(SystemSocket, IpAddr)> {
        let listener = self.listener.as_ref().ok_or(io::ErrorKind::WouldBlock)?;
        listener.accept().map(|(socket, peer)| (Tls::wrap(self.tls.as_ref(), socket), peer.ip()))
    }

    fn watch(&mut self, socket: &mut SystemSocket, conn: ConnId) -> io::Result<()> {
        self.watch_tcp(tcp(socket), conn)
    }

    fn stop_accepting(&mut self) {
        // Dropping closes the descriptor, which is what takes it out of the poll.
        self.listener = None;
    }
}

impl Socket for TcpStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Read::read(self, buffer)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        Write::write(self, bytes)
    }

    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(target_os = "linux")]
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        #[cfg(not(target_os = "linux"))]
        let flags = SendFlags::empty();
        Ok(send(&*self, bytes, flags)?)
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        self.shutdown(Shutdown::Write)
    }

    #[cfg(target_os = "linux")]
    fn set_user_timeout(&mut self, timeout_ms: u64) -> io::Result<()> {
        // The kernel's number is signed.
        let timeout_ms = timeout_ms.min(i32::MAX as u64) as u32;
        Ok(set_tcp_user_timeout(&*self, timeout_ms)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn set_user_timeout(&mut self, _timeout_ms: u64) -> io::Result<()> {
        Ok(())
    }
}

/// What an event says, if it is not only that the time is up.
fn edge(event: &Event) -> Option<Edge> {
    let conn = ConnId::from_bits(event.token().0 as u64);
    let of = match event.token() {
        TOKEN_LISTENER => Awaited::Listener,
        TOKEN_ALARM => return None,
        _ if conn.generation() == 0 => Awaited::External(conn.slot()),
        _ => Awaited::Connection(conn),
    };
    let ended = event.is_read_closed() || event.is_error();
    let (readable, writable) = (event.is_readable(), event.is_writable());
    Some(Edge { of, readable, writable, ended, failed: event.is_error() })
}

fn external_token(key: usize) -> Token {
    assert!(key < TOKEN_ALARM.0, "keys of external sources are below 2^32 - 2");
    Token(key)
}

//! The socket of an accepted connection, with TLS or without.
//!
//! Owns: the choice between the two. Must never know: what either does.

use std::io;
use std::net::SocketAddr;

use mio::net::TcpStream;

use super::session::Session;
use crate::net::connection::Socket;

/// The socket of an accepted connection.
pub enum SystemSocket {
    /// As it is.
    Plain(TcpStream),
    /// Boxed: a server has one kind only, and the other should not take the room of this one.
    Tls(Box<Session>),
}

impl SystemSocket {
    /// The other end.
    pub(in crate::net) fn peer_addr(&self) -> io::Result<SocketAddr> {
        match self {
            SystemSocket::Plain(socket) => socket.peer_addr(),
            SystemSocket::Tls(session) => session.socket().peer_addr(),
        }
    }
}

/// What is to be polled.
pub fn tcp(socket: &mut SystemSocket) -> &mut TcpStream {
    match socket {
        SystemSocket::Plain(socket) => socket,
        SystemSocket::Tls(session) => session.socket_mut(),
    }
}

impl Socket for SystemSocket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            SystemSocket::Plain(socket) => Socket::read(socket, buffer),
            SystemSocket::Tls(session) => session.read(buffer),
        }
    }

    fn has_emptied(&self, count: usize, asked: usize) -> bool {
        match self {
            SystemSocket::Plain(socket) => socket.has_emptied(count, asked),
            SystemSocket::Tls(session) => session.has_emptied(),
        }
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            SystemSocket::Plain(socket) => Socket::write(socket, bytes),
            SystemSocket::Tls(session) => session.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            SystemSocket::Plain(socket) => Socket::flush(socket),
            SystemSocket::Tls(session) => session.flush(),
        }
    }

    fn unsent_bytes(&self) -> usize {
        match self {
            SystemSocket::Plain(socket) => socket.unsent_bytes(),
            SystemSocket::Tls(session) => session.unsent_bytes(),
        }
    }

    fn unblocks(&mut self) -> bool {
        match self {
            SystemSocket::Plain(socket) => socket.unblocks(),
            SystemSocket::Tls(session) => session.unblocks(),
        }
    }

    fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            SystemSocket::Plain(socket) => socket.write_last(bytes),
            SystemSocket::Tls(session) => session.write_last(bytes),
        }
    }

    fn shutdown_write(&mut self) -> io::Result<()> {
        match self {
            SystemSocket::Plain(socket) => socket.shutdown_write(),
            SystemSocket::Tls(session) => session.shutdown_write(),
        }
    }

    fn set_user_timeout(&mut self, timeout_ms: u64) -> io::Result<()> {
        match self {
            SystemSocket::Plain(socket) => socket.set_user_timeout(timeout_ms),
            SystemSocket::Tls(session) => session.socket_mut().set_user_timeout(timeout_ms),
        }
    }
}

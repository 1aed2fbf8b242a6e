//! One TLS session over a socket: bytes of TLS below, those of the connection above.
//!
//! Owns: records that are not yet whole, and those that are not yet sent. Must never know: mio beyond its socket, a clock,
//! what the bytes mean.
//!
//! rustls is used without its own buffers: records are read into the loop's scratch memory and decrypted there, so a
//! session at rest has keys and nothing else. `write` takes at most one record's bytes, and nothing while something is
//! held: what a reader that does not read costs is bounded by a record.

use std::io;
use std::mem;

use mio::net::TcpStream;
use rustls::server::{ServerConnectionData, UnbufferedServerConnection};
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, UnbufferedStatus,
};

use crate::net::connection::Socket;

/// Longest plaintext of a record, in bytes (RFC 8446 section 5.1).
const RECORD_BYTES_MAX: usize = 16 * 1024;
/// Bytes that a record has around its plaintext, at most, for a first guess.
const RECORD_OVERHEAD_BYTES: usize = 64;
/// What somebody hears who speaks HTTP without TLS.
const PLAIN_ANSWER: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: text/plain; \
    charset=utf-8\r\nContent-Length: 49\r\n\r\nThis port speaks TLS: write https:// (or wss://)\n";

/// A server's side of a TLS connection.
///
/// Invariants: `sent` is at most the length of `outgoing`, and both are 0 when all is sent; `incoming` is shorter than a
/// record, or the beginning of a message of the handshake.
pub struct Session<S: Socket = TcpStream> {
    socket: S,
    tls: UnbufferedServerConnection,
    /// What has come of a record that is not whole.
    incoming: Vec<u8>,
    /// Encrypted.
    outgoing: Vec<u8>,
    /// Bytes of `outgoing` that are sent.
    sent: usize,
    /// Nothing has come yet.
    is_fresh: bool,
    /// The last read has left nothing in the socket.
    emptied: bool,
    /// The peer has said that it sends no more.
    ended: bool,
    /// Our own last word is in `outgoing`, or sent.
    notified: bool,
    /// There was something to write before the handshake was over.
    is_early: bool,
}

impl<S: Socket> Session<S> {
    pub(super) fn new(socket: S, tls: UnbufferedServerConnection) -> Self {
        Session {
            socket,
            tls,
            incoming: Vec::new(),
            outgoing: Vec::new(),
            sent: 0,
            is_fresh: true,
            emptied: false,
            ended: false,
            notified: false,
            is_early: false,
        }
    }

    pub(super) fn socket(&self) -> &S {
        &self.socket
    }

    pub(super) fn socket_mut(&mut self) -> &mut S {
        &mut self.socket
    }

    /// Memory beyond the session itself.
    #[cfg(test)]
    pub(super) fn buffer_bytes(&self) -> usize {
        self.incoming.capacity() + self.outgoing.capacity()
    }

    /// Bytes that `write` has taken, and that are not sent.
    pub(super) fn unsent_bytes(&self) -> usize {
        self.outgoing.len() - self.sent
    }

    pub(super) fn has_emptied(&self) -> bool {
        self.emptied && !self.ended
    }

    pub(super) fn unblocks(&mut self) -> bool {
        mem::take(&mut self.is_early)
    }

    /// Reads once, and decrypts all records that are whole then. `Interrupted` if none of them was for the reader: there may
    /// be more, if only the end, of which no edge tells again. `UnexpectedEof` at an end that the peer has not announced, which somebody else may have made.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.ended {
            return Ok(0);
        }
        let (_, records) = buffer.split_at_mut(RECORD_BYTES_MAX);
        let held = self.incoming.len();
        records[..held].copy_from_slice(&self.incoming);
        // What is held is at most a message of the handshake, and only one that is too long for any reason fills all.
        if held == records.len() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let count = self.socket.read(&mut records[held..])?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        self.emptied = self.socket.has_emptied(count, records.len() - held);
        if mem::take(&mut self.is_fresh) && records[0].is_ascii_alphabetic() {
            return self.answer_plain();
        }
        let end = RECORD_BYTES_MAX + held + count;
        let (written, rest) = self.decrypt(buffer, end)?;
        self.incoming = buffer[rest..end].to_vec();
        match written {
            0 if self.ended => Ok(0),
            0 => Err(io::ErrorKind::Interrupted.into()),
            count => Ok(count),
        }
    }

    /// Decrypts the records in `buffer`, from the end of its first [`RECORD_BYTES_MAX`] up to `end`, to its beginning: as no
    /// record is longer than that, what is written never reaches what is to be read. Returns the bytes written, and where
    /// the rest begins.
    fn decrypt(&mut self, buffer: &mut [u8], end: usize) -> io::Result<(usize, usize)> {
        let (mut written, mut start) = (0, RECORD_BYTES_MAX);
        loop {
            let (plain, records) = buffer[..end].split_at_mut(start);
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(records);
            let state = match state {
                Ok(state) => state,
                Err(error) => return Err(self.fail(records, error)),
            };
            match state {
                ConnectionState::ReadTraffic(mut traffic) => {
                    while let Some(record) = traffic.next_record() {
                        let payload = record.map_err(io::Error::other)?.payload;
                        plain[written..written + payload.len()].copy_from_slice(payload);
                        written += payload.len();
                    }
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    append(&mut self.outgoing, 0, |out| encode(&mut data, out))?
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.ended = true,
                _ => return Ok((written, start + discard)),
            }
            start += discard;
        }
    }

    /// Tells the peer what it did wrong, if that can be said at once: the connection ends here.
    fn fail(&mut self, records: &mut [u8], error: rustls::Error) -> io::Error {
        log::debug!("a TLS session failed: {error}");
        if self.unsent_bytes() == 0
            && let Ok(ConnectionState::EncodeTlsData(mut alert)) = self.tls.process_tls_records(records).state
            && append(&mut self.outgoing, 0, |out| encode(&mut alert, out)).is_ok()
        {
            let _ = self.flush();
        }
        io::Error::new(io::ErrorKind::InvalidData, error)
    }

    /// Who speaks without TLS is told so, as far as one write does it, and hears no more.
    fn answer_plain(&mut self) -> io::Result<usize> {
        let _ = self.socket.write(PLAIN_ANSWER);
        self.ended = true;
        self.socket.shutdown_write().map(|()| 0)
    }

    /// Takes up to a record, unless something is still held, and sends what of it the socket takes.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_record(bytes, false)
    }

    /// As [`Session::write`]; our last word follows.
    pub(super) fn write_last(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_record(bytes, true)
    }

    fn write_record(&mut self, bytes: &[u8], is_last: bool) -> io::Result<usize> {
        self.flush()?;
        if self.tls.is_handshaking() {
            self.is_early = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let record = &bytes[..bytes.len().min(RECORD_BYTES_MAX)];
        self.encrypt(Some(record))?;
        if is_last && record.len() == bytes.len() {
            self.notify()?;
        }
        match self.flush() {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => Err(error),
            _ => Ok(record.len()),
        }
    }

    /// Our last word: that nothing follows because nothing is to follow.
    fn notify(&mut self) -> io::Result<()> {
        self.notified = true;
        self.encrypt(None)
    }

    /// Puts a record into `outgoing`, or (`None`) the announcement of the end.
    fn encrypt(&mut self, record: Option<&[u8]>) -> io::Result<()> {
        loop {
            // There is nothing new to read; this is how one gets to write.
            let UnbufferedStatus { discard, state } = self.tls.process_tls_records(&mut self.incoming);
            match state.map_err(io::Error::other)? {
                ConnectionState::WriteTraffic(mut traffic) => {
                    let room = record.map_or(0, <[u8]>::len) + RECORD_OVERHEAD_BYTES;
                    return append(&mut self.outgoing, room, |out| {
                        let result = match record {
                            Some(record) => traffic.encrypt(record, out),
                            None => traffic.queue_close_notify(out),
                        };
                        result.map_err(|error| match error {
                            EncryptError::InsufficientSize(InsufficientSizeError { required_size }) => required_size,
                            EncryptError::EncryptExhausted => NEVER,
                        })
                    });
                }
                ConnectionState::EncodeTlsData(mut data) => {
                    append(&mut self.outgoing, 0, |out| encode(&mut data, out))?
                }
                ConnectionState::TransmitTlsData(data) => data.done(),
                ConnectionState::PeerClosed => self.ended = true,
                _ => return Err(io::ErrorKind::BrokenPipe.into()),
            }
            self.incoming.drain(..discard);
        }
    }

    /// Sends what is in `outgoing`; `WouldBlock` if something of it is left.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while self.unsent_bytes() > 0 {
            let rest = &self.outgoing[self.sent..];
            let result = if self.notified { self.socket.write_last(rest) } else { self.socket.write(rest) };
            match result {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => self.sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        // Gives the memory back.
        (self.outgoing, self.sent) = (Vec::new(), 0);
        Ok(())
    }

    pub(super) fn shutdown_write(&mut self) -> io::Result<()> {
        if !self.notified && !self.tls.is_handshaking() && self.notify().is_ok() {
            // All else is sent, so there is room but for a strange coincidence; then the end comes without this.
            let _ = self.flush();
        }
        self.socket.shutdown_write()
    }
}

impl<S: Socket> Drop for Session<S> {
    /// Announces an end before which everything was sent; of any other the peer has to be able to tell that it is none.
    fn drop(&mut self) {
        if self.unsent_bytes() == 0 && !self.notified && !self.tls.is_handshaking() && self.notify().is_ok() {
            let _ = self.flush();
        }
    }
}

/// What an encoder says that is of no more use.
const NEVER: usize = usize::MAX;

fn encode(data: &mut EncodeTlsData<'_, ServerConnectionData>, out: &mut [u8]) -> Result<usize, usize> {
    data.encode(out).map_err(|error| match error {
        EncodeError::InsufficientSize(InsufficientSizeError { required_size }) => required_size,
        EncodeError::AlreadyEncoded => NEVER,
    })
}

/// Has `encode` write into `room` bytes behind what is in `out`. It says how many it has used, or how many it needs, and is
/// asked again then.
fn append(
    out: &mut Vec<u8>,
    mut room: usize,
    mut encode: impl FnMut(&mut [u8]) -> Result<usize, usize>,
) -> io::Result<()> {
    let start = out.len();
    loop {
        out.resize(start + room, 0);
        match encode(&mut out[start..]) {
            Ok(count) => {
                out.truncate(start + count);
                return Ok(());
            }
            Err(NEVER) => {
                out.truncate(start);
                return Err(io::Error::other("the keys of a TLS session are used up"));
            }
            Err(needed) => room = needed,
        }
    }
}

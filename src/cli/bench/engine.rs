//! The loop of a load: one thread, one reactor, one clock, and the user's Ctrl-C.
//!
//! Owns: what all kinds of load share below their own meaning. Must never know: what is sent or measured.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

use super::super::SERVER_MESSAGE_BYTES_MAX;
use super::BenchError;
use crate::config::Target;
use crate::net::{ConnId, Dial, Inbox, NetConfig, NetEvent, Reactor};

const SIGNALS: usize = 0;
/// Waits shorter than this are not worth a system call: the loop goes round instead.
const SPIN: Duration = Duration::from_micros(10);
/// The reactor keeps waits of up to this to the microsecond, longer ones only to the millisecond.
const PRECISE: Duration = Duration::from_millis(1);
/// The kernel's receive buffer of a member that never reads, in bytes. The kernel doubles it.
const SLOW_BUFFER_BYTES: usize = 4 * 1024;
/// Addresses of the loopback network that connections come from in turn: each has some 28,000 ports.
const SOURCES: u32 = 1_000;
/// What a server may take to answer a connection, in milliseconds.
const OPEN_TIMEOUT_MS: u64 = 20_000;

/// Everything below the load.
pub(super) struct Engine {
    pub net: Reactor,
    pub inbox: Inbox,
    pub events: Vec<NetEvent>,
    started: Instant,
    signals: Signals,
    address: SocketAddr,
    host: String,
    path: String,
    dialled: u32,
    /// Times the user has asked for the end.
    pub interrupts: u32,
    /// When this turn's wait was over, in nanoseconds of the run.
    pub woken_ns: u64,
}

impl Engine {
    /// Finds the server's address; connects to nothing yet.
    pub fn new(target: &Target) -> Result<Engine, BenchError> {
        let found = (target.host.as_str(), target.port).to_socket_addrs();
        let address = found.map_err(|source| BenchError::Resolve { host: target.host.clone(), source })?.next();
        let none = || io::Error::from(io::ErrorKind::NotFound);
        let address = address.ok_or_else(|| BenchError::Resolve { host: target.host.clone(), source: none() })?;
        let config = NetConfig {
            message_bytes_max: SERVER_MESSAGE_BYTES_MAX,
            handshake_timeout_ms: OPEN_TIMEOUT_MS,
            ..NetConfig::default()
        };
        let mut net = Reactor::without_listener(config, 0).map_err(BenchError::System)?;
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(BenchError::System)?;
        net.register(&mut signals, SIGNALS).map_err(BenchError::System)?;
        Ok(Engine {
            net,
            inbox: Inbox::new(),
            events: Vec::new(),
            started: Instant::now(),
            signals,
            address,
            host: target.authority(),
            path: target.path.clone(),
            dialled: 0,
            interrupts: 0,
            woken_ns: 0,
        })
    }

    /// Where connections go.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Nanoseconds of the run.
    #[inline]
    pub fn now_ns(&self) -> u64 {
        self.started.elapsed().as_nanos() as u64
    }

    /// Waits until something happens or `until_ns` is near or has come, and collects what happened into `events`.
    pub fn wait(&mut self, until_ns: u64) -> Result<(), BenchError> {
        let now_ns = self.now_ns();
        let left = Duration::from_nanos(until_ns.saturating_sub(now_ns));
        let net_ms = self.net.next_deadline_ms().map(|at_ms| at_ms.saturating_sub(now_ns / 1_000_000));
        let timeout = match left {
            left if left <= SPIN => Duration::ZERO,
            left if left <= 2 * PRECISE => left,
            left => left - PRECISE,
        };
        let timeout = net_ms.map_or(timeout, |net_ms| timeout.min(Duration::from_millis(net_ms)));
        self.net.wait(Some(timeout)).map_err(BenchError::System)?;
        self.woken_ns = self.now_ns();
        let mut events = std::mem::take(&mut self.events);
        self.net.collect(self.woken_ns / 1_000_000, &mut events);
        events.retain(|event| match event {
            NetEvent::External { key: SIGNALS } => {
                self.interrupts += self.signals.pending().count() as u32;
                false
            }
            NetEvent::External { .. } => false,
            _ => true,
        });
        self.events = events;
        Ok(())
    }

    /// Writes what was queued.
    pub fn flush(&mut self) {
        let now_ms = self.now_ns() / 1_000_000;
        self.net.flush(now_ms, &mut self.events);
    }

    /// Begins to connect. A `slow` connection has a small receive buffer.
    pub fn dial(&mut self, slow: bool) -> io::Result<ConnId> {
        let source = source(self.address.ip(), self.dialled);
        self.dialled = self.dialled.wrapping_add(1);
        self.net.dial(&Dial {
            addr: self.address,
            source,
            host: &self.host,
            target: &self.path,
            headers: &[],
            receive_buffer_bytes: slow.then_some(SLOW_BUFFER_BYTES),
        })
    }
}

/// Where connection `n` comes from, if the server is on the loopback network: all of 127.0.0.0/8 is this machine, on Linux.
fn source(server: IpAddr, n: u32) -> Option<IpAddr> {
    let spread = cfg!(target_os = "linux") && matches!(server, IpAddr::V4(ip) if ip.is_loopback());
    let n = n % SOURCES;
    spread.then(|| Ipv4Addr::new(127, 1, (n / 250) as u8, (n % 250) as u8 + 1).into())
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn a_loopback_server_is_reached_from_many_addresses() {
        let server = IpAddr::from([127, 0, 0, 1]);
        let sources: HashSet<_> = (0..10_000).filter_map(|n| source(server, n)).collect();
        assert_eq!(sources.len(), if cfg!(target_os = "linux") { SOURCES as usize } else { 0 });
        assert!(sources.iter().all(IpAddr::is_loopback));
        assert_eq!(source([192, 168, 0, 1].into(), 0), None);
    }
}

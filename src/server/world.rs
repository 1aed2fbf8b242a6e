//! What is outside of the server: clocks, random bytes, signals, the network, the disk, helper threads.
//!
//! Owns: the operating system's, as [`System`]. Must never know: what becomes of it.

use std::{io, net::SocketAddr, path::Path, sync::Arc};

use rustix::{
    io::Errno,
    rand::{GetRandomFlags, getrandom},
};
use signal_hook::consts::signal::{SIGHUP, SIGINT, SIGTERM};
use signal_hook_mio::v1_0::Signals;

use super::{Process, ServerError, console::Console, process, supervisor, supervisor::Supervisor};
use crate::{
    accounts::{
        Token,
        control::{self, Control},
    },
    clock::{Clock, Now},
    config::{Config, Healthcheck},
    jobs::{Helpers, Threads},
    log::{Disk, RealDisk},
    net::{Port, SystemPort, Tls, raise_descriptors},
    passwords,
};

/// The key under which the network tells that a helper has done something.
pub const WAKER: usize = 0;
/// The key under which the network tells of a signal.
pub const SIGNALS: usize = 1;

/// How far a server is that ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It accepts nobody any more.
    Stopping,
    /// All is stored, everybody is told.
    Stopped,
}

/// Everything that a server does not do by itself. In another world than [`System`] it does the same, and does not notice.
pub trait World {
    /// Where logs are kept.
    type Disk: Disk + Clone;
    /// Where connections come from.
    type Port: Port;
    /// Where slow work is done.
    type Helpers: Helpers + Clone;

    /// Reads both clocks.
    fn now(&self) -> Now;

    /// The monotonic clock alone, in microseconds.
    fn monotonic_us(&self) -> u64 {
        self.now().monotonic_us()
    }

    /// The loop goes round. When it is to do so at the latest, on the monotonic clock in milliseconds; `None` for however
    /// long.
    fn tend(&mut self, _now: Now) -> Option<u64> {
        None
    }

    /// What is known of the process.
    fn process(&self) -> Process {
        Process::default()
    }

    /// Fills with random bytes.
    ///
    /// # Errors
    /// There are none to be had.
    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()>;

    /// The disk.
    fn disk(&self) -> Self::Disk;

    /// How many files and sockets there may be.
    fn descriptors(&self) -> usize;

    /// Listens. What comes of helpers and signals is told under [`WAKER`] and [`SIGNALS`].
    ///
    /// # Errors
    /// The address cannot be used, or something is lacking.
    fn listen(&mut self, address: SocketAddr) -> Result<(Self::Port, Self::Helpers), ServerError>;

    /// Tells where the server is, and its operator what it takes to look after it.
    ///
    /// # Errors
    /// It cannot be written down.
    fn announce(&mut self, config: &Config, operator: &Token) -> io::Result<()>;

    /// Tells whoever looks after the server how far it is.
    fn tell(&mut self, stage: Stage);

    /// Takes back what [`World::announce`] has written down.
    ///
    /// # Errors
    /// It cannot be removed.
    fn withdraw(&mut self, data: &Path) -> io::Result<()>;

    /// Whether there was a signal to stop. One to read files again is heeded by this.
    fn is_told_to_stop(&mut self) -> bool;

    /// Makes of a password what can be kept, as [`passwords::hash`].
    fn hash(password: &str, salt: [u8; 16]) -> String {
        passwords::hash(password, salt)
    }

    /// Whether a password is the one, as [`passwords::verify`].
    fn verify(password: &str, hash: &str) -> bool {
        passwords::verify(password, hash)
    }

    /// `N` random bytes.
    ///
    /// # Errors
    /// There are none to be had.
    fn bytes<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes).map(|()| bytes)
    }

    /// A random number.
    ///
    /// # Errors
    /// There is none to be had.
    fn u64(&mut self) -> io::Result<u64> {
        self.bytes().map(u64::from_ne_bytes)
    }
}

/// The operating system.
pub struct System {
    clock: Clock,
    console: Console,
    supervisor: Supervisor,
    entropy: Entropy,
    /// From when it listens.
    signals: Option<Signals>,
    address: SocketAddr,
    tls: Option<Tls>,
}

impl Default for System {
    fn default() -> Self {
        let address = SocketAddr::from(([0; 4], 0));
        let (clock, console, supervisor) = (Clock::start(), Console::of_process(), Supervisor::of_process());
        Self { clock, console, supervisor, entropy: Entropy::default(), signals: None, address, tls: None }
    }
}

impl System {
    /// The one that a server with this configuration needs.
    ///
    /// # Errors
    /// The certificate or its key cannot be used.
    pub fn of(config: &Config) -> Result<Self, ServerError> {
        let tls = config.tls_files().map(|(cert, key)| Tls::load(cert, key)).transpose()?;
        Ok(Self { tls, ..Self::default() })
    }

    /// SIGHUP: what was renewed is read again. Without TLS there is nothing of that kind.
    fn reload(&self) {
        match self.tls.as_ref().map(Tls::reload) {
            Some(Ok(())) => log::info!("SIGHUP: the TLS certificate and its key are read again"),
            Some(Err(error)) => {
                log::error!("SIGHUP: the TLS certificate in use stays, for the new one is bad: {error}")
            }
            None => log::info!("SIGHUP: nothing to read again"),
        }
    }
}

impl World for System {
    type Disk = RealDisk;
    type Port = SystemPort;
    type Helpers = Threads;

    fn now(&self) -> Now {
        self.clock.now()
    }

    fn tend(&mut self, now: Now) -> Option<u64> {
        self.supervisor.tend(now.monotonic_ms)
    }

    fn monotonic_us(&self) -> u64 {
        self.clock.monotonic_us()
    }

    fn process(&self) -> Process {
        process::look()
    }

    fn fill(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        self.entropy.fill(bytes)
    }

    fn disk(&self) -> RealDisk {
        RealDisk
    }

    fn descriptors(&self) -> usize {
        raise_descriptors()
    }

    fn listen(&mut self, address: SocketAddr) -> Result<(SystemPort, Threads), ServerError> {
        let mut port = match supervisor::listener()? {
            Some(listener) => SystemPort::listen_on(listener),
            None => SystemPort::bind(address),
        }
        .map_err(|source| ServerError::Listen { address, source })?
        .with_tls(self.tls.clone());
        self.address = port.local_addr();
        let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
        port.register(&mut signals, SIGNALS)?;
        self.signals = Some(signals);
        let waker = Arc::new(port.waker(WAKER)?);
        Ok((port, Threads(waker)))
    }

    fn announce(&mut self, config: &Config, operator: &Token) -> io::Result<()> {
        let local = Healthcheck { port: self.address.port(), bind: self.address.ip() }.address();
        let tls = self.tls.is_some();
        control::write(&config.data, &Control { address: local, tls, token: operator.reveal().to_owned() })?;
        let scheme = if tls { "https" } else { "http" };
        self.console.greet(scheme, self.address, &config.data);
        self.supervisor.tell(&format!("READY=1\nSTATUS=Listening on {scheme}://{}", self.address));
        Ok(())
    }

    fn tell(&mut self, stage: Stage) {
        match stage {
            Stage::Stopping => {
                self.console.stopping();
                self.supervisor.tell("STOPPING=1");
            }
            Stage::Stopped => self.console.stopped(),
        }
    }

    fn withdraw(&mut self, data: &Path) -> io::Result<()> {
        control::remove(data)
    }

    fn is_told_to_stop(&mut self) -> bool {
        let signals: Vec<_> = self.signals.iter_mut().flat_map(Signals::pending).collect();
        // Sent by hand it asks for a reload; sent because the terminal is gone, it is the end.
        let is_reload = |signal: &i32| *signal == SIGHUP && !self.console.has_hung_up();
        if signals.iter().any(is_reload) {
            self.reload();
        }
        !signals.iter().all(is_reload)
    }
}

const BUFFER_BYTES: usize = 1024;

/// Random bytes, many at a time: hands every byte out once, and wipes it. One system call serves some fifty connections.
struct Entropy {
    bytes: [u8; BUFFER_BYTES],
    used: usize,
}

impl Default for Entropy {
    fn default() -> Self {
        Self { bytes: [0; BUFFER_BYTES], used: BUFFER_BYTES }
    }
}

impl Entropy {
    /// Fills with bytes that were never given to anybody else; at most [`BUFFER_BYTES`].
    fn fill(&mut self, out: &mut [u8]) -> io::Result<()> {
        if self.used + out.len() > BUFFER_BYTES {
            self.refill()?;
        }
        let fresh = &mut self.bytes[self.used..self.used + out.len()];
        out.copy_from_slice(fresh);
        fresh.fill(0);
        self.used += out.len();
        Ok(())
    }

    /// The system call itself: it needs no `/dev`, which an empty root does not have.
    fn refill(&mut self) -> io::Result<()> {
        let mut filled = 0;
        while filled < BUFFER_BYTES {
            match getrandom(&mut self.bytes[filled..], GetRandomFlags::empty()) {
                Ok(count) => filled += count,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        self.used = 0;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bytes_come_twice() {
        let mut system = System::default();
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1_000 {
            assert!(seen.insert(system.bytes::<20>().expect("the system has random bytes")));
        }
    }
}

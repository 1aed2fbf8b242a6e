//! Whoever started the process and watches over it, as systemd does: sockets that it hands over, and what it wants to hear.
//!
//! Owns: both protocols. Must never know: how the server is. Sources: sd_listen_fds(3), sd_notify(3),
//! sd_watchdog_enabled(3).

use std::{
    env,
    ffi::OsString,
    io,
    net::TcpListener,
    os::unix::{ffi::OsStrExt, net::UnixDatagram},
    process,
};

use listenfd::ListenFd;

/// The way to a supervisor, if there is one. Its socket is opened once: a server without descriptors still says that it is
/// alive.
#[derive(Debug)]
pub(super) struct Supervisor {
    socket: Option<UnixDatagram>,
    /// How often it is to be told that the loop goes round, in milliseconds.
    watchdog_ms: Option<u64>,
    tell_at_ms: u64,
}

impl Supervisor {
    /// As the environment says. One that cannot be reached is told nothing, and the log says so.
    pub fn of_process() -> Self {
        Self::from_environment(|name| env::var_os(name))
    }

    fn from_environment(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let socket = variable("NOTIFY_SOCKET").filter(|address| !address.is_empty()).and_then(|address| {
            connect(&address).inspect_err(|error| log::warn!("NOTIFY_SOCKET cannot be used: {error}")).ok()
        });
        let number = |name| variable(name)?.to_str()?.parse::<u64>().ok();
        let is_other = number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(process::id()));
        // Twice as often as needed, as the manual advises.
        let watchdog_ms = number("WATCHDOG_USEC").filter(|_| !is_other && socket.is_some());
        Self { socket, watchdog_ms: watchdog_ms.map(|us| (us / 2_000).max(1)), tell_at_ms: 0 }
    }

    /// The loop goes round. When that is to be told next, in milliseconds; `None` for never.
    pub fn tend(&mut self, now_ms: u64) -> Option<u64> {
        let interval_ms = self.watchdog_ms?;
        if now_ms >= self.tell_at_ms {
            self.tell("WATCHDOG=1");
            self.tell_at_ms = now_ms + interval_ms;
        }
        Some(self.tell_at_ms)
    }

    /// Tells of a change, as lines of `NAME=value`.
    pub fn tell(&self, state: &str) {
        if let Some(socket) = &self.socket
            && let Err(error) = socket.send(state.as_bytes())
        {
            log::debug!("the supervisor does not listen: {error}");
        }
    }
}

/// A path, or behind `@` a name in the abstract namespace of Linux.
fn connect(address: &OsString) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    // Nobody in the chat waits for a supervisor.
    socket.set_nonblocking(true)?;
    match address.as_bytes() {
        #[cfg(target_os = "linux")]
        [b'@', name @ ..] => {
            use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
            socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?;
        }
        _ => socket.connect(address)?,
    }
    Ok(socket)
}

/// The listening socket that was handed over, if one was: the first.
///
/// # Errors
/// It is no TCP socket, or there are several.
pub(super) fn listener() -> io::Result<Option<TcpListener>> {
    let mut handed_over = ListenFd::from_env();
    match handed_over.len() {
        0 => Ok(None),
        1 => handed_over.take_tcp_listener(0),
        count => Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{count} sockets were handed over, not one"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn supervisor(variables: &[(&str, String)]) -> Supervisor {
        let find = |name: &str| variables.iter().find(|(known, _)| *known == name);
        Supervisor::from_environment(|name| find(name).map(|(_, value)| OsString::from(value)))
    }

    fn watchdog(us: &str, pid: Option<u32>, has_socket: bool) -> Option<u64> {
        let folder = env::temp_dir().join(format!("roomlog-supervisor-{}-{us}-{pid:?}", process::id()));
        let _ = std::fs::remove_file(&folder);
        let _listens = UnixDatagram::bind(&folder).expect("a socket");
        let mut variables = vec![("WATCHDOG_USEC", us.to_owned())];
        variables.extend(pid.map(|pid| ("WATCHDOG_PID", pid.to_string())));
        if has_socket {
            variables.push(("NOTIFY_SOCKET", folder.to_str().expect("a path").to_owned()));
        }
        let next_ms = supervisor(&variables).tend(1_000);
        std::fs::remove_file(&folder).expect("it is there");
        next_ms
    }

    #[test]
    fn the_watchdog_is_told_twice_as_often_as_it_asks_and_only_if_it_asks_us() {
        assert_eq!(watchdog("30000000", None, true), Some(16_000));
        assert_eq!(watchdog("1000", Some(process::id()), true), Some(1_001), "it never spins");
        assert_eq!(watchdog("30000000", Some(1), true), None);
        assert_eq!(watchdog("30000000", None, false), None);
        assert_eq!(watchdog("often", None, true), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_in_the_abstract_namespace_is_reached() {
        use std::os::{linux::net::SocketAddrExt, unix::net::SocketAddr};
        let name = format!("roomlog-{}", process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let listens = UnixDatagram::bind_addr(&address).expect("a socket");
        supervisor(&[("NOTIFY_SOCKET", format!("@{name}"))]).tell("READY=1");
        let mut buffer = [0; 64];
        let count = listens.recv(&mut buffer).expect("it was told");
        assert_eq!(&buffer[..count], b"READY=1");
    }

    #[test]
    fn without_a_supervisor_nothing_is_told() {
        let mut nobody =
            supervisor(&[("NOTIFY_SOCKET", "/nowhere/at/all".to_owned()), ("WATCHDOG_USEC", "9".to_owned())]);
        nobody.tell("READY=1");
        assert_eq!(nobody.tend(5), None);
    }
}

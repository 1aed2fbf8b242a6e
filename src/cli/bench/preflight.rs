//! What can be known to fail before the first connection is made.
//!
//! Owns: the bounds of the operating system, and the words for them. Must never know: the load.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{BenchError, procfs};
use crate::config::Bench;

/// Descriptors for everything that is no connection.
const DESCRIPTORS_OWN: u64 = 32;
/// Seconds for which a connection that comes and goes may hold a descriptor, as a guess.
const CHURN_SECONDS: u64 = 2;

/// Raises the limit of descriptors and checks that the run fits.
///
/// # Errors
/// It does not; the error says what to do.
pub(super) fn check(options: &Bench, on_loopback: bool) -> Result<(), BenchError> {
    let connections = u64::from(options.conns) + u64::from(options.slow);
    let needed = connections + u64::from(options.churn) * CHURN_SECONDS + DESCRIPTORS_OWN;
    let available = raise_descriptors();
    if needed > available {
        return Err(BenchError::Descriptors { needed, available });
    }
    if let Some(pid) = options.server_pid {
        if procfs::processor_ms(pid).is_none() {
            return Err(BenchError::NoProcess { pid });
        }
        if let Some(available) = procfs::descriptors(pid).filter(|available| *available < connections) {
            return Err(BenchError::ServerDescriptors { needed: connections, available });
        }
    }
    match procfs::ephemeral_ports().filter(|ports| !on_loopback && u64::from(*ports) < connections) {
        Some(ports) => Err(BenchError::Ports { needed: connections, ports }),
        None => Ok(()),
    }
}

/// Raises the soft limit to the hard one; what is in force then.
fn raise_descriptors() -> u64 {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    if raised.is_ok() { maximum } else { current }.unwrap_or(u64::MAX)
}

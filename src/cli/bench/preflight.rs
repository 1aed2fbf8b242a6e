//! What can be known to fail before the first connection is made.
//!
//! Owns: the bounds of the operating system, and the words for them. Must never know: the load.

use super::{BenchError, procfs};
use crate::config::Bench;
use crate::net::raise_descriptors;

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
    let available = raise_descriptors() as u64;
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

//! What a run ends with, and the marks in time by which its rates are told.
//!
//! Owns: these two. Must never know: how they are printed.

use rustix::time::{ClockId, clock_gettime};

use super::measure::Figures;
use super::procfs::{self, Memory};
use crate::config::Bench;

/// The counters at one moment.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Snapshot {
    pub at_ns: u64,
    pub server_cpu_ms: Option<f64>,
    /// Of this process.
    pub own_cpu_ms: f64,
    pub sent: u64,
    pub deliveries: u64,
    pub delivery_bytes: u64,
}

impl Snapshot {
    pub fn take(options: &Bench, at_ns: u64, figures: &Figures) -> Snapshot {
        let own = clock_gettime(ClockId::ProcessCPUTime);
        Snapshot {
            at_ns,
            server_cpu_ms: options.server_pid.and_then(procfs::processor_ms),
            own_cpu_ms: own.tv_sec as f64 * 1_000.0 + own.tv_nsec as f64 / 1_000_000.0,
            sent: figures.sent,
            deliveries: figures.deliveries,
            delivery_bytes: figures.delivery_bytes,
        }
    }

    /// The server's memory now, if it is known which process that is.
    pub fn memory(options: &Bench) -> Option<Memory> {
        options.server_pid.and_then(procfs::memory)
    }
}

/// What a replay did.
#[derive(Debug, Clone, Copy)]
pub(super) struct Replayed {
    /// Messages each connection was to get.
    pub messages: u64,
    /// Messages that were there before.
    pub found: u64,
}

/// All there is to tell.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The server sent acks, and they were asked for.
    pub acks: bool,
    pub lost: u64,
    pub repeated: u64,
    pub reordered: u64,
    pub unconfirmed: u64,
    /// Deliveries that members should have had in all.
    pub expected: u64,
    /// Members, those that never read included.
    pub connections: u64,
    /// Of the server: before the first connection, when all were ready, at the end.
    pub memory: [Option<Memory>; 3],
    /// When the measuring began, and when it ended.
    pub snapshots: [Snapshot; 2],
    pub figures: Figures,
    pub replay: Option<Replayed>,
}

//! `roomlog bench`: loads a chat server that speaks this protocol, checks every message, and says what it cost.
//!
//! Owns: the order of a run: check, load, report; and the exit code. Must never know: the server's insides. It is a client
//! like any other, over the same reactor as the server.

mod check;
mod churn;
mod engine;
mod load;
mod measure;
mod pace;
mod preflight;
mod procfs;
mod progress;
mod receive;
mod replay;
mod report;
mod result;
mod verdict;
mod wire;

use std::hash::{BuildHasher, RandomState};
use std::io::{self, Write};

use crate::config::Bench;
use engine::Engine;
use load::Load;
use replay::Replay;

/// Why a run has no result. The caller prints it as one line and exits with 1.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The name has no address.
    #[error("bench: cannot find {host}: {source}")]
    Resolve {
        /// As given.
        host: String,
        /// The resolver's word.
        source: io::Error,
    },
    /// A connection could not be made.
    #[error("bench: cannot open {target}: {reason} ({opened} of {all} connections were open)")]
    Open {
        /// The server's URL.
        target: String,
        /// Connections that were open by then.
        opened: u64,
        /// Connections wanted.
        all: usize,
        /// Why.
        reason: String,
    },
    /// A connection ended before the load began.
    #[error("bench: a connection was lost before the load began: {reason}{}", because(first_error))]
    LostEarly {
        /// How it ended.
        reason: String,
        /// What the server had said.
        first_error: Option<String>,
    },
    /// The server refused a join or a probe.
    #[error("bench: the server refuses: {text}")]
    Refused {
        /// Its words.
        text: String,
    },
    /// A probe did not reach everybody.
    #[error(
        "bench: after 30 s only {ready} of {all} connections had received a message in their rooms{}; \
         does the server speak the protocol?",
        because(first_error)
    )]
    NotReady {
        /// Connections that had.
        ready: usize,
        /// Connections in all.
        all: usize,
        /// What the server had said.
        first_error: Option<String>,
    },
    /// A replay needs a room that says what it has.
    #[error("bench: --replay needs a server that acks a join with the room's head; this one does not")]
    NoHead,
    /// The room was not filled.
    #[error(
        "bench: filled the room with {filled} of {all} messages, then nothing more came back{}",
        because(first_error)
    )]
    NotFilled {
        /// Messages that were stored.
        filled: u64,
        /// Messages wanted.
        all: u64,
        /// What the server had said.
        first_error: Option<String>,
    },
    /// The limit of descriptors is too low.
    #[error(
        "bench: this run needs {needed} file descriptors and may have {available}: raise the hard limit (ulimit -Hn, \
         LimitNOFILE) or ask for fewer connections"
    )]
    Descriptors {
        /// Descriptors needed.
        needed: u64,
        /// Descriptors to be had.
        available: u64,
    },
    /// The server's limit of descriptors is too low.
    #[error(
        "bench: the server may have {available} file descriptors and would need more than {needed}: raise its limit"
    )]
    ServerDescriptors {
        /// Connections.
        needed: u64,
        /// Descriptors to be had.
        available: u64,
    },
    /// One address has too few ports.
    #[error(
        "bench: {needed} connections need as many ports and this machine gives {ports} to one address: widen \
         net.ipv4.ip_local_port_range, or use several machines"
    )]
    Ports {
        /// Connections.
        needed: u64,
        /// Ports to be had.
        ports: u32,
    },
    /// `--server-pid` is nobody.
    #[error("bench: --server-pid {pid}: no such process, or this system has no /proc")]
    NoProcess {
        /// As given.
        pid: u32,
    },
    /// The operating system failed.
    #[error("bench: {0}")]
    System(io::Error),
}

fn because(first_error: &Option<String>) -> String {
    first_error.as_ref().map_or_else(String::new, |error| format!("; the server said {error}"))
}

/// Runs a load and prints its result; the exit code.
///
/// # Errors
/// The run could not take place.
pub fn run(options: &Bench) -> Result<u8, BenchError> {
    let engine = Engine::new(&options.target)?;
    preflight::check(options, engine.address().ip().is_loopback())?;
    // Messages of an earlier run in the same room are not ours.
    let run = RandomState::new().hash_one(std::process::id()) as u32;
    let outcome = match options.replay {
        Some(messages) => Replay::new(options, engine, run, messages).run()?,
        None => Load::new(options, engine, run).run()?,
    };
    let mut report = report::json(options, &outcome);
    let code = verdict::judge(options, &mut report);
    let text = if options.json { format!("{report:#}\n") } else { report::table(&report) };
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(BenchError::System(error)),
        _ => Ok(code),
    }
}

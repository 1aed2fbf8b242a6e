//! `roomlog log`: what is in a data folder, without a server.
//!
//! Owns: what is printed, and the errors of all actions. Must never know: bytes of the format; the log reads and writes.

mod check;
mod transfer;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use super::random;
use crate::clock::{Clock, Now};
use crate::config::{LogAction, LogCommand};
use crate::limits;
use crate::log::inspect::{Batch, Found, Inspector, RoomFiles, Summary};
use crate::log::{LogError, Options, RealDisk, Retention, Store, StoreError, SyncPolicy};
use crate::protocol::recorded;

/// Longest wait for a write that seems to be under way.
const WRITE_WAIT: Duration = Duration::from_millis(300);

/// Why an action did not do all it was asked to. The caller prints it as a line and exits with 1.
#[derive(Debug, thiserror::Error)]
pub enum LogCommandError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such room.
    #[error("no room {room:?} in {}", data.display())]
    NoRoom {
        /// As given.
        room: String,
        /// Where it was looked for.
        data: PathBuf,
    },
    /// A file cannot be read or written.
    #[error("{what}: {source}")]
    Io {
        /// Which, or what for.
        what: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// Damage was found, and told of.
    #[error("{0}")]
    Damaged(String),
    /// A line that cannot be imported; those before it were.
    #[error("line {line}: {why}; {imported} messages of the lines before it were imported")]
    BadLine {
        /// From 1.
        line: u64,
        /// What is wrong with it.
        why: String,
        /// How many were stored.
        imported: u64,
    },
    /// A room's log refused to go on.
    #[error("room {room:?}: {source}; {imported} messages were imported")]
    Refused {
        /// The room's name.
        room: String,
        /// Why.
        source: LogError,
        /// How many were stored.
        imported: u64,
    },
}

/// Does what the command line asks for.
///
/// # Errors
/// [`LogCommandError`]; a reader of stdout that has seen enough is no error.
pub fn run(command: &LogCommand) -> Result<(), LogCommandError> {
    let mut out = BufWriter::new(io::stdout().lock());
    let result = act(command, &mut out).and_then(|()| out.flush().map_err(printing));
    match result {
        Err(LogCommandError::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => {
            // What was found before goes ahead of what is wrong.
            let _ = out.flush();
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

fn act(command: &LogCommand, out: &mut impl Write) -> Result<(), LogCommandError> {
    match &command.action {
        LogAction::List { json } => list(command, *json, out),
        LogAction::Stat { room, json } => stat(&find(command, room)?, *json, out),
        LogAction::Verify { room } => check::verify(command, room.as_deref(), out),
        LogAction::Export { room, since, until } => transfer::export(&find(command, room)?, *since, *until, out),
        LogAction::Import { room, file } => transfer::import(command, room, file.as_deref(), out),
        LogAction::Repair { room, yes } => check::repair(command, room, *yes, out),
    }
}

fn printing(source: io::Error) -> LogCommandError {
    LogCommandError::Io { what: "stdout".to_owned(), source }
}

/// An error about a room's files.
fn of_room(files: &RoomFiles) -> impl Fn(io::Error) -> LogCommandError + '_ {
    |source| LogCommandError::Io { what: files.dir.display().to_string(), source }
}

fn find(command: &LogCommand, room: &str) -> Result<RoomFiles, LogCommandError> {
    let found = Inspector::open(&command.data)?.room(room)?;
    found.ok_or_else(|| LogCommandError::NoRoom { room: room.to_owned(), data: command.data.clone() })
}

/// Opens the data folder for writing: the same segments as a server would write, nothing dropped.
fn open_store(command: &LogCommand) -> Result<(Store, Now), LogCommandError> {
    let now = Clock::start().now();
    let options = Options {
        dir: command.data.clone(),
        policy: SyncPolicy::Always,
        segment_bytes: limits::SEGMENT_BYTES,
        files_open_max: limits::LOG_FILES_OPEN_MIN,
        retention: Retention::default(),
        run_id: entropy()?,
        opened: now,
    };
    Ok((Store::open(RealDisk, options)?, now))
}

fn entropy() -> Result<u64, LogCommandError> {
    random::number().map_err(|source| LogCommandError::Io { what: "random numbers".to_owned(), source })
}

/// Waits until a write that was seen half done is over, and looks again; gives up when the file does not grow.
fn settled(command: &LogCommand, files: RoomFiles) -> Result<RoomFiles, LogCommandError> {
    let started = Instant::now();
    loop {
        let again = find(command, &files.room)?;
        if again.segments != files.segments || started.elapsed() > WRITE_WAIT {
            return Ok(again);
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn epoch_text(summary: &Summary) -> String {
    summary.epoch.map_or_else(|| "unreadable".to_owned(), |epoch| epoch.to_string())
}

fn list(command: &LogCommand, json: bool, out: &mut impl Write) -> Result<(), LogCommandError> {
    let rooms = Inspector::open(&command.data)?.rooms()?;
    if !json {
        let head = ("MESSAGES", "BYTES", "FLOOR", "HEAD", "EPOCH");
        writeln!(out, "{:>10} {:>12} {:>10} {:>10}  {:16}  ROOM", head.0, head.1, head.2, head.3, head.4)
            .map_err(printing)?;
    }
    for files in rooms {
        let summary = files.summary().map_err(of_room(&files))?;
        let Summary { floor, head, bytes, .. } = summary;
        let (messages, epoch) = ((head + 1).saturating_sub(floor), epoch_text(&summary));
        let line = match json {
            true => json!({"room": files.room, "messages": messages, "bytes": bytes, "floor": floor, "head": head,
                           "epoch": epoch})
            .to_string(),
            false => format!("{messages:>10} {bytes:>12} {floor:>10} {head:>10}  {epoch:16}  {}", visible(&files.room)),
        };
        writeln!(out, "{line}").map_err(printing)?;
    }
    Ok(())
}

/// A name on a terminal: nothing in it may move the cursor.
pub(super) fn visible(room: &str) -> String {
    room.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

fn stat(files: &RoomFiles, json: bool, out: &mut impl Write) -> Result<(), LogCommandError> {
    let summary = files.summary().map_err(of_room(files))?;
    let Summary { floor, head, bytes, old_epochs, .. } = &summary;
    let (first, last) = (timestamp(files, *floor)?, timestamp(files, *head)?);
    let (epoch, messages) = (epoch_text(&summary), (head + 1).saturating_sub(*floor));
    let epochs: Vec<_> = old_epochs.iter().map(|(epoch, last)| (epoch.to_string(), last)).collect();
    if json {
        let value = json!({"room": files.room, "messages": messages, "bytes": bytes, "floor": floor, "head": head,
            "epoch": epoch, "epochs": epochs, "segments": files.segments.len(), "firstTimestamp": first,
            "lastTimestamp": last, "dir": files.dir});
        return writeln!(out, "{value}").map_err(printing);
    }
    let time = |at: Option<u64>| at.map_or_else(|| "-".to_owned(), |ms| format!("{ms} (Unix milliseconds)"));
    let lines = [
        ("room", visible(&files.room)),
        ("folder", files.dir.display().to_string()),
        ("segments", files.segments.len().to_string()),
        ("bytes", bytes.to_string()),
        ("messages", messages.to_string()),
        ("floor", floor.to_string()),
        ("head", head.to_string()),
        ("first", time(first)),
        ("last", time(last)),
        ("epoch", epoch),
    ];
    for (name, value) in lines {
        writeln!(out, "{name:<10}{value}").map_err(printing)?;
    }
    for (epoch, last) in epochs.iter().rev() {
        writeln!(out, "{:<10}{epoch}, good up to {last}", "before").map_err(printing)?;
    }
    Ok(())
}

/// When the message with this number, or the next that is there, was sent.
fn timestamp(files: &RoomFiles, sequence: u64) -> Result<Option<u64>, LogCommandError> {
    let (mut walk, mut batch) = (files.walk_from(sequence), Batch::default());
    while walk.next(&mut batch).map_err(of_room(files))? {
        for found in &batch.found {
            if let Found::Message { sequence: at, payload } = found
                && *at >= sequence
            {
                return Ok(recorded::parse(batch.payload(payload)).map(|message| message.timestamp));
            }
        }
    }
    Ok(None)
}

//! The log's vocabulary: epochs, positions, options, events, errors.
//!
//! Owns: plain data. Must never know: files, or what a payload means.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::record::hex8;
use crate::clock::Now;

/// Names an uninterrupted numbering of one room. Printed as 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Once for each message, so without the formatting machinery.
        let mut digits = [0; 16];
        digits[..8].copy_from_slice(&hex8((self.0 >> 32) as u32));
        digits[8..].copy_from_slice(&hex8(self.0 as u32));
        f.write_str(std::str::from_utf8(&digits).expect("hex digits are ASCII"))
    }
}

/// A text that is not 16 lowercase hex digits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("an epoch is 16 hex digits")]
pub struct ParseEpochError;

impl FromStr for Epoch {
    type Err = ParseEpochError;

    fn from_str(text: &str) -> Result<Epoch, ParseEpochError> {
        let digits = text.len() == 16 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !digits {
            return Err(ParseEpochError);
        }
        u64::from_str_radix(text, 16).map(Epoch).map_err(|_| ParseEpochError)
    }
}

impl TryFrom<String> for Epoch {
    type Error = ParseEpochError;

    fn try_from(text: String) -> Result<Epoch, ParseEpochError> {
        text.parse()
    }
}

impl From<Epoch> for String {
    fn from(epoch: Epoch) -> String {
        epoch.to_string()
    }
}

/// When an appended record becomes visible, and how much a power cut may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// After it is on the disk. Nothing visible is ever lost.
    Always,
    /// After `write(2)`; what was written is synced at most `ms` milliseconds later.
    Interval {
        /// Longest time between a write and the start of its sync, in milliseconds.
        ms: u64,
    },
    /// After `write(2)`; the operating system syncs when it likes.
    Never,
}

impl SyncPolicy {
    /// Whether a power cut may take records that were visible.
    pub fn is_volatile(self) -> bool {
        self != SyncPolicy::Always
    }
}

/// What a room keeps. Whole sealed segments go, the oldest first; `None` is no bound. The log always keeps *at least*
/// this much, and at most an eighth more, because segments are then rolled after an eighth of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Age of the youngest record of a segment from which it may go, in milliseconds.
    pub age_ms: Option<u64>,
    /// Records to keep.
    pub messages: Option<u64>,
    /// Bytes of segment files to keep.
    pub bytes: Option<u64>,
}

/// How a [`Store`](super::Store) works.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data folder; created when it is not there. One process at a time.
    pub dir: PathBuf,
    /// When records become visible.
    pub policy: SyncPolicy,
    /// File size from which a segment is sealed, in bytes; at most 2 GiB are honoured.
    pub segment_bytes: u64,
    /// Log files held open at once, at least 1.
    pub files_open_max: usize,
    /// What is kept of each room.
    pub retention: Retention,
    /// A random number that names this run of the process; never used twice on one data folder.
    pub run_id: u64,
    /// Both clocks at the start of the run. Ages are counted from here, so that a jump of the wall clock drops nothing.
    pub opened: Now,
}

/// An open room. Valid from `open_room` to `close_room`; numbers are reused after that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LogId(pub(crate) u32);

impl LogId {
    /// A small number, unique among the rooms that are open, fit to index a table.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a room stands. `floor <= head + 1` and `head < next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The room's present numbering.
    pub epoch: Epoch,
    /// The earliest sequence that retention has left; 1 for a fresh log.
    pub floor: u64,
    /// The last visible sequence; 0 when there is none.
    pub head: u64,
    /// The sequence that the next append must carry.
    pub next: u64,
}

/// What happened to appended records. Events of one room come in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogEvent {
    /// Every record up to and including `through` may be shown and acknowledged.
    Visible {
        /// The room.
        id: LogId,
        /// The last visible sequence.
        through: u64,
    },
    /// Every appended record from `from` on is gone again: `next` is back at `from`.
    Refused {
        /// The room.
        id: LogId,
        /// The first refused sequence.
        from: u64,
        /// `Full` or `Unavailable`.
        why: LogError,
    },
    /// A write or a sync failed: the room refuses appends until the process is restarted. Reads go on.
    ReadOnly {
        /// The room.
        id: LogId,
    },
}

/// Why one room refused a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The disk is full, or too much waits to be written. Refuse the message; a later one may pass.
    #[error("no space left for this room's log")]
    Full,
    /// The room's files cannot be used; the cause is in the program's log. Refuse until the process is restarted.
    #[error("this room's log is unavailable")]
    Unavailable,
    /// The payload is over `limits::RECORD_BYTES_MAX`, or a replacement is longer than what it replaces. Refuse the message.
    #[error("the record is too long")]
    TooLong,
    /// There is no such record, or none any more. Refuse the change.
    #[error("there is no such record")]
    NoSuchRecord,
    /// The payload holds a line feed or begins like the log's own records (`{"roomlog":`), or one of a change holds a tab.
    /// Refuse the message.
    #[error("the payload cannot be stored as one line")]
    Reserved,
}

/// Why the store as a whole could not be opened or closed.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process holds the data folder's lock. Stop that one first.
    #[error("{} is in use by another process", dir.display())]
    InUse {
        /// The data folder.
        dir: PathBuf,
    },
    /// The data folder cannot be used. Tell the operator and exit.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        source: std::io::Error,
    },
    /// A write or sync of this run failed, or a batch is still out: the run is not marked as cleanly ended. Exit all the
    /// same; the next start recovers.
    #[error("not everything could be made durable")]
    NotDurable,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epoch_prints_and_parses_as_sixteen_hex_digits() {
        assert_eq!(Epoch(0xab).to_string(), "00000000000000ab");
        assert_eq!("00000000000000ab".parse(), Ok(Epoch(0xab)));
        for wrong in ["", "ab", "00000000000000AB", "+0000000000000ab", "00000000000000ab0"] {
            assert_eq!(wrong.parse::<Epoch>(), Err(ParseEpochError), "{wrong:?}");
        }
    }
}

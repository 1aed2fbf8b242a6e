//! The log's own records: the header that begins each segment, the mark that each run leaves in a room before its first
//! record, and the closing behind its last one.
//!
//! Owns: their JSON. Must never know: what else is in a segment.

use serde::{Deserialize, Serialize};

use super::record::{self, CONTROL_PREFIX};
use super::types::Epoch;

/// The format's version; a reader refuses a higher one.
const VERSION: u32 = 1;
/// Old epochs that a header lists; a position of an older one counts as unknown.
pub(crate) const OLD_EPOCHS_MAX: usize = 256;

/// Which run wrote what follows. It is the first thing a run writes to a room, so that a later start knows whether the
/// room's last writer ended cleanly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Mark {
    /// The run, as in `clean_runs`.
    #[serde(with = "hex")]
    pub run: u64,
    /// Which start of the machine; 0 when unknown.
    #[serde(with = "hex")]
    pub boot: u64,
    /// Whether what the run wrote was visible before it was durable.
    pub volatile: bool,
}

/// The first line of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    roomlog: u32,
    /// The room's true name.
    pub room: String,
    /// The epoch of every record of the segment.
    pub epoch: Epoch,
    /// The sequence of its first record.
    pub first: u64,
    /// When it was created, in milliseconds since the Unix epoch.
    #[serde(rename = "created")]
    pub created_ms: u64,
    /// The room's earlier epochs, each with its last sequence.
    pub epochs: Vec<(Epoch, u64)>,
    /// The file's identity when it was created; another one means that this is a copy.
    pub file: String,
    /// The run that goes on to write records; none when the segment was begun only to begin an epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mark: Option<Mark>,
}

/// What stands between the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Control {
    /// What follows was written by this run.
    Mark(Mark),
    /// The run with this number wrote all that it wanted to. Proves that nothing before it is missing.
    Closing(u64),
    /// A repair found nothing of these sequences, both ends included. Its own sequence is `to`.
    Lost {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
}

#[derive(Serialize, Deserialize)]
struct ControlLine {
    roomlog: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    mark: Option<Mark>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    closed: Option<Epoch>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    lost: Option<(u64, u64)>,
}

impl Header {
    /// A header of this version.
    pub fn new(room: &str, epoch: Epoch, first: u64, created_ms: u64) -> Header {
        let (room, epochs, file) = (room.to_owned(), Vec::new(), String::new());
        Header { roomlog: VERSION, room, epoch, first, created_ms, epochs, file, mark: None }
    }

    /// The header as a line.
    pub fn line(&self, seed: u32) -> Vec<u8> {
        line(self, seed, self.first - 1)
    }

    /// The header in a payload; `None` for everything else and for other versions.
    pub fn parse(payload: &[u8]) -> Option<Header> {
        let header: Header = serde_json::from_slice(payload).ok()?;
        (header.roomlog == VERSION && header.first > 0).then_some(header)
    }
}

impl Control {
    /// The record as a line, after the message `last`.
    pub fn line(self, seed: u32, last: u64) -> Vec<u8> {
        let mut control = ControlLine { roomlog: VERSION, mark: None, closed: None, lost: None };
        match self {
            Control::Mark(mark) => control.mark = Some(mark),
            Control::Closing(run) => control.closed = Some(Epoch(run)),
            Control::Lost { from, to } => control.lost = Some((from, to)),
        }
        line(&control, seed, last)
    }

    /// The control record in a payload; `None` for everything else.
    pub fn parse(payload: &[u8]) -> Option<Control> {
        let line = serde_json::from_slice::<ControlLine>(payload).ok()?;
        let closing = line.closed.map(|run| Control::Closing(run.0));
        let lost = line.lost.map(|(from, to)| Control::Lost { from, to });
        line.mark.map(Control::Mark).or(closing).or(lost)
    }
}

fn line(value: &impl Serialize, seed: u32, sequence: u64) -> Vec<u8> {
    let json = serde_json::to_vec(value).expect("plain data without maps has a JSON form");
    debug_assert!(json.starts_with(CONTROL_PREFIX));
    let mut line = Vec::new();
    record::encode(&mut line, seed, sequence, true, &json);
    line
}

mod hex {
    use super::Epoch;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(value: &u64, serializer: S) -> Result<S::Ok, S::Error> {
        Epoch(*value).serialize(serializer)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
        Epoch::deserialize(deserializer).map(|epoch| epoch.0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::record::{Parsed, parse, seed};
    use super::*;

    #[test]
    fn header_and_mark_come_back() {
        let mark = Mark { run: 7, boot: 8, volatile: true };
        let header = Header {
            epochs: vec![(Epoch(1), 3)],
            mark: Some(mark),
            file: "1:2".into(),
            ..Header::new("a\n\"b", Epoch(2), 4, 5)
        };
        let line = header.line(seed("x"));
        let Parsed::Record(record) = parse(&line, seed("x")) else { panic!("no record") };
        assert_eq!((record.sequence, record.barrier), (3, true));
        assert_eq!(Header::parse(record.payload), Some(header));
        let line = Control::Mark(mark).line(seed("x"), 9);
        let Parsed::Record(record) = parse(&line, seed("x")) else { panic!("no record") };
        assert_eq!((record.sequence, Control::parse(record.payload)), (9, Some(Control::Mark(mark))));
        assert_eq!(
            record.payload,
            br#"{"roomlog":1,"mark":{"run":"0000000000000007","boot":"0000000000000008","volatile":true}}"#
        );
        let line = Control::Closing(7).line(seed("x"), 9);
        let Parsed::Record(record) = parse(&line, seed("x")) else { panic!("no record") };
        assert_eq!(Control::parse(record.payload), Some(Control::Closing(7)));
        assert_eq!(record.payload, br#"{"roomlog":1,"closed":"0000000000000007"}"#);
        let line = Control::Lost { from: 5, to: 7 }.line(seed("x"), 7);
        let Parsed::Record(record) = parse(&line, seed("x")) else { panic!("no record") };
        assert_eq!(Control::parse(record.payload), Some(Control::Lost { from: 5, to: 7 }));
        assert_eq!(record.payload, br#"{"roomlog":1,"lost":[5,7]}"#);
    }

    #[test]
    fn header_of_a_later_version_is_refused() {
        let json = r#"{"roomlog":2,"room":"r","epoch":"0000000000000001","first":1,"created":0,"epochs":[],"file":""}"#;
        assert_eq!(Header::parse(json.as_bytes()), None);
        assert!(Header::parse(json.replace(":2,", ":1,").as_bytes()).is_some());
    }
}

//! What the load says, and how it recognises what comes back.
//!
//! Owns: the frames' texts. Must never know: connections, time beyond the numbers it is given.
//!
//! A delivery is looked at once per member and message, so it is not parsed: its content begins with a mark that nobody
//! else writes, and the sequence is the number behind its key. Only what does not begin as this house and its peers write
//! it is parsed as JSON.

use std::io::Write;

use memchr::memmem::Finder;
use serde::Deserialize;
use serde_json::value::RawValue;

/// `~#`, eight digits that name the run, one letter, six digits of an author, sixteen of a time.
const MARK_BYTES: usize = 2 + RUN_BYTES + 1 + AUTHOR_DIGITS + TIME_DIGITS;
const RUN_BYTES: usize = 8;
const AUTHOR_DIGITS: usize = 6;
const TIME_DIGITS: usize = 16;
const FILLER: u8 = b'x';
/// The `id` of a join; those of messages are numbers.
const JOIN_ID: &str = "\"j\"";
const _: () = assert!(MARK_BYTES <= crate::config::SIZE_BYTES_MIN);

/// What a message is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Shows that a room works.
    Probe,
    /// From a sender.
    Load,
    /// From a connection that comes and goes.
    Churn,
    /// Fills a room that is to be replayed.
    Fill,
}

impl Kind {
    fn letter(self) -> u8 {
        match self {
            Kind::Probe => b'p',
            Kind::Load => b'm',
            Kind::Churn => b'c',
            Kind::Fill => b'f',
        }
    }

    fn of(letter: u8) -> Option<Kind> {
        [Kind::Probe, Kind::Load, Kind::Churn, Kind::Fill].into_iter().find(|kind| kind.letter() == letter)
    }
}

/// Says which message a content is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub kind: Kind,
    /// The number of the connection that sent it.
    pub author: u32,
    /// When it was to be sent, in nanoseconds of the run.
    pub at_ns: u64,
}

/// One of our own messages, as it came back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Delivery {
    pub mark: Mark,
    /// 0 if it has none.
    pub sequence: u64,
    /// The content is not what was sent.
    pub damaged: bool,
}

/// What a frame is.
#[derive(Debug, PartialEq)]
pub(super) enum Heard<'a> {
    Delivery(Delivery),
    /// What a server says first; one that also says the protocol's `version` knows all of it.
    Greeting {
        versioned: bool,
    },
    /// The ack of a join, with the room's last number if it says so.
    Joined {
        head: Option<u64>,
    },
    /// The ack of the message with this number.
    Ack {
        id: u64,
    },
    /// A command was refused; the message's number if it was one.
    Error {
        id: Option<u64>,
        text: &'a str,
    },
    /// Messages of the past, and whether more follow.
    History {
        more: bool,
    },
    Other,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(borrow, rename = "type")]
    kind: &'a RawValue,
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    #[serde(borrow)]
    data: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct JoinData {
    head: Option<u64>,
}

#[derive(Deserialize)]
struct HistoryData {
    more: Option<bool>,
}

/// Writes and reads the frames of one run.
#[derive(Debug)]
pub(super) struct Wire {
    run: [u8; RUN_BYTES],
    room_prefix: String,
    size_bytes: usize,
    /// What stands behind the mark.
    filler: Vec<u8>,
    mark: Finder<'static>,
    sequence: Finder<'static>,
    /// Where the mark was in the last delivery: it hardly moves.
    mark_at: usize,
}

impl Wire {
    /// `run` tells this run's messages from all others'.
    pub fn new(run: u32, room_prefix: Option<&str>, size_bytes: usize) -> Self {
        let hex = format!("{run:08x}");
        let mut digits = [0; RUN_BYTES];
        digits.copy_from_slice(hex.as_bytes());
        Wire {
            run: digits,
            room_prefix: room_prefix.map_or_else(|| format!("bench-{hex}-"), |prefix| format!("{prefix}-")),
            size_bytes,
            filler: vec![FILLER; size_bytes - MARK_BYTES],
            mark: Finder::new(format!("~#{hex}").as_bytes()).into_owned(),
            sequence: Finder::new(b"\"sequence\":").into_owned(),
            mark_at: 0,
        }
    }

    /// The text that joins a room: in the plainest form, or with `ack` one that is answered.
    pub fn join(&self, room: u32, ack: bool) -> String {
        let id = if ack { format!(",\"id\":{JOIN_ID}") } else { String::new() };
        format!("{{\"type\":\"join\",\"room\":\"{}{room}\"{id}}}", self.room_prefix)
    }

    /// The text that joins a room and asks for all of it.
    pub fn join_from_start(&self, room: u32) -> String {
        format!("{{\"type\":\"join\",\"room\":\"{}{room}\",\"since\":0,\"id\":{JOIN_ID}}}", self.room_prefix)
    }

    /// The text that leaves it.
    pub fn leave(&self, room: u32) -> String {
        format!("{{\"type\":\"leave\",\"room\":\"{}{room}\"}}", self.room_prefix)
    }

    /// Puts the text of a message into `out`; with `ack`, one whose ack carries `mark.at_ns`.
    pub fn message(&self, room: u32, mark: Mark, ack: bool, out: &mut Vec<u8>) {
        out.clear();
        out.extend_from_slice(b"{\"type\":\"message\",\"data\":{\"room\":\"");
        out.extend_from_slice(self.room_prefix.as_bytes());
        write!(out, "{room}\",\"content\":\"~#").expect("writing to a Vec cannot fail");
        let start = out.len() - 2;
        out.extend_from_slice(&self.run);
        out.push(mark.kind.letter());
        hex_into(u64::from(mark.author), AUTHOR_DIGITS, out);
        hex_into(mark.at_ns, TIME_DIGITS, out);
        out.resize(start + self.size_bytes, FILLER);
        if ack {
            write!(out, "\"}},\"id\":{}}}", mark.at_ns).expect("writing to a Vec cannot fail");
        } else {
            out.extend_from_slice(b"\"}}");
        }
    }

    /// Says what a frame is.
    pub fn hear<'a>(&mut self, text: &'a [u8]) -> Heard<'a> {
        let Some(rest) = text.strip_prefix(b"{\"type\":\"") else { return self.parse(text) };
        match rest.first() {
            Some(b'm') if rest.starts_with(b"message\"") => self.delivery(text).map_or(Heard::Other, Heard::Delivery),
            Some(b'a') => match rest.strip_prefix(b"ack\",\"id\":").and_then(number) {
                Some(id) => Heard::Ack { id },
                None => self.parse(text),
            },
            Some(b'h') if rest.starts_with(b"history\"") => match more_at_end(text) {
                Some(more) => Heard::History { more },
                None => self.parse(text),
            },
            Some(b'c') if rest.starts_with(b"connected\"") => greeting(text),
            Some(b'e') => self.parse(text),
            _ => Heard::Other,
        }
    }

    fn delivery(&mut self, text: &[u8]) -> Option<Delivery> {
        let needle = self.mark.needle();
        let here = text.get(self.mark_at..).is_some_and(|rest| rest.starts_with(needle));
        let at = if here { self.mark_at } else { self.mark.find(text)? };
        self.mark_at = at;
        let mark = read_mark(text.get(at + needle.len()..at + MARK_BYTES)?)?;
        let end = at + self.size_bytes;
        // Filler up to the closing quote, and no longer.
        let whole = text.get(end) == Some(&b'"') && text[at + MARK_BYTES..end] == *self.filler;
        let behind = text.get(end..).unwrap_or_default();
        let sequence = self.sequence_in(behind).or_else(|| self.sequence_in(&text[..at])).unwrap_or(0);
        Some(Delivery { mark, sequence, damaged: !whole })
    }

    fn sequence_in(&self, text: &[u8]) -> Option<u64> {
        number(&text[self.sequence.find(text)? + self.sequence.needle().len()..])
    }

    /// Every sequence in a history frame, in order. (In a string its quotes would be escaped.)
    pub fn sequences<'a>(&'a self, text: &'a [u8]) -> impl Iterator<Item = u64> + 'a {
        self.sequence.find_iter(text).filter_map(|at| number(&text[at + self.sequence.needle().len()..]))
    }

    /// By the book.
    fn parse<'a>(&mut self, text: &'a [u8]) -> Heard<'a> {
        let Ok(Event { kind, id, data }) = serde_json::from_slice(text) else { return Heard::Other };
        let id = id.map(RawValue::get);
        let data = data.map_or("null", RawValue::get);
        match kind.get() {
            "\"message\"" => self.delivery(text).map_or(Heard::Other, Heard::Delivery),
            "\"connected\"" => greeting(text),
            "\"ack\"" if id == Some(JOIN_ID) => {
                Heard::Joined { head: serde_json::from_str::<JoinData>(data).ok().and_then(|data| data.head) }
            }
            "\"ack\"" => id.and_then(|id| id.parse().ok()).map_or(Heard::Other, |id| Heard::Ack { id }),
            "\"error\"" => Heard::Error { id: id.and_then(|id| id.parse().ok()), text: data },
            "\"history\"" => {
                let more = serde_json::from_str::<HistoryData>(data).ok().and_then(|data| data.more);
                Heard::History { more: more.unwrap_or(false) }
            }
            _ => Heard::Other,
        }
    }
}

fn greeting(text: &[u8]) -> Heard<'static> {
    Heard::Greeting { versioned: memchr::memmem::find(text, b"\"version\":").is_some() }
}

/// The last field of a history frame, as this house writes it: large frames are not parsed for it. (A string cannot end
/// so: its quotes would be escaped.)
fn more_at_end(text: &[u8]) -> Option<bool> {
    let ends = [(&b",\"more\":true}}"[..], true), (b",\"more\":false}}", false)];
    ends.into_iter().find_map(|(end, more)| text.ends_with(end).then_some(more))
}

fn hex_into(value: u64, digits: usize, out: &mut Vec<u8>) {
    out.extend((0..digits).rev().map(|digit| b"0123456789abcdef"[(value >> (digit * 4)) as usize & 15]));
}

/// What stands behind the run's name.
fn read_mark(bytes: &[u8]) -> Option<Mark> {
    let (letter, rest) = bytes.split_first()?;
    let (author, at) = rest.split_at_checked(AUTHOR_DIGITS)?;
    Some(Mark { kind: Kind::of(*letter)?, author: unhex(author)? as u32, at_ns: unhex(at)? })
}

fn unhex(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |value, digit| {
        let digit = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some(value << 4 | u64::from(digit))
    })
}

/// The whole number at the start of `text`, behind spaces.
fn number(text: &[u8]) -> Option<u64> {
    let start = text.iter().position(|byte| *byte != b' ')?;
    let digits = text[start..].iter().take_while(|byte| byte.is_ascii_digit()).take(19);
    let (value, count) =
        digits.fold((0_u64, 0), |(value, count), digit| (value * 10 + u64::from(digit - b'0'), count + 1));
    (count > 0).then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MARK: Mark = Mark { kind: Kind::Load, author: 0x12_3456, at_ns: 1_234_567_890_123 };

    fn wire() -> Wire {
        Wire::new(0xbeef, None, 64)
    }

    fn content(wire: &Wire) -> String {
        let mut out = Vec::new();
        wire.message(3, MARK, true, &mut out);
        let value: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((&value["type"], &value["data"]["room"]), (&"message".into(), &"bench-0000beef-3".into()));
        assert_eq!(value["id"], MARK.at_ns);
        value["data"]["content"].as_str().unwrap().to_owned()
    }

    #[test]
    fn a_message_comes_back_however_a_server_writes_it() {
        let mut wire = wire();
        let content = content(&wire);
        assert_eq!(content.len(), 64);
        for text in [
            format!(r#"{{"type":"message","data":{{"id":"a:7","content":"{content}","sequence":7,"timestamp":1}}}}"#),
            format!(r#"{{"type":"message","data":{{"sequence":7,"id":7,"content":"{content}"}}}}"#),
            format!(r#"{{ "data": {{"content": "{content}", "sequence": 7}}, "type": "message" }}"#),
        ] {
            let delivery = Delivery { mark: MARK, sequence: 7, damaged: false };
            assert_eq!(wire.hear(text.as_bytes()), Heard::Delivery(delivery), "{text}");
        }
    }

    #[test]
    fn a_content_that_changed_is_damaged() {
        let mut wire = wire();
        let good = format!(r#"{{"type":"message","data":{{"content":"{}","sequence":7}}}}"#, content(&wire));
        for bad in [good.replace("xx\"", "x\""), good.replace("xx\"", "xxx\""), good.replace("xx\"", "xy\"")] {
            let Heard::Delivery(delivery) = wire.hear(bad.as_bytes()) else { panic!("{bad}") };
            assert!(delivery.damaged, "{bad}");
        }
        let foreign = good.replace("0000beef", "0000dead");
        assert_eq!(wire.hear(foreign.as_bytes()), Heard::Other);
    }

    #[test]
    fn answers_are_told_apart() {
        let mut wire = wire();
        for (text, heard) in [
            (r#"{"type":"ack","id":12,"data":{"room":"r","sequence":1}}"#, Heard::Ack { id: 12 }),
            (r#"{"type":"ack","id":"j","data":{"room":"r","epoch":"e","head":42}}"#, Heard::Joined { head: Some(42) }),
            (r#"{"id":"j","type":"ack"}"#, Heard::Joined { head: None }),
            (r#"{"type":"error","id":5,"data":{"code":"x"}}"#, Heard::Error { id: Some(5), text: r#"{"code":"x"}"# }),
            (r#"{"type":"history","data":{"messages":[],"more":true}}"#, Heard::History { more: true }),
            (r#"{"type":"history","data":{"more":false,"messages":[]}}"#, Heard::History { more: false }),
            (r#"{"type":"connected","data":{"clientId":"c"}}"#, Heard::Greeting { versioned: false }),
            (r#"{"type":"connected","data":{"clientId":"c","version":1}}"#, Heard::Greeting { versioned: true }),
            (r#"{"type":"presence","data":{}}"#, Heard::Other),
            ("not JSON", Heard::Other),
            ("{\"type\":\"", Heard::Other),
        ] {
            assert_eq!(wire.hear(text.as_bytes()), heard, "{text}");
        }
        let history =
            br#"{"type":"history","data":{"messages":[{"sequence":4},{"content":"\"sequence\":9","sequence":5}]}}"#;
        assert_eq!(wire.sequences(history).collect::<Vec<_>>(), [4, 5]);
    }
}

//! `roomlog bench`: its options.
//!
//! Owns: the table of this command, its defaults, and which options exclude each other. Must never know: how it measures.

use std::ffi::OsStr;

use super::commands::{CommandSpec, Environment, no_actions};
use super::condition::{Condition, condition};
use super::options::{OptionSpec, Outcome, UsageError, fill_with_words, printable, rows};
use super::target::{Target, target};
use super::values::{duration, duration_or_zero, duration_text, number};
use super::{Invocation, put};
use crate::limits;

/// Shortest content, in bytes: it says which message this is, and when it was to be sent.
pub const SIZE_BYTES_MIN: usize = 40;
/// Most connections of each kind.
const CONNS_MAX: u32 = 1_000_000;
/// Fastest rate, in messages per second over all senders.
const RATE_MAX: u32 = 10_000_000;
/// Longest prefix of room names, in characters; a number follows.
const ROOM_PREFIX_CHARS_MAX: usize = limits::ROOM_NAME_CHARS_MAX - 16;

/// The values in force for `roomlog bench`.
///
/// Invariant: no more senders than connections, no more rooms either, and at most one of `closed`, `idle` and `replay` is
/// set.
#[derive(Debug, Clone, PartialEq)]
pub struct Bench {
    /// The server.
    pub target: Target,
    /// Connections that join a room and receive.
    pub conns: u32,
    /// Rooms they are spread over; see [`Bench::rooms`].
    pub rooms: Option<u32>,
    /// How many of them also send; see [`Bench::senders`].
    pub senders: Option<u32>,
    /// Messages per second over all senders; see [`Bench::rate`].
    pub rate: Option<u32>,
    /// A sender sends when its own messages have come back, not by the clock.
    pub closed: bool,
    /// Messages of each sender under way in a closed loop; see [`Bench::window`].
    pub window: Option<u32>,
    /// Length of the content, in bytes.
    pub size_bytes: usize,
    /// Time over which the connections are opened; 0 is as fast as the server takes them.
    pub ramp_ms: u64,
    /// Time in which is sent but not counted.
    pub warmup_ms: u64,
    /// Time that is measured.
    pub duration_ms: u64,
    /// Nothing is sent.
    pub idle: bool,
    /// Further members that never read.
    pub slow: u32,
    /// Connections per second that join, say one thing and leave.
    pub churn: u32,
    /// Messages of a room that is replayed to everybody at once.
    pub replay: Option<u64>,
    /// What the rooms' names begin with; a fresh one for each run if it is not said.
    pub room: Option<String>,
    /// Asks for no acks: what a server sends its own sender is the ack.
    pub no_ack: bool,
    /// The server's process, if it runs on this machine.
    pub server_pid: Option<u32>,
    /// The result as JSON.
    pub json: bool,
    /// When the exit status says that the run failed.
    pub fail_if: Vec<Condition>,
}

impl Default for Bench {
    fn default() -> Self {
        Bench {
            target: Target::default(),
            conns: 100,
            rooms: None,
            senders: None,
            rate: None,
            closed: false,
            window: None,
            size_bytes: 64,
            ramp_ms: 0,
            warmup_ms: 1_000,
            duration_ms: 10_000,
            idle: false,
            slow: 0,
            churn: 0,
            replay: None,
            room: None,
            no_ack: false,
            server_pid: None,
            json: false,
            fail_if: Vec::new(),
        }
    }
}

impl Bench {
    /// Rooms in use: one, or one for each connection when nothing is sent.
    #[must_use]
    pub fn rooms(&self) -> u32 {
        self.rooms.unwrap_or(if self.idle { self.conns } else { 1 })
    }

    /// Connections that send: all of them, or none when nothing is sent.
    #[must_use]
    pub fn senders(&self) -> u32 {
        self.senders.unwrap_or(if self.idle { 0 } else { self.conns })
    }

    /// Messages per second over all senders, in an open loop.
    #[must_use]
    pub fn rate(&self) -> u32 {
        self.rate.unwrap_or(1_000)
    }

    /// Messages of each sender under way, in a closed loop.
    #[must_use]
    pub fn window(&self) -> u32 {
        self.window.unwrap_or(1)
    }
}

type Row = OptionSpec<Bench>;

const fn row(
    flag: &'static str,
    value_name: &'static str,
    help: &'static str,
    set: fn(&mut Bench, &OsStr) -> Result<(), String>,
    show: fn(&Bench) -> String,
) -> Row {
    OptionSpec { flag, value_name, env: &[], help, repeatable: false, set, show }
}

fn nothing(_: &Bench) -> String {
    String::new()
}

fn shown(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

/// The options of `roomlog bench`, in the order of the help.
pub static BENCH: &[Row] = &[
    row("conns", "N", "connections", |b, v| put(&mut b.conns, number(v, 1, CONNS_MAX)), |b| b.conns.to_string()),
    row(
        "rooms",
        "N",
        "rooms they join, one each; idle: --conns",
        |b, v| some(&mut b.rooms, v, 1, CONNS_MAX),
        |b| b.rooms().to_string(),
    ),
    row(
        "senders",
        "N",
        "connections that send; all",
        |b, v| some(&mut b.senders, v, 0, CONNS_MAX),
        |b| shown(b.senders),
    ),
    row(
        "rate",
        "N",
        "open loop: messages/s of all senders",
        |b, v| some(&mut b.rate, v, 1, RATE_MAX),
        |b| b.rate().to_string(),
    ),
    row("closed", "", "closed loop: send when the last came back", |b, _| put(&mut b.closed, Ok(true)), nothing),
    row(
        "window",
        "N",
        "closed loop: so many of a sender at once",
        |b, v| some(&mut b.window, v, 1, 10_000),
        |b| b.window().to_string(),
    ),
    row(
        "size",
        "BYTES",
        "length of a message's content",
        |b, v| put(&mut b.size_bytes, number(v, SIZE_BYTES_MIN, limits::CONTENT_BYTES_CEILING)),
        |b| b.size_bytes.to_string(),
    ),
    row(
        "ramp",
        "TIME",
        "open the connections over TIME",
        |b, v| put(&mut b.ramp_ms, duration_or_zero(v)),
        |b| duration_text(b.ramp_ms),
    ),
    row(
        "warmup",
        "TIME",
        "send so long before counting",
        |b, v| put(&mut b.warmup_ms, duration_or_zero(v)),
        |b| duration_text(b.warmup_ms),
    ),
    row(
        "duration",
        "TIME",
        "count so long",
        |b, v| put(&mut b.duration_ms, duration(v)),
        |b| duration_text(b.duration_ms),
    ),
    row("idle", "", "join, send nothing: what silence costs", |b, _| put(&mut b.idle, Ok(true)), nothing),
    row(
        "slow",
        "N",
        "further members that never read",
        |b, v| put(&mut b.slow, number(v, 0, CONNS_MAX)),
        |b| b.slow.to_string(),
    ),
    row(
        "churn",
        "R",
        "connect, join, talk, leave: R times/s",
        |b, v| put(&mut b.churn, number(v, 0, 100_000)),
        |b| b.churn.to_string(),
    ),
    row(
        "replay",
        "N",
        "fill a room; all join it and are sent N",
        |b, v| put(&mut b.replay, number(v, 1, 1_000_000_000).map(Some)),
        |b| shown(b.replay),
    ),
    row("room", "NAME", "what rooms' names begin with", |b, v| put(&mut b.room, room(v)), |b| shown(b.room.clone())),
    row("no-ack", "", "ask for no acks; own deliveries are it", |b, _| put(&mut b.no_ack, Ok(true)), nothing),
    row(
        "server-pid",
        "PID",
        "tell CPU and memory of this process",
        |b, v| put(&mut b.server_pid, number(v, 1, i32::MAX as u32).map(Some)),
        |b| shown(b.server_pid),
    ),
    row("json", "", "the result as JSON, see docs/BENCH.md", |b, _| put(&mut b.json, Ok(true)), nothing),
    OptionSpec {
        flag: "fail-if",
        value_name: "COND",
        env: &[],
        help: "exit 3 if p99>50ms, lost>0 …; repeatable",
        repeatable: true,
        set: |b, v| {
            let text = v.to_str().ok_or("is not UTF-8")?;
            condition(text).map(|condition| b.fail_if.push(condition))
        },
        show: nothing,
    },
];

fn some(place: &mut Option<u32>, value: &OsStr, min: u32, max: u32) -> Result<(), String> {
    put(place, number(value, min, max).map(Some))
}

fn room(value: &OsStr) -> Result<Option<String>, String> {
    let plain = |text: &str| text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
    let name = value.to_str().filter(|text| !text.is_empty() && text.len() <= ROOM_PREFIX_CHARS_MAX && plain(text));
    name.map(|name| Some(name.to_owned()))
        .ok_or_else(|| format!("is no prefix: up to {ROOM_PREFIX_CHARS_MAX} of a-z, A-Z, 0-9, '-', '_' and '.'"))
}

pub(super) static COMMAND: CommandSpec = CommandSpec {
    name: "bench",
    help: "load a server and measure it",
    about: "Loads a chat server that speaks Roomlog's protocol, and measures it.",
    words: "URL",
    actions: no_actions,
    options: || rows(BENCH, &Bench::default()),
    notes: "URL is ws://HOST:PORT/PATH, or HOST:PORT. Exit status: 0 good, 1 could not run,\n\
            2 wrong usage, 3 a --fail-if is true, 4 messages or connections were lost.\n\
            docs/BENCH.md says how to read the result.\n",
    parse,
};

fn parse(parser: &mut lexopt::Parser, env: Environment<'_>) -> Result<Invocation, UsageError> {
    let (mut bench, mut words) = (Bench::default(), Vec::new());
    match fill_with_words(&mut bench, BENCH, parser, env, &mut words, 1)? {
        Outcome::Help => return Ok(Invocation::Help(COMMAND.help_text())),
        Outcome::Version => return Ok(Invocation::Version),
        Outcome::Filled { .. } => {}
    }
    let Some(url) = words.pop() else {
        return Err(UsageError::MissingWord { command: "bench".to_owned(), what: "the server's URL" });
    };
    bench.target = target(&url).map_err(|reason| UsageError::BadValue {
        origin: "bench".to_owned(),
        value: printable(&url),
        reason,
    })?;
    check_relations(&bench)?;
    Ok(Invocation::Bench(Box::new(bench)))
}

fn check_relations(bench: &Bench) -> Result<(), UsageError> {
    let conflict = |text: String| Err(UsageError::Conflict(text));
    let modes = [("--closed", bench.closed), ("--idle", bench.idle), ("--replay", bench.replay.is_some())];
    let chosen: Vec<&str> = modes.into_iter().filter(|(_, on)| *on).map(|(flag, _)| flag).collect();
    if let [first, second, ..] = chosen[..] {
        return conflict(format!("{first} and {second} exclude each other"));
    }
    if let (Some(mode), true) = (chosen.first(), bench.rate.is_some()) {
        return conflict(format!("--rate is for an open loop; {mode} is none"));
    }
    if bench.window.is_some() && !bench.closed {
        return conflict("--window is for --closed".to_owned());
    }
    let loads = [("--slow", bench.slow), ("--churn", bench.churn), ("--senders", bench.senders.unwrap_or(0))];
    if let Some(mode) = chosen.first().filter(|mode| **mode != "--closed")
        && let Some((flag, _)) = loads.into_iter().find(|(_, count)| *count > 0)
    {
        return conflict(format!("{mode} and {flag} exclude each other"));
    }
    if bench.senders() > bench.conns {
        return conflict(format!("--senders ({}) cannot be more than --conns ({})", bench.senders(), bench.conns));
    }
    if bench.rooms() > bench.conns {
        return conflict(format!("--rooms ({}) cannot be more than --conns ({})", bench.rooms(), bench.conns));
    }
    if bench.replay.is_none() && !bench.idle && bench.senders() == 0 && bench.churn == 0 {
        return conflict("--senders 0 sends nothing: add --churn, or say --idle".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::Config;
    use super::*;

    fn parsed(line: &str) -> Result<Bench, String> {
        let args = ["bench"].into_iter().chain(line.split_whitespace()).map(OsString::from);
        match Config::parse(args, |_| None) {
            Ok(Invocation::Bench(bench)) => Ok(*bench),
            Ok(other) => panic!("{line}: {other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_url_may_be_as_short_as_it_likes() {
        for (url, host, port, path) in [
            ("ws://127.0.0.1:8080", "127.0.0.1", 8080, "/"),
            ("http://chat.example/ws?user=a", "chat.example", 80, "/ws?user=a"),
            ("localhost:9", "localhost", 9, "/"),
            ("[::1]:9/x", "::1", 9, "/x"),
            ("ws://a:1?room=b", "a", 1, "/?room=b"),
        ] {
            let target = parsed(url).unwrap().target;
            assert_eq!(target, Target { host: host.to_owned(), port, path: path.to_owned() }, "{url}");
        }
        assert_eq!(parsed("[::1]:9").unwrap().target.to_string(), "ws://[::1]:9/");
    }

    #[test]
    fn every_flag_sets_its_field() {
        type Change = fn(&mut Bench);
        let changed: &[(&str, Change)] = &[
            ("--conns 7 --senders 3", |b| (b.conns, b.senders) = (7, Some(3))),
            ("--rooms 100", |b| b.rooms = Some(100)),
            ("--rate 5", |b| b.rate = Some(5)),
            ("--closed --window 8", |b| (b.closed, b.window) = (true, Some(8))),
            ("--size 4096", |b| b.size_bytes = 4_096),
            ("--ramp 5s", |b| b.ramp_ms = 5_000),
            ("--warmup 0", |b| b.warmup_ms = 0),
            ("--duration 1m", |b| b.duration_ms = 60_000),
            ("--idle", |b| b.idle = true),
            ("--slow 9", |b| b.slow = 9),
            ("--churn 50", |b| b.churn = 50),
            ("--replay 1000", |b| b.replay = Some(1_000)),
            ("--room a-b", |b| b.room = Some("a-b".to_owned())),
            ("--no-ack", |b| b.no_ack = true),
            ("--server-pid 1", |b| b.server_pid = Some(1)),
            ("--json", |b| b.json = true),
            ("--fail-if p99>50ms --fail-if lost>0", |b| {
                b.fail_if = vec![condition("p99>50ms").unwrap(), condition("lost>0").unwrap()];
            }),
        ];
        for (line, change) in changed {
            let mut expected = Bench { target: parsed("a:1").unwrap().target, ..Bench::default() };
            change(&mut expected);
            assert_eq!(parsed(&format!("a:1 {line}")).unwrap(), expected, "{line}");
        }
        for spec in BENCH {
            let tried = changed.iter().any(|(line, _)| line.contains(&format!("--{}", spec.flag)));
            assert!(tried, "--{} is not tried", spec.flag);
        }
    }

    #[test]
    fn what_cannot_be_used_is_told_in_a_line() {
        for (line, words) in [
            ("", "bench needs the server's URL; see roomlog bench --help"),
            (
                "wss://a",
                "bench: 'wss://a' asks for TLS, which this does not speak: write a ws:// address, as behind a proxy",
            ),
            ("::1", "bench: '::1' is no URL: write ws://127.0.0.1:8080, localhost:8080 or ws://[::1]:8080/ws"),
            ("a:0", "bench: 'a:0' is no URL: write ws://127.0.0.1:8080, localhost:8080 or ws://[::1]:8080/ws"),
            ("a:1 b", "unexpected argument 'b'; see roomlog --help"),
            ("a:1 --size 10", "--size: '10' is not a whole number from 40 to 1048576"),
            ("a:1 --fail-if lots>0", "--fail-if: 'lots>0' names no figure; did you mean lost?"),
            ("a:1 --room a/b", "--room: 'a/b' is no prefix: up to 48 of a-z, A-Z, 0-9, '-', '_' and '.'"),
            ("a:1 --closed --idle", "--closed and --idle exclude each other"),
            ("a:1 --closed --rate 5", "--rate is for an open loop; --closed is none"),
            ("a:1 --window 5", "--window is for --closed"),
            ("a:1 --idle --churn 5", "--idle and --churn exclude each other"),
            ("a:1 --conns 5 --senders 6", "--senders (6) cannot be more than --conns (5)"),
            ("a:1 --conns 5 --rooms 6", "--rooms (6) cannot be more than --conns (5)"),
            ("a:1 --senders 0", "--senders 0 sends nothing: add --churn, or say --idle"),
        ] {
            assert_eq!(parsed(line), Err(words.to_owned()), "{line}");
        }
    }
}

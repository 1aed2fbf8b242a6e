//! `roomlog log`: its actions, their words and options.
//!
//! Owns: the tables of this command. Must never know: what the actions do.

use std::path::PathBuf;

use super::actions::{self, ActionSpec, Asked, action_rows, utf8};
use super::commands::{CommandSpec, Environment};
use super::options::{OptionSpec, UsageError, rows};
use super::values::{folder, number};
use super::{Config, Invocation, put};

/// What is to be done with a data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogCommand {
    /// The data folder, or a copy of one.
    pub data: PathBuf,
    /// What to do.
    pub action: LogAction,
}

/// The actions of `roomlog log`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LogAction {
    /// All rooms, a line each.
    List {
        /// As JSON Lines.
        json: bool,
    },
    /// One room at length.
    Stat {
        /// Its name.
        room: String,
        /// As one JSON object.
        json: bool,
    },
    /// Reads everything and checks every checksum.
    Verify {
        /// One room only.
        room: Option<String>,
    },
    /// Messages as JSON Lines, to stdout.
    Export {
        /// The room's name.
        room: String,
        /// Only those after this sequence.
        since: u64,
        /// Only those up to and including this sequence.
        until: u64,
    },
    /// Appends JSON Lines.
    Import {
        /// The room's name.
        room: String,
        /// Where from; stdin if it is not said.
        file: Option<PathBuf>,
    },
    /// Writes down what is lost and begins a new epoch.
    Repair {
        /// The room's name.
        room: String,
        /// Do it, not only say it.
        yes: bool,
    },
}

/// The values of all options.
struct Values {
    data: PathBuf,
    json: bool,
    since: u64,
    until: u64,
    yes: bool,
}

const DATA: OptionSpec<Values> = OptionSpec {
    flag: "data",
    value_name: "DIR",
    env: &["ROOMLOG_DATA"],
    help: "data folder, or a copy of one",
    repeatable: false,
    set: |v, text| put(&mut v.data, folder(text)),
    show: |v| v.data.display().to_string(),
};
const JSON: OptionSpec<Values> = OptionSpec {
    flag: "json",
    value_name: "",
    env: &[],
    help: "list, stat: print JSON",
    repeatable: false,
    set: |v, _| put(&mut v.json, Ok(true)),
    show: |_| String::new(),
};
const SINCE: OptionSpec<Values> = OptionSpec {
    flag: "since",
    value_name: "N",
    env: &[],
    help: "export: only messages after number N",
    repeatable: false,
    set: |v, text| put(&mut v.since, number(text, 0, u64::MAX)),
    show: |_| String::new(),
};
const UNTIL: OptionSpec<Values> = OptionSpec {
    flag: "until",
    value_name: "N",
    env: &[],
    help: "export: only messages up to number N",
    repeatable: false,
    set: |v, text| put(&mut v.until, number(text, 0, u64::MAX)),
    show: |_| String::new(),
};
const YES: OptionSpec<Values> = OptionSpec {
    flag: "yes",
    value_name: "",
    env: &[],
    help: "repair: do it",
    repeatable: false,
    set: |v, _| put(&mut v.yes, Ok(true)),
    show: |_| String::new(),
};
const ROOM: &str = "a room's name";
static ALL: &[OptionSpec<Values>] = &[DATA, JSON, SINCE, UNTIL, YES];

static ACTIONS: &[ActionSpec<Values>] = &[
    ActionSpec {
        name: "list",
        words: "",
        needs: ROOM,
        help: "all rooms: messages, bytes, floor, head, epoch",
        options: &[DATA, JSON],
    },
    ActionSpec {
        name: "stat",
        words: "ROOM",
        needs: ROOM,
        help: "one room: also segments, times, old epochs",
        options: &[DATA, JSON],
    },
    ActionSpec {
        name: "verify",
        words: "[ROOM]",
        needs: ROOM,
        help: "check every byte; exit 1 says where it is damaged",
        options: &[DATA],
    },
    ActionSpec {
        name: "export",
        words: "ROOM",
        needs: ROOM,
        help: "messages as JSON Lines, to stdout",
        options: &[DATA, SINCE, UNTIL],
    },
    ActionSpec {
        name: "import",
        words: "ROOM [FILE]",
        needs: ROOM,
        help: "append JSON Lines of FILE or stdin",
        options: &[DATA],
    },
    ActionSpec {
        name: "repair",
        words: "ROOM",
        needs: ROOM,
        help: "say what a repair would do; --yes does it",
        options: &[DATA, YES],
    },
];

pub(super) static COMMAND: CommandSpec = CommandSpec {
    name: "log",
    help: "look after the rooms of a data folder",
    about: "Looks after the rooms of a data folder. All but import and repair --yes only\nread, beside a running server too.",
    words: "",
    actions: || action_rows(ACTIONS, &defaults()),
    options: || rows(ALL, &defaults()),
    notes: "",
    parse,
};

fn parse(parser: &mut lexopt::Parser, env: Environment<'_>) -> Result<Invocation, UsageError> {
    let mut values = defaults();
    let (spec, words) = match actions::parse(&COMMAND, ACTIONS, &mut values, parser, env)? {
        Asked::Action(spec, words) => (spec, words),
        Asked::Answer(answer) => return Ok(*answer),
    };
    let mut words = words.into_iter();
    let room = words.next().map(utf8).transpose()?;
    let file = words.next().filter(|name| name != "-").map(PathBuf::from);
    Ok(Invocation::Log(LogCommand { data: values.data.clone(), action: action_of(spec.name, room, file, &values) }))
}

fn defaults() -> Values {
    Values { data: Config::default().data, json: false, since: 0, until: u64::MAX, yes: false }
}

fn action_of(name: &str, room: Option<String>, file: Option<PathBuf>, values: &Values) -> LogAction {
    let Values { json, since, until, yes, .. } = *values;
    match (name, room) {
        ("verify", room) => LogAction::Verify { room },
        ("stat", Some(room)) => LogAction::Stat { room, json },
        ("export", Some(room)) => LogAction::Export { room, since, until },
        ("import", Some(room)) => LogAction::Import { room, file },
        ("repair", Some(room)) => LogAction::Repair { room, yes },
        _ => LogAction::List { json },
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    fn parsed(args: &[&str]) -> Result<Invocation, String> {
        let args = ["log"].iter().chain(args).map(OsString::from);
        Config::parse(args, |_| None).map_err(|error| error.to_string())
    }

    fn action(args: &[&str]) -> LogAction {
        match parsed(args) {
            Ok(Invocation::Log(command)) => command.action,
            other => panic!("{args:?}: {other:?}"),
        }
    }

    #[test]
    fn actions_take_their_words_and_options() {
        let room = || "a room".to_owned();
        assert_eq!(action(&["list", "--json"]), LogAction::List { json: true });
        assert_eq!(action(&["stat", "a room"]), LogAction::Stat { room: room(), json: false });
        assert_eq!(action(&["verify"]), LogAction::Verify { room: None });
        let export = LogAction::Export { room: room(), since: 5, until: 9 };
        assert_eq!(action(&["export", "--since", "5", "a room", "--until=9"]), export);
        assert_eq!(action(&["import", "a room", "-"]), LogAction::Import { room: room(), file: None });
        assert_eq!(action(&["import", "a room", "f"]), LogAction::Import { room: room(), file: Some("f".into()) });
        assert_eq!(action(&["repair", "a room", "--yes"]), LogAction::Repair { room: room(), yes: true });
        assert!(matches!(parsed(&["list", "--data", "x"]), Ok(Invocation::Log(c)) if c.data == *"x"));
    }

    #[test]
    fn wrong_usage_is_told_in_a_line() {
        for (args, line) in [
            (&["lst"][..], "unknown command 'log lst'; did you mean log list?"),
            (&["stat"], "log stat needs a room's name; see roomlog log stat --help"),
            (&["list", "general"], "unexpected argument 'general'; see roomlog --help"),
            (&["list", "--yes"], "unknown flag '--yes'; see roomlog --help"),
            (&["export", "r", "--since", "x"], "--since: 'x' is not a whole number from 0 to 18446744073709551615"),
        ] {
            assert_eq!(parsed(args), Err(line.to_owned()));
        }
        assert!(matches!(parsed(&[]), Ok(Invocation::Help(text)) if text.lines().count() < 24));
    }
}

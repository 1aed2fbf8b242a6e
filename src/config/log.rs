//! `roomlog log`: its actions, their words and options.
//!
//! Owns: the tables of this command. Must never know: what the actions do.

use std::ffi::OsString;
use std::path::PathBuf;

use super::options::{OptionSpec, Outcome, UsageError, fill_with_words, help_lines, nearest, printable};
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

/// An action's name, words and options.
struct ActionSpec {
    name: &'static str,
    words: &'static str,
    words_min: usize,
    words_max: usize,
    help: &'static str,
    options: &'static [OptionSpec<Values>],
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
static ALL: &[OptionSpec<Values>] = &[DATA, JSON, SINCE, UNTIL, YES];

static ACTIONS: &[ActionSpec] = &[
    ActionSpec {
        name: "list",
        words: "",
        words_min: 0,
        words_max: 0,
        help: "all rooms: messages, bytes, floor, head, epoch",
        options: &[DATA, JSON],
    },
    ActionSpec {
        name: "stat",
        words: "ROOM",
        words_min: 1,
        words_max: 1,
        help: "one room: also segments, times, old epochs",
        options: &[DATA, JSON],
    },
    ActionSpec {
        name: "verify",
        words: "[ROOM]",
        words_min: 0,
        words_max: 1,
        help: "check every byte; exit 1 says where it is damaged",
        options: &[DATA],
    },
    ActionSpec {
        name: "export",
        words: "ROOM",
        words_min: 1,
        words_max: 1,
        help: "messages as JSON Lines, to stdout",
        options: &[DATA, SINCE, UNTIL],
    },
    ActionSpec {
        name: "import",
        words: "ROOM [FILE]",
        words_min: 1,
        words_max: 2,
        help: "append JSON Lines of FILE or stdin",
        options: &[DATA],
    },
    ActionSpec {
        name: "repair",
        words: "ROOM",
        words_min: 1,
        words_max: 1,
        help: "say what a repair would do; --yes does it",
        options: &[DATA, YES],
    },
];

/// Reads the rest of a command line that begins with `log`.
pub(super) fn parse(
    parser: &mut lexopt::Parser,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Invocation, UsageError> {
    let mut values = defaults();
    // The first word is the action; options before it may be any of all.
    let Some(action) = first_word(parser)? else { return Ok(Invocation::Help(help())) };
    let spec = ACTIONS.iter().find(|spec| spec.name == action).ok_or_else(|| {
        let nearest = nearest(&action, ACTIONS.iter().map(|spec| spec.name)).map(|name| format!("log {name}"));
        UsageError::UnknownCommand { command: format!("log {action}"), nearest }
    })?;
    let mut words = Vec::new();
    match fill_with_words(&mut values, spec.options, parser, env, &mut words, spec.words_max)? {
        Outcome::Help => return Ok(Invocation::Help(help())),
        Outcome::Version => return Ok(Invocation::Version),
        Outcome::Filled { .. } => {}
    }
    if words.len() < spec.words_min {
        return Err(UsageError::MissingWord { command: format!("log {}", spec.name), what: "a room's name" });
    }
    let mut words = words.into_iter();
    let room = words.next().map(room_name).transpose()?;
    let file = words.next().filter(|name| name != "-").map(PathBuf::from);
    Ok(Invocation::Log(LogCommand { data: values.data.clone(), action: action_of(spec.name, room, file, &values) }))
}

fn defaults() -> Values {
    Values { data: Config::default().data, json: false, since: 0, until: u64::MAX, yes: false }
}

pub(super) fn first_word(parser: &mut lexopt::Parser) -> Result<Option<String>, UsageError> {
    match parser.next().map_err(|error| UsageError::Unexpected(error.to_string()))? {
        Some(lexopt::Arg::Value(word)) => Ok(Some(printable(&word))),
        None | Some(lexopt::Arg::Long("help") | lexopt::Arg::Short('h')) => Ok(None),
        Some(lexopt::Arg::Long(flag)) => Err(UsageError::Unexpected(format!("--{flag}"))),
        Some(lexopt::Arg::Short(letter)) => Err(UsageError::Unexpected(format!("-{letter}"))),
    }
}

fn room_name(word: OsString) -> Result<String, UsageError> {
    word.into_string().map_err(|word| UsageError::Unexpected(printable(&word)))
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

fn help() -> String {
    let mut text = String::from(
        "Looks after the rooms of a data folder. All but import and repair --yes only read, beside\n\
         a running server too.\n\n\
         Usage: roomlog log ACTION [OPTION]...\n\n",
    );
    for spec in ACTIONS {
        let left = format!("{} {}", spec.name, spec.words);
        text += &format!("  {left:<24}  {}\n", spec.help);
    }
    text + "\n" + &help_lines(ALL, &defaults())
}

#[cfg(test)]
mod tests {
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

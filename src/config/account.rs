//! `roomlog account`: its actions, their words and options.
//!
//! Owns: the tables of this command, and where a password may come from: never from an argument, which everybody on the
//! machine can see. Must never know: what the actions do.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::PathBuf;

use super::actions::{self, ActionSpec, Asked, action_rows, utf8};
use super::commands::{CommandSpec, Environment};
use super::options::{OptionSpec, UsageError, printable, rows};
use super::values::{folder, word};
use super::{Config, Invocation, put};

/// The environment variable that may hold a password.
pub(super) const PASSWORD_ENV: &str = "ROOMLOG_PASSWORD";

/// What is to be done with the accounts of a data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountCommand {
    /// The data folder.
    pub data: PathBuf,
    /// What to do.
    pub action: AccountAction,
}

/// The actions of `roomlog account`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AccountAction {
    /// Makes an account.
    Add {
        /// Its name.
        name: String,
        /// Whether it may look after others.
        is_admin: bool,
        /// Where its password comes from.
        password: PasswordSource,
    },
    /// Sets a password, and ends the logins.
    Passwd {
        /// Whose.
        name: String,
        /// Where it comes from.
        password: PasswordSource,
    },
    /// Sets a role.
    Role {
        /// Whose.
        name: String,
        /// Whether it may look after others.
        is_admin: bool,
    },
    /// Removes an account.
    Remove {
        /// Which.
        name: String,
    },
    /// All accounts, a line each.
    List {
        /// As JSON Lines.
        json: bool,
    },
    /// All bans, a line each.
    Bans {
        /// As JSON Lines.
        json: bool,
    },
    /// Lifts a ban.
    Unban {
        /// A name or an address, as `bans` shows it.
        what: String,
    },
}

/// Where a password comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PasswordSource {
    /// Asked for at the terminal.
    Prompt,
    /// The first line of a file.
    File(PathBuf),
    /// The first line of stdin.
    Stdin,
    /// The environment.
    Given(Secret),
}

/// A text that is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The values of all options.
struct Values {
    data: PathBuf,
    json: bool,
    is_admin: bool,
    password: Option<PasswordSource>,
}

const DATA: OptionSpec<Values> = OptionSpec {
    flag: "data",
    value_name: "DIR",
    env: &["ROOMLOG_DATA"],
    help: "data folder",
    repeatable: false,
    set: |v, text| put(&mut v.data, folder(text)),
    show: |v| v.data.display().to_string(),
};
const JSON: OptionSpec<Values> = OptionSpec {
    flag: "json",
    value_name: "",
    env: &[],
    help: "list, bans: print JSON",
    repeatable: false,
    set: |v, _| put(&mut v.json, Ok(true)),
    show: |_| String::new(),
};
const ROLE: OptionSpec<Values> = OptionSpec {
    flag: "role",
    value_name: "member|admin",
    env: &[],
    help: "add: may it look after others",
    repeatable: false,
    set: |v, text| put(&mut v.is_admin, role(text)),
    show: |_| "member".to_owned(),
};
const PASSWORD_FILE: OptionSpec<Values> = OptionSpec {
    flag: "password-file",
    value_name: "FILE",
    env: &[],
    help: "add, passwd: its first line; - is stdin",
    repeatable: false,
    set: |v, text| put(&mut v.password, password_file(text).map(Some)),
    show: |_| String::new(),
};
static ALL: &[OptionSpec<Values>] = &[DATA, ROLE, PASSWORD_FILE, JSON];

const NAME: &str = "an account's name";
static ACTIONS: &[ActionSpec<Values>] = &[
    ActionSpec {
        name: "add",
        words: "NAME",
        needs: NAME,
        help: "make an account",
        options: &[DATA, ROLE, PASSWORD_FILE],
    },
    ActionSpec {
        name: "passwd",
        words: "NAME",
        needs: NAME,
        help: "set a password; ends the account's logins",
        options: &[DATA, PASSWORD_FILE],
    },
    ActionSpec {
        name: "role",
        words: "NAME admin|member",
        needs: "an account's name and a role",
        help: "let it look after others, or no more",
        options: &[DATA],
    },
    ActionSpec {
        name: "remove",
        words: "NAME",
        needs: NAME,
        help: "remove an account; what it said stays",
        options: &[DATA],
    },
    ActionSpec { name: "list", words: "", needs: "", help: "all accounts: role, time, name", options: &[DATA, JSON] },
    ActionSpec {
        name: "bans",
        words: "",
        needs: "",
        help: "who is kept out, until when, and why",
        options: &[DATA, JSON],
    },
    ActionSpec {
        name: "unban",
        words: "WHAT",
        needs: "a name or an address",
        help: "lift a ban, named as bans shows it",
        options: &[DATA],
    },
];

pub(super) static COMMAND: CommandSpec = CommandSpec {
    name: "account",
    help: "look after the accounts of a data folder",
    about: "Looks after the accounts of a data folder, beside a running server too.",
    words: "",
    actions: || action_rows(ACTIONS, &defaults()),
    options: || rows(ALL, &defaults()),
    notes: "A password is asked for at the terminal, unless --password-file or the\n\
            environment variable ROOMLOG_PASSWORD has it.\n",
    parse,
};

fn parse(parser: &mut lexopt::Parser, env: Environment<'_>) -> Result<Invocation, UsageError> {
    let mut values = defaults();
    let (spec, words) = match actions::parse(&COMMAND, ACTIONS, &mut values, parser, env)? {
        Asked::Action(spec, words) => (spec, words),
        Asked::Answer(answer) => return Ok(*answer),
    };
    let wants_password = spec.options.iter().any(|option| option.flag == PASSWORD_FILE.flag);
    if wants_password && values.password.is_none() {
        values.password = from_environment(env, PASSWORD_ENV)?;
    }
    let mut words = words.into_iter();
    let mut next = || utf8(words.next().unwrap_or_default());
    let (name, second) = (next()?, next()?);
    if spec.name == "role" {
        values.is_admin = role(OsStr::new(&second)).map_err(|reason| UsageError::BadValue {
            origin: "role".to_owned(),
            value: printable(OsStr::new(&second)),
            reason,
        })?;
    }
    let data = values.data.clone();
    Ok(Invocation::Account(AccountCommand { data, action: action_of(spec.name, name, values) }))
}

fn action_of(action: &str, name: String, values: Values) -> AccountAction {
    let Values { json, is_admin, password, .. } = values;
    let password = password.unwrap_or(PasswordSource::Prompt);
    match action {
        "add" => AccountAction::Add { name, is_admin, password },
        "passwd" => AccountAction::Passwd { name, password },
        "role" => AccountAction::Role { name, is_admin },
        "remove" => AccountAction::Remove { name },
        "bans" => AccountAction::Bans { json },
        "unban" => AccountAction::Unban { what: name },
        _ => AccountAction::List { json },
    }
}

fn role(text: &OsStr) -> Result<bool, String> {
    word(text, "admin", "member")
}

pub(super) fn password_file(text: &OsStr) -> Result<PasswordSource, String> {
    match text.as_encoded_bytes() {
        b"" => Err("is not a file".to_owned()),
        b"-" => Ok(PasswordSource::Stdin),
        _ => Ok(PasswordSource::File(PathBuf::from(text))),
    }
}

/// The secret in the environment variable `name`. An error must not show it.
pub(super) fn from_environment(
    env: impl Fn(&str) -> Option<OsString>,
    name: &str,
) -> Result<Option<PasswordSource>, UsageError> {
    let Some(value) = env(name).filter(|value| !value.is_empty()) else { return Ok(None) };
    let text = value.into_string().map_err(|_| UsageError::Conflict(format!("{name} is not UTF-8")))?;
    Ok(Some(PasswordSource::Given(Secret(text))))
}

fn defaults() -> Values {
    Values { data: Config::default().data, json: false, is_admin: false, password: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str], password: Option<&str>) -> Result<Invocation, String> {
        let args = ["account"].iter().chain(args).map(OsString::from);
        let env = |name: &str| password.filter(|_| name == PASSWORD_ENV).map(OsString::from);
        Config::parse(args, env).map_err(|error| error.to_string())
    }

    fn action(args: &[&str]) -> AccountAction {
        match parsed(args, Some("from the environment")) {
            Ok(Invocation::Account(command)) => command.action,
            other => panic!("{args:?}: {other:?}"),
        }
    }

    #[test]
    fn actions_take_their_words_and_options() {
        let name = || "Ann Lee".to_owned();
        let given = || PasswordSource::Given(Secret("from the environment".into()));
        assert_eq!(
            action(&["add", "Ann Lee"]),
            AccountAction::Add { name: name(), is_admin: false, password: given() }
        );
        assert_eq!(
            action(&["add", "--role", "admin", "Ann Lee", "--password-file=-"]),
            AccountAction::Add { name: name(), is_admin: true, password: PasswordSource::Stdin }
        );
        let password = PasswordSource::File("f".into());
        assert_eq!(
            action(&["passwd", "Ann Lee", "--password-file", "f"]),
            AccountAction::Passwd { name: name(), password }
        );
        assert_eq!(action(&["role", "Ann Lee", "admin"]), AccountAction::Role { name: name(), is_admin: true });
        assert_eq!(action(&["remove", "Ann Lee"]), AccountAction::Remove { name: name() });
        assert_eq!(action(&["list", "--json"]), AccountAction::List { json: true });
        assert_eq!(action(&["bans"]), AccountAction::Bans { json: false });
        assert_eq!(action(&["unban", "::1"]), AccountAction::Unban { what: "::1".into() });
        let Ok(Invocation::Account(command)) = parsed(&["passwd", "a", "--data", "x"], None) else {
            panic!("no command")
        };
        let prompt = AccountAction::Passwd { name: "a".into(), password: PasswordSource::Prompt };
        assert_eq!((command.data, command.action), ("x".into(), prompt));
    }

    #[test]
    fn wrong_usage_is_told_in_a_line_and_shows_no_password() {
        for (args, line) in [
            (&["ad"][..], "unknown command 'account ad'; did you mean account add?"),
            (&["add"], "account add needs an account's name; see roomlog account add --help"),
            (&["role", "a"], "account role needs an account's name and a role; see roomlog account role --help"),
            (&["role", "a", "king"], "role: 'king' is neither admin nor member"),
            (&["add", "a", "--role", "king"], "--role: 'king' is neither admin nor member"),
            (&["add", "a", "secret"], "unexpected argument 'secret'; see roomlog --help"),
            (&["list", "--role", "admin"], "unknown flag '--role'; see roomlog --help"),
            (&["add", "a", "--password", "x"], "unknown flag '--password'; did you mean --password-file?"),
        ] {
            assert_eq!(parsed(args, None), Err(line.to_owned()));
        }
        assert!(!format!("{:?}", action(&["add", "a"])).contains("environment"));
        let Ok(Invocation::Help(text)) = parsed(&[], None) else { panic!("no help") };
        assert!(text.lines().count() < 24 && text.lines().all(|line| line.chars().count() <= 80), "{text}");
    }
}

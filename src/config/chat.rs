//! `roomlog chat`: its options.
//!
//! Owns: the table of this command, and where its secrets may come from: never from an argument, which everybody on the
//! machine can see. Must never know: what is done with them.

use std::ffi::OsStr;

use super::account::{PASSWORD_ENV, PasswordSource, from_environment, password_file};
use super::commands::{CommandSpec, Environment, no_actions};
use super::options::{OptionSpec, Outcome, UsageError, fill_with_words, printable, rows};
use super::target::{Target, target};
use super::values::{duration, duration_text, number};
use super::{Invocation, put};
use crate::limits;

/// Most messages that `--tail` asks for, which is as many as one answer of a server has.
pub const TAIL_MAX: u32 = limits::HISTORY_LIMIT_MAX as u32;
/// The server that is meant when none is named.
const URL: &str = "http://localhost:8080";
const URL_ENV: &str = "ROOMLOG_URL";
/// The environment variable that may hold a token.
const TOKEN_ENV: &str = "ROOMLOG_TOKEN";
/// Room that is meant when none is named (PROTOCOL.md, "join").
const ROOM: &str = "general";

/// The values in force for `roomlog chat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChatOptions {
    /// The server.
    pub target: Target,
    /// The name to go by; the server gives one if it is not said.
    pub user: Option<String>,
    /// Rooms to join, at least one; the first is where what is typed goes.
    pub rooms: Vec<String>,
    /// The account's password, if one is to log in.
    pub password: Option<PasswordSource>,
    /// The account's token, as it is or in a file, if one is to log in with that.
    pub token: Option<PasswordSource>,
    /// Messages of each room to show at first; unset: 20 at a terminal, none elsewhere.
    pub tail: Option<u32>,
    /// Shows events as JSON, a line each.
    pub json: bool,
    /// Stays when there is nothing more to send.
    pub follow: bool,
    /// How long to look for a server that cannot be reached, in milliseconds; unset: see [`ChatOptions::timeout_ms`].
    pub timeout_ms: Option<u64>,
}

impl Default for ChatOptions {
    fn default() -> Self {
        let target = target(OsStr::new(URL)).expect("the default is a URL");
        Self {
            target,
            user: None,
            rooms: Vec::new(),
            password: None,
            token: None,
            tail: None,
            json: false,
            follow: false,
            timeout_ms: None,
        }
    }
}

impl ChatOptions {
    /// How long to look for a server that was there and is gone, in milliseconds.
    #[must_use]
    pub fn timeout_ms(&self) -> u64 {
        self.timeout_ms.unwrap_or(30_000)
    }
}

/// The options of `roomlog chat`, in the order of the help.
pub static CHAT: &[OptionSpec<ChatOptions>] = &[
    OptionSpec {
        flag: "user",
        value_name: "NAME",
        env: &["ROOMLOG_USER"],
        help: "name to go by; unset: the server gives one",
        repeatable: false,
        set: |c, v| put(&mut c.user, text(v).map(Some)),
        show: |_| String::new(),
    },
    OptionSpec {
        flag: "room",
        value_name: "ROOM",
        env: &["ROOMLOG_ROOM"],
        help: "room to join; repeatable",
        repeatable: true,
        set: |c, v| text(v).map(|room| c.rooms.push(room)),
        show: |_| ROOM.to_owned(),
    },
    OptionSpec {
        flag: "login",
        value_name: "",
        env: &[],
        help: "log in; asks for the password",
        repeatable: false,
        set: |c, _| {
            c.password.get_or_insert(PasswordSource::Prompt);
            Ok(())
        },
        show: |_| String::new(),
    },
    OptionSpec {
        flag: "password-file",
        value_name: "FILE",
        env: &[],
        help: "log in with its first line",
        repeatable: false,
        set: |c, v| put(&mut c.password, secret_file(v).map(Some)),
        show: |_| String::new(),
    },
    OptionSpec {
        flag: "token-file",
        value_name: "FILE",
        env: &[],
        help: "log in with the token in its first line",
        repeatable: false,
        set: |c, v| put(&mut c.token, secret_file(v).map(Some)),
        show: |_| String::new(),
    },
    OptionSpec {
        flag: "tail",
        value_name: "N",
        env: &[],
        help: "messages to show first; piped: none",
        repeatable: false,
        set: |c, v| put(&mut c.tail, number(v, 0, TAIL_MAX).map(Some)),
        show: |_| "20".to_owned(),
    },
    OptionSpec {
        flag: "json",
        value_name: "",
        env: &[],
        help: "print the server's events as they are",
        repeatable: false,
        set: |c, _| put(&mut c.json, Ok(true)),
        show: |_| String::new(),
    },
    OptionSpec {
        flag: "follow",
        value_name: "",
        env: &[],
        help: "stay when stdin has ended, and show the room",
        repeatable: false,
        set: |c, _| put(&mut c.follow, Ok(true)),
        show: |_| String::new(),
    },
    OptionSpec {
        flag: "timeout",
        value_name: "TIME",
        env: &["ROOMLOG_TIMEOUT"],
        help: "how long to look for a lost server",
        repeatable: false,
        set: |c, v| put(&mut c.timeout_ms, duration(v).map(Some)),
        show: |c| duration_text(c.timeout_ms()),
    },
];

pub(super) static COMMAND: CommandSpec = CommandSpec {
    name: "chat",
    help: "chat in the terminal, or send what is piped in",
    about: "Chats in the terminal. What is piped in is sent, a message a line.",
    words: "[URL]",
    actions: no_actions,
    options: || rows(CHAT, &ChatOptions::default()),
    notes: "URL is http://HOST:PORT, ws://HOST:PORT/PATH or HOST:PORT, or what ROOMLOG_URL\n\
            says; by default http://localhost:8080. ROOMLOG_PASSWORD or ROOMLOG_TOKEN in\n\
            the environment log in, too. At the terminal, /help tells the rest. With\n\
            --timeout a server that is not there at first is looked for, too.\n\
            Exit status: 0 good, all that was piped in is stored; 1 failed; 2 wrong usage;\n\
            3 name or login refused; 4 server not reached; 5 something was not stored.\n",
    parse,
};

fn parse(parser: &mut lexopt::Parser, env: Environment<'_>) -> Result<Invocation, UsageError> {
    let (mut options, mut words) = (ChatOptions::default(), Vec::new());
    match fill_with_words(&mut options, CHAT, parser, env, &mut words, 1)? {
        Outcome::Help => return Ok(Invocation::Help(COMMAND.help_text())),
        Outcome::Version => return Ok(Invocation::Version),
        Outcome::Filled { .. } => {}
    }
    let given = words.pop().map(|word| ("chat", word));
    let named = given.or_else(|| Some((URL_ENV, env(URL_ENV).filter(|value| !value.is_empty())?)));
    if let Some((origin, url)) = named {
        options.target = target(&url).map_err(|reason| UsageError::BadValue {
            origin: origin.to_owned(),
            value: printable(&url),
            reason,
        })?;
    }
    if options.rooms.is_empty() {
        options.rooms.push(ROOM.to_owned());
    }
    let asks = options.password == Some(PasswordSource::Prompt);
    if options.password.is_none() || asks {
        options.password = from_environment(env, PASSWORD_ENV)?.or(options.password);
    }
    if options.token.is_none() {
        options.token = from_environment(env, TOKEN_ENV)?;
    }
    if options.password.is_some() && options.token.is_none() && options.user.is_none() {
        return Err(UsageError::Conflict("a password needs the account's name: add --user NAME".to_owned()));
    }
    Ok(Invocation::Chat(Box::new(options)))
}

fn text(value: &OsStr) -> Result<String, String> {
    let text = value.to_str().map(str::trim).ok_or("is not UTF-8")?;
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// A file whose first line is a secret. Stdin is taken: what comes there is said.
fn secret_file(value: &OsStr) -> Result<PasswordSource, String> {
    match password_file(value)? {
        PasswordSource::Stdin => Err("is stdin, which is what to send: write a file's name".to_owned()),
        file => Ok(file),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::super::Config;
    use super::super::account::Secret;
    use super::*;

    fn parsed(args: &[&str], env: &[(&str, &str)]) -> Result<ChatOptions, String> {
        let args = ["chat"].iter().chain(args).map(OsString::from);
        let env = |name: &str| env.iter().find(|(known, _)| *known == name).map(|(_, value)| OsString::from(value));
        match Config::parse(args, env) {
            Ok(Invocation::Chat(options)) => Ok(*options),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn without_a_word_it_is_the_general_room_of_the_server_here() {
        let options = parsed(&[], &[]).expect("defaults are good");
        assert_eq!(options.target.to_string(), "ws://localhost:8080/");
        assert_eq!((options.rooms, options.user, options.timeout_ms), (vec!["general".to_owned()], None, None));
    }

    #[test]
    fn arguments_beat_the_environment_and_rooms_add_up() {
        let env = [("ROOMLOG_URL", "ws://other:1"), ("ROOMLOG_USER", "bob"), ("ROOMLOG_ROOM", "a, b")];
        let options = parsed(&["here:2", "--user", "ada", "--room", "x", "--room", "y"], &env).expect("good");
        assert_eq!(options.target.to_string(), "ws://here:2/");
        assert_eq!((options.user.as_deref(), options.rooms.join(" ")), (Some("ada"), "x y".to_owned()));
        let options = parsed(&[], &env).expect("good");
        assert_eq!(options.target.to_string(), "ws://other:1/");
        assert_eq!((options.user.as_deref(), options.rooms.join(" ")), (Some("bob"), "a b".to_owned()));
    }

    #[test]
    fn secrets_come_from_a_file_the_environment_or_the_terminal() {
        let user = ["--user", "ada"];
        let with = |args: &[&str], env: &[(&str, &str)]| parsed(&[&user, args].concat(), env).expect("good");
        assert_eq!(with(&["--login"], &[]).password, Some(PasswordSource::Prompt));
        let given = |text: &str| Some(PasswordSource::Given(Secret(text.to_owned())));
        assert_eq!(with(&["--login"], &[("ROOMLOG_PASSWORD", "p")]).password, given("p"));
        let file = Some(PasswordSource::File("f".into()));
        assert_eq!(with(&["--password-file", "f"], &[("ROOMLOG_PASSWORD", "p")]).password, file);
        assert_eq!(with(&["--token-file", "f"], &[("ROOMLOG_TOKEN", "t")]).token, file);
        assert_eq!(with(&[], &[("ROOMLOG_TOKEN", "t")]).token, given("t"));
    }

    #[test]
    fn wrong_usage_is_told_in_a_line() {
        for (args, line) in [
            (
                &["https://a"][..],
                "chat: 'https://a' asks for TLS, which this does not speak: write a ws:// address, as behind a proxy",
            ),
            (&["--password", "p"], "unknown flag '--password'; did you mean --password-file?"),
            (&["--password-file", "-"], "--password-file: '-' is stdin, which is what to send: write a file's name"),
            (&["--login"], "a password needs the account's name: add --user NAME"),
            (&["--user", " "], "--user: ' ' is empty"),
            (&["--tail", "1001"], "--tail: '1001' is not a whole number from 0 to 1000"),
            (&["a:1", "b:2"], "unexpected argument 'b:2'; see roomlog --help"),
        ] {
            assert_eq!(parsed(args, &[]).expect_err("refused"), line);
        }
    }
}

//! The list of commands: what each is called, reads and says of itself.
//!
//! Owns: what is known of a command without what it fills, so that the help, the manual and what shells complete come from
//! one list; and the help. Must never know: what a command does.

use std::ffi::OsString;

use super::options::{OptionRow, UsageError};
use super::{HEALTHCHECK_COMMAND, Invocation, SERVE_COMMAND, account, bench, chat, completions, log, manual};

/// A line of help is no longer.
const COLUMNS_MAX: usize = 80;

/// Every command, the first being the default. A new one is an entry here; then it is in every help.
pub static COMMANDS: &[&CommandSpec] = &[
    &SERVE_COMMAND,
    &chat::COMMAND,
    &HEALTHCHECK_COMMAND,
    &log::COMMAND,
    &account::COMMAND,
    &bench::COMMAND,
    &completions::COMMAND,
    &manual::COMMAND,
];

/// Where a command finds its environment.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A command.
pub struct CommandSpec {
    /// Its name.
    pub name: &'static str,
    /// A few words, for lists of commands.
    pub help: &'static str,
    /// Whole sentences: what its own help begins with.
    pub about: &'static str,
    /// The words it takes, as the help shows them; none for a command with actions, which have their own.
    pub words: &'static str,
    /// Its actions; empty for most commands.
    pub actions: fn() -> Vec<ActionRow>,
    /// All its options, with their defaults.
    pub options: fn() -> Vec<OptionRow>,
    /// What stands below the options; may be empty.
    pub notes: &'static str,
    /// Reads the rest of a line that begins with the name.
    pub parse: fn(&mut lexopt::Parser, Environment<'_>) -> Result<Invocation, UsageError>,
}

/// What an action of a command is called and takes.
pub struct ActionRow {
    /// Its name.
    pub name: &'static str,
    /// Its words, as the help shows them; those in brackets can be left out.
    pub words: &'static str,
    /// One line for the help.
    pub help: &'static str,
    /// Its options, some of those of the command.
    pub options: Vec<OptionRow>,
}

impl CommandSpec {
    /// How it is written. The default command's name can be left out.
    #[must_use]
    pub fn usage(&self) -> String {
        let actions: Vec<&str> = (self.actions)().iter().map(|action| action.name).collect();
        let name = if self.name == COMMANDS[0].name { format!("[{}]", self.name) } else { self.name.to_owned() };
        let options = if (self.options)().is_empty() { "" } else { "[OPTION]..." };
        let words = if actions.is_empty() { self.words.to_owned() } else { actions.join("|") };
        let parts = ["roomlog", &name, &words, options];
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ")
    }

    /// Its own help; the default command's is that of the whole program.
    #[must_use]
    pub fn help_text(&self) -> String {
        if self.name == COMMANDS[0].name {
            return program_help(self);
        }
        let mut text = format!("{}\n\nUsage: {}\n", self.about, self.short_usage());
        let actions = (self.actions)();
        if !actions.is_empty() {
            text.push('\n');
        }
        for action in &actions {
            let left = format!("{} {}", action.name, action.words);
            text += &format!("  {:<24}  {}\n", left.trim_end(), action.help);
        }
        let options = help_lines(&(self.options)());
        for part in [options.as_str(), self.notes].into_iter().filter(|part| !part.is_empty()) {
            text += &format!("\n{part}");
        }
        text
    }

    /// As [`CommandSpec::usage`], for where the actions follow anyhow.
    fn short_usage(&self) -> String {
        if (self.actions)().is_empty() { self.usage() } else { format!("roomlog {} ACTION [OPTION]...", self.name) }
    }
}

/// The usage of all commands, as many on a line as fit.
fn usages() -> String {
    const INDENT: &str = "       ";
    let mut lines = vec![String::new()];
    for usage in COMMANDS.iter().map(|command| command.usage()) {
        let last = lines.last_mut().expect("it begins with one");
        if last.is_empty() {
            *last = usage;
        } else if INDENT.len() + last.len() + 2 + usage.len() <= COLUMNS_MAX {
            *last += &format!(", {usage}");
        } else {
            lines.push(usage);
        }
    }
    lines.join(&format!("\n{INDENT}"))
}

fn program_help(default: &CommandSpec) -> String {
    format!(
        "roomlog {}: a chat server where a room is a log\n\n\
         Usage: {}\n\n\
         Options of {}:\n{}  \
         -h, --help, -V, --version  this text, of another command its own; the version\n\n{}",
        env!("CARGO_PKG_VERSION"),
        usages(),
        default.name,
        help_lines(&(default.options)()),
        default.notes,
    )
}

/// The help's option lines, with the defaults in brackets.
fn help_lines(rows: &[OptionRow]) -> String {
    let line = |row: &OptionRow| {
        let left = format!("--{} {}", row.flag, row.value_name);
        let default = if row.default.is_empty() { String::new() } else { format!(" [{}]", row.default) };
        format!("  {:<24}  {}{default}\n", left.trim_end(), row.help)
    };
    rows.iter().map(line).collect()
}

/// No actions, for commands without.
pub(super) fn no_actions() -> Vec<ActionRow> {
    Vec::new()
}

/// The alternatives of a value or word: `always|never|TIME`. Those in small letters are written so, those in capitals stand
/// for something.
pub(super) fn alternatives(value_name: &str) -> impl Iterator<Item = Alternative<'_>> {
    value_name.trim_matches(['[', ']']).split('|').filter(|part| !part.is_empty()).map(|part| match part {
        "DIR" => Alternative::Folder,
        "FILE" => Alternative::File,
        part if part.contains(|c: char| c.is_ascii_uppercase()) => Alternative::Other,
        part => Alternative::Word(part),
    })
}

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Alternative<'a> {
    /// This word.
    Word(&'a str),
    /// A file.
    File,
    /// A folder.
    Folder,
    /// Something that cannot be listed.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_letters_are_written_and_capitals_stand_for_something() {
        use Alternative::{File, Folder, Other, Word};
        for (value_name, expected) in [
            ("always|never|TIME", &[Word("always"), Word("never"), Other][..]),
            ("[FILE]", &[File]),
            ("DIR", &[Folder]),
            ("PORT", &[Other]),
            ("", &[]),
        ] {
            assert_eq!(alternatives(value_name).collect::<Vec<_>>(), expected, "{value_name}");
        }
    }

    #[test]
    fn a_usage_line_has_actions_or_words_and_options_if_there_are_any() {
        for (command, usage) in [
            (&SERVE_COMMAND, "roomlog [serve] [OPTION]..."),
            (&log::COMMAND, "roomlog log list|stat|verify|export|import|repair [OPTION]..."),
            (&bench::COMMAND, "roomlog bench URL [OPTION]..."),
            (&manual::COMMAND, "roomlog man"),
        ] {
            assert_eq!(command.usage(), usage);
        }
    }

    #[test]
    fn every_command_is_told_of_and_explains_itself_on_one_screen() {
        let all = COMMANDS[0].help_text();
        for command in COMMANDS {
            assert!(all.contains(&command.usage()), "{}", command.usage());
            let help = command.help_text();
            assert!(help.lines().count() <= 40, "{}: {} lines", command.name, help.lines().count());
            assert!(help.lines().all(|line| line.chars().count() <= COLUMNS_MAX), "{help}");
            for row in (command.options)() {
                assert!(help.contains(&format!("  --{}", row.flag)), "--{}: {help}", row.flag);
            }
            let options = (command.options)();
            for action in (command.actions)() {
                assert!(help.contains(&format!("  {} ", action.name)), "{}: {help}", action.name);
                for row in action.options {
                    assert!(options.iter().any(|option| option.flag == row.flag), "--{} of {}", row.flag, action.name);
                }
            }
        }
    }

    /// What the generated scripts and pages rely on.
    #[test]
    fn names_hold_nothing_that_a_shell_would_take_apart() {
        let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
        let value = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"|-[]".contains(&byte));
        for command in COMMANDS {
            let actions = (command.actions)();
            let words = actions.iter().map(|action| action.words).chain([command.words]);
            assert!(words.flat_map(str::split_whitespace).all(value), "{}", command.name);
            assert!(plain(command.name) && actions.iter().all(|action| plain(action.name)), "{}", command.name);
            for row in (command.options)() {
                assert!(plain(row.flag) && value(row.value_name), "--{}", row.flag);
            }
        }
    }
}

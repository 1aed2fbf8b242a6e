//! Commands that have actions: `roomlog log list`, `roomlog account add NAME`.
//!
//! Owns: how a line with an action, its words and its options is read. Must never know: what an action does.

use std::ffi::OsString;

use super::Invocation;
use super::commands::{ActionRow, CommandSpec};
use super::options::{OptionSpec, Outcome, UsageError, fill_with_words, nearest, printable, rows};

/// An action's name, words and options.
pub(super) struct ActionSpec<V: 'static> {
    pub name: &'static str,
    /// The words, as the help shows them; those in brackets can be left out.
    pub words: &'static str,
    /// What it cannot do without.
    pub needs: &'static str,
    pub help: &'static str,
    pub options: &'static [OptionSpec<V>],
}

impl<V> ActionSpec<V> {
    fn words(&self) -> impl Iterator<Item = &'static str> {
        self.words.split_whitespace()
    }
}

/// What a line asks for.
pub(super) enum Asked<V: 'static> {
    /// This action, with its words.
    Action(&'static ActionSpec<V>, Vec<OsString>),
    /// Something that is answered at once.
    Answer(Box<Invocation>),
}

/// Reads the rest of a line that begins with `command`. Without an action it asks for help.
pub(super) fn parse<V>(
    command: &CommandSpec,
    actions: &'static [ActionSpec<V>],
    values: &mut V,
    parser: &mut lexopt::Parser,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Asked<V>, UsageError> {
    let help = || Ok(Asked::Answer(Box::new(Invocation::Help(command.help_text()))));
    let Some(action) = first_word(parser)? else { return help() };
    let command = command.name;
    let spec = actions.iter().find(|spec| spec.name == action).ok_or_else(|| {
        let nearest = nearest(&action, actions.iter().map(|spec| spec.name)).map(|name| format!("{command} {name}"));
        UsageError::UnknownCommand { command: format!("{command} {action}"), nearest }
    })?;
    let mut words = Vec::new();
    match fill_with_words(values, spec.options, parser, env, &mut words, spec.words().count())? {
        Outcome::Help => return help(),
        Outcome::Version => return Ok(Asked::Answer(Box::new(Invocation::Version))),
        Outcome::Filled { .. } => {}
    }
    if words.len() < spec.words().filter(|word| !word.starts_with('[')).count() {
        return Err(UsageError::MissingWord { command: format!("{command} {}", spec.name), what: spec.needs });
    }
    Ok(Asked::Action(spec, words))
}

/// The first word is the action.
fn first_word(parser: &mut lexopt::Parser) -> Result<Option<String>, UsageError> {
    match parser.next().map_err(|error| UsageError::Unexpected(error.to_string()))? {
        Some(lexopt::Arg::Value(word)) => Ok(Some(printable(&word))),
        None | Some(lexopt::Arg::Long("help") | lexopt::Arg::Short('h')) => Ok(None),
        Some(lexopt::Arg::Long(flag)) => Err(UsageError::Unexpected(format!("--{flag}"))),
        Some(lexopt::Arg::Short(letter)) => Err(UsageError::Unexpected(format!("-{letter}"))),
    }
}

/// A word that has to be UTF-8.
pub(super) fn utf8(word: OsString) -> Result<String, UsageError> {
    word.into_string().map_err(|word| UsageError::Unexpected(printable(&word)))
}

/// The actions without what they fill.
pub(super) fn action_rows<V>(actions: &[ActionSpec<V>], defaults: &V) -> Vec<ActionRow> {
    let row = |spec: &ActionSpec<V>| {
        let ActionSpec { name, words, help, options, .. } = *spec;
        ActionRow { name, words, help, options: rows(options, defaults) }
    };
    actions.iter().map(row).collect()
}

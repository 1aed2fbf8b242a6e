//! Commands that have actions: `roomlog log list`, `roomlog account add NAME`.
//!
//! Owns: how a line with an action, its words and its options is read, and the help for them. Must never know: what an
//! action does.

use std::ffi::OsString;

use super::Invocation;
use super::options::{OptionSpec, Outcome, UsageError, fill_with_words, help_lines, nearest, printable};

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

/// Reads the rest of a line that begins with `command`. Without an action it asks for `help`.
pub(super) fn parse<V>(
    command: &str,
    actions: &'static [ActionSpec<V>],
    values: &mut V,
    help: impl Fn() -> String,
    parser: &mut lexopt::Parser,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Asked<V>, UsageError> {
    let Some(action) = first_word(parser)? else { return Ok(Asked::Answer(Box::new(Invocation::Help(help())))) };
    let spec = actions.iter().find(|spec| spec.name == action).ok_or_else(|| {
        let nearest = nearest(&action, actions.iter().map(|spec| spec.name)).map(|name| format!("{command} {name}"));
        UsageError::UnknownCommand { command: format!("{command} {action}"), nearest }
    })?;
    let mut words = Vec::new();
    match fill_with_words(values, spec.options, parser, env, &mut words, spec.words().count())? {
        Outcome::Help => return Ok(Asked::Answer(Box::new(Invocation::Help(help())))),
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

/// The help: `head`, the actions, all options with the values in `defaults`.
pub(super) fn help<V>(head: &str, actions: &[ActionSpec<V>], options: &[OptionSpec<V>], defaults: &V) -> String {
    let mut text = head.to_owned();
    for spec in actions {
        let left = format!("{} {}", spec.name, spec.words);
        text += &format!("  {:<24}  {}\n", left.trim_end(), spec.help);
    }
    text + "\n" + &help_lines(options, defaults)
}

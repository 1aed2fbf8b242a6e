//! Reads a command's options from one table: argv through lexopt, the environment, and the text of `--help`.
//!
//! Owns: the table's shape, the order flag > environment > default, and the wording of usage errors. Must never know:
//! what an option means beyond its row.

use std::ffi::{OsStr, OsString};

use lexopt::Arg;

/// One option of a command that fills a `T`: argv, environment, help, manual and what shells complete come from this row.
pub struct OptionSpec<T: 'static> {
    /// Long flag without its dashes.
    pub flag: &'static str,
    /// What stands for the value in the help, as `open|closed` or `always|never|TIME`: a word in small letters is to be written
    /// so, one in capitals stands for something, of which `FILE` and `DIR` can be completed. Empty for a switch, which takes
    /// none.
    pub value_name: &'static str,
    /// Environment variables that set it, the first that is set and not empty wins.
    pub env: &'static [&'static str],
    /// One line for the help.
    pub help: &'static str,
    /// May be given more than once; its environment variable is a comma-separated list.
    pub repeatable: bool,
    /// Stores a value, or says why it is none: a clause that goes after "'value' ".
    pub set: fn(&mut T, &OsStr) -> Result<(), String>,
    /// The value in force as it would be written, for the help's defaults; empty where there is none.
    pub show: fn(&T) -> String,
}

/// What is known of an option without what it fills.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OptionRow {
    /// As [`OptionSpec::flag`].
    pub flag: &'static str,
    /// As [`OptionSpec::value_name`].
    pub value_name: &'static str,
    /// As [`OptionSpec::env`].
    pub env: &'static [&'static str],
    /// As [`OptionSpec::help`].
    pub help: &'static str,
    /// As [`OptionSpec::repeatable`].
    pub repeatable: bool,
    /// The value in force if nothing is said; empty where there is none.
    pub default: String,
}

/// A table without what it fills, with the values of `defaults`.
pub fn rows<T>(table: &[OptionSpec<T>], defaults: &T) -> Vec<OptionRow> {
    let row = |spec: &OptionSpec<T>| {
        let OptionSpec { flag, value_name, env, help, repeatable, .. } = *spec;
        OptionRow { flag, value_name, env, help, repeatable, default: (spec.show)(defaults) }
    };
    table.iter().map(row).collect()
}

/// Why a command line or an environment cannot be used. The caller prints it as one line and exits with 2.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UsageError {
    /// A flag that the command does not have, with the nearest that it has.
    #[error("unknown flag '{flag}'{}", hint(nearest))]
    UnknownFlag {
        /// As given, with its dashes.
        flag: String,
        /// With its dashes.
        nearest: Option<String>,
    },
    /// A first word that names no command, with the nearest that does.
    #[error("unknown command '{command}'{}", hint(nearest))]
    UnknownCommand {
        /// As given.
        command: String,
        /// A command's name.
        nearest: Option<String>,
    },
    /// A word that belongs to no flag.
    #[error("unexpected argument '{0}'; see roomlog --help")]
    Unexpected(String),
    /// A flag at the end of the line.
    #[error("{flag} needs a value: {flag} {value_name}")]
    MissingValue {
        /// With its dashes.
        flag: String,
        /// As in the help.
        value_name: &'static str,
    },
    /// A value that does not parse or is out of bounds.
    #[error("{origin}: '{value}' {reason}")]
    BadValue {
        /// The flag, or the environment variable, that the value came from.
        origin: String,
        /// As given.
        value: String,
        /// What is wrong and what to write.
        reason: String,
    },
    /// A word that the command cannot do without.
    #[error("{command} needs {what}; see roomlog {command} --help")]
    MissingWord {
        /// The command's name.
        command: String,
        /// As in the help.
        what: &'static str,
    },
    /// Two values that exclude each other.
    #[error("{0}")]
    Conflict(String),
}

fn hint(nearest: &Option<String>) -> String {
    match nearest {
        Some(nearest) => format!("; did you mean {nearest}?"),
        None => "; see roomlog --help".to_owned(),
    }
}

/// What a command line asks for besides values.
pub enum Outcome {
    /// Every option is stored; `origins` has, per row of the table, where its value came from.
    Filled {
        /// A flag, an environment variable, or (for a default) the flag again.
        origins: Vec<String>,
    },
    /// `--help` or `-h`.
    Help,
    /// `--version` or `-V`.
    Version,
}

/// Fills `target`, which holds the defaults, from argv and the environment: flag beats environment beats default.
///
/// The environment of an option given as a flag is not looked at, so a flag also gets past a broken variable.
///
/// # Errors
/// The first thing in argv, then in table order in the environment, that cannot be used.
pub fn fill<T>(
    target: &mut T,
    table: &'static [OptionSpec<T>],
    parser: &mut lexopt::Parser,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Outcome, UsageError> {
    fill_with_words(target, table, parser, env, &mut Vec::new(), 0)
}

/// As [`fill`], and puts up to `words_max` arguments that belong to no flag into `words`.
///
/// # Errors
/// As [`fill`]; also one word too many.
pub fn fill_with_words<T>(
    target: &mut T,
    table: &'static [OptionSpec<T>],
    parser: &mut lexopt::Parser,
    env: impl Fn(&str) -> Option<OsString>,
    words: &mut Vec<OsString>,
    words_max: usize,
) -> Result<Outcome, UsageError> {
    let mut origins: Vec<Option<String>> = vec![None; table.len()];
    while let Some(arg) = parser.next().map_err(|error| UsageError::Unexpected(one_line(&error.to_string())))? {
        let flag = match arg {
            Arg::Long("help") | Arg::Short('h') => return Ok(Outcome::Help),
            Arg::Long("version") | Arg::Short('V') => return Ok(Outcome::Version),
            Arg::Long(flag) => flag.to_owned(),
            Arg::Short(letter) => {
                return Err(UsageError::UnknownFlag { flag: one_line(&format!("-{letter}")), nearest: None });
            }
            Arg::Value(word) if words.len() < words_max => {
                words.push(word);
                continue;
            }
            Arg::Value(word) => return Err(UsageError::Unexpected(printable(&word))),
        };
        let row = table.iter().position(|spec| spec.flag == flag).ok_or_else(|| unknown_flag(&flag, table))?;
        let origin = format!("--{flag}");
        let value = match table[row].value_name {
            "" => OsString::new(),
            value_name => parser.value().map_err(|_| UsageError::MissingValue { flag: origin.clone(), value_name })?,
        };
        store(target, &table[row], &origin, &value)?;
        origins[row] = Some(origin);
    }
    for (spec, origin) in table.iter().zip(&mut origins).filter(|(_, origin)| origin.is_none()) {
        *origin = from_environment(target, spec, &env)?;
    }
    let named = table.iter().zip(origins).map(|(spec, origin)| origin.unwrap_or_else(|| format!("--{}", spec.flag)));
    Ok(Outcome::Filled { origins: named.collect() })
}

fn from_environment<T>(
    target: &mut T,
    spec: &OptionSpec<T>,
    env: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<String>, UsageError> {
    // Compose files pass on unset variables as empty ones.
    let set = spec.env.iter().find_map(|name| Some((name, env(name).filter(|value| !value.is_empty())?)));
    let Some((name, value)) = set else { return Ok(None) };
    match value.to_str() {
        Some(list) if spec.repeatable => {
            list.split(',').try_for_each(|item| store(target, spec, name, OsStr::new(item.trim())))?;
        }
        _ => store(target, spec, name, &value)?,
    }
    Ok(Some((*name).to_owned()))
}

fn store<T>(target: &mut T, spec: &OptionSpec<T>, origin: &str, value: &OsStr) -> Result<(), UsageError> {
    (spec.set)(target, value).map_err(|reason| UsageError::BadValue {
        origin: origin.to_owned(),
        value: printable(value),
        reason,
    })
}

fn unknown_flag<T>(flag: &str, table: &[OptionSpec<T>]) -> UsageError {
    let known = table.iter().map(|spec| spec.flag).chain(["help", "version"]);
    UsageError::UnknownFlag {
        flag: one_line(&format!("--{flag}")),
        nearest: nearest(flag, known).map(|name| format!("--{name}")),
    }
}

/// An argument as it may stand in a one-line message.
pub fn printable(value: &OsStr) -> String {
    one_line(&value.to_string_lossy())
}

fn one_line(text: &str) -> String {
    text.chars().fold(String::new(), |mut line, c| {
        if c.is_control() {
            line.extend(c.escape_default())
        } else {
            line.push(c)
        }
        line
    })
}

/// The one of `known` that `given` most likely was meant to be: at most a third of its letters are wrong.
pub fn nearest<'a>(given: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_lowercase();
    let (distance, name) = known.map(|name| (edit_distance(&given, name), name)).min()?;
    (distance <= name.len().div_ceil(3)).then_some(name)
}

/// Optimal string alignment distance: insertions, deletions, substitutions and swapped neighbours.
fn edit_distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let substituted = above[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut least = substituted.min(above[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                least = least.min(before[j - 2] + 1);
            }
            row.push(least);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[b.len()]
}

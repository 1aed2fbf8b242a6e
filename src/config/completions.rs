//! `roomlog completions`: the scripts by which bash, zsh and fish complete a command line.
//!
//! Owns: what each shell is told, made of the list of commands. Each script is a file beside this one, with places for what
//! is listed. Must never know: any command but its own.

use super::Invocation;
use super::commands::{ActionRow, Alternative, COMMANDS, CommandSpec, Environment, alternatives, no_actions};
use super::options::{OptionRow, OptionSpec, Outcome, UsageError, fill_with_words, printable};

pub(super) static COMMAND: CommandSpec = CommandSpec {
    name: "completions",
    help: "print what a shell completes commands by",
    about: "Prints the script by which a shell completes commands, flags and values.",
    words: "bash|zsh|fish",
    actions: no_actions,
    options: Vec::new,
    notes: "Put it where the shell looks for it:\n  \
            bash: /etc/bash_completion.d/roomlog\n  \
            zsh:  _roomlog in a folder of $fpath, as /usr/local/share/zsh/site-functions\n  \
            fish: /etc/fish/completions/roomlog.fish\n",
    parse,
};

fn parse(parser: &mut lexopt::Parser, env: Environment<'_>) -> Result<Invocation, UsageError> {
    static NO_OPTIONS: &[OptionSpec<()>] = &[];
    let mut words = Vec::new();
    match fill_with_words(&mut (), NO_OPTIONS, parser, env, &mut words, 1)? {
        Outcome::Help => return Ok(Invocation::Help(COMMAND.help_text())),
        Outcome::Version => return Ok(Invocation::Version),
        Outcome::Filled { .. } => {}
    }
    let Some(shell) = words.pop() else {
        return Err(UsageError::MissingWord { command: COMMAND.name.to_owned(), what: "a shell's name" });
    };
    match shell.to_str() {
        Some("bash") => Ok(Invocation::Print(bash())),
        Some("zsh") => Ok(Invocation::Print(zsh())),
        Some("fish") => Ok(Invocation::Print(fish())),
        _ => Err(UsageError::BadValue {
            origin: COMMAND.name.to_owned(),
            value: printable(&shell),
            reason: "is no shell that is known: write bash, zsh or fish".to_owned(),
        }),
    }
}

/// What words and options may follow: a command, or a command with its action.
struct Place {
    /// `serve`, `log list`.
    path: String,
    words: &'static str,
    options: Vec<OptionRow>,
}

/// All places behind which there are no further actions.
fn places() -> Vec<Place> {
    let of_command = |command: &&CommandSpec| {
        let actions = (command.actions)();
        if actions.is_empty() {
            let options = (command.options)();
            return vec![Place { path: command.name.to_owned(), words: command.words, options }];
        }
        let place = |action: ActionRow| {
            let path = format!("{} {}", command.name, action.name);
            Place { path, words: action.words, options: action.options }
        };
        actions.into_iter().map(place).collect()
    };
    COMMANDS.iter().flat_map(of_command).collect()
}

/// The commands that have actions, with them.
fn with_actions() -> impl Iterator<Item = (&'static str, Vec<ActionRow>)> {
    COMMANDS.iter().map(|command| (command.name, (command.actions)())).filter(|(_, actions)| !actions.is_empty())
}

fn names() -> Vec<&'static str> {
    COMMANDS.iter().map(|command| command.name).collect()
}

/// The values that can be listed.
fn listed(value_name: &str) -> Vec<&str> {
    let words = alternatives(value_name).filter_map(|alternative| match alternative {
        Alternative::Word(word) => Some(word),
        _ => None,
    });
    words.collect()
}

fn is_a(value_name: &str, alternative: Alternative<'_>) -> bool {
    alternatives(value_name).any(|found| found == alternative)
}

/// A script with what stands for `@NAME@`.
fn filled(script: &str, parts: &[(&str, String)]) -> String {
    parts.iter().fold(script.to_owned(), |script, (name, part)| script.replace(&format!("@{name}@"), part.trim_end()))
}

fn bash() -> String {
    let mut table = String::new();
    for (name, actions) in with_actions() {
        let actions: Vec<&str> = actions.iter().map(|action| action.name).collect();
        table += &format!("        '{name}') actions='{}' ;;\n", actions.join("|"));
    }
    for Place { path, words, options } in places() {
        let option = |row: &OptionRow| match row.value_name {
            "" => format!("--{} ", row.flag),
            value_name => format!("--{}:{value_name} ", row.flag),
        };
        let options: String = options.iter().map(option).collect();
        let words = words.replace(['[', ']'], "");
        table += &format!("        '{path}') words='{words}' options='{options}--help --version' ;;\n");
    }
    filled(
        include_str!("completions/roomlog.bash"),
        &[("DEFAULT", COMMANDS[0].name.to_owned()), ("COMMANDS", names().join("|")), ("TABLE", table)],
    )
}

fn zsh() -> String {
    let item = |name: &str, help: &str| format!(" {}", quoted(&format!("{name}:{help}"), '\''));
    let commands: String = COMMANDS.iter().map(|command| item(command.name, command.help)).collect();
    let mut actions = String::new();
    for (name, rows) in with_actions() {
        let rows: String = rows.iter().map(|action| item(action.name, action.help)).collect();
        actions += &format!("        {name}) actions=({}) ;;\n", rows.trim_start());
    }
    let mut table = String::new();
    for Place { path, words, options } in places() {
        table += &format!("        '{path}') specs+=(\n");
        for row in &options {
            table += &format!("            {}\n", zsh_option(row));
        }
        for (place, word) in words.split_whitespace().enumerate() {
            let colons = if word.starts_with('[') { "::" } else { ":" };
            let spec = format!("{}{colons}{}:{}", place + 1, zsh_message(word), zsh_action(word));
            table += &format!("            {}\n", quoted(&spec, '\''));
        }
        table += "        ) ;;\n";
    }
    filled(
        include_str!("completions/roomlog.zsh"),
        &[
            ("DEFAULT", COMMANDS[0].name.to_owned()),
            ("COMMANDS", commands.trim_start().to_owned()),
            ("ACTIONS", actions),
            ("TABLE", table),
        ],
    )
}

fn zsh_option(row: &OptionRow) -> String {
    let help = row.help.replace('\\', "\\\\").replace('[', "\\[").replace(']', "\\]").replace(':', "\\:");
    let many = if row.repeatable { "*" } else { "" };
    let spec = match row.value_name {
        "" => format!("{many}--{}[{help}]", row.flag),
        value => format!("{many}--{}=[{help}]:{}:{}", row.flag, zsh_message(value), zsh_action(value)),
    };
    quoted(&spec, '\'')
}

/// What zsh calls a value.
fn zsh_message(value_name: &str) -> String {
    value_name.trim_matches(['[', ']']).replace('|', " or ")
}

/// How zsh finds a value; a space is for one that it cannot.
fn zsh_action(value_name: &str) -> String {
    let words = listed(value_name);
    match () {
        () if is_a(value_name, Alternative::Folder) => "_files -/".to_owned(),
        () if is_a(value_name, Alternative::File) => "_files".to_owned(),
        () if words.is_empty() => " ".to_owned(),
        () => format!("({})", words.join(" ")),
    }
}

fn fish() -> String {
    let mut lines = String::new();
    for command in COMMANDS {
        let help = quoted(command.help, '\\');
        lines += &format!("complete -c roomlog -n __roomlog_is_first -a {} -d {help}\n", command.name);
    }
    for (name, actions) in with_actions() {
        for action in actions {
            let help = quoted(action.help, '\\');
            lines += &format!("complete -c roomlog -n '__roomlog_is_at {name} 0' -a {} -d {help}\n", action.name);
        }
    }
    let mut switches = String::new();
    for Place { path, words, options } in places() {
        for (place, word) in words.split_whitespace().enumerate().filter_map(|(at, word)| Some((at, fish_value(word)?)))
        {
            lines += &format!("complete -c roomlog -n '__roomlog_is_at \"{path}\" {place}' {word}\n");
        }
        for row in &options {
            let value = match row.value_name {
                "" => String::new(),
                value_name if is_a(value_name, Alternative::File) => " -r -F".to_owned(),
                value_name => format!(" -x {}", fish_value(value_name).unwrap_or_default()),
            };
            let (flag, help) = (row.flag, quoted(row.help, '\\'));
            let line = format!("complete -c roomlog -n '__roomlog_is_at \"{path}\"' -l {flag}{value}");
            lines += &format!("{} -d {help}\n", line.trim_end());
        }
        let plain = options.iter().filter(|row| row.value_name.is_empty());
        switches.extend(plain.map(|row| format!(" '{path} --{}'", row.flag)));
    }
    let with_actions: Vec<&str> = with_actions().map(|(name, _)| name).collect();
    filled(
        include_str!("completions/roomlog.fish"),
        &[
            ("DEFAULT", COMMANDS[0].name.to_owned()),
            ("WITH_ACTIONS", with_actions.join(" ")),
            ("SWITCHES", switches.trim_start().to_owned()),
            ("LINES", lines),
        ],
    )
}

/// How fish finds a value, if it can.
fn fish_value(value_name: &str) -> Option<String> {
    let words = listed(value_name);
    match () {
        () if is_a(value_name, Alternative::Folder) => Some("-a '(__fish_complete_directories)'".to_owned()),
        () if is_a(value_name, Alternative::File) => Some("-F".to_owned()),
        () if words.is_empty() => None,
        () => Some(format!("-a '{}'", words.join(" "))),
    }
}

/// In single quotes. What stands for one within differs: in POSIX shells the quotes are left for it (`'`), in fish it is
/// marked (`\`).
fn quoted(text: &str, by: char) -> String {
    let text = if by == '\\' { text.replace('\\', "\\\\").replace('\'', "\\'") } else { text.replace('\'', "'\\''") };
    format!("'{text}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_has_every_command_action_and_flag() {
        for (shell, script) in [("bash", bash()), ("zsh", zsh()), ("fish", fish())] {
            for name in ["DEFAULT", "COMMANDS", "ACTIONS", "WITH_ACTIONS", "SWITCHES", "TABLE", "LINES"] {
                assert!(!script.contains(&format!("@{name}@")), "{shell}: {name} is left: {script}");
            }
            for command in COMMANDS {
                let actions = (command.actions)();
                let names = actions.iter().map(|action| action.name).chain([command.name]);
                for name in names {
                    assert!(script.contains(name), "{shell}: {name}");
                }
                for row in (command.options)() {
                    let flag = if shell == "fish" { format!("-l {}", row.flag) } else { format!("--{}", row.flag) };
                    assert!(script.contains(&flag), "{shell}: {flag}");
                }
            }
        }
    }

    #[test]
    fn text_cannot_leave_its_quotes() {
        let row = OptionRow {
            flag: "of",
            value_name: "a|B",
            env: &[],
            help: "rooms' [names]: \\",
            repeatable: true,
            default: String::new(),
        };
        assert_eq!(zsh_option(&row), "'*--of=[rooms'\\'' \\[names\\]\\: \\\\]:a or B:(a)'");
        assert_eq!(quoted("it's \\", '\\'), "'it\\'s \\\\'");
    }

    #[test]
    fn a_shell_has_to_be_named_and_known() {
        let parsed = |line: &str| {
            let args = line.split_whitespace().map(std::ffi::OsString::from);
            super::super::Config::parse(args, |_| None).map_err(|error| error.to_string())
        };
        for (line, words) in [
            ("completions", "completions needs a shell's name; see roomlog completions --help"),
            ("completions tcsh", "completions: 'tcsh' is no shell that is known: write bash, zsh or fish"),
            ("completions bash zsh", "unexpected argument 'zsh'; see roomlog --help"),
        ] {
            assert_eq!(parsed(line), Err(words.to_owned()));
        }
        for shell in listed(COMMAND.words) {
            assert!(matches!(parsed(&format!("completions {shell}")), Ok(Invocation::Print(_))), "{shell}");
        }
        assert!(matches!(parsed("completions -h"), Ok(Invocation::Help(_))));
    }
}

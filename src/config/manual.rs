//! `roomlog man`: the manual page, for man(1).
//!
//! Owns: its text and its layout, by man(7); commands and options come from their list. Must never know: any command but its
//! own.

use super::Invocation;
use super::commands::{COMMANDS, CommandSpec, Environment, no_actions};
use super::options::{OptionRow, OptionSpec, Outcome, UsageError, fill};

/// When the text of this file was changed last.
const DATE: &str = "2026-11-24";

pub(super) static COMMAND: CommandSpec = CommandSpec {
    name: "man",
    help: "print the manual page",
    about: "Prints the manual page, which man reads: roomlog man | man -l -",
    words: "",
    actions: no_actions,
    options: Vec::new,
    notes: "",
    parse,
};

fn parse(parser: &mut lexopt::Parser, env: Environment<'_>) -> Result<Invocation, UsageError> {
    static NO_OPTIONS: &[OptionSpec<()>] = &[];
    match fill(&mut (), NO_OPTIONS, parser, env)? {
        Outcome::Help => Ok(Invocation::Help(COMMAND.help_text())),
        Outcome::Version => Ok(Invocation::Version),
        Outcome::Filled { .. } => Ok(Invocation::Print(page())),
    }
}

const DESCRIPTION: &str = "\
.B roomlog
is a real\\-time chat server in one binary: the page, the WebSocket and REST
interfaces, and the store.
Every room is a log on the disk, and every member has a cursor over it, so that
nothing that was said is lost or comes twice.
.PP
A flag is written
.BI \\-\\-flag \\ value
or
.BI \\-\\-flag= value\\fR.
Where an option can also be set by an environment variable, the variable stands
beside it; a flag beats it.
";

const REST: &str = "\
.SH ENVIRONMENT
Besides the variables of the options:
.TP
.B ROOMLOG_PASSWORD
The password for
.B roomlog account add
and
.BR passwd .
.TP
.B NO_COLOR
If it holds anything, no colours are used at a terminal.
.SH FILES
.TP
.I ./data
The data folder, unless
.B \\-\\-data
names another: a folder for each room with text files of a message a line, and
the accounts.
.SH EXIT STATUS
.TP
.B 0
All went well.
.TP
.B 1
Something failed, as a port that is taken. A line on standard error says what.
.TP
.B 2
An option or a word cannot be used.
.PP
.B roomlog bench
has more; they stand above.
.SH EXAMPLES
Serve on this machine only, with another folder:
.PP
.RS
.EX
roomlog \\-\\-bind 127.0.0.1 \\-\\-data /srv/chat
.EE
.RE
.PP
Make an account that may look after others:
.PP
.RS
.EX
roomlog account add ann \\-\\-role admin \\-\\-data /srv/chat
.EE
.RE
.PP
Check every byte of what is stored, and save a room:
.PP
.RS
.EX
roomlog log verify \\-\\-data /srv/chat
roomlog log export general \\-\\-data /srv/chat > general.jsonl
.EE
.RE
";

/// The page.
fn page() -> String {
    let mut text = format!(".TH ROOMLOG 1 {DATE} \"roomlog {}\" \"User Commands\"\n", env!("CARGO_PKG_VERSION"));
    text += ".SH NAME\nroomlog \\- chat server where a room is a log\n.SH SYNOPSIS\n.nf\n";
    for command in COMMANDS {
        text += &format!("{}\n", synopsis(&command.usage()));
    }
    text += &format!(".fi\n.SH DESCRIPTION\n{DESCRIPTION}.SH COMMANDS\n");
    for command in COMMANDS {
        text += &section(command);
    }
    text + REST
}

/// A usage line, with the program's name in bold.
fn synopsis(usage: &str) -> String {
    let (name, rest) = usage.split_once(' ').unwrap_or((usage, ""));
    format!("\\fB{name}\\fR {}", escaped(rest))
}

fn section(command: &CommandSpec) -> String {
    let mut text = format!(".SS {}\n{}\n", synopsis(&command.usage()), paragraph(command.about));
    for action in (command.actions)() {
        let head = format!("\\fB{}\\fR {}", action.name, escaped(action.words));
        text += &format!(".TP\n{}\n{}\n", head.trim_end(), paragraph(action.help));
    }
    for row in (command.options)() {
        text += &option(&row);
    }
    if !command.notes.is_empty() {
        text += &format!(".PP\n{}\n", notes(command.notes));
    }
    text
}

fn option(row: &OptionRow) -> String {
    let head = format!("\\fB\\-\\-{}\\fR \\fI{}\\fR", escaped(row.flag), escaped(row.value_name));
    let head = if row.value_name.is_empty() { format!("\\fB\\-\\-{}\\fR", escaped(row.flag)) } else { head };
    let mut text = format!(".TP\n{head}\n{}.\n", paragraph(row.help));
    if !row.default.is_empty() {
        text += &format!("Default: {}.\n", escaped(&row.default));
    }
    if !row.env.is_empty() {
        // A name that is broken at the end of a line could not be copied.
        let names: Vec<String> = row.env.iter().map(|name| format!("\\%{name}")).collect();
        text += &format!("Variable: {}.\n", names.join(", "));
    }
    text
}

/// Lines that are laid out, which begin with a space, stay so; others flow.
fn notes(text: &str) -> String {
    let mut out = String::new();
    let mut is_laid_out = false;
    for line in text.trim_end().lines() {
        if line.starts_with(' ') != is_laid_out {
            is_laid_out = !is_laid_out;
            out += if is_laid_out { ".PP\n.nf\n" } else { ".fi\n.PP\n" };
        }
        out += &format!("{}\n", paragraph(line));
    }
    if is_laid_out {
        out += ".fi\n";
    }
    out.trim_end().to_owned()
}

/// Text that flows: no line of it is taken for a request.
fn paragraph(text: &str) -> String {
    let line = |line: &str| {
        let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
        format!("{guard}{}", escaped(line))
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Characters as roff spells them: a hyphen of a flag is a minus, or it could not be found or copied.
fn escaped(text: &str) -> String {
    text.chars().fold(String::new(), |mut out, c| {
        match c {
            '\\' => out += "\\e",
            '-' => out += "\\-",
            '\u{2026}' => out += "...",
            c if c.is_ascii() => out.push(c),
            c => out += &format!("\\[u{:04X}]", u32::from(c)),
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_action_flag_and_variable_has_its_place() {
        let page = page();
        for command in COMMANDS {
            let head = format!(".SS {}\n", synopsis(&command.usage()));
            let (_, section) = page.split_once(&head).unwrap_or_else(|| panic!("no {head}"));
            let section = section.split("\n.S").next().unwrap_or_default();
            for action in (command.actions)() {
                assert!(section.contains(&format!(".TP\n\\fB{}\\fR", action.name)), "{}: {section}", action.name);
            }
            for row in (command.options)() {
                let flag = format!(".TP\n\\fB\\-\\-{}\\fR", row.flag.replace('-', "\\-"));
                assert!(section.contains(&flag), "--{}: {section}", row.flag);
                assert!(row.env.iter().all(|name| section.contains(name)), "{:?}: {section}", row.env);
            }
        }
    }

    #[test]
    fn no_text_is_taken_for_a_request() {
        assert_eq!(paragraph(".so x\n'a\\b --c\u{2026}\u{d7}"), "\\&.so x\n\\&'a\\eb \\-\\-c...\\[u00D7]");
        assert_eq!(notes("a:\n  b\n  c\nd"), "a:\n.PP\n.nf\n  b\n  c\n.fi\n.PP\nd");
    }
}

//! What the program prints for other programs: the shells complete by it what they should, and the manual page is good
//! roff. The real shells are asked; one that is not installed is said to be skipped.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::Data;
use roomlog::config::commands::COMMANDS;

/// Longest that a shell may take, in seconds; it is ended then.
const PATIENCE_S: &str = "30";

fn printed(args: &[&str]) -> String {
    let output =
        Command::new(env!("CARGO_BIN_EXE_roomlog")).args(args).env_clear().output().expect("the binary starts");
    assert!(output.status.success() && output.stderr.is_empty(), "{args:?}: {output:?}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Whether a program is there; if not, it is said, past what catches the output of tests.
fn has(program: &str) -> bool {
    let found = Command::new("sh").args(["-c", "command -v \"$0\" >/dev/null", program]).status();
    let found = found.expect("sh").success();
    if !found {
        let _ = writeln!(std::io::stderr(), "skipped: {program} is not installed");
    }
    found
}

/// A folder with something to complete, and the script of a shell.
struct Place {
    data: Data,
    script: PathBuf,
}

impl Place {
    fn with_script_of(shell: &str) -> Place {
        let data = Data::fresh();
        fs::create_dir_all(data.around().join("work/folder")).expect("a writable folder");
        fs::write(data.around().join("work/room.jsonl"), "").expect("a writable folder");
        let script = data.around().join("_roomlog");
        fs::write(&script, printed(&["completions", shell])).expect("a writable folder");
        Place { data, script }
    }

    fn run(&self, program: &str, args: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command.arg(PATIENCE_S).arg(program).args(args).current_dir(self.data.around().join("work"));
        command.env("HOME", self.data.around()).env("XDG_CONFIG_HOME", self.data.around()).env_remove("ZDOTDIR");
        let output = command.stdin(Stdio::null()).output().expect("timeout(1)");
        assert!(output.status.success(), "{program} {args:?}: {output:?}");
        output
    }

    fn lines(&self, program: &str, args: &[&str]) -> Vec<String> {
        let text = String::from_utf8(self.run(program, args).stdout).expect("UTF-8");
        text.lines().map(|line| line.trim_end().to_owned()).filter(|line| !line.is_empty()).collect()
    }
}

fn helper(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/generated").join(name).display().to_string()
}

/// A line as readline takes it apart, with the word at its end.
fn taken_apart(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut last = None;
    for c in line.chars() {
        let (is_break, was_break) = ("=:".contains(c), last.is_some_and(|last| "=:".contains(last)));
        if c == ' ' || (last.is_some_and(|last| last != ' ') && is_break != was_break) {
            words.push(String::new());
        }
        if c != ' ' {
            words.last_mut().expect("there is one").push(c);
        }
        last = Some(c);
    }
    words
}

/// What is to be offered behind `roomlog `: lines, and all offers.
fn expected() -> Vec<(String, BTreeSet<String>)> {
    let set = |offers: &str| offers.split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>();
    let flags = |flags: Vec<&str>| set(&(flags.join(" --") + " --help --version"));
    let mut lines: Vec<(String, BTreeSet<String>)> = [
        ("l", "log"),
        ("--fs", "--fsync"),
        ("--fsync ", "always never"),
        ("--fsync n", "never"),
        ("--registration ", "open closed"),
        ("serve --guests ", "yes no"),
        ("--log-level ", "error warn info debug trace"),
        ("--port ", ""),
        ("--port 1 --fsync a", "always"),
        ("--data ", "folder"),
        ("serve --public f", "folder"),
        ("log list --j", "--json"),
        ("log import general ", "folder room.jsonl"),
        ("log import --data x general r", "room.jsonl"),
        ("account add --role ", "member admin"),
        ("account add --password-file r", "room.jsonl"),
        ("account role ann ", "admin member"),
        ("account role --data x ann a", "admin"),
        ("account role --data a:b ann a", "admin"),
        ("bench localhost:1 --no", "--no-ack"),
        ("bench --json localhost:1 --no", "--no-ack"),
        ("--bind ::1 --log", "--log-level"),
        ("completions ", "bash zsh fish"),
    ]
    .map(|(line, offers)| (line.to_owned(), set(offers)))
    .into();
    lines.push((String::new(), COMMANDS.iter().map(|command| command.name.to_owned()).collect()));
    for command in COMMANDS {
        let actions = (command.actions)();
        let options = (command.options)();
        if actions.is_empty() {
            let names = options.iter().map(|row| row.flag);
            lines.push((format!("{} --", command.name), flags([""].into_iter().chain(names).collect())));
        } else {
            lines.push((format!("{} ", command.name), actions.iter().map(|action| action.name.to_owned()).collect()));
        }
        for action in actions {
            let names = action.options.iter().map(|row| row.flag);
            lines
                .push((format!("{} {} --", command.name, action.name), flags([""].into_iter().chain(names).collect())));
        }
    }
    lines
}

/// Asks a shell for every line.
fn check(ask: impl Fn(&str) -> Vec<String>) {
    for (line, offers) in expected() {
        let plain = ask(&format!("roomlog {line}"));
        let plain: BTreeSet<String> = plain.iter().map(|offer| offer.trim_end_matches('/').to_owned()).collect();
        assert_eq!(plain, offers, "roomlog {line}");
    }
}

#[test]
fn bash_completes_commands_actions_flags_values_and_files() {
    let place = Place::with_script_of("bash");
    let script = place.script.display().to_string();
    place.run("bash", &["--norc", "-n", &script]);
    let ask = |line: &str| {
        let words = taken_apart(line);
        let helper = helper("ask.bash");
        let mut args = vec!["--norc", &helper, &script];
        args.extend(words.iter().map(String::as_str));
        place.lines("bash", &args)
    };
    check(ask);
    assert_eq!(ask("roomlog --fsync=al"), ["always"]);
    assert_eq!(ask("roomlog account role --data=x ann m"), ["member"]);
    assert!(ask("roomlog account role ann admin ").is_empty(), "no third word");
}

#[test]
fn zsh_completes_commands_actions_flags_values_and_files() {
    if !has("zsh") {
        return;
    }
    let place = Place::with_script_of("zsh");
    place.run("zsh", &["-f", "-n", &place.script.display().to_string()]);
    let lines: Vec<String> = expected().iter().map(|(line, _)| format!("roomlog {line}")).collect();
    let (folder, helper) = (place.data.around().display().to_string(), helper("ask.zsh"));
    let mut args = vec!["-f", &helper, &folder];
    args.extend(lines.iter().map(String::as_str).chain(["roomlog --fsync=al"]));
    let text = place.lines("zsh", &args).join("\n").replace('\r', "\n");
    // The line stands above and below. What has an explanation has a line of its own, what has none shares one.
    let offers = |answer: &str| -> Vec<String> {
        let offers = answer.lines().filter(|offer| !offer.starts_with("roomlog") && !offer.contains('\x1b'));
        let words =
            |offer: &str| offer.split(" # ").next().unwrap_or_default().split_whitespace().map(str::to_owned).collect();
        offers.flat_map::<Vec<String>, _>(words).collect()
    };
    let answers: Vec<Vec<String>> = text.split("<done>").map(offers).collect();
    check(|line| answers[lines.iter().position(|asked| asked == line).expect("it was asked")].clone());
    assert_eq!(answers[lines.len()], ["always"], "roomlog --fsync=al");
}

#[test]
fn fish_completes_commands_actions_flags_values_and_files() {
    if !has("fish") {
        return;
    }
    let place = Place::with_script_of("fish");
    let script = place.script.display().to_string();
    place.run("fish", &["-n", &script]);
    let ask = |line: &str| -> Vec<String> {
        let offers = place.lines("fish", &["-c", "source $argv[1]; complete -C $argv[2]", &script, line]);
        offers.iter().map(|offer| offer.split('\t').next().unwrap_or_default().to_owned()).collect()
    };
    check(ask);
    assert_eq!(ask("roomlog --fsync=al"), ["--fsync=always"]);
    assert!(ask("roomlog account role ann admin ").is_empty(), "no third word");
}

#[test]
fn a_line_is_taken_apart_as_readline_does() {
    assert_eq!(taken_apart("a --b=c d::1 "), ["a", "--b", "=", "c", "d", "::", "1", ""]);
    assert_eq!(taken_apart("a "), ["a", ""]);
    assert_eq!(taken_apart("a ::1 x"), ["a", "::", "1", "x"]);
}

#[test]
fn the_manual_is_good_roff() {
    let data = Data::fresh();
    let path = data.around().join("roomlog.1");
    fs::write(&path, printed(&["man"])).expect("a writable folder");
    let path = path.display().to_string();
    for (program, args) in [("mandoc", &["-T", "lint"][..]), ("groff", &["-ww", "-man", "-Tutf8"])] {
        if !has(program) {
            continue;
        }
        let output = Command::new(program).args(args).arg(&path).output().expect("it is there");
        let said = [output.stderr, if program == "mandoc" { output.stdout } else { Vec::new() }].concat();
        assert!(output.status.success() && said.is_empty(), "{program}: {}", String::from_utf8_lossy(&said));
    }
}

#[test]
fn the_manual_shows_every_flag_as_it_is_typed() {
    if !has("mandoc") {
        return;
    }
    let data = Data::fresh();
    let path = data.around().join("roomlog.1");
    fs::write(&path, printed(&["man"])).expect("a writable folder");
    let output = Command::new("mandoc").args(["-T", "ascii"]).arg(&path).output().expect("it is there");
    // Bold is a letter, a step back, and the letter again; what is underlined comes behind such a step, too.
    let mut shown = String::new();
    for c in String::from_utf8(output.stdout).expect("ASCII").chars() {
        match c {
            '\u{8}' => shown.truncate(shown.len() - 1),
            c => shown.push(c),
        }
    }
    for command in COMMANDS {
        assert!(shown.contains(&command.usage()), "{}: {shown}", command.usage());
        for row in (command.options)() {
            let head = format!("     --{} {}", row.flag, row.value_name);
            assert!(shown.contains(head.trim_end()), "{head}: {shown}");
            assert!(row.env.iter().all(|name| shown.contains(name)), "{:?}", row.env);
        }
    }
}

//! The house rules that a compiler does not know. Each rule is a function from source to complaints, tried on a snippet
//! that breaks it and then on the whole tree.

#[path = "tidy/source.rs"]
mod source;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

use source::{code, functions, line, paths, without_tests, words};

/// Who may import whom, in dependency order: a module names only what stands above it. `server` joins everything, and
/// nothing but the binary knows `server`.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("few", &[]),
    ("limits", &[]),
    ("metrics", &[]),
    ("clock", &[]),
    ("config", &["limits"]),
    ("protocol", &["limits"]),
    ("names", &["limits", "protocol"]),
    ("rate", &[]),
    ("net", &["limits"]),
    ("log", &["clock", "limits"]),
    ("accounts", &["clock", "few", "limits", "log", "names", "rate"]),
    ("passwords", &["limits"]),
    ("chat", &["accounts", "protocol", "clock", "limits", "names", "rate", "few"]),
    (
        "feed",
        &[
            "log",
            "net::Frame",
            "net::HEADER_BYTES_MAX",
            "net::Opcode",
            "net::TextFrame",
            "net::encode_header",
            "net::payloads",
            "protocol",
            "clock",
            "limits",
            "few",
        ],
    ),
    ("web", &["net::http", "protocol", "config", "limits", "names"]),
    ("jobs", &["limits", "log"]),
    ("cli", &["accounts", "config", "clock", "limits", "names", "net", "passwords", "protocol", "log"]),
    (
        "server",
        &[
            "limits",
            "metrics",
            "clock",
            "config",
            "protocol",
            "names",
            "rate",
            "net",
            "log",
            "accounts",
            "passwords",
            "chat",
            "feed",
            "web",
            "jobs",
        ],
    ),
    ("main", &["cli", "config", "server"]),
    ("fuzzing", &["log::fuzzing", "names::fuzzing", "net::fuzzing", "protocol::fuzzing"]),
    ("lib", &[]),
];
const FUNCTION_LINES_MAX: usize = 70;
const FILE_LINES_MAX: usize = 800;
/// What the pure core must not reach for: time and the outside world are passed in.
const IMPURE: &[&str] =
    &["std::time", "std::fs", "std::net", "std::thread", "std::env", "SystemTime", "Instant", "getrandom"];
/// Machine paths; split, so that this file does not break its own rule.
const MACHINE_PATHS: &[&str] =
    &[concat!("/wo", "rk/"), concat!("/ro", "ot/"), concat!("/ho", "me/"), concat!("/tmp", "/wt/")];

/// A source file: its path from the repository's root, and its text.
struct Source {
    path: String,
    text: String,
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        Self { path: path.to_owned(), text: text.to_owned() }
    }

    /// `src/net/wheel.rs` → `["net", "wheel"]`; `src/net/mod.rs` → `["net"]`.
    fn module(&self) -> Vec<&str> {
        let inner = self.path.trim_start_matches("src/").trim_end_matches(".rs");
        inner.split('/').filter(|segment| *segment != "mod").collect()
    }

    fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs") || self.path.ends_with("_tests.rs") || self.path.contains("/tests/")
    }

    fn complain(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }
}

fn root() -> PathBuf {
    PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("tests are run by cargo"))
}

/// Every text file that is tracked or about to be; without git, every one outside the folders of generated files.
fn text_files() -> Vec<Source> {
    let git = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output();
    let names: Vec<String> = match git {
        Ok(listed) if listed.status.success() => {
            String::from_utf8_lossy(&listed.stdout).split_terminator('\0').map(str::to_owned).collect()
        }
        _ => walk(&root()),
    };
    let read = names.iter().filter_map(|name| Some(Source::new(name, &fs::read_to_string(root().join(name)).ok()?)));
    read.collect()
}

fn walk(folder: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).expect("a readable folder").map(|entry| entry.expect("a readable entry")) {
        let generated = [".git", "target", "node_modules", "data", "out"].iter().any(|name| entry.file_name() == *name);
        if entry.path().is_dir() && !generated {
            names.extend(walk(&entry.path()));
        } else if let Ok(name) = entry.path().strip_prefix(root()) {
            names.push(name.to_string_lossy().into_owned());
        }
    }
    names
}

/// Runs a rule over `src/`, and says everything that is wrong at once.
fn check(rule: fn(&Source) -> Vec<String>) {
    let names = walk(&root().join("src"));
    let sources = names.iter().filter(|name| name.ends_with(".rs"));
    let read = |name: &String| Source::new(name, &fs::read_to_string(root().join(name)).expect("a readable source"));
    let complaints: Vec<String> = sources.map(read).flat_map(|source| rule(&source)).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

fn foreign_imports(source: &Source) -> Vec<String> {
    let module = source.module();
    let Some((_, allowed)) = MAY_IMPORT.iter().find(|(name, _)| *name == module[0]) else {
        return vec![source.complain(1, format!("module {} has no row in MAY_IMPORT of tests/tidy.rs", module[0]))];
    };
    let name = if module[0] == "main" { "roomlog" } else { "crate" };
    let allows = |path: &str| {
        let within =
            |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"));
        within(module[0]) || allowed.iter().any(|prefix| within(prefix))
    };
    let named = paths(&code(&source.text), &module, name).into_iter();
    let foreign = named.filter(|(_, path)| !allows(path));
    foreign.map(|(line, path)| source.complain(line, format!("{} must not know {path}", module[0]))).collect()
}

fn long_functions(source: &Source) -> Vec<String> {
    let long = functions(&code(&source.text)).into_iter().filter(|(.., lines)| *lines > FUNCTION_LINES_MAX);
    long.map(|(name, line, lines)| source.complain(line, format!("fn {name} has {lines} lines"))).collect()
}

fn missing_head(source: &Source) -> Vec<String> {
    let headed = source.text.starts_with("//! ");
    if headed { Vec::new() } else { vec![source.complain(1, "no `//!` head that says what the file owns")] }
}

fn loose_ends(source: &Source) -> Vec<String> {
    let all = code(&source.text);
    let shipped = if source.is_test() { String::new() } else { without_tests(&all) };
    let unwraps = words(&shipped, "unwrap").filter(|at| shipped[*at..].starts_with("unwrap()"));
    let macros = ["todo", "unimplemented", "dbg"]
        .into_iter()
        .flat_map(|name| words(&all, name).filter(|at| all[at + name.len()..].starts_with('!')).collect::<Vec<_>>());
    let notes = ["TODO", "FIXME", "XXX"].into_iter().flat_map(|note| words(&source.text, note).collect::<Vec<_>>());
    let found = unwraps.chain(macros).chain(notes);
    found.map(|at| source.complain(line(&all, at), "a loose end: unwrap(), todo!, dbg! or a note to self")).collect()
}

fn long_file(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    if lines <= FILE_LINES_MAX { Vec::new() } else { vec![source.complain(1, format!("{lines} lines: split it"))] }
}

fn machine_paths(source: &Source) -> Vec<String> {
    let relative = |c: char| c.is_alphanumeric() || "._-~)}".contains(c);
    let found = MACHINE_PATHS.iter().flat_map(|path| source.text.match_indices(path));
    let absolute = found.filter(|(at, _)| !source.text[..*at].ends_with(relative));
    absolute
        .map(|(at, path)| source.complain(line(&source.text, at), format!("{path} is one machine's path")))
        .collect()
}

fn impure_core(source: &Source) -> Vec<String> {
    if source.module()[0] != "chat" {
        return Vec::new();
    }
    let code = code(&source.text);
    let grouped = paths(&code, &[], "std").into_iter().map(|(line, path)| (line, format!("std::{path}")));
    let found: Vec<(usize, String)> = IMPURE
        .iter()
        .flat_map(|name| words(&code, name).map(|at| (line(&code, at), (*name).to_owned())).collect::<Vec<_>>())
        .chain(grouped.filter(|(_, path)| IMPURE.iter().any(|name| path.starts_with(name))))
        .collect();
    found.into_iter().map(|(line, name)| source.complain(line, format!("the core must not know {name}"))).collect()
}

#[test]
fn imports_follow_the_arrows() {
    for (path, text) in [
        ("src/net/wheel.rs", "use crate::chat::Room;"),
        ("src/net/wheel.rs", "use crate::{limits, log::{self, record::Record}};"),
        ("src/net/wheel.rs", "use super::super::chat;"),
        ("src/chat/mod.rs", "use super::{server, limits};"),
        ("src/chat/mod.rs", "fn f() -> crate::server::Turn {}"),
        ("src/chat/mod.rs", "use crate::*;"),
        ("src/feed.rs", "use crate::net::outbox;"),
        ("src/feed.rs", "use crate::net::{outbox::{Frame, Outbox}};"),
        ("src/feed.rs", "mod tests { use super::super::server; }"),
        ("src/main.rs", "use roomlog::log;"),
        ("src/novel.rs", ""),
    ] {
        assert!(!foreign_imports(&Source::new(path, text)).is_empty(), "{path}: {text}");
    }
    for (path, text) in [
        ("src/net/wheel.rs", "use crate::{limits::{self, A as B}, net::http}; use super::reactor; // crate::chat"),
        ("src/feed.rs", "use crate::net::{Frame, encode_header}; mod tests { use super::*; }"),
        ("src/log/mod.rs", "pub(crate) use ::log::warn; const TEXT: &str = \"crate::chat\";"),
    ] {
        assert_eq!(foreign_imports(&Source::new(path, text)), Vec::<String>::new(), "{path}: {text}");
    }
    check(foreign_imports);
}

#[test]
fn arrows_point_one_way() {
    for (row, (module, allowed)) in MAY_IMPORT.iter().enumerate() {
        for path in *allowed {
            let target = path.split("::").next();
            let above = MAY_IMPORT[..row].iter().any(|(name, _)| Some(*name) == target);
            assert!(above, "{module} → {path} points down or nowhere");
        }
    }
}

#[test]
fn functions_fit_a_screen() {
    let of = |lines: usize| format!("fn f(a: [u8; 2]) -> T {{\n{}}}\n", "// } \"\n".repeat(lines - 2));
    assert_eq!(
        long_functions(&Source::new("src/a.rs", &of(FUNCTION_LINES_MAX + 1))),
        ["src/a.rs:1: fn f has 71 lines"]
    );
    assert!(long_functions(&Source::new("src/a.rs", &of(FUNCTION_LINES_MAX))).is_empty());
    check(long_functions);
}

#[test]
fn files_say_what_they_own() {
    assert!(!missing_head(&Source::new("src/a.rs", "use std::io;\n//! Late.")).is_empty());
    check(missing_head);
}

#[test]
fn nothing_is_left_loose() {
    for text in
        ["a.unwrap();", "todo!()", "dbg!(a);", "// TODO: later", "#[cfg(test)] mod t { dbg!(a) }", "/* FIXME */"]
    {
        assert_eq!(loose_ends(&Source::new("src/a.rs", text)).len(), 1, "{text}");
    }
    for text in
        ["#[cfg(test)]\nmod tests { fn f() { a.unwrap() } }", "a.unwrap_or(b)", "let s = \"a.unwrap()\";", "'\"'"]
    {
        assert!(loose_ends(&Source::new("src/a.rs", text)).is_empty(), "{text}");
    }
    assert!(loose_ends(&Source::new("src/a/tests.rs", "a.unwrap()")).is_empty());
    check(loose_ends);
}

#[test]
fn files_stay_readable_in_one_sitting() {
    assert!(!long_file(&Source::new("src/a.rs", &"\n".repeat(FILE_LINES_MAX + 1))).is_empty());
    assert!(long_file(&Source::new("src/a.rs", &"\n".repeat(FILE_LINES_MAX))).is_empty());
    check(long_file);
}

#[test]
fn no_file_names_a_machine() {
    let at = |before: &str| format!("{before}{}x", MACHINE_PATHS[0]);
    for before in ["", "see ", "\"", "file://", "="] {
        assert_eq!(machine_paths(&Source::new("README.md", &at(before))).len(), 1, "{before}");
    }
    assert!(machine_paths(&Source::new("README.md", &at("docs"))).is_empty());
    let files = text_files();
    assert!(files.iter().any(|file| file.path == "tests/tidy.rs"), "the list of files has this one");
    let complaints: Vec<String> = files.iter().flat_map(machine_paths).collect();
    assert!(complaints.is_empty(), "\n{}", complaints.join("\n"));
}

#[test]
fn the_core_is_pure() {
    for text in ["use std::time::Duration;", "use std::{fmt, fs::File};", "let t: Instant;", "std::net::IpAddr"] {
        assert!(!impure_core(&Source::new("src/chat/rooms.rs", text)).is_empty(), "{text}");
    }
    for text in ["// std::time is passed in", "let Instantly = 1;", "use std::collections::{HashMap, hash_map};"] {
        assert!(impure_core(&Source::new("src/chat/rooms.rs", text)).is_empty(), "{text}");
    }
    assert!(impure_core(&Source::new("src/net/reactor.rs", "use std::net::TcpStream;")).is_empty());
    check(impure_core);
}

#[test]
fn literals_and_comments_are_not_code() {
    for text in [
        "\"{\"",
        "'{'",
        "'\\''",
        "'\\u{7b}'",
        "b'{'",
        "r\"{\"",
        "r#\"{\"{\"#",
        "br#\"{\"#",
        "// {",
        "/* { /* { */ { */",
        "'é'",
        "\"\\\"{\"",
    ] {
        assert!(!code(&format!("{text}\n")).contains('{'), "{text}");
        let nested = format!("fn f() {{ let a = {text}\n; }} fn g() {{}}");
        assert_eq!(functions(&code(&nested)).len(), 2, "{text}");
    }
    assert_eq!(code("fn f<'a>(a: &'a str) {}"), "fn f<'a>(a: &'a str) {}");
}

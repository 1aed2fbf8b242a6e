//! The `roomlog` command: arguments → one command → exit code (0 done, 1 failed, 2 wrong usage;
//! `bench` has more).
//!
//! Owns: the process's arguments, environment, standard streams and logger. Must never know: what a command does.

use std::fmt::Display;
use std::io::{self, Write};
use std::process::ExitCode;

use ::log::LevelFilter;
use roomlog::cli::{account, bench, chat, healthcheck, log};
use roomlog::config::{Bench, Config, Invocation};
use roomlog::server;
use simple_logger::SimpleLogger;

const FAILED: u8 = 1;
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let invocation = match Config::parse(std::env::args_os().skip(1), |name| std::env::var_os(name)) {
        Ok(invocation) => invocation,
        Err(error) => return fail(&error, WRONG_USAGE),
    };
    match invocation {
        Invocation::Serve(config) => serve(*config),
        Invocation::Healthcheck(target) => finish(healthcheck::run(&target)),
        Invocation::Log(command) => with_warnings(|| log::run(&command)),
        Invocation::Account(command) => with_warnings(|| account::run(&command)),
        Invocation::Chat(options) => ExitCode::from(chat::run(&options)),
        Invocation::Bench(bench) => load(&bench),
        Invocation::Help(text) | Invocation::Print(text) => finish(print(&text)),
        Invocation::Version => finish(print(concat!("roomlog ", env!("CARGO_PKG_VERSION"), "\n"))),
    }
}

fn serve(config: Config) -> ExitCode {
    let logger = SimpleLogger::new().with_level(config.log_level).with_utc_timestamps();
    // On its finest levels it logs each message, and with `hello` a token.
    let logger = logger.with_module_level("tungstenite", config.log_level.min(LevelFilter::Info));
    match logger.init() {
        Ok(()) => finish(server::run(config)),
        Err(error) => fail(&error, FAILED),
    }
}

/// Runs a command that opens files of the data folder: what recovery has to say goes to stderr.
fn with_warnings<E: Display>(run: impl FnOnce() -> Result<(), E>) -> ExitCode {
    match SimpleLogger::new().with_level(LevelFilter::Warn).with_utc_timestamps().init() {
        Ok(()) => finish(run()),
        Err(error) => fail(&error, FAILED),
    }
}

fn load(options: &Bench) -> ExitCode {
    match bench::run(options) {
        Ok(code) => ExitCode::from(code),
        Err(error) => fail(&error, FAILED),
    }
}

/// Writes to stdout. A reader that has seen enough (`roomlog --help | head -1`) is not an error.
fn print(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

fn finish(result: Result<(), impl Display>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, FAILED),
    }
}

fn fail(error: &impl Display, code: u8) -> ExitCode {
    // With stderr gone there is nobody left to tell; the exit code still does.
    let _ = writeln!(io::stderr(), "roomlog: {error}");
    ExitCode::from(code)
}

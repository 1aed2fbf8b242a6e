//! Where a secret comes from: the terminal, a file, stdin, the environment.
//!
//! Owns: the terminal while somebody types. Must never know: what the secret is for. It is shown nowhere.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use rustix::termios::{LocalModes, OptionalActions, Termios, isatty};

use super::modes::Modes;
use crate::config::PasswordSource;
use crate::limits;

/// Longest line that is read, in bytes: one more than a password has, and its end.
const LINE_BYTES_MAX: u64 = limits::PASSWORD_BYTES_MAX as u64 + 3;

/// Why there is no secret. To be told in a line.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// A file, or the terminal, cannot be read.
    #[error("the password from {what}: {source}")]
    Io {
        /// Which.
        what: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// There is nobody to ask, or what was typed twice differs.
    #[error("{0}")]
    Invalid(&'static str),
}

/// How often somebody at a terminal is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ask {
    /// For a password that is known.
    Once,
    /// For a new one.
    Twice,
}

/// Gets the secret.
pub(super) fn read(source: &PasswordSource, ask: Ask) -> Result<String, SecretError> {
    match source {
        PasswordSource::Given(secret) => Ok(secret.0.clone()),
        PasswordSource::Stdin => first_line(io::stdin().lock()).map_err(about("stdin")),
        PasswordSource::File(path) => from_file(path).map_err(about(&path.display().to_string())),
        PasswordSource::Prompt => from_terminal(ask),
    }
}

fn about(what: &str) -> impl Fn(io::Error) -> SecretError {
    move |source| SecretError::Io { what: what.to_owned(), source }
}

fn from_file(path: &Path) -> io::Result<String> {
    first_line(BufReader::new(File::open(path)?))
}

fn first_line(input: impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    input.take(LINE_BYTES_MAX).read_line(&mut line)?;
    let end = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(end);
    Ok(line)
}

fn from_terminal(how_often: Ask) -> Result<String, SecretError> {
    let stdin = io::stdin();
    if !isatty(&stdin) {
        let why = "there is no terminal to ask for a password at: give --password-file or ROOMLOG_PASSWORD";
        return Err(SecretError::Invalid(why));
    }
    // Nothing shows of what is typed, but the end of the line.
    let silence = |modes: &mut Termios| {
        modes.local_modes.remove(LocalModes::ECHO);
        modes.local_modes.insert(LocalModes::ECHONL);
    };
    let _silence = Modes::change(OptionalActions::Flush, silence).map_err(about("the terminal"))?;
    let ask = |prompt: &str| {
        let mut stderr = io::stderr();
        stderr.write_all(prompt.as_bytes()).and_then(|()| stderr.flush())?;
        first_line(stdin.lock())
    };
    let password = ask("Password: ").map_err(about("the terminal"))?;
    if how_often == Ask::Twice && ask("Once more: ").map_err(about("the terminal"))? != password {
        return Err(SecretError::Invalid("The two are not the same"));
    }
    Ok(password)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password_without_its_end() {
        for (text, password) in [
            ("a password\nmore", "a password"),
            ("a password\r\n", "a password"),
            (" spaces count ", " spaces count "),
            ("", ""),
            ("\n", ""),
        ] {
            assert_eq!(first_line(text.as_bytes()).ok().as_deref(), Some(password));
        }
        let endless = first_line(BufReader::new(io::repeat(b'x')));
        assert!(endless.is_ok_and(|line| line.len() > limits::PASSWORD_BYTES_MAX), "too long to be accepted");
        assert!(first_line(&b"\xff\xfe\n"[..]).is_err(), "not UTF-8");
    }
}

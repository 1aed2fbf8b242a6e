//! `roomlog account`: looks after accounts, in the files if nobody has them open, else through the server that has.
//!
//! Owns: what is printed, and the errors of all actions. Must never know: bytes of the ledger; `accounts` reads and writes.

mod local;
mod remote;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tz::UtcDateTime;

use self::local::Local;
use self::remote::Remote;
use super::log::visible;
use super::random;
use super::secret::{self, Ask, SecretError};
use crate::accounts::{Role, SubmitError};
use crate::config::{AccountAction, AccountCommand, PasswordSource};
use crate::log::{Disk, RealDisk, StoreError, lock};
use crate::{names, passwords};

/// Why an action was not done. The caller prints it as a line and exits with 1.
#[derive(Debug, thiserror::Error)]
pub enum AccountCommandError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// There is no such account.
    #[error("no account {name:?} in {}", data.display())]
    NoAccount {
        /// As given.
        name: String,
        /// Where it was looked for.
        data: PathBuf,
    },
    /// There is no password to be had.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// A name or a password breaks the rules.
    #[error("{0}")]
    Invalid(String),
    /// The change makes no sense.
    #[error(transparent)]
    Refused(#[from] SubmitError),
    /// A file, or something else of the operating system, cannot be used.
    #[error("{what}: {source}")]
    Io {
        /// Which, or what for.
        what: String,
        /// What the operating system said.
        source: io::Error,
    },
    /// Another process has the data folder, and it cannot be asked.
    #[error("{} is in use by a server that cannot be asked: {why}", data.display())]
    Unreachable {
        /// The data folder.
        data: PathBuf,
        /// What went wrong on the way.
        why: String,
    },
    /// The server refused.
    #[error("{0}")]
    Server(String),
}

/// An account as it is listed, here and by the server.
#[derive(Debug, Serialize, Deserialize)]
struct ListedAccount {
    user: String,
    role: Role,
    /// In Unix milliseconds.
    created: u64,
}

/// A ban as it is listed, here and by the server.
#[derive(Debug, Serialize, Deserialize)]
struct ListedBan {
    what: String,
    /// In Unix milliseconds; for ever if it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    until: Option<u64>,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    by: String,
}

/// Who carries the actions out. A ban is named as it is listed, an account in whatever spelling.
trait Keeper {
    fn add(&mut self, name: &str, role: Role, password: &str) -> Result<(), AccountCommandError>;
    fn set_password(&mut self, name: &str, password: &str) -> Result<(), AccountCommandError>;
    fn set_role(&mut self, name: &str, role: Role) -> Result<(), AccountCommandError>;
    fn remove(&mut self, name: &str) -> Result<(), AccountCommandError>;
    fn accounts(&mut self) -> Result<Vec<ListedAccount>, AccountCommandError>;
    fn bans(&mut self) -> Result<Vec<ListedBan>, AccountCommandError>;
    fn unban(&mut self, what: &str) -> Result<(), AccountCommandError>;
    /// Ends in good order what was begun.
    fn finish(&mut self) -> Result<(), AccountCommandError>;
}

/// Does what the command line asks for.
///
/// # Errors
/// [`AccountCommandError`]; a reader of stdout that has seen enough is no error.
pub fn run(command: &AccountCommand) -> Result<(), AccountCommandError> {
    // Asked for before the folder is taken: nobody else has to wait for a person.
    let password = wanted_password(&command.action)?;
    let mut keeper = keeper(command)?;
    let mut out = BufWriter::new(io::stdout().lock());
    let done = act(&command.action, &password, &mut *keeper, &mut out);
    let finished = keeper.finish();
    done?;
    finished?;
    match out.flush() {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(printing),
    }
}

/// Reads and checks the password that an action needs; empty if it needs none.
fn wanted_password(action: &AccountAction) -> Result<String, AccountCommandError> {
    let source: &PasswordSource = match action {
        AccountAction::Add { name, password, .. } => {
            names::user(name).map_err(|why| AccountCommandError::Invalid(why.to_owned()))?;
            password
        }
        AccountAction::Passwd { password, .. } => password,
        _ => return Ok(String::new()),
    };
    let text = secret::read(source, Ask::Twice)?;
    passwords::check_new(&text).map_err(|why| AccountCommandError::Invalid(why.to_owned()))?;
    Ok(text)
}

/// Whoever has the folder: we, if its lock is free, else the server.
fn keeper(command: &AccountCommand) -> Result<Box<dyn Keeper>, AccountCommandError> {
    let data = &command.data;
    if matches!(command.action, AccountAction::Add { .. }) {
        let made = RealDisk.create_dir(data);
        made.map_err(|source| AccountCommandError::Io { what: data.display().to_string(), source })?;
    }
    match lock(&RealDisk, data) {
        Ok(lock) => Ok(Box::new(Local::open(data, lock)?)),
        Err(StoreError::InUse { .. }) => Ok(Box::new(Remote::find(data)?)),
        Err(error) => Err(error.into()),
    }
}

fn act(
    action: &AccountAction,
    password: &str,
    keeper: &mut dyn Keeper,
    out: &mut impl Write,
) -> Result<(), AccountCommandError> {
    match action {
        AccountAction::Add { name, is_admin, .. } => {
            keeper.add(name, role(*is_admin), password)?;
            say(out, format_args!("added {name} as {}", role(*is_admin).as_str()))
        }
        AccountAction::Passwd { name, .. } => {
            keeper.set_password(name, password)?;
            say(out, format_args!("the password of {name} is set, its logins are ended"))
        }
        AccountAction::Role { name, is_admin } => {
            keeper.set_role(name, role(*is_admin))?;
            say(out, format_args!("{name} is {} now", role(*is_admin).as_str()))
        }
        AccountAction::Remove { name } => {
            keeper.remove(name)?;
            say(out, format_args!("removed {name}"))
        }
        AccountAction::List { json } => list(&keeper.accounts()?, *json, out),
        AccountAction::Bans { json } => bans(&keeper.bans()?, *json, out),
        AccountAction::Unban { what } => {
            keeper.unban(what)?;
            say(out, format_args!("{what} is let in again"))
        }
    }
}

fn role(is_admin: bool) -> Role {
    if is_admin { Role::Admin } else { Role::Member }
}

fn list(accounts: &[ListedAccount], json: bool, out: &mut impl Write) -> Result<(), AccountCommandError> {
    if !json {
        say(out, format_args!("{:<6}  {:<20}  NAME", "ROLE", "CREATED"))?;
    }
    for account in accounts {
        let ListedAccount { user, role, created } = account;
        match json {
            true => say(out, format_args!("{}", serde_json::json!(account)))?,
            false => say(out, format_args!("{:<6}  {}  {}", role.as_str(), utc(*created), visible(user)))?,
        }
    }
    Ok(())
}

fn bans(bans: &[ListedBan], json: bool, out: &mut impl Write) -> Result<(), AccountCommandError> {
    if !json {
        say(out, format_args!("{:<20}  WHAT, BY WHOM, WHY", "UNTIL"))?;
    }
    for ban in bans {
        let ListedBan { what, until, reason, by } = ban;
        let until = until.map_or_else(|| format!("{:<20}", "for ever"), utc);
        match json {
            true => say(out, format_args!("{}", serde_json::json!(ban)))?,
            false => say(out, format_args!("{until}  {}, {}, {}", visible(what), visible(by), visible(reason)))?,
        }
    }
    Ok(())
}

/// Prints a line.
fn say(out: &mut impl Write, line: std::fmt::Arguments<'_>) -> Result<(), AccountCommandError> {
    match writeln!(out, "{line}") {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result.map_err(printing),
    }
}

fn printing(source: io::Error) -> AccountCommandError {
    AccountCommandError::Io { what: "stdout".to_owned(), source }
}

/// Unix milliseconds as a UTC time to the second (RFC 3339).
fn utc(ms: u64) -> String {
    let time = UtcDateTime::from_timespec((ms / 1_000) as i64, 0).expect("every u64 of milliseconds is a date");
    let (year, month, day) = (time.year(), time.month(), time.month_day());
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", time.hour(), time.minute(), time.second())
}

fn random<const N: usize>() -> Result<[u8; N], AccountCommandError> {
    random::bytes().map_err(|source| AccountCommandError::Io { what: "random numbers".to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_utc() {
        for (ms, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_868_799_999, "2000-02-29T23:59:59Z"),
            (951_868_800_000, "2000-03-01T00:00:00Z"),
            (1_795_445_556_910, "2026-11-23T14:52:36Z"),
            (4_107_542_399_000, "2100-02-28T23:59:59Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
        ] {
            assert_eq!(utc(ms), text);
        }
    }
}

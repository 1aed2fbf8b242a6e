//! Accounts of a running server, asked for over HTTP on this machine.
//!
//! Owns: the requests, and what comes back. Must never know: how the server keeps accounts.

use std::fmt::Display;
use std::path::Path;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::super::http::{self, Ask};
use super::{AccountCommandError, Keeper, ListedAccount, ListedBan};
use crate::accounts::Role;
use crate::accounts::control::{self, Control};

pub(super) struct Remote {
    control: Control,
}

impl Remote {
    /// Finds the server that has a data folder.
    pub fn find(data: &Path) -> Result<Self, AccountCommandError> {
        match control::read(data) {
            Ok(control) => Ok(Self { control }),
            Err(error) => Err(AccountCommandError::Unreachable {
                data: data.to_owned(),
                why: format!("{}: {error}", data.join("control").display()),
            }),
        }
    }

    /// Asks, and gives the body of the answer if it says that all is well.
    fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Vec<u8>, AccountCommandError> {
        let Control { address, tls, token } = &self.control;
        let ask = Ask { method, path, host: &address.to_string(), token: Some(token), body };
        let (scheme, answer) = match tls {
            true => ("https", http::exchange_tls(address, &ask)),
            false => ("http", http::exchange(address, &ask)),
        };
        let answer = answer.map_err(|why| AccountCommandError::Server(format!("{scheme}://{address}{path}: {why}")))?;
        answer.good().map_err(AccountCommandError::Server)
    }

    fn account(name: &str) -> String {
        format!("/api/accounts/{}", percent(name))
    }
}

impl Keeper for Remote {
    fn add(&mut self, name: &str, role: Role, password: &str) -> Result<(), AccountCommandError> {
        let body = json!({"user": name, "password": password, "role": role});
        self.ask("POST", "/api/accounts", Some(&body)).map(drop)
    }

    fn set_password(&mut self, name: &str, password: &str) -> Result<(), AccountCommandError> {
        self.ask("PATCH", &Self::account(name), Some(&json!({"password": password}))).map(drop)
    }

    fn set_role(&mut self, name: &str, role: Role) -> Result<(), AccountCommandError> {
        self.ask("PATCH", &Self::account(name), Some(&json!({"role": role}))).map(drop)
    }

    fn remove(&mut self, name: &str) -> Result<(), AccountCommandError> {
        self.ask("DELETE", &Self::account(name), None).map(drop)
    }

    fn accounts(&mut self) -> Result<Vec<ListedAccount>, AccountCommandError> {
        parse(&self.ask("GET", "/api/accounts", None)?)
    }

    fn bans(&mut self) -> Result<Vec<ListedBan>, AccountCommandError> {
        parse(&self.ask("GET", "/api/bans", None)?)
    }

    fn unban(&mut self, what: &str) -> Result<(), AccountCommandError> {
        self.ask("DELETE", &format!("/api/bans/{}", percent(what)), None).map(drop)
    }

    fn finish(&mut self) -> Result<(), AccountCommandError> {
        Ok(())
    }
}

fn parse<T: for<'a> Deserialize<'a>>(body: &[u8]) -> Result<T, AccountCommandError> {
    let parsed = serde_json::from_slice(body);
    parsed.map_err(|error| AccountCommandError::Server(format!("the server's answer cannot be read: {error}")))
}

/// What is escaped in a segment of a path (RFC 3986, section 3.3). Dots too, so that none is taken for a step up.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'~');

fn percent(text: &str) -> impl Display {
    utf8_percent_encode(text, ESCAPED)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_one_segment_of_a_path() {
        assert_eq!(percent("Ann Lee/../é").to_string(), "Ann%20Lee%2F%2E%2E%2F%C3%A9");
        assert_eq!(percent("2001:db8::/64").to_string(), "2001%3Adb8%3A%3A%2F64");
    }
}

//! What administrators can do about users.
//!
//! Owns: kicking and banning. Must never know: how a ban is kept.

use super::{
    Chat, ClientKey, Departure, Effect, LinkId, Recipient, Step,
    rights::{Outcome, Refusal},
    users::UserKey,
};
use crate::{
    limits,
    names::{self, UserName},
    protocol::{ErrorCode, close},
};

/// What is to be done about somebody.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ban<'a> {
    pub user: &'a str,
    pub with_address: bool,
    pub duration_ms: Option<u64>,
    pub reason: Option<&'a str>,
}

impl Chat {
    pub(super) fn kick(
        &mut self,
        client: ClientKey,
        id: Option<&str>,
        (name, reason): (&str, Option<&str>),
        step: &mut Step<'_>,
    ) -> Outcome {
        self.check_admin(client, step.accounts)?;
        let reason = check_reason(reason, "You were kicked")?;
        let user = self.users.by_name(name).ok_or_else(not_here)?;
        // The administrator's own answer goes first, should it be about itself.
        self.ack(client, id, None, step);
        self.show_out_all(user, reason, step);
        Ok(())
    }

    pub(super) fn ban(&mut self, client: ClientKey, id: Option<&str>, ban: Ban<'_>, step: &mut Step<'_>) -> Outcome {
        self.check_admin(client, step.accounts)?;
        let reason = check_reason(ban.reason, "You are banned")?;
        let user = names::user(ban.user).map_err(|message| Refusal::new(ErrorCode::BadName, message))?;
        let here = self.users.by_name(user.as_str());
        if here.is_none() && ban.with_address {
            return Err(not_here());
        }
        let links = here.filter(|_| ban.with_address).map_or_else(Vec::new, |user| self.links_of(user));
        let by = self.users.get(self.clients.get(client).user).name.clone();
        step.push(Effect::Ban {
            to: Recipient::client(client, id),
            by,
            user: user.clone(),
            links,
            until_ms: ban.duration_ms.map(|duration_ms| step.now.unix_ms.saturating_add(duration_ms)),
            reason: reason.into(),
        });
        match here {
            Some(here) => self.show_out_all(here, reason, step),
            None => self.end_listeners_of(&user, step),
        }
        Ok(())
    }

    pub(super) fn unban(&mut self, client: ClientKey, id: Option<&str>, whom: &str, step: &mut Step<'_>) -> Outcome {
        self.check_admin(client, step.accounts)?;
        let to = Recipient::client(client, id);
        step.push(Effect::Unban { to, whom: whom.into() });
        Ok(())
    }

    fn links_of(&self, user: UserKey) -> Vec<LinkId> {
        let clients = self.users.get(user).clients.iter();
        clients.filter_map(|&client| self.clients.get(client).link()).collect()
    }

    /// Closes all of a user's connections with 4501.
    fn show_out_all(&mut self, user: UserKey, reason: &str, step: &mut Step<'_>) {
        let name = self.users.get(user).name.clone();
        let clients: Vec<ClientKey> = self.users.get(user).clients.to_vec();
        for client in clients {
            self.show_out(client, (close::BANNED, reason), Departure::ShownOut, step);
        }
        self.end_listeners_of(&name, step);
    }

    fn end_listeners_of(&mut self, name: &UserName, step: &mut Step<'_>) {
        let account = step.accounts.directory.by_name(name.as_str()).map(|account| account.id);
        self.end_listeners(|listener| listener.reader.is_some_and(|(id, _)| Some(id) == account), step);
    }
}

fn not_here() -> Refusal {
    Refusal::new(ErrorCode::NoSuchUser, "This user is not here")
}

fn check_reason<'a>(reason: Option<&'a str>, default: &'static str) -> Outcome<&'a str> {
    let reason = reason.unwrap_or(default);
    if reason.len() > limits::REASON_BYTES_MAX {
        let message = format!("A reason has at most {} bytes", limits::REASON_BYTES_MAX);
        return Err(Refusal::new(ErrorCode::TooLong, message));
    }
    Ok(reason)
}

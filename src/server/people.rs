//! Accounts over HTTP, and what the ledger says of changes.
//!
//! Owns: the steps of a registration and a login. Must never know: how a password is hashed, how the ledger is kept.

use std::net::{IpAddr, Ipv4Addr};

use serde_json::json as value;

use super::{
    Server, ServerError, World,
    api::{Caller, json},
    work::{Done, Work},
};
use crate::{
    accounts::{AccountEvent, AccountId, BanTarget, Change, PasswordHash, Role, SubmitError, Token, TokenId},
    chat::{Input, LinkId, Recipient},
    clock::Now,
    names::{self, UserName},
    net::{ConnId, http::Response},
    passwords,
    protocol::{ErrorCode, Event, close},
    web::{Call, problem},
};

/// Bytes of a name by which its failed logins are counted: more than any name has, with each character folded to several.
const LOGIN_NAME_BYTES_MAX: usize = 512;

/// What a request is told that came without the token it needs.
pub(super) const NO_TOKEN: &str = "Say who you are by a token";
const NOT_STORED: &str = "Accounts cannot be stored at the moment";

/// What is to be done with the outcome of a job.
#[derive(Debug)]
pub(super) enum Next {
    Nothing,
    /// Make an account with the hash.
    Register {
        user: UserName,
        role: Role,
        session: Option<String>,
    },
    /// Issue a token, if the password was right.
    LogIn {
        account: Option<AccountId>,
        name: String,
    },
    /// Set the hash as the password of an account; its owner's token goes on.
    SetPassword {
        account: AccountId,
        keep: Option<TokenId>,
        role: Option<Role>,
    },
    /// Answer with the rooms.
    List {
        after: Option<String>,
        limit: usize,
    },
}

/// Who waits for a change, and for what answer.
#[derive(Debug)]
pub(super) enum PeopleTicket {
    Nobody,
    /// A new account's owner, who gets a token next.
    Registered(ConnId),
    /// Who gets this token.
    Issued {
        conn: ConnId,
        token: Token,
        status: u16,
    },
    /// A request whose answer has nothing in it.
    Done(ConnId),
    /// Who banned, or lifted a ban.
    Moderator(Recipient),
}

impl PeopleTicket {
    /// Who is to be told should the change not be made.
    fn waits(&self) -> Option<Recipient> {
        match self {
            PeopleTicket::Nobody => None,
            PeopleTicket::Registered(conn) | PeopleTicket::Done(conn) | PeopleTicket::Issued { conn, .. } => {
                Some(Recipient::Request(conn.to_bits()))
            }
            PeopleTicket::Moderator(to) => Some(to.clone()),
        }
    }
}

impl<W: World> Server<W> {
    pub(super) fn on_people_call(
        &mut self,
        now: Now,
        conn: ConnId,
        caller: Caller,
        call: Call,
    ) -> Result<(), ServerError> {
        match (call, caller) {
            (Call::Register { user, password, role, session }, _) => {
                self.register(now, conn, (&user, password, role.as_deref(), session))?;
            }
            (Call::LogIn { user, password }, _) => self.log_in(now, conn, &user, password),
            (Call::LogOut, Caller::Account(_, token)) => {
                self.submit(now, Change::TokenRevoked { token }, PeopleTicket::Done(conn));
            }
            (Call::ChangePassword { password, new_password }, Caller::Account(account, token)) => {
                self.change_password(now, conn, (account, token), password, new_password)?;
            }
            (Call::OwnRooms, Caller::Account(account, _)) => self.own_rooms(conn, account),
            (Call::KeepRoom { room }, Caller::Account(account, _)) => self.keep_room(now, conn, account, room),
            (Call::DropRoom { room }, Caller::Account(account, _)) => {
                self.submit(now, Change::RoomDropped { account, room }, PeopleTicket::Done(conn));
            }
            (
                Call::LogOut
                | Call::ChangePassword { .. }
                | Call::OwnRooms
                | Call::KeepRoom { .. }
                | Call::DropRoom { .. },
                _,
            )
            | (_, Caller::Guest) => self.answer(conn, problem::unauthorized(NO_TOKEN)),
            _ if !self.is_admin(caller) => {
                self.deny(conn, ErrorCode::Forbidden, "Only administrators may do this", None);
            }
            (Call::Accounts, _) => self.list_accounts(conn),
            (Call::ChangeAccount { user, password, role }, _) => {
                self.change_account(now, conn, &user, password, role.as_deref())?;
            }
            (Call::RemoveAccount { user }, _) => {
                if let Some(account) = self.find_account(conn, &user) {
                    self.submit(now, Change::Removed { account }, PeopleTicket::Done(conn));
                }
            }
            (Call::Unban { whom }, _) => {
                self.submit(now, Change::Unbanned { target: BanTarget::parse(&whom) }, PeopleTicket::Done(conn));
            }
            _ => self.list_bans(now, conn),
        }
        Ok(())
    }

    /// Hands slow work to the helper thread, or tells whoever waits that too much of it does.
    pub(super) fn submit_work(&mut self, conn: ConnId, work: Work) -> bool {
        let is_taken = self.worker.submit(conn, work).is_ok();
        if !is_taken {
            self.answer_busy(conn);
        }
        is_taken
    }

    /// Takes what the helper thread has done.
    pub(super) fn on_work_done(&mut self, now: Now, conn: ConnId, done: Option<Done>) -> Result<(), ServerError> {
        // Whoever asked may be gone.
        let Some(exchange) = self.api.exchanges.get_mut(&conn) else { return Ok(()) };
        let next = std::mem::replace(&mut exchange.next, Next::Nothing);
        match (next, done) {
            (Next::Register { user, role, session }, Some(Done::Hashed(hash))) => {
                if self.check_new_name(now, conn, &user, session.as_deref()) {
                    let change = Change::added(&user, role, hash, now.unix_ms);
                    self.submit(now, change, PeopleTicket::Registered(conn));
                }
            }
            (Next::LogIn { account, name }, Some(Done::Verified(is_right))) => {
                let account = account.filter(|&id| is_right && self.accounts.tables().directory.get(id).is_some());
                self.logged_in(now, conn, account, &name)?;
            }
            (Next::SetPassword { account, keep, role }, Some(Done::Hashed(hash))) => {
                self.set_password(now, conn, account, (hash, keep), role);
            }
            (Next::SetPassword { account, keep, role }, Some(Done::Replaced(Some(hash)))) => {
                self.give_attempt_back(now, conn, account);
                self.set_password(now, conn, account, (hash, keep), role);
            }
            (Next::SetPassword { .. }, Some(Done::Replaced(None))) => {
                self.answer(conn, problem::problem(403, "bad_password", "The password so far is another one"));
            }
            (Next::List { after, limit }, Some(Done::Listed(Some(rooms)))) => {
                self.listed(conn, rooms, after.as_deref(), limit);
            }
            _ => self.answer(conn, problem::problem(500, "internal", "This went wrong; the server's log says why")),
        }
        Ok(())
    }

    fn register(
        &mut self,
        now: Now,
        conn: ConnId,
        (user, password, role, session): (&str, String, Option<&str>, Option<String>),
    ) -> Result<(), ServerError> {
        let is_admin = self.api.exchanges.get(&conn).is_some_and(|exchange| self.is_admin(exchange.caller));
        if !is_admin && (!self.registration || role.is_some()) {
            let detail =
                if self.registration { "Only administrators give roles" } else { "Ask the operator for an account" };
            self.answer(conn, problem::problem(403, "forbidden", detail));
            return Ok(());
        }
        let (user, role) = match (names::user(user), parse_role(role)) {
            (Ok(user), Ok(role)) => (user, role.unwrap_or_default()),
            (Err(rule), _) => return self.answered(conn, problem::refused(ErrorCode::BadName, rule, None)),
            (_, Err(rule)) => return self.answered(conn, problem::problem(422, "bad_role", rule)),
        };
        if let Err(rule) = passwords::check_new(&password) {
            return self.answered(conn, problem::problem(422, "bad_password", rule));
        }
        if !self.check_new_name(now, conn, &user, session.as_deref()) {
            return Ok(());
        }
        if !is_admin && let Err(retry_after_ms) = self.attempts.check_registration(self.peer_ip(conn), now) {
            return self.answered(conn, problem::too_many("Too many registrations; wait", retry_after_ms));
        }
        self.set_next(conn, Next::Register { user, role, session });
        let salt = self.world.bytes()?;
        if !self.submit_work(conn, Work::Hash { password, salt }) && !is_admin {
            self.attempts.give_back_registration(self.peer_ip(conn), now);
        }
        Ok(())
    }

    /// Whether a name can be registered; answers if it cannot. A guest's name only by that guest.
    fn check_new_name(&mut self, now: Now, conn: ConnId, user: &UserName, session: Option<&str>) -> bool {
        let tables = self.accounts.tables();
        let caller = self.api.exchanges.get(&conn).map(|exchange| exchange.caller);
        if tables.bans.of_name(user.as_str(), now).is_some() {
            self.deny(conn, ErrorCode::Banned, "This name is banned", None);
            return false;
        }
        let is_known = tables.directory.by_name(user.as_str()).is_some() || tables.directory.look_alike(user).is_some();
        // The operator's word counts: the guest is given another name when the account logs in.
        let is_held = caller != Some(Caller::Operator) && self.chat.is_held_by_another(user, session);
        if is_known || is_held {
            self.deny(conn, ErrorCode::NameTaken, "This name is taken", None);
        }
        !is_known && !is_held
    }

    fn log_in(&mut self, now: Now, conn: ConnId, user: &str, password: String) {
        // The same steps whether or not the account exists. What is too long for a name is none, and not kept as a whole.
        let name = names::fold(&user[..user.floor_char_boundary(LOGIN_NAME_BYTES_MAX)]).into_owned();
        if let Err(retry_after_ms) = self.attempts.check(&name, self.peer_ip(conn), now) {
            return self.answer(conn, problem::too_many("Too many attempts; wait", retry_after_ms));
        }
        let account = self.accounts.tables().directory.by_name(user);
        let (id, hash) = (account.map(|account| account.id), account.map(|account| account.password.clone()));
        self.set_next(conn, Next::LogIn { account: id, name: name.clone() });
        if !self.submit_work(conn, Work::Verify { password, hash }) {
            self.attempts.give_back(&name, self.peer_ip(conn), now);
        }
    }

    fn give_attempt_back(&mut self, now: Now, conn: ConnId, account: AccountId) {
        let name = self.accounts.tables().directory.get(account).map(|account| account.name.key().into_owned());
        let address = self.peer_ip(conn);
        if let Some(name) = name {
            self.attempts.give_back(&name, address, now);
        }
    }

    fn logged_in(&mut self, now: Now, conn: ConnId, account: Option<AccountId>, name: &str) -> Result<(), ServerError> {
        let Some(account) = account else {
            self.answer(conn, problem::problem(401, "bad_login", "Name or password are wrong"));
            return Ok(());
        };
        self.attempts.give_back(name, self.peer_ip(conn), now);
        if self.accounts.tables().bans.of_name(name, now).is_some() {
            self.deny(conn, ErrorCode::Banned, "This account is banned", None);
            return Ok(());
        }
        self.issue(now, conn, account, 200)
    }

    /// Makes a token for an account.
    fn issue(&mut self, now: Now, conn: ConnId, account: AccountId, status: u16) -> Result<(), ServerError> {
        let token = Token::new(self.world.bytes()?);
        let change = Change::token_issued(account, token.hash(), now.unix_ms.saturating_add(self.token_age_ms));
        self.submit(now, change, PeopleTicket::Issued { conn, token, status });
        Ok(())
    }

    fn change_password(
        &mut self,
        now: Now,
        conn: ConnId,
        (account, token): (AccountId, TokenId),
        password: String,
        new_password: String,
    ) -> Result<(), ServerError> {
        if let Err(rule) = passwords::check_new(&new_password) {
            return self.answered(conn, problem::problem(422, "bad_password", rule));
        }
        let entry = self.accounts.tables().directory.get(account);
        let Some((name, hash)) = entry.map(|entry| (entry.name.key().into_owned(), entry.password.clone())) else {
            return self.answered(conn, problem::unauthorized("The account is gone"));
        };
        // Who has found a token is not to find out the password with it.
        if let Err(retry_after_ms) = self.attempts.check(&name, self.peer_ip(conn), now) {
            return self.answered(conn, problem::too_many("Too many attempts; wait", retry_after_ms));
        }
        self.set_next(conn, Next::SetPassword { account, keep: Some(token), role: None });
        let salt = self.world.bytes()?;
        if !self.submit_work(conn, Work::Replace { password, hash, new_password, salt }) {
            self.give_attempt_back(now, conn, account);
        }
        Ok(())
    }

    fn change_account(
        &mut self,
        now: Now,
        conn: ConnId,
        user: &str,
        password: Option<String>,
        role: Option<&str>,
    ) -> Result<(), ServerError> {
        let Some(account) = self.find_account(conn, user) else { return Ok(()) };
        let role = match parse_role(role) {
            Ok(role) => role,
            Err(rule) => return self.answered(conn, problem::problem(422, "bad_role", rule)),
        };
        match (password, role) {
            (Some(password), role) => {
                if let Err(rule) = passwords::check_new(&password) {
                    return self.answered(conn, problem::problem(422, "bad_password", rule));
                }
                self.set_next(conn, Next::SetPassword { account, keep: None, role });
                let salt = self.world.bytes()?;
                self.submit_work(conn, Work::Hash { password, salt });
            }
            (None, Some(role)) => self.submit(now, Change::RoleSet { account, role }, PeopleTicket::Done(conn)),
            (None, None) => self.answer(conn, Response::new(204)),
        }
        Ok(())
    }

    fn set_password(
        &mut self,
        now: Now,
        conn: ConnId,
        account: AccountId,
        (password, keep): (PasswordHash, Option<TokenId>),
        role: Option<Role>,
    ) {
        if let Some(role) = role {
            self.submit(now, Change::RoleSet { account, role }, PeopleTicket::Nobody);
        }
        self.submit(now, Change::PasswordSet { account, password, keep }, PeopleTicket::Done(conn));
    }

    fn own_rooms(&mut self, conn: ConnId, account: AccountId) {
        let rooms = self.accounts.tables().directory.get(account).map(|account| account.rooms.clone());
        let rooms: Vec<String> = rooms.unwrap_or_default().into_iter().map(String::from).collect();
        self.answer_json(conn, 200, &value!(rooms));
    }

    fn keep_room(&mut self, now: Now, conn: ConnId, account: AccountId, room: String) {
        if let Err((code, message)) = self.chat.check_room(&room, account) {
            return self.deny(conn, code, &message, None);
        }
        self.submit(now, Change::RoomKept { account, room }, PeopleTicket::Done(conn));
    }

    fn list_accounts(&mut self, conn: ConnId) {
        let accounts = self.accounts.tables().directory.iter().map(
            |account| value!({"user": account.name.as_str(), "role": account.role.as_str(), "created": account.created_ms}),
        );
        let accounts: Vec<_> = accounts.collect();
        self.answer_json(conn, 200, &value!(accounts));
    }

    fn list_bans(&mut self, now: Now, conn: ConnId) {
        let bans = self.accounts.tables().bans.iter(now).map(
            |ban| value!({"what": ban.target.to_string(), "until": ban.until_ms, "reason": ban.reason, "by": ban.by}),
        );
        let bans: Vec<_> = bans.collect();
        self.answer_json(conn, 200, &value!(bans));
    }

    fn answer_json(&mut self, conn: ConnId, status: u16, value: &serde_json::Value) {
        self.answer(conn, json(status, value.to_string().into_bytes()).header("Cache-Control", "no-store"));
    }

    fn find_account(&mut self, conn: ConnId, user: &str) -> Option<AccountId> {
        let found = self.accounts.tables().directory.by_name(user).map(|account| account.id);
        if found.is_none() {
            self.deny(conn, ErrorCode::NoSuchUser, "There is no such account", None);
        }
        found
    }

    pub(super) fn set_next(&mut self, conn: ConnId, next: Next) {
        if let Some(exchange) = self.api.exchanges.get_mut(&conn) {
            exchange.next = next;
        }
    }

    pub(super) fn ban(
        &mut self,
        now: Now,
        (to, by): (Recipient, &str),
        user: &UserName,
        links: &[LinkId],
        (until_ms, reason): (Option<u64>, &str),
    ) {
        let banned = |target| Change::Banned { target, until_ms, reason: reason.to_owned(), by: by.to_owned() };
        for &link in links {
            let address = self.peer_ip(ConnId::from_bits(link));
            self.submit(now, banned(BanTarget::address(address)), PeopleTicket::Nobody);
        }
        self.submit(now, banned(BanTarget::name(user.as_str())), PeopleTicket::Moderator(to));
    }

    pub(super) fn unban(&mut self, now: Now, to: Recipient, whom: &str) {
        self.submit(now, Change::Unbanned { target: BanTarget::parse(whom) }, PeopleTicket::Moderator(to));
    }

    /// Hands a change to the ledger, or tells whoever waits why it is not taken.
    pub(super) fn submit(&mut self, now: Now, change: Change, ticket: PeopleTicket) {
        let waits = ticket.waits();
        let Err(why) = self.accounts.submit(change, ticket, now) else { return };
        let is_done = why == SubmitError::Unchanged;
        match waits {
            Some(Recipient::Request(link)) => {
                self.answer(ConnId::from_bits(link), if is_done { Response::new(204) } else { refusal(&why) });
            }
            Some(Recipient::Client { client, id }) if is_done => self.acknowledge(client, id.as_deref()),
            Some(to) => {
                let code =
                    if why == SubmitError::UnknownBan { ErrorCode::NoSuchUser } else { ErrorCode::StorageUnavailable };
                self.refuse(&to, code, &why.to_string());
            }
            None => {}
        }
    }

    /// Takes what became of a change.
    pub(super) fn on_account(&mut self, now: Now, event: AccountEvent<PeopleTicket>) -> Result<(), ServerError> {
        match event {
            AccountEvent::Settled { ticket, change, ended } => {
                if !ended.is_empty() {
                    self.input(now, Input::Ended { tokens: &ended })?;
                }
                if let Change::Banned { target: BanTarget::Address(_), .. } = &change {
                    self.close_banned(now);
                }
                self.settled(now, ticket, &change)?;
            }
            AccountEvent::Failed { ticket, why, .. } => {
                log::error!("a change of accounts was not stored: {why}");
                if let Some(to) = ticket.waits() {
                    self.refuse(&to, ErrorCode::StorageUnavailable, NOT_STORED);
                }
            }
        }
        Ok(())
    }

    fn settled(&mut self, now: Now, ticket: PeopleTicket, change: &Change) -> Result<(), ServerError> {
        match (ticket, change) {
            (PeopleTicket::Registered(conn), Change::Added { id, .. }) => self.issue(now, conn, *id, 201)?,
            (PeopleTicket::Issued { conn, token, status }, Change::TokenIssued { account, expires_ms, .. }) => {
                let user = self.accounts.tables().directory.get(*account).map_or("", |account| account.name.as_str());
                let body = value!({"user": user, "token": token.reveal(), "expires": expires_ms});
                self.answer_json(conn, status, &body);
            }
            (PeopleTicket::Done(conn), _) => self.answer(conn, Response::new(204)),
            (PeopleTicket::Moderator(Recipient::Client { client, id }), _) => self.acknowledge(client, id.as_deref()),
            _ => {}
        }
        Ok(())
    }

    fn acknowledge(&mut self, client: crate::chat::ClientKey, id: Option<&str>) {
        if id.is_some() {
            self.send(client, &Event::Ack { room: None }.to_vec(id));
        }
    }

    /// Closes every connection from an address that is banned.
    fn close_banned(&mut self, now: Now) {
        let streams = self.chat.listeners().map(ConnId::from_bits);
        let asking = self.api.exchanges.keys().copied();
        let all: Vec<ConnId> = self.links.connections().chain(asking).chain(streams).collect();
        for conn in all {
            if self.is_banned(now, conn) {
                self.net.close(conn, close::BANNED, "You are banned");
            }
        }
    }

    /// Whether a connection comes from an address that is to stay out.
    pub(super) fn is_banned(&self, now: Now, conn: ConnId) -> bool {
        self.accounts.tables().bans.of_address(self.peer_ip(conn), now).is_some()
    }

    /// Where a connection comes from. One that is gone comes from nowhere.
    pub(super) fn peer_ip(&self, conn: ConnId) -> IpAddr {
        self.net.peer_ip(conn).unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    pub(super) fn address_key(&self, conn: ConnId) -> u128 {
        self.net.address_bits(conn).unwrap_or_default()
    }
}

fn parse_role(role: Option<&str>) -> Result<Option<Role>, &'static str> {
    role.map(|role| Role::parse(role).ok_or("A role is member or admin")).transpose()
}

fn refusal(why: &SubmitError) -> Response {
    let detail = why.to_string();
    match why {
        SubmitError::NameTaken | SubmitError::LookAlike(_) => {
            problem::refused(ErrorCode::NameTaken, "This name is taken", None)
        }
        SubmitError::Invalid(_) => problem::problem(422, "bad_request", &detail),
        SubmitError::UnknownAccount | SubmitError::UnknownBan => problem::refused(ErrorCode::NoSuchUser, &detail, None),
        SubmitError::UnknownToken => problem::unauthorized(&detail),
        SubmitError::TooMany(_) => problem::problem(422, "too_many", &detail),
        SubmitError::Busy => problem::problem(503, "busy", &detail).header("Retry-After", "1"),
        SubmitError::Unchanged | SubmitError::Storage(_) => {
            problem::refused(ErrorCode::StorageUnavailable, NOT_STORED, None)
        }
    }
}

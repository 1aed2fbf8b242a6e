//! REST calls: what each leads to, and how its answer comes about, be it turns later.
//!
//! Owns: requests that wait for their answer. Must never know: paths and headers (web), rules for rooms (chat), how
//! accounts are kept (accounts).

use std::collections::HashMap;

use serde::Serialize;

use super::{
    Server, ServerError, World,
    effects::room_id,
    links,
    people::{NO_TOKEN, Next},
    streams,
    work::{Brief, Work},
};
use crate::{
    accounts::{AccountId, Role, TokenId},
    chat::{Input, direct},
    clock::Now,
    feed::RoomId,
    limits,
    net::{ConnId, Frame, http::Response},
    protocol::{ErrorCode, HistoryRange, recorded},
    web::{Asked, Call, Cors, problem},
};

/// What a page of the list of rooms counts as, in messages.
const ROOMS_COST: u32 = 20;
/// How many messages that are read count as one.
const MESSAGES_PER_COST: u64 = 100;

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    Guest,
    Account(AccountId, TokenId),
    /// Whoever can read the data folder.
    Operator,
}

impl Caller {
    pub fn account(self) -> Option<AccountId> {
        match self {
            Caller::Account(id, _) => Some(id),
            _ => None,
        }
    }
}

/// What of a request is needed for its answer.
#[derive(Debug)]
pub(super) struct Exchange {
    pub cors: Cors,
    pub caller: Caller,
    /// The validators that the client has.
    known: Vec<String>,
    is_head: bool,
    /// What becomes of the outcome of a job.
    pub next: Next,
}

/// All requests that wait.
#[derive(Debug, Default)]
pub(super) struct Api {
    pub exchanges: HashMap<ConnId, Exchange>,
}

impl<W: World> Server<W> {
    pub(super) fn on_call(&mut self, now: Now, conn: ConnId, asked: Asked) -> Result<(), ServerError> {
        let Asked { call, token, cors, known, is_head } = asked;
        let caller = self.caller(token.as_deref(), now);
        let next = Next::Nothing;
        let exchange = Exchange { cors, caller: caller.unwrap_or(Caller::Guest), known, is_head, next };
        self.api.exchanges.insert(conn, exchange);
        let Some(caller) = caller else {
            self.answer(conn, problem::unauthorized("The token is not known, or is over"));
            return Ok(());
        };
        if call != Call::LogOut && self.is_account_banned(caller, now) {
            self.deny(conn, ErrorCode::Banned, "This account is banned", None);
            return Ok(());
        }
        if let Some(cost) = cost(&call)
            && let Err(retry_after_ms) = self.chat.count_request(self.address_key(conn), cost, now)
        {
            self.answer(conn, problem::too_many("Too many requests; slow down", retry_after_ms));
            return Ok(());
        }
        match call {
            Call::Rooms { .. } | Call::Read { .. } | Call::Listen { .. } if caller == Caller::Guest && !self.guests => {
                self.answer(conn, problem::unauthorized("Guests are not allowed here"));
            }
            Call::Rooms { after, limit } => self.list_rooms(conn, after, limit),
            Call::Read { room, range } => self.read_room(now, conn, caller, &room, range)?,
            Call::Listen { room, since, epoch } => self.listen(now, conn, caller, &room, (since, epoch.as_deref()))?,
            Call::Post { room, content, nonce } => match caller {
                Caller::Account(author, _) => {
                    let (link, address, nonce) = (conn.to_bits(), self.address_key(conn), nonce.as_deref());
                    self.input(now, Input::Post { link, address, author, room: &room, content: &content, nonce })?;
                }
                _ => self.answer(conn, problem::unauthorized(NO_TOKEN)),
            },
            call => self.on_people_call(now, conn, caller, call)?,
        }
        Ok(())
    }

    fn caller(&self, token: Option<&str>, now: Now) -> Option<Caller> {
        let Some(token) = token else { return Some(Caller::Guest) };
        if self.operator.is(token) {
            return Some(Caller::Operator);
        }
        let found = self.accounts.tables().tokens.find(token, now);
        found.map(|(account, token)| Caller::Account(account, token))
    }

    fn is_account_banned(&self, caller: Caller, now: Now) -> bool {
        let tables = self.accounts.tables();
        let account = caller.account().and_then(|id| tables.directory.get(id));
        account.is_some_and(|account| tables.bans.of_name(account.name.as_str(), now).is_some())
    }

    pub(super) fn is_admin(&self, caller: Caller) -> bool {
        match caller {
            Caller::Operator => true,
            Caller::Account(id, _) => {
                self.accounts.tables().directory.get(id).is_some_and(|account| account.role == Role::Admin)
            }
            Caller::Guest => false,
        }
    }

    /// Answers a request, if it still waits.
    pub(super) fn answer(&mut self, conn: ConnId, response: Response) {
        if let Some(exchange) = self.api.exchanges.remove(&conn) {
            self.net.respond(conn, &exchange.cors.mark(response));
        }
    }

    /// As [`Server::answer`], for where there is nothing more to do.
    pub(super) fn answered(&mut self, conn: ConnId, response: Response) -> Result<(), ServerError> {
        self.answer(conn, response);
        Ok(())
    }

    pub(super) fn deny(&mut self, conn: ConnId, code: ErrorCode, message: &str, retry_after_ms: Option<u64>) {
        self.meters.count_error(code);
        self.answer(conn, problem::refused(code, message, retry_after_ms));
    }

    pub(super) fn answer_busy(&mut self, conn: ConnId) {
        let response = problem::problem(503, "busy", "The server is busy; try again").header("Retry-After", "1");
        self.answer(conn, response);
    }

    fn read_room(
        &mut self,
        now: Now,
        conn: ConnId,
        caller: Caller,
        room: &str,
        range: HistoryRange,
    ) -> Result<(), ServerError> {
        self.input(now, Input::Read { link: conn.to_bits(), reader: caller.account(), room, range })
    }

    fn listen(
        &mut self,
        now: Now,
        conn: ConnId,
        caller: Caller,
        room: &str,
        (since, epoch): (Option<u64>, Option<&str>),
    ) -> Result<(), ServerError> {
        if self.api.exchanges.get(&conn).is_some_and(|exchange| exchange.is_head) {
            self.answer(conn, streams::head());
            return Ok(());
        }
        let reader = match caller {
            Caller::Account(account, token) => Some((account, token)),
            _ => None,
        };
        self.input(now, Input::Listen { link: conn.to_bits(), reader, room, since, epoch })
    }

    pub(super) fn start_stream(&mut self, conn: ConnId) {
        if let Some(exchange) = self.api.exchanges.remove(&conn) {
            self.net.stream(conn, &exchange.cors.mark(streams::head()));
            self.streams.insert(conn);
        }
    }

    /// Answers with a part of a room's log, or with 304: all that can change it also moves its head.
    pub(super) fn answer_history(&mut self, conn: ConnId, room: RoomId, range: HistoryRange) {
        let Some(exchange) = self.api.exchanges.get(&conn) else { return };
        let tag = match self.feed.position(room) {
            Ok(position) => format!("\"{}-{}-{}\"", position.epoch, position.floor, position.head),
            Err(why) => return self.unreadable(conn, why),
        };
        let headers = |response: Response| response.header("ETag", tag.clone()).header("Cache-Control", "no-cache");
        if exchange.known.iter().any(|known| *known == tag || known == "*") {
            return self.answer(conn, headers(Response::new(304)));
        }
        match self.feed.history(room, range) {
            Ok(frame) => self.answer(conn, headers(json(200, history_data(&frame).to_vec()))),
            Err(why) => self.unreadable(conn, why),
        }
    }

    /// Answers with a message that was just stored, or had been before.
    pub(super) fn posted(&mut self, conn: ConnId, room: RoomId, sequence: u64, duplicate: bool) {
        let range = HistoryRange::Since { since: sequence - 1, limit: 1 };
        match self.feed.history(room, range) {
            Ok(frame) => {
                let message = first_message(history_data(&frame));
                self.answer(conn, json(if duplicate { 200 } else { 201 }, message.to_vec()));
            }
            Err(why) => self.unreadable(conn, why),
        }
    }

    fn list_rooms(&mut self, conn: ConnId, after: Option<String>, limit: Option<u64>) {
        let limit = limit.unwrap_or(limits::ROOMS_PER_PAGE).clamp(1, limits::ROOMS_PER_PAGE) as usize;
        self.set_next(conn, Next::List { after: after.clone(), limit });
        self.submit_work(conn, Work::List { data: self.data.clone(), after, limit });
    }

    /// The page of rooms: those that are stored, with the present state of those that are in use, and those in which
    /// nothing was said yet.
    pub(super) fn listed(&mut self, conn: ConnId, stored: Vec<Brief>, after: Option<&str>, limit: usize) {
        let is_last_page = stored.len() < limit;
        let bound = stored.last().filter(|_| !is_last_page).map(|brief| brief.name.clone());
        let mut rows: Vec<RoomRow> = stored.into_iter().map(RoomRow::from).collect();
        for row in &mut rows {
            if let Some((key, members)) = self.chat.room(&row.room) {
                row.members = members;
                // What is on the disk may not have been shown yet.
                if let Ok(position) = self.feed.position(room_id(key)) {
                    (row.head, row.epoch) = (position.head, Some(position.epoch.to_string()));
                    row.last_timestamp = self.feed.last_timestamp(room_id(key));
                }
            }
        }
        let known: std::collections::HashSet<String> = rows.iter().map(|row| row.room.clone()).collect();
        let in_range =
            |name: &str| after.is_none_or(|after| name > after) && bound.as_deref().is_none_or(|bound| name <= bound);
        let silent = self.chat.rooms().filter(|(_, name, _)| !direct::is_reserved(name) && in_range(name));
        rows.extend(silent.filter(|(_, name, _)| !known.contains(*name)).map(|(_, name, members)| RoomRow {
            room: name.to_owned(),
            members,
            ..RoomRow::default()
        }));
        rows.sort_unstable_by(|a, b| a.room.cmp(&b.room));
        let has_more = rows.len() > limit || !is_last_page;
        rows.truncate(limit);
        let mut response = json(200, serde_json::to_vec(&rows).expect("rows are plain data"));
        if let Some(last) = rows.last().filter(|_| has_more) {
            let query: String = form_urlencoded::Serializer::new(String::new())
                .append_pair("after", &last.room)
                .append_pair("limit", &limit.to_string())
                .finish();
            // RFC 8288.
            response = response.header("Link", format!("</api/rooms?{query}>; rel=\"next\""));
        }
        self.answer(conn, response.header("Cache-Control", "no-store"));
    }

    /// A connection is gone, and with it whoever waited for an answer.
    pub(super) fn drop_exchange(&mut self, now: Now, conn: ConnId) -> Result<(), ServerError> {
        self.api.exchanges.remove(&conn);
        if self.streams.remove(conn) {
            self.feed.drop_subscriber(links::subscriber(conn));
            self.input(now, Input::Hangup { link: conn.to_bits() })?;
        }
        Ok(())
    }
}

/// What a call counts as, in messages. One that is a message is counted where others are.
fn cost(call: &Call) -> Option<u32> {
    match call {
        Call::Post { .. } => None,
        // Each page looks at every room in use.
        Call::Rooms { .. } => Some(ROOMS_COST),
        Call::Read { range: HistoryRange::Since { limit, .. } | HistoryRange::Before { limit, .. }, .. } => {
            Some((limit / MESSAGES_PER_COST).max(1) as u32)
        }
        _ => Some(1),
    }
}

/// A line of the list of rooms.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct RoomRow {
    room: String,
    members: usize,
    head: u64,
    epoch: Option<String>,
    last_timestamp: Option<u64>,
}

impl From<Brief> for RoomRow {
    fn from(Brief { name, head, epoch, last_timestamp }: Brief) -> Self {
        Self { room: name, members: 0, head, epoch, last_timestamp }
    }
}

pub(super) fn json(status: u16, body: Vec<u8>) -> Response {
    Response::new(status).header("Content-Type", "application/json").body(body)
}

/// The `data` of a history frame.
fn history_data(frame: &Frame) -> &[u8] {
    let bytes = frame.as_bytes();
    let payload = crate::net::payloads(bytes).next().map_or(&bytes[..0], |payload| &bytes[payload]);
    recorded::history_data(payload).expect("a history frame has its data in the same place")
}

/// The only message in the data of a history.
fn first_message(data: &[u8]) -> &[u8] {
    #[derive(serde::Deserialize)]
    struct History<'a> {
        #[serde(borrow)]
        messages: Vec<&'a serde_json::value::RawValue>,
    }
    let history: Option<History<'_>> = serde_json::from_slice(data).ok();
    let first = history.and_then(|history| history.messages.first().map(|message| message.get().as_bytes()));
    first.unwrap_or(b"{}")
}

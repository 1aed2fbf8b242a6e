//! HTTP: what a request gets, from its head and a view of the server's state.
//!
//! Owns: routes, the page, the origin rule. Must never know: sockets, rooms' contents, who is connected.

mod api;
mod coding;
mod cors;
mod kinds;
mod origin;
mod page;
pub mod problem;

use std::path::PathBuf;

use crate::{
    config::Origins,
    net::http::{Request, Response},
    protocol::{SUBPROTOCOL, Wish},
};

pub use self::{
    api::{Asked, Call},
    cors::Cors,
};

use self::page::Page;

/// How the server is, for those who ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// It is shutting down.
    pub draining: bool,
    /// Rooms whose logs failed and take no more messages.
    pub rooms_read_only: usize,
    /// Rooms in whose logs damage was found; they go on.
    pub rooms_damaged: usize,
}

/// What to do with a request.
pub enum Answer {
    /// Send this.
    Respond(Response),
    /// Send what there is to measure.
    Metrics,
    /// Make the connection a WebSocket, and a chat connection with this wish.
    Upgrade {
        /// What its URL asks for.
        wish: Wish,
        /// The subprotocol to select.
        subprotocol: Option<&'static str>,
        /// An account's token, where a program sent one along.
        token: Option<String>,
    },
    /// Do this, and answer when it is done.
    Call(Asked),
}

/// The routes.
#[derive(Debug)]
pub struct Web {
    page: Page,
    origins: Origins,
}

impl Web {
    /// Serves the embedded page, or the files of `folder` in its place.
    #[must_use]
    pub fn new(folder: Option<PathBuf>, origins: Origins) -> Self {
        Self { page: Page::new(folder), origins }
    }

    /// What a request gets.
    #[must_use]
    pub fn answer(&self, request: &Request, health: Health) -> Answer {
        if request.is_upgrade() && matches!(request.path(), "/" | "/ws") {
            return self.upgrade(request);
        }
        if request.path().starts_with("/api/") {
            return self.call(request);
        }
        let response = match request.path() {
            "/ws" => text(426, "This is a WebSocket\n").header("Upgrade", "websocket"),
            "/healthz" => only_get(request, |_| healthz(health)),
            "/metrics" if is_read(request) => return Answer::Metrics,
            "/metrics" => not_allowed(),
            path => match self.page.find(path) {
                Some(asset) => only_get(request, |request| asset.response(request)),
                None => text(404, "Not found\n"),
            },
        };
        Answer::Respond(response)
    }

    fn call(&self, request: &Request) -> Answer {
        let Some(cors) = Cors::of(request, &self.origins) else {
            let detail = "Pages of this origin may not call; see --allow-origin";
            return Answer::Respond(problem::problem(403, "bad_origin", detail).header("Vary", "Origin"));
        };
        match api::read(request, &cors) {
            Ok(asked) => Answer::Call(asked),
            Err(wrong) => Answer::Respond(cors.mark(wrong)),
        }
    }

    fn upgrade(&self, request: &Request) -> Answer {
        let foreign = request.header("Origin").filter(|origin| !origin::is_own(origin, request.header("Host")));
        if let Some(origin) = foreign
            && !self.origins.allows(origin)
        {
            return Answer::Respond(text(403, "Pages of this origin may not connect; see --allow-origin\n"));
        }
        match Wish::parse(request.query()) {
            Ok(wish) => {
                let token = api::bearer(request).map(str::to_owned);
                Answer::Upgrade { wish, subprotocol: subprotocol(request), token }
            }
            Err(message) => Answer::Respond(text(400, message)),
        }
    }
}

fn subprotocol(request: &Request) -> Option<&'static str> {
    let mut offered = request.header_list("Sec-WebSocket-Protocol");
    offered.any(|name| name == SUBPROTOCOL).then_some(SUBPROTOCOL)
}

fn only_get(request: &Request, respond: impl FnOnce(&Request) -> Response) -> Response {
    if is_read(request) { respond(request) } else { not_allowed() }
}

fn is_read(request: &Request) -> bool {
    matches!(request.method(), "GET" | "HEAD")
}

fn not_allowed() -> Response {
    text(405, "Method not allowed\n").header("Allow", "GET, HEAD")
}

/// 503 when messages are refused; damage is something to look into, and no reason to send people elsewhere.
fn healthz(health: Health) -> Response {
    let Health { draining, rooms_read_only, rooms_damaged } = health;
    let status = match (draining, rooms_read_only + rooms_damaged) {
        (true, _) => "draining",
        (_, 0) => "ok",
        _ => "degraded",
    };
    let body =
        format!("{{\"status\":\"{status}\",\"roomsReadOnly\":{rooms_read_only},\"roomsDamaged\":{rooms_damaged}}}\n");
    Response::new(if draining || rooms_read_only > 0 { 503 } else { 200 })
        .header("Content-Type", "application/json")
        .header("Cache-Control", "no-store")
        .body(body.into_bytes())
}

fn text(status: u16, body: &'static str) -> Response {
    Response::new(status).header("Content-Type", "text/plain; charset=utf-8").body(body.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_is_503_when_draining_or_read_only_and_says_when_rooms_are_damaged() {
        let status = |draining, rooms_read_only, rooms_damaged| {
            healthz(Health { draining, rooms_read_only, rooms_damaged }).status()
        };
        let all = [status(false, 0, 0), status(true, 0, 0), status(false, 1, 0), status(false, 0, 1)];
        assert_eq!(all, [200, 503, 503, 200]);
    }
}

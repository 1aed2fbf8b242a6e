//! Which pages' scripts may call, and what they are told (the CORS protocol of the Fetch standard).
//!
//! Owns: the headers. Must never know: what is called.

use super::origin;
use crate::{
    config::Origins,
    net::http::{Request, Response},
};

/// Where a request's script comes from, as far as the answer has to say so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cors {
    /// A foreign origin that may call.
    origin: Option<String>,
}

impl Cors {
    /// Programs and the server's own pages always may; `None` for a page that may not.
    pub(super) fn of(request: &Request, origins: &Origins) -> Option<Self> {
        let foreign = request.header("Origin").filter(|origin| !origin::is_own(origin, request.header("Host")));
        match foreign {
            None => Some(Self::default()),
            Some(origin) => origins.allows(origin).then(|| Self { origin: Some(origin.to_owned()) }),
        }
    }

    /// Lets the script see an answer.
    #[must_use]
    pub fn mark(&self, response: Response) -> Response {
        let response = response.header("Vary", "Origin");
        match &self.origin {
            None => response,
            Some(origin) => response
                .header("Access-Control-Allow-Origin", origin.clone())
                .header("Access-Control-Expose-Headers", "ETag, Link, Location, Retry-After"),
        }
    }

    /// The answer to OPTIONS, which a browser also sends before it lets a script call.
    pub(super) fn options(&self, methods: &'static str, request: &Request) -> Response {
        let response = self.mark(Response::new(204).header("Allow", methods));
        if self.origin.is_none() || request.header("Access-Control-Request-Method").is_none() {
            return response;
        }
        response
            .header("Access-Control-Allow-Methods", methods)
            .header("Access-Control-Allow-Headers", "Authorization, Content-Type, If-None-Match, Last-Event-ID")
            .header("Access-Control-Max-Age", "7200")
    }
}

//! The browser page: its files, embedded, or read from a folder while somebody works on them.
//!
//! Owns: the files' names, types, validators and the page's security policy. Must never know: what the page does.

use std::{borrow::Cow, path::PathBuf};

use crate::net::http::{Request, Response};

/// One of the page's files.
#[derive(Debug)]
pub(super) struct Asset {
    path: &'static str,
    file: &'static str,
    content_type: &'static str,
    embedded: &'static [u8],
}

static ASSETS: [Asset; 16] = [
    Asset {
        path: "/",
        file: "index.html",
        content_type: "text/html; charset=utf-8",
        embedded: include_bytes!("../../public/index.html"),
    },
    Asset {
        path: "/app.js",
        file: "app.js",
        content_type: "text/javascript; charset=utf-8",
        embedded: include_bytes!("../../public/app.js"),
    },
    Asset {
        path: "/composer.js",
        file: "composer.js",
        content_type: "text/javascript; charset=utf-8",
        embedded: include_bytes!("../../public/composer.js"),
    },
    Asset {
        path: "/dom.js",
        file: "dom.js",
        content_type: "text/javascript; charset=utf-8",
        embedded: include_bytes!("../../public/dom.js"),
    },
    Asset {
        path: "/door.js",
        file: "door.js",
        content_type: "text/javascript; charset=utf-8",
        embedded: include_bytes!("../../public/door.js"),
    },
    Asset {
        path: "/room.js",
        file: "room.js",
        content_type: "text/javascript; charset=utf-8",
        embedded: include_bytes!("../../public/room.js"),
    },
    Asset {
        path: "/rows.js",
        file: "rows.js",
        content_type: "text/javascript; charset=utf-8",
        embedded: include_bytes!("../../public/rows.js"),
    },
    Asset {
        path: "/session.js",
        file: "session.js",
        content_type: "text/javascript; charset=utf-8",
        embedded: include_bytes!("../../public/session.js"),
    },
    Asset {
        path: "/sidebar.js",
        file: "sidebar.js",
        content_type: "text/javascript; charset=utf-8",
        embedded: include_bytes!("../../public/sidebar.js"),
    },
    Asset {
        path: "/store.js",
        file: "store.js",
        content_type: "text/javascript; charset=utf-8",
        embedded: include_bytes!("../../public/store.js"),
    },
    Asset {
        path: "/text.js",
        file: "text.js",
        content_type: "text/javascript; charset=utf-8",
        embedded: include_bytes!("../../public/text.js"),
    },
    Asset {
        path: "/timeline.js",
        file: "timeline.js",
        content_type: "text/javascript; charset=utf-8",
        embedded: include_bytes!("../../public/timeline.js"),
    },
    Asset {
        path: "/account.js",
        file: "account.js",
        content_type: "text/javascript; charset=utf-8",
        embedded: include_bytes!("../../public/account.js"),
    },
    Asset {
        path: "/api.js",
        file: "api.js",
        content_type: "text/javascript; charset=utf-8",
        embedded: include_bytes!("../../public/api.js"),
    },
    Asset {
        path: "/tools.js",
        file: "tools.js",
        content_type: "text/javascript; charset=utf-8",
        embedded: include_bytes!("../../public/tools.js"),
    },
    Asset {
        path: "/style.css",
        file: "style.css",
        content_type: "text/css; charset=utf-8",
        embedded: include_bytes!("../../public/style.css"),
    },
];

/// Nothing but the page's own files and its own server (Content Security Policy Level 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The file at a path.
pub(super) fn asset(path: &str) -> Option<&'static Asset> {
    ASSETS.iter().find(|asset| asset.path == path)
}

/// The page.
#[derive(Debug)]
pub(super) struct Page {
    folder: Option<PathBuf>,
}

impl Page {
    pub fn new(folder: Option<PathBuf>) -> Self {
        Self { folder }
    }

    /// The answer to a GET or HEAD of a file: itself, or 304 if the client has it.
    pub fn response(&self, asset: &Asset, request: &Request) -> Response {
        let body: Cow<'static, [u8]> = match &self.folder {
            None => asset.embedded.into(),
            Some(folder) => match std::fs::read(folder.join(asset.file)) {
                Ok(bytes) => bytes.into(),
                Err(error) => {
                    log::warn!("{}: {error}", folder.join(asset.file).display());
                    return super::text(404, "Not found\n");
                }
            },
        };
        let tag = format!("\"{:08x}-{:x}\"", crc32fast::hash(&body), body.len());
        // Weak comparison (RFC 9110 section 13.1.2): a proxy that compresses makes a validator weak.
        let mut known = request.header_list("If-None-Match").map(|known| known.strip_prefix("W/").unwrap_or(known));
        let is_known = known.any(|known| known == tag || known == "*");
        let response = Response::new(if is_known { 304 } else { 200 })
            .header("ETag", tag)
            .header("Cache-Control", "no-cache")
            .header("Content-Security-Policy", POLICY)
            .header("X-Content-Type-Options", "nosniff")
            .header("Referrer-Policy", "no-referrer");
        if is_known { response } else { response.header("Content-Type", asset.content_type).body(body) }
    }
}

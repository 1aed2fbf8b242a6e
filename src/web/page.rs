//! The browser page: every file of `public/`, embedded as it is and gzipped, or read from a folder while somebody works
//! on them.
//!
//! Owns: the files' paths, representations, validators and the page's security policy. Must never know: what the page
//! does, or of which files it is made.

use std::{
    borrow::Cow,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use rustix::fs::{Mode, OFlags};

use super::{
    coding::{Coding, choose},
    kinds,
};
use crate::net::http::{Request, Response};

/// A file that was there when this was built.
struct Embedded {
    name: &'static str,
    plain: &'static [u8],
    /// If it is smaller.
    gzip: Option<&'static [u8]>,
}

// `static FILES: &[Embedded]`, made by build.rs.
include!(concat!(env!("OUT_DIR"), "/page.rs"));

/// The file at `/`, which is at no other path.
const INDEX: &str = "index.html";

/// Nothing but the page's own files and its own server (Content Security Policy Level 3).
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// One of the page's files, to be sent.
pub(super) struct Asset {
    content_type: &'static str,
    plain: Cow<'static, [u8]>,
    gzip: Option<&'static [u8]>,
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

    /// The file at a path.
    pub fn find(&self, path: &str) -> Option<Asset> {
        let name = match path.strip_prefix('/')? {
            "" => INDEX,
            INDEX => return None,
            name => name,
        };
        let content_type = kinds::content_type(name)?;
        let Some(folder) = &self.folder else {
            let file = FILES.iter().find(|file| file.name == name)?;
            return Some(Asset { content_type, plain: file.plain.into(), gzip: file.gzip });
        };
        match read(&folder.join(name)) {
            Ok(bytes) => Some(Asset { content_type, plain: bytes.into(), gzip: None }),
            Err(error) => {
                log::warn!("{}: {error}", folder.join(name).display());
                None
            }
        }
    }
}

/// Reads a regular file. A symbolic link is none, wherever it leads: what is in the folder is all that is served. Nor is a
/// pipe, which would make everybody wait.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is no file"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

impl Asset {
    /// The answer to a GET or HEAD: the representation that the client takes, or 304 if it has that one.
    pub fn response(self, request: &Request) -> Response {
        let (body, coding) = match (choose(request, self.gzip.is_some()), self.gzip) {
            (Some(Coding::Gzip), Some(gzip)) => (Cow::Borrowed(gzip), Coding::Gzip),
            (Some(_), _) => (self.plain, Coding::Identity),
            (None, _) => return guarded(super::text(406, "Only as it is, or with gzip\n")),
        };
        let suffix = if coding == Coding::Gzip { "-gzip" } else { "" };
        let tag = format!("\"{:08x}-{:x}{suffix}\"", crc32fast::hash(&body), body.len());
        // Weak comparison (RFC 9110 section 13.1.2): a proxy that compresses makes a validator weak.
        let mut known = request.header_list("If-None-Match").map(|known| known.strip_prefix("W/").unwrap_or(known));
        let is_known = known.any(|known| known == tag || known == "*");
        let response = Response::new(if is_known { 304 } else { 200 });
        let response = guarded(response).header("ETag", tag).header("Cache-Control", "no-cache");
        if is_known {
            return response;
        }
        let response = response.header("Content-Type", self.content_type).body(body);
        if coding == Coding::Gzip { response.header("Content-Encoding", "gzip") } else { response }
    }
}

/// What stands on every answer that depends on a file.
fn guarded(response: Response) -> Response {
    response
        .header("Vary", "Accept-Encoding")
        .header("Content-Security-Policy", POLICY)
        .header("X-Content-Type-Options", "nosniff")
        .header("Referrer-Policy", "no-referrer")
}

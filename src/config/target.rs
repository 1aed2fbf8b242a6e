//! A server's address, as the commands that talk to one read it.
//!
//! Owns: the forms it is written in. Must never know: what is said to the server.

use std::ffi::OsStr;
use std::fmt;

/// A server to talk to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Target {
    /// Name or address, as written, without brackets.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Path and query, beginning with a slash.
    pub path: String,
}

impl Target {
    /// Host and port, as a `Host` header has them.
    #[must_use]
    pub fn authority(&self) -> String {
        let Target { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ws://{}{}", self.authority(), self.path)
    }
}

/// `ws://host:port/path`, or as much of it as is needed.
pub(super) fn target(url: &OsStr) -> Result<Target, String> {
    let words = "is no URL: write ws://127.0.0.1:8080, localhost:8080 or ws://[::1]:8080/ws";
    let text = url.to_str().ok_or("is not UTF-8")?;
    if text.starts_with("wss:") || text.starts_with("https:") {
        return Err("asks for TLS, which this does not speak: write a ws:// address, as behind a proxy".to_owned());
    }
    let rest = text.strip_prefix("ws://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    let cut = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(cut);
    if authority.contains('@')
        || rest.chars().any(|c| c.is_control() || c.is_whitespace() || c == '#')
        || !path.is_ascii()
    {
        return Err(words.to_owned());
    }
    let (host, port) = match authority.strip_prefix('[') {
        Some(bracketed) => bracketed.split_once(']').map(|(host, rest)| (host, rest.strip_prefix(':'))).ok_or(words)?,
        None => authority.rsplit_once(':').map_or((authority, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map_or(Ok(80), |port| port.parse().map_err(|_| words))?;
    if host.is_empty() || port == 0 || authority.starts_with('[') != host.contains(':') {
        return Err(words.to_owned());
    }
    let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
    Ok(Target { host: host.to_owned(), port, path })
}

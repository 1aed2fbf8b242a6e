//! The origin rule: which pages' scripts may open a chat connection.
//!
//! Owns: the comparison of `Origin` and `Host`. Must never know: the configured exceptions.
//! Source: RFC 6454; RFC 6455 section 10.2.

/// Whether a page of this origin came from the host that it connects to. Programs send no `Origin`.
pub(super) fn is_own(origin: &str, host: Option<&str>) -> bool {
    let parts = origin.split_once("://").filter(|(scheme, _)| matches!(*scheme, "http" | "https"));
    let (Some((scheme, authority)), Some(host)) = (parts, host) else { return false };
    let default_port = if scheme == "https" { ":443" } else { ":80" };
    let bare = |authority: &str| {
        let authority = authority.to_ascii_lowercase();
        authority.strip_suffix(default_port).map(str::to_owned).unwrap_or(authority)
    };
    !host.is_empty() && bare(authority) == bare(host)
}

#[cfg(test)]
mod tests {
    use super::is_own;

    #[test]
    fn only_the_own_host_and_port_match() {
        for (origin, host) in [
            ("http://localhost:8080", "localhost:8080"),
            ("http://Chat.Example", "chat.example"),
            ("https://chat.example", "chat.example:443"),
            ("http://chat.example:80", "chat.example"),
            ("http://[::1]:8080", "[::1]:8080"),
        ] {
            assert!(is_own(origin, Some(host)), "{origin} {host}");
        }
        for (origin, host) in [
            ("http://evil.example", "chat.example"),
            ("http://chat.example.evil.example", "chat.example"),
            ("http://chat.example:8081", "chat.example:8080"),
            ("http://chat.example", "chat.example:8080"),
            ("https://chat.example:80", "chat.example"),
            ("null", "chat.example"),
            ("", ""),
            ("http://", ""),
            ("file://", "chat.example"),
            ("chrome-extension://chat.example", "chat.example"),
            ("chat.example", "chat.example"),
            ("http://chat.example/", "chat.example"),
            ("http://user@chat.example", "chat.example"),
        ] {
            assert!(!is_own(origin, Some(host)), "{origin} {host}");
        }
        assert!(!is_own("http://chat.example", None));
    }
}

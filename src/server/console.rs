//! What is said on standard output: one line to a program that started the server, a few to a person at a terminal.
//!
//! Owns: the words, and which addresses are worth showing. Must never know: what the server does between start and end.

use std::{
    env,
    ffi::OsString,
    io::{self, IsTerminal, Write},
    net::{IpAddr, SocketAddr},
    path::Path,
};

use socket2::{Domain, Socket, Type};

use crate::config::options::printable;

/// Most addresses of this machine that are shown. A host of containers may have hundreds.
const ADDRESSES_MAX: usize = 4;

/// Who reads what the server says.
#[derive(Debug)]
pub(super) struct Console {
    is_terminal: bool,
    /// Whether the log is read elsewhere, and so is to hold what is said here.
    logs_too: bool,
}

impl Console {
    pub fn of_process() -> Self {
        let is_terminal = io::stdout().is_terminal();
        Self { is_terminal, logs_too: !(is_terminal && io::stderr().is_terminal()) }
    }

    /// Tells people and scripts where the server is; `scheme` is http or https.
    pub fn greet(&self, scheme: &str, address: SocketAddr, data: &Path) {
        if self.is_terminal {
            // Where the folder is, is told even if nobody can say where we are.
            let data = std::path::absolute(data).unwrap_or_else(|_| data.to_owned());
            let others = reachable(address.ip());
            say(&banner(&urls(scheme, address, &others), &data, has_colours(|name| env::var_os(name))));
        } else {
            say(&format!("listening on {scheme}://{address}\n"));
        }
        if self.logs_too {
            log::info!("data in {}", data.display());
        }
    }

    /// Whether the terminal that there was is gone.
    pub fn has_hung_up(&self) -> bool {
        self.is_terminal && !io::stdout().is_terminal()
    }

    pub fn stopping(&self) {
        if self.is_terminal {
            // Over the ^C that the terminal shows.
            say("\rStopping ...\n");
        }
        if self.logs_too {
            log::info!("shutting down");
        }
    }

    pub fn stopped(&self) {
        if self.is_terminal {
            say("Stopped.\n");
        }
    }
}

/// Without a stdout there is nobody to tell.
fn say(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}

/// Whether the terminal may be sent more than text: it can do it, and nobody has set NO_COLOR to something.
fn has_colours(variable: impl Fn(&str) -> Option<OsString>) -> bool {
    let is_able = variable("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
    is_able && variable("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The addresses under which others in the network reach a listener.
fn reachable(bound: IpAddr) -> Vec<IpAddr> {
    if !bound.is_unspecified() {
        return Vec::new();
    }
    // A listener of both families, as most systems make them, was made as this socket is.
    let is_dual =
        || Socket::new(Domain::IPV6, Type::STREAM, None).and_then(|socket| socket.only_v6()).ok() == Some(false);
    let with_v4 = bound.is_ipv4() || is_dual();
    // Without the list there is still localhost.
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let up = interfaces.iter().filter(|interface| interface.is_oper_up()).map(if_addrs::Interface::ip);
    worth_showing(up.filter(|ip| if ip.is_ipv4() { with_v4 } else { bound.is_ipv6() }))
}

/// Those that a person could type into another device: none that mean something else there.
fn worth_showing(addresses: impl Iterator<Item = IpAddr>) -> Vec<IpAddr> {
    let is_local = |ip: &IpAddr| match ip {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unicast_link_local(),
    };
    let mut shown: Vec<IpAddr> = addresses.filter(|ip| !is_local(ip)).collect();
    shown.sort_by_key(IpAddr::is_ipv6);
    shown.truncate(ADDRESSES_MAX);
    shown
}

/// Where to open the page, the nearest first.
fn urls(scheme: &str, address: SocketAddr, others: &[IpAddr]) -> Vec<String> {
    let (ip, port) = (address.ip(), address.port());
    let is_here =
        ip.is_unspecified() || ip == IpAddr::from([127, 0, 0, 1]) || ip == IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]);
    let first = if is_here { format!("{scheme}://localhost:{port}") } else { format!("{scheme}://{address}") };
    let others = others.iter().map(|ip| format!("{scheme}://{}", SocketAddr::new(*ip, port)));
    std::iter::once(first).chain(others).collect()
}

fn banner(urls: &[String], data: &Path, colours: bool) -> String {
    let bold = |text: &str| if colours { format!("\x1b[1m{text}\x1b[0m") } else { text.to_owned() };
    let mut text = format!("\n  {}\n\n", bold(concat!("Roomlog ", env!("CARGO_PKG_VERSION"))));
    for (row, url) in urls.iter().enumerate() {
        let label = ["Open", "Network"].get(row).copied().unwrap_or_default();
        text += &format!("  {label:<8} {}\n", bold(url));
    }
    let data = printable(data.as_os_str());
    text + &format!("  {:<8} {data}\n  {:<8} Ctrl+C\n  {:<8} roomlog --help\n\n", "Data", "Quit", "Help")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ips(texts: &[&str]) -> Vec<IpAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn the_nearest_url_comes_first_and_a_chosen_address_stands_alone() {
        for (address, others, expected) in [
            ("0.0.0.0:8080", &["192.0.2.7"][..], &["http://localhost:8080", "http://192.0.2.7:8080"][..]),
            (
                "[::]:9",
                &["192.0.2.7", "2001:db8::7"],
                &["http://localhost:9", "http://192.0.2.7:9", "http://[2001:db8::7]:9"],
            ),
            ("127.0.0.1:9", &[], &["http://localhost:9"]),
            ("[::1]:9", &[], &["http://localhost:9"]),
            ("127.0.0.5:9", &[], &["http://127.0.0.5:9"]),
            ("192.0.2.7:80", &[], &["http://192.0.2.7:80"]),
            ("[2001:db8::7]:9", &[], &["http://[2001:db8::7]:9"]),
        ] {
            assert_eq!(urls("http", address.parse().unwrap(), &ips(others)), expected, "{address}");
        }
    }

    #[test]
    fn addresses_that_mean_something_else_elsewhere_are_not_shown_nor_are_too_many() {
        let all = ips(&["127.0.0.1", "::1", "2001:db8::7", "fe80::1", "169.254.1.1", "10.0.0.7", "192.0.2.7"]);
        assert_eq!(worth_showing(all.into_iter()), ips(&["10.0.0.7", "192.0.2.7", "2001:db8::7"]));
        assert_eq!(worth_showing((0..=255).map(|n| IpAddr::from([10, 0, 0, n]))).len(), ADDRESSES_MAX);
        assert!(reachable("127.0.0.1".parse().unwrap()).is_empty());
    }

    #[test]
    fn no_color_and_dumb_terminals_are_heeded() {
        for (term, no_color, expected) in [
            (Some("xterm"), None, true),
            (Some("xterm"), Some(""), true),
            (Some("xterm"), Some("1"), false),
            (Some("dumb"), None, false),
            (None, None, false),
        ] {
            let variable = |name: &str| if name == "TERM" { term } else { no_color }.map(OsString::from);
            assert_eq!(has_colours(variable), expected, "{term:?} {no_color:?}");
        }
    }

    #[test]
    fn the_banner_has_what_somebody_needs_and_no_bytes_of_a_name_that_move_the_cursor() {
        let urls = ["http://localhost:9".to_owned(), "http://192.0.2.7:9".to_owned()];
        let text = banner(&urls, Path::new("/srv/a\x1b[2Jb"), false);
        let expected = format!(
            "\n  Roomlog {}\n\n  Open     http://localhost:9\n  Network  http://192.0.2.7:9\n  \
             Data     /srv/a\\u{{1b}}[2Jb\n  Quit     Ctrl+C\n  Help     roomlog --help\n\n",
            env!("CARGO_PKG_VERSION")
        );
        assert_eq!(text, expected);
        assert!(banner(&urls, Path::new("/srv"), true).contains("\x1b[1mhttp://localhost:9\x1b[0m\n"));
    }
}

//! Where a request comes from that a proxy has passed on: the walk along `X-Forwarded-For`.
//!
//! Owns: the syntax of the header, and how far it is believed. Must never know: what is done with the address.
//!
//! Each proxy adds, at the right, the address that it was asked from. So an entry is as good as the one that wrote it, and
//! the walk goes from the right for as long as each is trusted. What is left of the first that is not is that one's own
//! word, and never looked at. Whoever is not trusted could write anything; its header is not looked at, either.

use std::net::{IpAddr, SocketAddr};

use super::addresses::Addresses;
use super::config::NetConfig;
use super::http::Request;
use crate::network::Network;

const HEADER: &str = "x-forwarded-for";

/// A connection of a trusted proxy, and how it is counted.
#[derive(Debug)]
pub(super) struct Proxied<'a> {
    /// The proxy's own address.
    pub proxy: IpAddr,
    /// What the connection is counted as: a number in `addresses`.
    pub place: &'a mut u32,
    pub addresses: &'a mut Addresses,
}

impl Proxied<'_> {
    /// Counts the connection as one of where `request` comes from. False if that one has all it may have: then it stays the
    /// proxy's, which hangs up by itself.
    pub fn place(&mut self, request: &Request, config: &NetConfig) -> bool {
        let client = client_ip(self.proxy, request.header_values(HEADER), &config.trusted_proxies);
        let bound = match config.connections_per_address_max {
            0 => usize::MAX,
            _ if is_trusted(client, &config.trusted_proxies) => usize::MAX,
            bound => bound,
        };
        self.addresses.relocate(self.place, client);
        let has_place = self.addresses.count(client) <= bound;
        if !has_place {
            self.addresses.relocate(self.place, self.proxy);
        }
        has_place
    }
}

/// Whether `ip` is one of those whose word is taken.
pub(super) fn is_trusted(ip: IpAddr, trusted: &[Network]) -> bool {
    trusted.iter().any(|network| network.contains(ip))
}

/// The address that a request comes from: the nearest that is not trusted, beginning with `peer` and going from the last
/// entry of the last of `lines` to the left. If all are trusted, the leftmost. An entry that is no address, an empty one too,
/// ends the walk: the result is then the one that wrote it.
///
/// `lines` are the values of all such headers, in order. Takes no longer than it takes to read them once.
pub(super) fn client_ip<'a>(
    peer: IpAddr,
    lines: impl DoubleEndedIterator<Item = &'a [u8]>,
    trusted: &[Network],
) -> IpAddr {
    let mut client = peer.to_canonical();
    for entry in lines.rev().flat_map(|line| line.rsplit(|&byte| byte == b',')) {
        if !is_trusted(client, trusted) {
            break;
        }
        let Some(ip) = address(entry.trim_ascii()) else { break };
        client = ip;
    }
    client
}

/// The address of an entry, with or without a port; IPv6 with or without brackets (with a port it has them).
fn address(entry: &[u8]) -> Option<IpAddr> {
    // A zone means something on the machine that wrote it only.
    let text = std::str::from_utf8(entry).ok().filter(|text| !text.contains('%'))?;
    let bracketed = || text.strip_prefix('[')?.strip_suffix(']')?.parse().ok().map(IpAddr::V6);
    let with_port = || text.parse().ok().map(|address: SocketAddr| address.ip());
    let ip = text.parse().ok().or_else(with_port).or_else(bracketed)?;
    Some(ip.to_canonical())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Trusted where nothing else is said.
    const TRUSTED: &str = "127.0.0.1,10.0.0.0/8,fd00::/8";

    fn networks(list: &str) -> Vec<Network> {
        list.split(',').filter(|text| !text.is_empty()).map(|text| text.parse().unwrap()).collect()
    }

    fn walk(peer: &str, lines: &[&str], trusted: &str) -> String {
        let lines = lines.iter().map(|line| line.as_bytes());
        client_ip(peer.parse().unwrap(), lines, &networks(trusted)).to_string()
    }

    #[test]
    fn the_client_is_the_nearest_that_is_not_trusted() {
        for (peer, lines, expected) in [
            ("127.0.0.1", &[][..], "127.0.0.1"),
            ("127.0.0.1", &["192.0.2.1"], "192.0.2.1"),
            ("::ffff:127.0.0.1", &["::ffff:192.0.2.1"], "192.0.2.1"),
            ("127.0.0.1", &["6.6.6.6, 192.0.2.1"], "192.0.2.1"),
            ("127.0.0.1", &["6.6.6.6, 192.0.2.1, 10.1.1.1"], "192.0.2.1"),
            ("127.0.0.1", &["6.6.6.6,192.0.2.1 ,\t10.1.1.1,fd00::1"], "192.0.2.1"),
            // Several lines are one list.
            ("127.0.0.1", &["6.6.6.6", "192.0.2.1", "10.1.1.1"], "192.0.2.1"),
            ("127.0.0.1", &["6.6.6.6, 192.0.2.1", "10.1.1.1, 10.1.1.2"], "192.0.2.1"),
            // All are trusted.
            ("127.0.0.1", &["10.0.0.1, 10.0.0.2"], "10.0.0.1"),
            ("10.0.0.9", &["127.0.0.1"], "127.0.0.1"),
            // Who is not trusted could say anything.
            ("192.0.2.9", &["192.0.2.1"], "192.0.2.9"),
            ("192.0.2.9", &["127.0.0.1"], "192.0.2.9"),
            ("::ffff:192.0.2.9", &["10.0.0.1"], "192.0.2.9"),
            ("2001:db8::9", &["garbage"], "2001:db8::9"),
        ] {
            assert_eq!(walk(peer, lines, TRUSTED), expected, "{peer} {lines:?}");
        }
        assert_eq!(walk("127.0.0.1", &["192.0.2.1"], ""), "127.0.0.1", "nobody is trusted unless it is said");
        assert_eq!(walk("127.0.0.1", &["6.6.6.6, 192.0.2.1"], "0.0.0.0/0"), "6.6.6.6", "trust in all is trust in all");
    }

    #[test]
    fn an_entry_may_have_a_port_and_brackets() {
        for (entry, expected) in [
            ("192.0.2.1:123", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("[2001:db8::1]:123", "2001:db8::1"),
            ("[::ffff:192.0.2.1]:123", "192.0.2.1"),
            ("2001:DB8:0:0::1", "2001:db8::1"),
        ] {
            assert_eq!(walk("127.0.0.1", &[entry], TRUSTED), expected, "{entry}");
        }
    }

    #[test]
    fn an_entry_that_cannot_be_read_ends_the_walk_with_who_wrote_it() {
        for entry in [
            "unknown",
            "_hidden",
            "",
            " ",
            "-",
            "example.org",
            "192.0.2",
            "192.0.2.256",
            "192.0.2.01",
            "0x7f.1",
            "3232235777",
            "192.0.2.1:",
            "192.0.2.1:x",
            "192.0.2.1:65536",
            "[192.0.2.1]",
            "[192.0.2.1]:1",
            "[2001:db8::1",
            "2001:db8::1]",
            "[2001:db8::1]:",
            "fe80::1%eth0",
            "fe80::1%1",
            "[fe80::1%1]:5",
            "\"192.0.2.1\"",
            "for=192.0.2.1",
            "192.0.2.1;x",
            "192.0.2.1 10.0.0.1",
            "\u{661}92.0.2.1",
        ] {
            assert_eq!(walk("127.0.0.1", &[entry], TRUSTED), "127.0.0.1", "{entry:?}");
            let list = format!("6.6.6.6, {entry}, 10.0.0.5");
            assert_eq!(walk("127.0.0.1", &[&list], TRUSTED), "10.0.0.5", "{entry:?}");
            assert_eq!(walk("127.0.0.1", &["6.6.6.6", entry, "10.0.0.5"], TRUSTED), "10.0.0.5", "{entry:?}");
        }
        let raw = [&b"6.6.6.6"[..], b"\xff\xfe"];
        let client = client_ip([127, 0, 0, 1].into(), raw.into_iter(), &networks(TRUSTED));
        assert_eq!(client, IpAddr::from([127, 0, 0, 1]));
    }

    #[test]
    fn a_thousand_entries_are_a_walk_like_any_other() {
        let trusted = vec!["10.0.0.1"; 1_000].join(",");
        assert_eq!(walk("127.0.0.1", &[&format!("192.0.2.1,{trusted}")], TRUSTED), "192.0.2.1");
        assert_eq!(walk("127.0.0.1", &[&trusted], TRUSTED), "10.0.0.1");
        assert_eq!(
            walk("127.0.0.1", &[&format!("{},192.0.2.1", vec!["6.6.6.6"; 1_000].join(","))], TRUSTED),
            "192.0.2.1"
        );
    }

    fn entry() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => any::<u32>().prop_map(|bits| IpAddr::V4(bits.into()).to_string()),
            4 => (0_u8..4).prop_map(|last| format!("10.0.0.{last}")),
            2 => any::<u128>().prop_map(|bits| IpAddr::V6(bits.into()).to_string()),
            1 => (any::<u128>(), any::<u16>()).prop_map(|(bits, port)| format!("[{}]:{port}", IpAddr::V6(bits.into()))),
            1 => "[ -~]{0,12}",
        ]
    }

    proptest! {
        #[test]
        fn nothing_that_a_client_sends_changes_who_it_is(
            own in prop::collection::vec(any::<Vec<u8>>(), 0..4),
            chain in prop::collection::vec(0_u8..4, 0..4),
            client: u32,
        ) {
            let client = IpAddr::V4(client.into());
            prop_assume!(!is_trusted(client, &networks(TRUSTED)));
            // What proxies add: the client, then one another.
            let added = chain.iter().map(|last| format!("10.0.0.{last}"));
            let added: Vec<String> = std::iter::once(client.to_string()).chain(added).collect();
            let in_lines = own.iter().map(Vec::as_slice).chain(added.iter().map(String::as_bytes));
            prop_assert_eq!(client_ip([127, 0, 0, 1].into(), in_lines, &networks(TRUSTED)), client);
            let joined = [own.concat(), b",".to_vec(), added.join(", ").into_bytes()].concat();
            let in_one = std::iter::once(joined.as_slice());
            prop_assert_eq!(client_ip([127, 0, 0, 1].into(), in_one, &networks(TRUSTED)), client);
        }

        #[test]
        fn who_is_not_trusted_is_believed_nothing(peer: u32, lines in prop::collection::vec(any::<Vec<u8>>(), 0..4)) {
            let peer = IpAddr::V4(peer.into());
            prop_assume!(!is_trusted(peer, &networks(TRUSTED)));
            prop_assert_eq!(client_ip(peer, lines.iter().map(Vec::as_slice), &networks(TRUSTED)), peer);
        }

        #[test]
        fn the_walk_is_the_one_that_a_list_would_take(entries in prop::collection::vec(entry(), 0..8), cut in 0_usize..8) {
            let trusted = networks(TRUSTED);
            let cut = cut.min(entries.len());
            let lines = [entries[..cut].join(", "), entries[cut..].join(",")];
            let full: Vec<&[u8]> = lines.iter().map(String::as_bytes).filter(|line| !line.is_empty()).collect();
            // The random texts may hold commas themselves.
            let all = full.iter().flat_map(|line| line.split(|byte| *byte == b','));
            let all: Vec<Option<IpAddr>> = all.map(|entry| address(entry.trim_ascii())).collect();
            let believed = all.iter().rev().map_while(|ip| *ip);
            let mut hops: Vec<IpAddr> = std::iter::once([127, 0, 0, 1].into()).chain(believed).collect();
            if let Some(at) = hops.iter().position(|ip| !is_trusted(*ip, &trusted)) {
                hops.truncate(at + 1);
            }
            prop_assert_eq!(Some(&client_ip([127, 0, 0, 1].into(), full.into_iter(), &trusted)), hops.last());
        }
    }
}

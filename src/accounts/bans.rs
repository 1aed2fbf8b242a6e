//! Bans: who is kept out, and until when.
//!
//! Owns: the list of bans. Must never know: who asks to come in, or how a ban gets to the disk.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::types::{Ban, BanTarget};
use crate::clock::Now;

/// All bans, by whom they keep out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bans(BTreeMap<BanTarget, Ban>);

impl Bans {
    /// The ban that keeps a name out, whatever its spelling.
    #[must_use]
    pub fn of_name(&self, name: &str, now: Now) -> Option<&Ban> {
        self.get(&BanTarget::name(name), now)
    }

    /// The ban that keeps an address out.
    #[must_use]
    pub fn of_address(&self, address: IpAddr, now: Now) -> Option<&Ban> {
        self.get(&BanTarget::address(address), now)
    }

    /// The ban of exactly this, if it is in force.
    #[must_use]
    pub fn get(&self, target: &BanTarget, now: Now) -> Option<&Ban> {
        // Nearly always there is none, and this is asked for each connection.
        self.0.get(target).filter(|ban| is_in_force(ban, now))
    }

    /// Bans in force: names, then addresses, ascending.
    pub fn iter(&self, now: Now) -> impl Iterator<Item = &Ban> {
        self.0.values().filter(move |ban| is_in_force(ban, now))
    }

    /// Bans that are remembered, in force or not.
    pub(super) fn all(&self) -> impl Iterator<Item = &Ban> {
        self.0.values()
    }

    /// How many are remembered, some of them perhaps over.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a ban or replaces one.
    pub(super) fn insert(&mut self, ban: Ban) {
        self.0.insert(ban.target.clone(), ban);
    }

    /// Lifts a ban.
    pub(super) fn remove(&mut self, target: &BanTarget) {
        self.0.remove(target);
    }

    /// Forgets those that are over.
    pub(super) fn expire(&mut self, now: Now) {
        self.0.retain(|_, ban| is_in_force(ban, now));
    }
}

fn is_in_force(ban: &Ban, now: Now) -> bool {
    ban.until_ms.is_none_or(|until_ms| now.unix_ms < until_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ban(target: BanTarget, until_ms: Option<u64>) -> Ban {
        Ban { target, until_ms, reason: "spam".into(), by: "root".into() }
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn a_ban_keeps_out_every_spelling_and_the_whole_network_until_it_is_over() {
        let mut bans = Bans::default();
        bans.insert(ban(BanTarget::name("Mallory"), Some(1_000)));
        bans.insert(ban(BanTarget::address(address("2001:db8:0:1:aaaa::1")), None));
        bans.insert(ban(BanTarget::address(address("192.0.2.1")), None));
        let (now, later) = (Now::at(0, 999), Now::at(0, 1_000));
        for name in ["mallory", "MALLORY", "ｍallory"] {
            assert!(bans.of_name(name, now).is_some() && bans.of_name(name, later).is_none(), "{name}");
        }
        assert!(bans.of_name("mallory2", now).is_none());
        for (text, banned) in [
            ("2001:db8:0:1::", true),
            ("2001:db8:0:1:ffff:ffff:ffff:ffff", true),
            ("2001:db8:0:2::1", false),
            ("192.0.2.1", true),
            ("::ffff:192.0.2.1", true),
            ("192.0.2.2", false),
        ] {
            assert_eq!(bans.of_address(address(text), later).is_some(), banned, "{text}");
        }
        assert_eq!((bans.iter(now).count(), bans.iter(later).count()), (3, 2));
        bans.expire(later);
        assert_eq!(bans.len(), 2);
    }

    #[test]
    fn what_is_shown_of_a_ban_names_it_again() {
        for (text, shown) in [
            ("2001:db8::77", "2001:db8::/64"),
            ("2001:db8::/64", "2001:db8::/64"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("Mallory", "mallory"),
            ("10.0.0.0/8", "10.0.0.0/8"),
        ] {
            let target = BanTarget::parse(text);
            assert_eq!(target.to_string(), shown);
            assert_eq!(BanTarget::parse(shown), target);
        }
        assert_eq!(BanTarget::parse("10.0.0.0/8"), BanTarget::name("10.0.0.0/8"), "other networks are none");
    }
}

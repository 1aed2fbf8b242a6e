//! How many connections come from where.
//!
//! Owns: the addresses that open connections are counted by, and the counts. Must never know: sockets, or what follows
//! from a count.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};

use hashbrown::HashTable;
use slab::Slab;

#[derive(Debug)]
struct Entry {
    key: Ipv6Addr,
    /// Connections from there.
    count: u32,
}

/// A table of addresses, each of which has a small number for as long as it is in use.
///
/// Invariants: `index` holds the number of each entry and nothing else; no count is zero.
#[derive(Debug, Default)]
pub(super) struct Addresses {
    entries: Slab<Entry>,
    index: HashTable<u32>,
    /// Keyed at random, so that nobody chooses addresses that meet in the index.
    hasher: RandomState,
}

impl Addresses {
    /// Connections from the counted address of `ip`.
    pub fn count(&self, ip: IpAddr) -> usize {
        let key = counted(ip);
        let place = self.index.find(self.hasher.hash_one(key), |&place| self.entries[place as usize].key == key);
        place.map_or(0, |&place| self.entries[place as usize].count as usize)
    }

    /// Counts one more from `ip`, and tells the number of its address.
    pub fn add(&mut self, ip: IpAddr) -> u32 {
        let Addresses { entries, index, hasher } = self;
        let key = counted(ip);
        let hash = hasher.hash_one(key);
        if let Some(&place) = index.find(hash, |&place| entries[place as usize].key == key) {
            entries[place as usize].count += 1;
            return place;
        }
        let place = u32::try_from(entries.insert(Entry { key, count: 1 })).expect("descriptors are fewer than 2^32");
        index.insert_unique(hash, place, |&place| hasher.hash_one(entries[place as usize].key));
        place
    }

    /// Counts one less from the address with this number, which is given to another when it was the last.
    pub fn remove(&mut self, place: u32) {
        let entry = &mut self.entries[place as usize];
        entry.count -= 1;
        if entry.count == 0 {
            let key = self.entries.remove(place as usize).key;
            let found = self.index.find_entry(self.hasher.hash_one(key), |&other| other == place);
            found.expect("every entry is in the index").remove();
        }
    }

    /// Counts a connection from elsewhere: takes it from the address with the number `place`, which becomes that of `ip`.
    pub fn relocate(&mut self, place: &mut u32, ip: IpAddr) {
        // In this order, so that nothing is forgotten and made again where the two are the same.
        let from = std::mem::replace(place, self.add(ip));
        self.remove(from);
    }

    /// The counted address with this number, as a number of its own.
    pub fn bits(&self, place: u32) -> u128 {
        self.entries[place as usize].key.to_bits()
    }

    /// The address with this number; of IPv6 the first half.
    pub fn ip(&self, place: u32) -> IpAddr {
        self.entries[place as usize].key.to_canonical()
    }
}

/// What an address is counted as: IPv4 as such even where it comes mapped into IPv6, which has room for nothing but
/// zeros where a mapped address has its mark; IPv6 by its /64, which is what one subscriber has (RFC 6177).
fn counted(ip: IpAddr) -> Ipv6Addr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.to_ipv6_mapped(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() >> 64 << 64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_of_one_subscriber_are_counted_together() {
        for (first, second, same) in [
            ("10.0.0.1", "10.0.0.1", true),
            ("10.0.0.1", "::ffff:10.0.0.1", true),
            ("10.0.0.1", "10.0.0.2", false),
            ("2001:db8::1", "2001:db8::ffff:ffff:ffff:ffff", true),
            ("2001:db8::1", "2001:db8:0:1::1", false),
            ("::1", "::ffff:0.0.0.1", false),
            ("::1", "0.0.0.0", false),
        ] {
            let mut addresses = Addresses::default();
            assert_eq!(addresses.add(ip(first)) == addresses.add(ip(second)), same, "{first} and {second}");
            assert_eq!(addresses.count(ip(second)), if same { 2 } else { 1 }, "{first} and {second}");
        }
    }

    #[test]
    fn an_address_is_known_as_far_as_it_is_counted() {
        let mut addresses = Addresses::default();
        for (of, told) in [("10.0.0.1", "10.0.0.1"), ("::ffff:10.0.0.2", "10.0.0.2"), ("2001:db8::1", "2001:db8::")] {
            let place = addresses.add(ip(of));
            assert_eq!(addresses.ip(place), ip(told));
        }
    }

    #[test]
    fn counts_are_what_a_list_would_count() {
        let mut addresses = Addresses::default();
        // Who came and has not left: last octet and number.
        let mut open: Vec<(u8, u32)> = Vec::new();
        let mut seed = 1_u32;
        for step in 0..5_000 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            // It fills up, and is emptied in the end.
            if step < 3_000 && seed >> 30 != 0 || open.is_empty() {
                let last = (seed >> 16) as u8;
                open.push((last, addresses.add(IpAddr::from([10, 0, 0, last]))));
            } else {
                addresses.remove(open.swap_remove((seed >> 8) as usize % open.len()).1);
            }
            let last = (seed >> 16) as u8;
            let count = open.iter().filter(|(of, _)| *of == last).count();
            assert_eq!(addresses.count(IpAddr::from([10, 0, 0, last])), count, "step {step}");
            for (last, place) in &open {
                assert_eq!(addresses.ip(*place), IpAddr::from([10, 0, 0, *last]), "step {step}");
            }
        }
        open.drain(..).for_each(|(_, place)| addresses.remove(place));
        assert_eq!((addresses.entries.len(), addresses.index.len()), (0, 0));
        assert!(addresses.entries.capacity() <= 512, "numbers are used again");
    }
}

//! How often somebody may try to log in or to register.
//!
//! Owns: the buckets. Must never know: whether a name exists, what a password is.
//!
//! An attempt is counted before its outcome is known, and given back if it succeeded: so attempts side by side get no more
//! tries than attempts one after the other.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;

use super::types::network;
use crate::clock::Now;
use crate::limits;
use crate::rate::{Bucket, Rate};

/// Failed logins of one name: how far apart they are in the long run, in microseconds, and how many come at once.
const PER_NAME: (u32, u32) = (10_000_000, 5);
/// Failed logins of one address.
const PER_ADDRESS: (u32, u32) = (3_000_000, 20);
/// Registrations of one address.
const REGISTRATIONS: (u32, u32) = (60_000_000, 5);

/// Who has tried how often.
#[derive(Debug)]
pub struct Attempts {
    names: Buckets<Box<str>>,
    addresses: Buckets<IpAddr>,
    registrations: Buckets<IpAddr>,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            names: Buckets::new(PER_NAME),
            addresses: Buckets::new(PER_ADDRESS),
            registrations: Buckets::new(REGISTRATIONS),
        }
    }
}

impl Attempts {
    /// Counts an attempt to log in, before it is known whether it succeeds. `name` is folded; whether it exists must not
    /// matter to the caller.
    ///
    /// # Errors
    /// Too many failed: the milliseconds after which one more may come. Nothing is counted.
    pub fn check(&mut self, name: &str, address: IpAddr, now: Now) -> Result<(), u64> {
        let address = network(address);
        self.names.take(name.into(), now)?;
        self.addresses.take(address, now).inspect_err(|_| self.names.give_back(name, now))
    }

    /// The attempt succeeded, or was given up before the password was looked at: it does not count.
    pub fn give_back(&mut self, name: &str, address: IpAddr, now: Now) {
        self.names.give_back(name, now);
        self.addresses.give_back(&network(address), now);
    }

    /// Counts a registration.
    ///
    /// # Errors
    /// Too many: the milliseconds after which one more may come. Nothing is counted.
    pub fn check_registration(&mut self, address: IpAddr, now: Now) -> Result<(), u64> {
        self.registrations.take(network(address), now)
    }

    /// The registration came to nothing: it does not count.
    pub fn give_back_registration(&mut self, address: IpAddr, now: Now) {
        self.registrations.give_back(&network(address), now);
    }
}

/// Buckets of one kind; those that are not there are full.
///
/// Invariant: at most `limits::ATTEMPTS_MAX`.
#[derive(Debug)]
struct Buckets<K> {
    rate: Rate,
    used: HashMap<K, Bucket>,
}

impl<K: Hash + Eq + Clone> Buckets<K> {
    fn new((interval_us, burst): (u32, u32)) -> Self {
        Self { rate: Rate::every(interval_us, burst), used: HashMap::new() }
    }

    fn take(&mut self, key: K, now: Now) -> Result<(), u64> {
        if let Some(bucket) = self.used.get_mut(&key) {
            return bucket.take(self.rate, now.monotonic_ms);
        }
        if self.used.len() >= limits::ATTEMPTS_MAX {
            self.make_room(now);
        }
        let mut bucket = Bucket::default();
        bucket.take(self.rate, now.monotonic_ms)?;
        self.used.insert(key, bucket);
        Ok(())
    }

    fn give_back<Q: Hash + Eq + ?Sized>(&mut self, key: &Q, now: Now)
    where
        K: std::borrow::Borrow<Q>,
    {
        if let Some(bucket) = self.used.get_mut(key) {
            bucket.give_back(self.rate, now.monotonic_ms);
            if bucket.early_us(self.rate, now.monotonic_ms) == 0 {
                self.used.remove(key);
            }
        }
    }

    /// Forgets full buckets, which say nothing; if there are none, the fullest, which says least. To refuse instead would
    /// let whoever fills the table keep everybody out.
    fn make_room(&mut self, now: Now) {
        let (rate, now_ms) = (self.rate, now.monotonic_ms);
        self.used.retain(|_, bucket| bucket.early_us(rate, now_ms) > 0);
        if self.used.len() >= limits::ATTEMPTS_MAX {
            let fullest = self.used.iter().min_by_key(|(_, bucket)| bucket.early_us(rate, now_ms));
            if let Some(key) = fullest.map(|(key, _)| key.clone()) {
                self.used.remove(&key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now::at(ms, ms)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    #[test]
    fn five_failures_of_a_name_then_one_every_ten_seconds() {
        let mut attempts = Attempts::default();
        let address = |n: u8| IpAddr::from([10, 0, 0, n]);
        for n in 0..5 {
            assert_eq!(attempts.check("alice", address(n), at(1_000)), Ok(()));
        }
        assert_eq!(attempts.check("alice", address(9), at(1_000)), Err(10_000), "from wherever it comes");
        assert_eq!(attempts.check("bob", address(9), at(1_000)), Ok(()), "others are let in");
        assert_eq!(attempts.check("alice", address(9), at(10_999)), Err(1));
        assert_eq!(attempts.check("alice", address(9), at(11_000)), Ok(()));
        assert_eq!(attempts.check("alice", address(9), at(11_000)), Err(10_000));
    }

    #[test]
    fn twenty_failures_of_an_address_then_one_every_three_seconds() {
        let mut attempts = Attempts::default();
        for n in 0..20 {
            let spread = ip(&format!("2001:db8::{n}"));
            assert_eq!(attempts.check(&format!("name {n}"), spread, at(5)), Ok(()), "{n}");
        }
        assert_eq!(attempts.check("name 0", ip("2001:db8::ffff"), at(5)), Err(3_000), "one network is one address");
        assert_eq!(attempts.check("name 0", ip("2001:db8:0:1::"), at(5)), Ok(()));
        // What the address was refused for is not held against the name.
        for n in 0..3 {
            assert_eq!(attempts.check("name 0", ip("192.0.2.1"), at(5)), Ok(()), "{n}");
        }
        assert_eq!(attempts.check("name 0", ip("192.0.2.1"), at(5)), Err(10_000));
    }

    #[test]
    fn successes_do_not_count_and_attempts_side_by_side_get_no_more_tries() {
        let mut attempts = Attempts::default();
        let address = ip("192.0.2.1");
        for n in 0..1_000 {
            assert_eq!(attempts.check("alice", address, at(n)), Ok(()));
            attempts.give_back("alice", address, at(n));
        }
        assert!(attempts.names.used.is_empty() && attempts.addresses.used.is_empty());
        let begun = (0..100).filter(|_| attempts.check("alice", address, at(2_000)).is_ok()).count();
        assert_eq!(begun, 5);
        // One of the five is right; it leaves the tries of the four others used.
        attempts.give_back("alice", address, at(2_050));
        assert_eq!(attempts.check("alice", address, at(2_050)), Ok(()));
        assert!(attempts.check("alice", address, at(2_050)).is_err());
    }

    #[test]
    fn giving_back_never_gives_more_than_a_full_bucket() {
        let mut attempts = Attempts::default();
        let address = ip("192.0.2.1");
        assert_eq!(attempts.check("alice", address, at(0)), Ok(()));
        for _ in 0..10 {
            attempts.give_back("alice", address, at(100_000));
        }
        let begun = (0..100).filter(|_| attempts.check("alice", address, at(100_000)).is_ok()).count();
        assert_eq!(begun, 5);
    }

    #[test]
    fn five_registrations_of_an_address_then_one_a_minute() {
        let mut attempts = Attempts::default();
        let address = ip("192.0.2.1");
        for _ in 0..5 {
            assert_eq!(attempts.check_registration(address, at(7)), Ok(()));
        }
        assert_eq!(attempts.check_registration(address, at(7)), Err(60_000));
        assert_eq!(attempts.check_registration(ip("192.0.2.2"), at(7)), Ok(()));
        attempts.give_back_registration(address, at(7));
        assert_eq!(attempts.check_registration(address, at(7)), Ok(()));
        assert_eq!(attempts.check_registration(address, at(60_007)), Ok(()));
    }

    #[test]
    fn memory_is_bounded_and_whoever_fills_it_frees_nobody_who_is_locked_out() {
        let mut attempts = Attempts::default();
        let address = |n: u32| IpAddr::from(0x0a00_0000_u32.wrapping_add(n).to_be_bytes());
        for _ in 0..5 {
            attempts.check("victim", address(0), at(1)).expect("five are allowed");
        }
        for n in 0..2 * limits::ATTEMPTS_MAX as u32 {
            attempts.check(&format!("name {n}"), address(1 + n), at(2)).expect("everybody has a first try");
        }
        assert_eq!(attempts.names.used.len(), limits::ATTEMPTS_MAX);
        assert_eq!(attempts.addresses.used.len(), limits::ATTEMPTS_MAX);
        assert!(attempts.check("victim", address(0), at(3)).is_err(), "the emptiest bucket stays");
        // Full ones go first, and all at once.
        attempts.check("late", address(u32::MAX), at(10_003)).expect("a first try");
        assert_eq!(attempts.names.used.len(), 2);
    }
}

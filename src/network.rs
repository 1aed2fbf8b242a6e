//! Networks as an operator writes them: an address with the length of its prefix.
//!
//! Owns: their text, and which addresses are in them. Must never know: what follows for who is in one.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// All addresses that begin with the same bits; with all bits, one address.
///
/// Invariant: `prefix_bits` is at most the bits of `address`, of which those behind it are zero; `address` is no IPv4
/// address mapped into IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

/// Why a text is no network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// Neither an address nor an address, a slash and a length that fits it. Write it so.
    #[error("is no address or network: write 127.0.0.1, 10.0.0.0/8 or fd00::/8")]
    Malformed,
    /// Bits behind the prefix are set, so it is not clear what was meant. Write the network's first address, or more bits.
    #[error("has bits set behind its prefix: write {first} or a longer prefix")]
    Ambiguous {
        /// What it would be without them.
        first: Network,
    },
}

impl Network {
    /// Whether `ip` is in it. An IPv4 address mapped into IPv6 counts as the IPv4 address, and is in no network of IPv6.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        let ip = ip.to_canonical();
        ip.is_ipv4() == self.address.is_ipv4() && first(ip, self.prefix_bits) == self.address
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let written: IpAddr = address.parse().map_err(|_| NetworkError::Malformed)?;
        let bits = prefix.map_or(Ok(bits_of(written)), |prefix| number(prefix, bits_of(written)))?;
        let address = written.to_canonical();
        // A network of mapped addresses is one of IPv4, if it holds nothing else.
        let lost = bits_of(written) - bits_of(address);
        let prefix_bits = bits.checked_sub(lost).ok_or(NetworkError::Malformed)?;
        let network = Network { address: first(address, prefix_bits), prefix_bits };
        if network.address == address { Ok(network) } else { Err(NetworkError::Ambiguous { first: network }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Network { address, prefix_bits } = self;
        if *prefix_bits == bits_of(*address) { write!(f, "{address}") } else { write!(f, "{address}/{prefix_bits}") }
    }
}

fn bits_of(ip: IpAddr) -> u8 {
    if ip.is_ipv4() { 32 } else { 128 }
}

/// Digits only, without leading zeros.
fn number(text: &str, max: u8) -> Result<u8, NetworkError> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    let number = text.parse().ok().filter(|number| is_plain && *number <= max);
    number.ok_or(NetworkError::Malformed)
}

/// The first address of those that begin with so many bits of `ip`.
fn first(ip: IpAddr, prefix_bits: u8) -> IpAddr {
    let behind = u32::from(bits_of(ip) - prefix_bits);
    match ip {
        IpAddr::V4(ip) => IpAddr::V4((ip.to_bits() & u32::MAX.checked_shl(behind).unwrap_or(0)).into()),
        IpAddr::V6(ip) => IpAddr::V6((ip.to_bits() & u128::MAX.checked_shl(behind).unwrap_or(0)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_that_begin_as_it_does() {
        for (network, inside, outside) in [
            ("127.0.0.1", &["127.0.0.1", "::ffff:127.0.0.1"][..], &["127.0.0.2", "::1", "::127.0.0.1"][..]),
            ("10.0.0.0/8", &["10.0.0.0", "10.255.255.255", "::ffff:10.1.2.3"], &["11.0.0.0", "9.255.255.255", "a00::"]),
            ("0.0.0.0/0", &["0.0.0.0", "255.255.255.255", "::ffff:1.2.3.4"], &["::", "::1"]),
            ("192.0.2.128/25", &["192.0.2.128", "192.0.2.255"], &["192.0.2.127"]),
            ("::1", &["::1"], &["::2", "0.0.0.1", "127.0.0.1"]),
            ("2001:db8::/32", &["2001:db8::", "2001:db8:ffff:ffff::1"], &["2001:db9::", "2001:db7::"]),
            ("::/0", &["::", "::1", "ffff::"], &["1.2.3.4", "::ffff:1.2.3.4"]),
            ("::ffff:10.0.0.0/104", &["10.1.2.3", "::ffff:10.1.2.3"], &["11.0.0.0"]),
            ("::ffff:10.0.0.7", &["10.0.0.7"], &["10.0.0.8"]),
        ] {
            let network: Network = network.parse().unwrap();
            for ip in inside {
                assert!(network.contains(ip.parse().unwrap()), "{ip} in {network}");
            }
            for ip in outside {
                assert!(!network.contains(ip.parse().unwrap()), "{ip} not in {network}");
            }
        }
    }

    #[test]
    fn a_network_is_written_as_it_is_read() {
        for (text, written) in [
            ("127.0.0.1", "127.0.0.1"),
            ("127.0.0.1/32", "127.0.0.1"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("::ffff:10.0.0.0/104", "10.0.0.0/8"),
            ("FD00::/8", "fd00::/8"),
            ("::/0", "::/0"),
        ] {
            let network: Network = text.parse().unwrap();
            assert_eq!(network.to_string(), written, "{text}");
            assert_eq!(written.parse(), Ok(network), "{text}");
        }
    }

    #[test]
    fn what_is_no_network_is_told_apart_from_one_that_is_not_clear() {
        for text in [
            "",
            "/",
            "/8",
            "localhost",
            "10.0.0.0/",
            "10.0.0.0/33",
            "10.0.0.0/-1",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/8/8",
            "10.0.0.0/256",
            "10.0.0/8",
            "010.0.0.0/8",
            "::/129",
            "[::1]",
            "fe80::1%1",
            "1.2.3.4:80",
            " 127.0.0.1",
            "::ffff:10.0.0.0/95",
            "::ffff:0:0/8",
        ] {
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Malformed), "{text:?}");
        }
        for (text, first) in [("10.0.0.1/8", "10.0.0.0/8"), ("::1/64", "::/64"), ("1.2.3.4/0", "0.0.0.0/0")] {
            let first = first.parse().unwrap();
            assert_eq!(text.parse::<Network>(), Err(NetworkError::Ambiguous { first }), "{text}");
        }
    }
}

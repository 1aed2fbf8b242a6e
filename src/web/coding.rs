//! Which content coding a client is sent: its `Accept-Encoding` (RFC 9110 section 12.5.3) → gzip, identity or neither.
//!
//! Owns: reading the header, the order of preference. Must never know: what is sent.

use crate::net::http::Request;

/// A coding that a body is sent in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    /// As it is.
    Identity,
    /// `Content-Encoding: gzip`.
    Gzip,
}

/// An identity that is not named is acceptable, but for anything that is: it has the least weight.
const UNNAMED: u16 = 1;

/// The coding to send, if the client takes one that there is. Without the header it may be any; that is identity then, for
/// who does not say that it can inflate most often cannot.
pub(super) fn choose(request: &Request, has_gzip: bool) -> Option<Coding> {
    let listed = || request.header_list("Accept-Encoding").filter_map(weighted);
    let weight_of = |names: &[&str]| {
        let mut named = listed().filter(|(coding, _)| names.iter().any(|name| coding.eq_ignore_ascii_case(name)));
        named.next().map(|(_, weight)| weight)
    };
    let others = weight_of(&["*"]);
    let gzip = weight_of(&["gzip", "x-gzip"]).or(others).unwrap_or(0);
    let identity = weight_of(&["identity"]).or(others).unwrap_or(UNNAMED);
    match () {
        () if has_gzip && gzip > 0 && gzip >= identity => Some(Coding::Gzip),
        () if identity > 0 => Some(Coding::Identity),
        () => None,
    }
}

/// A coding and its weight in thousandths; `None` for an element that is malformed.
fn weighted(element: &str) -> Option<(&str, u16)> {
    let Some((coding, parameter)) = element.split_once(';') else { return Some((element, 1_000)) };
    let (name, value) = parameter.trim().split_once('=')?;
    let weight = thousandths(value).filter(|_| name.eq_ignore_ascii_case("q"))?;
    Some((coding.trim_end(), weight))
}

/// A weight (RFC 9110 section 12.4.2): 0 to 1 with at most three decimals.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let is_good = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let decimals: u16 = format!("{decimals:0<3}").parse().ok().filter(|_| is_good)?;
    match whole {
        "0" => Some(decimals),
        "1" if decimals == 0 => Some(1_000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(headers: &str, has_gzip: bool) -> Option<Coding> {
        choose(&Request::testing(&format!("GET / HTTP/1.1\r\nHost: a\r\n{headers}\r\n")), has_gzip)
    }

    #[test]
    fn what_is_accepted_decides_and_gzip_wins_a_tie() {
        use Coding::{Gzip, Identity};
        for (value, with_gzip, without) in [
            ("gzip", Some(Gzip), Some(Identity)),
            ("GZIP", Some(Gzip), Some(Identity)),
            ("x-gzip", Some(Gzip), Some(Identity)),
            ("gzip, deflate, br, zstd", Some(Gzip), Some(Identity)),
            ("br;q=1.0, gzip;q=0.1", Some(Gzip), Some(Identity)),
            ("gzip;q=0.001", Some(Gzip), Some(Identity)),
            ("gzip ; q=0.5", Some(Gzip), Some(Identity)),
            ("gzip;Q=1.000", Some(Gzip), Some(Identity)),
            ("*", Some(Gzip), Some(Identity)),
            ("*;q=0.2", Some(Gzip), Some(Identity)),
            ("gzip, identity", Some(Gzip), Some(Identity)),
            ("", Some(Identity), Some(Identity)),
            ("br", Some(Identity), Some(Identity)),
            ("identity", Some(Identity), Some(Identity)),
            ("gzip;q=0", Some(Identity), Some(Identity)),
            ("gzip;q=0.000, *", Some(Identity), Some(Identity)),
            ("gzip;q=0.5, identity", Some(Identity), Some(Identity)),
            ("gzip;q=0.5, *", Some(Identity), Some(Identity)),
            ("gzip, identity;q=0", Some(Gzip), None),
            ("gzip, *;q=0", Some(Gzip), None),
            ("identity;q=0, *", Some(Gzip), None),
            ("identity;q=0", None, None),
            ("*;q=0", None, None),
            ("gzip;q=0, *;q=0", None, None),
            ("*;q=0, identity", Some(Identity), Some(Identity)),
            // Malformed elements count for nothing.
            ("gzip;q=2", Some(Identity), Some(Identity)),
            ("gzip;q=0.1234", Some(Identity), Some(Identity)),
            ("gzip;q=-1", Some(Identity), Some(Identity)),
            ("gzip;level=9", Some(Identity), Some(Identity)),
            ("gzip;q=1;q=0", Some(Identity), Some(Identity)),
            ("gzipped", Some(Identity), Some(Identity)),
        ] {
            let headers = format!("Accept-Encoding: {value}\r\n");
            assert_eq!((chosen(&headers, true), chosen(&headers, false)), (with_gzip, without), "{value:?}");
        }
        assert_eq!(chosen("", true), Some(Identity), "without the header");
        let lines = "Accept-Encoding: br\r\naccept-encoding: gzip\r\n";
        assert_eq!(chosen(lines, true), Some(Gzip), "a list may have several lines");
    }
}

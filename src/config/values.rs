//! The values options take: text → number, duration, address; and durations back to text.
//!
//! Owns: what each kind of value looks like and the words for one that does not. An error is a clause that goes after
//! "'value' ". Must never know: which option it reads.

use std::ffi::OsStr;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use ::log::LevelFilter;

use crate::network::Network;

use super::{AGE_MS_MAX, DURATION_MS_MAX, DURATION_MS_MIN, Fsync, Origins};

/// A day, in milliseconds.
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn text(value: &OsStr) -> Result<&str, String> {
    value.to_str().ok_or_else(|| "is not UTF-8".to_owned())
}

/// A whole number in `min..=max`, digits only.
pub(super) fn number<N>(value: &OsStr, min: N, max: N) -> Result<N, String>
where
    N: std::str::FromStr + PartialOrd + fmt::Display,
{
    let digits = text(value)?;
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    let number = if plain { digits.parse::<N>().ok() } else { None };
    number.filter(|n| (&min..=&max).contains(&n)).ok_or_else(|| format!("is not a whole number from {min} to {max}"))
}

/// One of two words, for true and for false.
pub(super) fn word(value: &OsStr, yes: &str, no: &str) -> Result<bool, String> {
    match text(value)? {
        word if word == yes => Ok(true),
        word if word == no => Ok(false),
        _ => Err(format!("is neither {yes} nor {no}")),
    }
}

/// A TCP port.
pub(super) fn port(value: &OsStr) -> Result<u16, String> {
    number(value, 0, u16::MAX).map_err(|_| "is not a port: write a number from 0 to 65535".to_owned())
}

/// An IP address of either family.
pub(super) fn ip(value: &OsStr) -> Result<IpAddr, String> {
    text(value)?.parse().map_err(|_| "is not an IP address: write 0.0.0.0, 127.0.0.1 or ::1".to_owned())
}

/// Any path but the empty one, UTF-8 or not.
pub(super) fn folder(value: &OsStr) -> Result<PathBuf, String> {
    if value.is_empty() { Err("is not a folder".to_owned()) } else { Ok(PathBuf::from(value)) }
}

/// Any path but the empty one, in a build that can make use of it.
pub(super) fn tls_file(value: &OsStr) -> Result<PathBuf, String> {
    if !cfg!(feature = "rustls") {
        return Err("is for TLS, without which this roomlog was built: cargo build --release --features rustls".into());
    }
    if value.is_empty() { Err("is not a file".to_owned()) } else { Ok(PathBuf::from(value)) }
}

/// A level in any case.
pub(super) fn log_level(value: &OsStr) -> Result<LevelFilter, String> {
    match text(value)?.to_ascii_lowercase().as_str() {
        "error" => Ok(LevelFilter::Error),
        "warn" => Ok(LevelFilter::Warn),
        "info" => Ok(LevelFilter::Info),
        "debug" => Ok(LevelFilter::Debug),
        "trace" => Ok(LevelFilter::Trace),
        _ => Err("is not a level: write error, warn, info, debug or trace".to_owned()),
    }
}

/// `always`, `never` or an interval.
pub(super) fn fsync(value: &OsStr) -> Result<Fsync, String> {
    match text(value)? {
        "always" => Ok(Fsync::Always),
        "never" => Ok(Fsync::Never),
        "0" => Err("is no interval: write always".to_owned()),
        interval if interval.starts_with(|c: char| c.is_ascii_digit()) => {
            duration(value).map(|ms| Fsync::Interval { ms })
        }
        _ => Err("is no sync policy: write always, never or an interval such as 1s".to_owned()),
    }
}

impl fmt::Display for Fsync {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fsync::Always => f.write_str("always"),
            Fsync::Interval { ms } => f.write_str(&duration_text(*ms)),
            Fsync::Never => f.write_str("never"),
        }
    }
}

/// Milliseconds of `500ms`, `30s`, `5m` or `2h`.
pub(super) fn duration(value: &OsStr) -> Result<u64, String> {
    let text = text(value)?;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let unit_ms = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    if digits == 0 || unit_ms == 0 {
        return Err("is not a duration: write 30s, 500ms or 5m".to_owned());
    }
    // Digits alone can only fail to parse by being too many.
    let ms = text[..digits].parse::<u64>().map_or(u64::MAX, |count| count.saturating_mul(unit_ms));
    if (DURATION_MS_MIN..=DURATION_MS_MAX).contains(&ms) {
        return Ok(ms);
    }
    Err(format!("is not between {} and {}", duration_text(DURATION_MS_MIN), duration_text(DURATION_MS_MAX)))
}

/// As [`duration`], or 0 with or without a unit.
pub(super) fn duration_or_zero(value: &OsStr) -> Result<u64, String> {
    let zero = matches!(value.to_str(), Some("0" | "0ms" | "0s" | "0m" | "0h"));
    if zero { Ok(0) } else { duration(value) }
}

/// An age in milliseconds: a duration, or days as `90d`; `None` for 0.
pub(super) fn age(value: &OsStr) -> Result<Option<u64>, String> {
    if value == "0" {
        return Ok(None);
    }
    let days = text(value)?.strip_suffix('d').and_then(|days| days.parse::<u64>().ok());
    match days {
        Some(days) if (1..=AGE_MS_MAX / DAY_MS).contains(&days) => Ok(Some(days * DAY_MS)),
        Some(_) => Err(format!("is not between 1d and {}d", AGE_MS_MAX / DAY_MS)),
        None => duration(value).map(Some).map_err(|_| "is not an age: write 90d, 12h or 0".to_owned()),
    }
}

/// An age as an operator would write it.
pub(super) fn age_text(ms: u64) -> String {
    if ms.is_multiple_of(DAY_MS) { format!("{}d", ms / DAY_MS) } else { duration_text(ms) }
}

/// Units of sizes, the largest first: powers of 1024, as files are counted.
const SIZE_UNITS: [(&str, u64); 3] = [("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)];

/// Bytes, as `500M`, `2G`, `64K` or plain.
pub(super) fn size(value: &OsStr) -> Result<u64, String> {
    let text = text(value)?;
    let unit = SIZE_UNITS.iter().find_map(|&(unit, bytes)| Some((text.strip_suffix(unit)?, bytes)));
    let (digits, bytes) = unit.unwrap_or((text, 1));
    let count = number(OsStr::new(digits), 0, u64::MAX).ok().and_then(|count: u64| count.checked_mul(bytes));
    count.ok_or_else(|| "is not a size: write 500M, 2G or a number of bytes".to_owned())
}

/// A size in the largest unit that divides it.
pub(super) fn size_text(bytes: u64) -> String {
    let unit = SIZE_UNITS.iter().find(|(_, unit)| bytes > 0 && bytes.is_multiple_of(*unit));
    unit.map_or_else(|| bytes.to_string(), |(name, unit)| format!("{}{name}", bytes / unit))
}

/// A bound, or none for 0.
pub(super) fn positive(bound: u64) -> Option<u64> {
    (bound > 0).then_some(bound)
}

/// A duration as an operator would write it: the largest unit that divides it, but 60s rather than 1m.
pub(super) fn duration_text(ms: u64) -> String {
    match ms {
        0 => "0".to_owned(),
        _ if ms.is_multiple_of(3_600_000) => format!("{}h", ms / 3_600_000),
        _ if ms.is_multiple_of(60_000) && ms > 60_000 => format!("{}m", ms / 60_000),
        _ if ms.is_multiple_of(1_000) => format!("{}s", ms / 1_000),
        _ => format!("{ms}ms"),
    }
}

/// Adds addresses and networks, one or several with commas between.
pub(super) fn trust_proxy(networks: &mut Vec<Network>, value: &OsStr) -> Result<(), String> {
    for item in text(value)?.split(',') {
        networks.push(item.trim().parse().map_err(|error: crate::network::NetworkError| error.to_string())?);
    }
    Ok(())
}

/// Adds `*`, or an origin as browsers send it (RFC 6454, section 6.2).
pub(super) fn allow_origin(origins: &mut Origins, value: &OsStr) -> Result<(), String> {
    let origin = text(value)?;
    if origin == "*" {
        *origins = Origins::Any;
        return Ok(());
    }
    let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://")).unwrap_or_default();
    let foreign = |c: char| !(c.is_ascii_alphanumeric() || "-._:[]".contains(c));
    if host.is_empty() || host.contains(foreign) {
        return Err("is not an origin: write https://chat.example.org (no path) or *".to_owned());
    }
    if let Origins::Listed(list) = origins {
        list.push(origin.to_ascii_lowercase());
    }
    Ok(())
}

impl fmt::Display for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origins::Any => f.write_str("*"),
            Origins::Listed(list) => f.write_str(&list.join(",")),
        }
    }
}

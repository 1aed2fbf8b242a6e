//! What a process on this machine costs, as Linux tells it.
//!
//! Owns: the few files of `/proc` that are read. Must never know: whose process it is.

use std::fs;

/// What a process holds, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Memory {
    pub rss_bytes: u64,
    /// Not everybody may see it.
    pub pss_bytes: Option<u64>,
}

/// Processor time that a process with all its threads has used, in milliseconds; `None` if there is no such process. The
/// kernel counts it in ticks, of mostly 10 ms.
pub(super) fn processor_ms(pid: u32) -> Option<f64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks = processor_ticks(&stat)?;
    Some(ticks as f64 * 1_000.0 / rustix::param::clock_ticks_per_second() as f64)
}

/// User and system time: the 12th and 13th field behind the name, which may hold anything (proc_pid_stat(5)).
fn processor_ticks(stat: &str) -> Option<u64> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11).map(str::parse::<u64>);
    Some(times.next()?.ok()? + times.next()?.ok()?)
}

/// The memory of a process; `None` if there is no such process.
pub(super) fn memory(pid: u32) -> Option<Memory> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok();
    Some(Memory { rss_bytes: kib(&status, "VmRSS:")?, pss_bytes: rollup.and_then(|rollup| kib(&rollup, "Pss:")) })
}

/// How many files a process may have open.
pub(super) fn descriptors(pid: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    limits.lines().find_map(|line| line.strip_prefix("Max open files"))?.split_whitespace().next()?.parse().ok()
}

/// The ports that the kernel gives to connections of one address.
pub(super) fn ephemeral_ports() -> Option<u32> {
    let range = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").ok()?;
    let mut ends = range.split_whitespace().map(str::parse::<u32>);
    let (first, last) = (ends.next()?.ok()?, ends.next()?.ok()?);
    Some(last.saturating_sub(first) + 1)
}

fn kib(text: &str, key: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(key))?;
    Some(value.split_whitespace().next()?.parse::<u64>().ok()? * 1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        let stat = "7 (a) b) R 1 7 7 0 -1 4194304 100 0 0 0 12 30 0 0 20 0 1 0 100 1 1";
        assert_eq!(processor_ticks(stat), Some(42));
        assert_eq!(processor_ticks("7 (a"), None);
    }

    #[test]
    fn sizes_are_read_in_bytes() {
        assert_eq!(kib("Name:\tx\nVmRSS:\t    3072 kB\n", "VmRSS:"), Some(3_072 * 1_024));
        assert_eq!(kib("Name:\tx\n", "VmRSS:"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_process_has_all_of_them() {
        let pid = std::process::id();
        assert!(processor_ms(pid).is_some() && memory(pid).is_some_and(|memory| memory.rss_bytes > 0));
        assert!(descriptors(pid).is_some_and(|count| count > 0) && ephemeral_ports().is_some_and(|count| count > 1));
    }
}

//! What the system says of this process.
//!
//! Owns: where that is asked. Must never know: what for.

use std::fs;

use rustix::time::{ClockId, clock_gettime};

use super::Process;

/// Asks the system; takes some ten microseconds.
pub(super) fn look() -> Process {
    let used = clock_gettime(ClockId::ProcessCPUTime);
    let cpu_us = u64::try_from(used.tv_sec).ok().map(|seconds| seconds * 1_000_000 + used.tv_nsec as u64 / 1_000);
    Process { cpu_us, resident_bytes: resident_bytes(), descriptors: descriptors() }
}

/// proc_pid_statm(5): the second number is pages.
fn resident_bytes() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = text.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

/// Since Linux 6.2 the size of the folder is the number of descriptors. To list it would take milliseconds where there are
/// many, so older systems do not tell.
fn descriptors() -> Option<u64> {
    fs::metadata("/proc/self/fd").ok().map(|folder| folder.len()).filter(|count| *count > 0)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn the_system_knows_cpu_time_and_memory() {
        let Process { cpu_us, resident_bytes, descriptors } = look();
        assert!(cpu_us.is_some_and(|us| us > 0));
        assert!(resident_bytes.is_some_and(|bytes| bytes > 1 << 20));
        assert!(descriptors.is_none_or(|count| count >= 3), "{descriptors:?}");
    }
}

//! Wakes the loop at a time that milliseconds are too coarse for: an open loop sends every few microseconds.
//!
//! Owns: a timer of the kernel. Must never know: what is due.

/// Waits shorter than this are not worth a system call: the loop goes round instead. In nanoseconds.
pub(super) const SPIN_NS: u64 = 10_000;

#[cfg(target_os = "linux")]
mod kernel {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};

    use mio::unix::SourceFd;
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };

    use crate::net::Reactor;

    /// A timer that ends a [`Reactor::wait`].
    pub struct Alarm(OwnedFd);

    impl Alarm {
        pub fn new(net: &mut Reactor, key: usize) -> io::Result<Alarm> {
            let fd = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            net.register(&mut SourceFd(&fd.as_raw_fd()), key)?;
            Ok(Alarm(fd))
        }

        /// Rings once, `ns` from now. It need not be read: setting it anew makes the next edge.
        pub fn ring_in(&self, ns: u64) -> io::Result<()> {
            let it_value = Timespec { tv_sec: (ns / 1_000_000_000) as i64, tv_nsec: (ns % 1_000_000_000) as i64 };
            let it_interval = Timespec { tv_sec: 0, tv_nsec: 0 };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &Itimerspec { it_interval, it_value })?;
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::io;

    use crate::net::Reactor;

    /// Elsewhere a wait is as exact as the poll is.
    pub struct Alarm;

    impl Alarm {
        pub fn new(_: &mut Reactor, _: usize) -> io::Result<Alarm> {
            Ok(Alarm)
        }

        pub fn ring_in(&self, _: u64) -> io::Result<()> {
            Ok(())
        }
    }
}

pub(super) use kernel::Alarm;

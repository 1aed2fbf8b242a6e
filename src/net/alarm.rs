//! Waking a poll within a millisecond: mio's timeouts are whole ones.
//!
//! Owns: the timer. Must never know: what it is for.

#[cfg(target_os = "linux")]
mod kernel {
    use std::io;
    use std::os::fd::{AsRawFd, OwnedFd};
    use std::time::Duration;

    use mio::unix::SourceFd;
    use mio::{Interest, Registry, Token};
    use rustix::time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
    };

    /// A timer that makes its token ready (timerfd_create(2)). It need not be read: each time it is set it forgets, and
    /// each time it goes off it is a new edge.
    #[derive(Debug)]
    pub struct Alarm(OwnedFd);

    impl Alarm {
        /// A timer that is not set.
        ///
        /// # Errors
        /// The process is out of descriptors.
        pub fn new(registry: &Registry, token: Token) -> io::Result<Self> {
            let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
            registry.register(&mut SourceFd(&timer.as_raw_fd()), token, Interest::READABLE)?;
            Ok(Alarm(timer))
        }

        /// Goes off once, after this time, which is not zero; an earlier setting is void.
        ///
        /// # Errors
        /// None that a valid timer has.
        pub fn set(&self, after: Duration) -> io::Result<()> {
            let it_value = Timespec { tv_sec: after.as_secs() as i64, tv_nsec: i64::from(after.subsec_nanos()) };
            let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
            timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &once)?;
            Ok(())
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod kernel {
    use std::io;
    use std::time::Duration;

    use mio::{Registry, Token};

    /// Elsewhere a wait is as exact as the poll is.
    #[derive(Debug)]
    pub struct Alarm;

    impl Alarm {
        pub fn new(_: &Registry, _: Token) -> io::Result<Self> {
            Ok(Alarm)
        }

        pub fn set(&self, _: Duration) -> io::Result<()> {
            Ok(())
        }
    }
}

pub(super) use kernel::Alarm;

//! The clock that both processes count lifetimes on: it goes on while the machine sleeps.

use rustix::time::{ClockId, clock_gettime};

/// Seconds since 1970-01-01 00:00 UTC, for people.
pub fn wall_seconds() -> u64 {
    u64::try_from(clock_gettime(ClockId::Realtime).tv_sec).unwrap_or(0)
}

/// `CLOCK_BOOTTIME` in nanoseconds.
pub fn now() -> u64 {
    let t = clock_gettime(ClockId::Boottime);
    u64::try_from(t.tv_sec).unwrap_or(0) * 1_000_000_000 + u64::try_from(t.tv_nsec).unwrap_or(0)
}

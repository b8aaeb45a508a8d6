//! strongSwan's `version` and `stats`, built from plain values.

use std::time::Duration;

use adit_vici::Message;

/// Names and versions of daemon and machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The daemon's name.
    pub daemon: String,
    /// The daemon's version.
    pub version: String,
    /// The operating system, as `uname -s` has it.
    pub sysname: String,
    /// The kernel's version, as `uname -r` has it.
    pub release: String,
    /// The processor architecture, as `uname -m` has it.
    pub machine: String,
}

impl Version {
    /// This program on this machine.
    pub fn here() -> Self {
        let host = rustix::system::uname();
        let text = |field: &std::ffi::CStr| field.to_string_lossy().into_owned();
        Version {
            daemon: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            sysname: text(host.sysname()),
            release: text(host.release()),
            machine: text(host.machine()),
        }
    }
}

/// The response to `version`.
pub fn version(version: &Version) -> Message {
    Message::new()
        .with("daemon", &version.daemon)
        .with("version", &version.version)
        .with("sysname", &version.sysname)
        .with("release", &version.release)
        .with("machine", &version.machine)
}

/// What `stats` tells about the daemon.
///
/// strongSwan's thread pool and job queues have no counterpart in an event loop: its one thread is
/// reported, working, and the queues are empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// How long the daemon runs.
    pub uptime: Duration,
    /// When it started, in seconds since 1970-01-01 00:00 UTC.
    pub since: u64,
    /// Timers that are set.
    pub scheduled: u64,
    /// IKE SAs.
    pub ike_sas: u64,
    /// IKE SAs still being established, of those.
    pub half_open: u64,
    /// Parts of the daemon that are in use.
    pub plugins: Vec<String>,
}

/// The response to `stats`.
pub fn stats(stats: &Stats) -> Message {
    const PRIORITIES: [&str; 4] = ["critical", "high", "medium", "low"];
    let per_priority = |busy: &str| {
        PRIORITIES.iter().fold(Message::new(), |m, name| {
            m.with(*name, if *name == busy { "1" } else { "0" })
        })
    };
    Message::new()
        .with_section(
            "uptime",
            Message::new()
                .with("running", running(stats.uptime))
                .with("since", utc(stats.since)),
        )
        .with_section(
            "workers",
            Message::new()
                .with("total", "1")
                .with("idle", "0")
                .with_section("active", per_priority("critical")),
        )
        .with_section("queues", per_priority(""))
        .with("scheduled", stats.scheduled.to_string())
        .with_section(
            "ikesas",
            Message::new()
                .with("total", stats.ike_sas.to_string())
                .with("half-open", stats.half_open.to_string()),
        )
        .with_list("plugins", &stats.plugins)
}

/// A length of time in the one unit that suits it, as strongSwan prints it.
fn running(uptime: Duration) -> String {
    let seconds = uptime.as_secs();
    let (number, unit) = match seconds {
        172_801.. => (seconds / 86_400, "days"),
        7_201.. => (seconds / 3_600, "hours"),
        121.. => (seconds / 60, "minutes"),
        _ => (seconds, "seconds"),
    };
    format!("{number} {unit}")
}

/// A moment as `Nov 22 18:30:05 UTC 2025`.
fn utc(seconds: u64) -> String {
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    // 400 years have 146,097 days; the loop then runs over what is left.
    let mut year = 1970 + days / 146_097 * 400;
    days %= 146_097;
    while days >= 365 + u64::from(leap(year)) {
        days -= 365 + u64::from(leap(year));
        year += 1;
    }
    let lengths = [
        31,
        28 + u64::from(leap(year)),
        31,
        30,
        31,
        30,
        31,
        31,
        30,
        31,
        30,
        31,
    ];
    let mut month = "Dec";
    for (name, length) in MONTHS.iter().zip(lengths) {
        month = name;
        if days < length {
            break;
        }
        days -= length;
    }
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!(
        "{month} {:02} {hour:02}:{minute:02}:{second:02} UTC {year}",
        days + 1
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_written_out() {
        for (seconds, text) in [
            (0, "Jan 01 00:00:00 UTC 1970"),
            (951_782_399, "Feb 28 23:59:59 UTC 2000"),
            (951_782_400, "Feb 29 00:00:00 UTC 2000"),
            (978_307_199, "Dec 31 23:59:59 UTC 2000"),
            (1_763_836_205, "Nov 22 18:30:05 UTC 2025"),
            (4_107_542_400, "Mar 01 00:00:00 UTC 2100"),
            (13_569_465_600, "Jan 01 00:00:00 UTC 2400"),
        ] {
            assert_eq!(utc(seconds), text);
        }
    }

    #[test]
    fn uptimes_have_one_unit() {
        for (seconds, text) in [
            (0, "0 seconds"),
            (120, "120 seconds"),
            (121, "2 minutes"),
            (10_000, "2 hours"),
            (200_000, "2 days"),
        ] {
            assert_eq!(running(Duration::from_secs(seconds)), text);
        }
    }
}

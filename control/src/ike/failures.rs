//! The last failures, for `adit explain`.

use std::collections::VecDeque;

use adit_ike::endpoint::Failure;

/// Failures kept of all connections together.
const MOST: usize = 256;
/// Failures kept of one connection, and of peers that no connection fits: one cannot drive out the others'.
const MOST_OF_ONE: usize = 16;

/// A failure, and how often the same came in a row.
#[derive(Clone, Debug)]
pub struct Told {
    /// The failure.
    pub failure: Failure,
    /// When it came last, seconds since 1970-01-01 00:00 UTC.
    pub at: u64,
    /// How often in a row.
    pub times: u64,
}

/// The last failures, the newest first.
#[derive(Debug, Default)]
pub struct Failures(VecDeque<Told>);

impl Failures {
    /// Keeps a failure. `at` is in seconds since 1970-01-01 00:00 UTC.
    pub fn keep(&mut self, failure: Failure, at: u64) {
        let same = |told: &Told| {
            told.failure.connection == failure.connection
                && told.failure.remote == failure.remote
                && told.failure.child == failure.child
                && told.failure.reason == failure.reason
        };
        let mut times = 1;
        if let Some(place) = self.0.iter().position(same)
            && let Some(earlier) = self.0.remove(place)
        {
            times += earlier.times;
        }
        let of_one = |told: &Told| told.failure.connection == failure.connection;
        if self.0.iter().filter(|t| of_one(t)).count() >= MOST_OF_ONE
            && let Some(oldest) = self.0.iter().rposition(of_one)
        {
            self.0.remove(oldest);
        }
        self.0.push_front(Told { failure, at, times });
        self.0.truncate(MOST);
    }

    /// Those of one connection, or all of them; the newest first.
    pub fn of<'a>(&'a self, connection: Option<&'a str>) -> impl Iterator<Item = &'a Told> {
        self.0.iter().filter(move |told| {
            connection.is_none_or(|name| told.failure.connection.as_deref() == Some(name))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use adit_ike::endpoint::Reason;

    use super::*;

    fn failure(connection: Option<&str>, what: usize) -> Failure {
        Failure {
            ike: None,
            connection: connection.map(Arc::from),
            child: None,
            local: ([192, 0, 2, 1], 500).into(),
            remote: ([192, 0, 2, 2], 500).into(),
            reason: Reason::Local(format!("number {what}")),
        }
    }

    #[test]
    fn one_that_repeats_is_kept_once_and_none_drives_out_another_connections() {
        let mut failures = Failures::default();
        failures.keep(failure(Some("gw"), 0), 1);
        for at in 2..5 {
            failures.keep(failure(None, 0), at);
        }
        let unknown: Vec<_> = failures.of(None).filter(|t| t.times == 3).collect();
        assert_eq!((unknown.len(), unknown[0].at), (1, 4));
        for what in 0..1000 {
            failures.keep(failure(None, what), 10);
        }
        assert_eq!(failures.of(Some("gw")).count(), 1);
        assert_eq!(failures.of(None).count(), 1 + MOST_OF_ONE);
    }
}

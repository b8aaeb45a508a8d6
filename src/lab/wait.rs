//! Waiting for a condition, with a deadline, instead of sleeping.

use std::time::{Duration, Instant};

use super::LabError;

/// How often a condition is looked at.
const STEP: Duration = Duration::from_millis(5);

/// Looks until `condition` gives a value.
///
/// # Errors
/// [`LabError::Timeout`] naming `what` when `limit` has passed, with the last words of `condition`; or at once the error that it raised.
pub fn until<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<Look<T>, LabError>,
) -> Result<T, LabError> {
    let start = Instant::now();
    loop {
        let last_words = match condition()? {
            Look::Ready(value) => return Ok(value),
            Look::NotYet(why) => why,
        };
        if start.elapsed() >= limit {
            return Err(LabError::Timeout {
                what: what.to_owned(),
                waited: limit,
                tail: last_words,
            });
        }
        std::thread::sleep(STEP);
    }
}

/// One look at a condition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Look<T> {
    /// It holds.
    Ready(T),
    /// It does not hold yet; the text goes into the error if it never does.
    NotYet(String),
}

impl Look<()> {
    /// A look at a plain condition with nothing to say about why it does not hold.
    pub fn at(holds: bool) -> Self {
        if holds {
            Look::Ready(())
        } else {
            Look::NotYet(String::new())
        }
    }
}

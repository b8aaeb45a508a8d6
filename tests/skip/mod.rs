//! How a test says that it could not run.
//!
//! [`skip!`] prints `SKIP <test>: <reason>` past the harness's capture and, where `ADIT_SKIP_LOG` names a
//! file, appends that line there without the word. The harness counts the test as passed, so whoever
//! counts takes the file's lines off the passed ones. A test binary takes this in with
//! `#[macro_use] #[path = "../skip/mod.rs"] mod skip;`.

use std::fmt;
use std::fs::OpenOptions;
use std::io::{self, Write};

/// Leaves the test as skipped, for a reason worded as by `format!`.
macro_rules! skip {
    ($($reason:tt)+) => {{
        fn here() {}
        $crate::skip::report(::std::any::type_name_of_val(&here), format_args!($($reason)+));
        return;
    }};
}

/// The value of an `Ok`; an `Err` says why the test must be skipped.
#[allow(unused_macros, reason = "not every test binary has peers to miss")]
macro_rules! or_skip {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(reason) => skip!("{reason}"),
        }
    };
}

/// Says loudly that the test around the function `inside` did not run.
pub fn report(inside: &str, reason: fmt::Arguments<'_>) {
    let test = inside.trim_end_matches("::here");
    // One write each, so that lines of parallel tests do not mix. `eprintln!` would be captured.
    let _ = io::stderr().write_all(format!("SKIP {test}: {reason}\n").as_bytes());
    if let Some(log) = std::env::var_os("ADIT_SKIP_LOG") {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&log)
            .and_then(|mut file| file.write_all(format!("{test}: {reason}\n").as_bytes()))
            .unwrap_or_else(|error| panic!("ADIT_SKIP_LOG {}: {error}", log.display()));
    }
}

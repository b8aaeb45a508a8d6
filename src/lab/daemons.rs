//! Where adit's own daemons are found.

use std::path::{Path, PathBuf};

use super::LabError;

/// The environment variable that names the directory of the daemons, for tests of a build other than their own.
const BIN_DIR: &str = "ADIT_BIN_DIR";

/// The paths of both daemons, of one build.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Daemons {
    /// `adit-control`.
    pub control: PathBuf,
    /// `adit-dataplane`.
    pub dataplane: PathBuf,
}

impl Daemons {
    /// Looks in the directory that `ADIT_BIN_DIR` names, else beside the running executable; a test's executable lies one directory
    /// further down.
    ///
    /// # Errors
    /// [`LabError::MissingDaemon`] if one is not there.
    pub fn find() -> Result<Self, LabError> {
        if let Some(dir) = std::env::var_os(BIN_DIR) {
            return Self::of(Path::new(&dir));
        }
        let me =
            std::env::current_exe().map_err(|e| LabError::io("find the running executable", e))?;
        let beside = me.parent().unwrap_or(Path::new("/"));
        if beside.ends_with("deps")
            && let Some(above) = beside.parent()
        {
            return Self::of(above);
        }
        Self::of(beside)
    }

    fn of(dir: &Path) -> Result<Self, LabError> {
        let daemon = |name: &'static str| {
            let path = dir.join(name);
            if path.is_file() {
                Ok(path)
            } else {
                Err(LabError::MissingDaemon {
                    name,
                    looked_in: dir.to_owned(),
                })
            }
        };
        Ok(Daemons {
            control: daemon("adit-control")?,
            dataplane: daemon("adit-dataplane")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_daemon_is_named() {
        let dir = std::env::temp_dir().join(format!("adit-daemons-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("a directory");
        std::fs::write(dir.join("adit-control"), "").expect("a file");
        let error = Daemons::of(&dir).expect_err("one is missing").to_string();
        std::fs::write(dir.join("adit-dataplane"), "").expect("a file");
        let both = Daemons::of(&dir);
        std::fs::remove_dir_all(&dir).expect("removed");
        assert!(error.starts_with("adit-dataplane is neither in"), "{error}");
        assert_eq!(both.expect("both").control, dir.join("adit-control"));
    }
}

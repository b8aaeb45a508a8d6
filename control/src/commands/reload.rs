//! `reload-settings`: the configuration file is read again.

use adit_vici::Message;

use crate::gateway::Gateway;
use crate::vici::{failure, success};

impl Gateway {
    pub(super) fn reload_settings(&mut self) -> Message {
        match self.reload() {
            Ok(done) => success()
                .with_list("added", done.added)
                .with_list("replaced", done.replaced)
                .with_list("removed", done.removed)
                .with_list("used-up", done.used_up)
                .with_list("restart", done.restart),
            Err(e) => failure(e.to_string()),
        }
    }
}

//! What the commands of the control socket mean; `docs/control-socket.md` describes them for their users.

mod arguments;
mod certificates;
mod connections;
mod credentials;
mod explain;
mod list;
mod policy;
mod pools;
mod reload;
mod sa;
mod statistics;
mod status;

use crate::gateway::Gateway;
use crate::vici::replies::{self, Version};
use crate::vici::{Answer, Commands, Reply, Request, failure, success};

/// Events that clients may register for.
const EVENTS: &[&str] = &[
    "list-sa",
    "list-policy",
    "list-conn",
    "list-cert",
    "list-authority",
    "ike-updown",
    "child-updown",
    "control-log",
    "adit-event",
    "adit-failure",
];

impl Commands for Gateway {
    fn handle(&mut self, request: Request<'_>, reply: &mut Reply<'_>) -> Answer {
        let message = request.message;
        let done = |result: Result<(), String>| {
            Answer::Done(match result {
                Ok(()) => success(),
                Err(reason) => failure(reason),
            })
        };
        match request.name {
            "version" => Answer::Done(replies::version(&Version::here())),
            "stats" => Answer::Done(self.stats()),
            "list-sas" => self.list_sas(message, request.cursor, reply),
            "list-policies" => self.list_policies(message, request.cursor, reply),
            "sa-add" => self.sa_add(message, reply),
            "sa-delete" => done(self.sa_delete(message)),
            "sa-migrate" => self.sa_migrate(message, reply),
            "policy-add" => done(self.policy_add(message)),
            "policy-delete" => done(self.policy_delete(message)),
            "policy-explain" => Answer::Done(self.policy_explain(message).unwrap_or_else(failure)),
            "release-held" => done(self.release(message)),
            "adit-status" => Answer::Done(self.status()),
            "adit-stats" => Answer::Done(self.statistics()),
            "reload-settings" => Answer::Done(self.reload_settings()),
            "load-conn" => done(self.load_conn(message)),
            "unload-conn" => done(self.unload_conn(message)),
            "get-conns" => Answer::Done(self.get_conns()),
            "list-conns" => self.list_conns(message, request.cursor, reply),
            "load-shared" => done(self.load_shared(message)),
            "unload-shared" => done(self.unload_shared(message)),
            "get-shared" => Answer::Done(self.get_shared()),
            "clear-creds" => {
                self.clear_creds();
                Answer::Done(success())
            }
            "load-cert" => done(self.load_cert(message)),
            "load-key" => Answer::Done(self.load_key(message).unwrap_or_else(failure)),
            "unload-key" => done(self.unload_key(message)),
            "get-keys" => Answer::Done(self.get_keys()),
            "load-authority" => done(self.load_authority(message)),
            "unload-authority" => done(self.unload_authority(message)),
            "get-authorities" => Answer::Done(self.get_authorities()),
            "list-authorities" => self.list_authorities(message, reply),
            "list-certs" => self.list_certs(message, request.cursor, reply),
            "flush-certs" => done(self.flush_certs(message)),
            "load-pool" => done(self.load_pool(message)),
            "unload-pool" => done(self.unload_pool(message)),
            "get-pools" => Answer::Done(self.get_pools(message).unwrap_or_else(failure)),
            "initiate" => self.initiate(message, reply),
            "terminate" => Answer::Done(self.terminate(message).unwrap_or_else(failure)),
            "rekey" => Answer::Done(self.rekey(message).unwrap_or_else(failure)),
            "adit-explain" => done(self.explain(message, reply)),
            "adit-open" => done(self.open().map_err(|e| e.to_string())),
            _ => Answer::Unknown,
        }
    }

    fn knows_event(&self, event: &str) -> bool {
        EVENTS.contains(&event)
    }
}

//! What the engine tells people and programs: the log, VICI's events, commands that wait, `adit explain`.

use adit_ike::endpoint::{ChildInfo, Event, IkeInfo};
use adit_vici::Message;
use tracing::{info, warn};

use crate::clock;
use crate::gateway::Gateway;
use crate::vici::listings::{Endpoint, IkeSa, list_sa};

impl Gateway {
    pub(super) fn ike_event(&mut self, event: &Event) {
        match event {
            Event::IkeUp(ike) => {
                info!(connection = %ike.connection, remote = %ike.remote, "IKE SA established");
                self.tell_log(ike, "IKE SA established");
                self.settle_initiations(&ike.connection, None, &Ok(()));
                self.tell_updown("ike-updown", ike, &[], true);
            }
            Event::IkeDown { ike, why } => {
                info!(connection = %ike.connection, remote = %ike.remote, ?why, "IKE SA gone");
                self.tell_updown("ike-updown", ike, &[], false);
            }
            Event::ChildUp { ike, child } => {
                info!(connection = %ike.connection, child = %child.name, remote = %ike.remote, "child SA up");
                self.tell_log(ike, &format!("child SA {} established", child.name));
                self.settle_initiations(&ike.connection, Some(&child.name), &Ok(()));
                self.tell_updown("child-updown", ike, std::slice::from_ref(child), true);
            }
            Event::ChildDown { ike, child, why } => {
                info!(connection = %ike.connection, child = %child.name, remote = %ike.remote, ?why, "child SA gone");
                self.tell_updown("child-updown", ike, std::slice::from_ref(child), false);
            }
            Event::IkeRekeyed { new, .. } => {
                info!(connection = %new.connection, remote = %new.remote, "IKE SA rekeyed");
            }
            Event::IkeMoved { ike } => {
                info!(connection = %ike.connection, remote = %ike.remote, "IKE SA moved");
            }
            Event::ChildRekeyed { ike, new, .. } => {
                info!(connection = %ike.connection, child = %new.name, "child SA rekeyed");
            }
            Event::Failed(failure) => {
                let (connection, child) = (failure.connection.as_deref(), failure.child.as_deref());
                // What strangers can cause is told at a bounded rate; `adit explain` counts it all.
                if self
                    .limit
                    .admit("ike-failed", std::time::Instant::now())
                    .is_some()
                {
                    warn!(
                        connection, child, local = %failure.local, remote = %failure.remote,
                        "{}", failure.reason
                    );
                }
                if let Some(connection) = connection {
                    let reason = Err(failure.reason.to_string());
                    self.settle_initiations(connection, child, &reason);
                }
                self.ike
                    .failures
                    .keep(failure.clone(), clock::wall_seconds());
            }
        }
    }

    fn tell_updown(
        &mut self,
        event: &'static str,
        ike: &IkeInfo,
        children: &[ChildInfo],
        up: bool,
    ) {
        let mut message = Message::new();
        if up {
            message.add("up", "yes");
        }
        let listed = self.listed(ike, children, "ESTABLISHED");
        message.append(list_sa(&listed));
        self.raise(event, message);
    }

    /// `swanctl --initiate` prints these.
    fn tell_log(&mut self, ike: &IkeInfo, text: &str) {
        let message = Message::new()
            .with("group", "IKE")
            .with("level", "1")
            .with("ikesa-name", &*ike.connection)
            .with("ikesa-uniqueid", ike.id.to_string())
            .with("msg", text);
        self.raise("control-log", message);
    }

    /// An IKE SA and these of its children, as `list-sas` shows them.
    pub(crate) fn listed(&self, ike: &IkeInfo, children: &[ChildInfo], state: &str) -> IkeSa {
        let end = |at: std::net::SocketAddr, id: &Option<adit_ike::identity::Identity>| Endpoint {
            host: at.ip().to_string(),
            port: at.port(),
            id: id.as_ref().map_or("%any".to_owned(), ToString::to_string),
        };
        IkeSa {
            name: ike.connection.to_string(),
            unique_id: ike.id.0.into(),
            version: 2,
            state: state.to_owned(),
            local: end(ike.local, &ike.local_id),
            remote: end(ike.remote, &ike.remote_id),
            initiator: ike.initiator,
            initiator_spi: ike.spi_i,
            responder_spi: ike.spi_r,
            established: None,
            children: children
                .iter()
                .filter_map(|c| self.listed_child(c))
                .collect(),
        }
    }
}

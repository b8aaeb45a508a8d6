//! Bringing connections up.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::ask::Asker;
use super::{Answer, Ask, Endpoint, Event, Failure, Output, Reason, Starts};
use crate::config::{Action, Connection, Host};
use crate::time::Instant;
use crate::v2::init;

/// A connection that is to be brought up, once its addresses are known.
pub(crate) struct Initiation {
    connection: Arc<Connection>,
    starts: Starts,
}

impl Endpoint {
    /// Brings up a child, or an IKE SA with the children that start with it.
    pub(super) fn initiate(&mut self, now: Instant, connection: &str, child: Option<&str>) {
        let Some(connection) = self
            .connections
            .iter()
            .find(|c| &*c.name == connection)
            .cloned()
        else {
            return self.cannot(None, "there is no connection of this name");
        };
        let mut starts = Starts::default();
        match child.map(|name| connection.child(name)) {
            Some(Some(child)) => starts.children.push_back(child.clone()),
            Some(None) => {
                return self.cannot(
                    Some(&connection),
                    "the connection has no child of this name",
                );
            }
            None => {
                let starting = connection.children.iter();
                let wanted = starting.filter(|c| c.start_action == Action::Start);
                starts.children.extend(wanted.cloned());
            }
        }
        if !self.add_to_existing(now, &connection, &starts) {
            self.ask_addresses(now, connection, starts);
        }
    }

    /// Brings children up on an IKE SA that is there or on its way; whether there is one.
    fn add_to_existing(&mut self, now: Instant, connection: &Connection, starts: &Starts) -> bool {
        let of = self
            .sas
            .values()
            .filter(|sa| sa.connection.name == connection.name);
        let mut usable: Vec<_> = of
            .filter(|sa| sa.takes_children())
            .map(|sa| sa.id)
            .collect();
        usable.sort_unstable();
        let Some(&id) = usable.first() else {
            return self
                .retries
                .iter()
                .any(|(_, c, _)| c.name == connection.name);
        };
        self.with_sa(now, id, |sa, cx| {
            for child in &starts.children {
                sa.want_child(cx, child);
            }
            sa.next_task(cx);
        });
        true
    }

    /// Another try, if the connection wants it.
    pub(super) fn initiate_again(
        &mut self,
        now: Instant,
        connection: Arc<Connection>,
        mut starts: Starts,
    ) {
        starts.tries = starts.tries.saturating_add(1);
        let tries = connection.keyingtries;
        // A connection that was taken away meanwhile is not wanted any more.
        let wanted = self.connections.iter().any(|c| c.name == connection.name);
        if wanted && (tries == 0 || starts.tries < tries) {
            let at = now + self.settings.retry_delay;
            self.retries.push((at, connection, starts));
        }
    }

    pub(super) fn ask_addresses(
        &mut self,
        now: Instant,
        connection: Arc<Connection>,
        starts: Starts,
    ) {
        let known = match (&connection.local_addrs[..], &connection.remote_addrs[..]) {
            ([Host::Address(local)], [Host::Address(remote)]) => Some((*local, *remote)),
            _ => None,
        };
        if let Some(addresses) = known {
            return self.start(now, connection, starts, addresses);
        }
        let ask = Ask::Addresses {
            connection: connection.name.clone(),
            local: connection.local_addrs.clone(),
            remote: connection.remote_addrs.clone(),
        };
        let initiation = Box::new(Initiation { connection, starts });
        let id = self.asks.add(Asker::Initiation(initiation));
        self.outputs.push_back(Output::Ask { id, ike: None, ask });
    }

    pub(super) fn addresses_answered(
        &mut self,
        now: Instant,
        initiation: Initiation,
        answer: Answer,
    ) {
        let Initiation { connection, starts } = initiation;
        match answer {
            Answer::Addresses(Some(addresses)) => self.start(now, connection, starts, addresses),
            _ => self.cannot(Some(&connection), "no address of the peer, or no way to it"),
        }
    }

    fn start(
        &mut self,
        now: Instant,
        connection: Arc<Connection>,
        starts: Starts,
        (local, remote): (IpAddr, IpAddr),
    ) {
        let port = match connection.local_port {
            0 => self.settings.port,
            port => port,
        };
        let ends = (
            SocketAddr::new(local, port),
            SocketAddr::new(remote, connection.remote_port),
        );
        let id = self.numbers.ike();
        let mut begun = None;
        let effects = self.context(now, |cx| {
            begun = init::start(cx, id, connection, ends, starts);
        });
        if let Some(sa) = begun {
            self.settle(Box::new(sa));
        }
        self.apply(now, effects);
    }

    fn cannot(&mut self, connection: Option<&Connection>, why: &str) {
        let nowhere = SocketAddr::from(([0, 0, 0, 0], 0));
        self.outputs
            .push_back(Output::Event(Box::new(Event::Failed(Failure {
                ike: None,
                connection: connection.map(|c| c.name.clone()),
                child: None,
                local: nowhere,
                remote: nowhere,
                reason: Reason::Local(why.into()),
            }))));
    }
}

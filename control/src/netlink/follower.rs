//! The mirror at work: reads everything once, then follows; resolves neighbours when asked to.

use std::collections::BTreeSet;
use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use adit_abi::PolicyWriter;
use tracing::{info, warn};

use super::mirror::{Effect, Mirror, MirrorPort};
use super::request::Table;
use super::resolving::Resolving;
use super::route_socket::{Asker, Heard, Listener};
use super::update::{Link, Update};

/// Datagrams taken in one go, so that a storm of changes does not stall the loop.
const DATAGRAMS: usize = 64;

/// Keeps the table like the kernel's.
pub struct Follower {
    listener: Listener,
    asker: Asker,
    mirror: Mirror,
    resolving: Resolving,
    reread: bool,
}

impl Follower {
    /// Listens, then reads the interfaces and their addresses; routes and neighbours come with
    /// [`Follower::read_all`], once the ports are known.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn open(table: &mut PolicyWriter) -> io::Result<Self> {
        let mut this = Self {
            listener: Listener::open()?,
            asker: Asker::open()?,
            mirror: Mirror::new(&[]),
            resolving: Resolving::default(),
            reread: false,
        };
        this.read_links(table)?;
        Ok(this)
    }

    /// The socket that becomes readable when something changed.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// For requests of others.
    pub fn asker(&mut self) -> &mut Asker {
        &mut self.asker
    }

    /// What is known.
    pub fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// The numbers of the interfaces that went since this was asked last.
    pub fn take_gone(&mut self) -> BTreeSet<u32> {
        self.mirror.take_gone()
    }

    /// An interface by its name; asks the kernel if it is not known.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn find_link(&mut self, table: &mut PolicyWriter, name: &str) -> io::Result<Option<Link>> {
        if self.mirror.link(name).is_none() {
            for update in self.asker.dump(Table::Links)? {
                self.mirror.apply(table, update);
            }
        }
        Ok(self.mirror.link(name).cloned())
    }

    /// Adds a port, or gives one another interface; call [`Follower::read_all`] afterwards.
    pub fn set_port(&mut self, port: MirrorPort) {
        self.mirror.set_port(port);
    }

    /// The interface of a port.
    pub fn port_ifindex(&self, number: u8) -> Option<u32> {
        self.mirror.port_ifindex(number)
    }

    /// Reads the interfaces and their addresses afresh.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read_links(&mut self, table: &mut PolicyWriter) -> io::Result<Effect> {
        let links = self.asker.dump(Table::Links)?;
        let addresses = self.asker.dump(Table::Addresses)?;
        let effect = self.mirror.reread_links(table, links, addresses);
        self.finish(table, effect);
        Ok(effect)
    }

    /// Reads everything afresh. What stays as it was is not touched.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read_all(&mut self, table: &mut PolicyWriter) -> io::Result<Effect> {
        let mut effect = self.read_links(table)?;
        effect = effect.and(self.read_routes(table)?);
        let neighbours = self.asker.dump(Table::Neighbours)?;
        effect = effect.and(self.mirror.reread_neighbours(table, neighbours));
        self.reread = false;
        self.finish(table, effect);
        Ok(effect)
    }

    fn read_routes(&mut self, table: &mut PolicyWriter) -> io::Result<Effect> {
        let routes = self.asker.dump(Table::Routes)?;
        Ok(self.mirror.reread_routes(table, routes))
    }

    /// Writes everything into a table that has no routes and neighbours yet.
    pub fn replay(&mut self, table: &mut PolicyWriter) {
        let effect = self.mirror.replay(table);
        self.finish(table, effect);
    }

    /// Takes in what changed; returns the effect, and whether more waits.
    ///
    /// # Errors
    /// When a socket fails.
    pub fn follow(&mut self, table: &mut PolicyWriter) -> io::Result<(Effect, bool)> {
        let mut effect = Effect::default();
        let mut more = true;
        for _ in 0..DATAGRAMS {
            match self.listener.hear()? {
                Heard::Messages(messages) => {
                    for update in messages.iter().filter_map(Update::read) {
                        self.keep_fresh(&update);
                        effect = effect.and(self.mirror.apply(table, update));
                    }
                }
                Heard::Nothing => {
                    more = false;
                    break;
                }
                Heard::Overrun => {
                    info!("the kernel's changes came too fast: reading everything afresh");
                    self.listener.discard()?;
                    effect = effect.and(self.read_all(table)?);
                    effect.missed = true;
                    self.reread = false;
                }
            }
        }
        self.reread |= effect.reread;
        if self.reread && !more {
            self.reread = false;
            effect = effect.and(self.read_routes(table)?);
        }
        self.finish(table, effect);
        Ok((effect, more))
    }

    fn finish(&self, table: &mut PolicyWriter, effect: Effect) {
        if effect.refused > 0 {
            warn!(
                refused = effect.refused,
                "the tables are full: raise `gateway.table.routes` or `gateway.table.neighbours`"
            );
        }
        if effect.forwarding {
            table.forwarding_changed();
        }
    }

    /// Has the kernel resolve a neighbour of an interface, if it was not asked to just now.
    pub fn resolve(&mut self, ifindex: u32, address: IpAddr, now: Instant) {
        if self.resolving.ask(ifindex, address, now)
            && let Err(e) = self.asker.resolve(ifindex, address)
        {
            tracing::debug!(%address, "the kernel does not resolve: {e}");
        }
    }

    /// A neighbour that was asked for and is there now is kept: the kernel sees none of the traffic to it. One
    /// that never answers is not, or a scan would have the kernel probe for ever.
    fn keep_fresh(&mut self, update: &Update) {
        let Update::Neighbour(n) = update else { return };
        let ip = IpAddr::from(n.address);
        if n.mac.is_some()
            && self.resolving.is_found(n.ifindex, ip)
            && let Err(e) = self.asker.keep_fresh(n.ifindex, ip)
        {
            tracing::debug!(address = %ip, "the kernel does not keep it fresh: {e}");
        }
    }
}

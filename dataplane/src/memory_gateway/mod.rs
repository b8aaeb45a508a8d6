//! A whole gateway over ports in memory: a worker with hand-made regions, no privileges, no threads.
//!
//! For tests, fuzz targets and benches. A [`MemoryGateway`] has three wires, for the inside, the outside
//! and the host's TUN port; what is injected into one comes out of another after [`MemoryGateway::run`]:
//!
//! ```
//! use adit_dataplane::memory_gateway::{MemoryGateway, TunnelPlan};
//!
//! // Two gateways with one tunnel between them; `a` has a host 10.1.0.2 inside, `b` 10.2.0.2.
//! let (mut a, mut b) = MemoryGateway::pair(&TunnelPlan::default());
//! # let ip_packet = [0u8; 20];
//! a.from_inside(&ip_packet); // an IP packet; Ethernet is put around it
//! a.run();
//! for frame in a.outside.drain() {
//!     // an Ethernet frame with the sealed packet, to look at, to change, or to carry over:
//!     b.from_outside(&frame[14..]);
//! }
//! b.run();
//! for frame in b.inside.drain() { /* the same packet again */ }
//! ```
//!
//! [`MemoryGateway::policy`] and [`MemoryGateway::state`] are the real regions: change them as control and
//! the steward would, then call [`MemoryGateway::refresh`].

mod plan;

use std::net::IpAddr;
use std::sync::Arc;

use adit_abi::{
    Action, Address, Capacity, Direction, DropReason, Event, EventReader, NeighbourRecord,
    PolicyReader, PolicyRecord, PolicyWriter, PortRecord, Prefix, RouteKind, RouteRecord, SaRecord,
    SaRef, Selector, Settings, Side, Spi, StateRegion, WorkerCounter,
};

use crate::frame::{HugePages, Umem};
use crate::port::Port;
use crate::port::memory::{MemoryPort, Wire};
use crate::snapshot::Snapshot;
use crate::worker::{Change, Worker, WorkerPort};

pub use plan::{Site, TunnelPlan, tunnel_sa};

/// Number of the inside port.
pub const INSIDE: u8 = 0;
/// Number of the outside port.
pub const OUTSIDE: u8 = 1;
/// Number of the host's port.
pub const HOST: u8 = 2;

/// Frames that a wire holds in each direction.
pub const WIRE: u32 = 96;

/// Ethernet address of every host and peer on the wires.
pub const NEIGHBOUR_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0x99];

/// A worker with its regions and the far ends of its ports.
pub struct MemoryGateway {
    /// Its addresses.
    pub site: Site,
    /// The worker.
    pub worker: Worker,
    /// The far end of the inside port.
    pub inside: Wire,
    /// The far end of the outside port.
    pub outside: Wire,
    /// The far end of the host's port.
    pub host: Wire,
    /// The policy region, for writing.
    pub policy: PolicyWriter,
    /// The policy region as the worker reads it.
    pub reader: Arc<PolicyReader>,
    /// The state region.
    pub state: Arc<StateRegion>,
    /// The UMEM.
    pub umem: &'static Umem,
    /// The clock, `CLOCK_BOOTTIME` nanoseconds: it stands still unless it is set.
    pub now: u64,
    snapshot: Arc<Snapshot>,
    events: EventReader,
    plan: TunnelPlan,
}

/// A worker over three new ports, and the far ends of those: inside, outside, host.
fn start(
    number: usize,
    umem: &'static Umem,
    reader: &Arc<PolicyReader>,
    state: &Arc<StateRegion>,
    snapshot: &Arc<Snapshot>,
    plan: TunnelPlan,
    wrap: &mut dyn FnMut(MemoryPort) -> Box<dyn Port + Send>,
) -> (Worker, [Wire; 3]) {
    let mut ports = Vec::new();
    let sides = [
        (INSIDE, Side::Inside),
        (OUTSIDE, Side::Outside),
        (HOST, Side::Host),
    ];
    let wires = sides.map(|(number, side)| {
        let (port, wire) = MemoryPort::with_wire(umem, WIRE);
        ports.push(WorkerPort {
            number,
            side,
            port: wrap(port),
        });
        wire
    });
    let worker = Worker::new(
        number,
        Arc::clone(reader),
        Arc::clone(state),
        Arc::clone(snapshot),
        ports,
        umem.stock(plan.frames),
        plan.provider,
    );
    (worker, wires)
}

impl MemoryGateway {
    /// A gateway with ports, addresses, connected routes and neighbours, but neither policies nor SAs.
    ///
    /// # Panics
    /// When the system has no memory for it.
    pub fn new(site: Site, plan: &TunnelPlan) -> Self {
        Self::with_ports(site, plan, |port| Box::new(port))
    }

    /// The same, with every port wrapped by `wrap`, as a fault injector does.
    ///
    /// # Panics
    /// When the system has no memory for it.
    pub fn with_ports(
        site: Site,
        plan: &TunnelPlan,
        mut wrap: impl FnMut(MemoryPort) -> Box<dyn Port + Send>,
    ) -> Self {
        let capacity = Capacity {
            sas: 256,
            policies: 256,
            routes: 64,
            neighbours: 64,
            window: 8192,
        };
        let umem = Umem::new(3 * (plan.frames + 3 * WIRE), plan.chunk, HugePages::Off)
            .expect("memory for frames");
        let mut policy = PolicyWriter::create(&capacity, 0xad17).expect("memory for the region");
        let state = StateRegion::create(&capacity).expect("memory for the region");
        let state = Arc::new(StateRegion::open(state, true).expect("a region just made"));
        let fd = policy.reader().fd().try_clone_to_owned().expect("dup");
        let reader = Arc::new(PolicyReader::open(fd).expect("a region just made"));
        lay_out(&mut policy, site);
        // What has no SA is dropped at once; tests of holding change it.
        policy.set_settings(&Settings {
            hold_seconds: 0,
            ..Settings::default()
        });
        let snapshot = Arc::new(Snapshot::compile(&reader));
        let (worker, [inside, outside, host]) =
            start(0, umem, &reader, &state, &snapshot, *plan, &mut wrap);
        Self {
            site,
            worker,
            inside,
            outside,
            host,
            policy,
            reader,
            state,
            umem,
            now: 1_000_000_000_000,
            snapshot,
            events: EventReader::default(),
            plan: *plan,
        }
    }

    /// Two gateways with a tunnel between them, for both families inside. The keys are random.
    ///
    /// On either side the PROTECT policies are in slots 0 (IPv4) and 1 (IPv6), both linked to
    /// [`MemoryGateway::outbound`].
    ///
    /// # Panics
    /// When the system has no memory for it.
    pub fn pair(plan: &TunnelPlan) -> (Self, Self) {
        Self::pair_with_ports(plan, |port| Box::new(port))
    }

    /// The same, with every port of both wrapped by `wrap`.
    ///
    /// # Panics
    /// When the system has no memory for it.
    pub fn pair_with_ports(
        plan: &TunnelPlan,
        mut wrap: impl FnMut(MemoryPort) -> Box<dyn Port + Send>,
    ) -> (Self, Self) {
        let mut make = |n| Self::with_ports(Site(n), plan, &mut wrap);
        let (mut a, mut b) = (make(1), make(2));
        for (spi, from, to) in [(0x1001, 1, 2), (0x2001, 2, 1)] {
            let record = tunnel_sa(plan, Spi(spi), Site(from), Site(to));
            for gateway in [&mut a, &mut b] {
                let out = gateway.site == Site(from);
                let mut record = record;
                // The first of the two policies made below.
                record.policy = 1;
                record.direction = if out {
                    Direction::Outbound
                } else {
                    Direction::Inbound
                } as u8;
                gateway.add_sa(&record);
            }
        }
        for gateway in [&mut a, &mut b] {
            let (here, there) = (gateway.site, gateway.site.peer());
            for v6 in [false, true] {
                let selector = Selector::between(here.network(v6), there.network(v6));
                let slot = gateway.add_policy(selector, 100, Action::Protect);
                let out = gateway.outbound();
                gateway.policy.link(slot, Some(out));
            }
            gateway.refresh();
        }
        (a, b)
    }

    /// Replaces the worker and its ports, as a data plane that was killed and started again does; both
    /// regions stay.
    pub fn restart_worker(&mut self) {
        let (worker, [inside, outside, host]) = self.another_worker(0);
        self.worker = worker;
        (self.inside, self.outside, self.host) = (inside, outside, host);
    }

    /// A further worker over the same regions with three ports of its own, and their far ends: inside,
    /// outside, host. The UMEM has frames for two.
    pub fn another_worker(&self, number: usize) -> (Worker, [Wire; 3]) {
        start(
            number,
            self.umem,
            &self.reader,
            &self.state,
            &self.snapshot,
            self.plan,
            &mut |port| Box::new(port),
        )
    }

    /// The first outbound SA in the table.
    ///
    /// # Panics
    /// When there is none.
    pub fn outbound(&self) -> SaRef {
        self.first(Direction::Outbound)
    }

    /// The first inbound SA in the table.
    ///
    /// # Panics
    /// When there is none.
    pub fn inbound(&self) -> SaRef {
        self.first(Direction::Inbound)
    }

    fn first(&self, direction: Direction) -> SaRef {
        self.reader
            .sas()
            .find(|(_, record)| record.direction() == Some(direction))
            .map(|(sa, _)| sa)
            .expect("an SA of that direction")
    }

    /// Prepares an SA's state and publishes the SA, as steward and control do.
    ///
    /// # Panics
    /// When the table is full.
    pub fn add_sa(&mut self, record: &SaRecord) -> SaRef {
        let sa = self.policy.reserve_sa().expect("room for an SA");
        let state = self.state.sa(sa.slot).expect("a slot of the table");
        state.prepare(sa.generation, 0);
        self.policy.publish_sa(sa, record).expect("room for an SA");
        sa
    }

    /// Takes an SA away and publishes it again with changes, its state prepared anew.
    ///
    /// # Panics
    /// When there is no such SA.
    pub fn change_sa(&mut self, sa: SaRef, change: impl FnOnce(&mut SaRecord)) -> SaRef {
        let mut record = self.reader.sa(sa).expect("a live SA");
        change(&mut record);
        self.policy.remove_sa(sa);
        let new = self.add_sa(&record);
        for (slot, _, _) in self.reader.policies() {
            if self.reader.link(slot) == Some(sa) {
                self.policy.link(slot, Some(new));
            }
        }
        new
    }

    /// Moves an SA to other outer addresses or ports, as steward and control do; the record that it left stays.
    ///
    /// # Panics
    /// When there is no such SA, or no room.
    pub fn move_sa(&mut self, sa: SaRef, change: impl FnOnce(&mut SaRecord)) -> SaRef {
        let mut record = self.reader.sa(sa).expect("a live SA");
        change(&mut record);
        let new = self.policy.reserve_sa().expect("room for an SA");
        let state = self.state.sa(new.slot).expect("a slot of the table");
        state.share(new.generation, sa.slot);
        self.policy
            .publish_sa(new, &record)
            .expect("room for an SA");
        for (slot, _, _) in self.reader.policies() {
            if self.reader.link(slot) == Some(sa) {
                self.policy.link(slot, Some(new));
            }
        }
        new
    }

    /// Adds a policy; [`MemoryGateway::refresh`] makes it count.
    ///
    /// # Panics
    /// When the table is full.
    pub fn add_policy(&mut self, selector: Selector, priority: u64, action: Action) -> u32 {
        self.policy
            .insert_policy(&PolicyRecord::new(selector, priority, action))
            .expect("room for a policy")
    }

    /// Adds a route; [`MemoryGateway::refresh`] makes it count.
    ///
    /// # Panics
    /// When the table is full.
    pub fn add_route(
        &mut self,
        prefix: Prefix,
        kind: RouteKind,
        port: u8,
        gateway: Address,
    ) -> u32 {
        add_route(&mut self.policy, prefix, kind, port, gateway)
    }

    /// Adds a neighbour with the Ethernet address [`NEIGHBOUR_MAC`]; [`MemoryGateway::refresh`] makes it count.
    ///
    /// # Panics
    /// When the table is full.
    pub fn add_neighbour(&mut self, port: u8, address: Address) -> u32 {
        add_neighbour(&mut self.policy, port, address)
    }

    /// Changes a port's record.
    pub fn change_port(&mut self, port: u8, change: impl FnOnce(&mut PortRecord)) {
        if let Some(mut record) = self.reader.port(port.into()) {
            change(&mut record);
            self.policy.set_port(port.into(), Some(&record));
        }
    }

    /// Changes the settings.
    pub fn change_settings(&mut self, change: impl FnOnce(&mut Settings)) {
        let mut settings = self.reader.settings();
        change(&mut settings);
        self.policy.set_settings(&settings);
    }

    /// Compiles what has changed and hands it to the worker, as the steward does.
    pub fn refresh(&mut self) {
        self.policy.forwarding_changed();
        self.snapshot = Arc::new(self.snapshot.recompile(&self.reader));
        self.worker
            .apply(Change::Snapshot(Arc::clone(&self.snapshot)));
    }

    /// Sends an IP packet to the inside port, in an Ethernet frame addressed to it.
    pub fn from_inside(&mut self, ip: &[u8]) {
        let frame = ethernet(self.site.mac(INSIDE), ip);
        assert!(self.inside.inject(&frame), "the wire is full");
    }

    /// Sends an IP packet to the outside port, in an Ethernet frame addressed to it.
    pub fn from_outside(&mut self, ip: &[u8]) {
        let frame = ethernet(self.site.mac(OUTSIDE), ip);
        assert!(self.outside.inject(&frame), "the wire is full");
    }

    /// Sends an IP packet as the host's own kernel does.
    pub fn from_host(&mut self, ip: &[u8]) {
        let frame = ethernet([0; 6], ip);
        assert!(self.host.inject(&frame), "the wire is full");
    }

    /// Turns until nothing comes in any more; returns how many packets came.
    pub fn run(&mut self) -> usize {
        let mut received = 0;
        loop {
            match self.worker.turn(self.now) {
                0 => return received,
                n => received += n,
            }
        }
    }

    /// Drops for a reason so far.
    pub fn drops(&self, reason: DropReason) -> u64 {
        self.state.worker(0).drops(reason)
    }

    /// Every reason that drops were counted for, with how many.
    pub fn all_drops(&self) -> Vec<(DropReason, u64)> {
        DropReason::ALL
            .iter()
            .map(|reason| (*reason, self.drops(*reason)))
            .filter(|(_, n)| *n > 0)
            .collect()
    }

    /// A counter of the worker.
    pub fn counter(&self, counter: WorkerCounter) -> u64 {
        self.state.worker(0).value(counter)
    }

    /// The events pushed since the last call.
    pub fn events(&mut self) -> Vec<Event> {
        let ring = self.state.events(0);
        std::iter::from_fn(|| self.events.next(&ring).map(|(_, event, _)| event)).collect()
    }
}

fn lay_out(policy: &mut PolicyWriter, site: Site) {
    let sides = [
        (
            INSIDE,
            Side::Inside,
            site.gateway(false),
            site.gateway(true),
        ),
        (OUTSIDE, Side::Outside, site.outer(false), site.outer(true)),
        (HOST, Side::Host, Address::UNSPECIFIED, Address::UNSPECIFIED),
    ];
    for (number, side, v4, v6) in sides {
        let record = PortRecord {
            ifindex: u32::from(number) + 1,
            mtu: 1500,
            side: side as u8,
            reserved: 0,
            v4,
            v6,
            mac: site.mac(number),
            spare: [0; 10],
        };
        policy.set_port(number.into(), Some(&record));
    }
    for v6 in [false, true] {
        let outer = Site(0).outer(v6);
        let length = if v6 { 64 } else { 24 };
        let outside = Prefix::new(IpAddr::from(outer), length);
        let on_link = Address::UNSPECIFIED;
        if let Some(outside) = outside {
            add_route(policy, outside, RouteKind::Unicast, OUTSIDE, on_link);
        }
        add_route(
            policy,
            site.network(v6),
            RouteKind::Unicast,
            INSIDE,
            on_link,
        );
        for own in [site.gateway(v6), site.outer(v6)] {
            let own = Prefix::from_mapped(own, 128);
            add_route(policy, own, RouteKind::Local, 0, on_link);
        }
        add_neighbour(policy, INSIDE, site.host(v6));
        add_neighbour(policy, OUTSIDE, site.peer().outer(v6));
    }
    policy.forwarding_changed();
}

fn add_route(
    policy: &mut PolicyWriter,
    prefix: Prefix,
    kind: RouteKind,
    port: u8,
    gateway: Address,
) -> u32 {
    let record = RouteRecord {
        destination: prefix.address,
        gateway,
        length: prefix.length,
        kind: kind as u8,
        port,
        reserved: 0,
        metric: 0,
        mtu: 0,
        spare: [0; 12],
    };
    policy.insert_route(&record).expect("room for a route")
}

fn add_neighbour(policy: &mut PolicyWriter, port: u8, address: Address) -> u32 {
    let record = NeighbourRecord {
        address,
        mac: NEIGHBOUR_MAC,
        port,
        reserved: 0,
    };
    policy
        .insert_neighbour(&record)
        .expect("room for a neighbour")
}

/// An Ethernet frame from [`NEIGHBOUR_MAC`] around an IP packet.
pub fn ethernet(destination: [u8; 6], ip: &[u8]) -> Vec<u8> {
    let v6 = ip.first().is_some_and(|first| first >> 4 == 6);
    let ethertype: u16 = if v6 { 0x86dd } else { 0x0800 };
    let mut frame = Vec::with_capacity(14 + ip.len());
    frame.extend_from_slice(&destination);
    frame.extend_from_slice(&NEIGHBOUR_MAC);
    frame.extend_from_slice(&ethertype.to_be_bytes());
    frame.extend_from_slice(ip);
    frame
}

//! Ports, routes and neighbours: where an admitted or sealed packet goes.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::{Address, Prefix};

/// The protected or the unprotected side of the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Side {
    /// Protected.
    Inside = 0,
    /// Unprotected.
    Outside = 1,
    /// The gateway's own kernel, behind the TUN port.
    Host = 2,
}

impl Side {
    /// From the byte in shared memory or a message.
    pub const fn from_u8(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::Inside),
            1 => Some(Self::Outside),
            2 => Some(Self::Host),
            _ => None,
        }
    }

    /// `inside`, `outside` or `host`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Inside => "inside",
            Self::Outside => "outside",
            Self::Host => "host",
        }
    }
}

/// One port: a network interface, or the TUN interface of the host itself. Slot number = port number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PortRecord {
    /// The kernel's interface number.
    pub ifindex: u32,
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// A [`Side`].
    pub side: u8,
    /// Zero.
    pub reserved: u8,
    /// Source address for the IPv4 packets (ICMP errors) that the gateway itself sends here, or unspecified.
    pub v4: Address,
    /// The same for IPv6.
    pub v6: Address,
    /// Ethernet address.
    pub mac: [u8; 6],
    /// Zero.
    pub spare: [u8; 10],
}

const _: () = assert!(size_of::<PortRecord>() == 56);

impl PortRecord {
    /// The side, or `None` for an unknown byte.
    pub const fn side(&self) -> Option<Side> {
        Side::from_u8(self.side)
    }
}

/// What a route does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum RouteKind {
    /// Drop.
    Blackhole = 0,
    /// Forward through `port`, to `gateway` if there is one, else to the destination itself.
    Unicast = 1,
    /// The destination is the gateway itself: hand the packet to the kernel through the TUN port.
    Local = 2,
    /// Broadcast or multicast of a connected network: never forwarded.
    Broadcast = 3,
    /// Leads out of an interface that adit does not manage: hand the packet to the kernel through the TUN port.
    Kernel = 4,
}

impl RouteKind {
    /// From the byte in shared memory; unknown drops.
    pub const fn from_u8(n: u8) -> Self {
        match n {
            1 => Self::Unicast,
            2 => Self::Local,
            3 => Self::Broadcast,
            4 => Self::Kernel,
            _ => Self::Blackhole,
        }
    }
}

/// One route.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct RouteRecord {
    /// Network address.
    pub destination: Address,
    /// Next hop, or unspecified when the destination is on the link.
    pub gateway: Address,
    /// Prefix length in the 128-bit form (IPv4 /24 is 120).
    pub length: u8,
    /// A [`RouteKind`].
    pub kind: u8,
    /// Port number for [`RouteKind::Unicast`].
    pub port: u8,
    /// Zero.
    pub reserved: u8,
    /// The lowest of equal prefixes wins.
    pub metric: u32,
    /// Largest packet on this route in bytes, 0 for the port's.
    pub mtu: u32,
    /// Zero.
    pub spare: [u8; 12],
}

const _: () = assert!(size_of::<RouteRecord>() == 56);

impl RouteRecord {
    /// The prefix.
    pub fn prefix(&self) -> Prefix {
        Prefix::from_mapped(self.destination, self.length)
    }

    /// What it does.
    pub const fn kind(&self) -> RouteKind {
        RouteKind::from_u8(self.kind)
    }
}

/// One resolved neighbour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct NeighbourRecord {
    /// Its IP address.
    pub address: Address,
    /// Its Ethernet address.
    pub mac: [u8; 6],
    /// Number of the port it is reached through.
    pub port: u8,
    /// Zero.
    pub reserved: u8,
}

const _: () = assert!(size_of::<NeighbourRecord>() == 24);

/// Gateway-wide settings that the data plane follows; slot 0 of its own table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Settings {
    /// The [`crate::Action`] for traffic that no policy covers.
    pub unmatched: u8,
    /// 1 clamps TCP MSS to what fits the tunnel.
    pub clamp_mss: u8,
    /// NAT keepalive interval in seconds, 0 for none (RFC 3948 §4).
    pub keepalive_seconds: u16,
    /// ICMP errors a worker may send per second (RFC 1812 §4.3.2.8).
    pub icmp_per_second: u32,
    /// Seconds after which a learned path MTU is forgotten (RFC 1191 §6.3).
    pub path_mtu_seconds: u32,
    /// The smallest path MTU of IPv4 that a message from outside can bring about, in bytes (RFC 4301 §6.1.1);
    /// of IPv6 it is never less than 1280.
    pub least_path_mtu: u16,
    /// 1 believes plausible too-big messages from outside, 0 ignores them all (RFC 4301 §6.1.1).
    pub believe_too_big: u8,
    /// Zero.
    pub reserved: u8,
    /// Outer DSCP for each inner one, under [`crate::SaFlags::DSCP_MAP`].
    pub dscp_map: [u8; 64],
    /// Seconds for which packets are held for an SA that is not there, 0 holds none.
    pub hold_seconds: u16,
    /// Zero.
    pub reserved_2: [u8; 6],
    /// Zero.
    pub spare: [u64; 4],
}

const _: () = assert!(size_of::<Settings>() == 120);

impl Default for Settings {
    fn default() -> Self {
        Self {
            unmatched: crate::Action::Discard as u8,
            clamp_mss: 1,
            keepalive_seconds: 20,
            icmp_per_second: 1000,
            path_mtu_seconds: 600,
            least_path_mtu: 576,
            believe_too_big: 1,
            reserved: 0,
            dscp_map: std::array::from_fn(|dscp| dscp as u8),
            hold_seconds: 10,
            reserved_2: [0; 6],
            spare: [0; 4],
        }
    }
}

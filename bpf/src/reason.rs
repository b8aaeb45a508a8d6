//! What became of a frame, and why.

/// Why the program passed, redirected or dropped a frame; the numbers of `steer.bpf.c`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u32)]
pub enum Reason {
    /// ARP, LLDP, and whatever else the data plane has no business with.
    PassNotIp,
    /// To an address of this host.
    PassOwn,
    /// A DHCP server's answer to a port that has no IPv4 address yet.
    PassDhcp,
    /// Neighbour discovery to an own address that is otherwise protected.
    PassNd,
    /// IKE to an own address that is otherwise protected.
    PassIke,
    /// Multicast and broadcast: routing protocols, DHCP, neighbour discovery.
    PassMulticast,
    /// IPv6 link-local.
    PassLinkLocal,
    /// To somebody else.
    RedirectTransit,
    /// ESP to an own address, fragments included.
    RedirectEsp,
    /// AH to an own address, fragments included.
    RedirectAh,
    /// ESP in UDP, or a NAT keepalive, to an own address.
    RedirectNatT,
    /// A fragment of UDP to an own address: perhaps of IKE, perhaps of ESP in UDP.
    RedirectUdpFragment,
    /// An ICMP error about something that this host has sealed.
    RedirectIcmp,
    /// In clear to an own address that policy protects.
    RedirectProtected,
    /// Lengths or versions that contradict each other.
    DropMalformed,
    /// More than one VLAN tag.
    DropNestedVlan,
    /// Would have been redirected, and no data plane listens.
    DropNoSocket,
    /// Arrived on a port the program was told nothing about.
    DropNotConfigured,
}

impl Reason {
    /// Every reason, in the order of their numbers.
    pub const ALL: [Reason; 18] = [
        Reason::PassNotIp,
        Reason::PassOwn,
        Reason::PassDhcp,
        Reason::PassNd,
        Reason::PassIke,
        Reason::PassMulticast,
        Reason::PassLinkLocal,
        Reason::RedirectTransit,
        Reason::RedirectEsp,
        Reason::RedirectAh,
        Reason::RedirectNatT,
        Reason::RedirectUdpFragment,
        Reason::RedirectIcmp,
        Reason::RedirectProtected,
        Reason::DropMalformed,
        Reason::DropNestedVlan,
        Reason::DropNoSocket,
        Reason::DropNotConfigured,
    ];

    /// The name in statistics.
    pub const fn name(self) -> &'static str {
        match self {
            Reason::PassNotIp => "pass-not-ip",
            Reason::PassOwn => "pass-own",
            Reason::PassDhcp => "pass-dhcp",
            Reason::PassNd => "pass-nd",
            Reason::PassIke => "pass-ike",
            Reason::PassMulticast => "pass-multicast",
            Reason::PassLinkLocal => "pass-link-local",
            Reason::RedirectTransit => "redirect-transit",
            Reason::RedirectEsp => "redirect-esp",
            Reason::RedirectAh => "redirect-ah",
            Reason::RedirectNatT => "redirect-nat-t",
            Reason::RedirectUdpFragment => "redirect-udp-fragment",
            Reason::RedirectIcmp => "redirect-icmp",
            Reason::RedirectProtected => "redirect-protected",
            Reason::DropMalformed => "drop-malformed",
            Reason::DropNestedVlan => "drop-nested-vlan",
            Reason::DropNoSocket => "drop-no-socket",
            Reason::DropNotConfigured => "drop-not-configured",
        }
    }
}

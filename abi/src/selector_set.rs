//! Several selectors for one SA: what IKE agreed as lists of traffic selectors (RFC 7296 §2.9, RFC 4301 §4.4.2.1).

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::address::Address;
use crate::selector::{Flow, OPAQUE_PROTOCOL, PortRange, Selector, has_type};

/// One end of a selector: a range of addresses, a protocol and a range of ports (40 bytes in shared memory).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SelectorEnd {
    /// First address.
    pub first: Address,
    /// Last address.
    pub last: Address,
    /// Ports; for ICMP `type << 8 | code`, for the Mobility Header `type << 8`.
    pub ports: PortRange,
    /// IP protocol; 0 is ANY, [`OPAQUE_PROTOCOL`] is OPAQUE.
    pub protocol: u8,
    /// Zero.
    pub reserved: [u8; 3],
}

impl SelectorEnd {
    /// All traffic of these addresses.
    pub const fn new(first: Address, last: Address) -> Self {
        Self {
            first,
            last,
            ports: PortRange::ANY,
            protocol: 0,
            reserved: [0; 3],
        }
    }

    const NONE: Self = Self {
        first: Address([0xff; 16]),
        last: Address::UNSPECIFIED,
        ports: PortRange::OPAQUE,
        protocol: 0,
        reserved: [0; 3],
    };

    /// Whether this end covers a packet's address, protocol and port: see [`Selector::covers_shown`].
    fn covers(&self, address: &Address, protocol: u8, port: Option<u16>) -> Option<bool> {
        if !(self.first <= *address && *address <= self.last) {
            return None;
        }
        let same = self.protocol == 0 || self.protocol == protocol;
        match port {
            Some(port) => (same && self.ports.contains(port)).then_some(true),
            None if !same && protocol != OPAQUE_PROTOCOL => None,
            None => Some(same && matches!(self.ports, PortRange::ANY | PortRange::OPAQUE)),
        }
    }
}

/// The selectors of one SA as two lists: every pair of a local and a remote end that fit each other.
///
/// It lies in a table of its own in the policy region, so that the many SAs with one selector take no room for
/// more. An inbound SA, the outbound one beside it and those that replace them can share one.
#[derive(Clone, Copy, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SelectorSet {
    locals: u8,
    remotes: u8,
    reserved: [u8; 6],
    local: [SelectorEnd; SelectorSet::MAX],
    remote: [SelectorEnd; SelectorSet::MAX],
}

const _: () = assert!(size_of::<SelectorEnd>() == 40);
const _: () = assert!(size_of::<SelectorSet>() == 648);

impl SelectorSet {
    /// Ends in each of the two lists at most.
    pub const MAX: usize = 8;

    /// Two lists; `None` if one of them is empty or too long.
    pub fn new(local: &[SelectorEnd], remote: &[SelectorEnd]) -> Option<Self> {
        let mut set = Self {
            locals: u8::try_from(local.len()).ok()?,
            remotes: u8::try_from(remote.len()).ok()?,
            reserved: [0; 6],
            local: [SelectorEnd::NONE; Self::MAX],
            remote: [SelectorEnd::NONE; Self::MAX],
        };
        set.local.get_mut(..local.len())?.copy_from_slice(local);
        set.remote.get_mut(..remote.len())?.copy_from_slice(remote);
        (!local.is_empty() && !remote.is_empty()).then_some(set)
    }

    /// Ends of the protected side; of garbage no more than there can be.
    pub fn local(&self) -> &[SelectorEnd] {
        &self.local[..usize::from(self.locals).min(Self::MAX)]
    }

    /// Ends of the far side.
    pub fn remote(&self) -> &[SelectorEnd] {
        &self.remote[..usize::from(self.remotes).min(Self::MAX)]
    }

    /// Whether a flow is covered; the answers are those of [`Selector::covers_shown`].
    pub fn covers_shown(&self, flow: &Flow, ports: bool) -> Option<bool> {
        // Message types are one field of the packet, whichever end names them (RFC 7296 §3.13.1).
        let remote_port = if has_type(flow.protocol) {
            flow.local_port
        } else {
            flow.remote_port
        };
        let best = |ends: &[SelectorEnd], address, port: u16| {
            let port = ports.then_some(port);
            ends.iter()
                .filter_map(|end| end.covers(address, flow.protocol, port))
                .max()
        };
        let local = best(self.local(), &flow.local, flow.local_port)?;
        let remote = best(self.remote(), &flow.remote, remote_port)?;
        Some(local && remote)
    }

    /// Every pair of ends that fit each other, as single selectors.
    pub fn pairs(&self) -> impl Iterator<Item = Selector> {
        self.local().iter().flat_map(move |l| {
            self.remote()
                .iter()
                .filter_map(move |r| Selector::of_ends(l, r))
        })
    }

    /// The one selector that it is, if each list has one end.
    pub fn single(&self) -> Option<Selector> {
        match (self.local(), self.remote()) {
            ([l], [r]) => Selector::of_ends(l, r),
            _ => None,
        }
    }

    /// Whether everything that a selector covers is covered by one pair.
    pub fn contains(&self, inner: &Selector) -> bool {
        self.pairs().any(|pair| pair.contains(inner))
    }

    /// The smallest selector around all: addresses and protocol only.
    pub fn hull(&self) -> Selector {
        let (l, r) = (self.local(), self.remote());
        let first = |ends: &[SelectorEnd]| ends.iter().map(|e| e.first).min();
        let last = |ends: &[SelectorEnd]| ends.iter().map(|e| e.last).max();
        let none = Address::UNSPECIFIED;
        let mut protocols = l.iter().chain(r).map(|e| e.protocol);
        let one = protocols.next().unwrap_or(0);
        let protocol = if protocols.all(|p| p == one) { one } else { 0 };
        Selector {
            local_first: first(l).unwrap_or(none),
            local_last: last(l).unwrap_or(none),
            remote_first: first(r).unwrap_or(none),
            remote_last: last(r).unwrap_or(none),
            local_ports: PortRange::ANY,
            remote_ports: PortRange::ANY,
            protocol,
            reserved: [0; 7],
        }
    }
}

impl From<Selector> for SelectorSet {
    fn from(s: Selector) -> Self {
        let [local, remote] = s.ends();
        let mut set = Self {
            locals: 1,
            remotes: 1,
            reserved: [0; 6],
            local: [SelectorEnd::NONE; Self::MAX],
            remote: [SelectorEnd::NONE; Self::MAX],
        };
        (set.local[0], set.remote[0]) = (local, remote);
        set
    }
}

impl std::fmt::Debug for SelectorSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SelectorSet")
            .field("local", &self.local())
            .field("remote", &self.remote())
            .finish()
    }
}

impl Selector {
    /// The selector that two ends make together; `None` if they differ in family or protocol, or name two message
    /// types.
    pub fn of_ends(local: &SelectorEnd, remote: &SelectorEnd) -> Option<Self> {
        if local.first.is_v4() != remote.first.is_v4() {
            return None;
        }
        let protocol = match (local.protocol, remote.protocol) {
            (a, b) if a == b || b == 0 => a,
            (0, b) => b,
            _ => return None,
        };
        // One range of types, here always the local one.
        let (local_ports, remote_ports) = if has_type(protocol) {
            let ports = match (local.ports, remote.ports) {
                (a, b) if a == b || b == PortRange::ANY => a,
                (PortRange::ANY, b) => b,
                _ => return None,
            };
            (ports, PortRange::ANY)
        } else {
            (local.ports, remote.ports)
        };
        Some(Self {
            local_first: local.first,
            local_last: local.last,
            remote_first: remote.first,
            remote_last: remote.last,
            local_ports,
            remote_ports,
            protocol,
            reserved: [0; 7],
        })
    }

    /// Its two ends.
    pub fn ends(&self) -> [SelectorEnd; 2] {
        let end = |first, last, ports| SelectorEnd {
            first,
            last,
            ports,
            protocol: self.protocol,
            reserved: [0; 3],
        };
        [
            end(self.local_first, self.local_last, self.local_ports),
            end(self.remote_first, self.remote_last, self.remote_ports),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use zerocopy::FromZeros;

    fn end(last: [u8; 2], protocol: u8, ports: PortRange) -> SelectorEnd {
        let mut e = SelectorEnd::new(
            Address::v4([10, 0, 0, last[0]]),
            Address::v4([10, 0, 0, last[1]]),
        );
        (e.protocol, e.ports) = (protocol, ports);
        e
    }

    fn flow(local: u8, remote: u8, protocol: u8, ports: [u16; 2]) -> Flow {
        Flow {
            local: Address::v4([10, 0, 0, local]),
            remote: Address::v4([10, 0, 0, remote]),
            protocol,
            local_port: ports[0],
            remote_port: ports[1],
        }
    }

    #[test]
    fn any_local_end_goes_with_any_remote_one() {
        let any = PortRange::ANY;
        let local = [end([1, 3], 0, any), end([7, 7], 6, PortRange::one(80))];
        let remote = [end([50, 60], 0, any), end([90, 90], 17, any)];
        let set = SelectorSet::new(&local, &remote).unwrap();
        let covers = |f: Flow| set.covers_shown(&f, true);
        assert_eq!(covers(flow(2, 55, 6, [1, 2])), Some(true));
        assert_eq!(covers(flow(7, 55, 6, [80, 2])), Some(true));
        assert_eq!(covers(flow(7, 55, 6, [81, 2])), None);
        assert_eq!(covers(flow(2, 90, 17, [1, 2])), Some(true));
        assert_eq!(covers(flow(7, 90, 17, [80, 2])), None);
        assert_eq!(covers(flow(5, 55, 6, [1, 2])), None);
        assert_eq!(
            set.covers_shown(&flow(7, 55, 6, [0, 0]), false),
            Some(false)
        );
        assert_eq!(set.covers_shown(&flow(1, 55, 6, [0, 0]), false), Some(true));
        assert_eq!(set.pairs().count(), 3, "TCP and UDP do not go together");
        assert!(
            set.pairs()
                .all(|pair| set.contains(&pair) && set.hull().contains(&pair))
        );
        assert!(!set.contains(&set.hull()));
    }

    #[test]
    fn a_message_type_may_stand_at_either_end() {
        let echo = PortRange {
            first: 8 << 8,
            last: 8 << 8 | 255,
        };
        let any = PortRange::ANY;
        let a = SelectorSet::new(&[end([1, 9], 1, echo)], &[end([1, 9], 1, any)]).unwrap();
        let b = SelectorSet::new(&[end([1, 9], 1, any)], &[end([1, 9], 1, echo)]).unwrap();
        for set in [a, b] {
            assert_eq!(
                set.covers_shown(&flow(1, 2, 1, [8 << 8, 0]), true),
                Some(true)
            );
            assert_eq!(set.covers_shown(&flow(1, 2, 1, [3 << 8, 0]), true), None);
            assert_eq!(set.pairs().next().unwrap().local_ports, echo);
        }
    }

    #[test]
    fn lists_too_long_or_empty_are_refused_and_garbage_is_read() {
        let e = end([1, 1], 0, PortRange::ANY);
        assert!(SelectorSet::new(&[e; 9], &[e]).is_none());
        assert!(SelectorSet::new(&[], &[e]).is_none());
        assert!(SelectorSet::new(&[e; 8], &[e; 8]).is_some());
        let mut garbage = SelectorSet::new_zeroed();
        garbage.as_mut_bytes().fill(0xff);
        assert_eq!(garbage.local().len(), 8);
        assert_eq!(garbage.covers_shown(&flow(1, 2, 6, [1, 2]), true), None);
    }
}

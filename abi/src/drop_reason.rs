//! Why a packet was dropped: one flat enum, one counter each.

/// A reason for which the data plane drops a packet. Each has its counter in every worker's block.
macro_rules! drop_reasons {
    ($($(#[doc = $doc:literal])* $variant:ident = $number:literal, $name:literal, $rfc:literal;)*) => {
        /// Why a packet was dropped. The number is the counter's place in shared memory.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum DropReason {
            $($(#[doc = $doc])* $variant = $number,)*
        }

        impl DropReason {
            /// Every reason.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The counter's name, as the control socket and the metrics show it.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The section that asks for the drop, or an empty string.
            pub const fn rfc(self) -> &'static str {
                match self { $(Self::$variant => $rfc,)* }
            }
        }
    };
}

drop_reasons! {
    /// The frame or a header ends too early.
    Truncated = 0, "truncated", "RFC 1122 §3.2.1.1";
    /// A length field disagrees with the frame.
    BadLength = 1, "bad-length", "RFC 1122 §3.2.1.1";
    /// Neither IPv4 nor IPv6.
    NotIp = 2, "not-ip", "";
    /// The IPv4 header checksum is wrong.
    BadChecksum = 3, "bad-checksum", "RFC 1122 §3.2.1.2";
    /// An address that must not be forwarded: multicast, loopback, unspecified, link-local.
    Unroutable = 4, "unroutable-address", "RFC 1812 §5.3.7";
    /// TTL or hop limit ran out.
    HopLimit = 5, "hop-limit", "RFC 1812 §5.3.1";
    /// No route to the destination.
    NoRoute = 6, "no-route", "RFC 1812 §5.2.4";
    /// The neighbour is not resolved, and the queue for it is full or was given up.
    NoNeighbour = 7, "no-neighbour", "RFC 1122 §2.3.2.2";
    /// Policy says DISCARD.
    PolicyDiscard = 8, "policy-discard", "RFC 4301 §5.1";
    /// No policy covers it, and the setting for that says DISCARD.
    NoPolicy = 9, "no-policy", "RFC 4301 §5.1";
    /// Policy says PROTECT, there is no SA, and the packet is not among those that are held for one.
    NoSa = 10, "no-sa", "RFC 4301 §5.1";
    /// The SA is there, but the data plane has not prepared it yet.
    SaNotReady = 11, "sa-not-ready", "";
    /// Came in clear from outside although policy says PROTECT.
    ClearUnderProtect = 12, "clear-under-protect", "RFC 4301 §5.2";
    /// No SA with this SPI, protocol and destination.
    UnknownSpi = 13, "unknown-spi", "RFC 4303 §3.4.2";
    /// Already received.
    Replayed = 14, "replayed", "RFC 4303 §3.4.3";
    /// Older than the anti-replay window.
    TooOld = 15, "too-old", "RFC 4303 §3.4.3";
    /// The ICV is wrong.
    BadIcv = 16, "bad-icv", "RFC 4303 §3.4.4.1";
    /// Padding or pad length is malformed.
    BadPadding = 17, "bad-padding", "RFC 4303 §3.4.4.1";
    /// The next header is not one that tunnel mode carries.
    BadNextHeader = 18, "bad-next-header", "RFC 4303 §2.6";
    /// The inner packet is malformed.
    BadInner = 19, "bad-inner", "RFC 4301 §5.2";
    /// The inner packet is outside the SA's selectors.
    SelectorMismatch = 20, "selector-mismatch", "RFC 4301 §5.2";
    /// The outbound sequence number would cycle.
    SequenceExhausted = 21, "sequence-exhausted", "RFC 4303 §3.3.3";
    /// Sequence number 0 came without ESN.
    SequenceZero = 22, "sequence-zero", "RFC 4303 §3.4.3";
    /// The hard lifetime in packets, bytes or seconds is over.
    LifetimeExpired = 23, "lifetime-expired", "RFC 4301 §4.4.2.1";
    /// Too big for the tunnel; the sender was told.
    TooBig = 24, "too-big", "RFC 4301 §8.2";
    /// A fragment that cannot be matched against selectors.
    Fragment = 25, "fragment", "RFC 4301 §7";
    /// A fragment of an outer packet with an impossible place or length, or of a packet given up before.
    BadFragment = 26, "bad-fragment", "RFC 8200 §4.5";
    /// A NAT keepalive, which ends here.
    Keepalive = 27, "nat-keepalive", "RFC 3948 §4";
    /// UDP encapsulation is malformed.
    BadEncap = 28, "bad-encap", "RFC 3948 §2.1";
    /// The SA is not one that can be used here: unknown suite, wrong direction, bad record.
    BadSa = 29, "bad-sa", "";
    /// A dummy packet (next header 59), which ends here.
    Dummy = 30, "dummy", "RFC 4303 §2.6";
    /// The send ring was full.
    TransmitFull = 31, "transmit-full", "";
    /// No free frame.
    NoFrame = 32, "no-frame", "";
    /// Not enough headroom or tailroom for the headers.
    NoRoom = 33, "no-room", "";
    /// The AH header is not as long as its ICV and the padding that its family wants make it.
    BadAhLength = 34, "bad-ah-length", "RFC 4302 §3.3.3.2.1";
    /// The port is gone or not known.
    NoPort = 35, "no-port", "";
    /// Broadcast or multicast of a connected network.
    Broadcast = 36, "broadcast", "RFC 1812 §5.3.4";
    /// An extension header chain that is too long or malformed.
    BadExtension = 37, "bad-extension", "RFC 8200 §4";
    /// The frame is addressed to another host on the link.
    OtherHost = 38, "other-host", "";
    /// Tagged for a VLAN, and ports are untagged.
    Vlan = 39, "vlan", "";
    /// The network marked congestion on a packet whose transport cannot be told.
    EcnCongestion = 40, "ecn-congestion", "RFC 6040 §4.2";
    /// Fragments of an outer packet overlap: all of it is given up.
    FragmentOverlap = 41, "fragment-overlap", "RFC 5722 §4";
    /// A fragment of an outer packet that is there already.
    DuplicateFragment = 42, "duplicate-fragment", "RFC 8200 §4.5";
    /// The other fragments of an outer packet did not come in time.
    ReassemblyTimeout = 43, "reassembly-timeout", "RFC 791 §3.2";
    /// A fragment of an outer packet gave way to others: too many were under way.
    ReassemblyFull = 44, "reassembly-full", "";
    /// An outer packet in fragments is larger than a frame.
    ReassembledTooBig = 45, "reassembled-too-big", "";
    /// Under transport mode, but it does not begin at this gateway and end at the peer, or the other way round.
    NotOwn = 46, "not-own", "RFC 4301 §4.1";
    /// An ICMP error from outside about a packet of one of the SAs, which ends here.
    IcmpAboutSa = 47, "icmp-about-sa", "RFC 4301 §6.1.1";
    /// An ICMP error from outside that quotes no packet that an SA sealed lately.
    ImplausibleIcmp = 48, "implausible-icmp", "RFC 4301 §6.1.1";
    /// An ICMP error through an SA quotes a packet that the SA's counterpart would not have carried.
    IcmpQuote = 49, "icmp-quote", "RFC 4301 §6.2";
    /// Not nested in the SAs that policy asks for, or in too many.
    NotNested = 50, "not-nested", "RFC 4301 §5.2";
    /// Held for an SA that did not come in time.
    HeldTooLong = 51, "held-too-long", "RFC 4301 §5.1";
    /// Held for an SA, and control said that there will be none.
    AcquireRefused = 52, "acquire-refused", "RFC 4301 §5.1";
}

impl DropReason {
    /// Room for reasons in a worker's counters.
    pub const CAPACITY: usize = 128;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_have_distinct_names_and_places() {
        let mut names: Vec<_> = DropReason::ALL.iter().map(|r| r.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), DropReason::ALL.len());
        for (n, r) in DropReason::ALL.iter().enumerate() {
            assert_eq!(*r as usize, n, "numbers are dense and in order");
        }
        assert!(DropReason::ALL.len() <= DropReason::CAPACITY);
    }
}

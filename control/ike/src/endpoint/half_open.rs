//! Half-open IKE SAs: how many there are, and whose.
//!
//! An IKE_SA_INIT costs its sender nothing but a forged address, so what is kept for it is bounded for each address
//! and overall, and beyond a threshold nothing is kept for who does not return a cookie.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::IkeSaId;

/// Who began: an initiator's SPI is unique to its address and port only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Initiator {
    pub remote: SocketAddr,
    pub spi_i: u64,
}

/// Responder's IKE SAs on their way from IKE_SA_INIT to the end of IKE_AUTH.
#[derive(Default)]
pub(crate) struct HalfOpen {
    by_initiator: HashMap<Initiator, IkeSaId>,
    by_address: HashMap<IpAddr, usize>,
}

impl HalfOpen {
    pub fn insert(&mut self, who: Initiator, id: IkeSaId) {
        if self.by_initiator.insert(who, id).is_none() {
            *self.by_address.entry(who.remote.ip()).or_default() += 1;
        }
    }

    pub fn remove(&mut self, who: Initiator) {
        if self.by_initiator.remove(&who).is_none() {
            return;
        }
        if let Some(n) = self.by_address.get_mut(&who.remote.ip()) {
            *n -= 1;
            if *n == 0 {
                self.by_address.remove(&who.remote.ip());
            }
        }
    }

    /// The IKE SA that this initiator has begun, if it sent its request again.
    pub fn find(&self, who: Initiator) -> Option<IkeSaId> {
        self.by_initiator.get(&who).copied()
    }

    pub fn len(&self) -> usize {
        self.by_initiator.len()
    }

    pub fn of(&self, address: IpAddr) -> usize {
        self.by_address.get(&address).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_follow_what_is_there() {
        let mut h = HalfOpen::default();
        let who = |port, spi_i| Initiator {
            remote: SocketAddr::from(([192, 0, 2, 1], port)),
            spi_i,
        };
        for (n, w) in [who(500, 1), who(500, 2), who(501, 1)]
            .into_iter()
            .enumerate()
        {
            h.insert(w, IkeSaId(n as u32));
        }
        h.insert(who(500, 1), IkeSaId(0));
        let address = who(0, 0).remote.ip();
        assert_eq!((h.len(), h.of(address)), (3, 3));
        assert_eq!(h.find(who(501, 1)), Some(IkeSaId(2)));
        for w in [who(500, 1), who(500, 1), who(500, 2), who(501, 1)] {
            h.remove(w);
        }
        assert_eq!((h.len(), h.of(address)), (0, 0));
        assert!(h.by_address.is_empty());
    }
}

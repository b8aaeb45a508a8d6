//! Which frames the kernel gets and which the data plane: the steering program, its ports and its own addresses.
//!
//! Everything is pinned and outlives this process. Only [`Steer::open`] lets the kernel have everything again.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};

use adit_abi::{Action, Address, Selector, Side};
use adit_bpf::{AttachMode, Reason, Steering, SteeringError};
use tracing::info;

use crate::sadb::PolicySpec;

/// Own addresses, each with whether clear packets to it are a matter of policy.
pub type OwnAddresses = BTreeMap<IpAddr, bool>;

/// Own addresses under these policies: one on the local side of a PROTECT policy is protected.
pub fn own_addresses<'a>(
    own: impl IntoIterator<Item = IpAddr>,
    policies: impl Iterator<Item = &'a PolicySpec> + Clone,
) -> OwnAddresses {
    let on_local_side = |s: &Selector, a: Address| s.local_first <= a && a <= s.local_last;
    own.into_iter()
        .map(|ip| {
            let address = Address::from(ip);
            let protected = policies
                .clone()
                .filter(|p| p.action == Action::Protect)
                .any(|p| p.selectors.iter().any(|s| on_local_side(s, address)));
            (ip, protected)
        })
        .collect()
}

/// How the program runs on a port.
#[derive(Clone, Debug)]
pub struct Attached {
    /// The interface.
    pub ifindex: u32,
    /// In the driver or not, and why not.
    pub mode: AttachMode,
}

/// The steering program in use.
pub struct Steer {
    steering: Option<Steering>,
    pins: PathBuf,
    own: OwnAddresses,
    attached: Vec<Attached>,
}

impl Steer {
    /// Loads the program, or takes over what an earlier control pinned.
    ///
    /// # Errors
    /// What the loader says.
    pub fn load(pins: &Path) -> Result<Self, SteeringError> {
        let steering = Steering::load(pins)?;
        let own = steering.own()?.into_iter().collect();
        Ok(Self {
            steering: Some(steering),
            pins: pins.to_owned(),
            own,
            attached: Vec::new(),
        })
    }

    /// Makes the program's own addresses these. An address that becomes protected does so before one is let go.
    ///
    /// # Errors
    /// The first refusal. What could be done is done all the same, and nothing is let go.
    pub fn set_own_addresses(&mut self, wanted: &OwnAddresses) -> Result<(), SteeringError> {
        let Some(steering) = &mut self.steering else {
            return Ok(());
        };
        let mut refused = None;
        for (ip, protected) in wanted {
            if self.own.get(ip) == Some(protected) {
                continue;
            }
            match steering.set_own(*ip, *protected) {
                Ok(()) => drop(self.own.insert(*ip, *protected)),
                Err(e) => refused = refused.or(Some(e)),
            }
        }
        if let Some(e) = refused {
            return Err(e);
        }
        let gone: Vec<_> = self
            .own
            .keys()
            .filter(|ip| !wanted.contains_key(*ip))
            .copied()
            .collect();
        for ip in gone {
            steering.remove_own(ip)?;
            self.own.remove(&ip);
        }
        Ok(())
    }

    /// Adds what is protected now to what is wanted: an earlier control may have had a reason.
    pub fn keep_protected(&self, wanted: &mut OwnAddresses) {
        for (ip, protected) in &self.own {
            if let (true, Some(w)) = (*protected, wanted.get_mut(ip)) {
                *w = true;
            }
        }
    }

    /// Attaches a port. Frames for the data plane are dropped until a socket is there.
    ///
    /// # Errors
    /// What the kernel says to both modes.
    pub fn attach(&mut self, ifindex: u32, side: Side) -> Result<(), SteeringError> {
        let Some(steering) = &mut self.steering else {
            return Ok(());
        };
        let side = match side {
            Side::Outside => adit_bpf::Side::Outside,
            Side::Inside | Side::Host => adit_bpf::Side::Inside,
        };
        let mode = steering.attach(ifindex, side)?;
        self.attached.retain(|a| a.ifindex != ifindex);
        self.attached.push(Attached { ifindex, mode });
        Ok(())
    }

    /// Says which of the attached ports have no IPv4 address: what a DHCP server answers there is the kernel's.
    ///
    /// # Errors
    /// The first refusal of the kernel; the others are told all the same.
    pub fn set_unaddressed(
        &mut self,
        is_unaddressed: impl Fn(u32) -> bool,
    ) -> Result<(), SteeringError> {
        let Some(steering) = &mut self.steering else {
            return Ok(());
        };
        let mut told = Ok(());
        for port in &self.attached {
            let unaddressed = is_unaddressed(port.ifindex);
            told = told.and(steering.set_unaddressed(port.ifindex, unaddressed));
        }
        told
    }

    /// Forgets ports whose interface is gone, and returns the numbers of interfaces that an earlier control
    /// steered and nobody wants any more: they stay closed, for only [`Steer::open`] opens.
    ///
    /// # Errors
    /// A refusal of the kernel.
    pub fn leftovers(
        &mut self,
        wanted: &[u32],
        exists: impl Fn(u32) -> bool,
    ) -> Result<Vec<u32>, SteeringError> {
        let Some(steering) = &mut self.steering else {
            return Ok(Vec::new());
        };
        let mut left = Vec::new();
        for port in steering.ports()? {
            if wanted.contains(&port.ifindex) {
                continue;
            }
            if exists(port.ifindex) {
                left.push(port.ifindex);
            } else {
                info!(
                    ifindex = port.ifindex,
                    "the interface is gone, and so is its steering"
                );
                steering.detach(port.ifindex)?;
            }
        }
        Ok(left)
    }

    /// Hands what is redirected on a port and queue to a socket.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn set_socket(
        &mut self,
        ifindex: u32,
        queue: u16,
        socket: BorrowedFd<'_>,
    ) -> Result<(), SteeringError> {
        match &mut self.steering {
            Some(steering) => steering.set_socket(ifindex, queue.into(), socket),
            None => Err(SteeringError::NotAttached(ifindex)),
        }
    }

    /// The interface of this number is gone, and with it what was attached; another may get the number.
    pub fn forget(&mut self, ifindex: u32) {
        self.attached.retain(|a| a.ifindex != ifindex);
    }

    /// How the program runs on a port.
    pub fn mode(&self, ifindex: u32) -> Option<&AttachMode> {
        let port = self.attached.iter().find(|a| a.ifindex == ifindex)?;
        Some(&port.mode)
    }

    /// What the program did with a port's frames.
    pub fn counters(&self, ifindex: u32) -> Vec<(Reason, u64)> {
        self.steering
            .as_ref()
            .and_then(|s| s.counters(ifindex).ok())
            .unwrap_or_default()
    }

    /// Whether the kernel was given everything.
    pub fn is_open(&self) -> bool {
        self.steering.is_none()
    }

    /// Detaches from every port and unpins everything: from here on the kernel gets all frames.
    ///
    /// # Errors
    /// What removing the pins says.
    pub fn open(&mut self) -> std::io::Result<()> {
        self.steering = None;
        self.attached.clear();
        Steering::unpin_all(&self.pins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sadb::Origin;
    use crate::selector_syntax::{SelectorSide, pairs};

    #[test]
    fn an_own_address_is_protected_under_a_protect_policy_only() {
        let side = |s: &str| [SelectorSide::parse(s).unwrap()];
        let policy = |name: &str, local: &str, action| PolicySpec {
            name: name.into(),
            selectors: pairs(&side(local), &side("10.9.0.0/16")).unwrap(),
            action,
            priority: 1,
            applies: Default::default(),
            from_packet: Default::default(),
            origin: Origin::File,
        };
        let policies = [
            policy("a", "10.1.0.0/24", Action::Protect),
            policy("b", "192.0.2.0/24", Action::Bypass),
        ];
        let ip = |s: &str| s.parse::<IpAddr>().unwrap();
        let own = own_addresses([ip("10.1.0.1"), ip("192.0.2.1")], policies.iter());
        assert!(own[&ip("10.1.0.1")]);
        assert!(!own[&ip("192.0.2.1")]);
    }
}

//! `adit lab strongswan`: adit on one side, strongSwan on the other.

use super::charon::Charon;
use super::gateway::Gateway;
use super::ikev2::{Ikev2Options, Negotiated};
use super::scenario::{self, Tunnel};
use super::{LabError, Side, Topology};

/// Plays the scenario; gives whether all was well.
///
/// # Errors
/// As [`scenario::run`], and if strongSwan is not installed.
pub fn run(options: &Ikev2Options) -> Result<bool, LabError> {
    Charon::require()?;
    scenario::run(&options.scenario, &Against(Negotiated::new(options)?))
}

/// gw-a is adit, gw-b is strongSwan.
struct Against<'a>(Negotiated<'a>);

impl Tunnel for Against<'_> {
    type Peer = Charon;

    fn setup(&self) -> Vec<(&'static str, String)> {
        self.0.setup()
    }

    fn sides(&self) -> &'static [Side] {
        &[Side::A]
    }

    fn bring_up(&self, topology: &Topology, gateways: &mut [Gateway]) -> Result<Charon, LabError> {
        let charon = Charon::start(topology, Side::B)?;
        for (command, message) in self.0.loads(Side::B) {
            charon.request(command, &message)?;
        }
        self.0.load_and_initiate(gateways)?;
        Ok(charon)
    }
}

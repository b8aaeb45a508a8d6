//! `adit lab tunnel`: a tunnel of SAs with manual keys, fresh and random.

use adit_abi::Suite;

use super::gateway::{self, Gateway};
use super::sas::{SaShape, TunnelPlan};
use super::scenario::{self, Tunnel, say};
use super::{LabError, Topology};

/// How the tunnel is set up and what is asked of it.
#[derive(Debug, Clone, clap::Args)]
pub struct TunnelOptions {
    /// ESP suite of the SAs
    #[arg(long, default_value = "aes128gcm16", value_parser = Suite::parse_esp)]
    pub suite: Suite,
    /// Encapsulate ESP in UDP port 4500 (RFC 3948)
    #[arg(long)]
    pub encap: bool,
    /// Extended (64-bit) sequence numbers
    #[arg(long)]
    pub esn: bool,
    /// The network, and what is asked of it.
    #[command(flatten)]
    pub scenario: scenario::Options,
}

/// Plays the scenario; gives whether all was well.
///
/// # Errors
/// As [`scenario::run`].
pub fn run(options: &TunnelOptions) -> Result<bool, LabError> {
    let shape = SaShape {
        suite: options.suite,
        outer: options.scenario.outer,
        esn: options.esn,
        encap: options.encap,
    };
    scenario::run(&options.scenario, &Manual(shape))
}

/// SAs with manual keys.
struct Manual(SaShape);

impl Tunnel for Manual {
    type Peer = ();

    fn setup(&self) -> Vec<(&'static str, String)> {
        let yes_no = |value| if value { "yes" } else { "no" }.to_owned();
        vec![
            ("suite", self.0.suite.to_string()),
            ("encap", yes_no(self.0.encap)),
            ("esn", yes_no(self.0.esn)),
        ]
    }

    fn bring_up(&self, _: &Topology, gateways: &mut [Gateway]) -> Result<(), LabError> {
        say("installing policies and SAs with fresh keys");
        gateway::install(gateways, &TunnelPlan::fresh(self.0)?)
    }
}

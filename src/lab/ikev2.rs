//! `adit lab ikev2`: two adit gateways that bring their tunnel up by IKEv2.

use adit_vici::Message;

use super::gateway::Gateway;
use super::rekeys;
use super::report::Report;
use super::scenario::{self, Tunnel, say};
use super::{Family, LabError, Side, Topology};

/// The connection's name on both gateways.
const CONNECTION: &str = "lab";

/// What the gateways agree on, and what is asked of the tunnel.
#[derive(Debug, Clone, clap::Args)]
pub struct Ikev2Options {
    /// IKE proposals, as swanctl.conf writes them
    #[arg(long, default_value = "default")]
    pub proposals: String,
    /// ESP proposals, as swanctl.conf writes them
    #[arg(long, default_value = "default")]
    pub esp_proposals: String,
    /// How often SAs are rekeyed under traffic, which must lose none of it
    #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub rekeys: u32,
    /// Encapsulate ESP in UDP port 4500 (RFC 3948) though there is no NAT
    #[arg(long)]
    pub encap: bool,
    /// The network, and what is asked of it.
    #[command(flatten)]
    pub scenario: scenario::Options,
}

/// Plays the scenario; gives whether all was well.
///
/// # Errors
/// As [`scenario::run`].
pub fn run(options: &Ikev2Options) -> Result<bool, LabError> {
    scenario::run(&options.scenario, &Negotiated::new(options)?)
}

/// SAs that IKEv2 negotiates.
pub(super) struct Negotiated<'a> {
    options: &'a Ikev2Options,
    secret: [u8; 32],
}

impl<'a> Negotiated<'a> {
    /// With a fresh pre-shared key.
    pub(super) fn new(options: &'a Ikev2Options) -> Result<Self, LabError> {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)
            .map_err(|e| LabError::io("draw a pre-shared key", std::io::Error::other(e)))?;
        Ok(Self { options, secret })
    }

    /// The commands that tell one gateway all it must know.
    pub(super) fn loads(&self, side: Side) -> [(&'static str, Message); 2] {
        let shared = Message::new()
            .with("type", "IKE")
            .with("data", self.secret)
            .with_list("owners", [side.other().gateway()]);
        [
            ("load-shared", shared),
            ("load-conn", self.connection(side)),
        ]
    }

    /// Tells the gateways all they must know, and has gw-a bring each child up.
    pub(super) fn load_and_initiate(&self, gateways: &[Gateway]) -> Result<(), LabError> {
        for gateway in gateways {
            for (command, message) in self.loads(gateway.side()) {
                gateway.request(command, &message)?;
            }
        }
        for family in Family::BOTH {
            let child = child_name(family);
            say(&format!("IKEv2 from gw-a to gw-b: child {child}"));
            let what = Message::new()
                .with("ike", CONNECTION)
                .with("child", child)
                .with("timeout", "8000");
            for gateway in gateways.iter().filter(|g| g.side() == Side::A) {
                gateway.request("initiate", &what)?;
            }
        }
        Ok(())
    }

    /// The connection as one gateway sees it: a child for each family.
    fn connection(&self, side: Side) -> Message {
        let options = self.options;
        let outer = options.scenario.outer;
        let here = side.outside_address(outer).to_string();
        let there = side.other().outside_address(outer).to_string();
        let end = |id: String| Message::new().with("auth", "psk").with("id", id);
        let mut children = Message::new();
        for family in Family::BOTH {
            let child = Message::new()
                .with_list("esp_proposals", [&options.esp_proposals])
                .with_list("local_ts", [side.prefix(family)])
                .with_list("remote_ts", [side.other().prefix(family)]);
            children.add_section(child_name(family), child);
        }
        let connection = Message::new()
            .with("version", "2")
            .with_list("local_addrs", [here])
            .with_list("remote_addrs", [there])
            .with_list("proposals", [&options.proposals])
            .with("encap", if options.encap { "yes" } else { "no" })
            .with_section("local", end(side.gateway()))
            .with_section("remote", end(side.other().gateway()))
            .with_section("children", children);
        Message::new().with_section(CONNECTION, connection)
    }
}

impl Tunnel for Negotiated<'_> {
    type Peer = ();

    fn setup(&self) -> Vec<(&'static str, String)> {
        vec![
            ("proposals", self.options.proposals.clone()),
            ("esp_proposals", self.options.esp_proposals.clone()),
        ]
    }

    fn bring_up(&self, _: &Topology, gateways: &mut [Gateway]) -> Result<(), LabError> {
        self.load_and_initiate(gateways)
    }

    fn exercise(
        &self,
        topology: &Topology,
        gateways: &[Gateway],
        report: &mut Report,
    ) -> Result<(), LabError> {
        if self.options.rekeys > 0 {
            let child = child_name(Family::V4);
            let rekeyed =
                rekeys::rekey(topology, gateways, CONNECTION, child, self.options.rekeys)?;
            report.rekeyed = Some(rekeyed);
        }
        Ok(())
    }
}

fn child_name(family: Family) -> &'static str {
    match family {
        Family::V4 => "net-v4",
        Family::V6 => "net-v6",
    }
}

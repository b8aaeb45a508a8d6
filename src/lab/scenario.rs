//! What the labs with two gateways have in common: the network, both daemons in each gateway, a tunnel between them however it comes
//! about, pings and bulk TCP through it, and a table of what came of it.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use super::dhcp;
use super::gateway::Gateway;
use super::report::{OwnRow, Report};
use super::traffic::{self, PingPlan};
use super::wait::{self, Look};
use super::{Family, LabError, Shape, Side, Topology, process};

/// What the listener on a gateway says, as an SSH server would at once.
const BANNER: &[u8] = b"SSH-2.0-adit-lab\r\n";

/// The network, and what is asked of it.
#[derive(Debug, Clone, clap::Args)]
pub struct Options {
    /// Address family of the outer header
    #[arg(long, value_enum, default_value = "v4")]
    pub outer: Family,
    /// Queues of every port, and workers of every data plane
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub queues: u16,
    /// Length of each TCP transfer, in seconds; 0 leaves them out
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u64).range(..=3600))]
    pub seconds: u64,
    /// Echo requests in each series of pings
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub pings: u32,
    /// Print the result as JSON
    #[arg(long)]
    pub json: bool,
    /// Leave the lab up and say how to enter and remove it
    #[arg(long)]
    pub keep: bool,
    /// What forwards: adit, or the kernel alone without a tunnel, to check the lab itself
    #[arg(long, value_enum, default_value = "adit", hide = true)]
    pub path: ForwardingPath,
}

/// What forwards between the hosts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ForwardingPath {
    /// Both daemons in each gateway, and a tunnel.
    Adit,
    /// The gateways' kernels, and no tunnel.
    Kernel,
}

/// How the tunnel comes about.
pub trait Tunnel {
    /// What it is like, in words of the options, for the report.
    fn setup(&self) -> Vec<(&'static str, String)>;

    /// What is kept as long as the tunnel is to last.
    type Peer;

    /// Which gateways are adit's.
    fn sides(&self) -> &'static [Side] {
        &Side::BOTH
    }

    /// What is done with it beside pings and transfers.
    ///
    /// # Errors
    /// Whatever keeps it from being done.
    fn exercise(
        &self,
        _topology: &Topology,
        _gateways: &[Gateway],
        _report: &mut Report,
    ) -> Result<(), LabError> {
        Ok(())
    }

    /// Brings it up between gateways that are ready, and waits until it carries packets.
    ///
    /// # Errors
    /// Whatever keeps it from coming up.
    fn bring_up(
        &self,
        topology: &Topology,
        gateways: &mut [Gateway],
    ) -> Result<Self::Peer, LabError>;
}

/// Builds the lab, runs the scenario, prints the result and removes the lab. Gives whether all was well.
///
/// # Errors
/// [`LabError`] for whatever kept the scenario from being played to its end; the lab is removed then, too, unless it is to be kept.
pub fn run(options: &Options, tunnel: &impl Tunnel) -> Result<bool, LabError> {
    for (program, package) in [
        ("ping", "iputils-ping"),
        ("iperf3", "iperf3"),
        dhcp::CLIENT,
        dhcp::SERVER,
    ] {
        process::require(program, package)?;
    }
    for id in super::leftovers::clean()? {
        say(&format!("removed lab {id}, whose owner was gone"));
    }
    say("building the network: host-a, gw-a, gw-b, host-b");
    let mut topology = Topology::build(Shape {
        queues: options.queues,
        tapped: false,
    })?;
    let mut gateways = Vec::new();
    let played = play(options, tunnel, &topology, &mut gateways);
    if let Ok(report) = &played {
        if options.json {
            let json = serde_json::to_string_pretty(report).map_err(std::io::Error::from);
            println!(
                "{}",
                json.map_err(|e| LabError::io("write the report as JSON", e))?
            );
        } else {
            println!("\n{}", report.table());
        }
    }
    if options.keep {
        topology.keep()?;
        eprint!("{}", how_to_use(&topology, &gateways));
        gateways.into_iter().for_each(Gateway::keep);
        return Ok(played?.is_good());
    }
    for gateway in &mut gateways {
        gateway.stop_dataplane()?;
        gateway.stop_control()?;
    }
    Ok(played?.is_good())
}

/// The scenario itself. The gateways that it starts outlive it.
fn play(
    options: &Options,
    tunnel: &impl Tunnel,
    topology: &Topology,
    gateways: &mut Vec<Gateway>,
) -> Result<Report, LabError> {
    let mut report = Report {
        setup: tunnel
            .setup()
            .into_iter()
            .chain([
                ("outer", options.outer.to_string()),
                ("queues", options.queues.to_string()),
            ])
            .collect(),
        ..Report::default()
    };
    let mut peer = None;
    topology.kernel_forwarding(true)?;
    if options.path == ForwardingPath::Adit {
        if options.seconds > 0 {
            report.kernel_mbit_per_s = Some(baseline(options, topology)?);
        }
        topology.kernel_forwarding(false)?;
        // What the baseline resolved would hide a gateway that resolves nothing.
        forget_neighbours(topology)?;
        start_gateways(topology, tunnel.sides(), gateways)?;
        peer = Some(tunnel.bring_up(topology, gateways)?);
    }
    ping_through(options, topology, &mut report)?;
    if options.seconds > 0 {
        transfer_through(options, topology, &mut report)?;
    }
    if options.path == ForwardingPath::Adit {
        tunnel.exercise(topology, gateways, &mut report)?;
    }
    own_traffic(options, topology, &mut report)?;
    for gateway in gateways {
        gateway.check_alive()?;
        let name = gateway.side().gateway();
        report.modes.insert(name.clone(), gateway.modes()?);
        report.add_drops(&name, gateway.drops()?);
    }
    drop(peer);
    Ok(report)
}

/// Both daemons in each gateway.
fn start_gateways(
    topology: &Topology,
    sides: &[Side],
    gateways: &mut Vec<Gateway>,
) -> Result<(), LabError> {
    for side in sides.iter().copied() {
        say(&format!(
            "starting control and data plane in {}",
            side.gateway()
        ));
        let mut gateway = Gateway::new(topology, side)?;
        gateway.start_control()?;
        gateway.start_dataplane()?;
        gateways.push(gateway);
    }
    for gateway in gateways.iter_mut() {
        gateway.wait_until_ready()?;
        for port in gateway.modes()? {
            say(&format!(
                "{} {}: XDP {}, AF_XDP {} ({})",
                gateway.side().gateway(),
                port.port,
                port.xdp,
                port.af_xdp,
                port.why
            ));
        }
    }
    Ok(())
}

/// The kernel's forwarding over the same wires, for comparison: absolute rates mean little on a machine with neighbours.
fn baseline(options: &Options, topology: &Topology) -> Result<f64, LabError> {
    say("kernel forwarding without a tunnel, for comparison");
    let transfer = traffic::tcp(
        topology.host(Side::A),
        topology.host(Side::B),
        Side::B.host_address(Family::V4),
        Duration::from_secs((options.seconds / 2).max(1)),
        topology.dir(),
        |_| {},
    )?;
    say(&format!("  {:.0} Mbit/s", transfer.mbit_per_s));
    Ok(transfer.mbit_per_s)
}

fn forget_neighbours(topology: &Topology) -> Result<(), LabError> {
    topology
        .namespaces()
        .into_iter()
        .try_for_each(|namespace| namespace.ip("neigh flush all"))
}

/// Pings both ways, both families.
fn ping_through(
    options: &Options,
    topology: &Topology,
    report: &mut Report,
) -> Result<(), LabError> {
    for family in Family::BOTH {
        for side in Side::BOTH {
            let other = side.other();
            let what = format!("{family} {} to {}", side.host(), other.host());
            let plan = PingPlan {
                count: options.pings,
                ..PingPlan::default()
            };
            let pings = traffic::ping(topology.host(side), other.host_address(family), plan)?;
            say(&format!(
                "ping {what}: {} of {}",
                pings.received, pings.sent
            ));
            report.add_pings(what, pings);
        }
    }
    Ok(())
}

/// Bulk TCP from host-a to host-b, both families.
fn transfer_through(
    options: &Options,
    topology: &Topology,
    report: &mut Report,
) -> Result<(), LabError> {
    for family in Family::BOTH {
        let what = format!("{family} {} to {}", Side::A.host(), Side::B.host());
        say(&format!("TCP {what}, {} s", options.seconds));
        let transfer = traffic::tcp(
            topology.host(Side::A),
            topology.host(Side::B),
            Side::B.host_address(family),
            Duration::from_secs(options.seconds),
            topology.dir(),
            |rates| {
                say(&format!(
                    "  {:.0} Mbit/s, {:.0} packets/s",
                    rates.mbit_per_s, rates.packets_per_s
                ));
            },
        )?;
        report.add_transfer(what, transfer);
    }
    Ok(())
}

/// What is for the gateways themselves and must not be touched: neighbour resolution, echo, a TCP service on both ports, and
/// DHCP both ways.
fn own_traffic(
    options: &Options,
    topology: &Topology,
    report: &mut Report,
) -> Result<(), LabError> {
    for family in Family::BOTH {
        let inside = Side::A.inside_address(family);
        let what = format!("{family} host-a to gw-a itself");
        let plan = PingPlan {
            count: options.pings.min(5),
            ..PingPlan::default()
        };
        let pings = traffic::ping(topology.host(Side::A), inside, plan)?;
        say(&format!(
            "ping {what}: {} of {}",
            pings.received, pings.sent
        ));
        report.add_pings(what, pings);

        let outside = Side::A.outside_address(family);
        for (client, address, wire) in [
            (topology.host(Side::A), inside, "from its inside"),
            (topology.gateway(Side::B), outside, "from its outside"),
        ] {
            let outcome = greet(topology, client, address);
            report.own_traffic.push(OwnRow {
                what: format!("{family} TCP port 22 of gw-a, {wire}"),
                works: outcome.is_ok(),
                seen: outcome.unwrap_or_else(|error| error.to_string()),
            });
        }
        let resolved = neighbour(topology, Side::A, Side::B.outside_address(family))?;
        report.own_traffic.push(OwnRow {
            what: match family {
                Family::V4 => "ARP: gw-a knows gw-b".into(),
                Family::V6 => "ND: gw-a knows gw-b".into(),
            },
            works: resolved.contains("lladdr"),
            seen: resolved,
        });
    }
    for (what, outcome) in [
        (
            "DHCP: host-a is served by gw-a",
            dhcp::lease_to_host(topology, Side::A),
        ),
        (
            "DHCP: gw-a gets its outside address",
            dhcp::get_outside_address(topology, Side::A),
        ),
    ] {
        report.own_traffic.push(OwnRow {
            what: what.into(),
            works: outcome.is_ok(),
            seen: outcome.unwrap_or_else(|error| error.to_string()),
        });
    }
    for row in &report.own_traffic {
        let verdict = if row.works { "works" } else { "FAILS" };
        say(&format!("{}: {verdict}", row.what));
    }
    Ok(())
}

/// Connects from `client` to a listener on gw-a at `address` and reads its banner.
fn greet(
    topology: &Topology,
    client: &super::Namespace,
    address: IpAddr,
) -> Result<String, LabError> {
    const LIMIT: Duration = Duration::from_secs(3);
    let address = SocketAddr::new(address, 22);
    let listener = topology
        .gateway(Side::A)
        .enter(|| TcpListener::bind(address))?
        .map_err(|e| LabError::io(format!("listen at {address}"), e))?;
    let unblocked = |e| LabError::io("set a socket's mode", e);
    listener.set_nonblocking(true).map_err(unblocked)?;
    let connected = client.spawn("greeter", move || -> std::io::Result<String> {
        let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
        stream.set_read_timeout(Some(LIMIT))?;
        let mut banner = Vec::new();
        stream.read_to_end(&mut banner)?;
        Ok(String::from_utf8_lossy(&banner).trim_end().to_owned())
    })?;
    let accepted = wait::until(
        &format!("a connection to {address}"),
        LIMIT,
        || match listener.accept() {
            Ok((stream, _)) => Ok(Look::Ready(stream)),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => Ok(Look::NotYet(String::new())),
            Err(e) => Err(LabError::io(format!("accept at {address}"), e)),
        },
    )?;
    (&accepted)
        .write_all(BANNER)
        .map_err(|e| LabError::io(format!("greet at {address}"), e))?;
    drop(accepted);
    match connected.join() {
        Ok(outcome) => outcome?.map_err(|e| LabError::io(format!("connect to {address}"), e)),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

/// The kernel's neighbour entry of a gateway, as `ip neigh` prints it.
fn neighbour(topology: &Topology, side: Side, of: IpAddr) -> Result<String, LabError> {
    let shown = process::run(std::process::Command::new("ip").args([
        "-n",
        topology.gateway(side).name(),
        "neigh",
        "show",
        "to",
        &of.to_string(),
    ]))?;
    Ok(shown.stdout.trim().to_owned())
}

/// How to look around in a lab that stays up.
fn how_to_use(topology: &Topology, gateways: &[Gateway]) -> String {
    let mut text = format!("\nlab {} stays up. Enter it with\n", topology.id());
    for namespace in topology.namespaces() {
        text += &format!("    nsenter --net={} bash\n", namespace.path().display());
    }
    if !gateways.is_empty() {
        text += "ask a gateway with\n";
    }
    for gateway in gateways {
        text += &format!(
            "    adit status --socket {}\n",
            gateway.control_socket().display()
        );
    }
    text += &format!(
        "its files are in {}\nremove it with\n    adit lab clean {}\n",
        topology.dir().display(),
        topology.id()
    );
    text
}

/// A line of progress.
pub fn say(line: &str) {
    eprintln!("{line}");
}

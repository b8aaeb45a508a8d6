//! DHCP over managed ports, as a gateway's own traffic: busybox's client, and as the server dnsmasq, which answers to the address that
//! it gives.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::process::{self, Daemon};
use super::{Family, LabError, Namespace, Side, Topology};

/// Programs and their Debian packages.
pub(super) const CLIENT: (&str, &str) = ("busybox", "busybox-static");
pub(super) const SERVER: (&str, &str) = ("dnsmasq", "dnsmasq-base");

/// What the client runs when it has a lease: `ip`, `mask` and `interface` are in its environment.
const TAKE_ADDRESS: &str = "#!/bin/sh\n\
    [ \"$1\" = bound ] || exit 0\n\
    exec ip addr replace \"$ip/$mask\" broadcast + dev \"$interface\"\n";

/// A gateway gives its outside IPv4 address up and gets the same one from a DHCP server in the other gateway, whose answers go to that
/// address before anybody has it. Gives the client's words.
///
/// # Errors
/// [`LabError`] if there is no lease; the address is there again all the same.
pub fn get_outside_address(topology: &Topology, side: Side) -> Result<String, LabError> {
    let scratch = scratch(topology, "outside")?;
    let gateway = topology.gateway(side);
    let address = side.outside_address(Family::V4);
    let script = scratch.join("take-address");
    std::fs::write(&script, TAKE_ADDRESS)
        .and_then(|()| std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)))
        .map_err(|e| LabError::io(format!("write {}", script.display()), e))?;
    gateway.ip(&format!("addr del {address}/24 dev outside"))?;
    let outcome = serve(topology.gateway(side.other()), "outside", address, &scratch)
        .and_then(|_server| ask(gateway, "outside", &script));
    let other = side.other();
    gateway.ip(&format!(
        "addr replace {address}/24 dev outside\nroute replace {} via {}",
        other.prefix(Family::V4),
        other.outside_address(Family::V4)
    ))?;
    outcome
}

/// A host gets a lease from a DHCP server in its gateway, and makes no use of it. Gives the client's words.
///
/// # Errors
/// [`LabError`] if there is no lease.
pub fn lease_to_host(topology: &Topology, side: Side) -> Result<String, LabError> {
    let scratch = scratch(topology, "inside")?;
    let IpAddr::V4(inside) = side.inside_address(Family::V4) else {
        return Err(LabError::Usage("not an IPv4 address".into()));
    };
    let [a, b, c, _] = inside.octets();
    let free = Ipv4Addr::new(a, b, c, 100).into();
    let _server = serve(topology.gateway(side), "inside", free, &scratch)?;
    ask(topology.host(side), "eth0", Path::new("/bin/true"))
}

fn scratch(topology: &Topology, name: &str) -> Result<PathBuf, LabError> {
    for (program, package) in [CLIENT, SERVER] {
        process::require(program, package)?;
    }
    let dir = topology.dir().join("dhcp").join(name);
    std::fs::create_dir_all(&dir)
        .map_err(|e| LabError::io(format!("make {}", dir.display()), e))?;
    Ok(dir)
}

/// A server that has one address to give.
fn serve(
    namespace: &Namespace,
    interface: &str,
    address: IpAddr,
    scratch: &Path,
) -> Result<Daemon, LabError> {
    let dir = scratch.display();
    let mut command = namespace.command(SERVER.0);
    command.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--user=root",
        "--log-facility=-",
        // No name server.
        "--port=0",
        "--no-ping",
        "--dhcp-authoritative",
        &format!("--interface={interface}"),
        &format!("--dhcp-range={address},{address},255.255.255.0,600"),
        &format!("--dhcp-leasefile={dir}/leases"),
        &format!("--pid-file={dir}/dnsmasq.pid"),
    ]);
    Daemon::start("a DHCP server", &scratch.join("dnsmasq.log"), &mut command)
}

fn ask(namespace: &Namespace, interface: &str, script: &Path) -> Result<String, LabError> {
    let mut command = namespace.command(CLIENT.0);
    // Ends with a lease, or after ten questions a second apart.
    command
        .args(["udhcpc", "-f", "-q", "-n", "-t", "10", "-T", "1", "-A", "1"])
        .args(["-i", interface, "-s"])
        .arg(script);
    let said = process::run(&mut command)?.stderr;
    let lease = said.lines().find(|line| line.contains("lease of"));
    let lease = lease.ok_or_else(|| LabError::Output {
        program: "udhcpc",
        why: "no line about a lease".into(),
        output: said.clone(),
    })?;
    Ok(lease.trim_start_matches("udhcpc: ").to_owned())
}

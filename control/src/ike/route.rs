//! The addresses that a connection runs between when this end brings it up.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs, UdpSocket};

use adit_ike::config::Host;

/// Addresses of the peer that are tried.
const MOST_CANDIDATES: usize = 16;

/// The peer's address and the own one that leads there; `None` without a name that resolves, or without a route.
///
/// Asks the resolver for names, so it may take long: for a thread.
pub fn find(local: &[Host], remote: &[Host], port: u16) -> Option<(IpAddr, IpAddr)> {
    let ours = |address: IpAddr| Host::best(local, address).is_some() || names(local, address);
    let candidates = remote.iter().flat_map(addresses).take(MOST_CANDIDATES);
    for there in candidates {
        let preferred = local.iter().find_map(|host| match host {
            Host::Address(a) if a.is_ipv4() == there.is_ipv4() => Some(*a),
            _ => None,
        });
        let here = preferred.or_else(|| source_towards(SocketAddr::new(there, port)));
        if let Some(here) = here.filter(|here| ours(*here)) {
            return Some((here, there));
        }
    }
    None
}

fn addresses(host: &Host) -> Vec<IpAddr> {
    match host {
        Host::Address(address) => vec![*address],
        Host::Name(name) => resolve(name),
        Host::Any | Host::Range(..) => Vec::new(),
    }
}

fn resolve(name: &str) -> Vec<IpAddr> {
    let found = (name, 0).to_socket_addrs();
    found.into_iter().flatten().map(|a| a.ip()).collect()
}

/// Whether one of the names stands for this address.
fn names(hosts: &[Host], address: IpAddr) -> bool {
    hosts.iter().any(|host| match host {
        Host::Name(name) => resolve(name).contains(&address),
        _ => false,
    })
}

/// The own address that the kernel would send from; nothing is sent.
fn source_towards(there: SocketAddr) -> Option<IpAddr> {
    let any: SocketAddr = if there.is_ipv4() {
        ([0; 4], 0).into()
    } else {
        ([0; 16], 0).into()
    };
    let socket = UdpSocket::bind(any).ok()?;
    socket.connect(there).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_address_is_the_one_named_or_the_one_that_leads_there() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let peer = [Host::Any, Host::Address(ip("127.0.0.9"))];
        assert_eq!(
            find(&[], &peer, 500).map(|(_, there)| there),
            Some(ip("127.0.0.9"))
        );
        let here = [Host::Address(ip("127.0.0.2"))];
        assert_eq!(
            find(&here, &peer, 500),
            Some((ip("127.0.0.2"), ip("127.0.0.9")))
        );
        let elsewhere = [Host::Range(ip("192.0.2.0"), ip("192.0.2.255"))];
        assert_eq!(find(&elsewhere, &peer, 500), None);
        assert_eq!(find(&[], &[Host::Any], 500), None);
    }
}

//! EAP conversations with someone who sends anything: packets one after another, each as long as its own length says.

use adit_ike::eap::{
    Authenticator, AuthenticatorStep, Backend, Packet, Peer, PeerStep, ServerAnswer,
};

/// The packets in the input; the last one may be cut or lie.
fn packets(data: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = data;
    std::iter::from_fn(move || {
        let length = rest
            .get(2..4)
            .map(|l| usize::from(l[0]) << 8 | usize::from(l[1]));
        let length = length.unwrap_or(rest.len()).clamp(4, 4100).min(rest.len());
        let (packet, after) = rest.split_at(length);
        rest = after;
        (!packet.is_empty()).then_some(packet)
    })
}

/// A peer and whatever an authenticator may send.
pub fn peer(data: &[u8]) {
    let mut peer = Peer::new("alice", b"secret", [0x21; 16]);
    for packet in packets(data) {
        if let PeerStep::Send(answer) = peer.handle(packet) {
            Packet::parse(&answer).expect("our own packet");
        }
    }
}

/// An authenticator of each kind and whatever a peer, or the server behind it, may send.
pub fn authenticator(data: &[u8]) {
    for backend in [Backend::MsChapV2([0x5b; 16]), Backend::Server] {
        let (mut authenticator, _) = Authenticator::ask_identity(backend, 0);
        for packet in packets(data) {
            let step = match authenticator.handle(packet) {
                AuthenticatorStep::AskPassword(_) => authenticator.password(Some(b"secret")),
                AuthenticatorStep::AskServer(_) => {
                    authenticator.server(ServerAnswer::Challenge(packet.to_vec()))
                }
                step => step,
            };
            assert!(
                !matches!(step, AuthenticatorStep::Succeeded(..)) || backend != Backend::Server,
                "no server accepted anyone"
            );
        }
    }
}

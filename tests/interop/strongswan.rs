//! strongSwan negotiates with adit by IKEv2, either one beginning, and traffic runs between its ESP and ours.

use adit::lab::charon::Charon;
use adit::lab::gateway::Gateway;
use adit::lab::traffic::{self, PingPlan};
use adit::lab::{Family, Shape, Side, Topology};
use adit_vici::{Client, Message};

/// The gateways, before the network that they live in: fields go in this order.
struct Pair {
    charon: Charon,
    adit: Gateway,
    topology: Topology,
}

impl Pair {
    fn start() -> Self {
        let topology = Topology::build(Shape {
            queues: 1,
            tapped: false,
        })
        .expect("a lab");
        let mut adit = Gateway::new(&topology, Side::A).expect("a gateway");
        adit.start().expect("a gateway that is ready");
        let charon = Charon::start(&topology, Side::B).expect("charon");
        Self {
            charon,
            adit,
            topology,
        }
    }

    /// Tells one end something; both must take it.
    fn tell(&self, side: Side, command: &str, message: &Message) {
        let told = match side {
            Side::A => self.adit.request(command, message),
            Side::B => self.charon.request(command, message),
        };
        told.unwrap_or_else(|e| panic!("{command} at {}: {e}", side.gateway()));
    }

    /// Loads a connection of one child at both ends, each seeing it from its own side.
    fn load(&self, name: &str, family: Family, ours: &str, theirs: &str) {
        for (side, proposals) in [(Side::A, ours), (Side::B, theirs)] {
            self.tell(
                side,
                "load-conn",
                &connection(name, side, family, proposals),
            );
        }
    }

    fn initiate(&self, side: Side, name: &str) {
        let what = Message::new()
            .with("ike", name)
            .with("child", format!("{name}-net"))
            .with("timeout", "10000");
        self.tell(side, "initiate", &what);
    }

    fn pings_pass(&self, family: Family) {
        for side in Side::BOTH {
            let plan = PingPlan {
                count: 3,
                ..PingPlan::default()
            };
            let to = side.other().host_address(family);
            let pings = traffic::ping(self.topology.host(side), to, plan).expect("pings");
            assert_eq!(pings.received, 3, "{family} from {}", side.host());
        }
    }
}

fn connection(name: &str, side: Side, family: Family, proposals: &str) -> Message {
    connection_by("psk", name, side, family, proposals)
}

fn connection_by(auth: &str, name: &str, side: Side, family: Family, proposals: &str) -> Message {
    let other = side.other();
    let end = |id: String| Message::new().with("auth", auth).with("id", id);
    let child = Message::new()
        .with_list("esp_proposals", ["aes128gcm16"])
        .with_list("local_ts", [side.prefix(family)])
        .with_list("remote_ts", [other.prefix(family)]);
    let connection = Message::new()
        .with("version", "2")
        .with_list(
            "local_addrs",
            [side.outside_address(Family::V4).to_string()],
        )
        .with_list(
            "remote_addrs",
            [other.outside_address(Family::V4).to_string()],
        )
        .with_list("proposals", [proposals])
        .with_section("local", end(format!("{name}.{}", side.gateway())))
        .with_section("remote", end(format!("{name}.{}", other.gateway())))
        .with_section(
            "children",
            Message::new().with_section(format!("{name}-net"), child),
        );
    Message::new().with_section(name, connection)
}

fn shared(secret: &str, owner: &str) -> Message {
    Message::new()
        .with("type", "IKE")
        .with("data", secret)
        .with_list("owners", [owner])
}

/// What adit last said about a connection that failed.
fn explained(adit: &Gateway, connection: &str) -> Message {
    let mut client = Client::connect(adit.control_socket()).expect("a connection");
    let request = Message::new().with("connection", connection);
    let mut failures = Vec::new();
    client
        .stream("adit-explain", "adit-failure", &request, |f| {
            failures.push(f)
        })
        .expect("an answer");
    failures.into_iter().next().expect("a failure")
}

#[test]
fn either_end_brings_a_child_up_and_a_refusal_is_explained() {
    or_skip!(Charon::require().map_err(|e| e.to_string()));
    let pair = Pair::start();
    let modern = "aes256gcm16-prfsha384-ecp384";

    pair.load("ours", Family::V4, modern, modern);
    pair.load(
        "theirs",
        Family::V6,
        "aes128-sha256-x25519",
        "aes128-sha256-curve25519",
    );
    for side in Side::BOTH {
        for name in ["ours", "theirs"] {
            let owner = format!("{name}.{}", side.other().gateway());
            pair.tell(side, "load-shared", &shared("a secret of both", &owner));
        }
    }
    pair.initiate(Side::A, "ours");
    pair.pings_pass(Family::V4);
    pair.initiate(Side::B, "theirs");
    pair.pings_pass(Family::V6);

    // One that cannot agree: each side wants another group.
    pair.load(
        "odd",
        Family::V4,
        "aes128-sha256-ecp256",
        "aes256-sha384-ecp384",
    );
    let what = Message::new().with("ike", "odd").with("timeout", "10000");
    let refused = pair
        .adit
        .request("initiate", &what)
        .expect_err("no proposal");
    assert!(refused.to_string().contains("proposal"), "{refused}");
    let told = explained(&pair.adit, "odd");
    assert!(
        told.str("reason").is_some_and(|r| r.contains("proposal")),
        "{told:?}"
    );
}

/// An authority, and for each side a certificate that it issued: one with an ECDSA key, one with an RSA key.
struct Pki {
    authority: Vec<u8>,
    ends: [(Vec<u8>, Vec<u8>); 2],
}

impl Pki {
    fn new(name: &str) -> Self {
        use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "lab CA");
        let authority = params.self_signed(&key).expect("a certificate");
        let issuer = Issuer::new(params, key);
        let algorithms = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_RSA_SHA256];
        let mut sides = Side::BOTH.into_iter().zip(algorithms);
        let ends = std::array::from_fn(|_| {
            let (side, algorithm) = sides.next().expect("a side");
            let key = KeyPair::generate_for(algorithm).expect("a key");
            let id = format!("{name}.{}", side.gateway());
            let params = CertificateParams::new(vec![id]).expect("parameters");
            let certificate = params.signed_by(&key, &issuer).expect("a certificate");
            (certificate.der().to_vec(), key.serialize_der())
        });
        Self {
            authority: authority.der().to_vec(),
            ends,
        }
    }
}

#[test]
fn certificates_of_both_kinds_are_believed_both_ways_and_strangers_are_not() {
    or_skip!(Charon::require().map_err(|e| e.to_string()));
    let pair = Pair::start();
    let proposals = "aes128gcm16-prfsha256-ecp256";
    for name in ["known", "stranger"] {
        let pki = Pki::new(name);
        for (side, (certificate, key)) in Side::BOTH.into_iter().zip(&pki.ends) {
            let x509 = |flag: &str, data: &[u8]| {
                Message::new()
                    .with("type", "X509")
                    .with("flag", flag)
                    .with("data", data)
            };
            // Nobody told adit of the authority that issued the stranger's.
            if (name, side) != ("stranger", Side::A) {
                pair.tell(side, "load-cert", &x509("CA", &pki.authority));
            }
            pair.tell(side, "load-cert", &x509("NONE", certificate));
            let kind = if side == Side::A { "ecdsa" } else { "rsa" };
            pair.tell(
                side,
                "load-key",
                &Message::new().with("type", kind).with("data", key),
            );
            let connection = connection_by("pubkey", name, side, Family::V4, proposals);
            pair.tell(side, "load-conn", &connection);
        }
    }
    pair.initiate(Side::A, "known");
    pair.pings_pass(Family::V4);

    let what = Message::new()
        .with("ike", "stranger")
        .with("timeout", "10000");
    pair.adit
        .request("initiate", &what)
        .expect_err("an unknown authority");
    let told = explained(&pair.adit, "stranger");
    let problem = told.str("problem").unwrap_or_default();
    assert!(problem.contains("lab CA"), "{problem}");
}

//! `adit.toml` is read again under traffic: what is still wanted goes on as if nothing had been.

use std::process::Command;

use adit::lab::flow::{Flow, FlowPlan};
use adit::lab::gateway::Gateway;
use adit::lab::{Side, Topology};
use adit_vici::Message;

use crate::rig::{LIMIT, Rig};
use crate::{alone, runnable};

/// A child with manual keys, as gateway `side` has it.
fn connection(side: Side, priority: u32) -> String {
    let (here, there) = (side as u32 + 1, side.other() as u32 + 1);
    let keys = |from: u32| {
        let digit = |n: u32| format!("{n:x}").repeat(64);
        (digit(from), digit(from + 8))
    };
    let ((enc_out, auth_out), (enc_in, auth_in)) = (keys(here), keys(there));
    format!(
        "\n[connections.lab]\nlocal_addrs = [\"192.0.2.{here}\"]\nremote_addrs = [\"192.0.2.{there}\"]\n\
         [connections.lab.children.net]\nlocal_ts = [\"10.{here}.0.0/24\"]\nremote_ts = [\"10.{there}.0.0/24\"]\n\
         esp_proposals = [\"aes256-sha256\"]\npriority = {priority}\n\
         manual = {{ spi_in = 0x{there}001, spi_out = 0x{here}001, secret = \"lab\" }}\n\
         [secrets.lab]\nenc_in = \"{enc_in}\"\nauth_in = \"{auth_in}\"\nenc_out = \"{enc_out}\"\nauth_out = \"{auth_out}\"\n"
    )
}

const FURTHER: &str = "\n[policies.further]\naction = \"bypass\"\npriority = 10\nlocal_ts = [\"10.1.0.0/24[udp/9]\"]\n\
    remote_ts = [\"10.9.0.0/24\"]\n";

/// `adit reload` at a gateway: whether it went well, and what it said.
fn reload(gateway: &Gateway) -> (bool, String) {
    let mut adit = Command::new(env!("CARGO_BIN_EXE_adit"));
    let adit = adit.arg("reload").arg("--socket");
    let output = adit.arg(gateway.control_socket()).output().expect("adit");
    let said = [output.stdout, output.stderr].concat();
    (
        output.status.success(),
        String::from_utf8_lossy(&said).into_owned(),
    )
}

fn policies(gateway: &Gateway) -> Vec<String> {
    let (mut client, asked) = (
        adit_vici::Client::connect(gateway.control_socket()).expect("a client"),
        Message::new()
            .with("trap", "yes")
            .with("pass", "yes")
            .with("drop", "yes"),
    );
    let listed = client.collect("list-policies", "list-policy", &asked);
    let mut shown: Vec<_> = listed
        .expect("a list")
        .iter()
        .flat_map(Message::sections)
        .map(|(name, policy)| format!("{name} {}", policy.str("priority").unwrap_or_default()))
        .collect();
    shown.sort();
    shown
}

fn flow(topology: &Topology) -> Flow {
    let plan = FlowPlan {
        rate: 500,
        ..FlowPlan::default()
    };
    Flow::start(topology, plan).expect("a flow")
}

#[test]
fn what_is_still_wanted_goes_on_and_a_bad_file_changes_nothing() {
    or_skip!(runnable());
    let _alone = alone();
    let mut rig = Rig::unstarted();
    let empty = Side::BOTH.map(|side| {
        let path = rig.gateway(side).config_path();
        std::fs::read_to_string(path).expect("a configuration")
    });
    let write = |rig: &mut Rig, side: Side, more: &str| {
        let text = format!("{}{more}", empty[side as usize]);
        std::fs::write(rig.gateway(side).config_path(), text).expect("a configuration");
    };
    for side in Side::BOTH {
        write(&mut rig, side, &connection(side, 2000));
        rig.gateway(side).start().expect("a gateway");
    }
    let flow = flow(&rig.topology);
    flow.wait_for_arrivals(100, LIMIT).expect("traffic");
    let sas = rig.gateway(Side::A).sas().expect("a list");
    assert_eq!(sas, ["in 00002001", "out 00001001"]);
    assert_eq!(
        reload(rig.gateway(Side::A)),
        (true, "nothing changed\n".into())
    );

    // Another priority, and a policy more: both SAs go on.
    let more = connection(Side::A, 1500) + FURTHER;
    write(&mut rig, Side::A, &more);
    let (went_well, said) = reload(rig.gateway(Side::A));
    assert!(went_well, "{said}");
    assert!(
        said.contains("added further") && said.contains("replaced, with its SAs in place: lab/net"),
        "{said}"
    );
    let now = policies(rig.gateway(Side::A));
    assert_eq!(now, ["further 10", "lab/net 1500"]);
    flow.wait_for_arrivals(100, LIMIT).expect("traffic");

    // A fault, and where it is.
    let bad = more.replace("bypass", "by-pass");
    write(&mut rig, Side::A, &bad);
    let line = 1 + std::fs::read_to_string(rig.gateway(Side::A).config_path())
        .expect("a configuration")
        .lines()
        .position(|line| line.contains("by-pass"))
        .expect("the line");
    let (went_well, said) = reload(rig.gateway(Side::A));
    assert!(!went_well);
    assert!(
        said.contains(&format!("adit.toml:{line}: policies.further.action")),
        "{said}"
    );
    assert_eq!(policies(rig.gateway(Side::A)), now);
    assert_eq!(rig.gateway(Side::A).sas().expect("a list"), sas);
    flow.wait_for_arrivals(100, LIMIT).expect("traffic");

    // What the file no longer names goes.
    write(&mut rig, Side::A, "");
    let tally = flow.stop().expect("a tally");
    assert_eq!((tally.lost(), tally.duplicates), (0, 0), "{tally:?}");
    let (went_well, said) = reload(rig.gateway(Side::A));
    assert!(went_well && said.contains("removed lab/net"), "{said}");
    assert_eq!(policies(rig.gateway(Side::A)), [""; 0]);
    assert_eq!(rig.gateway(Side::A).sas().expect("a list"), [""; 0]);
}

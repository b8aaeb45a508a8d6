//! tshark decrypts a capture of what we seal, and finds every ICV right.

use crate::data_path::DataPath;
use crate::peers::sa::EspSa;
use crate::peers::tshark::{self, Verdict, decrypt, write_capture};
use crate::ping::{self, Echo};
use crate::tunnel::Tunnel;
use adit::lab::capture::{Captured, WireCapture};
use adit::lab::daemons::Daemons;
use adit::lab::flow::{self, Flow, FlowPlan, Tally};
use adit::lab::gateway::{self, Gateway};
use adit::lab::sas::{SaShape, TunnelPlan};
use adit::lab::{Family, Shape, Side, Topology};
use adit_abi::Suite;
use std::path::Path;
use std::time::Duration;

#[test]
fn tshark_decrypts_what_the_data_path_seals() {
    for (name, mut tunnels) in [("plain", Tunnel::all()), ("udp", Tunnel::all_in_udp())] {
        tunnels.retain(|tunnel| tshark::knows(&tunnel.to_peer));
        let mut data_path = DataPath::new(&tunnels);
        let mut packets = Vec::new();
        let mut expected = Vec::new();
        for tunnel in &tunnels {
            for (sequence, size) in (1_u32..).zip([0, 3, 56, 1352]) {
                let inner = ping::request(tunnel.here, tunnel.there, 64, &Echo::new(1, size));
                let sealed = data_path.seal(&inner);
                packets.push(sealed.unwrap_or_else(|e| panic!("{}: {e}", tunnel.describe())));
                expected.push((tunnel, sequence));
            }
        }
        let capture = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("sealed-{name}.pcap"));
        write_capture(&capture, &packets);
        let sas: Vec<_> = tunnels.iter().map(|t| t.to_peer.clone()).collect();
        let verdicts = or_skip!(decrypt(&capture, &sas));
        assert_eq!(verdicts.len(), expected.len());
        for ((tunnel, sequence), verdict) in expected.iter().zip(&verdicts) {
            check(tunnel, *sequence, verdict);
        }
    }
}

fn check(tunnel: &Tunnel, sequence: u32, verdict: &Verdict) {
    let case = format!("{}: {verdict:?}", tunnel.describe());
    assert_eq!(verdict.icv_good, Some(true), "{case}");
    assert_eq!(verdict.spi, Some(tunnel.to_peer.spi), "{case}");
    assert_eq!(verdict.sequence, Some(sequence), "{case}");
    let ends = (tunnel.here, tunnel.there);
    assert!(verdict.addresses.contains(&ends), "{case}");
    assert!(verdict.layers.contains("icmp"), "{case}");
}

#[test]
fn tshark_decrypts_what_passed_between_two_gateways_and_finds_what_was_sent() {
    or_skip!(crate::runnable());
    or_skip!(Daemons::find());
    let topology = Topology::build(Shape {
        queues: 1,
        tapped: true,
    })
    .expect("a lab");
    let mut gateways = Side::BOTH.map(|side| Gateway::new(&topology, side).expect("a gateway"));
    for gateway in &mut gateways {
        gateway.start().expect("a gateway that is ready");
    }
    let mut before: Option<TunnelPlan> = None;
    for (suite, outer) in [
        (Suite::AES128_GCM16, Family::V4),
        (Suite::AES256_SHA256, Family::V6),
    ] {
        let shape = SaShape {
            suite,
            outer,
            ..SaShape::default()
        };
        let plan = TunnelPlan::fresh(shape).expect("random octets");
        match before.replace(plan.clone()) {
            None => gateway::install(&gateways, &plan),
            Some(old) => gateway::rekey(&gateways, &old, &plan),
        }
        .expect("a tunnel");
        let capture = WireCapture::start(&topology, &suite.to_string(), 0).expect("a capture");
        let tallies = exchange(&topology);
        let captured = capture.stop().expect("every frame");
        for from in Side::BOTH {
            let tallies = tallies.iter().filter(|(plan, _)| plan.from == from);
            or_skip!(check_wire(&plan, &captured, from, tallies));
        }
    }
}

/// A flow in each direction of each family, each of some hundred packets, none of them lost.
fn exchange(topology: &Topology) -> Vec<(FlowPlan, Tally)> {
    let plans = Side::BOTH.into_iter().flat_map(|from| {
        Family::BOTH.map(|family| FlowPlan {
            from,
            family,
            rate: 500,
            ..FlowPlan::default()
        })
    });
    let flows = plans.map(|plan| (plan, Flow::start(topology, plan).expect("a flow")));
    let flows: Vec<_> = flows.collect();
    for (_, flow) in &flows {
        let limit = Duration::from_secs(20);
        flow.wait_for_arrivals(100, limit).expect("traffic");
    }
    let tallies = flows.into_iter().map(|(plan, flow)| {
        let tally = flow.stop().expect("a tally");
        assert_eq!(tally.lost(), 0, "{plan:?}: {tally:?}");
        (plan, tally)
    });
    tallies.collect()
}

/// Everything that left the gateway of one side, in tshark's eyes: each ESP packet is right, and the flows lie in them as they were sent.
fn check_wire<'a>(
    plan: &TunnelPlan,
    captured: &Captured,
    from: Side,
    tallies: impl Iterator<Item = &'a (FlowPlan, Tally)>,
) -> Result<(), crate::peers::Unavailable> {
    let sas: Vec<_> = plan.sas.iter().map(|sa| EspSa::of_lab(plan, sa)).collect();
    let verdicts = decrypt(&captured.files[from as usize], &sas)?;
    let esp: Vec<_> = verdicts.iter().filter(|v| v.spi.is_some()).collect();
    for verdict in &esp {
        assert_eq!(
            verdict.icv_good,
            Some(true),
            "{}: {verdict:?}",
            plan.proposal()
        );
    }
    let mut found = 0;
    for (flow, tally) in tallies {
        let (source, sink) = (
            flow.from.host_address(flow.family),
            flow.from.other().host_address(flow.family),
        );
        let inner = esp.iter().filter(|v| v.addresses.contains(&(source, sink)));
        let payloads: Vec<_> = inner.map(|v| v.data.clone()).collect();
        let sent: Vec<_> = (0..tally.sent).map(|n| payload(flow, n)).collect();
        assert!(
            payloads == sent,
            "{flow:?}: {} of {}",
            payloads.len(),
            sent.len()
        );
        found += payloads.len();
    }
    assert_eq!(found, esp.len(), "more was sealed than was sent");
    Ok(())
}

/// The payload number `n` of a flow.
fn payload(flow: &FlowPlan, n: u64) -> Vec<u8> {
    let mut payload = [&flow::MARKER[..], &n.to_be_bytes()].concat();
    payload.resize(flow.size, 0);
    payload
}

//! Rekeying under traffic: child and IKE SAs, from either side and from both at once, while a flow counts what is lost.

use std::time::Duration;

use adit_vici::{Client, Message};

use super::flow::{self, Flow, FlowPlan};
use super::gateway::Gateway;
use super::scenario::say;
use super::wait::{self, Look};
use super::{Family, LabError, Side, Topology};

/// How long one rekey may take.
const LIMIT: Duration = Duration::from_secs(20);
/// How long the flow goes on after the last rekey, in packets of a second.
const AFTERWARDS: Duration = Duration::from_secs(4);

/// What became of a flow while its SAs were rekeyed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Rekeyed {
    /// How often.
    pub rekeys: u32,
    /// Packets a second: half of what the path carried without loss just before.
    pub packets_per_second: u32,
    /// Packets sent.
    pub packets_sent: u64,
    /// Packets that did not arrive.
    pub packets_lost: u64,
    /// Packets that arrived more than once.
    pub packets_duplicated: u64,
    /// The longest time without an arrival, in milliseconds.
    pub longest_gap_ms: u64,
}

/// What is rekeyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Child,
    Ike,
}

/// Rekeys of one sort after another: what, and who begins.
const ORDER: [(What, &[Side]); 6] = [
    (What::Child, &[Side::A]),
    (What::Ike, &[Side::B]),
    (What::Child, &[Side::B]),
    (What::Child, &Side::BOTH),
    (What::Ike, &[Side::A]),
    (What::Ike, &Side::BOTH),
];

/// Rekeys this often under a flow at half the lossless rate.
///
/// # Errors
/// [`LabError`] if no rate is without loss, or a rekey does not come to an end.
pub fn rekey(
    topology: &Topology,
    gateways: &[Gateway],
    connection: &str,
    child: &str,
    rekeys: u32,
) -> Result<Rekeyed, LabError> {
    let plan = FlowPlan {
        family: Family::V4,
        ..FlowPlan::default()
    };
    let lossless = flow::lossless_rate(topology, plan, 500, 256_000)?;
    let rate = lossless.map(|rate| rate / 2).ok_or_else(|| {
        LabError::Usage("even 500 packets a second lose some on this machine now".into())
    })?;
    say(&format!("{rekeys} rekeys under {rate} packets/s"));
    let flow = Flow::start(topology, FlowPlan { rate, ..plan })?;
    for (n, (what, sides)) in (1..=rekeys).zip(ORDER.iter().cycle()) {
        let before = names(gateways, connection, child, *what)?;
        let mut request = Message::new().with("ike", connection);
        if *what == What::Child {
            request.add("child", child);
        }
        for gateway in gateways.iter().filter(|g| sides.contains(&g.side())) {
            // The other side may have been quicker, and what is being replaced cannot be rekeyed.
            let _ = gateway.request("rekey", &request);
        }
        wait::until(&format!("rekey {n} ({what:?}) to be done"), LIMIT, || {
            let now = names(gateways, connection, child, *what)?;
            let settled = now
                .iter()
                .zip(&before)
                .all(|(now, before)| now.len() == 1 && now != before);
            Ok(if settled {
                Look::Ready(())
            } else {
                Look::NotYet(format!("{before:?} became {now:?}"))
            })
        })?;
        if n % 100 == 0 {
            say(&format!("  {n} done"));
        }
    }
    flow.wait_for_arrivals(u64::from(rate), AFTERWARDS)?;
    let tally = flow.stop()?;
    Ok(Rekeyed {
        rekeys,
        packets_per_second: rate,
        packets_sent: tally.sent,
        packets_lost: tally.lost(),
        packets_duplicated: tally.duplicates,
        longest_gap_ms: u64::try_from(tally.longest_gap.as_millis()).unwrap_or(u64::MAX),
    })
}

/// The SPIs by which each gateway knows the connection's IKE SAs or the child's SAs.
fn names(
    gateways: &[Gateway],
    connection: &str,
    child: &str,
    what: What,
) -> Result<Vec<Vec<String>>, LabError> {
    let of_one = |gateway: &Gateway| -> Result<Vec<String>, LabError> {
        let failed = |source| LabError::Control {
            gateway: gateway.side().gateway(),
            source,
        };
        let mut client = Client::connect(gateway.control_socket()).map_err(failed)?;
        let request = Message::new().with("ike", connection);
        let mut found = Vec::new();
        let each = |event: Message| {
            for (_, ike) in event.sections() {
                let text = |m: &Message, key| m.str(key).unwrap_or_default().to_owned();
                match what {
                    What::Ike => {
                        found.push(text(ike, "initiator-spi") + &text(ike, "responder-spi"))
                    }
                    What::Child => {
                        let children = ike.section("child-sas").into_iter();
                        let children = children.flat_map(Message::sections);
                        let ours = children.filter(|(_, c)| c.str("name") == Some(child));
                        found.extend(ours.map(|(_, c)| text(c, "spi-in") + &text(c, "spi-out")));
                    }
                }
            }
        };
        client
            .stream("list-sas", "list-sa", &request, each)
            .map_err(failed)?;
        Ok(found)
    };
    gateways.iter().map(of_one).collect()
}

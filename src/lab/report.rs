//! What a scenario found: the table for a person, and the same as JSON.

use std::collections::BTreeMap;
use std::fmt::Write;

use super::rekeys::Rekeyed;
use super::traffic::{Pings, Transfer};

/// The outcome of `adit lab tunnel`.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize)]
pub struct Report {
    /// How the tunnel was set up.
    pub setup: BTreeMap<&'static str, String>,
    /// Echo requests sent, all rows together.
    pub pings_sent: u64,
    /// Echo replies received, all rows together.
    pub pings_received: u64,
    /// TCP payload that arrived, in megabits a second: all transfers' octets over all transfers' time.
    pub mbit_per_s: f64,
    /// Packets a second at the receiving host during the transfers, both directions together.
    pub packets_per_s: f64,
    /// The same transfer over the same wires with the kernel forwarding and no tunnel, in megabits a second.
    pub kernel_mbit_per_s: Option<f64>,
    /// Dropped packets by reason, both gateways together.
    pub drops: BTreeMap<String, u64>,
    /// For each gateway, how each port is attached and bound, and why.
    pub modes: BTreeMap<String, Vec<PortModes>>,
    /// The pings, row by row.
    pub pings: Vec<PingRow>,
    /// The transfers, row by row.
    pub transfers: Vec<TransferRow>,
    /// What must reach the gateways' kernels past the data plane, and whether it did.
    pub own_traffic: Vec<OwnRow>,
    /// What became of a flow while its SAs were rekeyed, if they were.
    #[serde(flatten)]
    pub rekeyed: Option<Rekeyed>,
    /// Dropped packets by gateway and reason.
    pub drops_by_gateway: BTreeMap<String, BTreeMap<String, u64>>,
}

/// How a port is attached and bound.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct PortModes {
    /// The interface.
    pub port: String,
    /// XDP attach mode: `native` or `generic`.
    pub xdp: String,
    /// AF_XDP bind mode: `zero-copy` or `copy`.
    pub af_xdp: String,
    /// Why these.
    pub why: String,
}

/// One series of pings.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct PingRow {
    /// Which way and what for.
    pub what: String,
    /// What came of it.
    #[serde(flatten)]
    pub pings: Pings,
}

/// One bulk transfer.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct TransferRow {
    /// Which way and what for.
    pub what: String,
    /// What came of it.
    #[serde(flatten)]
    pub transfer: Transfer,
}

/// One thing that belongs to a gateway's kernel.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct OwnRow {
    /// What was tried.
    pub what: String,
    /// Whether it worked.
    pub works: bool,
    /// What was seen.
    pub seen: String,
}

impl Report {
    /// Adds a series of pings.
    pub fn add_pings(&mut self, what: String, pings: Pings) {
        self.pings_sent += pings.sent;
        self.pings_received += pings.received;
        self.pings.push(PingRow { what, pings });
    }

    /// Adds a bulk transfer.
    pub fn add_transfer(&mut self, what: String, transfer: Transfer) {
        self.transfers.push(TransferRow { what, transfer });
        let over_time = |value: fn(&Transfer) -> f64| {
            let seconds: f64 = self.transfers.iter().map(|row| row.transfer.seconds).sum();
            let whole: f64 = self
                .transfers
                .iter()
                .map(|row| value(&row.transfer) * row.transfer.seconds)
                .sum();
            if seconds > 0.0 { whole / seconds } else { 0.0 }
        };
        self.mbit_per_s = over_time(|transfer| transfer.mbit_per_s);
        self.packets_per_s = over_time(|transfer| transfer.packets_per_s);
    }

    /// Adds what a gateway dropped.
    pub fn add_drops(&mut self, gateway: &str, drops: BTreeMap<String, u64>) {
        for (reason, count) in &drops {
            *self.drops.entry(reason.clone()).or_default() += count;
        }
        self.drops_by_gateway.insert(gateway.to_owned(), drops);
    }

    /// Whether all is well: every ping came back, every transfer moved something, the kernels' own traffic lives,
    /// and no rekey lost or doubled a packet.
    pub fn is_good(&self) -> bool {
        self.pings_sent > 0
            && self.pings_received == self.pings_sent
            && self.transfers.iter().all(|row| row.transfer.bytes > 0)
            && self.own_traffic.iter().all(|row| row.works)
            && self
                .rekeyed
                .as_ref()
                .is_none_or(|r| r.packets_lost == 0 && r.packets_duplicated == 0)
    }

    /// The table for a person.
    pub fn table(&self) -> String {
        let mut out = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut String) -> std::fmt::Result {
        let setup: Vec<String> = self
            .setup
            .iter()
            .map(|(key, value)| format!("{key} {value}"))
            .collect();
        writeln!(out, "{}\n", setup.join(", "))?;

        let wide = self
            .pings
            .iter()
            .map(|row| &row.what)
            .chain(self.transfers.iter().map(|row| &row.what))
            .chain(self.own_traffic.iter().map(|row| &row.what))
            .map(|what| what.chars().count())
            .max()
            .unwrap_or(0)
            .max("kernel forwarding, no tunnel".len());
        writeln!(
            out,
            "{:wide$}  {:>6} {:>8} {:>9}",
            "pings", "sent", "received", "mean ms"
        )?;
        for PingRow { what, pings } in &self.pings {
            let mean = pings.mean_ms.map_or("-".into(), |ms| format!("{ms:.3}"));
            writeln!(
                out,
                "{what:wide$}  {:>6} {:>8} {mean:>9}",
                pings.sent, pings.received
            )?;
        }
        writeln!(
            out,
            "{:wide$}  {:>6} {:>8}",
            "all", self.pings_sent, self.pings_received
        )?;

        if !self.transfers.is_empty() {
            writeln!(
                out,
                "\n{:wide$}  {:>8} {:>11} {:>11}",
                "TCP", "Mbit/s", "packets/s", "retransmits"
            )?;
        }
        for TransferRow { what, transfer } in &self.transfers {
            writeln!(
                out,
                "{what:wide$}  {:>8.0} {:>11.0} {:>11}",
                transfer.mbit_per_s, transfer.packets_per_s, transfer.retransmits
            )?;
        }
        if let Some(r) = &self.rekeyed {
            writeln!(
                out,
                "\n{} rekeys at {} packets/s: {} sent, {} lost, {} doubled, longest gap {} ms",
                r.rekeys,
                r.packets_per_second,
                r.packets_sent,
                r.packets_lost,
                r.packets_duplicated,
                r.longest_gap_ms
            )?;
        }
        if let Some(kernel) = self.kernel_mbit_per_s {
            writeln!(
                out,
                "{:wide$}  {kernel:>8.0}",
                "kernel forwarding, no tunnel"
            )?;
        }

        if !self.own_traffic.is_empty() {
            writeln!(out, "\nthe gateways' own traffic, past the data plane")?;
        }
        for row in &self.own_traffic {
            let verdict = if row.works { "works" } else { "FAILS" };
            writeln!(out, "{:wide$}  {verdict}: {}", row.what, row.seen)?;
        }

        if !self.modes.is_empty() {
            writeln!(out, "\nmodes")?;
        }
        for (gateway, ports) in &self.modes {
            for port in ports {
                writeln!(
                    out,
                    "{gateway} {:<8}  XDP {}, AF_XDP {}: {}",
                    port.port, port.xdp, port.af_xdp, port.why
                )?;
            }
        }

        if !self.drops_by_gateway.is_empty() {
            writeln!(out, "\ndrops by reason")?;
        }
        for (gateway, drops) in &self.drops_by_gateway {
            if drops.is_empty() {
                writeln!(out, "{gateway}  none")?;
            }
            for (reason, count) in drops {
                writeln!(out, "{gateway}  {reason:<28} {count:>8}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pings(sent: u64, received: u64) -> Pings {
        Pings {
            sent,
            received,
            duplicates: 0,
            mean_ms: None,
        }
    }

    fn transfer(mbit_per_s: f64, seconds: f64) -> Transfer {
        Transfer {
            mbit_per_s,
            bytes: 1,
            retransmits: 0,
            packets_per_s: 10.0,
            seconds,
        }
    }

    #[test]
    fn one_lost_ping_spoils_the_report() {
        let mut report = Report::default();
        assert!(!report.is_good(), "no ping at all");
        report.add_pings("there".into(), pings(5, 5));
        assert!(report.is_good());
        report.add_pings("back".into(), pings(5, 4));
        assert!(!report.is_good());
        assert_eq!((report.pings_sent, report.pings_received), (10, 9));
    }

    #[test]
    fn rates_are_weighted_by_time() {
        let mut report = Report::default();
        report.add_transfer("short".into(), transfer(100.0, 1.0));
        report.add_transfer("long".into(), transfer(400.0, 3.0));
        assert_eq!(report.mbit_per_s, 325.0);
    }

    #[test]
    fn drops_of_both_gateways_are_added() {
        let mut report = Report::default();
        report.add_drops("gw-a", BTreeMap::from([("replayed".into(), 2)]));
        report.add_drops("gw-b", BTreeMap::from([("replayed".into(), 3)]));
        assert_eq!(report.drops["replayed"], 5);
        assert!(report.table().contains("gw-b  replayed"));
    }
}

//! `adit probe mtu`: the largest packet that comes back through a tunnel, found by sending some.
//!
//! Echo requests of growing sizes, with DF set, go out of this host through the TUN device, are sealed like any other
//! traffic, and come back from the far side. What the gateway refuses it says by ICMP; what a router drops in silence
//! just does not come back, so a black hole shows here and nowhere else.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use adit_abi::{Address, Suite};
use adit_control::selector_syntax::SelectorSide;
use adit_vici::Message;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{self, AddressFamily, RecvFlags, SendFlags, SocketType, ipproto};
use serde::Serialize;

use crate::cli::{CliError, Gateway};
use crate::sa::{SaRow, sa_rows};
use crate::tree;

mod echo;

use echo::{Answer, Echo};

/// `adit probe …`
#[derive(Debug, Clone, clap::Subcommand)]
pub enum ProbeCommand {
    /// The largest packet that comes back from the far side of a tunnel; needs root
    Mtu(Mtu),
}

/// What is sent where.
#[derive(Debug, Clone, clap::Args)]
pub struct Mtu {
    /// An address on the far side that answers pings, such as the other gateway's inside address
    #[arg(long)]
    pub to: IpAddr,
    /// This gateway's inside address, which the tunnel's policy covers
    #[arg(long)]
    pub from: IpAddr,
    /// The largest packet to try, in octets
    #[arg(long, value_name = "OCTETS", default_value_t = 1500, value_parser = clap::value_parser!(u16).range(1280..=9000))]
    pub most: u16,
    /// How long to wait for an answer, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=10_000))]
    pub wait: u64,
}

/// Tries of each size before it counts as lost.
const TRIES: u32 = 2;

/// What was found.
#[derive(Debug, Serialize, PartialEq, Eq)]
struct Found {
    /// Octets of the largest inner packet that came back.
    inner_mtu: u16,
    /// Octets of its outer packet, where the SA is known.
    outer: Option<u16>,
    /// Why larger ones do not come back.
    limited_by: Limit,
    /// The outbound SA's path MTU as the gateway knows it.
    path_mtu: Option<u16>,
    /// The outbound SA's SPI.
    spi: Option<String>,
    /// Packets sent.
    probes: u32,
}

/// Why larger packets do not come back.
#[derive(Clone, Copy, Debug, Serialize, PartialEq, Eq)]
#[serde(rename_all = "kebab-case")]
enum Limit {
    /// None larger was tried.
    NotTried,
    /// The gateway refused them: its route to the peer takes no larger ones.
    Route,
    /// The gateway refused them: the SA's path MTU was set, or a router has told it.
    PathMtu,
    /// They were lost, and nobody said anything.
    Silence,
}

/// Does it.
///
/// # Errors
/// Where nothing comes back at all, or the gateway or the system refuses.
pub fn run(
    gateway: &Gateway,
    command: &ProbeCommand,
    out: &mut impl Write,
) -> Result<(), CliError> {
    let ProbeCommand::Mtu(mtu) = command;
    if mtu.to.is_ipv4() != mtu.from.is_ipv4() {
        let text =
            "--from and --to are addresses of two families: the tunnel's inner packets have one";
        return Err(CliError::Usage(text.into()));
    }
    let mut prober = Prober::new(mtu)?;
    let (inner_mtu, said) = search(mtu.least(), mtu.most, |size| prober.try_size(size))?;
    let probes = prober.sent;
    // Asked now: the probes may have taught the gateway something.
    let sa = sa_between(gateway, mtu)?;
    let limited_by = match said {
        _ if inner_mtu == mtu.most => Limit::NotTried,
        Some(told) if told == inner_mtu => match sa.as_ref().and_then(|sa| sa.path_mtu) {
            Some(_) => Limit::PathMtu,
            None => Limit::Route,
        },
        _ => Limit::Silence,
    };
    let found = Found {
        inner_mtu,
        outer: sa.as_ref().and_then(|sa| outer_len(sa, inner_mtu)),
        limited_by,
        path_mtu: sa.as_ref().and_then(|sa| sa.path_mtu),
        spi: sa.map(|sa| sa.spi),
        probes,
    };
    if gateway.json {
        return tree::print_json(&serde_json::json!(found), out);
    }
    Ok(found.print(out)?)
}

impl Mtu {
    /// The smallest size tried: below it there is no use in a tunnel.
    fn least(&self) -> u16 {
        if self.to.is_ipv4() { 296 } else { 1280 }
    }
}

impl Found {
    fn print(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "largest inner packet  {} octets", self.inner_mtu)?;
        if let (Some(outer), Some(spi)) = (self.outer, &self.spi) {
            writeln!(
                out,
                "its outer packet      {outer} octets, sealed under {spi}"
            )?;
        }
        let why = match self.limited_by {
            Limit::NotTried => "nothing: larger ones were not tried (--most)".to_owned(),
            Limit::Route => "the MTU of this gateway's route to the peer".to_owned(),
            Limit::PathMtu => format!(
                "the SA's path MTU, {} octets: it was set, or a router on the way has told it",
                self.path_mtu.unwrap_or_default()
            ),
            Limit::Silence => format!(
                "silence: larger ones are lost and no router says so. Set path_mtu = {} for the SA, or \
                 let ICMP pass on the way",
                self.outer.unwrap_or(self.inner_mtu)
            ),
        };
        writeln!(out, "limited by            {why}")
    }
}

/// The largest size that came back between two bounds, and the MTU that was told last.
fn search(
    least: u16,
    most: u16,
    mut try_size: impl FnMut(u16) -> Result<Answer, CliError>,
) -> Result<(u16, Option<u16>), CliError> {
    if try_size(least)? != Answer::Back {
        return Err(CliError::Usage(format!(
            "not even {least} octets come back: is there an SA both ways, does a policy cover --from and --to, \
             and does --to answer pings?"
        )));
    }
    let (mut good, mut bad, mut said) = (least, most.saturating_add(1), None);
    let mut next = most;
    while bad - good > 1 {
        match try_size(next)? {
            Answer::Back => good = next,
            Answer::Nothing => bad = next,
            Answer::TooBig(mtu) => {
                bad = next;
                said = Some(mtu);
                // Believed only as far as it helps: the size it names is tried like any other.
                if (good + 1..bad).contains(&mtu) {
                    next = mtu;
                    continue;
                }
            }
        }
        // Just above what worked, once a limit was told; else in the middle.
        next = match said {
            Some(mtu) if mtu == good && bad > good + 1 => good + 1,
            _ => good + (bad - good).div_ceil(2).min(bad - good - 1).max(1),
        };
    }
    Ok((good, said))
}

/// The outbound SA that carries what goes between the two addresses.
fn sa_between(gateway: &Gateway, mtu: &Mtu) -> Result<Option<SaRow>, CliError> {
    let mut rows = Vec::new();
    gateway
        .connect()?
        .stream("list-sas", "list-sa", &Message::new(), |event| {
            rows.extend(sa_rows(&event));
        })?;
    let covers = |sides: &[String], address: IpAddr| {
        let address = Address::from(address);
        sides
            .iter()
            .filter_map(|side| SelectorSide::parse(side).ok())
            .any(|side| side.first <= address && address <= side.last)
    };
    Ok(rows.into_iter().find(|row| {
        row.direction == "out" && covers(&row.local_ts, mtu.from) && covers(&row.remote_ts, mtu.to)
    }))
}

/// Octets of the outer packet around an inner one in tunnel mode (RFC 4303 §3.3).
fn outer_len(sa: &SaRow, inner: u16) -> Option<u16> {
    let suite = Suite::parse_esp(&sa.suite).ok()?;
    let ip = if sa.dst.parse::<IpAddr>().ok()?.is_ipv4() {
        20
    } else {
        40
    };
    let udp = if sa.encap { 8 } else { 0 };
    let body = (usize::from(inner) + 2).next_multiple_of(suite.block());
    u16::try_from(ip + udp + 8 + suite.iv_len() + body + suite.icv_len()).ok()
}

/// Two raw sockets: one sends whole IP packets, the other hears all ICMP of its family.
struct Prober {
    sender: OwnedFd,
    listener: OwnedFd,
    echo: Echo,
    wait: Duration,
    sent: u32,
}

impl Prober {
    fn new(mtu: &Mtu) -> Result<Self, CliError> {
        let (family, icmp) = match mtu.to {
            IpAddr::V4(_) => (AddressFamily::INET, ipproto::ICMP),
            IpAddr::V6(_) => (AddressFamily::INET6, ipproto::ICMPV6),
        };
        let open = |protocol| {
            net::socket(family, SocketType::RAW, Some(protocol)).map_err(|e| {
                CliError::Usage(format!(
                    "no raw socket: {e}; probing needs root, or CAP_NET_RAW"
                ))
            })
        };
        Ok(Self {
            sender: open(ipproto::RAW)?,
            listener: open(icmp)?,
            echo: Echo::new(mtu.from, mtu.to, std::process::id() as u16),
            wait: Duration::from_millis(mtu.wait),
            sent: 0,
        })
    }

    /// Sends a packet of this size, up to twice.
    fn try_size(&mut self, size: u16) -> Result<Answer, CliError> {
        for _ in 0..TRIES {
            self.sent += 1;
            let packet = self.echo.request(size);
            let to = SocketAddr::new(self.echo.to(), 0);
            match net::sendto(&self.sender, &packet, SendFlags::empty(), &to) {
                Ok(_) => {}
                // The TUN device itself takes no larger ones.
                Err(rustix::io::Errno::MSGSIZE) => return Ok(Answer::Nothing),
                Err(e) => return Err(io::Error::from(e).into()),
            }
            match self.hear()? {
                Answer::Nothing => {}
                answer => return Ok(answer),
            }
        }
        Ok(Answer::Nothing)
    }

    fn hear(&self) -> Result<Answer, CliError> {
        let deadline = Instant::now() + self.wait;
        let mut buffer = [0; 2048];
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let left = Timespec {
                tv_sec: left.as_secs() as i64,
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut fds = [PollFd::new(&self.listener, PollFlags::IN)];
            if poll(&mut fds, Some(&left)).map_err(io::Error::from)? == 0 {
                return Ok(Answer::Nothing);
            }
            let (n, _) = net::recv(&self.listener, &mut buffer[..], RecvFlags::DONTWAIT)
                .map_err(io::Error::from)?;
            if let Some(answer) = self.echo.answer(buffer.get(..n).unwrap_or_default()) {
                return Ok(answer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A path that carries so much and says so, or nothing.
    fn path(carries: u16, says: Option<u16>) -> impl FnMut(u16) -> Result<Answer, CliError> {
        move |size| {
            Ok(match says {
                Some(mtu) if size > mtu => Answer::TooBig(mtu),
                _ if size <= carries => Answer::Back,
                _ => Answer::Nothing,
            })
        }
    }

    #[test]
    fn the_largest_size_is_found_whoever_speaks_and_however_truly() {
        for carries in [296, 297, 800, 1346, 1446, 1499, 1500, 2000] {
            for says in [
                None,
                Some(1446),
                Some(1280),
                Some(carries),
                Some(carries + 1),
            ] {
                let real = carries.min(says.unwrap_or(u16::MAX)).min(1500);
                let (found, _) = search(296, 1500, path(carries, says)).unwrap();
                assert_eq!(found, real.max(296), "{carries} {says:?}");
            }
        }
        assert!(search(296, 1500, path(100, None)).is_err());
    }

    #[test]
    fn a_true_word_saves_most_of_the_search() {
        let mut tries = 0;
        let mut told = path(1446, Some(1446));
        let found = search(296, 1500, |size| {
            tries += 1;
            told(size)
        });
        assert_eq!(found.unwrap(), (1446, Some(1446)));
        assert!(tries <= 4, "{tries}");
    }

    #[test]
    fn the_outer_length_follows_from_the_sa() {
        let mut sa = SaRow::default();
        (sa.suite, sa.dst) = ("aes128gcm16".into(), "192.0.2.2".into());
        assert_eq!(outer_len(&sa, 1446), Some(1500));
        sa.encap = true;
        sa.dst = "2001:db8::2".into();
        assert_eq!(outer_len(&sa, 1418), Some(1500));
    }
}

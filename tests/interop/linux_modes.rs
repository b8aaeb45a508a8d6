//! A Linux kernel's XFRM answers pings in the modes beside tunnel mode: ESP in transport mode and BEET, AH in both of its
//! modes with every integrity transform that the kernel has, and AH around ESP.

use crate::peers::guest::{Guest, Link};
use crate::peers::sa::{EspSa, hex};
use crate::ping::{self, Echo};
use crate::wire::{self, TEST_MAC};
use adit_abi::{
    Action, Direction, Integrity, Mode, Prefix, SaFlags, SaRecord, Selector, Spi, Suite,
};
use adit_dataplane::memory_gateway::{MemoryGateway, OUTSIDE, Site, TunnelPlan, tunnel_sa};
use std::net::IpAddr;

/// One pair of SAs between the test and an address of the guest's own.
struct Case {
    suite: Suite,
    mode: Mode,
    /// An AH SA goes around.
    bundle: bool,
    /// The guest keeps to RFC 4302's padding over IPv4; otherwise we do as it does.
    align4: bool,
    v6: bool,
    number: u8,
}

impl Case {
    fn all() -> Vec<Self> {
        let aes = [Suite::AES128_GCM16, Suite::AES256_SHA256];
        let mut kinds = Vec::new();
        for mode in [Mode::Transport, Mode::Beet] {
            kinds.extend(aes.map(|suite| (suite, mode, false, false)));
        }
        for integrity in Integrity::ESP {
            kinds.push((Suite::ah(integrity), Mode::Transport, false, false));
        }
        let sha256 = Suite::ah(Integrity::HmacSha256);
        kinds.push((sha256, Mode::Transport, false, true));
        kinds.push((sha256, Mode::Tunnel, false, false));
        kinds.extend(aes.map(|suite| (suite, Mode::Transport, true, false)));
        let mut cases = Vec::new();
        for (suite, mode, bundle, align4) in kinds {
            for v6 in [false, true] {
                let number = 20 + cases.len() as u8;
                cases.push(Self {
                    suite,
                    mode,
                    bundle,
                    align4,
                    v6,
                    number,
                });
            }
        }
        cases
    }

    /// Outer addresses: the test's and the guest's.
    fn outer(&self) -> [IpAddr; 2] {
        [1, self.number].map(|last| match self.v6 {
            false => IpAddr::from([192, 0, 2, last]),
            true => IpAddr::from([0x2001, 0xdb8, 0xff, 0, 0, 0, 0, u16::from(last)]),
        })
    }

    /// What the packets are between.
    fn ends(&self) -> [IpAddr; 2] {
        let inner = |side: u8| match self.v6 {
            false => IpAddr::from([10, side, 77, self.number]),
            true => IpAddr::from([
                0xfd00 | u16::from(side),
                0,
                0,
                0,
                0,
                0,
                0x77,
                self.number.into(),
            ]),
        };
        match self.mode {
            Mode::Transport => self.outer(),
            // One address that the gateway in memory has inside, and one of the guest's.
            _ => [IpAddr::from(Site(1).gateway(self.v6)), inner(2)],
        }
    }

    fn spi(&self, outbound: bool, ah: bool) -> u32 {
        0x1000 + u32::from(self.number) * 4 + u32::from(outbound) * 2 + u32::from(ah)
    }

    fn describe(&self) -> String {
        let Self { suite, mode, .. } = self;
        let (bundle, [_, there]) = (if self.bundle { " under AH" } else { "" }, self.outer());
        format!(
            "{suite} {mode:?}{bundle} align4={} with {there}",
            self.align4
        )
    }
}

/// Puts a case's SAs and its policy in; returns the guest's part.
fn install(gateway: &mut MemoryGateway, case: &Case) -> String {
    let [here, there] = case.outer();
    let [near, far] = case.ends();
    let alone = |ip: IpAddr| Prefix::new(ip, if case.v6 { 128 } else { 32 }).expect("a host");
    gateway.add_neighbour(OUTSIDE, there.into());
    // An address that is still being checked for duplicates answers nobody.
    let nodad = if case.v6 { "nodad" } else { "" };
    let mut script = format!("addr add {there} dev eth0 {nodad}\n");
    if case.mode != Mode::Transport {
        script += &format!("addr add {far} dev lo {nodad}\n");
    }
    let mut outbound = None;
    let mut policies = String::new();
    for leaving in [true, false] {
        let (src, dst) = if leaving {
            (here, there)
        } else {
            (there, here)
        };
        let mut templates = String::new();
        let layers: &[bool] = if case.bundle {
            &[false, true]
        } else {
            &[false]
        };
        for around in layers {
            let suite = if *around {
                Suite::ah(Integrity::HmacSha256)
            } else {
                case.suite
            };
            let mode = if *around { Mode::Transport } else { case.mode };
            let plan = TunnelPlan {
                suite,
                outer_v6: case.v6,
                ..TunnelPlan::default()
            };
            let spi = case.spi(leaving, *around);
            let mut record: SaRecord = tunnel_sa(&plan, Spi(spi), Site(1), Site(2));
            record.mode = mode as u8;
            (record.source, record.destination) = (src.into(), dst.into());
            record.direction = if leaving {
                Direction::Outbound
            } else {
                Direction::Inbound
            } as u8;
            record.selector = match around {
                true => Selector::between(alone(here), alone(there)),
                false => Selector::between(alone(near), alone(far)),
            };
            if case.bundle && !around {
                record.around = Spi(case.spi(leaving, true));
            }
            if suite.is_ah() && !case.align4 {
                record.flags = record.flags.with(SaFlags::AH_ALIGN_8);
            }
            let sa = gateway.add_sa(&record);
            if leaving && !around {
                outbound = Some(sa);
            }
            let (proto, word) = (if suite.is_ah() { "ah" } else { "esp" }, mode.name());
            let (from, to) = if leaving { (near, far) } else { (far, near) };
            let selector = match mode {
                Mode::Beet => format!(" sel src {from} dst {to}"),
                _ => String::new(),
            };
            let flag = match case.align4 {
                true => "flag align4 ",
                false => "",
            };
            script += &format!(
                "xfrm state add src {src} dst {dst} proto {proto} spi {spi:#x} mode {word} {flag}replay-window 64 {}{selector}\n",
                transforms(&record, suite)
            );
            templates +=
                &format!(" tmpl src {src} dst {dst} proto {proto} spi {spi:#x} mode {word}");
        }
        let (from, to, way) = if leaving {
            (near, far, "in")
        } else {
            (far, near, "out")
        };
        policies += &format!("xfrm policy add src {from} dst {to} dir {way}{templates}\n");
    }
    let selector = Selector::between(alone(near), alone(far));
    let slot = gateway.add_policy(selector, 100, Action::Protect);
    gateway.policy.link(slot, outbound);
    script + &policies
}

/// What `ip xfrm state add` calls a suite under a record's keys.
fn transforms(record: &SaRecord, suite: Suite) -> String {
    let (enc, auth) = (
        &record.enc_key[..suite.enc_key_len()],
        &record.auth_key[..suite.auth_key_len()],
    );
    let Some(integrity) = suite.integrity().filter(|_| suite.is_ah()) else {
        let address = IpAddr::from([192, 0, 2, 1]);
        let mut sa = EspSa::fresh(suite, 0x1000, address, address);
        (sa.enc, sa.auth) = (enc.to_vec(), auth.to_vec());
        return sa.transforms();
    };
    let mac = match integrity {
        Integrity::HmacMd5 => "hmac(md5)",
        Integrity::HmacSha1 => "hmac(sha1)",
        Integrity::HmacSha256 => "hmac(sha256)",
        Integrity::HmacSha384 => "hmac(sha384)",
        Integrity::HmacSha512 => "hmac(sha512)",
        Integrity::AesXcbc => "xcbc(aes)",
        Integrity::AesCmac => "cmac(aes)",
        Integrity::AesGmac(_) => unreachable!("not in Linux's AH"),
    };
    format!("auth-trunc {mac} 0x{} {}", hex(auth), suite.icv_len() * 8)
}

#[test]
fn the_linux_kernel_answers_pings_in_transport_mode_in_beet_and_under_ah() {
    let cases = Case::all();
    let mut gateway = MemoryGateway::new(Site(1), &TunnelPlan::default());
    let mac = TEST_MAC.map(|octet| format!("{octet:02x}")).join(":");
    let mut script = String::from("ip link set eth0 up\nip -batch - <<END || exit 1\n");
    for (here, there, len) in [
        ("192.0.2.1", "192.0.2.2", 24),
        ("2001:db8:ff::1", "2001:db8:ff::2", 64),
    ] {
        script += &format!(
            "addr add {there}/{len} dev eth0\n\
             neigh add {here} lladdr {mac} dev eth0 nud permanent\n\
             route add default via {here}\n"
        );
    }
    for case in &cases {
        script += &install(&mut gateway, case);
    }
    gateway.refresh();
    let mut guest = or_skip!(Guest::boot("modes", &Link::Test, &(script + "END\n")));
    for case in &cases {
        for (number, size) in (1..).zip([56, 0, 1300]) {
            if let Err(reason) = exchange(&mut gateway, &guest, case, &Echo::new(number, size)) {
                let counters =
                    guest.must("grep -v '\\t0$' /proc/net/xfrm_stat; ip -s xfrm state list nokeys");
                panic!("{}, echo {number}: {reason}; {counters}", case.describe());
            }
        }
    }
}

fn exchange(
    gateway: &mut MemoryGateway,
    guest: &Guest,
    case: &Case,
    echo: &Echo,
) -> Result<(), String> {
    let ([near, far], [here, there]) = (case.ends(), case.outer());
    gateway.from_host(&ping::request(near, far, 64, echo));
    gateway.run();
    let frames = gateway.outside.drain();
    let [sealed] = frames.as_slice() else {
        return Err(format!(
            "{} packets sealed: {:?}",
            frames.len(),
            gateway.all_drops()
        ));
    };
    wire::send(guest, &sealed[14..]);
    let answer = wire::receive(guest, there, here).ok_or("no reply")?;
    gateway.from_outside(&answer);
    gateway.run();
    let frames = gateway.host.drain();
    let [opened] = frames.as_slice() else {
        return Err(format!(
            "{} packets opened: {:?}",
            frames.len(),
            gateway.all_drops()
        ));
    };
    match ping::reply(&opened[14..]) {
        Some(found) if found == (far, near, echo.clone()) => Ok(()),
        other => Err(format!("the reply is {other:?}")),
    }
}

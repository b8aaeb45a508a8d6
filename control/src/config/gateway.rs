//! Section `gateway`.

use std::collections::BTreeMap;

use adit_abi::message::ZeroCopy;
use adit_abi::{Action, Capacity, MAX_PORTS, MAX_WORKERS, Settings, Side};
use toml::Spanned;

use super::error::Report;
use super::raw::{Field, RawGateway, RawGroup, RawPort, RawTable};
use super::values::Section;
use super::{BPF_DIR, CONTROL_SOCKET, DATAPLANE_SOCKET, Gateway, Port};

/// The section, and the setting in it that is about the file itself.
pub(super) struct Checked {
    pub gateway: Gateway,
    pub static_counter_mode_keys: bool,
}

pub(super) fn check(
    report: &mut Report<'_>,
    raw: Option<(std::ops::Range<usize>, RawGateway)>,
    is_told: bool,
) -> Checked {
    let (span, raw) = raw.unwrap_or_default();
    let mut s = Section {
        report,
        name: "gateway".into(),
        span,
    };
    let gateway = Gateway {
        control_socket: text(&raw.control_socket, CONTROL_SOCKET).into(),
        control_socket_mode: mode(&mut s, &raw.control_socket_mode),
        control_socket_group: group(&mut s, &raw.control_socket_group, GROUPS),
        dataplane_socket: text(&raw.dataplane_socket, DATAPLANE_SOCKET).into(),
        bpf_dir: text(&raw.bpf_dir, BPF_DIR).into(),
        tun: interface_name(&mut s, "tun", &raw.tun).unwrap_or_else(|| "adit0".into()),
        workers: raw.workers.is_some().then(|| {
            let remedy = "one for each receive queue, or leave it out";
            s.number("workers", &raw.workers, 1..=MAX_WORKERS as i64, 1, remedy)
        }),
        cpus: cpus(&mut s, &raw.cpus, &raw.workers),
        frame_size: frame_size(&mut s, &raw.frame_size),
        frames_per_worker: s.number(
            "frames_per_worker",
            &raw.frames_per_worker,
            256..=1 << 22,
            8192,
            "at least four times the ring size serves well",
        ),
        ring_size: ring_size(&mut s, &raw.ring_size),
        zero_copy: s.word(
            "zero_copy",
            &raw.zero_copy,
            &[
                ("auto", ZeroCopy::Auto),
                ("copy", ZeroCopy::Copy),
                ("force", ZeroCopy::Force),
            ],
            ZeroCopy::Auto,
        ),
        huge_pages: s.flag(&raw.huge_pages, false),
        settings: settings(&mut s, &raw),
        table: table(&mut s, raw.table.as_ref()),
        ports: if is_told {
            Vec::new()
        } else {
            ports(&mut s, &raw.ports)
        },
    };
    Checked {
        gateway,
        static_counter_mode_keys: s.flag(&raw.unsafe_static_counter_mode_keys, false),
    }
}

fn text(field: &Field<String>, default: &str) -> String {
    field
        .as_ref()
        .map_or_else(|| default.to_owned(), |v| v.get_ref().clone())
}

fn mode(s: &mut Section<'_, '_>, field: &Field<String>) -> u32 {
    const DEFAULT: u32 = 0o600;
    let Some(value) = field else { return DEFAULT };
    match u32::from_str_radix(value.get_ref().trim_start_matches("0o"), 8) {
        Ok(mode) if mode <= 0o777 && mode & 0o007 == 0 => mode,
        _ => {
            s.wrong(
                "control_socket_mode",
                value,
                format!("{:?} found", value.get_ref()),
                "an octal file mode that gives others nothing",
                "write \"0600\", or \"0660\" with `control_socket_group`",
            );
            DEFAULT
        }
    }
}

/// Where the system keeps its groups.
const GROUPS: &str = "/etc/group";

fn group(s: &mut Section<'_, '_>, field: &Field<RawGroup>, groups: &str) -> Option<u32> {
    let value = field.as_ref()?;
    let (number, found) = match value.get_ref() {
        // The highest number means "none" to the kernel.
        RawGroup::Number(n) => {
            let number = u32::try_from(*n).ok().filter(|n| *n != u32::MAX);
            (number, format!("{n} found"))
        }
        RawGroup::Name(name) => {
            let all = std::fs::read_to_string(groups).unwrap_or_default();
            (group_number(&all, name), format!("{name:?} found"))
        }
    };
    if number.is_none() {
        let expected = "the name or number of a group";
        let remedy =
            "`getent group` lists them; of one that is not in /etc/group, write the number";
        s.wrong("control_socket_group", value, found, expected, remedy);
    }
    number
}

/// The number of a group in the words of group(5).
fn group_number(groups: &str, name: &str) -> Option<u32> {
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        let is_it = fields.next() == Some(name);
        fields.nth(1).filter(|_| is_it)?.parse().ok()
    })
}

/// Whether the kernel takes this as the name of an interface.
pub(super) fn is_interface_name(name: &str) -> bool {
    (1..16).contains(&name.len())
        && name != "."
        && name != ".."
        && name
            .chars()
            .all(|c| c.is_ascii_graphic() && c != '/' && c != ':')
}

/// What the kernel takes as the name of an interface.
fn interface_name(s: &mut Section<'_, '_>, key: &str, field: &Field<String>) -> Option<String> {
    let value = field.as_ref()?;
    let name = value.get_ref();
    if is_interface_name(name) {
        return Some(name.clone());
    }
    s.wrong(
        key,
        value,
        format!("{name:?} found"),
        "the name of a network interface, 1 to 15 characters",
        "`ip link` lists them",
    );
    None
}

fn cpus(s: &mut Section<'_, '_>, field: &Field<Vec<i64>>, workers: &Field<i64>) -> Vec<u16> {
    let Some(value) = field else {
        return Vec::new();
    };
    let cpus: Option<Vec<u16>> = value
        .get_ref()
        .iter()
        .map(|n| u16::try_from(*n).ok().filter(|n| *n < 4096))
        .collect();
    let Some(cpus) = cpus else {
        let remedy = "`lscpu -e` lists them";
        s.wrong(
            "cpus",
            value,
            "a number out of bounds found",
            "CPU numbers",
            remedy,
        );
        return Vec::new();
    };
    if let Some(workers) = workers
        && i64::try_from(cpus.len()) != Ok(*workers.get_ref())
    {
        s.wrong(
            "cpus",
            value,
            format!("{} CPUs found", cpus.len()),
            format!("one for each of the {} workers", workers.get_ref()),
            "list as many CPUs as workers, or leave `cpus` out",
        );
    }
    cpus
}

fn frame_size(s: &mut Section<'_, '_>, field: &Field<i64>) -> u16 {
    let Some(value) = field else { return 2048 };
    match value.get_ref() {
        2048 => 2048,
        4096 => 4096,
        n => {
            s.wrong(
                "frame_size",
                value,
                format!("{n} found"),
                "2048 or 4096",
                "take 4096 only for an MTU above 1500",
            );
            2048
        }
    }
}

fn ring_size(s: &mut Section<'_, '_>, field: &Field<i64>) -> u32 {
    let Some(value) = field else { return 2048 };
    let n = u32::try_from(*value.get_ref()).unwrap_or(0);
    if n.is_power_of_two() && (64..=65_536).contains(&n) {
        return n;
    }
    s.wrong(
        "ring_size",
        value,
        format!("{} found", value.get_ref()),
        "a power of two from 64 to 65536",
        "2048 serves well",
    );
    2048
}

fn settings(s: &mut Section<'_, '_>, raw: &RawGateway) -> Settings {
    let default = Settings::default();
    Settings {
        unmatched: s.word(
            "unmatched",
            &raw.unmatched,
            &[("discard", Action::Discard), ("bypass", Action::Bypass)],
            Action::Discard,
        ) as u8,
        clamp_mss: u8::from(s.flag(&raw.clamp_mss, true)),
        keepalive_seconds: s.number(
            "keepalive",
            &raw.keepalive,
            0..=3600,
            default.keepalive_seconds,
            "0 sends no NAT keepalives, 20 seconds are usual",
        ),
        hold_seconds: s.number(
            "hold_time",
            &raw.hold_time,
            0..=600,
            default.hold_seconds,
            "seconds for which packets wait for an SA, 0 drops them at once",
        ),
        icmp_per_second: s.number(
            "icmp_per_second",
            &raw.icmp_per_second,
            0..=1_000_000,
            default.icmp_per_second,
            "0 sends no ICMP errors",
        ),
        path_mtu_seconds: match s.time("path_mtu_time", &raw.path_mtu_time) {
            0 => default.path_mtu_seconds,
            seconds => u32::try_from(seconds).unwrap_or(u32::MAX),
        },
        least_path_mtu: s.number(
            "least_path_mtu",
            &raw.least_path_mtu,
            296..=1500,
            default.least_path_mtu,
            "576 is the least that every IPv4 host takes",
        ),
        believe_too_big: u8::from(s.flag(&raw.believe_too_big, true)),
        dscp_map: dscp_map(s, &raw.dscp_map),
        ..default
    }
}

/// Outer DSCPs by inner ones; those left out stay as they are.
fn dscp_map(s: &mut Section<'_, '_>, field: &Field<BTreeMap<String, i64>>) -> [u8; 64] {
    let mut map = Settings::default().dscp_map;
    let Some(value) = field else { return map };
    for (inner, outer) in value.get_ref() {
        let place = inner.parse::<usize>().ok().and_then(|n| map.get_mut(n));
        match (place, u8::try_from(*outer).ok().filter(|dscp| *dscp <= 63)) {
            (Some(place), Some(outer)) => *place = outer,
            _ => {
                let found = format!("\"{inner}\" = {outer} found");
                let remedy = "write for example { \"46\" = 34 }: the inner one in quotes";
                s.wrong("dscp_map", value, found, "numbers up to 63", remedy);
            }
        }
    }
    map
}

fn table(s: &mut Section<'_, '_>, raw: Option<&RawTable>) -> Capacity {
    let default = Capacity::default();
    let Some(raw) = raw else { return default };
    let mut s = Section {
        report: &mut *s.report,
        name: "gateway.table".into(),
        span: s.span.clone(),
    };
    let memory = "every entry takes memory from the start";
    Capacity {
        sas: s.number("sas", &raw.sas, 1..=1 << 24, default.sas, memory),
        policies: s.number(
            "policies",
            &raw.policies,
            1..=1 << 22,
            default.policies,
            memory,
        ),
        routes: s.number("routes", &raw.routes, 1..=1 << 24, default.routes, memory),
        neighbours: s.number(
            "neighbours",
            &raw.neighbours,
            1..=1 << 20,
            default.neighbours,
            memory,
        ),
        window: s.number(
            "window",
            &raw.window,
            64..=8192,
            default.window,
            "it is the largest anti-replay window that an SA can have",
        ),
    }
}

const PORTS_REMEDY: &str = "add ports = [{ interface = \"lan0\", side = \"inside\" }, { interface = \"wan0\", side = \"outside\" }]";

fn no_ports(s: &mut Section<'_, '_>) -> Vec<Port> {
    s.missing("ports", "at least one port on each side", PORTS_REMEDY);
    Vec::new()
}

fn ports(s: &mut Section<'_, '_>, field: &Field<Vec<Spanned<RawPort>>>) -> Vec<Port> {
    let Some(list) = field else {
        return no_ports(s);
    };
    let mut out: Vec<Port> = Vec::new();
    for (n, raw) in list.get_ref().iter().enumerate() {
        let mut p = Section {
            report: &mut *s.report,
            name: format!("gateway.ports.{n}"),
            span: raw.span(),
        };
        let raw = raw.get_ref();
        if raw.interface.is_none() {
            p.missing(
                "interface",
                "the name of a network interface",
                "`ip link` lists them",
            );
        }
        if raw.side.is_none() {
            p.missing(
                "side",
                "\"inside\" or \"outside\"",
                "say which side of the gateway it is",
            );
        }
        let side = p.word(
            "side",
            &raw.side,
            &[("inside", Side::Inside), ("outside", Side::Outside)],
            Side::Outside,
        );
        let queues = raw.queues.is_some().then(|| {
            let remedy = "`ethtool -l` shows how many the interface has";
            p.number("queues", &raw.queues, 1..=MAX_WORKERS as i64, 1, remedy)
        });
        let Some(interface) = interface_name(&mut p, "interface", &raw.interface) else {
            continue;
        };
        if let (true, Some(value)) = (out.iter().any(|p| p.interface == interface), &raw.interface)
        {
            let remedy = "remove one of them";
            p.wrong(
                "interface",
                value,
                format!("{interface:?} found twice"),
                "each interface once",
                remedy,
            );
        }
        out.push(Port {
            interface,
            side,
            queues,
        });
    }
    // One number is the TUN port's.
    if list.get_ref().len() > MAX_PORTS - 1 {
        let found = format!("{} ports found", list.get_ref().len());
        s.wrong(
            "ports",
            list,
            found,
            format!("at most {}", MAX_PORTS - 1),
            "",
        );
    }
    for side in [Side::Inside, Side::Outside] {
        if !list.get_ref().iter().any(|p| names_side(p.get_ref(), side)) {
            let found = format!("no port on the {} side", side.name());
            s.wrong(
                "ports",
                list,
                found,
                "at least one port on each side",
                PORTS_REMEDY,
            );
        }
    }
    out
}

fn names_side(port: &RawPort, side: Side) -> bool {
    port.side
        .as_ref()
        .is_none_or(|v| v.get_ref().eq_ignore_ascii_case(side.name()))
}

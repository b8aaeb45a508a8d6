//! The file as it is written, before anything is checked.

use std::collections::BTreeMap;
use std::fmt::{self, Formatter};

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use toml::Spanned;
use zeroize::Zeroizing;

/// A key that may be left out, with its place in the file.
pub(super) type Field<T> = Option<Spanned<T>>;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawGateway {
    pub control_socket: Field<String>,
    pub control_socket_mode: Field<String>,
    pub control_socket_group: Field<RawGroup>,
    pub dataplane_socket: Field<String>,
    pub bpf_dir: Field<String>,
    pub tun: Field<String>,
    pub workers: Field<i64>,
    pub cpus: Field<Vec<i64>>,
    pub frame_size: Field<i64>,
    pub frames_per_worker: Field<i64>,
    pub ring_size: Field<i64>,
    pub zero_copy: Field<String>,
    pub huge_pages: Field<bool>,
    pub unmatched: Field<String>,
    pub clamp_mss: Field<bool>,
    pub keepalive: Field<i64>,
    pub icmp_per_second: Field<i64>,
    pub path_mtu_time: Field<RawTime>,
    pub least_path_mtu: Field<i64>,
    pub believe_too_big: Field<bool>,
    pub dscp_map: Field<BTreeMap<String, i64>>,
    pub hold_time: Field<i64>,
    pub unsafe_static_counter_mode_keys: Field<bool>,
    pub table: Option<RawTable>,
    pub ports: Field<Vec<Spanned<RawPort>>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawTable {
    pub sas: Field<i64>,
    pub policies: Field<i64>,
    pub routes: Field<i64>,
    pub neighbours: Field<i64>,
    pub window: Field<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPort {
    pub interface: Field<String>,
    pub side: Field<String>,
    pub queues: Field<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawConnection {
    pub local_addrs: Field<Vec<Spanned<String>>>,
    pub remote_addrs: Field<Vec<Spanned<String>>>,
    pub local_port: Field<i64>,
    pub remote_port: Field<i64>,
    pub encap: Field<bool>,
    #[serde(default)]
    pub children: BTreeMap<String, Spanned<RawChild>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawChild {
    pub local_ts: Field<Vec<Spanned<String>>>,
    pub remote_ts: Field<Vec<Spanned<String>>>,
    pub mode: Field<String>,
    pub esp_proposals: Field<Vec<Spanned<String>>>,
    pub ah_proposals: Field<Vec<Spanned<String>>>,
    pub ah_align: Field<i64>,
    pub priority: Field<i64>,
    pub replay_window: Field<i64>,
    pub rekey_time: Field<RawTime>,
    pub life_time: Field<RawTime>,
    pub rekey_bytes: Field<i64>,
    pub life_bytes: Field<i64>,
    pub rekey_packets: Field<i64>,
    pub life_packets: Field<i64>,
    pub packets: Field<RawPackets>,
    pub manual: Field<RawManual>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPackets {
    pub dscp: Field<String>,
    pub df: Field<String>,
    pub ecn: Field<bool>,
    pub hop_limit: Field<i64>,
    pub flow_label: Field<String>,
    pub fragment: Field<String>,
    pub path_mtu: Field<i64>,
    pub later_fragments: Field<bool>,
    pub check_icmp: Field<bool>,
    pub tfc_padding: Field<String>,
    pub dummies: Field<i64>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawManual {
    pub spi_in: Field<i64>,
    pub spi_out: Field<i64>,
    pub secret: Field<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawPolicy {
    pub action: Field<String>,
    pub priority: Field<i64>,
    pub direction: Field<String>,
    pub pfp: Field<Vec<Spanned<String>>>,
    pub local_ts: Field<Vec<Spanned<String>>>,
    pub remote_ts: Field<Vec<Spanned<String>>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawSecret {
    pub enc_in: Field<RawKey>,
    pub auth_in: Field<RawKey>,
    pub enc_out: Field<RawKey>,
    pub auth_out: Field<RawKey>,
}

/// Hexadecimal digits, or the file that has them.
pub(super) enum RawKey {
    Hex(Zeroizing<String>),
    File { file: String },
}

/// By hand: an untagged enum would first take the digits into memory that nobody wipes.
impl<'de> Deserialize<'de> for RawKey {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        const EXPECTED: &str = "hexadecimal digits or { file = \"PATH\" }";

        struct HexOrFile;

        impl<'de> Visitor<'de> for HexOrFile {
            type Value = RawKey;

            fn expecting(&self, f: &mut Formatter<'_>) -> fmt::Result {
                f.write_str(EXPECTED)
            }

            // What is found is not shown: it may be a key without its quotes.
            fn visit_bool<E: Error>(self, _: bool) -> Result<RawKey, E> {
                Err(E::custom(EXPECTED))
            }

            fn visit_i64<E: Error>(self, _: i64) -> Result<RawKey, E> {
                Err(E::custom(EXPECTED))
            }

            fn visit_i128<E: Error>(self, _: i128) -> Result<RawKey, E> {
                Err(E::custom(EXPECTED))
            }

            fn visit_u64<E: Error>(self, _: u64) -> Result<RawKey, E> {
                Err(E::custom(EXPECTED))
            }

            fn visit_u128<E: Error>(self, _: u128) -> Result<RawKey, E> {
                Err(E::custom(EXPECTED))
            }

            fn visit_f64<E: Error>(self, _: f64) -> Result<RawKey, E> {
                Err(E::custom(EXPECTED))
            }

            fn visit_str<E>(self, text: &str) -> Result<RawKey, E> {
                Ok(RawKey::Hex(Zeroizing::new(text.to_owned())))
            }

            fn visit_string<E>(self, text: String) -> Result<RawKey, E> {
                Ok(RawKey::Hex(Zeroizing::new(text)))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RawKey, A::Error> {
                #[derive(Deserialize)]
                #[serde(deny_unknown_fields)]
                struct File {
                    file: String,
                }
                let File { file } = File::deserialize(MapAccessDeserializer::new(map))?;
                Ok(RawKey::File { file })
            }
        }

        from.deserialize_any(HexOrFile)
    }
}

/// Seconds, or a number with s, m, h or d behind it.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "seconds, or a time such as \"1h\"")]
pub(super) enum RawTime {
    Seconds(i64),
    Text(String),
}

/// A group's name or number.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a group's name or number")]
pub(super) enum RawGroup {
    Number(i64),
    Name(String),
}

//! Others' code agrees with ours: scapy, tshark, strongSwan and a Linux kernel as peers, each brought up by the test.
//!
//! | module | what it shows |
//! | --- | --- |
//! | `peers_agree` | the peers understand each other, so a disagreement with us is ours |
//! | `linux_kernel` | a Linux kernel's XFRM and adit exchange packets |
//! | `linux_modes` | so they do in transport mode and BEET, under AH, and under AH and ESP |
//! | `scapy_agrees` | scapy opens what we seal, and we open what scapy seals |
//! | `tshark_agrees` | tshark decrypts what we seal, and finds every ICV right |
//! | `tshark_dissects_ike` | tshark reads in our IKE messages what we wrote |
//! | `strongswan` | strongSwan negotiates with adit by IKEv2, either one beginning, and traffic runs |
//! | `swanctl` | strongSwan's `swanctl` reads our control socket |
//! | `radius` | FreeRADIUS authenticates peers through our client |
//! | `swanctl_loads` | it loads an ordinary `swanctl.conf`, and traffic brings the SAs up |
//! | `command` | so does the `adit` command |

#[macro_use]
#[path = "../skip/mod.rs"]
mod skip;

#[path = "../../control/tests/serving/mod.rs"]
mod serving;

mod data_path;
mod linux_gateway;
mod peers;
mod ping;
mod sample_gateway;
mod tunnel;
mod wire;

mod command;
mod linux_kernel;
mod linux_modes;
mod peers_agree;
mod radius;
mod scapy_agrees;
mod strongswan;
mod swanctl;
mod swanctl_loads;
mod tshark_agrees;
mod tshark_dissects_ike;

/// Why labs cannot run here, if they cannot.
fn runnable() -> Result<(), String> {
    if rustix::process::geteuid().is_root() {
        Ok(())
    } else {
        Err("network namespaces need root".into())
    }
}

//! Others' code agrees with ours: scapy, tshark and a Linux kernel as peers, each brought up by the test.
//!
//! | module | what it shows |
//! | --- | --- |
//! | `peers_agree` | the peers understand each other, so a disagreement with us is ours |
//! | `scapy_agrees` | scapy opens what we seal, and we open what scapy seals |

#[macro_use]
#[path = "../skip/mod.rs"]
mod skip;

mod peers;
mod ping;

mod peers_agree;
mod scapy_agrees;

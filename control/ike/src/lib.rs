//! IKE as pure state machines: no socket, clock or random numbers of their own.
//!
//! | module | what |
//! | --- | --- |
//! | [`endpoint`] | the engine as its caller sees it: inputs, outputs |
//! | [`config`] | connections and children, the endpoint's settings |
//! | `v2` | IKEv2 |
//! | [`proposal`], [`crypto`], [`cert`], [`identity`] | what both versions of IKE share |
//! | [`eap`] | EAP and EAP-MSCHAPv2 |
//! | [`pools`] | pools of virtual addresses |
//! | [`wire`] | messages as octets |
//! | [`time`], [`random`] | the clock and the random numbers, which the caller brings |

pub mod cert;
pub mod config;
pub mod crypto;
pub mod eap;
pub mod endpoint;
pub mod identity;
pub mod pools;
pub mod proposal;
pub mod random;
pub mod time;
mod v2;
pub mod wire;

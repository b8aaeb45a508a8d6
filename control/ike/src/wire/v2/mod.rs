//! IKEv2's messages (RFC 7296 §3): a file for each group of payloads.
//!
//! | file | payloads |
//! | --- | --- |
//! | `message` | the header, the whole message, the chain of payloads |
//! | `security_association` | SA |
//! | `key_exchange` | KE and Nonce |
//! | `identity` | IDi, IDr, CERT, CERTREQ, AUTH |
//! | `notify` | N, D |
//! | `traffic_selector` | TSi, TSr |
//! | `configuration` | CP |
//! | `encrypted` | SK and SKF, their framing |
//! | `fragment` | how a message becomes SKF payloads, and comes back (RFC 7383) |

mod configuration;
mod encrypted;
mod fragment;
mod identity;
mod key_exchange;
mod message;
mod notify;
mod payload;
mod security_association;
mod traffic_selector;

pub use configuration::{Configuration, ConfigurationAttribute, ConfigurationType};
pub use encrypted::{
    Encrypted, FragmentNumber, Sealed, Sealing, Unsealed, UnsealedParts, without_padding,
};
pub use fragment::{MAX_FRAGMENTS, Progress, Reassembly, split};
pub use identity::{
    AuthMethod, Authentication, Certificate, CertificateEncoding, CertificateRequest, IdType,
    Identification,
};
pub use key_exchange::{KeyExchange, MAX_NONCE, MIN_NONCE, Nonce};
pub use message::{ExchangeType, Header, Message};
pub use notify::{Delete, Notify, NotifyType};
pub use payload::{
    MAX_PAYLOADS, Payload, PayloadType, PrivatePayload, emit_payloads, parse_payloads,
};
pub use security_association::{
    MAX_PROPOSALS, MAX_TRANSFORMS, Proposal, ProtocolId, SecurityAssociation, SpiField, Transform,
    TransformType,
};
pub use traffic_selector::{AddressRange, IpSelector, TrafficSelector, TrafficSelectors};

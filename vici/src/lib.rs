//! The VICI control protocol: strongSwan's published protocol between a gateway and the
//! programs that steer it, spoken over a Unix stream socket.
//!
//! - [`packet`]: a segment (length prefix) and the packet inside it.
//! - [`message`]: the tree of sections, key-values and lists that a packet carries.
//! - [`client`]: a blocking client.
//!
//! Whatever arrives is parsed within fixed bounds; values may be keys, so they are wiped when
//! dropped and never printed by `Debug`.

pub mod client;
pub mod message;
pub mod packet;

pub use client::{Client, ClientError};
pub use message::{Element, Message, MessageError, Value};
pub use packet::{MAX_SEGMENT, Packet, PacketError};

//! Accounting: who came, how much they carried, why they went (RFC 2866, RFC 2869 §2.1).

use std::net::IpAddr;

use super::packet::{Packet, kind};

/// Why a session ended (RFC 2866 §5.10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TerminateCause {
    /// The peer deleted its IKE SA.
    UserRequest = 1,
    /// The peer no longer answered.
    LostCarrier = 2,
    /// Nothing was carried for too long.
    IdleTimeout = 4,
    /// Its time was up.
    SessionTimeout = 5,
    /// An operator ended it.
    AdminReset = 6,
    /// The gateway is being stopped.
    NasReboot = 11,
    /// Anything else that went wrong here.
    NasError = 9,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// The session began.
    Start,
    /// It goes on (RFC 2869 §2.1).
    Interim,
    /// It ended.
    Stop(TerminateCause),
}

/// What a session has carried so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Seconds since it began.
    pub seconds: u32,
    /// Octets from the peer.
    pub octets_in: u64,
    /// Octets to the peer.
    pub octets_out: u64,
    /// Packets from the peer.
    pub packets_in: u64,
    /// Packets to the peer.
    pub packets_out: u64,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// What happened.
    pub status: Status,
    /// The session, the same in all of its records.
    pub session: String,
    /// The peer's name.
    pub name: Vec<u8>,
    /// What the server wants to find in the records of this session: its `Class` attributes.
    pub class: Vec<Vec<u8>>,
    /// The connection's name.
    pub connection: String,
    /// Our address, as text.
    pub called: String,
    /// The peer's address, as text.
    pub calling: String,
    /// Inner addresses given to the peer.
    pub addresses: Vec<IpAddr>,
    /// Seconds since 1970 when it happened.
    pub time: u32,
    /// What was carried; `None` at the start.
    pub traffic: Option<Traffic>,
}

impl Record {
    /// Adds the record's attributes.
    pub(super) fn describe(&self, packet: &mut Packet) {
        let mut number = |kind, number: u32| packet.add(kind, number.to_be_bytes());
        number(
            kind::ACCT_STATUS_TYPE,
            match self.status {
                Status::Start => 1,
                Status::Stop(_) => 2,
                Status::Interim => 3,
            },
        );
        number(kind::EVENT_TIMESTAMP, self.time);
        if let Some(traffic) = self.traffic {
            number(kind::ACCT_SESSION_TIME, traffic.seconds);
            //= RFC 2869 §5.1, §5.2: gigawords count how often the octets have wrapped
            number(kind::ACCT_INPUT_OCTETS, traffic.octets_in as u32);
            number(kind::ACCT_INPUT_GIGAWORDS, (traffic.octets_in >> 32) as u32);
            number(kind::ACCT_OUTPUT_OCTETS, traffic.octets_out as u32);
            number(
                kind::ACCT_OUTPUT_GIGAWORDS,
                (traffic.octets_out >> 32) as u32,
            );
            number(kind::ACCT_INPUT_PACKETS, traffic.packets_in as u32);
            number(kind::ACCT_OUTPUT_PACKETS, traffic.packets_out as u32);
        }
        if let Status::Stop(cause) = self.status {
            number(kind::ACCT_TERMINATE_CAUSE, cause as u32);
        }
        packet.add(kind::ACCT_SESSION_ID, self.session.as_bytes());
        packet.add(kind::USER_NAME, &self.name[..]);
        packet.add(kind::NAS_PORT_ID, self.connection.as_bytes());
        packet.add(kind::CALLED_STATION_ID, self.called.as_bytes());
        packet.add(kind::CALLING_STATION_ID, self.calling.as_bytes());
        for address in &self.addresses {
            match address {
                IpAddr::V4(address) => packet.add(kind::FRAMED_IP_ADDRESS, address.octets()),
                IpAddr::V6(address) => packet.add(kind::FRAMED_IPV6_ADDRESS, address.octets()),
            }
        }
        //= RFC 2865 §5.25: Class goes back to the server as it came
        for class in &self.class {
            packet.add(kind::CLASS, &class[..]);
        }
    }
}

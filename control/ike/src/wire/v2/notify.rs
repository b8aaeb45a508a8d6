//! Notify and Delete payloads (RFC 7296 §3.10, §3.11).

use adit_abi::Spi;

use super::security_association::{ProtocolId, SpiField};
use crate::wire::code::codes;
use crate::wire::error::{Fault, WireError};
use crate::wire::reader::Reader;
use crate::wire::writer::Writer;

/// SPIs in one Delete payload; more are sent in several.
const MAX_DELETED: usize = 4096;

codes! {
    /// What a notification says (RFC 7296 §3.10.1 and IANA's registry): errors below 16384, status from there.
    pub enum NotifyType: u16 {
        UnsupportedCriticalPayload = 1, "UNSUPPORTED_CRITICAL_PAYLOAD";
        InvalidIkeSpi = 4, "INVALID_IKE_SPI";
        InvalidMajorVersion = 5, "INVALID_MAJOR_VERSION";
        InvalidSyntax = 7, "INVALID_SYNTAX";
        InvalidMessageId = 9, "INVALID_MESSAGE_ID";
        InvalidSpi = 11, "INVALID_SPI";
        NoProposalChosen = 14, "NO_PROPOSAL_CHOSEN";
        InvalidKePayload = 17, "INVALID_KE_PAYLOAD";
        AuthenticationFailed = 24, "AUTHENTICATION_FAILED";
        SinglePairRequired = 34, "SINGLE_PAIR_REQUIRED";
        NoAdditionalSas = 35, "NO_ADDITIONAL_SAS";
        InternalAddressFailure = 36, "INTERNAL_ADDRESS_FAILURE";
        FailedCpRequired = 37, "FAILED_CP_REQUIRED";
        TsUnacceptable = 38, "TS_UNACCEPTABLE";
        InvalidSelectors = 39, "INVALID_SELECTORS";
        /// RFC 4555.
        UnacceptableAddresses = 40, "UNACCEPTABLE_ADDRESSES";
        /// RFC 4555.
        UnexpectedNatDetected = 41, "UNEXPECTED_NAT_DETECTED";
        /// RFC 5026.
        UseAssignedHomeAddress = 42, "USE_ASSIGNED_HoA";
        TemporaryFailure = 43, "TEMPORARY_FAILURE";
        ChildSaNotFound = 44, "CHILD_SA_NOT_FOUND";
        InvalidGroupId = 45, "INVALID_GROUP_ID";
        AuthorizationFailed = 46, "AUTHORIZATION_FAILED";
        /// RFC 9370.
        StateNotFound = 47, "STATE_NOT_FOUND";
        /// RFC 9611.
        TsMaxQueue = 48, "TS_MAX_QUEUE";
        InitialContact = 16384, "INITIAL_CONTACT";
        SetWindowSize = 16385, "SET_WINDOW_SIZE";
        AdditionalTsPossible = 16386, "ADDITIONAL_TS_POSSIBLE";
        IpcompSupported = 16387, "IPCOMP_SUPPORTED";
        NatDetectionSourceIp = 16388, "NAT_DETECTION_SOURCE_IP";
        NatDetectionDestinationIp = 16389, "NAT_DETECTION_DESTINATION_IP";
        Cookie = 16390, "COOKIE";
        UseTransportMode = 16391, "USE_TRANSPORT_MODE";
        HttpCertLookupSupported = 16392, "HTTP_CERT_LOOKUP_SUPPORTED";
        RekeySa = 16393, "REKEY_SA";
        EspTfcPaddingNotSupported = 16394, "ESP_TFC_PADDING_NOT_SUPPORTED";
        NonFirstFragmentsAlso = 16395, "NON_FIRST_FRAGMENTS_ALSO";
        /// RFC 4555.
        MobikeSupported = 16396, "MOBIKE_SUPPORTED";
        /// RFC 4555.
        AdditionalIp4Address = 16397, "ADDITIONAL_IP4_ADDRESS";
        /// RFC 4555.
        AdditionalIp6Address = 16398, "ADDITIONAL_IP6_ADDRESS";
        /// RFC 4555.
        NoAdditionalAddresses = 16399, "NO_ADDITIONAL_ADDRESSES";
        /// RFC 4555.
        UpdateSaAddresses = 16400, "UPDATE_SA_ADDRESSES";
        /// RFC 4555.
        Cookie2 = 16401, "COOKIE2";
        /// RFC 4555.
        NoNatsAllowed = 16402, "NO_NATS_ALLOWED";
        /// RFC 4478.
        AuthLifetime = 16403, "AUTH_LIFETIME";
        /// RFC 4739.
        MultipleAuthSupported = 16404, "MULTIPLE_AUTH_SUPPORTED";
        /// RFC 4739.
        AnotherAuthFollows = 16405, "ANOTHER_AUTH_FOLLOWS";
        /// RFC 5685.
        RedirectSupported = 16406, "REDIRECT_SUPPORTED";
        /// RFC 5685.
        Redirect = 16407, "REDIRECT";
        /// RFC 5685.
        RedirectedFrom = 16408, "REDIRECTED_FROM";
        /// RFC 5723.
        TicketLtOpaque = 16409, "TICKET_LT_OPAQUE";
        /// RFC 5723.
        TicketRequest = 16410, "TICKET_REQUEST";
        /// RFC 5723.
        TicketAck = 16411, "TICKET_ACK";
        /// RFC 5723.
        TicketNack = 16412, "TICKET_NACK";
        /// RFC 5723.
        TicketOpaque = 16413, "TICKET_OPAQUE";
        /// RFC 5739.
        LinkId = 16414, "LINK_ID";
        /// RFC 5840.
        UseWespMode = 16415, "USE_WESP_MODE";
        /// RFC 5857.
        RohcSupported = 16416, "ROHC_SUPPORTED";
        /// RFC 5998.
        EapOnlyAuthentication = 16417, "EAP_ONLY_AUTHENTICATION";
        /// RFC 6023.
        ChildlessIkev2Supported = 16418, "CHILDLESS_IKEV2_SUPPORTED";
        /// RFC 6290.
        QuickCrashDetection = 16419, "QUICK_CRASH_DETECTION";
        /// RFC 6311.
        MessageIdSyncSupported = 16420, "IKEV2_MESSAGE_ID_SYNC_SUPPORTED";
        /// RFC 6311.
        ReplayCounterSyncSupported = 16421, "IPSEC_REPLAY_COUNTER_SYNC_SUPPORTED";
        /// RFC 6311.
        MessageIdSync = 16422, "IKEV2_MESSAGE_ID_SYNC";
        /// RFC 6311.
        ReplayCounterSync = 16423, "IPSEC_REPLAY_COUNTER_SYNC";
        /// RFC 6467.
        SecurePasswordMethods = 16424, "SECURE_PASSWORD_METHODS";
        /// RFC 6631.
        PskPersist = 16425, "PSK_PERSIST";
        /// RFC 6631.
        PskConfirm = 16426, "PSK_CONFIRM";
        /// RFC 6867.
        ErxSupported = 16427, "ERX_SUPPORTED";
        IfomCapability = 16428, "IFOM_CAPABILITY";
        /// RFC 7383.
        FragmentationSupported = 16430, "IKEV2_FRAGMENTATION_SUPPORTED";
        /// RFC 7427.
        SignatureHashAlgorithms = 16431, "SIGNATURE_HASH_ALGORITHMS";
        /// RFC 7791.
        CloneIkeSaSupported = 16432, "CLONE_IKE_SA_SUPPORTED";
        /// RFC 7791.
        CloneIkeSa = 16433, "CLONE_IKE_SA";
        /// RFC 8019.
        Puzzle = 16434, "PUZZLE";
        /// RFC 8784.
        UsePpk = 16435, "USE_PPK";
        /// RFC 8784.
        PpkIdentity = 16436, "PPK_IDENTITY";
        /// RFC 8784.
        NoPpkAuth = 16437, "NO_PPK_AUTH";
        /// RFC 9242.
        IntermediateExchangeSupported = 16438, "INTERMEDIATE_EXCHANGE_SUPPORTED";
        /// RFC 8983.
        Ip4Allowed = 16439, "IP4_ALLOWED";
        /// RFC 8983.
        Ip6Allowed = 16440, "IP6_ALLOWED";
        /// RFC 9370.
        AdditionalKeyExchange = 16441, "ADDITIONAL_KEY_EXCHANGE";
        /// RFC 9347.
        UseAggfrag = 16442, "USE_AGGFRAG";
        /// RFC 9593.
        SupportedAuthMethods = 16443, "SUPPORTED_AUTH_METHODS";
        /// RFC 9611.
        SaResourceInfo = 16444, "SA_RESOURCE_INFO";
    }
}

impl NotifyType {
    /// Whether it says that something failed; one that is unknown and came in a response means that the request failed (RFC 7296 §3.10.1).
    pub const fn is_error(self) -> bool {
        self.number() < 16384
    }
}

/// An error or a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify {
    /// The protocol of the SA it is about, if it names one by its SPI.
    pub protocol: ProtocolId,
    /// The SA it is about, if not the IKE SA it is sent in.
    pub spi: SpiField,
    /// What it says.
    pub kind: NotifyType,
    /// What belongs to that.
    pub data: Vec<u8>,
}

impl Notify {
    /// A notification about no SA in particular.
    pub fn new(kind: NotifyType, data: impl Into<Vec<u8>>) -> Self {
        Self {
            protocol: ProtocolId::None,
            spi: SpiField::None,
            kind,
            data: data.into(),
        }
    }

    /// A notification about a child SA, such as REKEY_SA.
    pub fn about_child(kind: NotifyType, protocol: adit_abi::Protocol, spi: Spi) -> Self {
        Self {
            protocol: protocol.into(),
            spi: SpiField::Child(spi),
            kind,
            data: Vec::new(),
        }
    }

    /// What a request that could not be read is to be answered with (RFC 7296 §2.5, §2.21).
    pub fn answering(error: &WireError) -> Self {
        match error.fault {
            Fault::MajorVersion(_) => Self::new(NotifyType::InvalidMajorVersion, []),
            Fault::UnsupportedCritical(kind) => {
                Self::new(NotifyType::UnsupportedCriticalPayload, [kind])
            }
            Fault::Truncated | Fault::Length(_) | Fault::TooMany(_) | Fault::Value(_) => {
                Self::new(NotifyType::InvalidSyntax, [])
            }
        }
    }

    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let protocol = ProtocolId::from_number(reader.u8("protocol ID")?);
        let spi_size = reader.u8("SPI size")?;
        let kind = NotifyType::from_number(reader.u16("notify message type")?);
        let spi = SpiField::from_bytes(reader.take(spi_size.into(), "SPI")?);
        Ok(Self {
            protocol,
            spi,
            kind,
            data: reader.rest().to_vec(),
        })
    }

    pub(super) fn emit(&self, writer: &mut Writer) {
        writer.u8(self.protocol.number());
        writer.count8("N", "SPI size", self.spi.len());
        writer.u16(self.kind.number());
        self.spi.emit(writer);
        writer.bytes(&self.data);
    }
}

impl From<adit_abi::Protocol> for ProtocolId {
    fn from(protocol: adit_abi::Protocol) -> Self {
        match protocol {
            adit_abi::Protocol::Esp => Self::Esp,
            adit_abi::Protocol::Ah => Self::Ah,
        }
    }
}

/// SAs that their owner no longer takes packets on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Delete {
    /// The IKE SA this is sent in, with all its children.
    Ike,
    /// Child SAs, by the SPIs of the sender's inbound side.
    Child {
        /// ESP or AH.
        protocol: adit_abi::Protocol,
        /// The SPIs.
        spis: Vec<Spi>,
    },
    /// SAs of a protocol that is not known here.
    Unknown {
        /// The protocol's number.
        protocol: u8,
        /// Octets of each SPI.
        spi_size: u8,
        /// The SPIs, one after another.
        spis: Vec<u8>,
    },
}

impl Delete {
    pub(super) fn parse(reader: &mut Reader<'_>) -> Result<Self, WireError> {
        let protocol = ProtocolId::from_number(reader.u8("protocol ID")?);
        let spi_size = reader.u8("SPI size")?;
        let count = usize::from(reader.u16("number of SPIs")?);
        if count > MAX_DELETED {
            return Err(reader.error("SPIs", Fault::TooMany(MAX_DELETED)));
        }
        let octets = reader.take(count * usize::from(spi_size), "SPIs")?;
        reader.end("octets after the SPIs")?;
        let child = |protocol| match spi_size {
            4 => Ok(Self::Child {
                protocol,
                spis: octets
                    .as_chunks::<4>()
                    .0
                    .iter()
                    .map(|spi| Spi(u32::from_be_bytes(*spi)))
                    .collect(),
            }),
            other => Err(reader.error("SPI size", Fault::Value(other.into()))),
        };
        //= RFC 7296 §3.11: the SPI size is 0 for IKE and 4 for AH and ESP
        match (protocol, spi_size) {
            (ProtocolId::Ike, 0) => Ok(Self::Ike),
            (ProtocolId::Ike, size) => Err(reader.error("SPI size", Fault::Value(size.into()))),
            (ProtocolId::Esp, _) => child(adit_abi::Protocol::Esp),
            (ProtocolId::Ah, _) => child(adit_abi::Protocol::Ah),
            (other, spi_size) => Ok(Self::Unknown {
                protocol: other.number(),
                spi_size,
                spis: octets.to_vec(),
            }),
        }
    }

    pub(super) fn emit(&self, writer: &mut Writer) {
        match self {
            Self::Ike => writer.bytes(&[ProtocolId::Ike.number(), 0, 0, 0]),
            Self::Child { protocol, spis } => {
                writer.u8(ProtocolId::from(*protocol).number());
                writer.u8(4);
                writer.count16("D", "number of SPIs", spis.len());
                for spi in spis {
                    writer.u32(spi.0);
                }
            }
            Self::Unknown {
                protocol,
                spi_size,
                spis,
            } => {
                writer.u8(*protocol);
                writer.u8(*spi_size);
                let count = spis.len().checked_div((*spi_size).into()).unwrap_or(0);
                writer.count16("D", "number of SPIs", count);
                writer.bytes(spis);
            }
        }
    }
}

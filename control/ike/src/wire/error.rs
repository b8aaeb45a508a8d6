//! Why octets are not an IKE message, or a value does not fit one.

use thiserror::Error;

/// What is wrong, and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("{payload}, {field}: {fault}")]
pub struct WireError {
    /// The payload as its RFC abbreviates it, or `header`.
    pub payload: &'static str,
    /// The field within it.
    pub field: &'static str,
    /// What is wrong with the field.
    pub fault: Fault,
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum Fault {
    /// The octets end inside the field.
    #[error("ends early")]
    Truncated,
    /// A length that disagrees with what is there.
    #[error("a length of {0} octets does not fit")]
    Length(usize),
    /// More of a thing than this implementation holds at once.
    #[error("more than {0}")]
    TooMany(usize),
    /// A value that the field cannot have.
    #[error("the value {0} is not allowed")]
    Value(u32),
    /// A version of IKE that is not spoken here; a request is answered with INVALID_MAJOR_VERSION.
    #[error("IKE version {0} is not supported")]
    MajorVersion(u8),
    /// A payload type that is not known, and whose sender insists on it; answered with UNSUPPORTED_CRITICAL_PAYLOAD.
    #[error("payload type {0} is critical and not supported")]
    UnsupportedCritical(u8),
}

impl WireError {
    /// An error at this field of this payload.
    pub const fn new(payload: &'static str, field: &'static str, fault: Fault) -> Self {
        Self {
            payload,
            field,
            fault,
        }
    }
}

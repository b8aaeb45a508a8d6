//! The payloads of a message, sorted: what an exchange looks at, each where it can be found.

use crate::wire::v2::{
    Authentication, Certificate, CertificateRequest, Configuration, Delete, Identification,
    KeyExchange, Notify, NotifyType, Payload, SecurityAssociation, TrafficSelectors,
};

/// A message's payloads by kind. Where a kind may stand once only, the first one counts.
#[derive(Default)]
pub(crate) struct Payloads {
    pub sa: Option<SecurityAssociation>,
    pub ke: Option<KeyExchange>,
    pub nonce: Option<Vec<u8>>,
    pub id_i: Option<Identification>,
    pub id_r: Option<Identification>,
    pub certificates: Vec<Certificate>,
    pub certificate_requests: Vec<CertificateRequest>,
    pub auth: Option<Authentication>,
    pub ts_i: Option<TrafficSelectors>,
    pub ts_r: Option<TrafficSelectors>,
    pub configuration: Option<Configuration>,
    pub eap: Option<Vec<u8>>,
    pub deletes: Vec<Delete>,
    pub notifies: Vec<Notify>,
    pub vendor_ids: Vec<Vec<u8>>,
}

impl Payloads {
    pub fn sort(all: Vec<Payload>) -> Self {
        let mut p = Self::default();
        for payload in all {
            match payload {
                Payload::SecurityAssociation(x) => keep(&mut p.sa, x),
                Payload::KeyExchange(x) => keep(&mut p.ke, x),
                Payload::Nonce(x) => keep(&mut p.nonce, x.as_bytes().to_vec()),
                Payload::IdInitiator(x) => keep(&mut p.id_i, x),
                Payload::IdResponder(x) => keep(&mut p.id_r, x),
                Payload::Certificate(x) => p.certificates.push(x),
                Payload::CertificateRequest(x) => p.certificate_requests.push(x),
                Payload::Authentication(x) => keep(&mut p.auth, x),
                Payload::TrafficSelectorsInitiator(x) => keep(&mut p.ts_i, x),
                Payload::TrafficSelectorsResponder(x) => keep(&mut p.ts_r, x),
                Payload::Configuration(x) => keep(&mut p.configuration, x),
                Payload::Eap(x) => keep(&mut p.eap, x),
                Payload::Delete(x) => p.deletes.push(x),
                Payload::Notify(x) => p.notifies.push(x),
                Payload::VendorId(x) => p.vendor_ids.push(x),
                Payload::Private(_) => {}
            }
        }
        p
    }

    /// The first notification of this kind.
    pub fn notify(&self, kind: NotifyType) -> Option<&Notify> {
        self.notifies.iter().find(|n| n.kind == kind)
    }

    pub fn has(&self, kind: NotifyType) -> bool {
        self.notify(kind).is_some()
    }

    /// The first notification that says that something failed.
    pub fn error(&self) -> Option<&Notify> {
        self.notifies.iter().find(|n| n.kind.is_error())
    }
}

fn keep<T>(place: &mut Option<T>, value: T) {
    place.get_or_insert(value);
}

/// A notification without data.
pub(crate) fn notify(kind: NotifyType) -> Payload {
    Payload::Notify(Notify::new(kind, []))
}

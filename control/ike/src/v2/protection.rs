//! The encrypted payload with the keys of one IKE SA: messages sealed, fragmented where they are long, and opened.

use crate::crypto::{IkeKeys, SkCipher};
use crate::proposal::IkeSuite;
use crate::random::Random;
use crate::wire::WireError;
use crate::wire::v2::{
    Encrypted, Header, MAX_FRAGMENTS, Payload, PayloadType, Progress, Reassembly, Sealing, split,
};
use zeroize::Zeroizing;

/// Both directions of an IKE SA's encrypted payloads.
pub(crate) struct Protection {
    outbound: SkCipher,
    inbound: SkCipher,
    sealing: Sealing,
    /// The next IV of a cipher that counts: never used twice under one key.
    next_iv: u64,
}

/// What an encrypted message turned out to be.
pub(crate) enum Opened {
    /// Its ICV does not fit, or it is a fragment that is there already: nothing happened.
    Nothing,
    /// A fragment of a message that is not whole yet. The first one is what a response is repeated for.
    Part,
    /// A whole message: its first payload's type, and the octets inside.
    Whole(PayloadType, Zeroizing<Vec<u8>>),
}

impl Protection {
    /// The ciphers of a suite, as the keys' original initiator or responder uses them.
    pub fn new(suite: &IkeSuite, keys: &IkeKeys, initiator: bool) -> Option<Self> {
        let (from_initiator, from_responder) = keys.ciphers(suite)?;
        let (outbound, inbound) = if initiator {
            (from_initiator, from_responder)
        } else {
            (from_responder, from_initiator)
        };
        let encryption = suite.encryption;
        let sealing = Sealing {
            iv: encryption.iv_len(),
            block: encryption.block_len(),
            icv: suite
                .integrity
                .map_or(encryption.icv_len(), |i| i.icv_len()),
        };
        Some(Self {
            outbound,
            inbound,
            sealing,
            next_iv: 0,
        })
    }

    /// The datagrams of a message: one of at most `limit` octets if there is a limit, else fragments.
    ///
    /// # Errors
    /// If the message is longer than any may be, or the IVs are used up.
    pub fn seal(
        &mut self,
        header: &Header,
        payloads: &[Payload],
        limit: Option<usize>,
        random: &mut dyn Random,
    ) -> Result<Vec<Vec<u8>>, WireError> {
        let limit = limit.unwrap_or(usize::MAX);
        let parts = split(header, payloads, &self.sealing, limit)?;
        let mut out = Vec::with_capacity(parts.len());
        for mut part in parts {
            let parts = part.parts();
            let padding = usize::from(parts.text.last().copied().unwrap_or(0)) + 1;
            let text = &parts.text[..parts.text.len().saturating_sub(padding)];
            let iv = iv(&self.outbound, &mut self.next_iv, random);
            let mut datagram = parts.associated.to_vec();
            self.outbound
                .seal(parts.associated, &iv, text, &mut datagram);
            // The text held certificates and identities, no keys, but it was meant for one reader.
            zeroize::Zeroize::zeroize(parts.text);
            out.push(datagram);
        }
        Ok(out)
    }

    /// Opens a message, or a fragment and puts it to the others.
    pub fn open(
        &self,
        encrypted: &Encrypted,
        datagram: &[u8],
        fragments: &mut Reassembly,
    ) -> Opened {
        if let Some(fragment) = encrypted.fragment
            && (fragment.total > MAX_FRAGMENTS || !fragments.wants(fragment))
        {
            return Opened::Nothing;
        }
        let Some(text) = self.open_one(encrypted, datagram) else {
            return Opened::Nothing;
        };
        let Some(fragment) = encrypted.fragment else {
            return Opened::Whole(encrypted.first, text);
        };
        match fragments.add(fragment, encrypted.first, text.to_vec()) {
            Progress::Waiting => Opened::Part,
            Progress::Whole(first, text) => Opened::Whole(first, Zeroizing::new(text)),
            Progress::TooLong => Opened::Nothing,
        }
    }

    /// Whether a message is genuine: for one that came again and is only to be answered again.
    pub fn vouches(&self, encrypted: &Encrypted, datagram: &[u8]) -> bool {
        //= RFC 7383 §2.6.1: a response is repeated for the first fragment of its request only
        encrypted.fragment.is_none_or(|f| f.number == 1)
            && self.open_one(encrypted, datagram).is_some()
    }

    fn open_one(&self, encrypted: &Encrypted, datagram: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let parts = encrypted.parts(datagram, &self.sealing).ok()?;
        let body = datagram.get(parts.associated.len()..)?;
        self.inbound.open(parts.associated, body).ok()
    }
}

fn iv(cipher: &SkCipher, next: &mut u64, random: &mut dyn Random) -> Vec<u8> {
    let mut iv = vec![0; cipher.iv_len()];
    if cipher.needs_random_iv() {
        random.fill(&mut iv);
        return iv;
    }
    //= RFC 5282 §3.1: an IV is never used twice under one key; a counter sees to it
    let counter = next.to_be_bytes();
    *next = next.wrapping_add(1);
    let taken = iv.len().min(counter.len());
    let at = iv.len() - taken;
    iv[at..].copy_from_slice(&counter[counter.len() - taken..]);
    iv
}

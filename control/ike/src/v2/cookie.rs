//! Cookies: an initiator shows that it gets what is sent to its address, before anything is kept for it (RFC 7296 §2.6).

use std::net::IpAddr;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use crate::random::Random;
use crate::time::Instant;

/// A secret makes cookies for this long; its cookies are taken for as long again.
const SECRET_AGE: Duration = Duration::from_secs(30);

/// Octets of a cookie: the secret's number and 31 of a MAC. The RFC allows 64.
const COOKIE_LEN: usize = 32;

/// Makes cookies and knows them again, without keeping any.
pub(crate) struct CookieMaker {
    current: Secret,
    previous: Option<Secret>,
}

struct Secret {
    number: u8,
    key: Zeroizing<[u8; 32]>,
    since: Instant,
}

impl Secret {
    fn new(number: u8, now: Instant, random: &mut dyn Random) -> Self {
        let mut key = Zeroizing::new([0; 32]);
        random.fill(&mut *key);
        Self {
            number,
            key,
            since: now,
        }
    }

    fn cookie(&self, nonce: &[u8], address: IpAddr, spi_i: u64) -> Option<[u8; COOKIE_LEN]> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&*self.key).ok()?;
        //= RFC 7296 §2.6: Cookie = <VersionIDofSecret> | Hash(Ni | IPi | SPIi | <secret>)
        mac.update(nonce);
        match address {
            IpAddr::V4(a) => mac.update(&a.octets()),
            IpAddr::V6(a) => mac.update(&a.octets()),
        }
        mac.update(&spi_i.to_be_bytes());
        let tag = mac.finalize().into_bytes();
        let mut cookie = [0; COOKIE_LEN];
        cookie[0] = self.number;
        cookie[1..].copy_from_slice(&tag[..COOKIE_LEN - 1]);
        Some(cookie)
    }
}

impl CookieMaker {
    pub fn new(now: Instant, random: &mut dyn Random) -> Self {
        Self {
            current: Secret::new(0, now, random),
            previous: None,
        }
    }

    fn age(&mut self, now: Instant, random: &mut dyn Random) {
        let age = now - self.current.since;
        if age >= SECRET_AGE {
            let next = Secret::new(self.current.number.wrapping_add(1), now, random);
            let old = std::mem::replace(&mut self.current, next);
            //= RFC 7296 §2.6: the old secret is not kept for long after it was changed
            self.previous = (age < SECRET_AGE * 2).then_some(old);
        }
    }

    /// The cookie that this initiator has to return.
    pub fn make(
        &mut self,
        now: Instant,
        random: &mut dyn Random,
        (nonce, address, spi_i): (&[u8], IpAddr, u64),
    ) -> Option<[u8; COOKIE_LEN]> {
        self.age(now, random);
        self.current.cookie(nonce, address, spi_i)
    }

    /// Whether `cookie` is one we made for this initiator not long ago.
    pub fn check(
        &mut self,
        now: Instant,
        random: &mut dyn Random,
        cookie: &[u8],
        (nonce, address, spi_i): (&[u8], IpAddr, u64),
    ) -> bool {
        self.age(now, random);
        let secrets = [Some(&self.current), self.previous.as_ref()];
        secrets.into_iter().flatten().any(|s| {
            s.cookie(nonce, address, spi_i)
                .is_some_and(|c| bool::from(c[..].ct_eq(cookie)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Sequence;

    #[test]
    fn a_cookie_serves_its_initiator_only_and_not_for_ever() {
        let mut random = Sequence::new(7);
        let start = Instant(0);
        let mut maker = CookieMaker::new(start, &mut random);
        let here: IpAddr = "192.0.2.1".parse().unwrap();
        let there: IpAddr = "192.0.2.2".parse().unwrap();
        let who = (&b"nonce"[..], here, 5);
        let cookie = maker.make(start, &mut random, who).unwrap();
        assert!(maker.check(start, &mut random, &cookie, who));
        assert!(!maker.check(start, &mut random, &cookie, (b"nonce", there, 5)));
        assert!(!maker.check(start, &mut random, &cookie, (b"other", here, 5)));
        assert!(!maker.check(start, &mut random, &cookie, (b"nonce", here, 6)));
        assert!(!maker.check(start, &mut random, &[], who));
        let later = start + Duration::from_secs(45);
        assert!(
            maker.check(later, &mut random, &cookie, who),
            "one change of secrets"
        );
        let gone = start + Duration::from_secs(80);
        assert!(!maker.check(gone, &mut random, &cookie, who), "two changes");
    }
}

//! What holds for every connection of an endpoint.

use std::time::Duration;

use crate::random::{Random, fraction};

/// How often and how long a request is sent again (RFC 7296 §2.4 leaves it to us); strongSwan's numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retransmission {
    /// Until the first copy.
    pub timeout: Duration,
    /// Each wait is this many times the one before.
    pub base: f64,
    /// Copies before the peer counts as gone.
    pub tries: u32,
    /// No wait is longer; zero is no limit.
    pub limit: Duration,
    /// Up to this share is taken off each wait by lot, in percent.
    pub jitter: u8,
}

impl Default for Retransmission {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(4),
            base: 1.8,
            tries: 5,
            limit: Duration::ZERO,
            jitter: 0,
        }
    }
}

impl Retransmission {
    /// How long to wait after the request was sent for the `sent`-th time, counted from 1.
    pub(crate) fn wait(&self, sent: u32, random: &mut dyn Random) -> Duration {
        //= RFC 7296 §2.1: wait longer each time, so that a crowded path does not get worse
        let factor = self
            .base
            .max(1.0)
            .powi(sent.saturating_sub(1).min(64) as i32);
        let seconds = (self.timeout.as_secs_f64() * factor).min(LONGEST_WAIT);
        let mut wait = Duration::from_secs_f64(seconds);
        if !self.limit.is_zero() {
            wait = wait.min(self.limit);
        }
        let most = wait / 100 * u32::from(self.jitter.min(100));
        wait - fraction(most, random)
    }
}

/// A day in seconds: no wait for an answer is sensibly longer, and no product overflows.
const LONGEST_WAIT: f64 = 86_400.0;

/// Settings of an endpoint; the defaults are for a gateway.
#[derive(Clone, Debug)]
pub struct Settings {
    /// UDP port of the first messages.
    pub port: u16,
    /// UDP port of IKE with the non-ESP marker and of encapsulated ESP (RFC 3948).
    pub nat_port: u16,
    /// Retransmission of requests.
    pub retransmission: Retransmission,
    /// How long a peer may take from IKE_SA_INIT to the end of IKE_AUTH.
    pub half_open_timeout: Duration,
    /// Half-open IKE SAs beyond which every initiator must return a cookie (RFC 7296 §2.6).
    pub cookie_threshold: usize,
    /// Half-open IKE SAs of one address beyond which its further ones are dropped.
    pub half_open_per_address: usize,
    /// Half-open IKE SAs beyond which further ones are dropped, cookie or not.
    pub half_open_limit: usize,
    /// How long a replaced inbound SA still opens what is under way (DESIGN's "kept a while").
    pub delete_rekeyed_delay: Duration,
    /// How long to wait before a start is tried again after `keyingtries` did not limit it.
    pub retry_delay: Duration,
    /// Largest UDP payload of an IKE message before it is fragmented (RFC 7383), IPv4 and IPv6.
    pub fragment_size: usize,
    /// Vendor IDs to send.
    pub vendor_ids: Vec<Vec<u8>>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            port: 500,
            nat_port: 4500,
            retransmission: Retransmission::default(),
            half_open_timeout: Duration::from_secs(30),
            cookie_threshold: 30,
            half_open_per_address: 5,
            half_open_limit: 4096,
            delete_rekeyed_delay: Duration::from_secs(5),
            retry_delay: Duration::from_secs(10),
            //= RFC 7383 §2.5.1: 1280 octets of IPv6 packet pass everywhere; less 48 octets of headers and the marker
            fragment_size: 1228,
            vendor_ids: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Sequence;

    #[test]
    fn waits_grow_to_the_limit() {
        let mut r = Retransmission::default();
        let mut random = Sequence::new(1);
        let waits: Vec<_> = (1..=6)
            .map(|n| r.wait(n, &mut random).as_millis())
            .collect();
        assert_eq!(waits, [4000, 7200, 12_960, 23_328, 41_990, 75_582]);
        r.limit = Duration::from_secs(10);
        assert_eq!(r.wait(6, &mut random), r.limit);
        r.jitter = 50;
        let jittered = r.wait(1, &mut random);
        assert!(Duration::from_secs(2) <= jittered && jittered <= Duration::from_secs(4));
        assert!(r.wait(u32::MAX, &mut random) <= r.limit);
    }
}

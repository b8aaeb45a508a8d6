//! Where inbound SPIs of child SAs come from.

use std::collections::HashSet;
use std::net::IpAddr;

use adit_abi::Spi;

use crate::random::{Random, number};

/// Gives out the SPIs on which this gateway receives.
///
/// A gateway whose SPIs are its own takes [`RandomSpis`]; one that shares an address is given them by somebody else.
pub trait SpiSource: Send {
    /// An SPI above 255 that nothing else at this address uses, neither for ESP nor for AH; `None` if none is left.
    fn allocate(&mut self, local: IpAddr, random: &mut dyn Random) -> Option<Spi>;

    /// Takes an SPI back.
    fn release(&mut self, local: IpAddr, spi: Spi);
}

/// SPIs by lot, unique among all that it gave out.
#[derive(Debug, Default)]
pub struct RandomSpis {
    used: HashSet<Spi>,
}

/// With less than half of all numbers in use, this many lots fail once in 2^64 times.
const DRAWS: u32 = 64;

impl RandomSpis {
    /// None given out so far.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl SpiSource for RandomSpis {
    fn allocate(&mut self, _: IpAddr, random: &mut dyn Random) -> Option<Spi> {
        let mut lots = (0..DRAWS).map(|_| Spi(number(random)));
        lots.find(|spi| spi.is_usable() && self.used.insert(*spi))
    }

    fn release(&mut self, _: IpAddr, spi: Spi) {
        self.used.remove(&spi);
    }
}

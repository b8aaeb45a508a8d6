//! The policy region: SAD, SPD, forwarding. Written by control alone.
//!
//! [`PolicyReader`] is what the data plane maps; [`PolicyWriter`] is control's, and there is one.

mod links;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub use links::PolicyLink;
pub use reader::PolicyReader;
pub(crate) use reader::read_capacity;
pub use writer::{PolicyWriter, TableFull};

// Words of the header. 0–7 never change; each of the rest has a line of its own.
const MAGIC: usize = 0;
const VERSION: usize = 1;
const SEED: usize = 2;
const CAP_SAS: usize = 3;
const CAP_POLICIES: usize = 4;
const CAP_ROUTES: usize = 5;
const CAP_NEIGHBOURS: usize = 6;
const CAP_WINDOW: usize = 7;
const SAD_GENERATION: usize = 8;
const SPD_GENERATION: usize = 16;
const FORWARDING_GENERATION: usize = 24;
const HIGH_WATER: usize = 32;

/// Which high-water mark of the header.
#[derive(Clone, Copy)]
enum Mark {
    Sas = 0,
    Policies = 1,
    Routes = 2,
    Neighbours = 3,
    SelectorSets = 4,
}

//! Sorts a burst into runs of one SA, so that each SA's cipher is used for many packets at once.

use adit_abi::SaRef;
use arrayvec::ArrayVec;

use crate::frame::BURST;

/// Items of a burst, each with its SA.
pub type BySa<T> = ArrayVec<(SaRef, T), BURST>;

/// Takes the run of the first item's SA out of `items`, in order; the others keep theirs too.
///
/// `None` when nothing is left.
pub fn take_run<T>(items: &mut BySa<T>, run: &mut ArrayVec<T, BURST>) -> Option<SaRef> {
    let sa = items.first()?.0;
    if items.iter().all(|(other, _)| *other == sa) {
        // The common case: one tunnel's traffic.
        run.extend(items.drain(..).map(|(_, item)| item));
        return Some(sa);
    }
    let mut others = ArrayVec::new();
    for (other, item) in items.drain(..) {
        if other == sa {
            run.push(item);
        } else {
            others.push((other, item));
        }
    }
    *items = others;
    Some(sa)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_in_one_run_and_order_is_kept_within_each() {
        let sa = |slot| SaRef {
            slot,
            generation: 1,
        };
        let slots = [3, 1, 3, 2, 1, 3];
        let mut items: BySa<usize> = slots.iter().enumerate().map(|(n, s)| (sa(*s), n)).collect();
        let mut runs = Vec::new();
        let mut run = ArrayVec::new();
        while let Some(sa) = take_run(&mut items, &mut run) {
            runs.push((sa.slot, run.drain(..).collect::<Vec<_>>()));
        }
        assert_eq!(runs, [(3, vec![0, 2, 5]), (1, vec![1, 4]), (2, vec![3])]);
    }
}

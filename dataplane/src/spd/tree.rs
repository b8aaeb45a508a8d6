//! A decision tree over selectors: the first of many ordered selectors that covers a flow, in a few steps.
//!
//! Every inner node asks one field whether it lies below a bound; every leaf lists the few selectors that reach
//! into its part of the space, in order. The leaves do not overlap: they are the decorrelated SPD of RFC 4301
//! Appendix B, cut where look-ups want it.
//!
//! A selector that spans a cut lies on both sides of it. So that this does not get out of hand, selectors are
//! parted by which of their address ranges are wide, one tree for each kind, and each tree has a budget of
//! entries; where it is used up a leaf stays long, which costs time and no correctness.

use adit_abi::{Address, Flow, PortRange, Selector};

/// Selectors in a leaf that is not worth cutting.
const LEAF: usize = 4;
/// Entries of all leaves for each selector, at most.
const BUDGET: usize = 24;
/// The number of a hidden port: one behind the last.
const HIDDEN: u128 = 1 << 16;
/// Stands for a leaf where a field is expected.
const IS_LEAF: u32 = u32::MAX;

/// Local address, remote address, protocol, local port, remote port.
const FIELDS: usize = 5;
type Bounds = [(u128, u128); FIELDS];
type Point = [u128; FIELDS];

const ALL: Bounds = [
    (0, u128::MAX),
    (0, u128::MAX),
    (0, 255),
    (0, HIDDEN),
    (0, HIDDEN),
];

/// What a node asks, or what a leaf lists. The lower half of a cut follows its node.
#[derive(Clone, Copy)]
struct Node {
    /// Values from here on lie in the upper half.
    bound: u128,
    /// Place of the field, or [`IS_LEAF`].
    field: u32,
    /// Place of the upper half's node, or of the leaf's first entry.
    at: u32,
    /// Entries of a leaf.
    entries: u32,
}

/// One tree.
struct Tree {
    nodes: Vec<Node>,
    entries: Vec<u32>,
    /// The lowest number in it.
    first: u32,
}

/// The trees over one ordered list of selectors.
pub struct Trees(Vec<Tree>);

/// A selector with its place in the order.
pub type Numbered = (u32, Selector);

impl Trees {
    /// Builds the trees over selectors in the order of their numbers.
    pub fn build(selectors: &[Numbered]) -> Self {
        let mut kinds: [Vec<(u32, Bounds)>; 4] = Default::default();
        for (n, s) in selectors {
            let wide = |first, last| usize::from(is_wide(first, last));
            let kind = wide(s.local_first, s.local_last) << 1 | wide(s.remote_first, s.remote_last);
            kinds[kind].push((*n, bounds(s)));
        }
        let mut trees: Vec<_> = kinds
            .iter()
            .filter(|rules| !rules.is_empty())
            .map(|rules| Tree::build(rules))
            .collect();
        trees.sort_unstable_by_key(|tree| tree.first);
        Self(trees)
    }

    /// The lowest number of a selector in the flow's leaf that `covers` confirms.
    #[inline]
    pub fn first(&self, flow: &Flow, ports: bool, covers: impl Fn(u32) -> bool) -> Option<u32> {
        let port = |n: u16| if ports { u128::from(n) } else { HIDDEN };
        let point = [
            flow.local.to_u128(),
            flow.remote.to_u128(),
            flow.protocol.into(),
            port(flow.local_port),
            port(flow.remote_port),
        ];
        let mut best = u32::MAX;
        for tree in &self.0 {
            if tree.first >= best {
                break;
            }
            for n in tree.leaf(&point) {
                if *n >= best {
                    break;
                }
                if covers(*n) {
                    best = *n;
                    break;
                }
            }
        }
        (best != u32::MAX).then_some(best)
    }

    #[cfg(test)]
    fn longest_leaf(&self) -> u32 {
        let leaves = self.0.iter().flat_map(|tree| &tree.nodes);
        leaves.map(|node| node.entries).max().unwrap_or(0)
    }

    #[cfg(test)]
    fn entries(&self) -> usize {
        self.0.iter().map(|tree| tree.entries.len()).sum()
    }
}

impl Tree {
    fn build(rules: &[(u32, Bounds)]) -> Self {
        let mut tree = Self {
            nodes: Vec::new(),
            entries: Vec::new(),
            first: rules.first().map_or(u32::MAX, |(n, _)| *n),
        };
        let all = (0..rules.len()).collect();
        tree.cut(rules, all, &ALL, rules.len() * BUDGET + 64);
        tree
    }

    /// Adds the node for a part of the space, with all that lies below it.
    fn cut(&mut self, rules: &[(u32, Bounds)], mut here: Vec<usize>, part: &Bounds, budget: usize) {
        // Whatever comes behind a selector that covers the whole part decides nothing there.
        let whole = |i: &usize| {
            let pairs = rules[*i].1.iter().zip(part);
            pairs.clone().all(|(r, p)| r.0 <= p.0 && p.1 <= r.1)
        };
        if let Some(end) = here.iter().position(whole) {
            here.truncate(end + 1);
        }
        let cut = (here.len() > LEAF)
            .then(|| best_cut(rules, &here, part))
            .flatten()
            .filter(|cut| cut.lower + cut.upper <= budget);
        let Some(cut) = cut else {
            self.nodes.push(Node {
                bound: 0,
                field: IS_LEAF,
                at: self.entries.len() as u32,
                entries: here.len() as u32,
            });
            self.entries.extend(here.iter().map(|i| rules[*i].0));
            return;
        };
        let node = self.nodes.len();
        self.nodes.push(Node {
            bound: cut.bound,
            field: cut.field as u32,
            at: 0,
            entries: 0,
        });
        let (mut below, mut above) = (*part, *part);
        below[cut.field].1 = cut.bound - 1;
        above[cut.field].0 = cut.bound;
        let reaches = |i: &usize, low: bool| {
            let (first, last) = rules[*i].1[cut.field];
            if low {
                first < cut.bound
            } else {
                last >= cut.bound
            }
        };
        let lower = here.iter().copied().filter(|i| reaches(i, true)).collect();
        here.retain(|i| reaches(i, false));
        let share = budget * cut.lower / (cut.lower + cut.upper);
        self.cut(rules, lower, &below, share);
        self.nodes[node].at = self.nodes.len() as u32;
        self.cut(rules, here, &above, budget - share);
    }

    #[inline]
    fn leaf(&self, point: &Point) -> &[u32] {
        let mut at = 0;
        while let Some(node) = self.nodes.get(at) {
            let Some(value) = point.get(node.field as usize) else {
                let start = node.at as usize;
                let leaf = self.entries.get(start..start + node.entries as usize);
                return leaf.unwrap_or_default();
            };
            at = if *value < node.bound {
                at + 1
            } else {
                node.at as usize
            };
        }
        &[]
    }
}

struct Cut {
    field: usize,
    bound: u128,
    /// Selectors that reach into the lower and into the upper half.
    lower: usize,
    upper: usize,
}

/// The cut, at the median bound of some field, that leaves the least to look through on both sides.
fn best_cut(rules: &[(u32, Bounds)], here: &[usize], part: &Bounds) -> Option<Cut> {
    let mut best: Option<Cut> = None;
    let mut bounds = Vec::with_capacity(here.len() * 2);
    for (field, (low, high)) in part.iter().enumerate() {
        bounds.clear();
        for i in here {
            let (first, last) = rules[*i].1[field];
            bounds.extend((first > *low).then_some(first));
            bounds.extend((last < *high).then(|| last + 1));
        }
        if bounds.is_empty() {
            continue;
        }
        let middle = bounds.len() / 2;
        let (_, bound, _) = bounds.select_nth_unstable(middle);
        let bound = *bound;
        let count = |low: bool| {
            let reaches = |i: &&usize| {
                let (first, last) = rules[**i].1[field];
                if low { first < bound } else { last >= bound }
            };
            here.iter().filter(reaches).count()
        };
        let (lower, upper) = (count(true), count(false));
        let cost = |cut: &Cut| cut.lower * cut.lower + cut.upper * cut.upper;
        let cut = Cut {
            field,
            bound,
            lower,
            upper,
        };
        if lower.max(upper) < here.len() && best.as_ref().is_none_or(|b| cost(&cut) < cost(b)) {
            best = Some(cut);
        }
    }
    best
}

fn bounds(s: &Selector) -> Bounds {
    let ports = |range: &PortRange| match *range {
        PortRange::ANY => (0, HIDDEN),
        PortRange::OPAQUE => (HIDDEN, HIDDEN),
        range => (range.first.into(), range.last.into()),
    };
    let protocol = match s.protocol {
        0 => (0, 255),
        p => (p.into(), p.into()),
    };
    [
        (s.local_first.to_u128(), s.local_last.to_u128()),
        (s.remote_first.to_u128(), s.remote_last.to_u128()),
        protocol,
        ports(&s.local_ports),
        ports(&s.remote_ports),
    ]
}

/// Whether a range is wider than an IPv4 /16 or an IPv6 /48.
fn is_wide(first: Address, last: Address) -> bool {
    let bits = if first.is_v4() && last.is_v4() {
        16
    } else {
        80
    };
    last.to_u128().saturating_sub(first.to_u128()) >> bits != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn v4(n: u32) -> Address {
        Address::v4(n.to_be_bytes())
    }

    fn selector(local: (u32, u32), remote: (u32, u32)) -> Selector {
        let any = adit_abi::Prefix::from_mapped(Address::UNSPECIFIED, 0);
        Selector {
            local_first: v4(local.0),
            local_last: v4(local.1),
            remote_first: v4(remote.0),
            remote_last: v4(remote.1),
            ..Selector::between(any, any)
        }
    }

    /// Numbers that look random and are the same every time.
    fn numbers() -> impl FnMut() -> u32 {
        let mut state = 7u64;
        move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) as u32
        }
    }

    #[test]
    fn a_thousand_sites_end_in_short_leaves() {
        let mut next = numbers();
        let sites: Vec<_> = (0..1000)
            .map(|n| {
                let at = 0x0a00_0000 + n * 5000 + next() % 1000;
                (
                    n,
                    selector((0x0a00_0000, 0x0aff_ffff), (at, at + next() % 3000)),
                )
            })
            .collect();
        let trees = Trees::build(&sites);
        assert!(trees.longest_leaf() as usize <= LEAF);
        assert!(trees.entries() < 4 * sites.len(), "{}", trees.entries());
    }

    #[test]
    fn crosswise_wide_selectors_do_not_multiply() {
        let all = (0, u32::MAX);
        let crossing: Vec<_> = (0..1000u32)
            .map(|n| {
                let narrow = (n << 12, (n << 12) + 99);
                let s = if n % 2 == 0 {
                    (all, narrow)
                } else {
                    (narrow, all)
                };
                (n, selector(s.0, s.1))
            })
            .collect();
        let trees = Trees::build(&crossing);
        assert!(trees.longest_leaf() as usize <= LEAF);
        assert!(trees.entries() < 4 * crossing.len(), "{}", trees.entries());
    }

    #[test]
    fn the_worst_selectors_stay_within_the_budget() {
        let mut next = numbers();
        // Ranges that all overlap and of which none covers another whole.
        let nasty: Vec<_> = (0..2000)
            .map(|n| {
                let mut range = || (next() % (1 << 30), (1 << 31) + next() % (1 << 30));
                let (local, remote) = (range(), range());
                (n, selector(local, remote))
            })
            .collect();
        let trees = Trees::build(&nasty);
        assert!(
            trees.entries() <= nasty.len() * BUDGET + 64,
            "{}",
            trees.entries()
        );
    }
}

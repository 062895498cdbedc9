//! The order of nodes that are equally good, by policy. Decides by numbers alone: what nodes there are, and
//! which of them are better, is known elsewhere.

use std::collections::BTreeMap;

use sha1::{Digest, Sha1};

use crate::ids::NodeId;

/// A node as far as its place in the order goes.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) id: NodeId,
    /// What it is known by beyond this process.
    pub(super) name: &'a str,
    /// Its weight as it is written.
    pub(super) weight: f64,
    /// What part of that it has now.
    pub(super) part: f64,
    /// Sessions that are there.
    pub(super) load: f64,
}

/// The one with the fewest sessions for its weight first, as if the next session were there already; of
/// equals, in the order given.
pub(super) fn least_sessions(candidates: &[Candidate<'_>]) -> Vec<NodeId> {
    by_score(candidates, |one| (one.load + 1.0) / (one.weight * one.part))
}

/// The one to which the key belongs first (weighted rendezvous hashing): when a node comes or goes, only its own
/// keys have another one. The order of the others is where its keys go without it.
pub(super) fn hash(candidates: &[Candidate<'_>], key: &[u8]) -> Vec<NodeId> {
    by_score(candidates, |one| {
        // Of this many equal draws the weight-th root is the best.
        -draw(one.name, key).ln() / one.weight
    })
}

fn by_score(candidates: &[Candidate<'_>], score: impl Fn(&Candidate<'_>) -> f64) -> Vec<NodeId> {
    let mut scored: Vec<(f64, NodeId)> = candidates.iter().map(|one| (score(one), one.id)).collect();
    // Stable.
    scored.sort_by(|(one, _), (other, _)| one.total_cmp(other));
    scored.into_iter().map(|(_, id)| id).collect()
}

/// A number between 0 and 1 that is always the same for a node and a key, whoever draws it.
#[allow(clippy::cast_precision_loss)] // 53 bits are enough.
fn draw(node: &str, key: &[u8]) -> f64 {
    let mut hash = Sha1::new();
    hash.update(node.as_bytes());
    hash.update([0]);
    hash.update(key);
    let bits = hash.finalize().iter().take(7).fold(0_u64, |bits, byte| bits << 8 | u64::from(*byte)) >> 3;
    (bits as f64 + 0.5) / (1_u64 << 53) as f64
}

/// Whose turn it is, smoothly: a heavy node has its turns between those of the others, not in a row.
#[derive(Debug, Default)]
pub(super) struct Turns {
    credits: BTreeMap<NodeId, f64>,
}

impl Turns {
    /// The next order; the first of it has had its turn.
    pub(super) fn next(&mut self, candidates: &[Candidate<'_>]) -> Vec<NodeId> {
        self.credits.retain(|id, _| candidates.iter().any(|one| one.id == *id));
        for one in candidates {
            *self.credits.entry(one.id).or_default() += one.weight * one.part;
        }
        let order = by_score(candidates, |one| -self.credits.get(&one.id).copied().unwrap_or_default());
        let total: f64 = candidates.iter().map(|one| one.weight * one.part).sum();
        if let Some(credit) = order.first().and_then(|first| self.credits.get_mut(first)) {
            *credit -= total;
        }
        order
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

    fn nodes(weights: &[u16]) -> Vec<Candidate<'static>> {
        let nodes = weights.iter().zip(NAMES).enumerate();
        let node = |(id, (weight, name)): (usize, (&u16, &'static str))| Candidate {
            id: NodeId(u32::try_from(id).unwrap()),
            name,
            weight: f64::from(*weight),
            part: 1.0,
            load: 0.0,
        };
        nodes.map(node).collect()
    }

    fn index(id: NodeId) -> usize {
        usize::try_from(id.0).unwrap()
    }

    proptest! {
        #[test]
        fn least_sessions_shares_by_weight(weights in vec(1_u16..=256, 1..=6), sessions in 1_usize..2_000) {
            let mut nodes = nodes(&weights);
            for _ in 0..sessions {
                let first = least_sessions(&nodes)[0];
                nodes[index(first)].load += 1.0;
            }
            let total: f64 = nodes.iter().map(|one| one.weight).sum();
            for node in &nodes {
                let fair = node.weight / total * sessions as f64;
                // What others are ahead of it is at most one session each.
                prop_assert!((node.load - fair).abs() <= weights.len() as f64, "{} for {fair}", node.load);
            }
        }

        #[test]
        fn turns_are_shared_by_weight_at_every_moment(weights in vec(1_u16..=256, 1..=6)) {
            let (nodes, mut turns) = (nodes(&weights), Turns::default());
            let total: f64 = nodes.iter().map(|one| one.weight).sum();
            let mut had = vec![0.0; nodes.len()];
            for turn in 1..=1_000 {
                had[index(turns.next(&nodes)[0])] += 1.0;
                for (node, had) in nodes.iter().zip(&had) {
                    let fair = node.weight / total * f64::from(turn);
                    prop_assert!((had - fair).abs() <= weights.len() as f64, "{had} for {fair} after {turn}");
                }
            }
            prop_assert!(turns.credits.len() <= nodes.len());
        }

        #[test]
        fn only_the_keys_of_a_node_that_goes_have_another(
            weights in vec(1_u16..=256, 2..=6),
            gone in 0_usize..6,
            keys in vec(any::<u64>(), 50),
        ) {
            let nodes = nodes(&weights);
            let gone = gone % nodes.len();
            let mut left = nodes.clone();
            left.remove(gone);
            for key in keys {
                let key = key.to_be_bytes();
                let (before, after) = (hash(&nodes, &key), hash(&left, &key));
                let expected: Vec<NodeId> =
                    before.iter().copied().filter(|id| index(*id) != gone).collect();
                prop_assert_eq!(&after, &expected);
            }
        }

        #[test]
        fn every_order_has_every_node_once(weights in vec(1_u16..=256, 0..=6), key in any::<u64>()) {
            let nodes = nodes(&weights);
            for mut order in [
                least_sessions(&nodes),
                hash(&nodes, &key.to_be_bytes()),
                Turns::default().next(&nodes),
            ] {
                order.sort_unstable();
                prop_assert_eq!(order, nodes.iter().map(|one| one.id).collect::<Vec<_>>());
            }
        }
    }

    #[test]
    fn keys_are_shared_by_weight() {
        let nodes = nodes(&[1, 2, 5]);
        let mut had = [0.0_f64; 3];
        for key in 0..20_000_u64 {
            had[index(hash(&nodes, &key.to_be_bytes())[0])] += 1.0;
        }
        for (had, fair) in had.iter().zip([2_500.0_f64, 5_000.0, 12_500.0]) {
            assert!((had - fair).abs() < 300.0, "{had} for {fair}");
        }
    }

    /// Several proxies, also of different versions, have to agree.
    #[test]
    fn what_is_drawn_never_changes() {
        let nodes = nodes(&[1, 1, 1]);
        let orders = ["192.0.2.1", "192.0.2.2", "/?room=x"].map(|key| hash(&nodes, key.as_bytes()));
        assert_eq!(orders.map(|order| order.into_iter().map(index).collect::<Vec<_>>()), EXPECTED);
    }

    const EXPECTED: [[usize; 3]; 3] = [[2, 1, 0], [2, 0, 1], [0, 2, 1]];

    #[test]
    fn a_node_with_a_part_of_its_weight_gets_that_part() {
        let mut nodes = nodes(&[1, 1]);
        nodes[1].part = 0.1;
        for _ in 0..110 {
            let first = index(least_sessions(&nodes)[0]);
            nodes[first].load += 1.0;
        }
        assert_eq!([nodes[0].load, nodes[1].load], [100.0, 10.0]);
    }
}

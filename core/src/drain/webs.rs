//! Which sessions belong together: whoever publishes a stream and whoever plays it go to the same node, or
//! the stream is torn from its player; and whoever is in a room goes where the others in it go, or they do not see
//! each other.

use std::collections::BTreeMap;

use crate::session::{Belongings, RoomKey, SessionId};

/// Sessions that share streams or rooms, and move together or not at all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Web {
    /// Those that publish and play nothing of this web: they wait for nobody.
    pub publishers: Vec<SessionId>,
    /// Those that publish, and play what others of this web publish: each of them is moved only when all are.
    pub entangled: Vec<SessionId>,
    /// Those that only play, or have no stream.
    pub others: Vec<SessionId>,
    /// One of them cannot move unseen, for this reason.
    pub bound_by: Option<&'static str>,
}

impl Web {
    /// How many sessions it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.publishers.len() + self.entangled.len() + self.others.len()
    }

    /// Whether it has none; no web of [`webs`] has.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of them.
    #[must_use]
    pub fn members(&self) -> Vec<SessionId> {
        self.publishers.iter().chain(&self.entangled).chain(&self.others).copied().collect()
    }

    /// A session has ended. True if it was of this web.
    pub(super) fn forget(&mut self, session: SessionId) -> bool {
        let before = self.len();
        for list in [&mut self.publishers, &mut self.entangled, &mut self.others] {
            list.retain(|one| *one != session);
        }
        self.len() < before
    }

    fn add(&mut self, one: &Belongings) {
        let list = match (one.publishes.is_empty(), one.plays.is_empty()) {
            (true, _) => &mut self.others,
            (false, true) => &mut self.publishers,
            (false, false) => &mut self.entangled,
        };
        list.push(one.session);
        self.bound_by = self.bound_by.or(one.bound_by);
    }
}

/// The webs of these sessions: those with streams first, in the order of their first session.
#[must_use]
pub fn webs(all: &[Belongings]) -> Vec<Web> {
    let mut roots = Roots((0..all.len()).collect());
    let mut first_with: BTreeMap<&str, usize> = BTreeMap::new();
    let mut first_in: BTreeMap<RoomKey, usize> = BTreeMap::new();
    for (place, one) in all.iter().enumerate() {
        for name in one.publishes.iter().chain(&one.plays) {
            let first = *first_with.entry(name).or_insert(place);
            roots.join(first, place);
        }
        for room in &one.rooms {
            let first = *first_in.entry(*room).or_insert(place);
            roots.join(first, place);
        }
    }
    let mut found: BTreeMap<usize, Web> = BTreeMap::new();
    for (place, one) in all.iter().enumerate() {
        found.entry(roots.of(place)).or_default().add(one);
    }
    let mut webs: Vec<Web> = found.into_values().collect();
    webs.sort_by_key(|web| web.publishers.is_empty() && web.entangled.is_empty());
    webs
}

/// Sets that are joined: each place knows one that is nearer to the first of its set.
struct Roots(Vec<usize>);

impl Roots {
    fn of(&mut self, place: usize) -> usize {
        let mut root = place;
        while let Some(next) = self.0.get(root).copied().filter(|next| *next != root) {
            root = next;
        }
        // The next who asks has a short way.
        let mut place = place;
        while let Some(next) = self.0.get_mut(place).filter(|next| **next != root) {
            place = std::mem::replace(next, root);
        }
        root
    }

    fn join(&mut self, one: usize, other: usize) {
        let (one, other) = (self.of(one), self.of(other));
        if let Some(root) = self.0.get_mut(one.max(other)) {
            *root = one.min(other);
        }
    }
}

#[cfg(test)]
#[allow(clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::session::{Identity, NodeId};

    fn one(session: u64, publishes: &[&str], plays: &[&str]) -> Belongings {
        let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect();
        Belongings {
            session: SessionId(session),
            node: NodeId(1),
            publishes: names(publishes),
            plays: names(plays),
            rooms: Vec::new(),
            bound_by: None,
        }
    }

    #[test]
    fn who_shares_a_stream_belongs_together() {
        let all = [
            one(1, &[], &["a"]),
            one(2, &[], &[]),
            one(3, &["a"], &[]),
            one(4, &["b"], &["c"]),
            one(5, &["c"], &["b"]),
            one(6, &[], &["a", "b"]),
            one(7, &[], &["gone"]),
        ];
        let webs = webs(&all);
        assert_eq!(webs.len(), 3);
        let ids = |ids: &[u64]| ids.iter().map(|id| SessionId(*id)).collect::<Vec<_>>();
        assert_eq!(webs[0].publishers, ids(&[3]));
        assert_eq!(webs[0].entangled, ids(&[4, 5]));
        assert_eq!(webs[0].others, ids(&[1, 6]));
        assert_eq!((webs[1].others.clone(), webs[2].others.clone()), (ids(&[2]), ids(&[7])));
    }

    #[test]
    fn who_is_in_a_room_belongs_to_the_others_in_it_and_to_their_streams() {
        let [red, blue] = ["red", "blue"].map(|name| RoomKey::new(Identity::default(), name));
        let mut all = [one(1, &["a"], &[]), one(2, &[], &[]), one(3, &[], &["a"]), one(4, &[], &[])];
        for (session, room) in [(0, red), (1, red), (3, blue)] {
            all[session].rooms.push(room);
        }
        let members: Vec<_> = webs(&all).iter().map(Web::members).collect();
        assert_eq!(members, [vec![SessionId(1), SessionId(2), SessionId(3)], vec![SessionId(4)]]);
    }

    #[test]
    fn one_that_is_bound_binds_its_web_and_no_other() {
        let mut all = [one(1, &["a"], &[]), one(2, &[], &["a"]), one(3, &["b"], &[])];
        all[1].bound_by = Some("direct media");
        let webs = webs(&all);
        assert_eq!(webs.iter().map(|web| web.bound_by).collect::<Vec<_>>(), [Some("direct media"), None]);
    }

    #[test]
    fn a_chain_of_ten_thousand_is_one_web_and_quick() {
        let all: Vec<Belongings> = (0..10_000_u64)
            .map(|n| one(n, &[&format!("s{n}")], &[&format!("s{}", n.wrapping_add(1))]))
            .collect();
        assert_eq!(webs(&all).iter().map(Web::len).collect::<Vec<_>>(), [10_000]);
    }
}

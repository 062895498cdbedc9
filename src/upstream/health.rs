//! What is known of one node from the dials to it: whether it answers at all, and on which paths it
//! refused.
//!
//! A path is what a balancer goes by: the same node may serve one and refuse another. What a probe sees
//! of a path is news only if the probe itself was refused there before.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

/// How long a node is tried after the others for a path that it refused.
const REFUSED_AVOIDED: Duration = Duration::from_secs(10);

/// The state of a node.
#[derive(Debug)]
pub(super) struct Health {
    down: bool,
    /// The path of the last dial that did not reach it.
    path: Arc<str>,
    refused: Vec<RefusedPath>,
    paths_max: usize,
}

#[derive(Debug)]
struct RefusedPath {
    path: Arc<str>,
    avoided_until: Instant,
    seen: Seen,
}

/// What probes see of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    NotYet,
    /// They are refused as well.
    Refused,
    /// They are not: it is about something that only the client has.
    Nothing,
}

impl Health {
    /// A node of which nothing is known; remembers at most so many paths.
    pub(super) fn new(paths_max: usize) -> Self {
        Self { down: false, path: "/".into(), refused: Vec::new(), paths_max: paths_max.max(1) }
    }

    /// Whether it could not be reached lately.
    pub(super) const fn is_down(&self) -> bool {
        self.down
    }

    /// Where it stands in the order of the nodes, for this path: lower is earlier.
    pub(super) fn rank(&self, path: &str, now: Instant) -> u8 {
        let refused = self.refused.iter().any(|one| &*one.path == path && one.avoided_until > now);
        u8::from(self.down).saturating_mul(2).saturating_add(u8::from(refused))
    }

    /// It answered, whatever it said. True if that is news.
    pub(super) const fn reached(&mut self) -> bool {
        std::mem::replace(&mut self.down, false)
    }

    /// It could not be reached on the way to this path. True if that is news.
    pub(super) fn unreachable(&mut self, path: &str) -> bool {
        if &*self.path != path {
            self.path = path.into();
        }
        !std::mem::replace(&mut self.down, true)
    }

    /// A client was refused on this path. The oldest is forgotten for it where there are too many.
    pub(super) fn refused(&mut self, path: &str, now: Instant) {
        let avoided_until = now + REFUSED_AVOIDED;
        if let Some(known) = self.refused.iter_mut().find(|one| &*one.path == path) {
            known.avoided_until = avoided_until;
            return;
        }
        if self.refused.len() >= self.paths_max {
            self.refused.remove(0);
        }
        self.refused.push(RefusedPath { path: path.into(), avoided_until, seen: Seen::NotYet });
    }

    /// A client was accepted on this path. True if it was refused there before.
    pub(super) fn accepted(&mut self, path: &str) -> bool {
        let before = self.refused.len();
        self.refused.retain(|one| &*one.path != path);
        self.refused.len() < before
    }

    /// What a probe of this path saw. True if it was refused before and is not any more.
    pub(super) fn probed(&mut self, path: &str, accepted: bool) -> bool {
        let Some(known) = self.refused.iter_mut().find(|one| &*one.path == path) else { return false };
        match (accepted, known.seen) {
            (false, _) => known.seen = Seen::Refused,
            (true, Seen::Refused) => return self.accepted(path),
            (true, _) => known.seen = Seen::Nothing,
        }
        false
    }

    /// What to ask for in the next round of probes: the refused paths that somebody waits for, and
    /// always something.
    pub(super) fn targets(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
        let refused = self.refused.iter().filter(|one| one.seen != Seen::Nothing && is_wanted(&one.path));
        let mut targets: Vec<_> = refused.map(|one| Arc::clone(&one.path)).collect();
        if targets.is_empty() {
            targets.push(Arc::clone(&self.path));
        }
        targets
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_is_down_comes_last_and_one_that_refuses_the_path_before_it() {
        let now = Instant::now();
        let (mut down, mut refuses, well) = (Health::new(8), Health::new(8), Health::new(8));
        assert!(down.unreachable("/wss") && !down.unreachable("/wss"));
        refuses.refused("/wss", now);
        assert!(well.rank("/wss", now) < refuses.rank("/wss", now));
        assert!(refuses.rank("/wss", now) < down.rank("/wss", now));
        assert_eq!(refuses.rank("/other", now), well.rank("/other", now));
        assert_eq!(refuses.rank("/wss", now + REFUSED_AVOIDED), well.rank("/wss", now));
        assert!(down.reached() && !down.reached());
    }

    #[test]
    fn a_probe_is_news_only_where_it_was_refused_itself() {
        let mut health = Health::new(8);
        assert!(!health.probed("/wss", true), "nobody was refused there");
        health.refused("/wss", Instant::now());
        assert!(!health.probed("/wss", true), "the refusal is about the client");
        assert_eq!(&*health.targets(|_| true)[0], "/", "probes see nothing there");
        assert!(health.accepted("/wss"));
        health.refused("/wss", Instant::now());
        assert!(!health.probed("/wss", false) && health.probed("/wss", true));
        assert!(!health.accepted("/wss"));
    }

    #[test]
    fn refused_paths_are_bounded_and_the_oldest_goes() {
        let mut health = Health::new(3);
        for index in 0..100 {
            health.refused(&format!("/{index}"), Instant::now());
        }
        let targets = health.targets(|_| true);
        assert_eq!(targets.iter().map(|path| &**path).collect::<Vec<_>>(), ["/97", "/98", "/99"]);
        assert_eq!(health.targets(|path| path == "/98").len(), 1);
    }
}

//! What is known of one node path by path: where it refused clients, and what to probe.
//!
//! A path is what a balancer goes by: the same node may serve one and refuse another. What a probe sees
//! of a path is news only if the probe itself was refused there before.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

/// How long a node is tried after the others for a path that it refused.
const REFUSED_AVOIDED: Duration = Duration::from_secs(10);

/// The paths of a node.
#[derive(Debug)]
pub(in crate::upstream) struct Paths {
    /// The path of the last dial.
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

impl Paths {
    /// A node of which nothing is known; remembers at most so many paths.
    pub(in crate::upstream) fn new(paths_max: usize) -> Self {
        Self { path: "/".into(), refused: Vec::new(), paths_max: paths_max.max(1) }
    }

    /// Remembers so many from now on.
    pub(in crate::upstream) fn remember(&mut self, paths_max: usize) {
        self.paths_max = paths_max.max(1);
        let too_many = self.refused.len().saturating_sub(self.paths_max);
        self.refused.drain(..too_many);
    }

    /// Whether clients were refused on this path a moment ago.
    pub(in crate::upstream) fn refuses(&self, path: &str, now: Instant) -> bool {
        self.refused.iter().any(|one| &*one.path == path && one.avoided_until > now)
    }

    /// It was dialled for this path.
    pub(in crate::upstream) fn dialled(&mut self, path: &str) {
        if &*self.path != path {
            self.path = path.into();
        }
    }

    /// The path of the last dial.
    pub(in crate::upstream) fn last(&self) -> Arc<str> {
        Arc::clone(&self.path)
    }

    /// A client was refused on this path. The oldest is forgotten for it where there are too many.
    pub(in crate::upstream) fn refused(&mut self, path: &str, now: Instant) {
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
    pub(in crate::upstream) fn accepted(&mut self, path: &str) -> bool {
        let before = self.refused.len();
        self.refused.retain(|one| &*one.path != path);
        self.refused.len() < before
    }

    /// What a probe of this path saw. True if it was refused before and is not any more.
    pub(in crate::upstream) fn probed(&mut self, path: &str, accepted: bool) -> bool {
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
    pub(in crate::upstream) fn targets(&self, is_wanted: impl Fn(&str) -> bool) -> Vec<Arc<str>> {
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
    fn a_path_that_was_refused_is_avoided_for_a_while_and_no_other() {
        let now = Instant::now();
        let mut paths = Paths::new(8);
        paths.refused("/wss", now);
        assert!(paths.refuses("/wss", now) && !paths.refuses("/other", now));
        assert!(!paths.refuses("/wss", now + REFUSED_AVOIDED));
    }

    #[test]
    fn a_probe_is_news_only_where_it_was_refused_itself() {
        let mut paths = Paths::new(8);
        assert!(!paths.probed("/wss", true), "nobody was refused there");
        paths.refused("/wss", Instant::now());
        assert!(!paths.probed("/wss", true), "the refusal is about the client");
        assert_eq!(&*paths.targets(|_| true)[0], "/", "probes see nothing there");
        assert!(paths.accepted("/wss"));
        paths.refused("/wss", Instant::now());
        assert!(!paths.probed("/wss", false) && paths.probed("/wss", true));
        assert!(!paths.accepted("/wss"));
    }

    #[test]
    fn refused_paths_are_bounded_and_the_oldest_goes() {
        let mut paths = Paths::new(3);
        for index in 0..100 {
            paths.refused(&format!("/{index}"), Instant::now());
        }
        let targets = paths.targets(|_| true);
        assert_eq!(targets.iter().map(|path| &**path).collect::<Vec<_>>(), ["/97", "/98", "/99"]);
        assert_eq!(paths.targets(|path| path == "/98").len(), 1);
    }
}

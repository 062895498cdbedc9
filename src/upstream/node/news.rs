//! What the log knows of a node's state, or of its media: one line per change, and no flood where it changes many times a
//! second. What was kept back is told as soon as there is room, so that the log ends up right.

use std::time::Duration;

use crate::session::Timestamp;

/// So many lines of one node in a window are told; more are kept back.
const LINES_MAX: u32 = 4;
const WINDOW: Duration = Duration::from_secs(4);

/// What was told of one node.
#[derive(Debug)]
pub(super) struct News<S> {
    told: S,
    told_at: Timestamp,
    window_from: Timestamp,
    lines: u32,
}

/// A line to be written: where it comes from, and how long it was that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Line<S> {
    pub(super) from: S,
    pub(super) lasted: Duration,
}

impl<S: Copy + Default + PartialEq> News<S> {
    /// Nothing was told; the log takes it to be as it should.
    pub(super) fn new(now: Timestamp) -> Self {
        Self { told: S::default(), told_at: now, window_from: now, lines: 0 }
    }

    /// The line that is due where it is in this state now.
    pub(super) fn line(&mut self, state: S, now: Timestamp) -> Option<Line<S>> {
        if state == self.told {
            return None;
        }
        if now.since(self.window_from) >= WINDOW {
            (self.window_from, self.lines) = (now, 0);
        }
        if self.lines >= LINES_MAX {
            return None;
        }
        self.lines += 1;
        let line = Line { from: self.told, lasted: now.since(self.told_at) };
        (self.told, self.told_at) = (state, now);
        Some(line)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::upstream::node::NodeState;

    #[test]
    fn a_node_that_flaps_is_told_a_few_times_and_where_it_ends_up() {
        let at = Timestamp::from_ms;
        let mut news = News::new(at(0));
        assert_eq!(news.line(NodeState::Up, at(0)), None);
        let line = news.line(NodeState::Down, at(500)).unwrap();
        assert_eq!(line, Line { from: NodeState::Up, lasted: Duration::from_millis(500) });
        assert_eq!(news.line(NodeState::Down, at(501)), None, "one line per change");
        let state = |n| if n % 2 == 0 { NodeState::Up } else { NodeState::Down };
        let told = (0..1_000).filter(|n| news.line(state(*n), at(600 + n)).is_some()).count();
        assert_eq!(told, 3);
        assert_eq!(news.line(NodeState::Down, at(3_999)), None);
        let line = news.line(NodeState::Down, at(4_000)).unwrap();
        assert_eq!(line.from, NodeState::Up, "what was kept back is told when there is room");
        assert_eq!(news.line(NodeState::Down, at(4_001)), None);
    }
}

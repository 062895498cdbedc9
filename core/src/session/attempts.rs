//! The tries of a session to come back: how many, how many count for the backoff, and which news ended a wait
//! early (rule R6). Decides when to believe, not what is then done.

use crate::settings::RestoreSettings;

use super::{Timestamp, link::Link};

/// The tries that count for the present outage, or for the next one.
#[derive(Debug, Default)]
pub(super) struct Attempts {
    /// A resume was refused in this outage: not tried again.
    pub(super) resume_refused: bool,
    /// Failed tries that still count for the backoff.
    pub(super) failures: u32,
    /// Dials since a connection last stayed.
    pub(super) tries: u32,
    /// What ended the present wait early, and when.
    news: News,
}

/// What a session made of the news that its wait may be over. News is no proof: whoever is
/// told again and again that a node answers, and then fails there, must not dial at the pace of the
/// news.
#[derive(Debug, Clone, Copy, Default)]
struct News {
    /// What failed last was not reaching a node: one answered, in whichever way.
    was_answered: bool,
    /// A node was said to be up, and was believed.
    node_believed_at: Option<Timestamp>,
    /// A path was said to be open again, and was believed.
    path_believed: bool,
}

impl Attempts {
    /// A connection was lost. A session that stands for a moment proves nothing: a server that takes it and
    /// closes has not taken it back. Tries and backoff start afresh after a connection that `stayed`.
    pub(super) fn lost(&mut self, stayed: bool) {
        if stayed {
            (self.failures, self.tries) = (0, 0);
        } else {
            self.failed();
        }
        self.news = News::default();
        self.resume_refused = false;
    }

    /// A try failed.
    pub(super) const fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// A try begins.
    pub(super) const fn dial(&mut self) {
        self.tries = self.tries.saturating_add(1);
    }

    /// Dials that count for the present outage; none outside of one.
    pub(super) const fn tries_of(&self, link: Link) -> u32 {
        if link.outage().is_some() { self.tries } else { 0 }
    }

    pub(super) const fn are_used_up(&self, settings: &RestoreSettings) -> bool {
        settings.tries_max > 0 && self.tries >= settings.tries_max
    }

    /// Whether what failed last was not reaching a node.
    pub(super) const fn answered(&mut self, answered: bool) {
        self.news.was_answered = answered;
    }

    /// Whoever was told when to come again is not called earlier by what others see.
    pub(super) const fn told_when(&mut self) {
        self.news.path_believed = true;
    }

    /// A node is said to be up: whether that ends the wait of a session that could not reach it. If believing
    /// it came to nothing, it is believed again only after so long.
    pub(super) fn believe_node(&mut self, now: Timestamp, settings: &RestoreSettings) -> bool {
        let again = settings.backoff_max;
        let too_soon = self.news.node_believed_at.is_some_and(|at| now.since(at) < again);
        let believed = !self.news.was_answered && !too_soon;
        if believed {
            self.news.node_believed_at = Some(now);
        }
        believed
    }

    /// A path is said to be open again: whether that ends the wait of a session that was refused there. Once
    /// in an outage.
    pub(super) const fn believe_path(&mut self) -> bool {
        let believed = self.news.was_answered && !self.news.path_believed;
        self.news.path_believed |= believed;
        believed
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn news_of_a_node_is_believed_by_who_could_not_reach_it_and_not_again_at_once() {
        let (mut attempts, settings) = (Attempts::default(), RestoreSettings::default());
        let now = Timestamp::from_ms(1_000);
        assert!(attempts.believe_node(now, &settings));
        assert!(!attempts.believe_node(now + Duration::from_millis(1), &settings));
        assert!(attempts.believe_node(now + settings.backoff_max, &settings));
        attempts.answered(true);
        assert!(!attempts.believe_node(now + settings.backoff_max * 3, &settings), "it was reached");
    }

    #[test]
    fn news_of_a_path_is_believed_once_by_who_was_refused() {
        let mut attempts = Attempts::default();
        assert!(!attempts.believe_path(), "nobody refused it");
        attempts.answered(true);
        assert!(attempts.believe_path() && !attempts.believe_path());
        attempts.lost(true);
        attempts.answered(true);
        attempts.told_when();
        assert!(!attempts.believe_path(), "it was told when to come");
    }

    #[test]
    fn tries_count_until_a_connection_stays() {
        let mut attempts = Attempts::default();
        let settings = RestoreSettings { tries_max: 2, ..RestoreSettings::default() };
        attempts.dial();
        attempts.lost(false);
        attempts.dial();
        assert!(attempts.are_used_up(&settings) && attempts.failures == 1);
        attempts.lost(true);
        assert!(!attempts.are_used_up(&settings) && attempts.failures == 0);
    }
}

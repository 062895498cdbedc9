//! What one source of news (dials, or one check) thinks of a node, and how often it has to hear the same
//! before it changes its mind.

use super::words::{Reason, ReasonKind, Verdict};

/// The opinion of one source.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) verdict: Verdict,
    pub(super) because: Reason,
    /// So many good news in a row bring it from gone to well.
    rise: u32,
    /// So many bad news in a row are believed.
    fall: u32,
    /// Bad news in a row.
    bad: u32,
    /// Good news in a row that are still wanted.
    wanted: u32,
}

impl Standing {
    /// That of a source that has heard nothing.
    pub(super) fn new(rise: u32, fall: u32) -> Self {
        let because = Reason::new(ReasonKind::New, "nothing was heard of it yet");
        Self { verdict: Verdict::Well, because, rise: rise.max(1), fall: fall.max(1), bad: 0, wanted: 1 }
    }

    /// So many good news in a row are wanted from its next fall on.
    pub(super) fn want(&mut self, rise: u32) {
        self.rise = rise.max(1);
        self.wanted = self.wanted.min(self.rise);
    }

    /// Good news. From gone the way is over doubt, if more than one is wanted.
    pub(super) fn good(&mut self, kind: ReasonKind, text: &str) {
        self.bad = 0;
        if self.verdict == Verdict::Well {
            if self.because.kind == ReasonKind::New {
                self.because = Reason::new(kind, text);
            }
            return;
        }
        self.wanted = self.wanted.saturating_sub(1);
        let verdict = if self.wanted == 0 { Verdict::Well } else { Verdict::Doubtful };
        self.change(verdict, kind, text);
    }

    /// Bad news. To gone the way is over doubt, if more than one is wanted.
    pub(super) fn bad(&mut self, kind: ReasonKind, text: &str) {
        self.bad = self.bad.saturating_add(1);
        if self.bad >= self.fall {
            self.wanted = self.rise;
            self.change(Verdict::Gone, kind, text);
        } else {
            self.doubt(kind, text);
        }
    }

    /// What is no news in itself, but gives reason to look. What is known to be gone is not made better by it.
    pub(super) fn doubt(&mut self, kind: ReasonKind, text: &str) {
        if self.verdict == Verdict::Well {
            self.wanted = 1;
            self.change(Verdict::Doubtful, kind, text);
        }
    }

    fn change(&mut self, verdict: Verdict, kind: ReasonKind, text: &str) {
        if self.verdict != verdict {
            self.verdict = verdict;
            self.because = Reason::new(kind, text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_is_believed_when_it_was_heard_often_enough() {
        let mut standing = Standing::new(2, 3);
        let verdicts = |standing: &mut Standing, news: &str| -> Vec<Verdict> {
            let mut hear = |good| {
                if good {
                    standing.good(ReasonKind::Answered, "good");
                } else {
                    standing.bad(ReasonKind::Check, "bad");
                }
                standing.verdict
            };
            news.chars().map(|one| hear(one == '+')).collect()
        };
        use Verdict::{Doubtful as D, Gone as G, Well as W};
        assert_eq!(verdicts(&mut standing, "--+--+"), [D, D, W, D, D, W], "too few in a row");
        assert_eq!(verdicts(&mut standing, "---+-"), [D, D, G, D, D], "one is not enough to be back");
        assert_eq!(verdicts(&mut standing, "+"), [W]);
        assert_eq!(verdicts(&mut standing, "----++"), [D, D, G, G, D, W]);
    }
}

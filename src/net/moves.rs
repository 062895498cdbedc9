//! Moves of single sessions between nodes, as they are ordered from outside: who has what, one session goes to
//! another node, what it left is let go. Which of them go, when, and at what pace is for others.

use std::time::Duration;

use tokio::sync::mpsc;

use crate::session::{Belongings, MoveOutcome, NodeId, SessionId};

use super::{
    live::{self, MoveOrder, Note},
    proxy::Proxy,
};

/// How long sessions may take to say what they have.
const SURVEY_TIME_MAX: Duration = Duration::from_secs(1);

impl Proxy {
    /// What its sessions have, at most `max` of them, in the order of their coming, and which can move. A
    /// session that does not answer within a second is left out.
    pub async fn survey(&self, max: usize) -> Vec<Belongings> {
        let some = self.live().some(max);
        let mut sessions = live::ask(some.iter(), Note::Survey, SURVEY_TIME_MAX).await;
        sessions.sort_by_key(|belongings| belongings.session);
        sessions
    }

    /// Has a session go to another node while its old connection stands (rule R15). Completes with the
    /// outcome; `None` if there is no such session. One that publishes keeps what it left until
    /// [`Proxy::let_go`], or for `restore.move_hold_ms`.
    pub async fn move_session(&self, session: SessionId, to: NodeId) -> Option<MoveOutcome> {
        let (report, mut reports) = mpsc::channel(1);
        self.live().mailbox(session)?.post(Note::Move(MoveOrder { to, report }));
        let report = reports.recv().await?;
        (report.session == session).then_some(report.outcome)
    }

    /// Those who needed what a moved session left have moved as well.
    pub fn let_go(&self, session: SessionId) {
        if let Some(mailbox) = self.live().mailbox(session) {
            mailbox.post(Note::LetGo);
        }
    }

    /// Has a session leave its node now, as after a loss; it comes back on this one if that can be reached.
    pub fn force_move(&self, session: SessionId, to: NodeId) {
        if let Some(mailbox) = self.live().mailbox(session) {
            mailbox.post(Note::ForceMove { to });
        }
    }
}

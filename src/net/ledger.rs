//! One session in full, for people who look at it: what its client wants to be true, and what befell it of late.

use std::{sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{
    milliseconds::ms,
    session::{SessionId, SessionSnapshot},
    telemetry::timeline::Chapter,
};

use super::{
    Proxy, SessionFound,
    live::{self, Mailbox, Note},
};

/// How long it may take to answer.
const ACCOUNT_TIME_MAX: Duration = Duration::from_secs(1);

/// What a session says of itself when it is asked for all of it.
#[derive(Debug)]
pub(crate) struct SessionAccount {
    pub(crate) session: SessionSnapshot,
    pub(crate) age: Duration,
    pub(crate) room_names: Vec<String>,
    pub(crate) timeline: Vec<Chapter>,
}

/// A session in full.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionLedger {
    /// What it is and wants.
    #[serde(flatten)]
    pub found: SessionFound,
    /// How long it lives, in milliseconds.
    pub age_ms: u64,
    /// The rooms it has joined or asks to join.
    pub room_names: Vec<String>,
    /// Its last outages and moves, the oldest first.
    pub timeline: Vec<Chapter>,
}

impl Proxy {
    /// One session, while it lives. None also of one that is stuck.
    pub async fn ledger(&self, id: SessionId) -> Option<SessionLedger> {
        let mailbox: Arc<Mailbox> = self.live().mailbox(id)?;
        let asked = std::iter::once(&mailbox);
        let account = live::ask(asked, Note::Account, ACCOUNT_TIME_MAX).await.pop()?;
        let found = SessionFound {
            session: account.session,
            client: Some(mailbox.client()),
            node: self.shared().pool.node_name(mailbox.node()),
        };
        let age_ms = ms(account.age);
        Some(SessionLedger { found, age_ms, room_names: account.room_names, timeline: account.timeline })
    }
}

//! Looking for sessions: by what their handshake tells without asking them, then by what they say themselves.

use std::{net::IpAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::session::{NodeId, SessionId, SessionSnapshot};

use super::{
    Proxy,
    live::{self, Mailbox, Note},
};

/// Sessions of one answer, where nobody says how many.
pub const PAGE_DEFAULT: usize = 100;
/// Most sessions of one answer.
pub const PAGE_MAX: usize = 1_000;
/// Most sessions that are asked for one answer: a search that finds little goes on with the next page.
const ASKED_MAX: usize = 10_000;
/// Sessions that are asked at once.
const CHUNK: usize = 500;
/// How long these may take. A session that is stuck is left out.
const CHUNK_TIME_MAX: Duration = Duration::from_secs(1);

/// What is looked for. What is left out does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SessionQuery {
    /// It publishes or plays a stream whose name contains this.
    pub stream: Option<String>,
    /// Its client has this address.
    pub client: Option<IpAddr>,
    /// It is on this node.
    pub node: Option<NodeId>,
    /// Its client says this appKey.
    pub app_key: Option<String>,
    /// It is in an outage, or is not.
    pub in_outage: Option<bool>,
    /// Only those that came after this one.
    pub after: u64,
    /// At most so many.
    pub limit: usize,
}

/// A session that was found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionFound {
    /// What it says of itself.
    #[serde(flatten)]
    pub session: SessionSnapshot,
    /// The address of its client.
    pub client: Option<IpAddr>,
    /// The node it is on.
    pub node: String,
}

/// Some of the sessions that match, in the order of their coming.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct SessionPage {
    /// Those.
    pub sessions: Vec<SessionFound>,
    /// Where the next page begins; none: there are no more.
    pub next: Option<u64>,
}

impl SessionQuery {
    fn may_match(&self, mailbox: &Mailbox) -> bool {
        self.client.is_none_or(|client| mailbox.client() == client)
            && self.node.is_none_or(|node| mailbox.node() == node)
            && self.in_outage.is_none_or(|in_outage| mailbox.is_in_outage() == in_outage)
    }

    fn matches(&self, session: &SessionSnapshot) -> bool {
        let plays = |name: &String| session.streams.iter().any(|stream| stream.name.contains(name));
        self.stream.as_ref().is_none_or(plays)
            && self.app_key.as_ref().is_none_or(|key| session.app_key.as_ref() == Some(key))
    }
}

impl Proxy {
    /// Sessions that match, a page of them.
    pub async fn find_sessions(&self, query: &SessionQuery) -> SessionPage {
        let limit = query.limit.clamp(1, PAGE_MAX);
        let live = self.live();
        let may_match = live.after(SessionId(query.after), |mailbox| query.may_match(mailbox));
        let mut page = SessionPage::default();
        let mut asked = 0;
        let mut rest = may_match.chunks(CHUNK).peekable();
        while let Some(chunk) = rest.next() {
            for found in ask(chunk).await {
                if query.matches(&found) {
                    page.sessions.push(self.found(found, chunk));
                }
            }
            asked += chunk.len();
            let last = chunk.last().map(|(id, _)| id.0);
            if page.sessions.len() >= limit || asked >= ASKED_MAX {
                let is_cut = page.sessions.len() > limit;
                page.sessions.truncate(limit);
                let last_shown = page.sessions.last().map(|found| found.session.number);
                page.next = if is_cut { last_shown } else { last.filter(|_| rest.peek().is_some()) };
                break;
            }
        }
        page
    }

    fn found(&self, session: SessionSnapshot, asked: &[(SessionId, Arc<Mailbox>)]) -> SessionFound {
        let place = asked.binary_search_by_key(&session.number, |(id, _)| id.0).ok();
        let mailbox = place.and_then(|place| asked.get(place)).map(|(_, mailbox)| mailbox);
        let node = mailbox.map(|mailbox| self.shared().pool.node_name(mailbox.node())).unwrap_or_default();
        SessionFound { session, client: mailbox.map(|mailbox| mailbox.client()), node }
    }
}

/// What these say of themselves, in their order.
async fn ask(sessions: &[(SessionId, Arc<Mailbox>)]) -> Vec<SessionSnapshot> {
    let mailboxes = sessions.iter().map(|(_, mailbox)| mailbox);
    let mut all = live::ask(mailboxes, Note::Describe, CHUNK_TIME_MAX).await;
    all.sort_by_key(|session| session.number);
    all
}

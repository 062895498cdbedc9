//! Looking for sessions: by what their handshake tells without asking them, then by what they say themselves.

use std::{cmp::Reverse, net::IpAddr, sync::Arc, time::Duration};

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

/// Which sessions come first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The oldest.
    #[default]
    Coming,
    /// Those that are worst off: in an outage for longest, then those with streams that do not run, that lose
    /// packets, that stood still for longest.
    Worst,
}

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
    /// Which come first.
    pub order: Order,
    /// Where the page begins: after the session of this number; in another order than that of their coming,
    /// after so many.
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

/// Some of the sessions that match, in the order that was asked for.
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
        match query.order {
            Order::Coming => self.find_by_coming(query).await,
            Order::Worst => self.find_worst(query).await,
        }
    }

    /// Of the first `ASKED_MAX` that may match, those in an outage before the others: nobody is passed over for
    /// one that is better off.
    async fn find_worst(&self, query: &SessionQuery) -> SessionPage {
        let mut may_match = self.live().after(SessionId(0), |mailbox| query.may_match(mailbox));
        may_match.sort_by_key(|(_, mailbox)| !mailbox.is_in_outage());
        may_match.truncate(ASKED_MAX);
        may_match.sort_by_key(|(id, _)| *id);
        let mut all = Vec::new();
        for chunk in may_match.chunks(CHUNK) {
            all.extend(ask(chunk).await.into_iter().filter(|found| query.matches(found)));
        }
        all.sort_by_cached_key(|session| (Reverse(trouble(session)), session.number));
        let limit = query.limit.clamp(1, PAGE_MAX);
        let begin = usize::try_from(query.after).unwrap_or(usize::MAX);
        let end = begin.saturating_add(limit);
        let next = (all.len() > end).then(|| u64::try_from(end).unwrap_or(u64::MAX));
        let shown = all.into_iter().skip(begin).take(limit);
        SessionPage { sessions: shown.map(|session| self.found(session, &may_match)).collect(), next }
    }

    async fn find_by_coming(&self, query: &SessionQuery) -> SessionPage {
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

/// How badly off a session is: its outage, streams that do not run, packets lost in thousandths, the longest gap.
fn trouble(session: &SessionSnapshot) -> (Option<u64>, usize, u32, u64) {
    let numbers = || session.streams.iter().filter_map(|stream| stream.numbers.as_ref());
    let legs = numbers().flat_map(|numbers| [&numbers.client, &numbers.upstream]);
    let lost = legs.flat_map(|leg| [leg.loss_received, leg.loss_sent]).flatten();
    // Shares are small: a wrong one is no more than the worst.
    let thousandths = lost.map(|share| (share.clamp(0.0, 1.0) * 1_000.0) as u32).max().unwrap_or_default();
    let gap = numbers().flat_map(|numbers| numbers.gaps_ms.iter().copied()).max().unwrap_or_default();
    let stand = session.streams.iter().filter(|stream| stream.state != "live").count();
    (session.outage_ms, stand, thousandths, gap)
}

/// What these say of themselves, in their order.
async fn ask(sessions: &[(SessionId, Arc<Mailbox>)]) -> Vec<SessionSnapshot> {
    let mailboxes = sessions.iter().map(|(_, mailbox)| mailbox);
    let mut all = live::ask(mailboxes, Note::Describe, CHUNK_TIME_MAX).await;
    all.sort_by_key(|session| session.number);
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        media::{LegStats, StreamStats},
        session::StreamSnapshot,
    };

    #[test]
    fn who_is_worse_off_comes_first() {
        let with = |state: &'static str, numbers: Option<StreamStats>| SessionSnapshot {
            streams: vec![StreamSnapshot { state: state.into(), numbers, ..StreamSnapshot::default() }],
            ..SessionSnapshot::default()
        };
        let lossy = |share| {
            let client = LegStats { loss_received: share, ..LegStats::default() };
            with("live", Some(StreamStats { client, ..StreamStats::default() }))
        };
        let outage = |ms| SessionSnapshot { outage_ms: Some(ms), ..SessionSnapshot::default() };
        let gaps = StreamStats { gaps_ms: vec![80, 2_000, 40], ..StreamStats::default() };
        let worst_first = [
            outage(9_000),
            outage(10),
            with("lost", None),
            lossy(Some(0.2)),
            lossy(Some(0.01)),
            with("live", Some(gaps)),
            lossy(Some(f32::NAN)),
        ];
        let trouble: Vec<_> = worst_first.iter().map(trouble).collect();
        assert!(
            trouble.is_sorted_by(|worse, better| worse > better || worse.0.is_none() && worse >= better),
            "{trouble:?}"
        );
    }
}

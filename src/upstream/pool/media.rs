//! What the legs of sessions hear, brought to the nodes: who passes no media gets no new sessions while another is
//! usable, and whoever hears nothing there goes elsewhere.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::Pool;
use crate::{
    ids::NodeId,
    media::{StreamKey, Tracks},
    session::SessionId,
    upstream::{
        hearing::LegOf,
        node::{MediaState, state::Input},
    },
};

impl Pool {
    /// What goes through the newest leg of a stream has changed.
    pub(crate) fn leg_goes(&self, key: StreamKey, of: LegOf<'_>, taken: Tracks, goes: Tracks) {
        self.hearing.lock().goes(key, of, taken, goes, self.now());
    }

    /// That leg is no more, or has reason to be silent.
    pub(crate) fn leg_over(&self, key: StreamKey) {
        self.hearing.lock().over(key);
    }

    /// Tells each node what is heard of it. The sessions that are to leave theirs, by node: it does not pass
    /// what it is sent, and another is usable. Each is named once. To be called a few times a second.
    pub(crate) fn judge_media(self: &Arc<Self>) -> BTreeMap<NodeId, BTreeSet<SessionId>> {
        let found = self.hearing.lock().judge(self.now());
        let mut leaving = BTreeMap::new();
        for (id, found) in found {
            let Some(node) = self.nodes.get(id) else { continue };
            if found.is_heard && node.media() == MediaState::NoMedia {
                self.tell(&node, Input::MediaFlows);
            } else if found.against > 0 {
                self.tell(&node, Input::MediaSilent(found.against));
            }
            if node.media() == MediaState::NoMedia && self.usable_elsewhere(id) {
                let dead = self.hearing.lock().tell(&found.dead);
                leaving.insert(id, dead.into_iter().map(|key| key.session).collect());
            }
        }
        leaving.retain(|_, sessions: &mut BTreeSet<SessionId>| !sessions.is_empty());
        leaving
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        config::NetSettings,
        media::Kind,
        upstream::{ClientRequest, pool::tests::pool},
    };

    const BOTH: Tracks = Tracks { audio: true, video: true };
    const NOTHING: Tracks = Tracks { audio: false, video: false };

    fn leg(pool: &Pool, session: u64, kind: Kind, goes: Tracks) {
        let key = StreamKey { session: SessionId(session), number: 1 };
        pool.leg_goes(key, LegOf { node: NodeId(0), name: "cam", kind }, BOTH, goes);
    }

    #[tokio::test(start_paused = true)]
    async fn a_node_that_passes_no_media_is_left_for_one_that_may() {
        let mut settings = NetSettings::default();
        settings.upstream.url =
            ["a", "b"].map(|name| format!("{name}=ws://192.0.2.1:1").parse().unwrap()).to_vec();
        settings.upstream.health = Some(Default::default());
        let pool = pool(&settings);
        let media = || pool.nodes().swap_remove(0).media;
        leg(&pool, 1, Kind::Publish, BOTH);
        leg(&pool, 2, Kind::Play, BOTH);
        assert!(pool.judge_media().is_empty() && media() == "healthy");
        tokio::time::advance(Duration::from_secs(5)).await;
        leg(&pool, 2, Kind::Play, NOTHING);
        assert!(pool.judge_media().is_empty() && media() == "healthy");
        tokio::time::advance(Duration::from_millis(500)).await;
        let leaving = pool.judge_media();
        assert_eq!(leaving.into_values().next().unwrap(), [SessionId(1), SessionId(2)].into());
        let (shown, b) = (pool.nodes().swap_remove(0), pool.by_name("b").unwrap());
        assert_eq!((&*shown.media, &*shown.state), ("no_media", "up"));
        assert!(!pool.usable_elsewhere(b), "it would get nothing to see there");
        assert_eq!(pool.place(&ClientRequest::probe("/"), &[]), Some(b));
        assert!(pool.judge_media().is_empty(), "each is told once");
        leg(&pool, 2, Kind::Play, BOTH);
        assert!(pool.judge_media().is_empty() && media() == "healthy");
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_leaves_a_node_where_there_is_no_other() {
        let mut settings = NetSettings::default();
        settings.upstream.url = vec!["a=ws://192.0.2.1:1".parse().unwrap()];
        let pool = pool(&settings);
        leg(&pool, 1, Kind::Publish, BOTH);
        tokio::time::advance(Duration::from_secs(5)).await;
        leg(&pool, 2, Kind::Play, NOTHING);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(pool.judge_media().is_empty());
        assert_eq!(pool.nodes()[0].media, "no_media");
        for session in [1, 2] {
            pool.leg_over(StreamKey { session: SessionId(session), number: 1 });
        }
        assert!(pool.hearing.lock().judge(pool.now()).is_empty());
    }
}

//! The anchored streams of a session: the core's commands go to the media workers, the workers' facts
//! into the core.
//!
//! Made with the first anchored stream: a session without one pays a pointer.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
};

use tokio::sync::mpsc;

use crate::{
    media::{Client, Fact, MediaCommand, MediaFact, MediaHandle, StreamKey, Tracks},
    net::shared::Shared,
    session::{Belongings, Epoch, Expected, Input, NodeId, Timestamp},
    telemetry::counts::Counted,
    upstream::LegOf,
    wire::side::Side,
};

use super::Driver;

/// Facts that wait for one session; the workers hold back what exceeds it.
const FACTS_MAX: usize = 64;

/// What a session with anchored streams has besides.
#[derive(Debug)]
pub(super) struct Media {
    handle: MediaHandle,
    shared: Arc<Shared>,
    client: Client,
    /// Streams that were opened and not closed, and what they are counted with.
    open: BTreeMap<StreamKey, Counted>,
    facts: mpsc::Receiver<MediaFact>,
}

impl Media {
    fn new(handle: MediaHandle, shared: Arc<Shared>, local_ip: IpAddr) -> Self {
        let (sender, facts) = mpsc::channel(FACTS_MAX);
        Self { handle, shared, client: Client { local_ip, facts: sender }, open: BTreeMap::new(), facts }
    }

    fn command(&mut self, command: MediaCommand) {
        if changes_leg(&command) {
            self.shared.pool.leg_over(command.key());
        }
        match &command {
            MediaCommand::Open { key, .. } => {
                self.open.insert(*key, Counted::default());
            }
            MediaCommand::Close { key } => {
                if let Some(counted) = self.open.remove(key) {
                    self.shared.counts.media.over(counted);
                }
            }
            _ => {}
        }
        self.handle.order(command.of(|| self.client.clone()));
    }

    fn count(&mut self, stream: StreamKey, fact: &Fact) {
        if let Fact::Stats(stats) = fact
            && let Some(counted) = self.open.get_mut(&stream)
        {
            self.shared.counts.media.stats(counted, stats);
        }
    }
}

impl Driver {
    pub(super) fn command_media(&mut self, command: MediaCommand) {
        let Some(handle) = &self.shared.media else { return };
        if self.media.is_none() {
            // The candidate for the client's media is the address it reached us at. A client whose
            // socket is gone opens nothing.
            let Some(local_ip) = self.client.as_ref().and_then(Side::local_ip) else { return };
            self.media = Some(Box::new(Media::new(handle.clone(), Arc::clone(&self.shared), local_ip)));
        }
        if let Some(media) = &mut self.media {
            media.command(command);
        }
    }

    /// Tells the core what the workers report. True if there was anything.
    pub(super) fn poll_media(&mut self, cx: &mut Context<'_>, now: Timestamp) -> bool {
        let mut any = false;
        while let Some(media) = &mut self.media
            && let Poll::Ready(Some(MediaFact { stream, fact })) = media.facts.poll_recv(cx)
        {
            any = true;
            media.count(stream, &fact);
            if let Fact::Goes { epoch, taken, goes } = fact {
                self.leg_goes((stream, epoch), taken, goes);
            }
            self.tell(Input::Media(stream, fact), now);
        }
        any
    }

    /// What is heard of the node through this leg. One that is silent because it was stopped or paused says
    /// nothing of it.
    fn leg_goes(&self, (stream, epoch): (StreamKey, Epoch), taken: Tracks, goes: Tracks) {
        let (pool, node) = (&self.shared.pool, self.registered.mailbox.node());
        match Expected::of(&self.core, stream, epoch) {
            Some(Expected { name, kind, is_expected }) if is_expected || goes.is_any() => {
                pool.leg_goes(stream, LegOf { node, name, kind }, taken, goes);
            }
            _ => pool.leg_over(stream),
        }
    }

    /// Its node does not pass its media: it goes to another as after an outage, unless that would cost it
    /// something that is not of this.
    pub(super) fn leave_for_media(&mut self, to: NodeId, now: Timestamp) {
        if Belongings::are_restorable(&self.core) {
            self.leave_for(to, now);
        }
    }
}

/// Whether the leg is no more, or another one, that was heard until now.
const fn changes_leg(command: &MediaCommand) -> bool {
    match command {
        MediaCommand::Open { .. }
        | MediaCommand::Attach { .. }
        | MediaCommand::Return { .. }
        | MediaCommand::Detach { .. }
        | MediaCommand::Close { .. } => true,
        MediaCommand::LetGo { .. }
        | MediaCommand::UpstreamAnswer { .. }
        | MediaCommand::Muted { .. }
        | MediaCommand::Revive { .. } => false,
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        for (key, counted) in std::mem::take(&mut self.open) {
            self.shared.counts.media.over(counted);
            self.shared.pool.leg_over(key);
            self.handle.order(MediaCommand::Close { key });
        }
    }
}

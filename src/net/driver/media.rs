//! The anchored streams of a session: the core's commands go to the media workers, the workers' facts
//! into the core.
//!
//! Made with the first anchored stream: a session without one pays a pointer.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    task::{Context, Poll},
};

use tokio::sync::mpsc;

use crate::{
    media::{Client, MediaCommand, MediaFact, MediaHandle, StreamKey},
    session::{Input, Timestamp},
    wire::side::Side,
};

use super::Driver;

/// Facts that wait for one session; the workers hold back what exceeds it.
const FACTS_MAX: usize = 64;

/// What a session with anchored streams has besides.
#[derive(Debug)]
pub(super) struct Media {
    handle: MediaHandle,
    client: Client,
    /// Streams that were opened and not closed.
    open: BTreeSet<StreamKey>,
    facts: mpsc::Receiver<MediaFact>,
}

impl Media {
    fn new(handle: MediaHandle, local_ip: IpAddr) -> Self {
        let (sender, facts) = mpsc::channel(FACTS_MAX);
        Self { handle, client: Client { local_ip, facts: sender }, open: BTreeSet::new(), facts }
    }

    fn command(&mut self, command: MediaCommand) {
        match &command {
            MediaCommand::Open { key, .. } => {
                self.open.insert(*key);
            }
            MediaCommand::Close { key } => {
                self.open.remove(key);
            }
            _ => {}
        }
        self.handle.order(command.of(|| self.client.clone()));
    }
}

impl Driver {
    pub(super) fn command_media(&mut self, command: MediaCommand) {
        let Some(handle) = &self.shared.media else { return };
        if self.media.is_none() {
            // The candidate for the client's media is the address it reached us at. A client whose
            // socket is gone opens nothing.
            let Some(local_ip) = self.client.as_ref().and_then(Side::local_ip) else { return };
            self.media = Some(Box::new(Media::new(handle.clone(), local_ip)));
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
            self.tell(Input::Media(stream, fact), now);
        }
        any
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        for key in std::mem::take(&mut self.open) {
            self.handle.order(MediaCommand::Close { key });
        }
    }
}

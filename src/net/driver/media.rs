//! The anchored streams of a session: the core's commands become orders for the media workers,
//! the workers' facts become inputs of the core.
//!
//! Made with the first anchored stream: a session without one pays a pointer.

use std::{
    collections::HashMap,
    net::IpAddr,
    task::{Context, Poll},
};

use tokio::sync::mpsc;

use crate::{
    media::{FactSender, MediaFact, MediaHandle, Order, StreamKey},
    session::{Input, MediaCommand, MediaKey, Timestamp},
    wire::side::Side,
};

use super::Driver;

/// Facts that wait for one session; the workers hold back what exceeds it.
const FACTS_MAX: usize = 64;

/// What a session with anchored streams has besides.
#[derive(Debug)]
pub(super) struct Media {
    handle: MediaHandle,
    local_ip: IpAddr,
    streams: HashMap<MediaKey, StreamKey>,
    sender: FactSender,
    facts: mpsc::Receiver<MediaFact>,
}

impl Media {
    fn new(handle: MediaHandle, local_ip: IpAddr) -> Self {
        let (sender, facts) = mpsc::channel(FACTS_MAX);
        Self { handle, local_ip, streams: HashMap::new(), sender, facts }
    }

    fn command(&mut self, command: MediaCommand) {
        if let Some(order) = self.order(command) {
            self.handle.order(order);
        }
    }

    /// The order for a command; `None` for a stream the workers do not know.
    fn order(&mut self, command: MediaCommand) -> Option<Order> {
        Some(match command {
            MediaCommand::Open { key, kind, epoch, client_offer, refuse_h264 } => {
                let stream = self.handle.new_stream();
                self.streams.insert(key, stream);
                let (local_ip, facts) = (self.local_ip, self.sender.clone());
                Order::Open { stream, kind, epoch, client_offer, local_ip, refuse_h264, facts }
            }
            MediaCommand::Attach { key, epoch, narrow, refuse_h264 } => {
                Order::Attach { stream: self.known(key)?, epoch, narrow, refuse_h264 }
            }
            MediaCommand::UpstreamAnswer { key, epoch, sdp } => {
                Order::UpstreamAnswer { stream: self.known(key)?, epoch, sdp }
            }
            MediaCommand::Detach { key } => Order::Detach { stream: self.known(key)? },
            MediaCommand::Muted { key, video } => Order::Muted { stream: self.known(key)?, video },
            MediaCommand::Revive { key } => Order::Revive { stream: self.known(key)? },
            MediaCommand::Close { key } => Order::Close { stream: self.streams.remove(&key)? },
        })
    }

    fn known(&self, key: MediaKey) -> Option<StreamKey> {
        self.streams.get(&key).copied()
    }

    fn key_of(&self, stream: StreamKey) -> Option<MediaKey> {
        self.streams.iter().find(|(_, known)| **known == stream).map(|(key, _)| *key)
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
            if let Some(key) = media.key_of(stream) {
                self.tell(Input::Media(key, fact), now);
            }
        }
        any
    }
}

impl Drop for Media {
    fn drop(&mut self) {
        for stream in self.streams.values() {
            self.handle.order(Order::Close { stream: *stream });
        }
    }
}

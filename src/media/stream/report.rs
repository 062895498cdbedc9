//! Facts on their way out. A channel that is full delays them; one that is gone ends the stream.

use std::collections::VecDeque;

use tokio::sync::mpsc::error::TrySendError;

use crate::media::{Fact, FactSender, MediaFact, StreamKey};

/// Most facts that wait for room. A receiver that lets more pile up has stopped reading.
const WAITING_MAX: usize = 256;

#[derive(Debug)]
pub(crate) struct Reporter {
    stream: StreamKey,
    facts: FactSender,
    waiting: VecDeque<Fact>,
}

impl Reporter {
    pub(crate) const fn new(stream: StreamKey, facts: FactSender) -> Self {
        Self { stream, facts, waiting: VecDeque::new() }
    }

    pub(crate) fn say(&mut self, fact: Fact) {
        tracing::debug!(stream = %self.stream, fact = name(&fact), "media fact");
        self.waiting.push_back(fact);
        self.flush();
    }

    /// Sends what waits. False: nobody listens any more.
    pub(crate) fn flush(&mut self) -> bool {
        while let Some(fact) = self.waiting.pop_front() {
            match self.facts.try_send(MediaFact { stream: self.stream, fact }) {
                Ok(()) => {}
                Err(TrySendError::Full(MediaFact { fact, .. })) => {
                    self.waiting.push_front(fact);
                    break;
                }
                Err(TrySendError::Closed(_)) => return false,
            }
        }
        self.waiting.len() <= WAITING_MAX && !self.facts.is_closed()
    }

    /// There is something left to say.
    pub(crate) fn waits(&self) -> bool {
        !self.waiting.is_empty()
    }
}

/// The name of a fact for the log: the contents hold credentials.
const fn name(fact: &Fact) -> &'static str {
    match fact {
        Fact::UpstreamOffer { .. } => "upstream offer",
        Fact::ClientAnswer { .. } => "client answer",
        Fact::Unanchorable { .. } => "unanchorable",
        Fact::ClientConnected => "client connected",
        Fact::UpstreamConnected { .. } => "upstream connected",
        Fact::Flowing { .. } => "flowing",
        Fact::UpstreamFailed { .. } => "upstream failed",
        Fact::OutOfSockets { .. } => "out of sockets",
        Fact::UpstreamSilent { .. } => "upstream silent",
        Fact::Goes { .. } => "goes",
        Fact::ClientSilent { .. } => "client silent",
        Fact::ClientRevived { .. } => "client revived",
        Fact::NewClientCredentials { .. } => "new client credentials",
        Fact::ClientGone { .. } => "client gone",
        Fact::CodecChanged { .. } => "codec changed",
        Fact::NoVideo { .. } => "no video",
        Fact::VideoBack => "video back",
        Fact::Broken { .. } => "broken",
        Fact::Stats(_) => "stats",
    }
}

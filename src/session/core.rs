//! The session itself.

use std::sync::Arc;

use crate::registry::Registry;

use super::{Close, Epoch, Input, LossCause, Output, SessionId, Timestamp};

/// One client session.
#[derive(Debug)]
pub struct Session {
    id: SessionId,
    registry: Arc<Registry>,
    epoch: Epoch,
    outputs: Vec<Output>,
}

impl Session {
    /// A session whose client has just connected and whose upstream connection of epoch 0
    /// stands. `seed` feeds the jitter of its backoff.
    #[must_use]
    pub fn new(id: SessionId, registry: Arc<Registry>, seed: u64, now: Timestamp) -> Self {
        let _ = (seed, now);
        Self { id, registry, epoch: Epoch(0), outputs: Vec::new() }
    }

    /// Takes an input. Afterwards the caller carries out [`Session::take_outputs`] and asks
    /// [`Session::next_timeout`] again.
    pub fn handle(&mut self, input: Input<'_>, now: Timestamp) {
        let _ = (now, &self.registry, self.id);
        match input {
            Input::ClientText(_) | Input::ClientBinary(_) => self.outputs.push(Output::ForwardToUpstream),
            Input::UpstreamText(epoch, _) | Input::UpstreamBinary(epoch, _) if epoch == self.epoch => {
                self.outputs.push(Output::ForwardToClient);
            }
            Input::ClientClosed(_) => self.outputs.push(Output::CloseUpstream(self.epoch, Close::NoCode)),
            Input::UpstreamLost(epoch, cause) if epoch == self.epoch => {
                let close = match cause {
                    LossCause::Closed(code) => Close::Code(code),
                    _ => Close::Abort,
                };
                self.outputs.push(Output::CloseClient(close));
            }
            _ => {}
        }
    }

    /// What the last input led to, in order.
    pub fn take_outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// When to call [`Session::handle`] with [`Input::Timeout`] if nothing happens before.
    #[must_use]
    pub const fn next_timeout(&self) -> Option<Timestamp> {
        None
    }
}

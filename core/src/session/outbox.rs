//! What a session said since its outputs were last taken, in order. Decides nothing; the one thing it knows
//! is which ids the client wrote as numbers, so that nothing is said to it in another form.

use super::{Event, MediaCommand, Output, ids::NumericIds};

/// The outputs of one session.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    outputs: Vec<Output>,
    /// Ids that the client writes as numbers.
    pub(super) numeric_ids: NumericIds,
}

impl Outbox {
    pub(super) fn push(&mut self, output: Output) {
        self.outputs.push(output);
    }

    pub(super) fn push_some(&mut self, output: Option<Output>) {
        self.outputs.extend(output);
    }

    /// Something for the log and those who watch.
    pub(super) fn event(&mut self, event: Event) {
        self.push(Output::Event(event));
    }

    /// An order for the media workers.
    pub(super) fn media(&mut self, command: MediaCommand) {
        self.push(Output::Media(command));
    }

    /// A message of our own, or a changed one, for the client.
    pub(super) fn say_to_client(&mut self, message: Vec<u8>) {
        let message = self.numeric_ids.restore(message);
        self.push(Output::SendToClient(message));
    }

    /// A message of our own, or a changed one, for the upstream.
    pub(super) fn say_upstream(&mut self, message: Vec<u8>) {
        self.push(Output::SendToUpstream(message));
    }

    /// The message that is being handled goes on as it is.
    pub(super) fn forward_to_client(&mut self) {
        self.push(Output::ForwardToClient);
    }

    /// The message that is being handled goes on as it is.
    pub(super) fn forward_upstream(&mut self) {
        self.push(Output::ForwardToUpstream);
    }

    /// How much there is.
    pub(super) fn len(&self) -> usize {
        self.outputs.len()
    }

    /// What was to be forwarded since there was so much is this message, which was not handled as a frame.
    pub(super) fn forward_since(&mut self, len: usize, message: &[u8]) {
        for output in self.outputs.iter_mut().skip(len) {
            if matches!(output, Output::ForwardToUpstream) {
                *output = Output::SendToUpstream(message.to_vec());
            }
        }
    }

    /// The same of what was to be forwarded to the client.
    pub(super) fn forward_to_client_since(&mut self, len: usize, message: &[u8]) {
        for output in self.outputs.iter_mut().skip(len) {
            if matches!(output, Output::ForwardToClient) {
                *output = Output::SendToClient(message.to_vec());
            }
        }
    }

    pub(super) fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    pub(super) fn take(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// Puts a used buffer back, so that the next input needs no new one.
    pub(super) fn recycle(&mut self, mut outputs: Vec<Output>) {
        outputs.clear();
        if self.outputs.is_empty() {
            self.outputs = outputs;
        }
    }
}

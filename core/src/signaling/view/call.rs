//! The view of all call messages (S2.5, S2.6).

use std::borrow::Cow;

use super::Reader;
use crate::signaling::peek::Peek;
use crate::signaling::scan::Span;

/// A call message of either side. The SDK lets the status drive a call, not the message's name.
#[derive(Clone, Debug)]
pub struct CallMessage<'a> {
    /// The call's id.
    pub call_id: Option<Cow<'a, str>>,
    /// A word of S5.5.
    pub status: Option<Cow<'a, str>>,
    /// True for a call that came to the client.
    pub incoming: Option<bool>,
    /// Where the SDP stands, in `call` and `answer`.
    pub sdp: Option<Span>,
}

impl<'a> CallMessage<'a> {
    /// Reads the first argument.
    #[must_use]
    pub fn read(message: &Peek<'a>) -> Self {
        let reader = Reader::of(message);
        let [id, status, incoming, sdp] = message.fields(["callId", "status", "incoming", "sdp"]);
        Self {
            call_id: reader.string(id),
            status: reader.string(status),
            incoming: reader.boolean(incoming),
            sdp,
        }
    }

    /// True if the status ends the call: FINISH, FAILED, BUSY.
    #[must_use]
    pub fn is_terminal(&self) -> bool {
        matches!(self.status.as_deref(), Some("FINISH" | "FAILED" | "BUSY"))
    }
}

//! Where a session stands towards its upstream, and how far the way back has come.

use super::Timestamp;

/// The state of the session as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Link {
    /// The client has said nothing yet.
    First,
    /// An upstream session stands (or is being made by the client's own first `connection`).
    Up,
    /// From the loss of an upstream until a new one is established and asked for rooms.
    Down(Outage),
    /// The driver copies frames by itself.
    PassedThrough,
    /// Both sockets are ended or told to end.
    Ended,
}

/// An outage of the whole session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Outage {
    pub(super) since: Timestamp,
    pub(super) stage: Stage,
}

/// How far the return has come. Each stage has a time by which it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Backing off.
    Waiting { until: Timestamp },
    /// A dial is under way; the driver bounds it.
    Dialing,
    /// `connection` with the token of the dead session was sent (rule R8).
    Resuming { until: Timestamp },
    /// The client's own `connection` was sent again.
    Connecting { until: Timestamp },
    /// A SIP client waits for `registered` to be repeated.
    Registering { until: Timestamp },
    /// Rooms are being joined again.
    Joining { until: Timestamp },
}

impl Stage {
    pub(super) const fn deadline(self) -> Option<Timestamp> {
        match self {
            Self::Dialing => None,
            Self::Waiting { until }
            | Self::Resuming { until }
            | Self::Connecting { until }
            | Self::Registering { until }
            | Self::Joining { until } => Some(until),
        }
    }
}

impl Link {
    /// Whether the client's words go straight to the upstream.
    pub(super) const fn is_up(self) -> bool {
        matches!(self, Self::Up)
    }

    /// Whether the core is done with it.
    pub(super) const fn is_over(self) -> bool {
        matches!(self, Self::Ended | Self::PassedThrough)
    }

    pub(super) const fn outage(self) -> Option<Outage> {
        if let Self::Down(outage) = self { Some(outage) } else { None }
    }

    pub(super) const fn stage(self) -> Option<Stage> {
        if let Self::Down(outage) = self { Some(outage.stage) } else { None }
    }

    /// How far the way back has come now; nothing outside of an outage.
    pub(super) const fn set_stage(&mut self, stage: Stage) {
        if let Self::Down(outage) = self {
            outage.stage = stage;
        }
    }

    /// Whether the session backs off.
    pub(super) const fn is_waiting(self) -> bool {
        matches!(self.stage(), Some(Stage::Waiting { .. }))
    }

    /// Whether joins are being repeated.
    pub(super) const fn is_joining(self) -> bool {
        matches!(self.stage(), Some(Stage::Joining { .. }))
    }

    /// When the present stage ends.
    pub(super) fn deadline(self) -> Option<Timestamp> {
        self.stage().and_then(Stage::deadline)
    }

    /// Whether the upstream is expected to say something.
    pub(super) const fn hears_upstream(self) -> bool {
        match self {
            Self::Up => true,
            Self::Down(outage) => !matches!(outage.stage, Stage::Waiting { .. } | Stage::Dialing),
            Self::First | Self::PassedThrough | Self::Ended => false,
        }
    }
}

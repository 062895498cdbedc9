//! When what is due next, as a table with one place for each reason. Holds times; what is then done is decided
//! by others.

use super::Timestamp;

/// What a session waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The end of a stage of the way back.
    Stage,
    /// A silence of the upstream: its probe, then its loss.
    Silence,
    /// The next ping to the client.
    Ping,
    /// The end of patience with a client that answers none.
    Patience,
    /// The end of patience with those who asked whether the client is alive.
    Proof,
    /// The oldest of what is held back.
    HeldBack,
    /// Something of a stream.
    Streams,
    /// Something of a room.
    Rooms,
    /// The second `getUserData` of mode `restart`.
    Restart,
    /// The end of a step of a move.
    Move,
}

const TIMERS: usize = 10;

/// The table. A place without a time stands at the end of time.
#[derive(Debug)]
pub(super) struct Timers([Timestamp; TIMERS]);

const NEVER: Timestamp = Timestamp::from_ms(u64::MAX);

impl Default for Timers {
    fn default() -> Self {
        Self([NEVER; TIMERS])
    }
}

impl Timers {
    pub(super) fn set(&mut self, timer: Timer, at: Option<Timestamp>) {
        if let Some(place) = self.0.get_mut(timer as usize) {
            *place = at.unwrap_or(NEVER);
        }
    }

    /// The first of all.
    pub(super) fn first(&self) -> Option<Timestamp> {
        let first = self.0.iter().copied().min().unwrap_or(NEVER);
        (first != NEVER).then_some(first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_of_all_is_known() {
        let (mut timers, at) = (Timers::default(), Timestamp::from_ms);
        assert_eq!(timers.first(), None);
        timers.set(Timer::Restart, Some(at(20)));
        timers.set(Timer::Stage, Some(at(10)));
        assert_eq!(timers.first(), Some(at(10)));
        timers.set(Timer::Stage, None);
        assert_eq!(timers.first(), Some(at(20)));
    }
}

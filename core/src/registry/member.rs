//! A session among the others of its process: lends it the registry with each input, and gives back what it
//! kept if it is dropped before its end.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use crate::{
    recording::Recorder,
    session::{Input, Session, Timestamp},
};

use super::Registry;

/// A session with the registry that it shares with others.
#[derive(Debug)]
pub struct Member {
    session: Session,
    registry: Arc<Registry>,
    /// Who writes down what it does.
    recorders: Vec<Recorder>,
}

impl Member {
    /// This session becomes one of those that know each other by this registry.
    #[must_use]
    pub const fn new(session: Session, registry: Arc<Registry>) -> Self {
        Self { session, registry, recorders: Vec::new() }
    }

    /// As [`Session::handle`].
    pub fn handle(&mut self, input: Input<'_>, now: Timestamp) {
        if self.recorders.is_empty() {
            return self.session.handle(input, now, &mut &*self.registry);
        }
        Recorder::handle(&mut self.recorders, &mut self.session, input, now, &mut &*self.registry);
    }

    /// From now on what it does is written down, too, by this one.
    pub fn record(&mut self, recorder: Recorder) {
        if !recorder.is_over() {
            self.recorders.push(recorder);
        }
    }

    /// Whether anything is written down.
    #[must_use]
    pub const fn is_recorded(&self) -> bool {
        !self.recorders.is_empty()
    }

    /// A message passes that the session is not asked about: a text, or so many bytes.
    pub fn passes(&mut self, from_client: bool, message: Result<&[u8], usize>, now: Timestamp) {
        for recorder in &mut self.recorders {
            recorder.passed(from_client, message, now);
        }
        self.recorders.retain(|recorder| !recorder.is_over());
    }

    /// It has ended: nothing more is written down.
    pub fn end_records(&mut self, now: Timestamp) {
        for recorder in self.recorders.drain(..) {
            recorder.end(now);
        }
    }
}

impl Deref for Member {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl DerefMut for Member {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.session
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.session.abandon(&mut &*self.registry);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{session::SessionId, settings::SessionSettings};

    #[test]
    fn a_session_that_is_dropped_keeps_nothing() {
        let (registry, now) = (Arc::new(Registry::default()), Timestamp::from_ms(1_000));
        let session = Session::new(SessionId(1), Arc::new(SessionSettings::default()), 1, now);
        let mut member = Member::new(session, Arc::clone(&registry));
        let connection =
            br#"{"message":"connection","data":[{"appKey":"defaultApp","clientVersion":"2.0"}]}"#;
        member.handle(Input::ClientText(connection), now);
        assert!(registry.kept().bytes() > 0);
        drop(member);
        assert_eq!(registry.kept().bytes(), 0);
    }
}

//! Which sessions are recorded by what: asked once when a session begins, and when a recording does.

use std::{net::IpAddr, sync::Arc};

use crate::{
    config::SessionSettings,
    recording::{Recorder, Start},
    registry::Member,
    session::{NodeId, SessionId, Timestamp},
};

use super::{Recorded, Recording, Recordings, tape::SessionTape};

/// A session that begins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beginning<'a> {
    pub(crate) id: SessionId,
    pub(crate) seed: u64,
    pub(crate) node: NodeId,
    pub(crate) with_media: bool,
    pub(crate) settings: &'a SessionSettings,
    pub(crate) now: Timestamp,
    pub(crate) client: IpAddr,
}

impl Recordings {
    /// Whoever wants this session, or may want it once it names a stream, records it from here on.
    pub(crate) fn attach(&self, session: &mut Member, beginning: Beginning<'_>) {
        for recording in self.going_on() {
            let is_wanted = match &recording.recorded {
                Recorded::Address(address) => *address == beginning.client,
                Recorded::Stream(_) => true,
                Recorded::Session(_) => false,
            };
            let Some(tape) = is_wanted.then(|| SessionTape::of(&recording, beginning.id)).flatten() else {
                continue;
            };
            let start = Start {
                s: beginning.id,
                t: beginning.now,
                from_start: true,
                seed: beginning.seed,
                node: beginning.node,
                with_media: beginning.with_media,
                settings: beginning.settings.clone(),
            };
            let redactor = recording.redactor.clone();
            session.record(match &recording.recorded {
                Recorded::Stream(name) => Recorder::waiting(start, redactor, tape, name),
                Recorded::Address(_) | Recorded::Session(_) => Recorder::new(start, redactor, tape),
            });
        }
    }
}

impl Recording {
    /// Records a session that lives already: what it was told before is not known, so that it cannot be replayed.
    pub(crate) fn attach_late(
        self: &Arc<Self>,
        session: &mut Member,
        (id, node): (SessionId, NodeId),
        now: Timestamp,
    ) {
        let Some(tape) = SessionTape::of(self, id) else { return };
        let start = Start {
            s: id,
            t: now,
            from_start: false,
            seed: 0,
            node,
            with_media: false,
            settings: SessionSettings::default(),
        };
        let redactor = self.redactor.clone();
        let recorder = match &self.recorded {
            Recorded::Stream(name)
                if session.describe().streams.iter().all(|stream| stream.name != *name) =>
            {
                Recorder::waiting(start, redactor, tape, name)
            }
            _ => Recorder::new(start, redactor, tape),
        };
        session.record(recorder);
    }
}

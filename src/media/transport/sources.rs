//! From which SSRCs of the peer a transport takes packets, and to which section they belong.
//!
//! `str0m` drops what is neither announced nor carries a mid, so a source that nobody announced is
//! bound by its payload type. Only what was authentic binds: a packet of an unknown source is given
//! to `str0m` on trial, in a stream of its own, of which nothing is left if it fails. What was
//! announced is a guess as well, and gives way to what packets show.

use std::time::Instant;

use super::Transport;

/// Most SSRCs of a peer that are listened to per transport.
pub(super) const SOURCES_MAX: usize = 16;

/// New sources a peer may bring per second, beyond the first [`SOURCES_MAX`]: `str0m` remembers
/// something of each for life.
pub(super) const NEW_SOURCES_PER_SECOND: f64 = 0.2;

/// New sources it may bring at once.
pub(super) const NEW_SOURCES_BURST: f64 = SOURCES_MAX as f64;

/// A source of the peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Source {
    ssrc: u32,
    /// Index into the sections.
    section: usize,
    /// Carries retransmissions.
    repair: bool,
}

/// What is known of the source of a packet before it is decrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// One we listen to.
    Known,
    /// Its payload type belongs to this section.
    OnTrial { section: usize, repair: bool },
    /// None that we would take.
    Foreign,
}

impl Transport {
    /// Listens to what the peer announced.
    pub(super) fn expect(&mut self, section: usize, ssrc: u32, repair: bool) {
        // Zero is for probes, and nobody can be two sources.
        if ssrc != 0 && !self.sources.iter().any(|s| s.ssrc == ssrc) {
            self.bind(section, ssrc, repair);
        }
    }

    fn bind(&mut self, section: usize, ssrc: u32, repair: bool) {
        let Some(found) = self.sections.get_mut(section) else { return };
        let (main, rtx) = if repair {
            let Some(main) = found.source else { return };
            (main, Some(ssrc))
        } else {
            found.source = Some(ssrc);
            (ssrc, None)
        };
        self.engine.expect(main, rtx, found.mid, found.nack);
        if self.sources.len() >= SOURCES_MAX {
            self.forget_oldest();
        }
        self.sources.push(Source { ssrc, section, repair });
    }

    /// The oldest source gives way that no section takes its packets from.
    fn forget_oldest(&mut self) {
        let in_use = |source: &Source| self.sections.iter().any(|s| s.source == Some(source.ssrc));
        let Some(oldest) = self.sources.iter().position(|s| !in_use(s)) else { return };
        let gone = self.sources.remove(oldest);
        if !gone.repair {
            self.remove_stream(gone.ssrc);
        }
    }

    /// A stream goes with its retransmissions: of a source without a stream `str0m` would make one by
    /// the mid in a header that nobody verified.
    fn remove_stream(&mut self, main: u32) {
        let rtx = self.engine.repair_of(main);
        self.engine.forget(main);
        self.sources.retain(|s| !(s.repair && Some(s.ssrc) == rtx));
    }

    /// What is to be done with a packet that claims this source.
    pub(super) fn standing(&mut self, ssrc: u32, payload_type: u8, now: Instant) -> Standing {
        // Probes of bandwidth are on zero; they carry nothing.
        if ssrc == 0 || self.sources.iter().any(|s| s.ssrc == ssrc) {
            return Standing::Known;
        }
        let main = self.sections.iter().position(|s| s.main.contains(&payload_type));
        let repair = self.sections.iter().position(|s| s.repair.contains(&payload_type));
        match (main, repair) {
            _ if !self.connected || !self.new_sources.has(now) => Standing::Foreign,
            (Some(section), _) => Standing::OnTrial { section, repair: false },
            (None, Some(section)) => Standing::OnTrial { section, repair: true },
            (None, None) => Standing::Foreign,
        }
    }

    /// Has `str0m` look at packets of a source on trial.
    pub(super) fn begin_trial(&mut self, ssrc: u32, section: usize) {
        if let Some(section) = self.sections.get(section) {
            self.engine.expect(ssrc, None, section.mid, false);
        }
    }

    /// The packet was authentic, or it was not. The first retransmission of a source is lost: it was
    /// not known what it repairs; the peer is asked again.
    pub(super) fn end_trial(
        &mut self,
        (ssrc, section, repair): (u32, usize, bool),
        authentic: bool,
        now: Instant,
    ) {
        if repair || !authentic {
            self.engine.forget(ssrc);
        }
        if authentic && self.new_sources.take(now) {
            self.bind(section, ssrc, repair);
        }
    }

    /// An authentic packet of a known source: if its payload type says that it belongs elsewhere
    /// than was announced, it does.
    pub(super) fn correct(&mut self, ssrc: u32, payload_type: u8) {
        let Some(known) = self.sources.iter().position(|s| s.ssrc == ssrc) else { return };
        let Some(Source { section, repair, .. }) = self.sources.get(known).copied() else { return };
        let fits = |index: usize| {
            let section = self.sections.get(index);
            section.is_some_and(|s| s.main.contains(&payload_type) || s.repair.contains(&payload_type))
        };
        let announced_as_repair =
            repair && self.sections.get(section).is_some_and(|s| s.main.contains(&payload_type));
        if fits(section) && !announced_as_repair {
            return;
        }
        let Some(right) = self.sections.iter().position(|s| s.main.contains(&payload_type)) else { return };
        self.sources.remove(known);
        if let Some(wrong) = self.sections.get_mut(section).filter(|s| s.source == Some(ssrc)) {
            wrong.source = None;
        }
        self.remove_stream(ssrc);
        self.bind(right, ssrc, false);
    }

    /// The section of an authentic packet from this source, by its index in the description.
    /// What is asked of the section's sender goes to this source from now on.
    pub(crate) fn section_of(&mut self, ssrc: u32) -> Option<usize> {
        let source = self.sources.iter().find(|s| s.ssrc == ssrc && !s.repair)?;
        let section = self.sections.get_mut(source.section)?;
        section.source = Some(ssrc);
        Some(section.index)
    }
}

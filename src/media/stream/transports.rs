//! The transports of a leg, and which of them carries which section.

use std::time::Instant;

use crate::media::transport::Transport;

/// All transports of a leg.
#[derive(Debug)]
pub(super) struct Transports {
    pub(super) all: Vec<Transport>,
    /// By section: its transport; None: rejected.
    of_section: Vec<Option<usize>>,
}

impl Transports {
    /// Room for so many, for a description with so many sections.
    pub(super) fn new(transports: usize, sections: usize) -> Self {
        // Exactly: a transport is large.
        Self { all: Vec::with_capacity(transports), of_section: vec![None; sections] }
    }

    /// Takes the transport that carries these sections.
    pub(super) fn add(&mut self, transport: Transport, sections: &[usize]) {
        for section in sections {
            if let Some(slot) = self.of_section.get_mut(*section) {
                *slot = Some(self.all.len());
            }
        }
        self.all.push(transport);
    }

    /// The number of the transport that carries a section.
    pub(super) fn number_of(&self, section: usize) -> Option<usize> {
        self.of_section.get(section).copied().flatten()
    }

    /// The transport that carries a section.
    pub(super) fn carrying(&mut self, section: usize) -> Option<&mut Transport> {
        let number = self.number_of(section)?;
        self.all.get_mut(number)
    }

    /// When anything last came from the peer.
    pub(super) fn heard(&self) -> Option<Instant> {
        self.all.iter().filter_map(|t| t.heard).max()
    }

    /// All of them stand.
    pub(super) fn connected(&self) -> bool {
        self.all.iter().all(|t| t.connected)
    }
}

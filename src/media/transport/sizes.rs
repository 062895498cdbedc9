//! What a transport keeps, counted for the simulation.

use super::{Roaming, Transport, sources::SOURCES_MAX};

impl Transport {
    /// Names, sizes and bounds of all that grows with what the peer does.
    pub(crate) fn sizes(
        &self,
        addresses_max: usize,
        rtx_packets: usize,
        sizes: &mut Vec<(&'static str, usize, usize)>,
    ) {
        let addresses = self.roaming.iter().flat_map(Roaming::origins).count();
        sizes.push(("addresses of a client", addresses, addresses_max));
        sizes.push(("addresses of an upstream", self.strangers.known.len(), self.strangers.known_max));
        sizes.push(("sources of a peer", self.sources.len(), SOURCES_MAX));
        for section in &self.sections {
            let kept = section.resender.as_ref().map_or(0, |resender| resender.len());
            sizes.push(("packets kept to be sent again", kept, rtx_packets));
        }
    }
}

//! Datagrams over a byte stream: each with its length before it (RFC 4571).
//!
//! What a peer does not take is dropped in whole frames, as UDP would drop it; of a frame that is too
//! long nothing is kept. Reads and writes nothing itself.

/// A frame header: the length of what follows.
const HEADER: usize = 2;

/// Longest frame that is kept. Media, checks and handshakes come in packets that would fit into a
/// datagram of the internet; what is longer is passed over.
pub(crate) const FRAME_BYTES_MAX: usize = 4 * 1024;

/// Both directions of a connection that carries datagrams, without the connection: what came in is
/// cut into datagrams, what goes out waits here until it is written.
#[derive(Debug)]
pub(crate) struct Frames {
    input: Cutter,
    output: Vec<u8>,
    output_bytes_max: usize,
}

impl Frames {
    /// At most `output_bytes_max` bytes wait for a peer that does not read.
    pub(crate) const fn new(output_bytes_max: usize) -> Self {
        Self { input: Cutter::new(FRAME_BYTES_MAX), output: Vec::new(), output_bytes_max }
    }

    /// Has a datagram wait to be written. False: too much waits already, or it is too long for a
    /// frame.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> bool {
        let Ok(length) = u16::try_from(bytes.len()) else { return false };
        if self.output.len() + HEADER + bytes.len() > self.output_bytes_max {
            return false;
        }
        self.output.extend_from_slice(&length.to_be_bytes());
        self.output.extend_from_slice(bytes);
        true
    }

    /// Takes what was read and hands out every datagram that is whole now.
    pub(crate) fn take(&mut self, bytes: &[u8], frames: &mut Vec<Vec<u8>>) {
        self.input.take(bytes, frames);
    }

    /// What waits to be written.
    pub(crate) fn unwritten(&self) -> &[u8] {
        &self.output
    }

    /// The same, taken out: the connection is to end.
    pub(crate) fn take_unwritten(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.output)
    }

    /// So many bytes of it were written.
    pub(crate) fn wrote(&mut self, count: usize) {
        self.output.drain(..count.min(self.output.len()));
    }
}

/// Cuts a stream into frames and keeps no more than the beginning of one.
#[derive(Debug)]
pub(crate) struct Cutter {
    kept: Vec<u8>,
    /// Bytes still to come of a frame that is too long.
    skip: usize,
    frame_bytes_max: usize,
}

impl Cutter {
    /// Longer frames than this are passed over.
    pub(crate) const fn new(frame_bytes_max: usize) -> Self {
        Self { kept: Vec::new(), skip: 0, frame_bytes_max }
    }

    /// Takes what came next and hands out every frame that is whole now.
    pub(crate) fn take(&mut self, bytes: &[u8], frames: &mut Vec<Vec<u8>>) {
        if self.kept.is_empty() {
            let taken = self.cut(bytes, frames);
            self.kept = bytes.get(taken..).unwrap_or_default().to_vec();
            return;
        }
        let mut kept = std::mem::take(&mut self.kept);
        kept.extend_from_slice(bytes);
        let taken = self.cut(&kept, frames);
        // Not drained: the room of a busy moment is not held for ever.
        self.kept = kept.get(taken..).unwrap_or_default().to_vec();
    }

    /// The beginning of a frame that is kept.
    pub(crate) fn kept(&self) -> &[u8] {
        &self.kept
    }

    /// Says how many bytes are done with.
    fn cut(&mut self, input: &[u8], frames: &mut Vec<Vec<u8>>) -> usize {
        let mut taken = self.skip.min(input.len());
        self.skip -= taken;
        while let Some((header, rest)) = input.get(taken..).and_then(|i| i.split_first_chunk::<HEADER>()) {
            let length = usize::from(u16::from_be_bytes(*header));
            if length > self.frame_bytes_max {
                let here = length.min(rest.len());
                self.skip = length - here;
                taken += HEADER + here;
                continue;
            }
            let Some(bytes) = rest.get(..length) else { break };
            taken += HEADER + length;
            frames.push(bytes.to_vec());
        }
        taken
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_waits_to_be_written_is_bounded_and_whole() {
        let mut frames = Frames::new(10_000);
        let sent = (0..100).filter(|_| frames.send(&[7; 1200])).count();
        assert_eq!((sent, frames.unwritten().len()), (8, 8 * 1202), "whole frames, no more than allowed");
        frames.wrote(1202 + 5);
        assert!(frames.send(&[7; 1200]) && !frames.send(&[7; 1200]), "room for what was written");
        assert!(!Frames::new(1 << 20).send(&[0; 1 << 16]), "too long for the field of its length");
    }

    proptest! {
        #[test]
        fn frames_are_found_however_the_stream_is_cut(
            packets in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..10),
            cuts in prop::collection::vec(0_usize..3000, 0..10),
        ) {
            let wire: Vec<u8> = packets.iter().flat_map(|p| [&(p.len() as u16).to_be_bytes(), p.as_slice()].concat()).collect();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(wire.len())).chain([0, wire.len()]).collect();
            cuts.sort_unstable();
            let (mut cutter, mut frames) = (Cutter::new(200), Vec::new());
            for pair in cuts.windows(2) {
                cutter.take(&wire[pair[0]..pair[1]], &mut frames);
                prop_assert!(cutter.kept().len() < HEADER + 200, "the beginning of one frame");
            }
            let short: Vec<Vec<u8>> = packets.into_iter().filter(|p| p.len() <= 200).collect();
            prop_assert_eq!(frames, short, "those that are too long are passed over, the others come whole");
            prop_assert!(cutter.kept().is_empty());
        }
    }
}

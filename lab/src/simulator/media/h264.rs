//! Puts H.264 frames together again from RTP packets (RFC 6184: single NAL units, STAP-A, FU-A).
//!
//! Packets may come late or not at all: a short reordering window, then the frame is given up and
//! everything up to the next key frame with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::codec::{nal, stap_a_units};

/// Packets waiting for an earlier one; beyond that the missing packet counts as lost.
const REORDER_MAX: usize = 64;
/// The largest frame put together, bytes.
const FRAME_BYTES_MAX: usize = 4 * 1024 * 1024;

/// One access unit without parameter sets and delimiters.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    /// RTP timestamp, 90 kHz.
    pub(crate) timestamp: u32,
    pub(crate) key: bool,
    pub(crate) units: Vec<Vec<u8>>,
}

/// What is needed of an RTP packet.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    pub(crate) marker: bool,
    pub(crate) payload: Arc<[u8]>,
}

/// Turns packets of one SSRC into frames.
#[derive(Default)]
pub(crate) struct Assembler {
    early: BTreeMap<u64, Piece>,
    next: Option<u64>,
    timestamp: u32,
    units: Vec<Vec<u8>>,
    fragment: Option<Vec<u8>>,
    bytes: usize,
    /// A packet of the current frame is missing.
    damaged: bool,
    /// Frames depend on something lost; set until a key frame.
    unusable: bool,
    sps: Vec<u8>,
    pps: Vec<u8>,
}

impl Assembler {
    /// The last sequence and picture parameter sets, once both were seen.
    pub(crate) fn parameter_sets(&self) -> Option<(&[u8], &[u8])> {
        (!self.sps.is_empty() && !self.pps.is_empty()).then_some((&self.sps, &self.pps))
    }

    /// Whether only a key frame helps.
    pub(crate) fn needs_key_frame(&self) -> bool {
        self.unusable
    }

    /// Takes one packet; appends the frames it completes.
    pub(crate) fn push(&mut self, piece: Piece, frames: &mut Vec<Frame>) {
        let next = *self.next.get_or_insert(piece.sequence);
        if piece.sequence < next {
            return;
        }
        self.early.insert(piece.sequence, piece);
        if self.early.len() > REORDER_MAX
            && let Some((first, _)) = self.early.first_key_value()
            && *first != next
        {
            self.next = Some(*first);
            self.damaged = true;
            self.unusable = true;
        }
        while let Some(next) = self.next
            && let Some(piece) = self.early.remove(&next)
        {
            self.next = Some(next + 1);
            self.take(&piece, frames);
        }
    }

    fn take(&mut self, piece: &Piece, frames: &mut Vec<Frame>) {
        if piece.timestamp != self.timestamp {
            self.finish(frames);
            self.timestamp = piece.timestamp;
        }
        self.bytes += piece.payload.len();
        if self.bytes > FRAME_BYTES_MAX {
            self.units.clear();
            self.fragment = None;
            self.damaged = true;
        }
        match piece.payload.first().map(|byte| nal::kind(*byte)) {
            None => {}
            Some(nal::STAP_A) => {
                for unit in stap_a_units(&piece.payload) {
                    self.unit(unit.to_vec());
                }
            }
            Some(nal::FU_A) => self.fragment(&piece.payload),
            Some(_) => self.unit(piece.payload.to_vec()),
        }
        if piece.marker {
            self.finish(frames);
        }
    }

    fn fragment(&mut self, payload: &[u8]) {
        let Some(([indicator, header], body)) = payload.split_first_chunk::<2>() else {
            return;
        };
        if header & 0x80 != 0 {
            self.fragment = Some(vec![(indicator & 0xe0) | nal::kind(*header)]);
        }
        match &mut self.fragment {
            Some(fragment) => fragment.extend_from_slice(body),
            None => self.damaged = true,
        }
        if header & 0x40 != 0
            && let Some(unit) = self.fragment.take()
        {
            self.unit(unit);
        }
    }

    fn unit(&mut self, unit: Vec<u8>) {
        match unit.first().map(|byte| nal::kind(*byte)) {
            Some(nal::SPS) if unit.len() >= 4 => self.sps = unit,
            Some(nal::PPS) => self.pps = unit,
            Some(nal::SPS | nal::DELIMITER) | None => {}
            Some(_) => self.units.push(unit),
        }
    }

    fn finish(&mut self, frames: &mut Vec<Frame>) {
        let units = std::mem::take(&mut self.units);
        let broken = std::mem::take(&mut self.damaged) || self.fragment.take().is_some();
        self.bytes = 0;
        if units.is_empty() {
            return;
        }
        let key = units.iter().any(|unit| unit.first().is_some_and(|b| nal::kind(*b) == nal::IDR));
        if broken {
            self.unusable = true;
        } else if key {
            self.unusable = false;
        }
        if !self.unusable {
            frames.push(Frame { timestamp: self.timestamp, key, units });
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn piece(sequence: u64, timestamp: u32, marker: bool, payload: &[u8]) -> Piece {
        Piece { sequence, timestamp, marker, payload: payload.into() }
    }

    fn run(pieces: &[Piece]) -> (Assembler, Vec<Frame>) {
        let (mut assembler, mut frames) = (Assembler::default(), Vec::new());
        for piece in pieces {
            assembler.push(piece.clone(), &mut frames);
        }
        (assembler, frames)
    }

    fn key_frame() -> Vec<Piece> {
        vec![
            piece(10, 0, false, &[0x78, 0, 4, 0x67, 0x42, 0, 0x1f, 0, 2, 0x68, 1]),
            piece(11, 0, false, &[0x7c, 0x85, 1, 2]),
            piece(12, 0, true, &[0x7c, 0x45, 3]),
        ]
    }

    #[test]
    fn puts_fragments_and_parameter_sets_in_their_places() {
        let (assembler, frames) = run(&key_frame());
        let frame = Frame { timestamp: 0, key: true, units: vec![vec![0x65, 1, 2, 3]] };
        assert_eq!(frames, [frame]);
        let (sps, pps) = assembler.parameter_sets().unwrap();
        assert_eq!((sps, pps), ([0x67, 0x42, 0, 0x1f].as_slice(), [0x68, 1].as_slice()));
    }

    #[test]
    fn order_on_the_wire_does_not_matter() {
        let mut pieces = key_frame();
        pieces.swap(1, 2);
        let (_, frames) = run(&pieces);
        assert_eq!(frames.len(), 1);
    }

    #[test]
    fn after_a_loss_nothing_comes_until_a_key_frame() {
        let mut pieces = key_frame();
        pieces.remove(1);
        // The window has to fill before the missing packet counts as lost.
        for index in 0..=REORDER_MAX as u64 {
            pieces.push(piece(13 + index, 3000 + index as u32, true, &[0x41, 9]));
        }
        let (mut assembler, mut frames) = run(&pieces);
        assert!(frames.is_empty() && assembler.needs_key_frame());
        let next = 14 + REORDER_MAX as u64;
        assembler.push(piece(next, 900_000, true, &[0x65, 7]), &mut frames);
        assert_eq!(frames.len(), 1);
        assert!(frames[0].key && !assembler.needs_key_frame());
    }

    #[test]
    fn garbage_makes_no_frames() {
        let (_, frames) = run(&[
            piece(1, 0, true, &[]),
            piece(2, 1, true, &[0x7c]),
            piece(3, 2, true, &[0x78, 0xff]),
            piece(4, 3, true, &[0x7c, 0x05, 1]),
        ]);
        assert!(frames.is_empty());
    }

    #[test]
    fn a_frame_has_a_largest_size() {
        let mut assembler = Assembler::default();
        let mut frames = Vec::new();
        let payload = vec![0x41; 64 * 1024];
        for sequence in 0..=(FRAME_BYTES_MAX / payload.len()) as u64 {
            assembler.push(piece(sequence, 0, false, &payload), &mut frames);
            assert!(assembler.units.len() * payload.len() <= FRAME_BYTES_MAX);
        }
        assembler.finish(&mut frames);
        assert!(frames.is_empty());
    }
}

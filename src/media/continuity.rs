//! Numbering that survives changes of the source: towards a receiver there is one SSRC for life,
//! with sequence numbers, timestamps and VP8 picture numbers that go on where they were.
//!
//! Pure arithmetic: no packet is kept, no clock is read.

use std::time::{Duration, Instant};

use super::descriptor::Vp8Numbers;

/// Where a stream of packets starts towards a new SRTP session: below 2^15, so that a lost first
/// packet cannot make the receiver guess a wrong rollover counter (RFC 3711 3.3.1).
const FIRST_SEQUENCE_MAX: u16 = 0x7fff;

/// What a packet is sent with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Numbers {
    /// Extended sequence number.
    pub(crate) sequence: u64,
    /// RTP timestamp.
    pub(crate) timestamp: u32,
}

/// The numbering towards one receiver of one kind of media.
#[derive(Clone, Debug)]
pub(crate) struct Continuity {
    /// Added to the sequence numbers of the current source; None: the next packet starts anew.
    source: Option<Source>,
    /// Highest sequence number given out.
    last_sequence: Option<u64>,
    first_sequence: u64,
    /// Newest timestamp given out, and when.
    last_timestamp: Option<(u32, Instant)>,
    vp8: Vp8Continuity,
}

#[derive(Clone, Copy, Debug)]
struct Source {
    /// The first packet of this source that was passed on; older ones are refused.
    first: u64,
    sequence_offset: i64,
    timestamp_offset: u32,
}

impl Continuity {
    /// Starts at a sequence number drawn from `random`.
    pub(crate) fn new(random: u16) -> Self {
        Self {
            source: None,
            last_sequence: None,
            first_sequence: u64::from(random & FIRST_SEQUENCE_MAX),
            last_timestamp: None,
            vp8: Vp8Continuity::default(),
        }
    }

    /// The next packet comes from another source: it follows directly on the last one.
    pub(crate) fn rebase(&mut self) {
        self.source = None;
        self.vp8.rebase();
    }

    /// The numbers for a packet of the current source, or None if it is older than the first
    /// one that was passed on. `sequence` is extended by the receiving side and never wraps.
    pub(crate) fn map(
        &mut self,
        sequence: u64,
        timestamp: u32,
        clock_rate: u32,
        now: Instant,
    ) -> Option<Numbers> {
        let source = match self.source {
            Some(source) => source,
            None => *self.source.insert(self.base(sequence, timestamp, clock_rate, now)),
        };
        if sequence < source.first {
            return None;
        }
        let sequence = sequence.checked_add_signed(source.sequence_offset)?;
        let timestamp = timestamp.wrapping_add(source.timestamp_offset);
        self.last_sequence = Some(self.last_sequence.map_or(sequence, |last| last.max(sequence)));
        let newer = self.last_timestamp.is_none_or(|(last, _)| is_newer(timestamp, last));
        if newer {
            self.last_timestamp = Some((timestamp, now));
        }
        Some(Numbers { sequence, timestamp })
    }

    fn base(&self, sequence: u64, timestamp: u32, clock_rate: u32, now: Instant) -> Source {
        let next = self.last_sequence.map_or(self.first_sequence, |last| last + 1);
        let timestamp_offset = self.last_timestamp.map_or(0, |(last, at)| {
            let elapsed = ticks(now.saturating_duration_since(at), clock_rate).max(1);
            last.wrapping_add(elapsed).wrapping_sub(timestamp)
        });
        Source {
            first: sequence,
            sequence_offset: next.wrapping_sub(sequence).cast_signed(),
            timestamp_offset,
        }
    }

    /// The VP8 numbers to write in place of `numbers`. Call it for each packet that [`Self::map`]
    /// let pass.
    pub(crate) fn map_vp8(&mut self, numbers: Vp8Numbers) -> Vp8Numbers {
        self.vp8.map(numbers)
    }
}

/// A span of time in units of a media clock. Past 2^31 ticks (13 hours of video) the direction
/// of time would be lost to the receiver: it stops there.
fn ticks(span: Duration, clock_rate: u32) -> u32 {
    let ticks = span.as_micros().saturating_mul(u128::from(clock_rate)) / 1_000_000;
    u32::try_from(ticks).unwrap_or(u32::MAX).min(i32::MAX as u32)
}

/// Is `a` ahead of `b` on a clock that wraps?
pub(crate) const fn is_newer(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}

/// PictureID and TL0PICIDX across sources. The fields keep their width: 7 or 15 bits.
#[derive(Clone, Debug, Default)]
struct Vp8Continuity {
    picture_offset: Option<u16>,
    tl0_offset: Option<u8>,
    /// Newest values given out.
    picture_last: Option<u16>,
    tl0_last: Option<u8>,
}

const PICTURE_BITS: u16 = 0x7fff;

impl Vp8Continuity {
    const fn rebase(&mut self) {
        self.picture_offset = None;
        self.tl0_offset = None;
    }

    fn map(&mut self, numbers: Vp8Numbers) -> Vp8Numbers {
        let picture_id = numbers.picture_id.map(|id| self.map_picture(id, numbers.picture_id_max()));
        let tl0 = numbers.tl0.map(|id| self.map_tl0(id));
        Vp8Numbers { picture_id, tl0, ..numbers }
    }

    fn map_picture(&mut self, id: u16, mask: u16) -> u16 {
        let last = self.picture_last;
        let offset = *self.picture_offset.get_or_insert_with(|| {
            last.map_or(0, |last| last.wrapping_add(1).wrapping_sub(id) & PICTURE_BITS)
        });
        let mapped = id.wrapping_add(offset) & mask;
        let ahead = last.is_none_or(|last| (mapped.wrapping_sub(last) & mask) <= mask / 2);
        if ahead {
            self.picture_last = Some(mapped);
        }
        mapped
    }

    fn map_tl0(&mut self, id: u8) -> u8 {
        let last = self.tl0_last;
        let offset = *self
            .tl0_offset
            .get_or_insert_with(|| last.map_or(0, |last| last.wrapping_add(1).wrapping_sub(id)));
        let mapped = id.wrapping_add(offset);
        if last.is_none_or(|last| mapped.wrapping_sub(last) <= u8::MAX / 2) {
            self.tl0_last = Some(mapped);
        }
        mapped
    }
}

#[cfg(test)]
mod tests;

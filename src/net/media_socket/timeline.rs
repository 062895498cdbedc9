//! One timeline towards an MSE player, whatever the servers behind it do (protocol S2.9).
//!
//! The stream of a new server begins at its own zero. The SDK's player stands still for ever after
//! a step back of less than 5 s, and at a jump of more it resets itself so that its old instance
//! throws at every fragment (2.0.276). So there is never a jump: the first record of a new server
//! comes one frame after the last one sent, whatever time has passed; what is shown is live
//! anyway. Touches nothing but the timestamps of messages that are records from end to end.

/// Time from the last record of one server to the first of the next, in milliseconds.
const STEP_MS: u32 = 40;
/// A step back of more than this within one server is a new stream: audio and video are not in
/// order of each other, but never this far apart. In milliseconds.
const BACK_MS_MAX: u32 = 500;
/// A step forward of more than this is a hole that the player would wait in. In milliseconds.
const AHEAD_MS_MAX: u32 = 1_000;
/// Bytes before the payload of a record: type, timestamp in milliseconds, length.
const HEAD_BYTES: usize = 9;
/// Record types: audio and video.
const TYPES: [u8; 2] = [8, 9];

/// What was last sent, and by how much the present server's times are moved.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// The highest timestamp sent.
    last: Option<u32>,
    offset: u32,
    /// The last timestamp as the server gave it.
    theirs: u32,
    /// The next record is the first of a new server.
    is_new: bool,
}

impl Timeline {
    /// Records of another server follow.
    pub(super) const fn begin_anew(&mut self) {
        self.is_new = true;
    }

    /// Moves the timestamps of a message onto the timeline.
    pub(super) fn rewrite(&mut self, message: &mut [u8]) {
        if !is_records(message) {
            return;
        }
        let mut rest = message;
        while let Some((head, tail)) = rest.split_first_chunk_mut::<HEAD_BYTES>() {
            let [_, a, b, c, d, e, f, g, h] = *head;
            let theirs = u32::from_be_bytes([a, b, c, d]);
            let ours = self.ours(theirs).to_be_bytes();
            if let Some(timestamp) = head.get_mut(1..5) {
                timestamp.copy_from_slice(&ours);
            }
            let length = u32::from_be_bytes([e, f, g, h]) as usize;
            rest = tail.get_mut(length..).unwrap_or_default();
        }
    }

    fn ours(&mut self, theirs: u32) -> u32 {
        let ahead = theirs.wrapping_sub(self.theirs);
        let jumps = ahead > AHEAD_MS_MAX && ahead.wrapping_neg() > BACK_MS_MAX;
        self.theirs = theirs;
        if (std::mem::take(&mut self.is_new) || jumps)
            && let Some(last) = self.last
        {
            self.offset = last.wrapping_add(STEP_MS).wrapping_sub(theirs);
        }
        let ours = theirs.wrapping_add(self.offset);
        // Audio and video are not in order of each other; half of the range ahead is behind.
        let is_later = self.last.is_none_or(|last| ours.wrapping_sub(last) < u32::MAX / 2);
        if is_later {
            self.last = Some(ours);
        }
        ours
    }
}

/// Whether the message is one record after the other, and nothing else.
fn is_records(message: &[u8]) -> bool {
    let mut rest = message;
    while let Some((head, tail)) = rest.split_first_chunk::<HEAD_BYTES>() {
        let [kind, _, _, _, _, e, f, g, h] = *head;
        let length = u32::from_be_bytes([e, f, g, h]) as usize;
        let Some(next) = tail.get(length..).filter(|_| TYPES.contains(&kind)) else { return false };
        rest = next;
    }
    rest.is_empty() && !message.is_empty()
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
mod tests {
    use super::*;

    fn record(kind: u8, timestamp: u32, payload: &[u8]) -> Vec<u8> {
        let mut record = vec![kind];
        record.extend(timestamp.to_be_bytes());
        record.extend(u32::try_from(payload.len()).unwrap().to_be_bytes());
        record.extend(payload);
        record
    }

    fn times(message: &[u8]) -> Vec<u32> {
        let mut times = Vec::new();
        let mut rest = message;
        while rest.len() >= HEAD_BYTES {
            times.push(u32::from_be_bytes(rest[1..5].try_into().unwrap()));
            rest = &rest[HEAD_BYTES + u32::from_be_bytes(rest[5..9].try_into().unwrap()) as usize..];
        }
        times
    }

    #[test]
    fn a_new_server_goes_on_where_the_old_one_stopped() {
        let mut timeline = Timeline::default();
        let mut message = [record(9, 2_600, b"xx"), record(8, 2_640, b"")].concat();
        timeline.rewrite(&mut message);
        assert_eq!(times(&message), [2_600, 2_640], "the first server's times stay");
        timeline.begin_anew();
        let mut message = [record(9, 0, b"config"), record(9, 0, b"key"), record(9, 40, b"delta")].concat();
        let payloads = message.clone();
        timeline.rewrite(&mut message);
        assert_eq!(times(&message), [2_680, 2_680, 2_720]);
        assert_eq!(message.len(), payloads.len());
        assert_eq!(message[HEAD_BYTES..HEAD_BYTES + 6], payloads[HEAD_BYTES..HEAD_BYTES + 6]);
        timeline.begin_anew();
        let mut message = record(9, 4_000_000_000, b"");
        timeline.rewrite(&mut message);
        assert_eq!(times(&message), [2_760], "never back, never the same time again");
    }

    #[test]
    fn a_server_that_begins_another_stream_goes_on_as_well() {
        let mut timeline = Timeline::default();
        let mut seen = Vec::new();
        // Audio lags a little; then the play is repeated on the same socket; then it stands still.
        for theirs in [5_000, 5_040, 4_980, 0, 40, 9_000, 9_040] {
            let mut message = record(9, theirs, b"");
            timeline.rewrite(&mut message);
            seen.extend(times(&message));
        }
        assert_eq!(seen, [5_000, 5_040, 4_980, 5_080, 5_120, 5_160, 5_200]);
    }

    #[test]
    fn what_is_no_record_stays_as_it_is() {
        let mut timeline = Timeline::default();
        timeline.rewrite(&mut record(9, 5, b""));
        timeline.begin_anew();
        let cut = &record(9, 7, b"payload")[..12];
        for other in [b"".as_slice(), b"\x09", b"{\"message\":\"ping\"}", cut, &record(4, 7, b"x")] {
            let mut message = other.to_vec();
            timeline.rewrite(&mut message);
            assert_eq!(message, other);
        }
    }
}
